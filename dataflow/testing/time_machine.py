"""The whole pipeline over a seeded history, to any of its offsets: assert, kill, replay by other code, compare.

What happens is a function of the seed, and of what else it is made with: which records there are, at which offsets, and
when the broker took them (the clock's time, not the wall's). The broker, the registry, Valkey and the Delta tables are
real ones. Each generation is evaluated in a process of its own, by its own code.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Self

import orjson
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from dataflow.testing.clock import aware
from dataflow.testing.evaluation import Evaluation, environment_of
from dataflow.testing.events import Events
from dataflow.testing.records import Raw
from dataflow.testing.services import Environment
from infra.code import PACKAGES, ROOT, environment, keep
from infra.generation import source_bounds
from infra.generations import State, change_generations, read_generations
from infra.kafka import Offsets, admin
from infra.settings import Settings
from replay.diff.diff import diff
from replay.diff.values import Comparison
from replay.run import set_state
from schemas.contract import CONTRACTS
from schemas.errors import Unavailable
from sources.generator import Dials, GroundTruth, ShopSimulator, moments

TIMEOUT = 60.0
NO_LIMIT = str(2**63 - 1)
SPAN = timedelta(hours=12)


class TimeMachine:
    """A history of `records` records of a shop, and what is evaluated of it; a context manager.

    `evaluations` are the generations by number; g1 is there from the beginning. `truth` is what the generator knows of
    all its records so far. `dials` say how untidy the shop is (default: all of them up). It begins at the time of the
    clock of `events`, or at `start`, and moves that clock; `stream` puts events of your own into the history, at the
    clock's time. ValueError for an environment that has a history already.
    """

    def __init__(
        self,
        place: Environment,
        *,
        seed: int = 1,
        records: int = 1_000,
        dials: Dials | None = None,
        start: datetime | None = None,
        span: timedelta = SPAN,
        events: Events | None = None,
    ) -> None:
        self.settings, self.truth, self.position = place.settings, GroundTruth(), 0
        self._generation, self._records = place.generation, records
        number, name = place.generation.number, place.generation.name
        if read_generations(self.settings).known[number].code or any(self.offsets.values()):
            raise ValueError(
                "expected an environment without a history, saw one with a time machine, or with records, already: "
                "one of each test (or `environment` of `dataflow_services`) has one"
            )
        self.stream = place.stream(events, stamped=True)
        self.clock = self.stream.events.clock
        if start is not None:
            self.clock.set(start)
        start = self.clock.now()
        self._shop = ShopSimulator(seed, start, place.schema_ids, dials or Dials.all_up(), truth=self.truth)
        self._moments = moments(start, span, records)
        self._until, self._later = start, timedelta()  # where the last step ended; moved on by, in all
        stamp_by_producer(self.settings)
        code = keep(self.settings)
        change_generations(self.settings, lambda _: {f"{name}/code": code.as_json()})
        pinned = environment(self.settings, code.digest)
        self.evaluations = {number: Evaluation(self.settings, number, pinned)}
        self._whole, self._evaluated = True, Offsets()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for each in self.evaluations.values():
            each.stop()

    def __getitem__(self, number: int) -> Evaluation:
        return self.evaluations[number]

    @property
    def offsets(self) -> Offsets:
        """The next offset of every source partition: what the evaluations are functions of."""
        return source_bounds(self.settings, self._generation)[1]

    def to(self, position: int | None = None, failpoint: str | None = None) -> Offsets:
        """On to the shop's record of this number (from the beginning), and all evaluations with it.

        Without a number, they take in what was put into `stream`. Each dies once at `failpoint`, if one is named, and
        goes on. Returns the offsets. ValueError for a position that is past already, or beyond the history, and for a
        clock that was set back; Unavailable if the broker does not take a record.
        """
        if not self._whole:
            raise Unavailable("records of this history were lost on their way to the broker: begin a new one")
        position = self.position if position is None else position
        if not self.position <= position <= self._records:
            raise ValueError(
                f"expected a position from {self.position} on, since time goes forth, to {self._records}, since there "
                f"are so many records; saw {position}"
            )
        if self.clock.now() < self._until:
            raise ValueError(f"expected the clock where it was, at {self._until}, or later; saw {self.clock}")
        # Where a test has moved the clock on, the story goes on from there.
        self._later += self.clock.now() - self._until
        times = [each + self._later for each in islice(self._moments, position - self.position)]
        self.position, self._whole = position, False
        emissions = self._shop.emissions(times)
        self.stream.log.put([Raw(each.topic, each.key, each.value) for each in emissions], times)
        self._whole = True
        self._until = self.clock.set(times[-1]) if times else self.clock.now()
        for each in self.evaluations.values():
            each.evaluate(failpoint)
        self._evaluated = self.offsets
        return self._evaluated

    def replay(
        self,
        contracts: Path | None = None,
        tree: Path | None = None,
        *,
        tables: Sequence[str] = (),
        metrics: Sequence[str] = (),
        since: datetime | None = None,
        offsets: Mapping[tuple[str, int], int] | None = None,
        topics: Sequence[str] = (),
        failpoint: str | None = None,
    ) -> Evaluation:
        """A further generation by changed code, over the same records, to the same offsets.

        `contracts` is a directory of contracts and metrics as DATAFLOW_CONTRACTS names one, `tree` a changed copy of
        DataFlow itself, all its packages. Neither: the code that runs here, as it is on disk now. `tables` and
        `metrics` select a part, as `dataflow replay run --table --metric` does; `since`, `offsets` (the first, by topic
        and partition) and `topics` make it a trial, as `--from` and `--topic` do. It dies once at
        `failpoint`, if one is named, and goes on. AssertionError with the reason where that cannot be.
        """
        self._catch_up()
        tree = Path(tree or ROOT).absolute()
        if missing := [name for name in PACKAGES if not (tree / name).is_dir()]:
            raise ValueError(f"expected a copy of DataFlow in {tree}, and it has no {', '.join(missing)}")
        path = os.pathsep.join(filter(None, (str(tree), os.environ.get("PYTHONPATH"))))
        first = [(topic, partition, offset) for (topic, partition), offset in (offsets or {}).items()]
        asked = {
            "tables": tables,
            "metrics": metrics,
            "since": since and aware(since),
            "offsets": first,
            "topics": topics,
        }
        changed = {} if contracts is None else {"dataflow_contracts": contracts}
        environ = environment_of(self.settings.replace(**changed), {"PYTHONPATH": path})
        done = subprocess.run(
            [sys.executable, "-m", "dataflow.testing.evaluating", "begin", orjson.dumps(asked).decode()],
            env=environ,
            cwd=self.settings.state_dir,
            capture_output=True,
            check=False,
            timeout=TIMEOUT,
        )
        assert not done.returncode, done.stderr.decode(errors="replace")
        begun = orjson.loads(done.stdout)
        code = environment(self.settings, begun["digest"])
        found = Evaluation(self.settings, begun["number"], code)
        self.evaluations[found.number] = found
        try:
            assert tree.samefile(begun["root"]), f"the code of {begun['root']} ran instead of that of {tree}"
            found.evaluate(failpoint)
        except Exception:
            self.cancel(found.number)  # else it stands in the way of the next one
            raise
        return found

    def cancel(self, number: int) -> None:
        """Give a replay up: there is one at a time."""
        set_state(self.settings, number, State.GONE)
        self.evaluations.pop(number).stop()

    def diff(self, one: int = 1, other: int | None = None) -> Comparison:
        """Two evaluations, row by row in both directions; `other` is the newest one if it is not named."""
        self._catch_up()
        return diff(self.settings, one, max(self.evaluations) if other is None else other)

    def _catch_up(self) -> None:
        """Take in what was put into `stream` since: what is compared is at the same offsets."""
        if self._evaluated != self.offsets:
            self.to()


def stamp_by_producer(settings: Settings) -> None:
    """Have the broker keep the times that a producer gives, whenever they are, in an environment's source topics."""
    wanted = {
        "message.timestamp.type": "CreateTime",
        "message.timestamp.before.max.ms": NO_LIMIT,
        "message.timestamp.after.max.ms": NO_LIMIT,
    }
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in wanted.items()
    ]
    resources = [
        ConfigResource(ConfigResource.Type.TOPIC, settings.topic_prefix + topic, incremental_configs=entries)
        for topic in CONTRACTS
    ]
    client = admin(settings.kafka_bootstrap_servers)
    for done in client.incremental_alter_configs(resources).values():
        done.result(TIMEOUT)
