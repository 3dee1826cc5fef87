"""Rounds of the continuous verifier: what goes wrong in one is told, and the next goes on."""

import duckdb
import pytest

from infra.bootstrap import bootstrap
from infra.generation import current_generation
from replay.verify.oracle import Oracle
from replay.verify.rounds import Rounds
from serving.store.store import connect
from streams.lake.place import lake_root
from streams.stop import StopRequest
from tests.serving.api.kit import State
from tests.serving.lake_kit import SmallLake


@pytest.fixture
def environment(settings):
    settings = settings.replace(kafka_partitions=2)
    bootstrap(settings)
    return settings


@pytest.fixture
def lake(environment):
    found = SmallLake(lake_root(environment, "g1"), environment)
    found.write({}, position=0)
    yield found
    found.close()


@pytest.fixture
def rounds(environment, lake):
    state, redis = State(environment), connect(environment)
    found = Rounds(environment, current_generation(environment), redis, StopRequest())
    yield found
    found.close()
    redis.close()
    state.close()


def test_too_little_memory_is_told_and_the_next_round_goes_on(rounds, monkeypatch):
    def short(*_):
        raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate")

    with monkeypatch.context() as patched:
        patched.setattr(Oracle, "forget_changes", short)
        found = rounds.once()
    assert (found.exact, found.manifest) == (None, None)
    assert "make room on that disk" in found.detail
    found = rounds.once()
    assert (found.exact, found.live) == (True, True)
    assert found.whole_at is not None
