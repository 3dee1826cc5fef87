"""A replay of a part: which tables and metrics are made anew, and what has to be the same for the rest to stay. Pure.

The rest is taken over from the live generation's lake as it is. So whatever decides about a record, or about a table or
metric that is not selected, has to be what it was. Code cannot be told apart by table; there the second computation,
without which nothing is promoted, says whether the rest is still right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from replay.affected import affected
from replay.errors import ReplayError
from schemas.metrics import METRICS
from schemas.tables import TABLES
from schemas.views import VIEWS
from streams.lake.parts import DERIVED

OF_RECORDS = ("contract", "rules", "setting")  # what decides about every record of a topic, or of all
WHOLE = "without --table and --metric everything is made anew"


@dataclass(frozen=True)
class Selection:
    """Names of tables and metrics; none of either means everything."""

    tables: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tables or self.metrics)

    @property
    def words(self) -> str:
        return ", ".join(
            [*(f"table {name}" for name in self.tables), *(f"metric {name}" for name in self.metrics)]
        )


def check_names(selection: Selection) -> None:
    """Raise ReplayError if one of them is not declared, or is no table that can be made anew by itself."""
    for kind, names, known in (
        ("table", selection.tables, DERIVED),
        ("metric", selection.metrics, tuple(METRICS)),
    ):
        unknown = [name for name in names if name not in known]
        there = sorted(set(unknown) & TABLES.keys()) if kind == "table" else []
        if there:
            raise ReplayError(
                f"expected a table that follows from silver ({', '.join(DERIVED)}), and {', '.join(there)} is made of "
                f"the records themselves: {WHOLE}"
            )
        if unknown:
            raise ReplayError(
                f"expected a {kind} that is declared: {', '.join(known)}; saw {', '.join(unknown)}"
            )


def check_selection(selection: Selection, changed: Sequence[str]) -> None:
    """Raise ReplayError if these cannot be made anew by themselves. `changed` is what `infra.code.changed` names."""
    check_names(selection)
    of_records = [each for each in changed if each.partition(" ")[0] in OF_RECORDS or each == "code judge"]
    if of_records:
        raise ReplayError(
            f"expected changes that concern {selection.words} only, and {', '.join(of_records)} decide about every "
            f"record: {WHOLE}"
        )
    found = affected(each for each in changed if not each.startswith("code "))
    others = [f"--table {name}" for name in found["tables"] if name not in selection.tables]
    others += [f"--metric {name}" for name in found["metrics"] if name not in selection.metrics]
    if others:
        raise ReplayError(
            f"expected changes that concern {selection.words} only, and there are others: add {' '.join(others)}; or "
            f"{WHOLE}"
        )


def affected_by(selection: Selection, changed: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What may have other rows by it, by kind. Live numbers are all filled by the fold that is here now."""
    names = [
        *(f"table {name}" for name in selection.tables),
        *(f"metric {name}" for name in selection.metrics),
    ]
    names += [each for each in changed if each == "code fold" or each.startswith("view ")]
    if "code lake" in changed:  # which makes the views, too
        names += [f"view {name}" for name in VIEWS]
    return affected(names)
