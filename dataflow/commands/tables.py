"""`dataflow tables`: the lake's tables and views from the API, columns from the declarations, a sample of rows."""

from typing import Any

import click

from dataflow.api import api_get
from dataflow.commands.metrics import Pair
from dataflow.options import examples, json_option, print_json, print_table, settings_option
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from schemas.tables import RELATIONS
from serving.lake.dictionary import describe

SAMPLE = 20
SIZES = ("B", "kB", "MB", "GB", "TB")


@click.command(
    epilog=examples(
        "dataflow tables                                 sizes, versions, freshness",
        "dataflow tables daily_sales                     its columns and what they mean",
        "dataflow tables orders --rows 5 --where status=paid --columns order_id,total_amount",
        "dataflow tables quarantine --where reasons=status_allowed --json | jq '.rows[].offset'",
        "dataflow tables fct_orders --rows 5 --as-of 812",
        "dataflow tables revenue_by_month --rows 12 --newest",
    )
    + "\n\nWith NAME alone nothing needs to run. Personal data is masked. docs/lake.md: querying it by SQL."
)
@click.argument("name", required=False)
@click.option("--rows", type=click.IntRange(1, 1_000), help=f"Show N rows. [{SAMPLE} with another option]")
@click.option(
    "--where",
    type=Pair(),
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Only these; of one column several: any; an empty value: null.",
)
@click.option("--columns", metavar="A,B", help="Only these columns.")
@click.option("--newest", is_flag=True, help="The last rows in the table's order first.")
@click.option("--as-of", metavar="MANIFEST", help="The lake as it was: a manifest's number, or a time.")
@json_option
@settings_option
def command(
    settings: Settings,
    name: str | None,
    rows: int | None,
    where: tuple[tuple[str, str], ...],
    columns: str | None,
    newest: bool,
    as_of: str | None,
    as_json: bool,
) -> None:
    """The lake's tables and views; with NAME what its columns mean, or some of its rows."""
    query = [("as_of", as_of)] if as_of else []
    if name is None:
        if rows or where or columns or newest:
            raise click.UsageError("the options for rows need the NAME of a table")
        show_catalogue(api_get(running_settings(settings, needs=()), "/v1/tables", query), as_json)
        return
    if name not in RELATIONS:
        raise click.UsageError(f"no table or view {name!r}: expected one of {', '.join(RELATIONS)}")
    if not (rows or where or columns or newest or as_of):
        show_columns(describe(RELATIONS[name]), as_json)
        return
    query += [("limit", str(rows or SAMPLE)), *where, *([("columns", columns)] if columns else [])]
    query += [("order", "desc")] if newest else []
    answer = api_get(running_settings(settings, needs=()), f"/v1/tables/{name}", query)
    if as_json:
        print_json(answer)
    else:
        show_rows(answer)


def show_catalogue(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    print_table(
        ("TABLE", "LAYER", "ROWS", "SIZE", "FILES", "VERSION", "WRITTEN", "WHAT"),
        (
            (
                table["name"],
                table["layer"],
                *_facts(table["facts"], answer["as_of"]),
                table["doc"],
            )
            for table in answer["tables"]
        ),
    )
    click.echo(f"\n{answer['detail'] or as_of_line(answer['as_of'])}")


def show_columns(table: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(table)
        return
    of = f", of topic {table['topic']}" if table["topic"] else ""
    of = f" of {', '.join(table['reads'])}" if table["reads"] else of
    key = f"one row a {', '.join(table['key'])}" if table["key"] else "rows are only added"
    click.echo(f"{table['name']} ({table['layer']}{of}; {key})\n{table['doc']}\n")
    print_table(
        ("COLUMN", "TYPE", "UNIT", "NULL", "MEANING", "SOURCE"),
        (
            (
                column["name"],
                column["type"],
                column["unit"],
                "null" if column["nullable"] else None,
                column["doc"] + (" Personal: masked." if column["personal"] else ""),
                column["source"],
            )
            for column in table["columns"]
        ),
    )


def show_rows(answer: dict[str, Any]) -> None:
    names = answer["columns"]
    if answer["rows"]:
        print_table(
            [name.upper() for name in names], ([_cell(row[name]) for name in names] for row in answer["rows"])
        )
    else:
        click.echo("no rows")
    more = "there are more; " if answer["next"] else ""
    click.echo(f"\n{more}{as_of_line(answer['as_of'])}")


def as_of_line(as_of: dict[str, Any]) -> str:
    """Which state of the lake an answer shows."""
    return f"as of manifest {as_of['manifest']}, {as_of['generation']}-{as_of['position']}"


def size(number: int) -> str:
    """Bytes as people read them."""
    value, unit = float(number), 0
    while value >= 1_000 and unit < len(SIZES) - 1:
        value, unit = value / 1_000, unit + 1
    return f"{value:,.0f} {SIZES[unit]}" if unit == 0 else f"{value:,.1f} {SIZES[unit]}"


def _facts(facts: dict[str, Any] | None, as_of: dict[str, Any] | None) -> tuple[object, ...]:
    if facts is None:
        return (None,) * 5
    # A service of before counts all of them at the manifest.
    counted = facts.get("rows_at", as_of["manifest"])
    older = "" if counted == as_of["manifest"] else f" (at {counted})"
    rows = None if facts["rows"] is None else f"{facts['rows']:,}{older}"
    written = facts["written_at"] and facts["written_at"][:19] + "Z"
    taken = None if facts["bytes"] is None else size(facts["bytes"])
    return rows, taken, facts["files"], facts["version"], written


def _cell(value: Any) -> Any:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else value
