"""Each bad record is refused for what it is, each odd one that fits is taken as it is, and no other one feels it."""

import json
from decimal import Decimal

import pytest

from dataflow.testing import ABORT, Events, Judge, Offline
from dataflow.testing.judge import own_schemas
from infra.registry import RegisteredSchema
from schemas.contract import CONTRACTS
from schemas.errors import EventError
from tests.bad_input.kit import Maker, unscaled, with_field
from tests.bad_input.records import CASES, EDGES, UNDECIDED, Case

OTHER = 900


@pytest.fixture
def maker(judge: Judge) -> Maker:
    return Maker(judge.codec, judge.events)


@pytest.mark.parametrize("case", [*CASES, *EDGES], ids=str)
def test_a_record_gets_the_verdict_that_it_should(judge: Judge, maker: Maker, case: Case) -> None:
    record = case.make(maker)
    verdict = judge(record.topic, record.value, key=record.key)
    kind = "undecided" if case.reasons == (UNDECIDED,) else "refused" if case.reasons else "accepted"
    assert (verdict.kind, verdict.reasons) == (kind, case.reasons)


@pytest.mark.parametrize("crashes", [False, True], ids=["", "with crashes"])
def test_all_of_them_amid_good_ones_change_no_number_but_their_own(events: Events, crashes: bool) -> None:
    offline = Offline(events)
    maker, items, refusals = Maker(offline.judge.codec, events), [], 0
    for number, case in enumerate(each for each in CASES if each.reasons):
        items += [("orders", {"total_amount": "0.01"}), case.make(maker)]
        items += [ABORT] if crashes and number % 7 == 3 else []
        refusals += 1
    offline.produce_all(items)
    offline.settled()
    [revenue] = offline.rows("revenue")
    assert (revenue["orders"], revenue["gross"]) == (refusals, f"{Decimal(refusals) / 100:.2f}")
    [counted] = offline.rows("events")
    assert (counted["records"], counted["refused"]) == (2 * refusals, refusals)
    assert len(offline.dead_letters()) == refusals


def test_avro_holds_no_nan(events: Events, judge: Judge) -> None:
    for text in ("NaN", "Infinity", "-Infinity", "sNaN"):
        with pytest.raises(EventError):
            judge.codec.encode("orders", events("orders", total_amount=Decimal(text)))


FINE = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 3}
LOCAL = {"type": "long", "logicalType": "local-timestamp-micros"}


@pytest.mark.parametrize(
    ("name", "kind", "value", "reasons"),
    [
        ("total_amount", FINE, unscaled(19_990), ()),
        ("total_amount", FINE, unscaled(19_999), ("does_not_fit_contract",)),
        ("total_amount", FINE, unscaled(10**19), ("does_not_fit_contract",)),
        ("total_amount", "double", float("nan"), ("incompatible_schema",)),
        # A wall clock's time is of no zone: to take it for UTC would be a guess.
        ("order_date", LOCAL, 1_772_442_000_000_000, ("incompatible_schema",)),
        ("order_date", {"type": "long", "logicalType": "timestamp-millis"}, 1_772_442_000_000, ()),
        (
            "order_date",
            {"type": "long", "logicalType": "timestamp-millis"},
            2**62,
            ("does_not_fit_contract",),
        ),
    ],
    ids=["three decimals, the last 0", "three decimals", "20 digits", "NaN", "no zone", "ms", "too many ms"],
)
def test_what_another_schema_of_the_topic_can_hold_fits_or_is_refused_and_is_never_rounded(
    events: Events, name: str, kind: object, value: object, reasons: tuple[str, ...]
) -> None:
    schema = with_field("orders", name, type=kind)
    known = own_schemas()
    known["orders"].append(RegisteredSchema(OTHER, 2, json.dumps(schema)))
    judge = Judge(known, events=events)
    record = Maker(judge.codec, events).odd("orders", OTHER, schema, **{name: value})
    verdict = judge("orders", record.value, key=record.key)
    assert verdict.reasons == reasons
    if not reasons:
        exact = {"total_amount": 1999, "order_date": 1_772_442_000_000_000}
        assert verdict.event[name] == exact[name]


def test_a_schema_that_was_evolved_and_reverted_is_read_before_between_and_after(events: Events) -> None:
    """Records of the old, of the new, of both, and of the old alone again; in the end the new one's default counts."""
    new = with_field("orders", "gift_note", type=["null", "string"], default=None)
    own = RegisteredSchema(1, 1, CONTRACTS["orders"].avro_json)
    judge = Judge(
        {**own_schemas(), "orders": [own, RegisteredSchema(OTHER, 2, json.dumps(new))]},
        {topic: n for n, topic in enumerate(CONTRACTS, 1)} | {"orders": 1},
        events=events,
    )
    offline = Offline(events)
    offline.judge, offline.stream.codec = judge, judge.codec
    maker = Maker(judge.codec, events)

    def evolved(**values: object):
        return maker.odd("orders", OTHER, new, gift_note="for you", total_amount=unscaled(200), **values)

    def old(**fields: object):
        return maker.good("orders", total_amount="1.00", **fields)

    row = events.ids("an order of both")
    offline.produce_all(
        [
            old(),
            evolved(),
            old(order_id=row, version=1),
            ABORT,
            *(evolved(), old(), evolved()),
            maker.cut("orders", 0, -1),
            old(),
            old(order_id=row, version=2, status="cancelled"),
            old(),
        ]
    )
    offline.settled()
    [revenue] = offline.rows("revenue")
    assert (revenue["orders"], revenue["gross"], revenue["cancelled"]) == (8, "11.00", "1.00")
    assert [letter.reasons for letter in offline.dead_letters()] == [("undecodable",)]
