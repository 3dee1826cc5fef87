"""A view of the live numbers as text: one line for a log, or a picture for a terminal. Pure."""

from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dataflow.options import printable
from dataflow.push import DISCONNECTED, LIVE, REBUILDING, STALE, View

STYLES = {LIVE: "bold green", STALE: "bold yellow", REBUILDING: "bold yellow"}
BAR = 24
NONE = "–"


def money(value: str | None) -> str:
    return NONE if value is None else f"{Decimal(value):,.2f}"


def percent(value: float | None) -> str:
    return NONE if value is None else f"{value * 100:.2f} %"


def state_text(view: View, now: float) -> str:
    """`live`, or what else it is, since when and why."""
    text = view.state + (" – retrying" if view.state == DISCONNECTED else "")
    if view.state != LIVE:
        text += f" ({max(0, now - view.since):.0f} s)"
    return text + (f": {printable(view.detail)}" if view.detail else "")


def exactness_text(exactness: dict[str, Any]) -> str:
    held = exactness["held"]
    if held:
        return "held: " + ", ".join(f"{place} ({printable(str(reason))})" for place, reason in held.items())
    return "exact" if exactness["exact"] else "NOT exact"


def lag_text(lag: dict[str, Any]) -> str:
    return f"{lag['records_behind']:,} behind" + (" (stale)" if lag["stale"] else "")


def freshness_text(freshness: dict[str, Any]) -> str:
    age = freshness["freshness_ms"]
    return "nothing is counted yet" if age is None else f"{age:,} ms"


def error_rate(events: list[dict[str, Any]]) -> float | None:
    """Of all topics together."""
    records = sum(row["records"] for row in events)
    return sum(row["refused"] for row in events) / records if records else None


def _position(shot: dict[str, Any]) -> str:
    return f"{shot['as_of']['generation']}-{shot['as_of']['position']}"


def own_figures(shot: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Metric, figure and value of each metric that only its user knows; an API of before has none."""
    return [
        (metric["name"], figure["name"], own_value(figure["unit"], figure["value"]))
        for metric in shot.get("more_metrics", ())
        for figure in metric["figures"]
    ]


def own_value(unit: str, value: Any) -> str:
    """A figure in its unit. A ratio may be a share or a mean, so it is shown as the number that it is."""
    if value is None:
        return NONE
    if unit == "money":
        return money(value)
    return f"{value:,}" if unit == "count" else f"{value:,.4g}"


def line(view: View, now: float) -> str:
    """Everything that matters in one line."""
    shot = view.snapshot
    if shot is None:
        return state_text(view, now)
    revenue, active = shot["revenue"], shot["active"]
    parts = (
        state_text(view, now),
        f"gross {money(revenue['gross'])}",
        f"net {money(revenue['net'])}",
        f"orders {revenue['orders']:,}",
        f"AOV {money(revenue['average_order_value'])}",
        f"units {shot['items']['units']:,}",
        f"sessions {active['sessions']:,}",
        *(f"{metric}.{figure} {value}" for metric, figure, value in own_figures(shot)),
        f"errors {percent(error_rate(shot['events']))}",
        f"lag {lag_text(shot['lag'])}",
        f"freshness {freshness_text(shot['freshness'])}",
        exactness_text(shot["exactness"]),
        f"as of {_position(shot)}",
    )
    return "  ".join(parts)


def picture(view: View, env: str, now: float) -> RenderableType:
    """For a terminal; dim where the numbers are not the newest. How far to trust them comes first: a small one cuts."""
    head = Text.assemble(
        (f"{env}  ", "bold"), (state_text(view, now), STYLES.get(view.state, "bold red")), overflow="ellipsis"
    )
    shot = view.snapshot
    if shot is None:
        return head
    dim = "" if view.state == LIVE else "dim"
    as_of = shot["as_of"]
    trust = (
        f"lag {lag_text(shot['lag'])}   freshness {freshness_text(shot['freshness'])}   "
        f"{exactness_text(shot['exactness'])}\nas of {_position(shot)}, newest event {as_of['event_time'] or NONE}"
    )
    return Group(
        head,
        Text(trust),
        Text(),
        _headline(shot, dim),
        _funnel(shot, dim),
        _products(shot, dim),
        *_own(shot, dim),
        _events(shot, dim),
    )


def _headline(shot: dict[str, Any], dim: str) -> Table:
    revenue, active, currency = shot["revenue"], shot["active"], shot["currency"]
    figures = {
        f"gross {currency}": money(revenue["gross"]),
        f"net {currency}": money(revenue["net"]),
        "orders": f"{revenue['orders']:,}",
        f"AOV {currency}": money(revenue["average_order_value"]),
        "units": f"{shot['items']['units']:,}",
        "paid": percent(shot["payments"]["success_rate"]),
        "sessions": f"{active['sessions']:,}",
        "visitors": f"{active['visitors']:,}",
        "customers": f"{shot['customers']['new_customers']:,}",
    }
    table = _table(dim)
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*(Text(value, style="bold") for value in figures.values()))
    return table


def _funnel(shot: dict[str, Any], dim: str) -> Table:
    stages = {name: n for name, n in shot["funnel"].items() if name != "conversion"}
    most = max(stages.values(), default=0)
    table = _table(dim)
    table.add_column("funnel")
    table.add_column("sessions", justify="right")
    table.add_column(f"conversion {percent(shot['funnel']['conversion'])}", min_width=BAR)
    for name, sessions in stages.items():
        table.add_row(name, f"{sessions:,}", "█" * (round(BAR * sessions / most) if most else 0))
    return table


def _products(shot: dict[str, Any], dim: str) -> Table:
    table = _table(dim)
    table.add_column("top products", max_width=36, no_wrap=True)
    table.add_column("category", max_width=20, no_wrap=True)
    table.add_column(f"revenue {shot['currency']}", justify="right")
    table.add_column("units", justify="right")
    for row in shot["top_products"]:
        # As Text: a name may look like markup.
        name = Text(printable(row["name"] or row["product_id"] or NONE))
        table.add_row(
            name, Text(printable(row["category"] or NONE)), money(row["revenue"]), f"{row['units']:,}"
        )
    return table


def _own(shot: dict[str, Any], dim: str) -> list[Table]:
    rows = own_figures(shot)
    if not rows:
        return []
    table = _table(dim)
    for name in ("more metrics", "figure"):
        table.add_column(name, no_wrap=True)
    table.add_column("", justify="right")
    before = None
    for metric, figure, value in rows:
        table.add_row("" if metric == before else metric, figure, value)
        before = metric
    return [table]


def _events(shot: dict[str, Any], dim: str) -> Table:
    table = _table(dim)
    table.add_column("events")
    for name in ("records", "refused", "error rate"):
        table.add_column(name, justify="right")
    for row in shot["events"]:
        table.add_row(row["topic"], f"{row['records']:,}", f"{row['refused']:,}", percent(row["error_rate"]))
    return table


def _table(dim: str) -> Table:
    return Table(box=box.SIMPLE_HEAD, style=dim, header_style=dim or "cyan", row_styles=[dim], pad_edge=False)
