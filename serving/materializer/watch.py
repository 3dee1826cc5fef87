"""A thread that looks around while the materializer works: where the source topics end, whether they are the same."""

import threading

from infra.generation import GenerationWatch, compare, source_bounds, source_identities
from infra.generations import Generation
from infra.kafka import Offsets, admin
from infra.settings import Settings
from schemas.errors import DataflowError, Transient, Unavailable

LOOK_SECONDS = 1.0
COMPARE_EVERY = 4  # looks


class Watch:
    """`ends` is the newest that is known; `verdict` raises what makes going on impossible."""

    def __init__(self, settings: Settings, generation: Generation, ends: Offsets) -> None:
        self.settings, self.generation = settings, generation
        self.ends = ends
        self._client = admin(settings.kafka_bootstrap_servers)
        self._generations = GenerationWatch(settings, generation)
        self._trouble: DataflowError | None = None
        self._stop = threading.Event()
        threading.Thread(target=self._look_around, name="watch", daemon=True).start()

    def verdict(self) -> None:
        """Raises GenerationError if the topics are not those of the generation, Unavailable to start anew."""
        if self._trouble is not None:
            raise self._trouble

    @property
    def is_live(self) -> bool:
        """Whether its generation is the live one, as of the last look."""
        return self._generations.is_live

    def stop(self) -> None:
        self._stop.set()

    def _look_around(self) -> None:
        looks = 0
        while not self._stop.wait(LOOK_SECONDS):
            looks += 1
            try:
                # First: a partition that is gone has no bounds, and that would pass for a broker that is down.
                if looks % COMPARE_EVERY == 0:
                    self._compare()
                self._take(source_bounds(self.settings, self.generation, self._client)[1])
            except DataflowError as error:
                if isinstance(error, Transient):
                    continue  # the broker is down: those who read notice it themselves
                self._trouble = error
                return
            except Exception as error:  # noqa: BLE001 the watch outlives whatever the client library raises
                print(f"looking at the source topics: {type(error).__name__}: {error}", flush=True)

    def _take(self, ends: Offsets) -> None:
        if any(end < self.ends.get(at, 0) for at, end in ends.items()):
            self._trouble = Unavailable(
                "a source topic ends earlier than before: looking again at what is left"
            )
        self.ends = ends

    def _compare(self) -> None:
        newer = self._generations.superseded_by()
        if newer is not None:
            self._trouble = Unavailable(f"generation g{newer} is the live one now: starting again with it")
        elif grown := compare(self.generation, source_identities(self.settings)):
            self._trouble = Unavailable(f"{', '.join(grown)} got more partitions: starting again with them")
