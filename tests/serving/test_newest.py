"""The newest counted records: exactly what is counted, each topic's own, without gaps and without anybody's data."""

import time
from collections import defaultdict
from dataclasses import replace

import pytest

from schemas.contract import CONTRACTS
from serving.fold.fold import CONFLICT
from serving.fold.newest import KEPT, newest_operations, newest_records, shown_fields
from serving.store.keys import Keys
from tests.cli.kit import PERSONAL
from tests.serving.kit import Folded, verdicts
from tests.sources.generator_kit import ALL_UP, history


class Letter:
    """A refused record as the live job hands it on."""

    def __init__(self, place: tuple[str, int, int], key: bytes | None) -> None:
        self._place, self._key = place, key

    def key(self) -> bytes:
        return "/".join(map(str, self._place)).encode()

    def headers(self) -> list[tuple[str, bytes | None]]:
        return [("reasons", b"too_short"), ("source_key", self._key)]


@pytest.fixture(scope="module")
def tape():
    emissions, _ = history(ALL_UP, 3_000)
    return verdicts(emissions)


def lists(state: Folded, n: int = KEPT) -> dict[str, list[bytes]]:
    return {topic: state.redis.lrange(state.keys.newest(topic), 0, n - 1) for topic in CONTRACTS}


@pytest.mark.parametrize("run", [1, 7, 500])
def test_the_list_is_what_was_counted_last_whatever_the_size_of_a_run(settings, tape, run):
    state = Folded(settings)
    tape = tape[: 120 if run == 1 else len(tape)]
    for at in range(0, len(tape), run):
        state.apply(tape[at : at + run])
    found = newest_records(lists(state), KEPT)
    assert [(r.topic, r.offset) for r in found] == [(v["t"], v["o"]) for v in tape[::-1][:KEPT]]
    by_topic = defaultdict(list)
    for verdict in tape[::-1]:
        by_topic[verdict["t"]].append(verdict["o"])
    for topic, offsets in by_topic.items():
        assert [r.offset for r in newest_records({topic: lists(state)[topic]}, KEPT)] == offsets[:KEPT]
        assert state.redis.llen(state.keys.newest(topic)) <= KEPT
    position = sum(state.fences.values())
    assert found[0].position == position
    assert len({r.position for r in found}) == len(found)
    state.close()


def test_each_says_what_came_of_it_as_it_is_counted(settings, tape):
    """As the counts have it, for a run that the lists hold whole."""
    state = Folded(settings)
    run = [v for v in tape if v["t"] == "orders"][:KEPT]
    run = [{**verdict, "o": n} for n, verdict in enumerate(run)]
    state.apply(run)
    counted = {n.decode(): int(c) for n, c in state.redis.hgetall(state.keys.counts).items()}
    found = newest_records(lists(state), KEPT)
    for verdict in ("changed", "repeat", "superseded", "refused"):
        assert sum(r.verdict == verdict for r in found) == counted.get(f"orders/0/{verdict}", 0)
    assert {r.verdict for r in found} > {"changed", "refused"}
    for record, verdict in zip(found, run[::-1], strict=True):
        event = verdict.get("e")
        if event is None:
            assert (record.entity_id, record.amount, record.reasons) == (None, None, tuple(verdict["r"]))
        else:
            assert (record.entity_id, record.status) == (event["order_id"], event["status"])
            assert record.amount.as_tuple().exponent == -2
            assert int(record.amount.scaleb(2)) == event["total_amount"]
            assert (record.occurred_at, record.kafka_time) == (event["occurred_at"], verdict["ts"])
    state.close()


def test_a_conflict_names_its_reason(settings, tape):
    state = Folded(settings)
    first = next(v for v in tape if v["t"] == "orders" and v["v"] == "a")
    state.apply([{**first, "o": 0}, {**first, "o": 1, "h": first["h"] ^ 1}])
    conflict, changed = newest_records(lists(state), 2)
    assert (changed.verdict, changed.reasons) == ("changed", ())
    assert (conflict.verdict, conflict.reasons) == ("refused", (CONFLICT,))
    state.close()


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (b"00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000001"),
        (PERSONAL["email"].encode(), "***"),
        (b"\xff", "***"),
        (None, None),
    ],
)
def test_the_key_of_a_refused_record_is_shown_only_if_it_is_an_id(key, shown):
    verdict = {"t": "customers", "p": 2, "o": 17, "ts": 1, "v": "r", "r": ["too_short"]}
    letters = [Letter(("customers", 2, 16), b"x"), Letter(("customers", 2, 17), key)]
    [(_, name, values)] = newest_operations([verdict], ["refused"], letters, 5, Keys("x:"))
    [record] = newest_records({"customers": values[1:]}, 9)
    assert (name, record.entity_id, record.reasons) == ("x:newest:customers", shown, ("too_short",))
    assert (record.partition, record.offset, record.position) == (2, 17, 5)


def test_no_field_that_is_shown_is_personal():
    for topic, contract in CONTRACTS.items():
        shown = shown_fields(topic)
        assert not {shown.entity_id, shown.status, shown.amount} & set(contract.pii_fields)
    assert shown_fields("orders").status == "status"
    assert shown_fields("payments").status == "payment_status"
    assert shown_fields("clickstream").status == "event_type"
    assert shown_fields("order_items").amount == "unit_price"


def test_of_decimals_only_money_is_an_amount(monkeypatch):
    contract = CONTRACTS["orders"]
    total = contract.fields["total_amount"]
    for changes, amount in (
        ({}, "total_amount"),
        ({"scale": 3}, None),
        ({"scale": 0}, None),
        ({"attributes": {"unit": "kg"}}, None),
        ({"attributes": {}}, None),
    ):
        fields = {**contract.fields, "total_amount": replace(total, **changes)}
        monkeypatch.setitem(CONTRACTS, "orders", replace(contract, fields=fields))
        assert shown_fields.__wrapped__("orders").amount == amount


def test_a_long_run_costs_next_to_nothing(tape):
    """Some 20 runs of 500 a second are 10,000 events a second; a machine that is busy may be five times slower."""
    runs = [tape[at : at + 500] for at in range(0, 3_000, 500)]
    began = time.process_time()
    for n in range(60):
        run = runs[n % len(runs)]
        newest_operations(run, ["changed"] * len(run), (), 1_000_000, Keys("x:"))
    each = (time.process_time() - began) / 60
    assert each * 20 < 0.05, f"{each * 1e6:.0f} µs a run"
