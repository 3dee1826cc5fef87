"""`python -m dataflow.testing.evaluating`: one generation's evaluation for the time machine, step by step when told to.

It runs by the code that its environment names, so that a generation of other code has declarations of its own. Takes
one JSON object a line on stdin and answers with one on stdout. Each `evaluate` ends at the ends of the source topics:
judged in plain Python, counted by the materializer's own steps, one batch of the lake. It may be killed at any
failpoint of those. `begin` records a replay by its code.
"""

import asyncio
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from confluent_kafka import Message
from redis import Redis

from dataflow.testing.counting import reading
from dataflow.testing.pipeline import Row
from dataflow.testing.plain_lake import PlainLake
from dataflow.testing.plain_live import PlainLive
from dataflow.testing.questions import bucket_prefix, metric_called, questions
from infra.code import ROOT, here
from infra.generation import current_generation, source_bounds
from infra.settings import Settings
from replay.origin import Origin
from replay.planning import plan_replay
from replay.run import run_plan
from replay.selection import Selection
from replay.verify.report import documents
from replay.verify.verify import verify
from schemas.tables import RELATIONS
from serving.lake.question import plain
from serving.lake.reader import Lake
from serving.lake.views import quoted
from serving.materializer.materializer import Materializer
from serving.read import MetricQuery, Reader
from serving.store.keys import Keys, parse_place
from serving.store.store import connect

RUN = 200  # verdicts of one commit
PATIENCE, TIMEOUT = 0.2, 60.0


class Evaluating:
    """The generation that the settings serve."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.generation = settings, current_generation(settings)
        self.keys = Keys.of(settings, self.generation.name)
        self._live = PlainLive(settings, self.generation)
        self._materializer: Materializer | None = None
        self._lake: PlainLake | None = None

    @property
    def lake(self) -> PlainLake:
        """Its driver; a process has one as soon as it is needed."""
        if self._lake is None:
            self._lake = PlainLake(self.settings, self.generation)
        return self._lake

    def evaluate(self) -> dict[str, Any]:
        """Everything that the source topics hold now."""
        steps = (self._judge, self._count, self._fill)
        for step in steps if not self.generation.lake_first else (self._fill, self._judge, self._count):
            step()
        return {"manifest": self.lake.manifest.number}

    def rows(self, metric: str, grain: str, by: list[str], where: Mapping[str, Any] | None) -> list[Row]:
        """A metric's rows; see `Numbers.rows`."""
        declared, redis = metric_called(metric), connect(self.settings)
        prefix = bucket_prefix(self.keys, declared, grain)
        starts = [int(key.decode().removeprefix(prefix)) for key in redis.scan_iter(match=prefix + "*")]
        zone = ZoneInfo(self.settings.shop_timezone)
        asked = questions(declared, grain, by, where, starts, zone)
        return asyncio.run(self._read(redis, asked)) if asked else []

    def table(self, name: str, manifest: int | None) -> list[Row]:
        """All rows of a table or view, personal data too; of the lake as it was at a manifest, or is."""
        lake, relation = Lake(self.lake.root), RELATIONS[name]
        at = self.lake.manifest if manifest is None else lake.at(manifest)
        columns = [column.name for column in relation.columns]
        with lake.open(at, relation) as connection:
            picked = ", ".join(map(quoted, columns))
            found = connection.execute(f"SELECT {picked} FROM {quoted(name)} ORDER BY ALL").fetchall()
        return [dict(zip(columns, map(plain, row), strict=True)) for row in found]

    def verify(self) -> list[dict[str, Any]]:
        """What the second computation finds to be otherwise, in tables and live numbers."""
        found = verify(self.settings)
        # What could not be compared is not equal for that.
        assert found.live is None, found.live
        assert found.at_barrier, (
            f"the live numbers are not at the offsets of manifest {found.manifest.number}"
        )
        return [each for each in documents(found.differences) if not each["equal"]]

    def _judge(self) -> None:
        fences = connect(self.settings).hgetall(self.keys.fence)
        start = {parse_place(at.decode()): int(offset) for at, offset in fences.items()}
        if start or not self.generation.lake_first:
            self._live.judge(start)

    def _count(self) -> None:
        if self._materializer is None:
            self._materializer = Materializer(self.settings)
            self._materializer.claim()
        work, ends = self._materializer, source_bounds(self.settings, self.generation)[1]
        deadline = time.monotonic() + TIMEOUT
        while work.admission.fences != ends:
            assert time.monotonic() < deadline, f"counted up to {work.admission.fences} of {ends}"
            found = waiting(work, deadline)
            assert found, f"counted up to {work.admission.fences} of {ends}, held: {work.admission.held}"
            for begin in range(0, len(found), RUN):
                work.step(found[begin : begin + RUN])
        work.tick()

    def _fill(self) -> None:
        self.lake.run()

    async def _read(self, redis: Redis, asked: list[MetricQuery]) -> list[Row]:
        client = reading(redis, self.settings)
        try:
            answer = await Reader(client, self.keys, self.generation.name, self.settings.shop_timezone).read(
                asked
            )
        finally:
            await client.aclose()
        return [row for rows in answer.rows for row in rows]


def waiting(work: Materializer, deadline: float) -> list[Message]:
    """What is judged and not taken in yet, in an order that does not depend on the broker's answers."""
    first, ends = work.judged.bounds()
    positions = {
        partition: max(work.positions.get(partition, start), start) for partition, start in first.items()
    }
    found: list[Message] = []
    while positions != ends:
        assert time.monotonic() < deadline, f"{work.judged.topic} was read up to {positions} of {ends}"
        for message in work.judged.take(10_000, PATIENCE):
            positions[message.partition()] = message.offset() + 1
            found.append(message)
    return sorted(found, key=lambda message: (message.offset(), message.partition()))


def begin(settings: Settings, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Record a replay by this code, of everything or of what is `asked` for. Raises ReplayError."""
    selection = Selection(tuple(asked["tables"]), tuple(asked["metrics"]))
    since = asked["since"] and datetime.fromisoformat(asked["since"]).astimezone(UTC)
    offsets = {(topic, partition): offset for topic, partition, offset in asked["offsets"]}
    code = here(settings)
    plan = plan_replay(settings, code, only=selection, origin=Origin(since, offsets, tuple(asked["topics"])))
    number = run_plan(settings, plan).number
    return {"number": number, "digest": code.digest, "affects": dict(plan.affects), "root": str(ROOT)}


def main() -> None:
    """Answer until stdin ends."""
    settings = Settings.load()
    if sys.argv[1:2] == ["begin"]:
        answer(begin(settings, orjson.loads(sys.argv[2])))
        return
    evaluating = Evaluating(settings)
    answer({"generation": evaluating.generation.name})
    for line in sys.stdin:
        asked = orjson.loads(line)
        answer(getattr(evaluating, asked.pop("do"))(**asked))


def answer(found: Any) -> None:
    """One line; whatever else is printed goes to stderr."""
    ANSWERS.write(orjson.dumps(found, default=str) + b"\n")
    ANSWERS.flush()


if __name__ == "__main__":
    ANSWERS = sys.stdout.buffer
    sys.stdout = sys.stderr
    main()
