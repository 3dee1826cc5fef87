"""`dataflow lake`: what an operator may have to do about the lake.

`resume` reads the newest manifest and writes the checkpoint directory of the lake's query.
"""

import click

from dataflow.commands.generation import start_failed
from dataflow.lake_state import lake_runs
from dataflow.options import examples, json_option, print_json, print_table, settings_option
from infra.generation import current_generation
from infra.runtime.errors import AlreadyRunning
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from serving.lake.reader import Lake
from streams.lake.checkpoint import Checkpoint
from streams.lake.place import lake_root


@click.group(epilog=examples("dataflow lake resume"))
def command() -> None:
    """The lake's operation; what is in it: `dataflow tables`."""


@command.command("resume", epilog=examples("dataflow lake resume", "dataflow lake resume --json"))
@json_option
@settings_option
def resume(settings: Settings, as_json: bool) -> None:
    """Have the lake go on from the offsets of its newest manifest, after its checkpoint was lost.

    Nothing is read twice and nothing is skipped: the manifest says what the lake holds. What is left of the checkpoint
    is removed; the lake job begins a new one.
    """
    settings = running_settings(settings, needs=("kafka_bootstrap_servers",))
    if process := lake_runs(settings):
        raise AlreadyRunning(
            f"expected the lake job not to run, and it does ({process}): its checkpoint is there, so there is nothing "
            "to resume. If it has to begin a new one all the same, stop it first"
        )
    generation = current_generation(settings)
    manifest = Lake(lake_root(settings, generation.name)).newest()
    since = {
        place: manifest.until.get(place, generation.start(*place))
        for place in sorted(generation.partitions())
    }
    Checkpoint(settings, generation.name).resume()
    start_failed(settings)
    if as_json:
        offsets: dict[str, dict[str, int]] = {}
        for (topic, partition), offset in since.items():
            offsets.setdefault(topic, {})[str(partition)] = offset
        print_json({"generation": generation.name, "manifest": manifest.number, "from": offsets})
        return
    click.echo(
        f"The lake of generation {generation.name} goes on behind manifest {manifest.number}, from these offsets, as "
        "soon as the lake job starts; where the platform runs, it does so now.\n"
    )
    print_table(("TOPIC", "PARTITION", "FROM"), ((*place, offset) for place, offset in since.items()))
