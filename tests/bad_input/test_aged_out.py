"""Source records that retention or DeleteRecords takes: what was counted stays, what was not is told, never skipped."""

import signal
from collections.abc import Callable

import pytest
from confluent_kafka import TopicPartition

from dataflow.testing import Live, wait_for
from infra.entry import EXIT_TERMINAL
from infra.generation import current_generation, new_generation, source_bounds
from infra.kafka import admin
from tests.bad_input.counting import measure

WAY_OUT = "dataflow generation new"
MANY = 600  # 3 MB in each of two partitions


def test_what_is_counted_may_age_out_under_the_running_job(live: Live) -> None:
    expect_counted_records_may_go(live)


@pytest.mark.slow
@pytest.mark.longhaul
def test_what_is_not_counted_yet_and_is_gone_is_told_and_not_passed_over(live: Live) -> None:
    expect_uncounted_records_are_missed(live)


@pytest.mark.slow
@pytest.mark.longhaul
@pytest.mark.timeout(600)
@pytest.mark.dataflow(live="spark")
@pytest.mark.parametrize("which", ["counted", "uncounted"])
def test_so_it_is_with_sparks_live_job(live: Live, which: str) -> None:
    checks: dict[str, Callable[[Live], None]] = {
        "counted": expect_counted_records_may_go,
        "uncounted": expect_uncounted_records_are_missed,
    }
    checks[which](live)


def expect_counted_records_may_go(live: Live) -> None:
    reviews(live, 20)
    live.settled(120)
    pids = {name: job.pid for name, job in live.jobs.items()}
    delete(live, keep=0)
    reviews(live, 5)
    live.settled()
    assert measure(live, "reviews", "reviews") == 25
    assert {name: job.pid for name, job in live.jobs.items()} == pids
    live.kill()
    live.start()
    reviews(live, 5)
    live.settled(120)
    assert measure(live, "reviews", "reviews") == 30
    exactness = live.get("/v1/exactness")
    assert (exactness["exact"], exactness["held"]) == (True, {})


def expect_uncounted_records_are_missed(live: Live) -> None:
    reviews(live, 20)
    live.settled(120)
    judge, counter = live.jobs["live"], live.jobs["materializer"]
    # It runs, and cannot keep up.
    judge.signal_all(signal.SIGSTOP)
    try:
        # A request that it has sent may bring it a part of them: at most 1 MiB of each partition.
        reviews(live, MANY, "x" * 10_000)
        delete(live, keep=2)
    finally:
        judge.signal_all(signal.SIGCONT)
    wait_for(lambda: judge.tend() or not counter.alive(), 120, "the end of the materializer")
    assert counter.ended() == EXIT_TERMINAL
    said = (live.settings.state_dir / "materializer.log").read_text()
    assert "the topics no longer hold what comes next in reviews/" in said
    assert "retention or DeleteRecords took it" in said
    assert WAY_OUT in said
    # What is shown is the value for the offsets that it names; and a lag says that there is more.
    counted = sum(live.get("/v1/status")["as_of"]["offsets"]["reviews"].values())
    assert 20 <= counted < 20 + MANY
    assert measure(live, "reviews", "reviews") == counted
    wait_for(lambda: live.get("/v1/lag")["records_behind"] == 20 + MANY - counted, what="a lag of the rest")
    # The way out counts what there is.
    judge.forget()
    new_generation(live.settings)
    live.start()
    live.settled(120)
    assert measure(live, "reviews", "reviews") == left(live)
    assert 0 < left(live) <= 4


def reviews(live: Live, count: int, body: str | None = None) -> None:
    live.stream.produce_all([("reviews", {"body": body})] * count)


def delete(live: Live, keep: int) -> None:
    """What stands before the last `keep` records of each partition of the reviews."""
    _, ends = source_bounds(live.settings, current_generation(live.settings))
    name = live.settings.topic_prefix + "reviews"
    wanted = [
        TopicPartition(name, p, max(0, end - keep)) for (topic, p), end in ends.items() if topic == "reviews"
    ]
    client = admin(live.settings.kafka_bootstrap_servers)
    for done in client.delete_records(wanted).values():
        done.result(30)


def left(live: Live) -> int:
    """How many reviews the broker has."""
    first, ends = source_bounds(live.settings, current_generation(live.settings))
    return sum(end - first[at] for at, end in ends.items() if at[0] == "reviews")
