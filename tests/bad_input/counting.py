"""What a live path says before and after: every metric's totals, and what became of the records."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from dataflow.testing import Live, Numbers, Place, Raw
from dataflow.testing.judge import Verdict
from tests.bad_input.records import DAMAGED, UNDECIDED, Case

METRICS = ("revenue", "items", "payments", "customers", "reviews", "funnel", "clicks")


def totals(live: Numbers) -> dict[str, Any]:
    """Every measure over all time, but those of the verdicts' own metric."""
    return {name: live.rows(name) for name in METRICS}


def measure(live: Numbers, metric: str, name: str) -> Decimal:
    """One measure over all time; 0 where there is no row yet."""
    rows = live.rows(metric)
    return Decimal(rows[0][name]) if rows else Decimal(0)


def outcomes(live: Numbers) -> dict[str, int]:
    """How many records became what."""
    rows = live.rows("events")
    names = ("records", "changed", "repeat", "superseded", "refused")
    return {name: rows[0][name] if rows else 0 for name in names}


def gained(live: Live, act: Callable[[], object]) -> dict[str, int]:
    """What `act` has added to the outcomes, once all is counted."""
    live.settled()
    before = outcomes(live)
    act()
    live.settled()
    return {name: count - before[name] for name, count in outcomes(live).items()}


def expect_table(
    live: Live, cases: Sequence[Case], make: Callable[[Case], Raw], *, interchangeable: bool
) -> None:
    """Each record of a table gets its verdict, each refused one is among the dead letters, bytes and all.

    `interchangeable`: which of the names of damage is said depends on the judge.
    """
    records = [make(case) for case in cases]
    places = dict(zip(live.stream.produce_all(records), zip(cases, records, strict=True), strict=True))
    live.settled(120)
    verdicts = {Place(v.topic, v.partition, v.offset): v for v in live.verdicts()}
    letters = {letter.place: letter for letter in live.dead_letters()}
    wrong = {}
    for place, (case, record) in places.items():
        verdict: Verdict = verdicts[place]
        said = set(verdict.reasons) if verdict.kind != "undecided" else {UNDECIDED}
        if said != set(case.reasons) and not (
            interchangeable and said & DAMAGED and {*case.reasons} & DAMAGED
        ):
            wrong[case.name] = (verdict.kind, verdict.reasons)
        letter = letters.get(place)
        if bool(case.reasons) != (letter is not None):
            wrong[case.name] = f"dead letter: {letter}"
        elif letter is not None:
            value = record.value or b""
            whole = len(value) + len(record.key or b"") <= live.settings.max_event_bytes
            if letter.value != (value if whole else value[:4096]) or letter.null_value != (
                record.value is None
            ):
                wrong[case.name] = f"other bytes: {letter}"
    assert not wrong, wrong
    exactness = live.get("/v1/exactness")
    assert (exactness["exact"], exactness["held"]) == (True, {}), exactness
