"""`dataflow replay diff`: two generations at the same offsets, row by row, as text, JSON or a page to send."""

from datetime import date
from pathlib import Path

import click

from dataflow.options import (
    DayRange,
    GenerationName,
    examples,
    json_option,
    print_json,
    printable,
    settings_option,
)
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from replay.diff.compare import EXAMPLES, Asked
from replay.diff.diff import PATIENCE
from replay.diff.diff import diff as difference
from replay.diff.document import document
from replay.diff.page import page
from replay.diff.text import lines
from replay.differences import keep_difference, kept_of

DIFFERENT = 1


@click.command(
    "diff",
    epilog=examples(
        "dataflow replay diff",
        "dataflow replay diff g1 g3 --table fct_orders --metric revenue",
        "dataflow replay diff --day 2026-03-01..2026-03-07",
        "dataflow replay diff --html difference.html",
        "dataflow replay diff --json | jq '.relations[] | select(.equal | not) | .title'",
    )
    + "\n\nExit code 0: equal; 1: different, or it could not be compared; 75: a service does not answer. "
    "Both may go on meanwhile. Personal data is masked. docs/replay.md: reading a difference.",
)
@click.argument("one", type=GenerationName(), required=False)
@click.argument("other", type=GenerationName(), required=False)
@click.option(
    "--table", "tables", multiple=True, metavar="NAME", help="Only this table; may be given several times."
)
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this metric; the same.")
@click.option(
    "--day",
    "days",
    type=DayRange(),
    metavar="D[..D]",
    help="Only rows of these days of the shop's time zone.",
)
@click.option(
    "--html", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to this file."
)
@click.option(
    "--examples",
    "most",
    type=click.IntRange(0, 1_000),
    default=EXAMPLES,
    show_default=True,
    help="Rows that are shown of each table and metric.",
)
@click.option(
    "--patience",
    type=click.FloatRange(0),
    default=PATIENCE,
    show_default=True,
    help="Seconds for the two lakes to come to the same offsets.",
)
@json_option
@settings_option
@click.pass_context
def diff(
    ctx: click.Context,
    /,
    settings: Settings,
    one: int | None,
    other: int | None,
    tables: tuple[str, ...],
    metrics: tuple[str, ...],
    days: tuple[date, date] | None,
    file: Path | None,
    most: int,
    patience: float,
    as_json: bool,
) -> None:
    """Compare two generations at the same offsets, every table and metric, row by row in both directions.

    ONE is the live generation if it is not named, OTHER the newest other one that runs.
    """
    if file is not None and as_json:
        raise click.UsageError("expected --json or --html, saw both")
    settings = running_settings(settings, needs=("kafka_bootstrap_servers",))
    asked = Asked(tables or None, metrics or None, days, most)
    found = difference(
        settings, one, other, asked=asked, patience=patience, tell=lambda what: click.echo(what, err=True)
    )
    if asked == Asked(None, None, None, most):
        keep_difference(settings, kept_of(found))
    if as_json:
        print_json(document(found))
    elif file is not None:
        draft = file.with_name(f"{file.name}.draft")
        draft.write_text(page(found), "utf-8")
        draft.replace(file)
        click.echo(f"{lines(found)[0]} The page is {file}")
    else:
        click.echo("\n".join(map(printable, lines(found))))
    if not found.equal:
        ctx.exit(DIFFERENT)
