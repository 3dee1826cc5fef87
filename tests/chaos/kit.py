"""What the chaos tests share: a whole platform with a shop, its end state, and the ways to hurt its processes.

Only processes of the test's own platform are signalled, by their process groups.
"""

import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from infra.runtime.child import group_members, signal_group
from infra.runtime.platform import LIVE, Platform
from infra.settings import Settings
from tests.e2e.kit import SPAN, Reader, Rest, Shop, expect_prefixes, expect_truth
from tests.e2e.verify_kit import Kept, Watched
from tests.helpers import isolated_settings, wait_for

VICTIMS = ("kafka", "registry", "valkey", "live", "materializer", "api")
PROVEN = (*LIVE, "lake", "verifier")  # with all that a second computation needs
RECORDS = 80_000  # more than any module produces: they spread over the shop's day
READY_SECONDS = 180


class World:
    """A running platform, a shop that produces to it, and its REST interface."""

    def __init__(self, platform: Platform, seed: int, records: int = RECORDS, span: timedelta = SPAN) -> None:
        self.platform, self.settings = platform, platform.settings
        self.victims = VICTIMS
        self.shop = Shop(self.settings, records, seed, span)
        self.rest = Rest(platform.url)
        self.kept: Kept | None = None  # a second computation, if there is a lake
        self._watched: Watched | None = None

    @contextmanager
    def proven(self) -> Iterator[None]:
        """While the block runs lake and verifier may be hurt too, and whatever settles is computed a second time."""
        self.victims = (*VICTIMS, "lake", "verifier")
        with Kept(self.settings) as self.kept:
            self._watched = Watched(self.settings)
            yield
            self._watched.redis.close()

    def settle(self, timeout: float = 240) -> None:
        """Everything is up and counted, and every figure is the ground truth's."""
        for name in self.victims:
            self.platform.wait_ready(name, READY_SECONDS)
        self.rest.at_ends(self.settings, timeout)
        expect_truth(self.rest, self.shop.truth, span=self.shop.span)
        if self.kept is not None:
            self.kept.expect_exact(timeout)
            last = self._watched.last()
            assert last is None or last.exact is not False, last

    def verifier_agrees(self, timeout: float) -> None:
        """The verifier too, which was killed and begins at the beginning, says so of all that there is now."""
        number = self.kept.expect_exact().manifest.number
        self._watched.wait("the verifier's word", number - 1, timeout, exact=True, live=True)

    @contextmanager
    def watched(self, *, empties: bool = False) -> Iterator[Reader]:
        """A reader asks while the block runs, and has seen nothing wrong in the end."""
        with Reader(self.platform.url, empties=empties).asking() as reader:
            yield reader
        assert reader.faults == []
        assert reader.answers, "the reader got no answer, so it has seen nothing"

    def status_file(self, name: str) -> Path:
        return self.settings.state_dir / "status" / f"{name}.json"

    def log(self, name: str) -> str:
        return self.platform.log_file(name).read_text(errors="replace")


@contextmanager
def world(
    home: Path,
    seed: int,
    records: int = RECORDS,
    processes: Sequence[str] = LIVE,
    span: timedelta = SPAN,
    **settings: object,
) -> Iterator[World]:
    """A platform of its own, caught up with its first records; the shop has so many in all, from a time of `span`."""
    chosen = isolated_settings(home, **{"live_trigger_seconds": 5, **settings})
    with Platform(chosen, processes, preferred_ports=False) as platform:
        made = World(platform, seed, records, span)
        try:
            made.shop.produce(1_000)
            made.rest.at_ends(made.settings)
            yield made
        finally:
            made.rest.http.close()


class Killer:
    """SIGKILL for running processes with all that they started; counts what was really killed."""

    def __init__(self, platform: Platform, chance: random.Random, victims: Sequence[str] = VICTIMS) -> None:
        self.platform, self.chance, self.victims = platform, chance, victims
        self.kills: Counter[str] = Counter()

    def running(self) -> list[str]:
        return [name for name in self.victims if self.platform.supervisor.process(name).pid]

    def kill(self, *names: str) -> None:
        """All of them at the same moment. Who is between two lives is left alone and not counted."""
        groups = {name: self.platform.supervisor.process(name).pid for name in names}
        groups = {name: group for name, group in groups.items() if group and group_members(group)}
        for group in groups.values():
            signal_group(group, signal.SIGKILL)
        for name, group in groups.items():
            wait_for(lambda g=group: not group_members(g), 10, f"the end of {name}")
            self.kills[name] += 1

    @property
    def total(self) -> int:
        return self.kills.total()


@contextmanager
def stand_in(world: World, name: str, home: Path, failpoint: str) -> Iterator[tuple[Platform, Path]]:
    """A job of the platform replaced by one with a failpoint and a state of its own; and the marker of its kill."""
    settings: Settings = world.settings.replace(dataflow_home=home, dataflow_failpoint=failpoint)
    world.platform.stop_process(name)
    try:
        with Platform(settings, (name,), preferred_ports=False) as running:
            yield running, settings.state_dir / "failpoints" / failpoint.partition(":")[0]
    finally:
        world.platform.start_process(name)


__all__ = [
    "PROVEN",
    "VICTIMS",
    "Killer",
    "Reader",
    "Rest",
    "Shop",
    "World",
    "expect_prefixes",
    "expect_truth",
    "stand_in",
    "world",
]
