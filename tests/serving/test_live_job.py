"""The materializer asks the live job again, and more and more rarely until what it asked for has come."""

from itertools import pairwise

import pytest

from infra.kafka import admin, ensure_topics
from schemas.topics import CONTROL, TOPICS
from serving.materializer.live_job import FIRST_PATIENCE, LONGEST_PATIENCE, LiveJob


class Clock:
    """Seconds that a test moves on."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def control(settings):
    """Settings of an environment with a control topic, which requests go to."""
    client = admin(settings.kafka_bootstrap_servers)
    ensure_topics(client, {settings.topic_prefix + CONTROL: TOPICS[CONTROL]}, 1, 1)
    return settings


def requests(job: LiveJob, clock: Clock, seconds: float, fences, ends, *, trickle: bool) -> list[float]:
    """When it asks, if each second is either stuck or, with `trickle`, moves a little in between."""
    asked, until = [], clock.now + seconds
    while clock.now < until:
        before = job.count
        job.remind(fences, ends, "no verdict for orders/0")
        if job.count > before:
            asked.append(clock.now)
            if trickle:
                fences["orders", 0] += 1
                job.moving(fences)
        clock.now += 1
    return asked


def test_a_trickle_of_verdicts_does_not_let_it_ask_as_often_as_at_first(control):
    clock = Clock()
    job = LiveJob(control, "g1", clock)
    asked = requests(job, clock, 2_000, {("orders", 0): 5}, {("orders", 0): 500}, trickle=True)
    pauses = [later - sooner for sooner, later in pairwise(asked)]
    assert pauses[:4] == [60, 120, 240, LONGEST_PATIENCE]
    assert set(pauses[3:]) == {LONGEST_PATIENCE}


def test_once_everything_has_come_it_asks_soon_again(control):
    clock = Clock()
    job = LiveJob(control, "g1", clock)
    ends = {("orders", 0): 500, ("payments", 1): 7}
    asked = requests(job, clock, 1_000, {("orders", 0): 5, ("payments", 1): 7}, ends, trickle=False)
    job.moving({("orders", 0): 499, ("payments", 1): 7})
    again = requests(job, clock, LONGEST_PATIENCE, {("orders", 0): 499}, ends, trickle=False)
    assert again == [asked[-1] + LONGEST_PATIENCE]
    job.moving({("orders", 0): 500, ("payments", 1): 8})
    clock.now = again[0] + FIRST_PATIENCE
    assert requests(job, clock, 1, {("orders", 0): 500}, {("orders", 0): 501}, trickle=False)
