"""`dataflow reset`: remove the state directory of an environment."""

import shutil

import click

from dataflow.options import examples, settings_option, yes_option
from infra.runtime.run_state import kill_leftovers, supervisor_lock
from infra.settings import Settings
from schemas.errors import SettingsError


@click.command(epilog=examples("dataflow reset", "dataflow reset --env import --yes"))
@yes_option
@settings_option
def command(settings: Settings, yes: bool) -> None:
    """Remove everything this environment keeps: topics, numbers, checkpoints, logs.

    Refused while it runs. Services that are not embedded keep their data.
    """
    state_dir = settings.state_dir
    if not state_dir.is_dir():
        click.echo(f"environment {settings.dataflow_env} keeps nothing ({state_dir} does not exist)")
        return
    if not any((state_dir / name).exists() for name in ("run.json", "lock", "ports.json")):
        raise SettingsError(
            f"{state_dir} does not look like a state directory of DataFlow. Check DATAFLOW_HOME."
        )
    # The lock's file goes with the directory: somebody who waits for it then gets a new one.
    with supervisor_lock(state_dir):
        if not yes:
            click.confirm(f"Remove {state_dir} with all topics and numbers in it?", abort=True)
        kill_leftovers(state_dir)
        shutil.rmtree(state_dir)
    click.echo(f"removed {state_dir}")
    external = [
        name
        for name in ("kafka_bootstrap_servers", "kafka_schema_registry", "redis_host")
        if getattr(settings, name)
    ]
    if external:
        names = ", ".join(name.upper() for name in external)
        click.echo(
            f"{names} point to services outside: {settings.topic_prefix}* and {settings.redis_prefix}* stay there"
        )
