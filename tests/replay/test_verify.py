"""What a verification says of itself: exact is said of what was compared, and what was not is told."""

import asyncio

import pytest

from infra.bootstrap import bootstrap
from infra.generation import current_generation
from replay.verify.live import LiveNumbers, everything
from replay.verify.verify import Verifier
from streams.lake.place import lake_root
from tests.serving.api.kit import State
from tests.serving.lake_kit import SmallLake

PATIENCE = 0.3


@pytest.fixture
def environment(settings):
    settings = settings.replace(kafka_partitions=2)
    bootstrap(settings)
    return settings


@pytest.fixture
def lake(environment):
    found = SmallLake(lake_root(environment, "g1"), environment)
    yield found
    found.close()


@pytest.fixture
def state(environment):
    found = State(environment)
    yield found
    found.close()


@pytest.fixture
def verifier(environment):
    with Verifier(environment, current_generation(environment)) as found:
        yield found


def answers(settings):
    seen, why = asyncio.run(everything(LiveNumbers(settings, current_generation(settings))))
    assert seen, why
    return seen


def test_all_answers_are_compared_where_the_lake_has_come_as_far(environment, lake, state, verifier):
    lake.write({}, position=0)
    seen = answers(environment)
    verdict = verifier.check(seen, patience=PATIENCE)
    assert verdict.exact
    assert verdict.at_barrier
    assert (verdict.live, verdict.compared, verdict.answers) == (None, len(seen), len(seen))


def test_answers_beyond_the_lake_are_not_said_to_be_compared(environment, lake, state, verifier):
    lake.write({}, position=0)
    before = answers(environment)
    state.apply("orders", records=3)
    beyond = answers(environment)
    verdict = verifier.check([*before, *beyond], patience=PATIENCE)
    assert verdict.exact, "nothing that was compared differs"
    assert (verdict.compared, verdict.answers) == (len(before), len(before) + len(beyond))
    assert verdict.live.startswith(f"{len(beyond)} of {verdict.answers} answers not compared: ")
    assert "beyond the lake" in verdict.live


def test_answers_behind_what_was_verified_are_not_said_to_be_compared(environment, lake, state, verifier):
    lake.write({}, position=0)
    before = answers(environment)
    lake.write({}, position=3)
    verifier.check(patience=PATIENCE)
    verdict = verifier.check(before, patience=PATIENCE)
    assert verdict.compared == 0
    assert "behind what was verified before" in verdict.live
