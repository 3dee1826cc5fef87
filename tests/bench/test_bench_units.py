"""The benchmark's arithmetic and its pages: pure, so tested without a platform."""

import re
import socket
import time
from array import array
from contextlib import ExitStack

import pytest

from tests.bench.__main__ import PAGE, RESULTS, elsewhere, known_results, render
from tests.bench.asking import Plan, ask, request
from tests.bench.crowd import crowd
from tests.bench.figures import Judged, Produced, Sightings, held, percentile, slope, spread, waits
from tests.bench.noop import noop
from tests.bench.parts import PARTS, evolve
from tests.bench.parts.sse import waits_of
from tests.bench.render import Section, Table, cell, markdown, page, usage_table
from tests.bench.workers import BenchError, Worker, wait_until
from tests.helpers import isolated_settings

ORDERS = ("orders", 0)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.9, 90), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_a_sample_that_so_many_are_not_above(share, expected):
    assert percentile(range(1, 101), share) == expected


def test_a_spread_takes_samples_in_any_order_and_none_of_nothing():
    assert spread([3.0, 1.0, 2.0]) == {"p50": 2.0, "p90": 3.0, "p99": 3.0, "max": 3.0, "samples": 3}
    assert spread([]) == {"p50": None, "p90": None, "p99": None, "max": None, "samples": 0}


def test_a_slope_is_growth_per_second():
    assert slope([(0, 10), (1, 12), (2, 14)]) == pytest.approx(2)
    assert slope([(0, 5), (1, 5), (5, 5)]) == 0
    assert slope([(3, 7)]) == 0


def test_a_record_is_seen_when_the_offsets_pass_it_and_not_when_they_reach_it():
    sightings = Sightings([(1.0, {ORDERS: 4}), (2.0, {ORDERS: 5}), (3.0, {ORDERS: 9})])
    assert sightings.first(Produced(0, "orders", 0, 3)) == 1.0
    assert sightings.first(Produced(0, "orders", 0, 4)) == 2.0
    assert sightings.first(Produced(0, "orders", 0, 8)) == 3.0
    assert sightings.first(Produced(0, "orders", 0, 9)) is None
    assert sightings.first(Produced(0, "orders", 1, 0)) is None


def test_an_answer_that_stands_still_does_not_count_as_another_sighting():
    sightings = Sightings([(1.0, {ORDERS: 4}), (2.0, {ORDERS: 4, ("orders", 1): 1}), (3.0, {ORDERS: 5})])
    assert sightings.first(Produced(0, "orders", 0, 3)) == 1.0
    assert sightings.first(Produced(0, "orders", 1, 0)) == 2.0


def test_waits_are_milliseconds_and_what_was_never_seen_is_counted():
    records = [Produced(0.5, "orders", 0, 0), Produced(0.9, "orders", 0, 1), Produced(0.9, "orders", 0, 7)]
    found, missing = waits(records, Sightings([(1.0, {ORDERS: 2})]))
    assert found == pytest.approx([500, 100])
    assert missing == 1


@pytest.mark.parametrize(
    ("lags", "offered", "expected"),
    [
        ([(n, 500 + n % 3) for n in range(120)], 10_000, True),
        ([(n, 40_000 - 600 * n if n < 60 else 500) for n in range(120)], 10_000, True),
        ([(n, 500 + 150 * n) for n in range(120)], 10_000, False),
        ([(n, 500) for n in range(120)], 9_000, False),
        ([], 10_000, False),
    ],
    ids=["steady", "worked off", "grows", "load too slow", "no answers"],
)
def test_a_rate_is_held_if_lag_does_not_grow_and_the_load_kept_up(lags, offered, expected):
    assert held(lags, 10_000, offered)["held"] is expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "yes"),
        (1234567, "1,234,567"),
        (1234.5, "1,234"),
        (12.34, "12.3"),
        (0.2, "0.20"),
        ("a", "a"),
    ],
)
def test_a_cell_reads_well(value, text):
    assert cell(value) == text


def test_a_table_is_markdown_with_numbers_at_the_right():
    table = Table("Speed", ("name", "per second"), [("one", 1_000), ("three", None)], ["a note"])
    assert markdown(table).splitlines() == [
        "**Speed**",
        "",
        "| name  | per second |",
        "| ----- | ---------: |",
        "| one   |      1,000 |",
        "| three |          – |",
        "",
        "- a note",
    ]


def test_usage_ends_with_the_sum_of_all():
    usage = {"api": {"cpu_percent": 1.5, "rss_mb": 80}, "live": {"cpu_percent": 20.0, "rss_mb": 700}}
    assert list(usage_table("", usage).rows[-1]) == ["all", 21.5, 780]


def run_on(cpu: str, **more: object) -> dict:
    return {
        "date": "2026-03-02 12:00 UTC",
        "commit": "abc",
        "command": "python -m tests.bench idle",
        "load_average": "0.1 0.2 0.3",
        "machine": {"cpu": cpu, "cores": 2, "memory_gb": 23.4, "system": "Linux"},
        "versions": {"python": "3.11.1"},
        "seconds": 61.2,
        **more,
    }


def test_the_page_shows_each_part_with_its_conditions_and_each_place_once():
    parts = {"idle": run_on("A CPU"), "start": run_on("B CPU"), "memory": run_on("A CPU", commit="def")}
    tables = [Table("", ("a", "b"), [("x", 1)])]
    text = page([Section(name.title(), "How it is done.", [(run, tables)]) for name, run in parts.items()])
    assert re.search(r"CPU +\| +A CPU +\| +B CPU", text)
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[2:]
    assert [section.splitlines()[0] for section in sections] == ["Idle", "Start", "Memory"]
    assert [re.search(r"at place (\d)", section)[1] for section in sections] == ["1", "2", "1"]
    for expected in (
        "How it is done.",
        "commit `abc`",
        "`python -m tests.bench idle`",
        "load average at start 0.1",
    ):
        assert expected in sections[0]
    assert text.endswith("in 61 s.\n")


def test_the_page_in_the_docs_is_what_the_figures_say():
    assert PAGE.read_text("utf-8") == render(known_results(RESULTS))


def test_every_part_has_a_name_of_its_own_and_says_how_it_measures():
    assert all(name == part.name and part.title and part.method for name, part in PARTS.items())


@pytest.mark.parametrize(
    "part", [part for part in PARTS.values() if part.explanation], ids=lambda part: part.name
)
def test_an_explanation_is_older_than_the_figures_and_says_of_when_it_is(part):
    assert re.match(r"\*\*Where the time went on 20\d\d-\d\d-\d\d\.\*\*\n", part.explanation)


NEW, LOAD = [Produced(10.0, "clickstream", 0, n) for n in (5, 6)], [Produced(9.9, "orders", 0, 1)]


def verdict(at, offset, kind):
    return Judged(at, "clickstream", 0, offset, kind)


def test_a_version_costs_until_its_last_record_is_judged_and_counted_and_what_waited_for_it():
    verdicts = [verdict(10.1, 5, "u"), verdict(10.2, 6, "u"), verdict(12.0, 5, "a"), verdict(12.5, 6, "a")]
    sightings = Sightings(
        [(10.5, {ORDERS: 1}), (12.6, {ORDERS: 2, ("clickstream", 0): 6}), (13.0, {("clickstream", 0): 7})]
    )
    found = evolve.judge(evolve.Round(9.8, NEW, 13.1), verdicts, sightings, LOAD)
    assert found == {"undecided": 2, "judged_s": 2.7, "counted_s": 3.2, "longest_s": 3.0, "before_s": None}
    [table] = evolve.tables(
        {"runs": [{"rate": 1_000, "rounds": [found, {**found, "judged_s": 4.0, "before_s": 0.1}]}]}
    )
    assert table.rows == [[1_000, 2, 4, "2.70 / 4.00", "3.20 / 3.20", "3.00 / 3.00", "0.10 / 0.10"]]


@pytest.mark.parametrize("last", [[], [verdict(12.5, 6, "r")], [verdict(12.5, 6, "u")]])
def test_a_version_that_cost_a_record_is_no_measurement(last):
    with pytest.raises(BenchError, match="clickstream"):
        evolve.judge(evolve.Round(9.8, NEW, 13.1), [verdict(12.0, 5, "a"), *last], Sightings([]), [])


def answer(inside, number):
    inside.ready()
    inside.show(number)
    inside.wait_for_stop()
    return number * 2


def fail(inside):
    inside.ready()
    raise ValueError("why it failed")


def test_a_worker_shows_a_count_returns_its_result_and_leaves_no_process():
    with Worker(answer, 21) as worker:
        worker.stop()
        assert worker.result(30) == 42
        assert worker.count == 21
    assert not worker.is_alive()


def test_a_worker_that_fails_tells_why():
    with ExitStack() as stack, pytest.raises(BenchError, match="why it failed"):
        stack.enter_context(Worker(fail)).result(30)


def heard(numbers, times):
    """What a crowd of one answers."""
    return {
        "receipts": [(array("d", times), array("q", numbers))],
        "documents": {n: {"orders": {"0": n}} for n in numbers},
    }


def test_a_record_has_come_to_a_client_with_the_first_snapshot_that_covers_it_whichever_that_client_got():
    records = [Produced(1.0, "orders", 0, 4), Produced(1.5, "orders", 0, 6), Produced(1.6, "orders", 0, 9)]
    found, missing = waits_of(records, [heard([5, 7], [2.0, 3.0]), heard([8], [4.0])])
    assert sorted(found) == pytest.approx([1000, 1500, 2500, 3000])
    assert missing == 2


def test_open_loop_a_stall_counts_for_every_request_that_it_held_up(settings_of_nothing):
    """100 requests in a second over one connection, to a server that does nothing for its first half second."""
    with Worker(stalling) as server:
        wait_until(lambda: server.count, 10, "a port")
        plan = Plan(("127.0.0.1", server.count), [request("GET", "/")], 100, 100, 1)
        with Worker(ask, plan) as asking:
            found = asking.result(30)
    assert found["statuses"] == {"200": 100}
    assert found["missing"] == 0
    assert found["waits_ms"]["max"] >= 450
    assert found["waits_ms"]["p50"] > 1
    assert 90 <= found["per_second"] <= 110


def test_the_noop_answers_pushes_and_is_listened_to_by_a_crowd(settings_of_nothing):
    with Worker(noop, settings_of_nothing, 500, 20) as server:
        address = "127.0.0.1", server.count
        plan = Plan(address, [request("POST", "/bytes/77", b"x" * 300_000)], 50, 0, 4)
        with Worker(ask, plan) as asking:
            assert asking.result(30)["statuses"] == {"200": 50}
        with Worker(crowd, address, "/push", 30) as listening:
            wait_until(lambda: listening.count >= 300, 20, "300 frames")
            listening.stop()
            found = listening.result(30)
    assert found["lost"] == 0
    assert len(found["receipts"]) == 30
    assert all(list(numbers) == sorted(set(numbers)) for _, numbers in found["receipts"])
    assert abs(found["frame_bytes"] - 500) < 10


def stalling(inside):
    with socket.create_server(("127.0.0.1", 0)) as server:
        inside.show(server.getsockname()[1])
        inside.ready()
        connection, _ = server.accept()
        with connection:
            time.sleep(0.5)  # the stall that is measured
            while got := connection.recv(65536):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" * got.count(b"\r\n\r\n"))


@pytest.fixture
def settings_of_nothing(tmp_path):
    return isolated_settings(tmp_path)


def test_what_another_processor_gave_last_stays_beside_what_is_measured_now():
    first, second = run_on("A CPU", commit="1"), run_on("B CPU", commit="2")
    second |= {"elsewhere": elsewhere(first, second)}
    assert second["elsewhere"] == [first]
    third = run_on("B CPU", commit="3")
    third |= {"elsewhere": elsewhere(second, third)}
    assert third["elsewhere"] == [first]
    fourth = run_on("A CPU", commit="4")
    assert [run["commit"] for run in elsewhere(third, fourth)] == ["3"]
    assert elsewhere(None, first) == []

    tables = [[Table("", ("a", "b"), [("x", n)])] for n in (31, 69)]
    text = page([Section("Lake", "How.", [(third, tables[0]), (first, tables[1])], "What it means.")])
    newest, other = text.split("### The same at place 2\n")
    assert "| x   |  31 |" in newest
    assert "at place 1, commit `3`" in newest
    assert "| x   |  69 |" in other
    assert "at place 2, commit `1`" in other
    assert other.rstrip().endswith("What it means.")
