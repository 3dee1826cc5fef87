"""The whole live path in this process, step by step: a log in memory, the judge, the fold, the reader; no service.

It is deterministic: records are judged in the order in which they were produced, and every `commit_every` of them are
counted by one commit. Whatever crashes between two commits loses what came since the last one, and the judge then says
everything again from the beginning of the log, as after a lost checkpoint: the fences have to drop what was counted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from redis import Redis

from dataflow.testing.clock import Clock
from dataflow.testing.counting import GENERATION, At, Counting, places
from dataflow.testing.events import Event, Events
from dataflow.testing.judge import Judge, Verdict
from dataflow.testing.letters import letter_of
from dataflow.testing.pipeline import Row, Where
from dataflow.testing.questions import metric_called
from dataflow.testing.records import Letter, Place, Raw, Record
from dataflow.testing.stream import Item, Stream
from dataflow.testing.valkey import MemoryValkey
from infra.settings import Settings
from schemas.metric import AnyMetric

COMMIT_EVERY = 3


class MemoryLog:
    """Source topics of one partition each. The clock says when the "broker" took a record."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.records: list[Record] = []
        self.ends: Counter[At] = Counter(places())

    def put(self, records: Sequence[Raw]) -> list[Place]:
        taken = []
        for raw in records:
            at = raw.topic, 0
            taken.append(Record(*at, self.ends[at], raw.key, raw.value, self.clock.micros()))
            self.ends[at] += 1
        self.records += taken
        return [Place(record.topic(), 0, record.offset()) for record in taken]


class Offline:
    """A `Numbers` pipeline without processes. Its state is kept in memory, or in a real Valkey that is handed in."""

    def __init__(
        self,
        events: Events | None = None,
        *,
        settings: Settings | None = None,
        redis: Redis | None = None,
        metrics: Iterable[AnyMetric] = (),
        commit_every: int = COMMIT_EVERY,
        **changes: Any,
    ) -> None:
        """`settings` are those of an environment, where `redis` is a real one; `changes` are settings by name.

        `metrics` are counted beside the declared ones.
        """
        self.events = events or Events()
        self.settings = settings or Settings.load(
            {"DATAFLOW_ENV_FILE": ""}, dataflow_env="offline", **changes
        )
        self.commit_every = commit_every
        self.judge = Judge(max_bytes=self.settings.max_event_bytes, events=self.events)
        self.log = MemoryLog(self.events.clock)
        self.stream = Stream(self.log, self.judge.codec, self.events)
        self.stream.attach(self)
        self.counting = Counting(self.settings, MemoryValkey() if redis is None else redis, [*metrics])
        self.kills = 0
        self._verdicts: dict[Place, Verdict] = {}
        self.start()

    # --- Pipeline

    def start(self) -> None:
        self._start(Failpoint(None))

    def stop(self) -> None:
        """Count what is judged, and no more."""
        self.settled()
        self._running = False

    def kill(self) -> None:
        """Judge all that there is, commit the whole runs of it, and lose the rest."""
        self._drop()
        self.kills += 1

    def arm(self, failpoint: str) -> None:
        self._drop()
        try:
            self._start(Failpoint(failpoint))
        except Reached:
            self._running = False

    def died(self, timeout: float = 60.0) -> None:
        if self._running:
            try:
                self.settled()
            except Reached:
                self._running = False
            else:
                raise AssertionError(
                    f"nothing came to failpoint {self._failpoint.name} while what is in front of ABORT was worked on, "
                    "so nothing was killed: is there such a failpoint, and do these records lead there?"
                )
        self.kills += 1

    def settled(self, timeout: float = 60.0) -> None:
        """Judge and count everything in the log."""
        if not self._running:
            raise AssertionError(
                "expected a pipeline that runs, saw one that was stopped or killed: start it first"
            )
        self._work()
        self._commit()

    # --- Numbers

    def rows(
        self,
        metric: str | AnyMetric,
        grain: str = "all",
        by: str | Sequence[str] = (),
        where: Where | None = None,
    ) -> list[Row]:
        return self.counting.rows(metric, grain, by, where)

    def verdicts(self, topic: str | None = None) -> list[Verdict]:
        return [self._verdicts[at] for at in sorted(self._verdicts) if topic in (None, at.topic)]

    def dead_letters(self, topic: str | None = None) -> list[Letter]:
        return self.counting.dead_letters(topic)

    def produce_all(self, items: Iterable[Item]) -> list[Place]:
        """See `Stream.produce_all`."""
        return self.stream.produce_all(items)

    # --- its work

    def _drop(self) -> None:
        if self._running:
            self._work()
        self._running = False

    def _start(self, failpoint: "Failpoint") -> None:
        self._failpoint, self._running = failpoint, True
        self._judged = 0  # how far the log is judged
        self._run: list[Mapping[str, Any]] = []
        self._letters: list[Record] = []
        self.counting.claim(self.log.ends, failpoint)

    def _work(self) -> None:
        """Judge what is in the log, commit each run that is whole."""
        while self._judged < len(self.log.records):
            record = self.log.records[self._judged]
            self._judged += 1
            self._take(record, self._verdict(record))
            if len(self._run) >= self.commit_every:
                self._commit()

    def _take(self, record: Record, verdict: Verdict) -> None:
        body = verdict.as_json()
        if not self.counting.admission.admits(body):
            return
        self._run.append(body)
        self.counting.letters.records[verdict.topic, 0, verdict.offset] = record
        if not verdict.accepted:
            limit = self.settings.max_event_bytes
            self._letters.append(letter_of(record, verdict, GENERATION, limit))

    def _commit(self) -> None:
        self.counting.commit(self._run, self._letters, self._judged)
        self._run, self._letters = [], []

    def _verdict(self, record: Record) -> Verdict:
        # A verdict is a function of the record alone, so it is the same one each time.
        at = Place(record.topic(), 0, record.offset())
        if at not in self._verdicts:
            self._verdicts[at] = self.judge.verdict(record)
        return self._verdicts[at]


class Reached(Exception):
    """Work has come to the failpoint, where a process would kill itself."""


class Failpoint:
    """What `infra.failpoints.Failpoints` is for a process: at the hit that is asked for, work ends."""

    def __init__(self, name: str | None) -> None:
        self.name = name
        self._at, _, count = (name or "").partition(":")
        self._left = int(count or 1)

    def hit(self, name: str) -> None:
        if name == self._at:
            self._left -= 1
            if not self._left:
                raise Reached(name)


def rows_over(
    metric: str | AnyMetric,
    items: Iterable[Item | Mapping[str, Any]],
    grain: str = "all",
    by: str | Sequence[str] = (),
    where: Where | None = None,
    **offline: Any,
) -> list[Row]:
    """A metric's rows over events, raw records and ABORTs, in memory; `offline` are arguments of `Offline`.

    `metric` is a name, or a declaration that is nowhere else. A plain mapping is an event of the metric's topic.
    """
    declared = metric_called(metric) if isinstance(metric, str) else metric
    pipeline = Offline(metrics=[declared], **offline)
    topic = getattr(declared, "of", None)
    pipeline.produce_all(
        (topic, item) if isinstance(item, Mapping) and not isinstance(item, Event) else item for item in items
    )
    pipeline.settled()
    return pipeline.rows(declared, grain, by, where)
