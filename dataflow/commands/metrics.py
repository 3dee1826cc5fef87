"""`dataflow metrics`: the catalogue, from the declarations, or a metric's rows, from the API."""

from decimal import Decimal
from typing import Any

import click

from dataflow.api import api_get
from dataflow.options import examples, json_option, print_json, print_table, settings_option
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from schemas.metrics import METRICS
from serving.read.catalogue import describe


class Pair(click.ParamType):
    """`dimension=value`."""

    name = "dimension=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, sign, wanted = value.partition("=")
        if not name or not sign:
            self.fail(f"expected dimension=value, such as shipping_country=AT; saw {value!r}", param, ctx)
        return name, wanted


@click.command(
    epilog=examples(
        "dataflow metrics                                     what there is",
        "dataflow metrics revenue --grain day --from 2026-03-01",
        "dataflow metrics items --grain all --by category --order revenue --limit 5",
        "dataflow metrics revenue --grain hour --where shipping_country=AT --where shipping_country=DE",
        "dataflow metrics funnel --json | jq '.rows[-1]'",
    )
    + "\n\nWithout NAME nothing needs to run. Without --from and --to: the last 60 minutes, 48 hours or 30 days up to "
    "the newest event, or the broker's newest time if that is earlier."
)
@click.argument("name", required=False)
@click.option("--grain", help="minute, hour, day or all. [hour]")
@click.option(
    "--from", "start", metavar="TIME", help="A time with its zone, or a day in the shop's time zone."
)
@click.option("--to", "end", metavar="TIME", help="Where the range ends.")
@click.option("--by", multiple=True, metavar="DIMENSION", help="Split by it; several: a,b or --by again.")
@click.option("--where", type=Pair(), multiple=True, help="Only these; may be repeated.")
@click.option("--order", metavar="FIGURE", help="The largest of this figure first.")
@click.option("--limit", type=click.IntRange(min=1), help="At most N rows.")
@json_option
@settings_option
def command(
    settings: Settings,
    name: str | None,
    grain: str | None,
    start: str | None,
    end: str | None,
    by: tuple[str, ...],
    where: tuple[tuple[str, str], ...],
    order: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """What is measured; with NAME its rows, as of the offsets that the last line names."""
    options = {"grain": grain, "from": start, "to": end, "order": order, "limit": limit}
    query = [(key, str(value)) for key, value in options.items() if value is not None]
    query += [*((("by", ",".join(by)),) if by else ()), *where]
    if name is None:
        if query:
            raise click.UsageError("the options for rows need the NAME of a metric")
        _show_catalogue(as_json)
        return
    if name not in METRICS:
        raise click.UsageError(f"no metric {name!r}: expected one of {', '.join(METRICS)}")
    answer = api_get(running_settings(settings, needs=()), f"/v1/metrics/{name}", query)
    if as_json:
        print_json(answer)
    else:
        _show_rows(answer)


def _show_catalogue(as_json: bool) -> None:
    catalogue = [describe(metric) for metric in METRICS.values()]
    if as_json:
        print_json({"metrics": catalogue})
        return
    for metric in catalogue:
        click.echo(f"{metric['name']}: {metric['doc']}")
        rollups = [f"{each['name']} (of {each['through']})" for each in metric["rollups"]]
        click.echo(f"  by {', '.join([*metric['dimensions'], *rollups]) or 'nothing'}; ", nl=False)
        click.echo(f"grains {', '.join(metric['grains'])}")
        width = max(len(figure["name"]) for figure in metric["figures"])
        for figure in metric["figures"]:
            click.echo(f"    {figure['name']:<{width}}  {figure['unit']:<5}  {figure['doc']}")
        click.echo()


def _show_rows(answer: dict[str, Any]) -> None:
    rows = answer["rows"]
    if rows:
        units = {figure["name"]: figure["unit"] for figure in describe(METRICS[answer["metric"]])["figures"]}
        names = list(rows[0])
        header = [
            f"{name.upper()} {answer['currency']}" if units.get(name) == "money" else name.upper()
            for name in names
        ]
        print_table(header, ([_cell(row[name], units.get(name)) for name in names] for row in rows))
    else:
        click.echo("no rows")
    click.echo(f"\n{as_of_line(answer['as_of'])}")


def _cell(value: Any, unit: str | None) -> str | None:
    if value is None:
        # Of a dimension null is a value; of a figure it is a division by 0.
        return "null" if unit is None else None
    if unit == "money":
        return f"{Decimal(value):,.2f}"
    return f"{value:,}" if unit == "count" else str(value)


def as_of_line(as_of: dict[str, Any]) -> str:
    """Which state an answer shows."""
    seen = f"newest event {as_of['event_time']}" if as_of["event_time"] else "no event yet"
    return f"as of {as_of['generation']}-{as_of['position']}, {seen}"
