"""A comparison as a JSON document. Pure. Money is text with its decimals, counts are numbers."""

from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from replay.diff.values import Comparison, Declared, Only, RelationDifference, Side, Tally, Total


def document(found: Comparison) -> dict[str, Any]:
    """Everything that was found, equal tables and metrics too."""
    offsets: dict[str, dict[str, int]] = {}
    for (topic, partition), offset in sorted(found.offsets.items()):
        offsets.setdefault(topic, {})[str(partition)] = offset
    return {
        "equal": found.equal,
        "one": _side(found.one),
        "other": _side(found.other),
        "made_at": moment(found.made_at),
        "records": found.records,
        "offsets": offsets,
        "currency": found.currency,
        "days": [day.isoformat() for day in found.days] if found.days else None,
        "settings": [dict(zip(("name", "one", "other"), each, strict=True)) for each in found.settings],
        "only_in_one": [_only(each) for each in found.only_one],
        "only_in_other": [_only(each) for each in found.only_other],
        "left_out": list(found.left_out),
        "relations": [_relation(each) for each in found.relations],
    }


def moment(seconds: float | None) -> str | None:
    """UTC seconds as RFC 3339, to the second."""
    return (
        None
        if seconds is None
        else datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
    )


def _side(side: Side) -> dict[str, Any]:
    return asdict(side)


def _only(each: Only) -> dict[str, Any]:
    return asdict(each)


def _relation(found: RelationDifference) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "name": found.name,
        "title": found.title,
        "equal": found.equal,
        "rows": _tally(found.tally),
        "declared": _declared(found.declared),
        "changed_columns": dict(found.columns),
        "sums": [_total(each) for each in found.totals],
        "days": [
            {"day": _day(each.day), "rows": _tally(each.tally), "sums": [_total(t) for t in each.totals]}
            for each in found.days
        ],
        "examples": [
            {"change": each.change, "key": each.key, "one": each.one, "other": each.other}
            for each in found.examples
        ],
    }


def _tally(tally: Tally) -> dict[str, int]:
    return {**asdict(tally), "equal": tally.equal}


def _declared(declared: Declared) -> dict[str, Any]:
    return {
        "only_in_one": list(declared.only_one),
        "only_in_other": list(declared.only_other),
        "key": declared.key and [list(names) for names in declared.key],
        "types": [dict(zip(("column", "one", "other"), each, strict=True)) for each in declared.types],
        "defined": [dict(zip(("column", "one", "other"), each, strict=True)) for each in declared.defined],
        "summed_up": declared.summed_up,
        "not_compared": list(declared.not_compared),
    }


def _total(total: Total) -> dict[str, Any]:
    values = {"one": total.one, "other": total.other, "difference": total.difference}
    return {
        "column": total.column,
        "unit": total.unit or None,
        **{name: _number(v) for name, v in values.items()},
    }


def _number(value: Decimal | int) -> str | int:
    return str(value) if isinstance(value, Decimal) else value


def _day(day: date | None) -> str | None:
    return day and day.isoformat()
