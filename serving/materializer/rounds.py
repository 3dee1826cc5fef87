"""What the materializer looks at once a second, from one claim to the next: whatever does not move by itself.

Empty tails of partitions, a Redis that is no longer as it was left, holes at the end, a live job that has to be asked
again or told where the fences are, the end of a rebuild. Reads Redis and the source topics; writes Redis as a run does,
and the control topic.
"""

from collections.abc import Mapping

from serving.materializer.admission import Admission
from serving.materializer.dead_letters import DeadLetters
from serving.materializer.live_job import LiveJob
from serving.materializer.rebuild import Rebuild
from serving.materializer.refusals import Refusals
from serving.materializer.watch import Watch
from serving.materializer.writer import Writer
from serving.store.keys import place
from serving.store.store import Claimed, Store


class Rounds:
    """One claim's rounds. What they look after is the materializer's; `rebuild` is theirs to end."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        claimed: Claimed,
        admission: Admission,
        letters: DeadLetters,
        refusals: Refusals,
        live_job: LiveJob,
        watch: Watch,
        rebuild: Rebuild,
    ) -> None:
        self._store, self._writer, self._claimed = store, writer, claimed
        self._admission, self._letters, self._refusals = admission, letters, refusals
        self._live_job, self._watch = live_job, watch
        self.rebuild = rebuild
        self._taken_before = -1

    @property
    def lag(self) -> int:
        """Offsets of the source topics that are not applied yet."""
        fences = self._admission.fences
        return sum(max(0, end - fences.get(at, 0)) for at, end in self._watch.ends.items())

    def look(self, taken: int, positions: Mapping[int, int]) -> None:
        """One round. `taken` counts the verdicts read so far, `positions` are the next ones in the judged topic.

        Raises GenerationError, Unavailable, Lost.
        """
        self._watch.verdict()
        admission, ends = self._admission, self._watch.ends
        self._store.check(self._claimed, admission.fences)
        idle, self._taken_before = taken == self._taken_before, taken
        admission.cross_tails(ends, idle=idle)
        if admission.ranges():
            self._commit(positions)
        self._refusals.waiting &= admission.held.keys()
        self._refusals.new_run()
        self._live_job.teach(admission.fences, ends, listed=self._refusals.may_be_settled())
        stuck = admission.stuck(ends, idle=idle)
        if stuck:
            waiting = ", ".join(place(*at) for at in stuck)
            self._live_job.remind(admission.fences, ends, f"no verdict for {waiting}")
        else:
            self._live_job.moving(admission.fences)
        self._end_rebuild(positions)
        # A rebuild needs verdicts that are there already, not all from its fences on once more.
        if not self.rebuild.sources:
            self._live_job.tell(admission.fences)

    def _end_rebuild(self, positions: Mapping[int, int]) -> None:
        """Let readers in again once a rebuild has reached what it has to."""
        admission = self._admission
        if not self.rebuild or admission.held or not self.rebuild.has_read(positions):
            return
        if self.rebuild.judged:
            # Empty offsets that were crossed before are no verdicts; they are crossed again.
            admission.cross_tails(self._watch.ends, idle=True, patience=0.0)
            self._commit(positions)
        if self.rebuild.reached(admission.fences):
            ended = self.rebuild.ended(self._writer.keys)
            self._store.commit(self._writer.epoch, {}, [ended])
            self.rebuild = Rebuild({}, {})

    def _commit(self, positions: Mapping[int, int]) -> None:
        """What was crossed, without any verdict."""
        self._writer.commit([], [], self._admission, self._letters.positions(positions))
