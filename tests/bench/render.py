"""Results as text: Markdown tables, which are also what the terminal shows, and the page docs/benchmarks.md. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

INTRODUCTION = """# Benchmarks

Written by `make bench`, which runs the whole platform in a fresh directory and measures it; the raw figures
are in [results.json](../tests/bench/results.json). Nothing passes or fails here. Load, clients and platform
share the machine, so what the load generator and the clients use is missing to the platform.
"""


@dataclass(frozen=True)
class Table:
    """A table with a caption. A cell is text, a number or None."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = field(default=())


def cell(value: Any) -> str:
    """A value as it stands in a table."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return (
            f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.2f}" if abs(value) < 1 else f"{value:,.1f}"
        )
    return str(value)


def markdown(table: Table) -> str:
    """The table with aligned columns; numbers stand at the right."""
    rows = [[cell(value) for value in row] for row in table.rows]
    widths = [max(3, *(len(row[n]) for row in (table.columns, *rows))) for n in range(len(table.columns))]
    right = [
        any(numbers) if n else all(numbers)
        for n in range(len(table.columns))
        if (numbers := [isinstance(row[n], int | float) for row in table.rows]) is not None
    ]

    def line(cells: Iterable[str]) -> str:
        parts = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
        return "| " + " | ".join(parts) + " |"

    rule = ("-" * (w - 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True))
    lines = [line(table.columns), line(rule), *map(line, rows)]
    caption = [f"**{table.caption}**", ""] if table.caption else []
    return "\n".join(
        [*caption, *lines, *(["", *(f"- {note}" for note in table.notes)] if table.notes else [])]
    )


def usage_table(caption: str, usage: Mapping[str, Mapping[str, float]]) -> Table:
    """CPU and memory per process, with their sums."""
    rows = [[name, row["cpu_percent"], row["rss_mb"]] for name, row in usage.items()]
    total = [
        "all",
        round(sum(row["cpu_percent"] for row in usage.values()), 1),
        sum(row["rss_mb"] for row in usage.values()),
    ]
    return Table(caption, ("process", "CPU, % of a core", "RSS, MB"), [*rows, total])


def spread_rows(named: Mapping[str, Mapping[str, Any]]) -> list[list[Any]]:
    """One row of percentiles per name."""
    return [
        [name, row["p50"], row["p90"], row["p99"], row["max"], row["samples"]] for name, row in named.items()
    ]


SPREAD = ("p50", "p90", "p99", "max", "records")


def place_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """Machine and versions of a part's run, as they are told."""
    machine = run["machine"]
    told = {"CPU": machine["cpu"], "cores": machine["cores"], "memory, GB": machine["memory_gb"]}
    return {**told, "system": machine["system"], **run["versions"]}


@dataclass(frozen=True)
class Section:
    """One part: how it is done, its runs (the newest first, one a processor) with their tables, what they mean."""

    title: str
    method: str
    runs: Sequence[tuple[Mapping[str, Any], Sequence[Table]]]
    explanation: str = ""


def page(sections: Sequence[Section]) -> str:
    """docs/benchmarks.md."""
    out = [
        INTRODUCTION,
        "## Where",
        "",
        "Compare what was measured at one place only; each section names its own.",
        "",
    ]
    places: list[dict[str, Any]] = []  # in the order of the sections
    for section in sections:
        for run, _ in section.runs:
            if (place := place_of(run)) not in places:
                places.append(place)
    facts = [
        (what, *(place.get(what) for place in places)) for what in dict.fromkeys(w for p in places for w in p)
    ]
    out += [markdown(Table("", ("", *(str(n) for n, _ in enumerate(places, 1))), facts)), ""]
    for section in sections:
        out += [f"## {section.title}", "", section.method, ""]
        for n, (run, tables) in enumerate(section.runs):
            at = places.index(place_of(run)) + 1
            out += [f"### The same at place {at}", ""] if n else []
            for table in tables:
                out += [markdown(table), ""]
            out += [
                f"Measured {run['date']} at place {at}, commit `{run['commit']}`, "
                f"`{run['command']}`, load average at start {run['load_average']}, in {run['seconds']:,.0f} s.",
                "",
            ]
        out += [section.explanation, ""] if section.explanation else []
    return "\n".join(out).rstrip() + "\n"
