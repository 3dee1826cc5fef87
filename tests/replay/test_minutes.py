"""How many records of a minute had which outcome: kept once, and asked for by ranges, however long the history is."""

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from replay.verify import metrics
from replay.verify.metrics import expected_rows
from replay.verify.touched import InTurn, touched_buckets
from schemas.metrics import METRICS
from serving.read import MetricQuery
from streams.plain_judge import PlainJudge
from tests.replay.bronze_kit import new_oracle, take_in
from tests.streams.lake.shop import KNOWN, MAX_BYTES

EVENTS = METRICS["events"]
JUDGE = PlainJudge(KNOWN, MAX_BYTES)
TOPICS = ("orders", "reviews")
HOUR, DAY = 3_600, 86_400
BEGIN = 1_793_491_200  # 2026-11-01T00:00:00Z, the day on which New York's has 25 hours
ZONE = ZoneInfo("America/New_York")


class Broker:
    """Records that nobody can decode, at times (s) of the broker's clock, which an oracle takes in."""

    def __init__(self, zone=ZONE):
        self.oracle = new_oracle(zone.key)
        self.times = {topic: [] for topic in TOPICS}

    def take(self, topic, times):
        first = len(self.times[topic])
        self.times[topic] += times
        rows = [(0, first + n, at * 1_000_000, b"k", b"damaged") for n, at in enumerate(times)]
        take_in(self.oracle, topic, rows, JUDGE)

    def expected(self, query):
        """By plain Python: rows as they are asked for."""
        found = defaultdict(Counter)
        for topic, times in self.times.items():
            for at in times:
                local = datetime.fromtimestamp(at, UTC).astimezone(ZONE)
                begins = datetime(local.year, local.month, local.day, tzinfo=ZONE)
                start = {
                    "all": 0,
                    "minute": at - at % 60,
                    "hour": at - at % HOUR,
                    "day": int(begins.timestamp()),
                }[query.grain]
                if query.grain == "all" or query.start <= start < query.end:
                    name = begins.date() if query.grain == "day" else start
                    found[(name, topic) if query.by else (name,)].update(("records", "refused"))
        return {key: tuple(row[m.name] for m in EVENTS.measures) for key, row in found.items()}


@pytest.fixture
def broker():
    return Broker()


@pytest.mark.parametrize("by", [(), ("topic",)], ids=["in all", "by topic"])
@pytest.mark.parametrize("grain", ["minute", "hour", "day", "all"])
def test_a_range_has_exactly_the_buckets_that_begin_in_it(broker, grain, by):
    chance = random.Random(7)
    for _ in range(8):
        at = BEGIN - DAY + chance.randrange(3 * DAY)
        broker.take(chance.choice(TOPICS), [at + n * chance.choice((0, 1, 900)) for n in range(40)])
    for _ in range(30):
        start = BEGIN - DAY + chance.randrange(3 * DAY)
        start -= chance.choice((0, start % 60, start % HOUR))
        query = MetricQuery(EVENTS, grain, start, start + chance.choice((1, 60, HOUR, DAY, 2 * DAY)), by)
        assert expected_rows(broker.oracle, query) == broker.expected(query)


def test_a_question_looks_at_its_range_and_not_at_all_history(broker, monkeypatch):
    broker.take("orders", [BEGIN + 60 * n for n in range(3_000)])
    looked, bucket_of = [], metrics.bucket_of
    monkeypatch.setattr(metrics, "bucket_of", lambda *given: looked.append(given) or bucket_of(*given))
    [row] = expected_rows(broker.oracle, MetricQuery(EVENTS, "minute", BEGIN, BEGIN + 1))
    assert row == (BEGIN,)
    assert len(looked) < 5


def test_a_minute_is_kept_once_however_often_records_are_taken_in(broker):
    for n in range(20):
        broker.take("orders", [BEGIN + n])
    rows = broker.oracle.database.execute("SELECT minute, records, recent FROM _minutes").fetchall()
    assert rows == [(BEGIN, 20, True)]
    broker.oracle.forget_changes()
    broker.take("orders", [BEGIN + 60])
    broker.oracle.forget_changes()
    broker.take("orders", [BEGIN + 61])
    recent = broker.oracle.database.execute("SELECT minute, records FROM _minutes WHERE recent").fetchall()
    assert recent == [(BEGIN + 60, 2)]


def test_the_newest_minutes_are_looked_at_and_all_others_in_turn(broker):
    broker.take("orders", [BEGIN + 60 * n for n in range(100)])
    newest = touched_buckets(broker.oracle)["events", "minute"]
    assert newest == {BEGIN + 60 * n for n in (97, 98, 99)}
    walk, seen = InTurn(), set()
    while some := walk.next(broker.oracle).get(("events", "minute")):
        if some <= seen:
            break
        seen |= some
    assert seen == {BEGIN + 60 * n for n in range(100)}
