"""A bucket that is gone from Redis: nothing there says that it should be, but what is computed again does."""

from pathlib import Path

import pytest
from redis import Redis

from dataflow.testing import Services, TimeMachine
from infra.generation import current_generation
from replay.verify.rounds import Rounds
from replay.verify.verify import verify
from serving.store.keys import Keys
from serving.store.store import connect
from streams.stop import StopRequest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PATIENCE = 5.0


@pytest.fixture
def machine(dataflow_services: Services, tmp_path: Path):
    with (
        dataflow_services.environment(tmp_path / "shop", "bucket") as place,
        TimeMachine(place, records=300) as found,
    ):
        found.to(300)
        yield found


def take_away(redis: Redis, space: str, pattern: str) -> tuple[bytes, bytes]:
    """The newest bucket of that name: its key, and what brings it back."""
    key = max(redis.scan_iter(match=space + pattern, count=1_000))
    kept = redis.dump(key)
    redis.delete(key)
    return key, kept


@pytest.mark.parametrize("grain", ["minute", "day"])
@pytest.mark.cases(0)
def test_it_is_found_and_stays_wrong_until_it_is_there_again(machine: TimeMachine, grain: str) -> None:
    settings, generation = machine.settings, current_generation(machine.settings)
    redis, space = connect(settings), Keys.of(settings, "g1").space
    assert verify(settings, patience=PATIENCE).exact
    key, kept = take_away(redis, space, f"m:revenue:{grain}:*")
    verdict = verify(settings, patience=PATIENCE)
    [wrong] = [each for each in verdict.differences if not each.equal]
    assert (wrong.table, wrong.unexpected_rows, bool(wrong.missing_rows)) == (
        f"live revenue {grain}",
        0,
        True,
    )
    assert verdict.live is None
    # The continuous one, which has seen nothing yet, and then everything.
    rounds = Rounds(settings, generation, redis, StopRequest())
    for _ in range(3):
        found = rounds.once()
        assert (found.exact, [each["table"] for each in found.differences]) == (
            False,
            [f"live revenue {grain}"],
        )
    redis.restore(key, 0, kept)
    assert (rounds.once().exact, rounds.once().exact) == (True, True)
    rounds.close()
    redis.close()
