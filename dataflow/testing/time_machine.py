"""The whole pipeline over a seeded history, to any of its offsets: assert, kill, replay by other code, compare.

What happens is a function of the seed, and of what else it is made with: which records there are, at which offsets, and
when the broker took them (the clock's time, not the wall's). The broker, the registry, Valkey and the Delta tables are
real ones. Each generation is evaluated in a process of its own, by its own code.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import orjson
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from dataflow.testing.clock import START
from dataflow.testing.pipeline import Row, Where
from dataflow.testing.services import Environment
from infra.code import PACKAGES, ROOT, environment, keep
from infra.generation import source_bounds
from infra.generations import State, change_generations
from infra.kafka import Offsets, admin
from infra.settings import Settings
from replay.diff.diff import diff
from replay.diff.values import Comparison
from replay.run import set_state
from schemas.contract import CONTRACTS
from schemas.errors import Unavailable
from sources.generator import Dials, Emission, GroundTruth, ShopSimulator, moments

TIMEOUT = 60.0
SPAN = timedelta(hours=12)


class Evaluation:
    """One generation, evaluated as far as the time machine has come."""

    def __init__(self, settings: Settings, number: int, code: Mapping[str, str]) -> None:
        self.settings, self.number, self._code = settings.replace(dataflow_generation=number), number, code
        self.kills = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log = settings.state_dir / f"g{number}.log"

    @property
    def name(self) -> str:
        return f"g{self.number}"

    def rows(
        self, metric: str, grain: str = "all", by: str | Sequence[str] = (), where: Where | None = None
    ) -> list[Row]:
        """A metric's rows out of Redis; see `Numbers.rows`. Money and ratios are text."""
        by = [name for name in by.split(",") if name] if isinstance(by, str) else list(by)
        return self._ask("rows", metric=metric, grain=grain, by=by, where=where)

    def table(self, name: str, manifest: int | None = None) -> list[Row]:
        """The rows of a table or view, as REST shows them, nothing masked; at an earlier manifest, if it is named."""
        return self._ask("table", name=name, manifest=manifest)

    def differences(self) -> list[dict[str, Any]]:
        """What a second, independent computation over the same offsets finds to be otherwise; empty: nothing."""
        return self._ask("verify")

    def evaluate(self, failpoint: str | None = None) -> int:
        """Everything in the topics; returns the manifest's number. It dies once at `failpoint` and goes on.

        AssertionError if nothing leads there.
        """
        if failpoint is not None:
            self.stop()
            # What another one left when it died there would let this one pass.
            marker = self.settings.state_dir / "failpoints" / failpoint.partition(":")[0]
            marker.unlink(missing_ok=True)
            try:
                self._ask("evaluate", failpoint=failpoint)
            except Killed:
                if not marker.exists():  # by whomever, and who knows where
                    raise
                self.kills += 1
            else:
                self.stop()  # else the next one that comes there dies
                raise AssertionError(
                    f"nothing came to failpoint {failpoint} in {self.name}, so nothing was killed"
                )
        return self._ask("evaluate")["manifest"]

    def stop(self) -> None:
        """End its process; what it knows is in its topics, in Redis and in its lake."""
        if self._process is not None:
            process, self._process = self._process, None
            with suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    def _ask(self, what: str, failpoint: str | None = None, **arguments: Any) -> Any:
        if self._process is None:
            self._start(failpoint)
        with suppress(BrokenPipeError):  # it has ended: how, the answer says
            self._process.stdin.write(orjson.dumps({"do": what, **arguments}) + b"\n")
            self._process.stdin.flush()
        return self._answer()

    def _start(self, failpoint: str | None) -> None:
        settings = self.settings.replace(dataflow_failpoint=failpoint)
        environ = environment_of(settings, self._code)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", "dataflow.testing.evaluating"],
                env=environ,
                cwd=self.settings.state_dir,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._answer()

    def _answer(self) -> Any:
        if line := self._process.stdout.readline():
            return orjson.loads(line)
        process, self._process = self._process, None
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        if (status := process.wait(TIMEOUT)) == -9:
            raise Killed(
                f"the evaluation of {self.name} was killed: if not at a failpoint, for want of memory?"
            )
        said = self._log.read_text("utf-8", "replace")[-3_000:]
        raise AssertionError(f"the evaluation of {self.name} ended with {status} and said:\n{said}")


class Killed(AssertionError):
    """The process was killed, as by its failpoint."""


class TimeMachine:
    """A history of `records` records of a shop, and what is evaluated of it; a context manager.

    `evaluations` are the generations by number; g1 is there from the beginning. `truth` is what the generator knows of
    everything that has been produced so far. `dials` say how untidy the shop is (default: all of them up).
    """

    def __init__(
        self,
        place: Environment,
        *,
        seed: int = 1,
        records: int = 1_000,
        dials: Dials | None = None,
        start: datetime = START,
        span: timedelta = SPAN,
    ) -> None:
        self.settings, self.truth, self.position = place.settings, GroundTruth(), 0
        self._generation, self._records = place.generation, records
        self._failures: list[str] = []  # of what was produced
        dials = dials or Dials.all_up()
        shop = ShopSimulator(seed, start, place.schema_ids, dials, truth=self.truth)
        self._coming = shop.emissions(moments(start, span, records))
        self._start, self._step = start, span / records
        self._producer = Producer(
            {
                "bootstrap.servers": self.settings.kafka_bootstrap_servers,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "log_level": 2,
            }
        )
        stamp_by_producer(self.settings)
        code = keep(self.settings)
        name = f"{place.generation.name}/code"
        change_generations(self.settings, lambda _: {name: code.as_json()})
        pinned = environment(self.settings, code.digest)
        number = place.generation.number
        self.evaluations = {number: Evaluation(self.settings, number, pinned)}

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

    def to(self, position: int, failpoint: str | None = None) -> Offsets:
        """On to the record of this number (from the beginning), and all evaluations with it; returns the offsets.

        Each dies once at `failpoint`, if one is named, and goes on. ValueError for a position that is past already, or
        beyond the history; Unavailable if the broker does not take a record.
        """
        if not self.position <= position <= self._records:
            raise ValueError(
                f"expected a position from {self.position} on, since time goes forth, to {self._records}, since there "
                f"are so many records; saw {position}"
            )
        while self.position < position:
            self._produce(next(self._coming))
        if (left := self._producer.flush(TIMEOUT)) or self._failures:
            why = self._failures[0] if self._failures else f"no answer within {TIMEOUT:.0f} s"
            raise Unavailable(f"the broker did not take {left + len(self._failures)} records: {why}")
        for each in self.evaluations.values():
            each.evaluate(failpoint)
        return self.offsets

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
    ) -> Evaluation:
        """A further generation by changed code, over the same records, to the same offsets.

        `contracts` is a directory of contracts and metrics as DATAFLOW_CONTRACTS names one, `tree` a changed copy of
        DataFlow itself, all its packages. Neither: the code that runs here, as it is on disk now. `tables` and
        `metrics` select a part, as `dataflow replay run --table --metric` does; `since`, `offsets` (the first, by topic
        and partition) and `topics` make it a trial, as `--from` and `--topic` do. AssertionError with the reason where
        that cannot be.
        """
        tree = Path(tree or ROOT).absolute()
        if missing := [name for name in PACKAGES if not (tree / name).is_dir()]:
            raise ValueError(f"expected a copy of DataFlow in {tree}, and it has no {', '.join(missing)}")
        path = os.pathsep.join(filter(None, (str(tree), os.environ.get("PYTHONPATH"))))
        first = [(topic, partition, offset) for (topic, partition), offset in (offsets or {}).items()]
        asked = {"tables": tables, "metrics": metrics, "since": since, "offsets": first, "topics": topics}
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
        assert tree.samefile(begun["root"]), f"the code of {begun['root']} ran instead of that of {tree}"
        code = environment(self.settings, begun["digest"])
        found = Evaluation(self.settings, begun["number"], code)
        self.evaluations[found.number] = found
        found.evaluate()
        return found

    def cancel(self, number: int) -> None:
        """Give a replay up: there is one at a time."""
        set_state(self.settings, number, State.GONE)
        self.evaluations.pop(number).stop()

    def diff(self, one: int = 1, other: int | None = None) -> Comparison:
        """Two evaluations, row by row in both directions; `other` is the newest one if it is not named."""
        return diff(self.settings, one, max(self.evaluations) if other is None else other)

    def _produce(self, emission: Emission) -> None:
        at = self._start + self._step * self.position
        # A record without a key would go anywhere.
        partition = {} if emission.key is not None else {"partition": 0}
        self._producer.produce(
            self.settings.topic_prefix + emission.topic,
            emission.value,
            emission.key,
            timestamp=int(at.timestamp() * 1000),
            on_delivery=self._delivered,
            **partition,
        )
        self._producer.poll(0)
        self.position += 1

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failures.append(error.str())


def stamp_by_producer(settings: Settings) -> None:
    """Have the broker keep the times that a producer gives, in the source topics of an environment."""
    entry = ConfigEntry("message.timestamp.type", "CreateTime", incremental_operation=AlterConfigOpType.SET)
    resources = [
        ConfigResource(ConfigResource.Type.TOPIC, settings.topic_prefix + topic, incremental_configs=[entry])
        for topic in CONTRACTS
    ]
    client = admin(settings.kafka_bootstrap_servers)
    for done in client.incremental_alter_configs(resources).values():
        done.result(TIMEOUT)


def environment_of(settings: Settings, code: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process by a generation's code."""
    return {**os.environ, **settings.environ(), **code}
