"""A comparison as lines of text for a terminal. Pure. Values are as they are: who prints them escapes what is none."""

from collections.abc import Iterator

from replay.diff import words
from replay.diff.values import Comparison, DayDifference, Example, RelationDifference

DAYS = 7  # the others are counted
MARKS = {"changed": "~", "only_one": "-", "only_other": "+"}


def lines(found: Comparison) -> list[str]:
    """The summary first, then each table and metric that differs, then those that do not."""
    one, other = found.one.generation, found.other.generation
    said = [
        words.verdict(found),
        f"{one} and {other} {words.at(found)}",
        *(f"  {words.side(side)}" for side in (found.one, found.other)),
        *(f"  {each}" for each in words.others(found)),
    ]
    for generation, only in ((one, found.only_one), (other, found.only_other)):
        said += [f"  only in {generation}: {each.kind} {each.title}, {each.rows:,} rows" for each in only]
    for each in found.differing:
        said += ["", *_relation(each, one, other)]
    equal = [each for each in found.relations if each.equal]
    for kind in ("table", "metric"):
        titles = [each.title for each in equal if each.kind == kind]
        if titles:
            said += ["", f"equal {kind}s: {', '.join(titles)}"]
    for each in equal:
        for sentence in words.declared(each.declared, one, other):
            said.append(f"  {each.title}: {sentence}")
    return said


def _relation(found: RelationDifference, one: str, other: str) -> Iterator[str]:
    yield f"{found.kind} {found.title}: {words.both(found.tally)} rows; {words.tally(found.tally, one, other)}"
    for sentence in words.declared(found.declared, one, other):
        yield f"  {sentence}"
    if found.columns:
        yield f"  columns: {', '.join(f'{name} in {rows:,}' for name, rows in found.columns)}"
    for total in found.totals:
        if total.difference:
            yield f"  sum of {total.column}: {words.total(total)}"
    for day in found.days[:DAYS]:
        yield f"  {day.day or 'no day'}: {_day(day, one, other)}"
    if len(found.days) > DAYS:
        yield f"  … and {len(found.days) - DAYS:,} more days"
    summed = {total.column for total in found.totals}
    for example in found.examples:
        yield f"  {MARKS[example.change]} {_example(example, summed)}"
    rest = found.tally.differing - len(found.examples)
    if found.examples and rest:
        yield f"  … and {rest:,} more"


def _day(found: DayDifference, one: str, other: str) -> str:
    sums = [f"{t.column} {words.signed(t.difference)}" for t in found.totals if t.difference]
    return "; ".join(filter(None, (words.tally(found.tally, one, other), ", ".join(sums))))


def _example(found: Example, summed: set[str]) -> str:
    key = ", ".join(f"{name}={words.value(value)}" for name, value in found.key.items()) or "the only row"
    if found.change == "changed":
        parts = [
            f"{name} {words.value(found.one[name])} → {words.value(found.other[name])}" for name in found.one
        ]
    else:
        # The whole row is in the JSON and on the page.
        row = found.one if found.other is None else found.other
        parts = [f"{name} {words.value(value)}" for name, value in row.items() if name in summed]
    return f"{key}: {', '.join(parts)}" if parts else key
