"""`dataflow lake`: what an operator may have to do about the lake.

`resume` reads the newest manifest and writes the checkpoint directory of the lake's query. `rebuild-topic` reads a
bronze table and writes a Kafka topic. `barrier` writes the control topic.
"""

import click

from dataflow.code_of import by_the_code_of
from dataflow.commands.generation import start_failed
from dataflow.lake_state import lake_runs
from dataflow.options import examples, json_option, print_json, print_table, settings_option
from infra.generation import current_generation, source_bounds
from infra.generations import Generation
from infra.kafka import Offsets
from infra.runtime.errors import AlreadyRunning
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from replay.rebuild import rebuild_topic
from replay.verify.barrier import Barrier
from serving.lake.reader import Lake
from streams.lake.checkpoint import Checkpoint
from streams.lake.place import lake_root

MISSED = 1


@click.group(
    epilog=examples(
        "dataflow lake resume",
        "dataflow lake barrier",
        "dataflow lake rebuild-topic orders --to restored.orders",
    )
)
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
    by_the_code_of(settings, settings.dataflow_generation, surely=False)
    generation = current_generation(settings)
    if process := lake_runs(settings, generation.number):
        raise AlreadyRunning(
            f"expected the lake job not to run, and it does ({process}): its checkpoint is there, so there is nothing "
            "to resume. If it has to begin a new one all the same, stop it first"
        )
    manifest = Lake(lake_root(settings, generation.name)).newest()
    since = dict(sorted(manifest.since(generation).items()))
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


@command.command(
    "rebuild-topic",
    epilog=examples(
        "dataflow lake rebuild-topic orders --to restored.orders",
        "dataflow lake rebuild-topic orders --to restored.orders --json",
    ),
)
@click.argument("topic")
@click.option(
    "--to", "name", required=True, help="Full name of the Kafka topic to create; none may have it yet."
)
@json_option
@settings_option
def rebuild(settings: Settings, topic: str, name: str, as_json: bool) -> None:
    """Write a source topic again from the lake, under another name.

    Every record that the newest manifest has: the same key, value, headers and partition, in the same order, with the
    time at which the broker took the original. Offsets are new ones.
    """
    settings = running_settings(settings, needs=("kafka_bootstrap_servers",))
    by_the_code_of(settings, settings.dataflow_generation, surely=False)
    lake = Lake(lake_root(settings, current_generation(settings).name))
    manifest = lake.newest()
    found = rebuild_topic(settings, lake, manifest, topic, name)
    if as_json:
        print_json(
            {
                "topic": found.name,
                "manifest": manifest.number,
                "records": found.total,
                "partitions": found.records,
            }
        )
        return
    click.echo(
        f"{found.total:,} records of {topic}, as of manifest {manifest.number}, are in topic {found.name}.\n"
    )
    print_table(("PARTITION", "RECORDS"), sorted(found.records.items()))


@command.command(
    "barrier",
    epilog=examples("dataflow lake barrier", "dataflow lake barrier --at orders/0=1200 --at orders/1=1180")
    + "\n\nExit code 0: a batch has ended there, and its manifest is named; 1: it has not, within the patience.",
)
@click.option(
    "--at",
    "places",
    multiple=True,
    metavar="TOPIC/PARTITION=OFFSET",
    help="Next offset to read of a partition. The others: where they end now.",
)
@click.option(
    "--patience", type=click.FloatRange(0), default=60.0, show_default=True, help="Seconds to wait."
)
@json_option
@settings_option
@click.pass_context
def barrier(
    ctx: click.Context, /, settings: Settings, places: tuple[str, ...], patience: float, as_json: bool
) -> None:
    """Have the lake end a batch at given offsets, so that it can be compared with something else there.

    The manifest that is named has exactly the records below these offsets. The lake does not stop for it.
    """
    settings = running_settings(settings, needs=("kafka_bootstrap_servers",))
    by_the_code_of(settings, settings.dataflow_generation, surely=False)
    generation = current_generation(settings)
    wanted = _offsets(settings, generation, places)
    manifest, reached = Barrier(settings, generation.name, Lake(lake_root(settings, generation.name))).reach(
        wanted, patience
    )
    if as_json:
        print_json({"generation": generation.name, "reached": reached, "manifest": manifest.number})
    elif reached:
        click.echo(f"manifest {manifest.number} of {generation.name} is of these offsets")
    else:
        click.echo(
            f"not reached: the lake is at manifest {manifest.number} of {generation.name}. Where it is beyond these "
            "offsets name later ones; where it is behind (`dataflow status`) ask again"
        )
    if not reached:
        ctx.exit(MISSED)


def _offsets(settings: Settings, generation: Generation, places: tuple[str, ...]) -> Offsets:
    """Where the source partitions end, but for those that were named. Raises UsageError for what is none of them."""
    _, ends = source_bounds(settings, generation)
    found = dict(ends)
    for text in places:
        name, _, offset = text.partition("=")
        topic, _, partition = name.rpartition("/")
        at = (topic, int(partition)) if partition.isdecimal() else None
        if at not in ends or not offset.isdecimal() or int(offset) > ends[at]:
            raise click.UsageError(
                f"--at: expected a source partition and an offset up to its end, such as "
                f"{'/'.join(map(str, next(iter(ends))))}={next(iter(ends.values()))}; saw {text!r}"
            )
        found[at] = int(offset)
    return found
