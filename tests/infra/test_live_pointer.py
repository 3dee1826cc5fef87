"""The pointer's follower tells the live generation first, each other one soon after it was recorded, and none twice."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from infra.generations import LIVE, change_generations
from infra.kafka import admin, ensure_topics
from infra.live_pointer import LivePointer
from infra.settings import Settings
from schemas.errors import Unavailable
from schemas.topics import GENERATIONS, TOPICS
from tests.helpers import wait_for

SOON = 1.0  # it takes some 20 ms; the machine of a test run is busy


@pytest.fixture
def log(settings: Settings) -> Settings:
    topics = {settings.topic_prefix + GENERATIONS: TOPICS[GENERATIONS]}
    ensure_topics(admin(settings.kafka_bootstrap_servers), topics, 1, 1)
    return settings


class Told(list):
    """What was told, and when."""

    def __call__(self, number: int | None) -> None:
        self.append((number, time.monotonic()))

    def numbers(self) -> list[int | None]:
        return [number for number, _ in self]


@contextmanager
def following(settings: Settings) -> Iterator[Told]:
    told = Told()
    pointer = LivePointer(settings, told)
    pointer.start()
    try:
        yield told
    finally:
        pointer.stop()


def record(settings: Settings, key: str, number: int) -> float:
    """Returns when it was recorded, on the monotonic clock."""
    body = {"number": number, "topics": {}}
    record = {"number": number, "before": None} if key == LIVE else body
    change_generations(settings, lambda now: {f"g{number}": body, key: record})
    return time.monotonic()


def test_it_tells_what_is_there_and_then_each_change_soon(log: Settings) -> None:
    with following(log) as told:
        wait_for(lambda: told.numbers() == [None], what="that there is none")
        for number in (1, 2, 1):
            at = record(log, LIVE, number)
            wait_for(lambda number=number: told[-1][0] == number, what=f"generation {number}")
            print(f"told after {told[-1][1] - at:.3f} s")
            assert told[-1][1] - at < SOON
        record(log, "g3", 3)
        record(log, LIVE, 1)
        record(log, LIVE, 3)
        wait_for(lambda: told[-1][0] == 3, what="generation 3")
        assert told.numbers() == [None, 1, 2, 1, 3]
    record(log, LIVE, 2)
    with following(log) as told:
        wait_for(lambda: told, what="the live one")
        assert told.numbers() == [2]


def test_a_log_that_is_not_there_yet_is_waited_for(settings: Settings) -> None:
    with following(settings) as told:
        time.sleep(0.5)
        assert not told.numbers() or told.numbers() == [None]
        topics = {settings.topic_prefix + GENERATIONS: TOPICS[GENERATIONS]}
        ensure_topics(admin(settings.kafka_bootstrap_servers), topics, 1, 1)
        record(settings, LIVE, 1)
        wait_for(lambda: told.numbers()[-1:] == [1], what="generation 1")


def test_a_broker_that_shows_no_generation_any_more_is_asked_again(log: Settings) -> None:
    """So it looks for a moment after its start; who serves what is live must not take that for its end."""
    told = Told()
    pointer = LivePointer(log, told)
    pointer._told = 2
    with pytest.raises(Unavailable, match="shows no live generation, and there was g2"):
        pointer._follow()
    assert not told


def test_its_thread_ends(log: Settings) -> None:
    with following(log):
        wait_for(lambda: any(t.name == "live-pointer" for t in threading.enumerate()), what="its thread")
    wait_for(lambda: not any(t.name == "live-pointer" for t in threading.enumerate()), 30, "its end")
