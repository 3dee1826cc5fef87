"""A query string means what it says: ranges by the newest event and whole buckets, and every mistake is named."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.metrics import METRICS
from serving.api.parameters import parse_rows, parse_top
from serving.api.problems import Problem
from serving.read.query import iso

UTC_ZONE, NEW_YORK = ZoneInfo("UTC"), ZoneInfo("America/New_York")
NEWEST = 1_779_010_230_500_000  # 2026-05-17T09:30:30.5Z


def range_of(text: str, zone: ZoneInfo = UTC_ZONE, newest: int = NEWEST) -> tuple[str, str]:
    pairs = [tuple(pair.split("=", 1)) for pair in text.split("&")]
    query = parse_rows(METRICS["revenue"], pairs, zone).query(newest, zone)
    return iso(query.start), iso(query.end)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grain=minute", ("2026-05-17T08:31:00Z", "2026-05-17T09:31:00Z")),
        ("grain=hour", ("2026-05-15T10:00:00Z", "2026-05-17T10:00:00Z")),
        ("grain=day", ("2026-04-18T00:00:00Z", "2026-05-18T00:00:00Z")),
        ("grain=minute&from=2026-05-17T09:29:59Z", ("2026-05-17T09:29:00Z", "2026-05-17T09:31:00Z")),
        ("grain=minute&to=2026-05-17T08:00:00Z", ("2026-05-17T07:00:00Z", "2026-05-17T08:00:00Z")),
        ("grain=minute&to=2026-05-17T08:00:00.000001Z", ("2026-05-17T07:01:00Z", "2026-05-17T08:01:00Z")),
        ("grain=hour&from=2026-05-17&to=2026-05-18", ("2026-05-17T00:00:00Z", "2026-05-18T00:00:00Z")),
        # from behind the newest event: an empty bucket and no error
        ("grain=hour&from=2027-01-01", ("2027-01-01T00:00:00Z", "2027-01-01T01:00:00Z")),
        # a + that nobody encoded
        ("grain=hour&from=2026-05-17T02:00:00 02:00", ("2026-05-17T00:00:00Z", "2026-05-17T10:00:00Z")),
    ],
)
def test_a_range_is_whole_buckets_up_to_the_newest_event(text, expected):
    assert range_of(text) == expected


def test_a_day_is_the_shops():
    assert range_of("grain=day&from=2026-03-07&to=2026-03-10", NEW_YORK) == (
        "2026-03-07T05:00:00Z",
        "2026-03-10T04:00:00Z",  # the clocks went forward on the 8th
    )
    assert range_of("grain=day", NEW_YORK) == ("2026-04-18T04:00:00Z", "2026-05-18T04:00:00Z")


def test_without_any_event_there_is_no_default_range():
    assert parse_rows(METRICS["revenue"], [("grain", "hour")], UTC_ZONE).query(0, UTC_ZONE) is None


def test_filters_repeat_and_an_empty_one_means_null():
    pairs = [("payment_method", "card"), ("payment_method", "paypal"), ("shipping_country", "")]
    asked = parse_rows(METRICS["revenue"], [*pairs, ("grain", "all")], UTC_ZONE)
    assert asked.where == {
        "payment_method": frozenset({"card", "paypal"}),
        "shipping_country": frozenset({None}),
    }


@pytest.mark.parametrize(
    ("metric", "text", "named"),
    [
        ("revenue", "colour=red", "payment_method, shipping_country"),
        ("revenue", "grain=week", "minute, hour, day, all"),
        ("active", "grain=hour", "all"),
        ("revenue", "grain=hour&grain=day", "once"),
        ("revenue", "by=colour", "payment_method, shipping_country"),
        ("revenue", "by=", "payment_method, shipping_country"),
        ("revenue", "by=payment_method,", "payment_method, shipping_country"),
        ("revenue", "by=payment_method,payment_method", "once"),
        ("revenue", "order=colour", "gross, cancelled, refunded, orders, net, average_order_value"),
        ("revenue", "limit=0", "from 1 to 100,000"),
        ("revenue", "limit=-1", "from 1 to"),
        ("revenue", "limit=٣", "from 1 to"),
        ("revenue", "n=3", "limit"),
        ("revenue", "from=yesterday", "2026-05-17T09:30:00Z"),
        ("revenue", "from=2026-05-17T09:30:00", "with its zone"),
        ("revenue", "from=2026-02-30", "or a day"),
        ("revenue", "from=0001-01-01", "of the years 1971 to 2199"),
        ("revenue", "to=9999-12-31", "of the years 1971 to 2199"),
        ("revenue", "from=2026-05-17&to=2026-05-17", "behind the start"),
        ("revenue", "grain=all&from=2026-05-17", "takes no range"),
    ],
)
def test_a_mistake_is_named_with_what_is_allowed(metric, text, named):
    pairs = [tuple(pair.split("=", 1)) for pair in text.split("&")]
    with pytest.raises(Problem) as raised:
        parse_rows(METRICS[metric], pairs, UTC_ZONE)
    problem = raised.value
    assert (problem.status, problem.kind) == (400, "bad-query")
    assert named in problem.detail
    assert problem.more["errors"][0]["parameter"].strip("'") in text


def test_a_top_list_needs_to_know_of_what():
    with pytest.raises(Problem, match="one of payment_method, shipping_country"):
        parse_top(METRICS["revenue"], [], UTC_ZONE)
    asked = parse_top(METRICS["revenue"], [("by", "payment_method")], UTC_ZONE)
    assert (asked.grain, asked.order, asked.limit) == ("all", "gross", 10)


@given(
    st.datetimes(datetime(1971, 1, 2), datetime(2199, 12, 30)),  # noqa: DTZ001
    st.sampled_from(["minute", "hour", "day"]),
    st.sampled_from(["UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]),
)
def test_the_default_range_always_holds_the_newest_event(newest, grain, name):
    zone = ZoneInfo(name)
    micros = int(newest.replace(tzinfo=UTC).timestamp() * 1_000_000)
    query = parse_rows(METRICS["revenue"], [("grain", grain)], zone).query(micros, zone)
    assert query.start * 1_000_000 <= micros < query.end * 1_000_000
    assert len(query.buckets(zone)) in {"minute": (60,), "hour": (48, 49), "day": (29, 30, 31)}[grain]
