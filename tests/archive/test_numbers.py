"""Numbers over offsets that are no longer in Kafka: complete, and at the seam nothing twice, nothing missing."""

import shutil

import pytest
from confluent_kafka import TopicPartition

from dataflow.testing.plain_live import PlainLive
from infra.bootstrap import bootstrap
from infra.generation import source_bounds
from infra.generations import Generation
from infra.kafka import admin
from infra.settings import Settings
from schemas.errors import GenerationError
from serving.fold.fold import CONFLICT
from serving.materializer.materializer import Materializer
from serving.store.keys import Keys, place
from serving.store.store import connect
from streams.lake.place import lake_root
from tests.archive.kit import age_out, begin, cuts, fill_bronze, produce, records
from tests.e2e.kit import Shop
from tests.helpers import wait_for
from tests.serving.test_materializer import Scene, materializer, read_dead_letters

pytestmark = pytest.mark.timeout(600)


class Aged(Scene):
    """A shop's records in Kafka and in bronze of g1. What the numbers must be is known since they were made."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings = settings.replace(kafka_partitions=3)
        self.base = bootstrap(self.settings)
        self.shop = Shop(self.settings, 5_000, seed)
        self.truth = self.shop.truth
        produce(self.settings, self.shop.take(2_500), seed)
        self.held = records(self.settings)
        self.until = fill_bronze(self.settings, self.base).until
        self.redis = connect(self.settings)
        self.live = None

    def serve(self, generation: Generation) -> None:
        """By processes that are bound to it."""
        self.settings = self.settings.replace(dataflow_generation=generation.number)
        self.keys = Keys.of(self.settings, generation.name)
        self.live = PlainLive(self.settings, generation)

    def more(self) -> None:
        """Records that come when the others have aged out."""
        produce(self.settings, self.shop.take(300), 77)

    def lose_verdicts(self) -> None:
        """Everything on the judged topic."""
        topic = self.live.generation.judged_topic(self.settings)
        client = admin(self.settings.kafka_bootstrap_servers)
        wanted = [TopicPartition(topic, p, -1) for p in range(self.settings.kafka_partitions)]
        for done in client.delete_records(wanted, request_timeout=60, operation_timeout=60).values():
            done.result(90)

    def judge_what_is_asked_for(self) -> None:
        wanted = wait_for(lambda: self.live.repeat_requested(0.5), 90, "a request to repeat")
        self.live.judge(wanted)

    def close(self) -> None:
        if self.live is not None:
            self.live.close()
        self.redis.close()


@pytest.fixture
def aged(settings):
    made = Aged(settings, 31)
    yield made
    made.close()


@pytest.mark.longhaul
def test_a_generation_completed_from_bronze_counts_everything_once(aged):
    cut = cuts(aged.until, 1)
    age_out(aged.settings, cut)
    aged.serve(begin(aged.settings, aged.base))
    generation = aged.live.generation
    assert generation.seams() == cut
    assert generation.starts == generation.by_topic(dict.fromkeys(cut, 0))
    left_out = []

    def leave_out(verdict):
        """Right before the seam of one partition, where the next verdict comes from Kafka or is the last."""
        at = verdict.topic, verdict.partition
        if at == gap and verdict.offset == lost:
            left_out.append(place(*at))
            return True
        return False

    gap = next(at for at, seam in cut.items() if at[0] == "orders" and 0 < seam < aged.until[at])
    lost = max(offset for offset in aged.held[gap] if offset < cut[gap])
    with materializer(aged.settings):
        aged.live.judge(leave_out=leave_out)
        aged.more()
        aged.live.judge()
        assert left_out == [place(*gap)]
        aged.judge_what_is_asked_for()
        aged.caught_up(120)
        aged.expect_exact()
        aged.expect_letters()
        # An emptied Redis has no verdicts to be rebuilt from either.
        aged.rebuilt()
        before = aged.dump()
        aged.lose_verdicts()
        aged.forget()
        aged.judge_what_is_asked_for()
        aged.caught_up(120)
        aged.rebuilt()
        after = aged.dump()
        positions = aged.keys.judged.encode()  # all verdicts came again
        assert after.pop(positions) != before.pop(positions)
        assert after == before
    conflicts = [
        m for m in read_dead_letters(aged.settings) if dict(m.headers())["reasons"] == CONFLICT.encode()
    ]
    below = 0
    for letter in conflicts:
        topic, p, offset = letter.key().decode().split("/")
        if int(offset) < cut[topic, int(p)]:
            record = aged.held[topic, int(p)][int(offset)]
            headers = dict(letter.headers())
            assert (letter.value(), headers["source_key"]) == (record.value(), record.key())
            assert int(headers["kafka_time"]) == record.timestamp()[1] * 1000
            below += 1
    assert below > 5


@pytest.mark.longhaul
@pytest.mark.cases(0)
def test_its_own_bronze_serves_when_the_base_is_gone(aged):
    age_out(aged.settings, cuts(aged.until, 2))
    generation = begin(aged.settings, aged.base)
    fill_bronze(aged.settings, generation, aged.held)
    shutil.rmtree(lake_root(aged.settings, "g1"))
    aged.serve(generation)
    with materializer(aged.settings):
        aged.live.judge()
        aged.more()
        aged.live.judge()
        aged.caught_up(120)
        aged.expect_exact()


def test_the_live_generation_is_rebuilt_from_its_own_bronze(aged):
    """Its topics lost their beginning after it began; Redis and the judged topic have lost everything, too."""
    aged.serve(aged.base)
    age_out(aged.settings, cuts(aged.until, 3))
    with materializer(aged.settings):
        aged.live.judge()
        aged.more()
        aged.live.judge()
        aged.caught_up(120)
        aged.expect_exact()


def test_what_neither_kafka_nor_bronze_has_is_refused_and_named(aged):
    aged.serve(aged.base)
    at = next(each for each in aged.until if each[0] == "orders")
    aged.more()
    _, ends = source_bounds(aged.settings, aged.base)
    assert ends[at] > aged.until[at]
    age_out(aged.settings, {at: ends[at]})
    fresh = Materializer(aged.settings)
    try:
        said = f"{place(*at)} .from {aged.until[at]} to before {ends[at]}"
        with pytest.raises(GenerationError, match=f"no longer hold what comes next in {said}"):
            fresh.claim()
    finally:
        fresh.close()
    assert not aged.redis.exists(aged.keys.fence)
