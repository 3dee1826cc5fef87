"""`dataflow generation`: which source topics the live numbers are a function of, and starting over from what is there.

Reads `<env>.events.generations` and topic metadata; `new` writes the next generation and removes the Redis keys of the
one before.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from dataflow.options import examples, json_option, print_json, print_table, settings_option, yes_option
from infra.bootstrap import prepare
from infra.code import keep as keep_code
from infra.generation import (
    check_declared,
    compare_identities,
    load_generation,
    new_generation,
    source_identities,
)
from infra.generations import Recorded, read_generations
from infra.kafka import TopicIdentity
from infra.runtime.errors import NotRunning
from infra.runtime.platform import SERVICES, Platform
from infra.runtime.run_state import START_FAILED, read_run, running_settings
from infra.settings import Settings
from schemas.errors import GenerationError, Unavailable
from schemas.topics import SOURCE_TOPICS
from serving.store.removal import remove_generation


@click.group(epilog=examples("dataflow generation list", "dataflow generation new"))
def command() -> None:
    """What the live numbers are a function of: the source topics, by id and partitions."""


@command.command("list", epilog=examples("dataflow generation list", "dataflow generation list --json"))
@json_option
@settings_option
def list_generations(settings: Settings, as_json: bool) -> None:
    """The generations that are recorded, newest first, and whether the topics still fit them."""
    settings = running_settings(settings, needs=("kafka_bootstrap_servers",))
    recorded = read_generations(settings)
    topics = {topic for each in recorded.known.values() for topic in each.generation.topics}
    now = source_identities(settings, topics.union(SOURCE_TOPICS))
    rows = [
        describe(settings, each, now, number == recorded.live) | {"state": each.state}
        for number, each in sorted(recorded.known.items(), reverse=True)
    ]
    if as_json:
        print_json({"env": settings.dataflow_env, "generations": rows})
        return
    if not rows:
        click.echo(
            f"environment {settings.dataflow_env} has no generation yet: `dataflow up` starts the first"
        )
        return
    for row in rows:
        click.echo(
            f"{row['name']}{' (live)' if row['live'] else ''}, {row['state']}, judged in {row['judged_topic']}"
        )
        click.echo("fits the topics as they are" if row["fits"] else f"does not fit: {row['misfit']}")
        if row["grown"]:
            click.echo(
                f"more partitions than recorded, taken in at the next start: {', '.join(row['grown'])}"
            )
        click.echo()
        print_table(
            ("TOPIC", "PARTITIONS", "ID", "NOW"),
            ((t["topic"], t["partitions"], t["topic_id"], t["now"]) for t in row["topics"]),
        )
        click.echo()


@command.command(
    "new", epilog=examples("dataflow generation new", "dataflow generation new --yes --keep --json")
)
@click.option("--keep", is_flag=True, help="Keep what Redis holds of the generation before.")
@yes_option
@json_option
@settings_option
def new(settings: Settings, keep: bool, yes: bool, as_json: bool) -> None:
    """Start over: judge all source topics again, from their beginning, into the next generation.

    For when a source topic was deleted and created again, or lost partitions. The source topics stay as they are, and
    so do the dead letters; `dataflow dlq` shows those of the generation that is live.
    """
    if not yes:
        click.confirm(
            f"Judge all source topics of environment {settings.dataflow_env} again? Until that is done the API "
            "answers 503 rebuilding",
            abort=True,
            err=True,
        )
    with services(settings) as (settings, running):
        before, code = load_generation(settings), keep_code(settings)
        # Of contracts that came after the platform was started, or before it is.
        prepare(settings)
        started = new_generation(settings, code.as_json())
        removed = None
        if running:
            start_failed(settings)
        if before and not keep:
            if running:
                click.echo("waiting for the materializer to move on …", err=True)
            try:
                removed = remove_generation(settings, before.name, started.name if running else None)
            except Unavailable as error:
                raise Unavailable(f"generation {started.name} is the live one, but {error}") from error
    if as_json:
        document = {
            "env": settings.dataflow_env,
            "generation": started.name,
            "before": before and before.name,
        }
        print_json(document | {"judged_topic": started.judged_topic(settings), "redis_keys_removed": removed})
        return
    click.echo(
        f"generation {started.name} is the live one, judged in {started.judged_topic(settings)}.\n"
        "Where they run, the live job, the materializer and the API follow within seconds. Until they have caught up "
        "the API answers 503 rebuilding; `dataflow status` tells."
    )
    if removed is not None:
        click.echo(f"Removed {removed:,} Redis keys of {before.name}.")


@contextmanager
def services(settings: Settings) -> Iterator[tuple[Settings, bool]]:
    """Settings with a broker, registry and Redis, and whether the platform runs: where not, they start here."""
    needs = ("kafka_bootstrap_servers", "kafka_schema_registry", "redis_host")
    try:
        found = running_settings(settings, needs=needs)
    except NotRunning:
        found = None
    if found is not None:
        yield found, True
        return
    if not settings.state_dir.exists():
        raise NotRunning(
            f"environment {settings.dataflow_env!r} has no state in {settings.state_dir}: nothing to start "
            f"over. `dataflow up --env {settings.dataflow_env}` starts the first generation"
        )
    click.echo("starting the broker, the registry and Redis for this command …", err=True)
    with Platform(settings, SERVICES) as platform:
        yield platform.settings, False


def start_failed(settings: Settings) -> None:
    """Have the supervisor start again what had refused to go on with the old generation."""
    run = read_run(settings.state_dir)
    if run is not None and run.is_alive() and run.pid != os.getpid():
        os.kill(run.pid, START_FAILED)


def describe(
    settings: Settings, recorded: Recorded, now: Mapping[str, TopicIdentity], live: bool
) -> dict[str, Any]:
    """A generation and whether the topics as they are `now` can continue it, by its own code if it has some."""
    grown, misfit, generation = [], None, recorded.generation
    try:
        if recorded.code is None:
            check_declared(generation, now)
        grown = compare_identities(generation, now)
    except GenerationError as error:
        misfit = str(error)
    return {
        "number": generation.number,
        "name": generation.name,
        "live": live,
        "judged_topic": generation.judged_topic(settings),
        "fits": misfit is None,
        "misfit": misfit,
        "grown": grown,
        "topics": [
            {
                "topic": topic,
                "partitions": identity.partitions,
                "topic_id": identity.topic_id,
                "now": _difference(identity, now.get(topic)),
            }
            for topic, identity in generation.topics.items()
        ],
    }


def _difference(recorded: TopicIdentity, now: TopicIdentity | None) -> str | None:
    if now is None:
        return "gone"
    if now.topic_id != recorded.topic_id:
        return f"another topic, {now.topic_id}, {now.partitions} partitions"
    return f"{now.partitions} partitions" if now.partitions != recorded.partitions else None
