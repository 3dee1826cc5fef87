"""What the text and the page say alike: the summary, and what is declared in another way. Pure."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from replay.diff.document import moment
from replay.diff.values import Comparison, Declared, Side, Tally, Total


def number(value: Decimal | int) -> str:
    return f"{value:,}"


def signed(value: Decimal | int) -> str:
    return f"{value:+,}"


def verdict(found: Comparison) -> str:
    """The first thing to say."""
    of = {kind: [r for r in found.relations if r.kind == kind] for kind in ("table", "metric")}
    compared = f"{counted(_names(of['table']), 'table')} and {counted(_names(of['metric']), 'metric')}"
    if found.equal:
        return f"Equal: every row of {compared}."
    parts = []
    for kind, relations in of.items():
        differing = _names([r for r in relations if not r.equal])
        if differing:
            parts.append(f"{differing} of {counted(_names(relations), kind)}")
    for side, only in ((found.one, found.only_one), (found.other, found.only_other)):
        if only:
            parts.append(f"{len(only)} only in {side.generation}")
    return f"Different: {', '.join(parts)}."


def side(each: Side) -> str:
    """A generation, and what it is made by."""
    live = " (live)" if each.live else ""
    code = f"code {each.code}" if each.code else "code not pinned"
    return f"{each.generation}{live}: manifest {each.manifest}, {code}, declarations {each.declarations or 'unknown'}"


def at(found: Comparison) -> str:
    """At which offsets, and when it was made."""
    made = f", made {moment(found.made_at)}" if found.made_at is not None else ""
    days = f", only the days {found.days[0]} to {found.days[1]}" if found.days else ""
    return f"at the same offsets, {counted(found.records, 'record')} of {len(found.offsets)} partitions{days}{made}"


def tally(each: Tally, one: str, other: str) -> str:
    """What became of the rows."""
    parts = [
        f"{counted(each.changed, 'row')} changed" if each.changed else "",
        f"{each.only_one:,} only in {one}" if each.only_one else "",
        f"{each.only_other:,} only in {other}" if each.only_other else "",
    ]
    return ", ".join(filter(None, parts)) or "every row equal"


def both(each: Tally) -> str:
    """How many rows there are."""
    return f"{each.one:,}" if each.one == each.other else f"{each.one:,} → {each.other:,}"


def total(each: Total) -> str:
    difference = f" ({signed(each.difference)})" if each.difference else ""
    return f"{number(each.one)} → {number(each.other)}{difference}"


def declared(each: Declared, one: str, other: str) -> Iterator[str]:
    """What is declared in another way, a sentence each."""
    if each.only_one:
        yield f"only {one} has the columns {', '.join(each.only_one)}"
    if each.only_other:
        yield f"only {other} has the columns {', '.join(each.only_other)}"
    if each.key:
        names = [", ".join(names) or "nothing" for names in each.key]
        yield f"a row is named by {names[0]} in {one}, by {names[1]} in {other}"
    if each.summed_up:
        yield "compared by the dimensions that both have"
    if each.not_compared:
        yield f"{', '.join(each.not_compared)} follows from the others and was not compared"
    for column, a, b in each.types:
        yield f"{column} is {a} in {one}, {b} in {other}"
    for column, a, b in each.defined:
        yield f"{column} is {a or 'nothing said'} in {one}, {b or 'nothing said'} in {other}"


def value(each: Any) -> str:
    """A value of a row."""
    if each is None:
        return "null"
    return ", ".join(map(str, each)) if isinstance(each, list) else str(each)


def others(found: Comparison) -> Iterator[str]:
    """What else there is to know: settings that differ, and what was left out."""
    for each in (found.one, found.other):
        if each.fewer:
            yield f"{each.generation} begins behind {counted(each.fewer, 'record')} of the other one"
    for name, a, b in found.settings:
        yield f"{name} is {a} in {found.one.generation}, {b} in {found.other.generation}"
    if found.left_out:
        yield f"without days, so not compared: {', '.join(found.left_out)}"


def _names(relations: list) -> int:
    return len({relation.name for relation in relations})


def counted(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
