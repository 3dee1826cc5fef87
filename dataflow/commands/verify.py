"""`dataflow verify`: the lake and the live numbers computed again from bronze, one record after the other."""

import time

import click
from redis.exceptions import RedisError

from dataflow.code_of import by_the_code_of
from dataflow.difference_text import lines
from dataflow.options import GenerationName, examples, json_option, print_json, settings_option
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from replay.verify.finding import tell
from replay.verify.report import documents
from replay.verify.verify import PATIENCE, Verdict, verify

NOT_EXACT, NOT_COMPARED = 1, 2


@click.command(
    epilog=examples(
        "dataflow verify",
        "dataflow verify --generation g2",
        "dataflow verify --lake-only",
        "dataflow verify --every-byte",
        "dataflow verify --json | jq '.tables[] | select(.equal | not)'",
    )
    + "\n\nExit code 0: every row is as it should be; 1: not, and which; 2: what was compared is, but the live numbers "
    "were not compared, or not all of them (with --lake-only they need not be). All may go on meanwhile: the live "
    "numbers are read as readers are told them, each with its offsets, the lake is asked to end a batch at the last of "
    "these, and both are compared with what the records up to there say. What differs is told to whoever asks how "
    "exact the generation is, as what the continuous verifier finds; and so is that nothing does, if the live numbers "
    "were compared."
)
@click.option("--generation", type=GenerationName(), help="Which one; the live one by default.")
@click.option("--lake-only", is_flag=True, help="Leave the live numbers alone.")
@click.option(
    "--every-byte",
    is_flag=True,
    help="Compare bronze with all that the topics still have, byte for byte, and not some records of each partition.",
)
@click.option(
    "--patience",
    type=click.FloatRange(0),
    default=PATIENCE,
    show_default=True,
    help="Seconds for the lake to come to the offsets of the live numbers.",
)
@json_option
@settings_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    settings: Settings,
    generation: int | None,
    lake_only: bool,
    every_byte: bool,
    patience: float,
    as_json: bool,
) -> None:
    """Compute the lake and the live numbers again from bronze, by plain Python and SQL, and compare row by row."""
    settings = running_settings(settings, needs=("kafka_bootstrap_servers", "kafka_schema_registry"))
    by_the_code_of(settings, generation)
    settings = settings.replace(dataflow_generation=generation)
    began = time.time()
    found = verify(settings, with_live=not lake_only, patience=patience, every_byte=every_byte)
    show(found, as_json)
    if settings.redis_host:
        try:
            tell(settings, found, began, every_byte=every_byte)
        except (RedisError, OSError, ValueError, TypeError) as error:
            click.echo(
                f"Redis does not take what was found, so a promote does not know of it: {error}", err=True
            )
    if not found.exact:
        ctx.exit(NOT_EXACT)
    if found.live is not None and not lake_only:
        ctx.exit(NOT_COMPARED)


def show(found: Verdict, as_json: bool) -> None:
    tables, manifest = documents(found.differences), found.manifest
    records = sum(manifest.counts.values())
    if as_json:
        print_json(
            {
                "exact": found.exact,
                "generation": manifest.generation,
                "manifest": manifest.number,
                "records": records,
                "at_barrier": found.at_barrier,
                "live_not_compared": found.live,
                "offsets_untold": found.untold,
                "answers": found.answers,
                "answers_compared": found.compared,
                "tables": tables,
            }
        )
        return
    for table in tables:
        click.echo("\n".join(lines(table)))
    if found.untold:
        click.echo(
            f"{found.untold:,} offsets are not in bronze and no longer at the broker: nobody can say whether they held "
            "records"
        )
    verdict = "exact" if found.exact else "NOT exact"
    if found.live is not None and found.compared:
        how = f"; live numbers compared in part: {found.live}"
    elif found.live is not None:
        how = f"; live numbers not compared: {found.live}"
    else:
        how = (
            "; lake and live at the same offsets"
            if found.at_barrier
            else "; lake and live, each at its offsets"
        )
    click.echo(f"\n{verdict}: manifest {manifest.number} of {manifest.generation}, {records:,} records{how}")
