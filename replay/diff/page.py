"""A comparison as one HTML page to send to somebody: nothing is loaded and nothing runs. Pure."""

from collections.abc import Iterable, Iterator
from html import escape

from replay.diff import words
from replay.diff.document import moment
from replay.diff.page_style import STYLE
from replay.diff.values import Comparison, Example, RelationDifference, Total

OPEN_DAYS = 10
CHANGES = {"changed": "changed", "only_one": "only in {one}", "only_other": "only in {other}"}


def page(found: Comparison) -> str:
    """The whole page, the summary first."""
    one, other = found.one.generation, found.other.generation
    title = f"{one} and {other}: {'equal' if found.equal else 'different'}"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # Whatever a record held: the page loads nothing and runs nothing.
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>",
            *_head(found),
            *_summary(found),
            *_only(found),
            *(part for each in found.differing for part in _relation(each, found)),
            *_equal(found),
            *_offsets(found),
            "</main></body></html>",
            "",
        ]
    )


def _head(found: Comparison) -> Iterator[str]:
    state = "good" if found.equal else "bad"
    yield f'<h1><span class="dot {state}"></span>{escape(words.verdict(found))}</h1>'
    yield f"<p>{escape(f'{found.one.generation} and {found.other.generation} {words.at(found)}.')}</p>"
    yield _items(words.side(side) for side in (found.one, found.other))
    if others := list(words.others(found)):
        yield _items(others)


def _summary(found: Comparison) -> Iterator[str]:
    if not found.differing:
        return
    one, other = found.one.generation, found.other.generation
    rows = [
        [
            f'<a href="#r{n}">{escape(each.title)}</a> <small>{each.kind}</small>',
            escape(words.both(each.tally)),
            escape(words.tally(each.tally, one, other)),
        ]
        for n, each in enumerate(found.differing)
    ]
    yield _table(("What differs", "Rows", "Differing"), rows)


def _only(found: Comparison) -> Iterator[str]:
    for side, only in ((found.one, found.only_one), (found.other, found.only_other)):
        if only:
            yield f"<h2>Only in {escape(side.generation)}</h2>"
            yield _items(f"{each.kind} {each.title}, {each.rows:,} rows. {each.doc}" for each in only)


def _relation(found: RelationDifference, whole: Comparison) -> Iterator[str]:
    one, other = whole.one.generation, whole.other.generation
    place = whole.differing.index(found)
    yield f'<section id="r{place}"><h2>{escape(found.title)} <small>{found.kind}</small></h2>'
    yield f'<p class="soft">{escape(found.doc)}</p><p>{escape(words.tally(found.tally, one, other))}</p>'
    if sentences := list(words.declared(found.declared, one, other)):
        yield _items(sentences)
    if found.columns:
        rows = [[escape(name), f"{number:,}"] for name, number in found.columns]
        yield _table(("Column", "Changed rows"), rows)
    if found.totals:
        rows = [[_named(t, whole), *_figures(t)] for t in found.totals]
        yield _table(("Sum of", one, other, "+/−"), rows)
    if found.days:
        names = [total.column for total in found.totals]
        rows = [
            [
                str(day.day or "no day"),
                escape(words.both(day.tally)),
                escape(words.tally(day.tally, one, other)),
                *(_difference(total) for total in day.totals),
            ]
            for day in found.days
        ]
        head = ("Day", "Rows", "Differing", *(f"{name} +/−" for name in names))
        opened = " open" if len(rows) < OPEN_DAYS else ""
        yield f"<details{opened}><summary>By day ({len(rows):,})</summary>{_table(head, rows)}</details>"
    if found.examples:
        yield f"<h3>{len(found.examples):,} of {found.tally.differing:,} rows that differ</h3>"
        for example in found.examples:
            yield _example(example, one, other)
    yield "</section>"


def _example(found: Example, one: str, other: str) -> str:
    key = ", ".join(f"{name} = {words.value(value)}" for name, value in found.key.items()) or "the only row"
    change = CHANGES[found.change].format(one=one, other=other)
    names = found.one if found.one is not None else found.other or {}
    sides = [side for side in ((one, found.one), (other, found.other)) if side[1] is not None]
    rows = [[escape(name), *(escape(words.value(side[name])) for _, side in sides)] for name in names]
    table = _table(("", *(generation for generation, _ in sides)), rows) if rows else ""
    return f"<details><summary><b>{escape(change)}</b> {escape(key)}</summary>{table}</details>"


def _equal(found: Comparison) -> Iterator[str]:
    equal = [each for each in found.relations if each.equal]
    if not equal:
        return
    one, other = found.one.generation, found.other.generation
    yield f"<h2>Equal</h2><p>{escape(', '.join(each.title for each in equal))}</p>"
    notes = [f"{each.title}: {note}" for each in equal for note in words.declared(each.declared, one, other)]
    if notes:
        yield _items(notes)


def _offsets(found: Comparison) -> Iterator[str]:
    rows = [[escape(topic), str(p), f"{offset:,}"] for (topic, p), offset in sorted(found.offsets.items())]
    yield f"<details><summary>Offsets</summary>{_table(('Topic', 'Partition', 'Next offset'), rows)}</details>"
    made = moment(found.made_at)
    yield f"<footer>DataFlow{f', {made}' if made else ''}. Personal data is masked.</footer>"


def _named(total: Total, found: Comparison) -> str:
    return escape(f"{total.column} ({found.currency})" if total.unit == "money" else total.column)


def _figures(total: Total) -> list[str]:
    return [words.number(total.one), words.number(total.other), _difference(total)]


def _difference(total: Total) -> str:
    return words.signed(total.difference) if total.difference else "0"


def _items(texts: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """`head` is text, `rows` are HTML."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
