"""What the tests of the second computation share: its verdict over all there is, and the words of the verifier."""

import asyncio
from collections.abc import Iterable
from typing import Self

from confluent_kafka import KafkaException

from infra.generation import current_generation
from infra.runtime.platform import Platform
from infra.settings import Settings
from replay.verify.live import LiveNumbers, everything
from replay.verify.report import documents
from replay.verify.verify import Verdict, Verifier, newest_manifest, verify
from schemas.errors import Unavailable
from serving.read import Rebuilding
from serving.store.store import connect
from serving.verified import Found, verified_key
from tests.helpers import wait_for

# Of these there have to be rows: what is empty is equal to anything that is.
FILLED = ("orders", "fct_orders", "daily_sales", "live revenue minute")
CLICKS = ("sessions", "live funnel day")
PATIENCE = 120.0
# While what was killed is not there again.
AWAY = (Unavailable, Rebuilding, KafkaException, OSError)


def expect_exact(settings: Settings, filled=(*FILLED, *CLICKS), patience: float = PATIENCE) -> Verdict:
    """Everything, at a barrier; a lake may still be on its way."""
    generation = current_generation(settings).name
    wait_for(lambda: newest_manifest(settings, generation) is not None, 300, "the first batch of the lake")
    return exact(verify(settings, patience=patience), filled)


def exact(verdict: Verdict, filled=(*FILLED, *CLICKS)) -> Verdict:
    """The verdict, if it is of all there is. Raises Unavailable if the live numbers were not there, or the lake, which
    has to catch up after a kill, had planned past the barrier."""
    wrong = [each for each in documents(verdict.differences) if not each["equal"]]
    assert not wrong
    if verdict.live is not None:
        raise Unavailable(verdict.live)
    if not verdict.at_barrier:
        raise Unavailable(f"manifest {verdict.manifest.number} is past the offsets of the live numbers")
    rows = {each.table: each.rows for each in verdict.differences}
    for name in filled:
        assert rows[name], f"{name} is equal because it is empty"
    return verdict


def exact_after_kills(
    platform: Platform, names: Iterable[str], filled=(*FILLED, *CLICKS), timeout: float = 300
) -> Verdict:
    """The last verdict; there is an exact one after the kill of each process."""
    verdict = None
    for name in names:
        before = platform.supervisor.process(name).restarts
        platform.kill(name)
        wait_for(
            lambda n=name, b=before: platform.supervisor.process(n).restarts > b, 60, f"{name}'s restart"
        )
        platform.wait_ready(name)
        verdict = wait_for(
            lambda: exact_or_none(platform.settings, filled),
            timeout,
            f"an exact verdict after {name} was killed",
        )
    return verdict


def exact_or_none(settings: Settings, filled: Iterable[str]) -> Verdict | None:
    """None while what was killed is not there again."""
    try:
        return expect_exact(settings, filled)
    except AWAY as error:
        print(f"not there yet: {error}")
        return None


class Kept:
    """A second computation that is kept from one look to the next, and compares everything each time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._generation = current_generation(settings)
        self._verifier = Verifier(settings, self._generation)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._verifier.close()

    def expect_exact(self, timeout: float = 300) -> Verdict:
        """Lake and live, at a barrier; what was killed may take a while to be there again."""
        return wait_for(self._look, timeout, "lake and live numbers at the same offsets")

    def _look(self) -> Verdict | None:
        try:
            seen, why = asyncio.run(everything(LiveNumbers(self._settings, self._generation)))
            return exact(self._verifier.check(seen, patience=PATIENCE, live=why))
        except AWAY as error:
            print(f"not there yet: {error}")
            return None


class Watched:
    """What the verifier of a running platform says."""

    def __init__(self, settings: Settings) -> None:
        self.redis = connect(settings)
        self._key = verified_key(settings, current_generation(settings).name)

    def last(self) -> Found | None:
        return Found.from_json(self.redis.get(self._key))

    def wait(self, what: str, after: int = -1, timeout: float = 240, **wanted: object) -> Found:
        """What it found, as soon as it is of a manifest beyond `after`, and as wanted."""

        def found() -> Found | None:
            last = self.last()
            fits = last is not None and all(getattr(last, name) == value for name, value in wanted.items())
            return last if fits and (last.manifest or 0) > after else None

        return wait_for(found, timeout, what)
