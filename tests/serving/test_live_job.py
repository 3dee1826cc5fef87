"""The materializer asks the live job again, and more and more rarely until what it asked for has come."""

from itertools import pairwise

import pytest

from infra.kafka import admin, ensure_topics
from schemas.topics import CONTROL, TOPICS
from serving.materializer.live_job import BETWEEN, FIRST_PATIENCE, LONGEST_PATIENCE, LiveJob


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


FENCES, ENDS = {("orders", 0): 5, ("reviews", 1): 9}, {("orders", 0): 500, ("reviews", 1): 10}


def taught(job: LiveJob, clock: Clock, seconds: int, *, listed: bool) -> list[float]:
    """When it asks in so many seconds, from now on, in which records wait for another verdict."""
    began, asked = clock.now, []
    for _ in range(seconds):
        before = job.count
        job.teach(FENCES, ENDS, listed=listed)
        asked += [clock.now - began] * (job.count - before)
        clock.now += 1
    return asked


def test_for_a_schema_that_is_new_to_it_it_is_asked_at_once_and_then_let_get_on_with_it(control):
    """Each request starts the query again, and on a busy machine that takes longer than ten seconds."""
    clock = Clock()
    job = LiveJob(control, "g1", clock)
    assert taught(job, clock, 300, listed=True) == [0, 30, 90, 210]


def test_when_the_registry_answers_again_it_is_asked_at_once(control):
    clock = Clock()
    job = LiveJob(control, "g1", clock)
    job.request(FENCES, "a hole")  # before anybody could say that it is for a schema
    assert taught(job, clock, 20, listed=False) == []
    assert taught(job, clock, 20, listed=True) == [0]


def test_what_was_wanted_right_after_a_request_is_asked_for_soon_and_once(control):
    clock = Clock()
    job = LiveJob(control, "g1", clock)
    job.request(FENCES, "a hole")
    clock.now += 1
    job.request(FENCES, "another hole")
    assert job.count == 1
    asked = requests(job, clock, BETWEEN + FIRST_PATIENCE, FENCES, ENDS, trickle=False)
    assert asked == [1_000 + BETWEEN, 1_000 + BETWEEN + FIRST_PATIENCE]
