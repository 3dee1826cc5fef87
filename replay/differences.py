"""The last difference that somebody has looked at, of two generations, kept for whoever promotes one of them.

Reads and writes `{state_dir}/replay/<one>-<other>.json`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from infra.settings import Settings
from replay.diff.values import Comparison, Only, RelationDifference
from replay.verify.layout import dated
from schemas.contract import CONTRACTS
from schemas.gold import CUSTOMER_COHORTS, DIM_DATE
from schemas.tables import QUARANTINE, RELATIONS, SESSIONS
from schemas.view import View

WITHOUT_DAYS = tuple(table.name for table in (CUSTOMER_COHORTS, DIM_DATE, SESSIONS, QUARANTINE))


@dataclass(frozen=True)
class Kept:
    """`differing` has each table and metric that differs, by its kind and name, as in "table payments", with the share
    of its rows; `at` is in UTC seconds.

    `days`: of those whose rows are of the day on which something happened, which ones differ; "" stands for rows
    without one.
    """

    one: int
    other: int
    at: float
    differing: Mapping[str, float]
    days: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))


def kept_of(found: Comparison) -> Kept:
    """What a promote has to know of a comparison: what is only in one, or is declared otherwise, differs too."""
    differing = {_called(each): 0.0 for each in (*found.only_one, *found.only_other)}
    days: dict[str, list[str]] = {}
    for each in found.relations:
        if not each.equal:
            share = each.tally.differing / max(each.tally.all, 1)
            name = _called(each)  # a metric has several relations
            differing[name] = max(share, differing.get(name, 0.0))
            if each.days and not _of_another_day(each):
                new = {one.day.isoformat() if one.day else "" for one in each.days}
                days[name] = sorted(new.union(days.get(name, ())))
    one, other = (int(side.generation.removeprefix("g")) for side in (found.one, found.other))
    return Kept(one, other, found.made_at, differing, days)


def _called(each: RelationDifference | Only) -> str:
    return f"{each.kind} {each.name}"


def _of_another_day(relation: RelationDifference) -> bool:
    """Whether the days of a table's rows are not those of the events behind them.

    What happens on a day moves the row of a cohort that is older, ends a dimension's version that began earlier, joins
    a session that began on the day before, adds the other days of its year to the calendar, and takes a record out of
    the quarantine, which has the broker's days. The latest row of an entity without a date of its own is of the day on
    which it changed last, and leaves that of the change before. A view may have weeks or months.
    """
    table = RELATIONS.get(relation.name) if relation.kind == "table" else None
    if table is None:
        return False
    if isinstance(table, View):
        return all(column.name != "day" for column in table.columns)
    if table.name == table.topic and CONTRACTS[table.topic].is_change and not dated(CONTRACTS[table.topic]):
        return True
    return table.name in WITHOUT_DAYS or any(column.name == "valid_from" for column in table.columns)


def keep_difference(settings: Settings, kept: Kept) -> None:
    file = _file(settings, kept.one, kept.other)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".new")
    draft.write_text(kept.to_json(), "utf-8")
    draft.replace(file)


def kept_difference(settings: Settings, one: int, other: int) -> Kept | None:
    """The last, from whichever side somebody has looked; None if nobody has."""
    found = [_read(_file(settings, *pair)) for pair in ((one, other), (other, one))]
    return max(filter(None, found), key=lambda kept: kept.at, default=None)


def _read(file: Path) -> Kept | None:
    try:
        return Kept.from_json(file.read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return None


def forget_differences(settings: Settings, number: int) -> None:
    """Of a generation that is gone."""
    for pattern in (f"g{number}-g*.json", f"g*-g{number}.json"):
        for file in (settings.state_dir / "replay").glob(pattern):
            file.unlink(missing_ok=True)


def _file(settings: Settings, one: int, other: int) -> Path:
    return settings.state_dir / "replay" / f"g{one}-g{other}.json"
