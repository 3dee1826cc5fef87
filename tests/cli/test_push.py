"""The client's side of push: events survive any cut of the bytes, and a view says when it is not the newest."""

import orjson
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from dataflow.live_text import line, picture, state_text
from dataflow.push import CONNECTING, DISCONNECTED, LIVE, REBUILDING, STALE, Event, Parser, View

SNAPSHOT = {
    "currency": "EUR",
    "time_zone": "UTC",
    "revenue": {
        "gross": "1234.50",
        "net": "1000.00",
        "cancelled": "234.50",
        "refunded": "0.00",
        "orders": 3,
        "average_order_value": "411.50",
    },
    "items": {"revenue": "1234.50", "units": 7, "lines": 5},
    "top_products": [
        {"product_id": "p", "name": "[bold]\x1b[2JHat", "category": None, "revenue": "9.00", "units": 1}
    ],
    "funnel": {"product_view": 10, "add_to_cart": 5, "checkout": 3, "purchase": 2, "conversion": 0.2},
    "payments": {"success_rate": None},
    "customers": {"new_customers": 4},
    "active": {"sessions": 2, "visitors": 1},
    "events": [{"topic": "orders", "records": 8, "refused": 2, "error_rate": 0.25}],
    "freshness": {"freshness_ms": 0},
    "lag": {"records_behind": 0, "by_topic": {"orders": 0}, "stale": False},
    "exactness": {"exact": True, "held": {}},
    "as_of": {"generation": "g1", "position": 8, "event_time": "2026-05-17T09:30:00Z"},
}
START = View(CONNECTING, None, 0.0)


def snapshot(position: int = 8, **changes: object) -> Event:
    return Event("snapshot", orjson.dumps({**SNAPSHOT, **changes}).decode(), f"g1-{position}")


def told(state: str, **data: object) -> Event:
    return Event("state", orjson.dumps({"state": state, "as_of": SNAPSHOT["as_of"], **data}).decode(), None)


def drawn(view: View) -> str:
    console = Console(width=120, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(picture(view, "demo", 5.0))
    return capture.get()


@given(
    st.lists(st.tuples(st.text(min_size=1), st.booleans()), max_size=5),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.randoms(use_true_random=False),
)
def test_events_are_the_same_however_the_bytes_are_cut(texts, end: bytes, chance) -> None:
    data = b"retry: 250" + end + end
    expected = []
    for n, (text, comment) in enumerate(texts):
        # JSON escapes CR and LF, but not the other characters at which Python splits lines
        body = orjson.dumps(text)
        data += b": heartbeat" + end + end if comment else b""
        data += b"id: g1-%d" % n + end + b"event: snapshot" + end + b"data: " + body + end + end
        expected.append(Event("snapshot", body.decode(), f"g1-{n}"))
    parser, found = Parser(), []
    while data:
        size = chance.randint(1, len(data))
        found += parser.feed(data[:size])
        data = data[size:]
    # a CR at the very end is held back until it is known that no LF follows
    assert [*found, *parser.feed(b": end")] == expected
    assert parser.retry_seconds == 0.25


def test_an_event_that_is_cut_off_is_none() -> None:
    assert Parser().feed(b"id: g1-1\nevent: snapshot\ndata: {}\n") == []
    assert Parser().feed(b"id: g1-1\n\n") == []


def test_a_view_follows_the_server_and_keeps_the_numbers() -> None:
    live = START.after(snapshot(), 1.0)
    assert (live.state, live.event_id, live.since) == (LIVE, "g1-8", 1.0)
    assert live.after(snapshot(9), 2.0).since == 1.0
    rebuilding = live.after(told("rebuilding", detail="3 records to go", as_of=None), 3.0)
    assert (rebuilding.state, rebuilding.detail, rebuilding.event_id) == (
        REBUILDING,
        "3 records to go",
        "g1-8",
    )
    assert rebuilding.snapshot == SNAPSHOT
    assert rebuilding.after(told("live", lag=SNAPSHOT["lag"]), 4.0).state == LIVE
    assert live.after(Event("news", "?", None), 5.0) is live
    assert START.after(told("live"), 1.0) is START


def test_numbers_are_never_given_the_offsets_of_others() -> None:
    """The server says `live` before it sends the snapshot that a resumed client lacks."""
    gone = START.after(snapshot(), 1.0).turned(DISCONNECTED, "refused", 2.0)
    newer = {**SNAPSHOT["as_of"], "position": 9}
    assert gone.after(told("live", as_of=newer), 3.0) is gone
    back = gone.after(snapshot(9, as_of=newer), 3.0)
    assert (back.state, back.event_id, back.snapshot["as_of"]["position"]) == (LIVE, "g1-9", 9)


def test_a_view_is_stale_when_records_wait_or_the_broker_is_silent() -> None:
    live = START.after(snapshot(), 1.0)
    waiting = {"lag": {**SNAPSHOT["lag"], "records_behind": 12}}
    assert live.after(told("live", **waiting, freshness={"freshness_ms": 900}), 2.0).state == LIVE
    late = live.after(told("live", **waiting, freshness={"freshness_ms": 9000}), 2.0)
    assert (late.state, late.detail) == (STALE, "12 records behind, 9 s")
    assert late.after(snapshot(20), 3.0).state == LIVE
    assert live.after(told("live", lag={**SNAPSHOT["lag"], "stale": True}), 2.0).state == STALE


def test_a_line_and_a_picture_say_the_same() -> None:
    view = START.after(snapshot(), 1.0)
    for text in (line(view, 5.0), drawn(view)):
        for figure in ("live", "1,234.50", "1,000.00", "411.50", "exact", "0 behind", "g1-8"):
            assert figure in text
    assert "25.00 %" in line(view, 5.0)
    assert "█" * 24 in drawn(view)
    assert "\n" not in line(view, 5.0)


def test_what_an_event_holds_is_neither_markup_nor_steers_the_terminal() -> None:
    text = drawn(START.after(snapshot(), 1.0))
    assert "[bold]\\x1b[2JHat" in text
    assert "\x1b[2J" not in text


def test_what_is_not_live_says_so_and_since_when() -> None:
    assert (
        state_text(START.turned(DISCONNECTED, "refused", 2.0), 5.0)
        == "disconnected – retrying (3 s): refused"
    )
    held = START.after(snapshot(exactness={"exact": False, "held": {"orders/0": "a hole at 7"}}), 1.0)
    assert "held: orders/0 (a hole at 7)" in line(held, 5.0)
    wrong = START.after(snapshot(exactness={"exact": False, "held": {}}), 1.0)
    assert "NOT exact" in drawn(wrong)
    assert drawn(START).strip() == "demo  connecting (5 s)"
