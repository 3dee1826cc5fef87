"""The shops by which the lake is tried have in them what is to be tried: each kind of mishap, and often enough."""

from collections import Counter, defaultdict

import polars as pl
import pytest

from schemas.contract import CONTRACTS
from schemas.gold import RECORD_OUTCOMES
from schemas.table import GONE
from schemas.tables import SESSIONS
from streams.lake.batch import Tables, schema_to_know
from streams.lake.frames import frame_schema
from streams.lake.gold.totals import Totals
from streams.lake.sessions import Sessions
from tests.streams.lake.restless import events
from tests.streams.lake.shop import judged_events, judged_history

POISON = {
    "null_key",
    "null_value",
    "too_short",
    "wrong_magic_byte",
    "unknown_schema_id",
    "undecodable",
    "not_canonical",
    "key_is_not_entity_id",
}
SMALL = 40


def fresh():
    """Tables that know nothing, with sessions and no gold."""
    known = {topic: pl.DataFrame(schema=schema_to_know(contract)) for topic, contract in CONTRACTS.items()}
    minutes = Totals(RECORD_OUTCOMES, pl.DataFrame(schema=frame_schema(RECORD_OUTCOMES)))
    return Tables(known, minutes, [Sessions(pl.DataFrame(schema=frame_schema(SESSIONS)))])


def batches(judged, size):
    """The records in the order of arrival."""
    longest = max(frame.height for frame in judged.values())
    for start in range(0, longest, size):
        yield {topic: frame[start : start + size] for topic, frame in judged.items()}


def kinds_of(made):
    """How often a stream of good events has what makes a table's life hard; in the order of arrival."""
    found, seen = Counter(), defaultdict(list)
    ids = defaultdict(set)
    for topic, event in made:
        contract = CONTRACTS[topic]
        before = seen[topic, event[contract.entity_id]]
        if contract.is_change:
            highest = max(before, key=lambda each: each["version"], default=None)
            if highest is not None:
                late = event["version"] < highest["version"]
                found["late version"] += late
                found["late deletion"] += late and event["op"] == "d"
                found["deletion"] += not late and event["op"] == "d" != highest["op"]
                found["rebirth"] += not late and event["op"] != "d" == highest["op"]
                found["goes back in time"] += not late and event["occurred_at"] < highest["occurred_at"]
                found["same event, higher version"] += (
                    event["event_id"] == highest["event_id"] and event["version"] > highest["version"]
                )
                found["hole in the versions"] += event["version"] > highest["version"] + 1
        else:
            found["same id in another session"] += any(b["session_id"] != event["session_id"] for b in before)
            found["late click"] += bool(ids[topic]) and event["occurred_at"] < max(ids[topic])
            ids[topic].add(event["occurred_at"])
        found["sent twice"] += event in before
        before.append(event)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_restless_shop_has_every_kind_of_change(seed):
    made = events(seed, 700)
    kinds = kinds_of(made)
    assert len(kinds) == 10
    assert min(kinds.values()) >= 3, kinds

    tables, outcomes, lost = fresh(), Counter(), 0
    for number, judged in enumerate(batches(judged_events(made), SMALL), 1):
        batch = tables.fold(number, judged)
        tables.take_in(batch)
        lost += batch.rows[SESSIONS.name][GONE].sum() if SESSIONS.name in batch.rows else 0
        for name, records in batch.counts.items():
            topic, _, outcome = name.split("/")
            outcomes[CONTRACTS[topic].is_change, outcome] += records
    assert lost >= 3, "no late event has joined two sessions, or begun one earlier"
    assert {(True, each) for each in ("changed", "repeat", "superseded", "refused")} <= outcomes.keys()
    assert {(False, each) for each in ("changed", "repeat")} <= outcomes.keys()
    assert min(outcomes.values()) >= 3, outcomes


@pytest.mark.parametrize(("seed", "count"), [(1, 3_000), (5, 2_000)])
def test_the_shop_with_all_dials_up_has_every_kind_of_poison(seed, count):
    """And whatever is refused is in quarantine with its bytes."""
    tables, reasons, refused, quarantined = fresh(), Counter(), 0, 0
    for number, judged in enumerate(batches(judged_history(count, seed), 200), 1):
        for frame in judged.values():
            reasons.update(reason for each in frame["reasons"].to_list() for reason in each)
        batch = tables.fold(number, judged)
        tables.take_in(batch)
        refused += sum(n for name, n in batch.counts.items() if name.endswith("/refused"))
        quarantined += batch.rows["quarantine"].height if "quarantine" in batch.rows else 0
    assert reasons.keys() >= POISON, POISON - reasons.keys()
    assert len(reasons.keys() - POISON) >= 5, "too few rules were broken"
    assert refused == quarantined > 50
