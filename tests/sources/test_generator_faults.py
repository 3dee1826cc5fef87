"""Each dial makes what it says, and nothing else: damage is damage, a repeat is the same bytes, a conflict is one."""

from collections import Counter, defaultdict
from datetime import timedelta

import pytest

from schemas.contract import CONTRACTS
from sources.generator import Dials, Intent
from sources.generator.faults import contradicting
from sources.generator.malformed import KINDS, MALFORMED, Record
from sources.generator.randomness import Chance
from sources.generator.rule_breaking import NEVER, TWO_DAYS, breakers
from tests.sources.generator_kit import ALL_UP, CODEC, IDS, SPAN, START, TIDY, history, reasons

# What a decoder says to each kind of damage.
EXPECTED = {
    "wrong_magic_byte": {"wrong_magic_byte"},
    "truncated_header": {"too_short"},
    "truncated": {"undecodable"},
    "trailing_bytes": {"not_canonical"},
    "unknown_schema_id": {"unknown_schema_id"},
    "schema_id_of_another_topic": {"unknown_schema_id"},
    "not_utf8": {"undecodable"},
    "empty_value": {"too_short"},
    "null_value": {"null_value"},
    "null_key": {"null_key"},
    "oversized_string": {"undecodable"},
    "negative_length": {"undecodable"},
}
DIAL_OF = {
    "duplicates": Intent.DUPLICATE,
    "late": Intent.LATE,
    "out_of_order": Intent.OUT_OF_ORDER,
    "malformed": Intent.MALFORMED,
    "rule_breaking": Intent.RULE_BREAKING,
    "conflicts": Intent.CONFLICT,
}


def examples(topic: str, count: int) -> list:
    found = [e for e in history(TIDY)[0] if e.topic == topic]
    return found[:: max(1, len(found) // count)][:count]


@pytest.mark.parametrize(
    ("topic", "kind"), [(topic, kind) for topic, kinds in KINDS.items() for kind in kinds]
)
def test_a_malformed_record_is_refused_for_what_it_is(topic, kind):
    chance = Chance(f"{topic} {kind}")
    for good in examples(topic, 30):
        record = Record(topic, good.event, good.key, good.value, IDS)
        found = reasons(topic, *MALFORMED[kind](chance, record))
        if kind == "oversized_decimal":
            assert found
            assert all(rule.endswith("_type") or rule == "undecodable" for rule in found)
        else:
            assert found == EXPECTED[kind]


@pytest.mark.parametrize("topic", list(CONTRACTS))
def test_every_reject_rule_of_a_contract_is_broken_by_its_breaker(topic):
    declared = {rule.name for rule in CONTRACTS[topic].rules if rule.severity == "reject"}
    assert {breaker.rule for breaker in breakers(topic)} == declared
    for good in examples(topic, 5):
        arrival = good.event["occurred_at"]
        for breaker in breakers(topic):
            for far_ahead in (arrival + TWO_DAYS, NEVER):
                broken = {**good.event, **breaker.changes(good.event, far_ahead)}
                assert breaker.rule in reasons(topic, *CODEC.encode(topic, broken), arrival)


@pytest.mark.parametrize("dial", list(DIAL_OF))
def test_a_dial_alone_makes_only_what_it_says(dial):
    emissions, _ = history(Dials.none().turned([f"{dial}=0.1"]), 8_000)
    counts = Counter(e.intent for e in emissions)
    assert set(counts) == {Intent.VALID, DIAL_OF[dial]}
    # conflicts spare the clickstream, which is most of the records; a click that is late is one more
    low = 0.005 if dial == "conflicts" else 0.04
    assert low < counts[DIAL_OF[dial]] / len(emissions) < 0.15


def test_with_all_dials_up_everything_happens():
    emissions, truth = history(ALL_UP)
    assert {e.intent for e in emissions} == set(Intent)
    assert {e.detail for e in emissions if e.intent is Intent.MALFORMED} == set(MALFORMED)
    for topic in CONTRACTS:
        verdicts = truth.verdicts(topic)
        assert verdicts["refused"] > 0
        assert verdicts["repeat"] > 0
    assert truth.verdicts("orders")["superseded"] > 0


def test_what_is_meant_to_be_good_is_good_and_what_is_not_is_not():
    for e in history(ALL_UP)[0]:
        found = reasons(e.topic, e.key, e.value)
        if e.intent is Intent.RULE_BREAKING:
            assert e.detail in found
        else:
            assert bool(found) == (e.intent is Intent.MALFORMED), (e, found)


def test_records_of_one_entity_share_their_key_and_so_their_partition():
    for e in history(ALL_UP)[0]:
        if e.event is not None:
            assert e.key == e.event[CONTRACTS[e.topic].key].encode()


def test_a_duplicate_repeats_bytes_that_were_delivered_before_at_once_or_much_later():
    delivered: dict[tuple, int] = {}
    distances = []
    for n, e in enumerate(history(ALL_UP)[0]):
        if e.intent is Intent.DUPLICATE:
            distances.append(n - delivered[e.topic, e.key, e.value])
        delivered.setdefault((e.topic, e.key, e.value), n)
    assert min(distances) == 1
    assert max(distances) > 1000


def test_a_duplicate_may_come_after_later_versions():
    highest: defaultdict[tuple, int] = defaultdict(int)
    found = 0
    for e in history(ALL_UP)[0]:
        if e.topic != "clickstream" and e.event and e.intent is not Intent.RULE_BREAKING:
            found += e.intent is Intent.DUPLICATE and e.event["version"] < highest[e.topic, e.key]
            highest[e.topic, e.key] = max(highest[e.topic, e.key], e.event["version"])
    assert found > 20


def test_an_out_of_order_record_comes_after_one_that_happened_later():
    seen: defaultdict[tuple, list] = defaultdict(list)
    found = Counter()
    for e in history(Dials.none().turned(["out_of_order=0.3"]))[0]:
        at = e.event["occurred_at"] if e.topic == "clickstream" else e.event["version"]
        if e.intent is Intent.OUT_OF_ORDER:
            assert seen[e.topic, e.key][-1] >= at
            found[e.topic] += 1
        seen[e.topic, e.key].append(at)
    assert set(found) >= {"clickstream", "orders", "payments"}


def test_an_item_may_come_before_its_order():
    seen, found = set(), 0
    for e in history(Dials.none().turned(["out_of_order=0.3"]))[0]:
        if e.topic == "orders":
            seen.add(e.event["order_id"])
        elif e.topic == "order_items":
            found += e.event["order_id"] not in seen
    assert found > 20


def test_a_late_record_happened_hours_or_days_ago():
    emissions, _ = history(Dials.none().turned(["late=0.2"]))
    newest = START
    ages = defaultdict(list)
    for e in emissions:
        if e.intent is Intent.LATE:
            ages[e.topic].append(newest - e.event["occurred_at"])
        elif e.topic == "clickstream":
            newest = max(newest, e.event["occurred_at"])
    assert set(ages) >= {"orders", "order_items", "payments", "clickstream", "customers"}
    every = [age for topic in ages.values() for age in topic]
    # `newest` may be a click that is some minutes old
    assert min(every) > timedelta(minutes=30)
    assert max(every) > timedelta(days=2)


def test_an_order_that_was_late_keeps_its_date_through_its_life():
    dates = defaultdict(set)
    for e in history(Dials.none().turned(["late=0.2"]))[0]:
        if e.topic == "orders":
            dates[e.key].add(e.event["order_date"])
    assert all(len(found) == 1 for found in dates.values())


def test_a_late_click_moves_the_first_time_of_a_stage_earlier():
    firsts: dict[tuple, object] = {}
    moved = Counter()
    for e in history(Dials.none().turned(["late=0.2"]))[0]:
        if e.topic == "clickstream":
            at, stage = e.event["occurred_at"], (e.key, e.event["event_type"])
            if stage in firsts and at < firsts[stage]:
                moved[e.event["event_type"]] += 1
            firsts[stage] = min(at, firsts.get(stage, at))
    assert all(moved[stage] for stage in ("product_view", "add_to_cart", "checkout"))


def test_a_conflict_contradicts_a_version_that_was_delivered_before_it():
    emissions, truth = history(Dials.none().turned(["conflicts=0.3"]))
    delivered = {}
    superseded = Counter()
    for e in emissions:
        if e.topic == "clickstream":
            continue
        at = (e.topic, e.key, e.event["version"])
        if e.intent is Intent.CONFLICT:
            first = delivered[at]
            assert e.event["event_id"] != first["event_id"]
            columns = CONTRACTS[e.topic].row_fields
            assert [e.event[c] for c in columns] != [first[c] for c in columns]
            superseded[e.topic] += any(k[:2] == at[:2] and k[2] > at[2] for k in delivered)
        else:
            delivered[at] = e.event
    # the first stands: a conflict is refused, unless a newer version has made its version a thing of the past
    for topic in superseded:
        conflicts = sum(e.topic == topic and e.intent is Intent.CONFLICT for e in emissions)
        assert truth.verdicts(topic)["superseded"] == superseded[topic]
        assert truth.verdicts(topic)["refused"] == conflicts - superseded[topic]


@pytest.mark.parametrize("topic", [topic for topic in CONTRACTS if topic != "clickstream"])
def test_a_contradicting_event_fits_its_contract(topic):
    chance = Chance("contradiction")
    for good in examples(topic, 50):
        other = contradicting(chance, topic, good.event)
        assert not reasons(topic, *CODEC.encode(topic, other), START + SPAN)
