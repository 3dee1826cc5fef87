"""Spark's jobs over offsets that are no longer in Kafka, killed around all that they write: nothing twice or lost."""

import random
import shutil
from collections import defaultdict
from contextlib import ExitStack

import pytest
from confluent_kafka import Producer
from deltalake import DeltaTable

from infra.bootstrap import bootstrap
from infra.entry import EXIT_TERMINAL
from infra.generations import Generation
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.tables import bronze
from serving.store.keys import Keys
from serving.store.store import connect
from sources.codec import EventCodec
from streams.control import request_repeat
from streams.lake.manifest import Manifest
from streams.lake.place import lake_root
from tests.archive.kit import At, age_out, begin, cuts, fill_bronze, produce, records
from tests.e2e.kit import Shop
from tests.helpers import wait_for
from tests.serving.test_materializer import Scene, materializer
from tests.streams.lake.kit import LakeProcess, verified
from tests.streams.lake.test_lake import expect_truth
from tests.streams.live.kit import Account, LiveProcess, against_plain_python

pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.chaos, pytest.mark.timeout(3_600)]
KILLED = -9
BATCH, PART = 400, 150  # records, so that what is archived takes several batches


@pytest.fixture
def shop(settings):
    """Records in Kafka, nothing judged yet, three partitions a topic."""
    settings = settings.replace(kafka_partitions=3, lake_batch_records=BATCH, live_trigger_seconds=5)
    bootstrap(settings)
    made = Shop(settings, 6_000, 41)
    produce(settings, made.take(2_000), 41)
    return made


def bound(settings: Settings, generation: Generation, failpoint: str | None = None) -> Settings:
    """Settings of a process of this generation."""
    return settings.replace(dataflow_generation=generation.number, dataflow_failpoint=failpoint)


def expect_bronze(
    settings: Settings, generation: Generation, manifest: Manifest, expected: dict[At, dict]
) -> None:
    """Every record once, byte for byte."""
    for topic in CONTRACTS:
        table = bronze(CONTRACTS[topic]).name
        root = lake_root(settings, generation.name)
        rows = DeltaTable(f"{root}/{table}", version=manifest.tables[table]).to_pyarrow_table().to_pylist()
        found = sorted((r["partition"], r["offset"], r["key"], r["value"], r["kafka_time"]) for r in rows)
        kept = [
            (p, offset, m.key(), m.value(), m.timestamp()[1])
            for (t, p), each in expected.items()
            if t == topic
            for offset, m in each.items()
        ]
        assert [(*row[:4], round(row[4].timestamp() * 1000)) for row in found] == sorted(
            kept, key=lambda row: row[:2]
        ), topic


LAKE_KILLS = (
    "lake.before_bronze_batches",
    "lake.after_append_orders",
    "lake.after_manifest:2",
    "lake.after_bronze_batches",
)


def test_a_lake_is_completed_from_bronze_whatever_is_killed_when(shop):
    settings = shop.settings
    with LakeProcess(settings) as lake:
        lake.launch()
        manifest, base = lake.settle(900, restart=True), lake.generation
    held = records(settings)
    cut = cuts(manifest.until, 5)
    age_out(settings, cut)
    generation = begin(settings, base)
    assert generation.seams() == cut

    # In neither, while bronze is away.
    archive = lake_root(settings, base.name)
    shutil.move(archive, f"{archive}-away")
    with LakeProcess(bound(settings, generation)) as lake:
        lake.launch()
        wait_for(lambda: lake.poll() is not None, 900, "the refusal")
        assert lake.poll() == EXIT_TERMINAL, lake.log()
        some = next(at for at, seam in cut.items() if seam > 0)
        assert f"{some[0]}/{some[1]} from 0 to before {cut[some]}" in lake.log()
    shutil.move(f"{archive}-away", archive)

    for failpoint in LAKE_KILLS:
        with LakeProcess(bound(settings, generation, failpoint)) as lake:
            lake.launch()
            wait_for(lambda: lake.poll() is not None, 900, f"the kill at {failpoint}")
        marker = settings.state_dir / "failpoints" / failpoint.partition(":")[0]
        assert marker.exists(), f"nothing was killed at {failpoint}:\n{lake.log()}"
        produce(settings, shop.take(50), hash(failpoint) % 1_000)
    with LakeProcess(bound(settings, generation)) as lake:
        lake.launch()
        manifest = lake.settle(900, restart=True)
    expect_truth(shop, manifest)
    for at, each in records(settings).items():
        held[at] |= each
    expect_bronze(settings, generation, manifest, held)
    verdict = verified(bound(settings, generation))
    assert verdict.manifest.number > sum(cut.values()) // BATCH


class Whole(Account):
    """An account of all records that there ever were."""

    def __init__(self, settings: Settings, generation: Generation, held: dict[At, dict]) -> None:
        super().__init__(settings, generation)
        self.held = held

    def _read_sources(self) -> None:
        self.sources = defaultdict(list)
        for at, each in records(self.settings).items():
            self.held[at] |= each
        for at, each in self.held.items():
            self.sources[at] = [each[offset] for offset in sorted(each)]


LIVE_KILLS = ("live.after_archived_write:2", "live.after_archived:2", "live.before_query_start")


def test_all_is_judged_in_order_from_bronze_and_on_from_kafka_whatever_is_killed_when(shop):
    settings, chance = shop.settings.replace(lake_batch_records=PART), random.Random(43)
    base = bootstrap(settings)
    manifest = fill_bronze(settings, base)
    held = records(settings)
    cut = cuts(manifest.until, 6)
    age_out(settings, cut)
    generation = begin(settings, base)
    name = Keys.of(settings, generation.name)
    job = LiveProcess(bound(settings, generation))
    with ExitStack() as stack:
        stack.callback(job.__exit__)
        account = stack.enter_context(Whole(settings, generation, held))
        job.launch()
        # In the middle of the first thing that it writes, wherever that is.
        wait_for(lambda: account.read() > 0, 900, "some verdicts")
        job.kill()
        for failpoint in LIVE_KILLS:
            job.launch(dataflow_failpoint=failpoint)
            assert job.ended(900) == KILLED, job.log()
            produce(settings, shop.take(50), chance.randrange(1_000))
        job.launch()
        account.settle(900)
        assert account.total("gaps") == 0
        assert against_plain_python(account, EventCodec(shop.ids)) > 100

        # What is below the seams is judged again when it is asked for.
        repeats = account.total("repeats")
        asked = {at: len(each) and max(each) + 1 for at, each in account.held.items()}
        below = max(cut, key=cut.__getitem__)
        asked[below] = 0
        again = len(account.held[below])
        producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
        request_repeat(producer, settings, generation.name, asked)

        def all_again() -> bool:
            account.read()
            return account.total("repeats") >= repeats + again

        wait_for(all_again, 600, "the verdicts once more")
        produce(settings, shop.take(50), 7)
        account.settle(900)
        assert (account.total("gaps"), account.total("repeats")) == (0, repeats + again)

        scene = Counted(bound(settings, generation), name, generation, shop)
        with materializer(scene.settings):
            scene.caught_up(600)
            scene.expect_exact()
        scene.redis.close()


class Counted(Scene):
    """What the materializer makes of the verdicts that are there."""

    def __init__(self, settings: Settings, keys: Keys, generation: Generation, shop: Shop) -> None:
        self.settings, self.keys, self.truth = settings, keys, shop.truth
        self.redis = connect(settings)
        self.generation = generation
        self.live = self
