"""The materializer, a process between a real broker and a real Redis: exact through kills, holes, flushes, rivals."""

import json
import random
import time
from collections import Counter
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer, TopicPartition
from redis.exceptions import RedisError

from dataflow.testing.plain_live import PlainLive
from infra.bootstrap import bootstrap
from infra.generation import new_generation, served_generation, source_bounds
from infra.kafka import admin, consumer, log_bounds
from infra.registry import schema_ids
from infra.runtime.platform import Platform
from schemas.contract import CONTRACTS
from schemas.errors import GenerationError
from serving.fold.fold import CONFLICT
from serving.materializer.materializer import Materializer
from serving.store.keys import Keys, place
from serving.store.store import Lost, connect
from sources.generator import Emission, GroundTruth, ShopSimulator, moments
from sources.producer import EventProducer
from streams.limits import OWN_HEADER
from tests.helpers import wait_for
from tests.serving.kit import stored_rows, without_zeros
from tests.sources.generator_kit import ALL_UP, SPAN, START

METRICS = ("revenue", "items", "payments", "customers", "reviews", "funnel", "clicks")


class Scene:
    """One environment: a shop's records, their verdicts, a materializer, and what must come of it."""

    def __init__(self, settings, count=3_000, seed=11):
        self.settings = settings
        self.live = PlainLive(settings, bootstrap(settings))
        self.ids = schema_ids(settings)
        self.truth = GroundTruth()
        shop = ShopSimulator(seed, START, self.ids, ALL_UP, truth=self.truth)
        self.emissions: list[Emission] = list(shop.emissions(moments(START, SPAN, count)))
        self.keys = Keys.of(settings, "g1")
        self.redis = connect(settings)

    def close(self):
        self.live.close()
        self.redis.close()

    def produce(self, emissions):
        """Put emissions into the source topics."""
        servers, prefix = self.settings.kafka_bootstrap_servers, self.settings.topic_prefix
        with EventProducer(servers, prefix, self.ids) as producer:
            for emission in emissions:
                trace = [("trace", emission.topic.encode()), ("trace", None)]
                producer.produce_raw(emission.topic, emission.key, emission.value, trace)

    def forget(self, redis=None):
        """FLUSHALL as far as this environment is concerned: other tests share the server."""
        everything = "for _, key in ipairs(redis.call('keys', ARGV[1])) do redis.call('del', key) end"
        (redis or self.redis).eval(everything, 0, self.settings.redis_prefix + "*")

    def fences(self):
        return {n.decode(): int(o) for n, o in self.redis.hgetall(self.keys.fence).items()}

    def ends(self):
        _, ends = source_bounds(self.settings, self.live.generation)
        return {place(*at): end for at, end in ends.items()}

    def caught_up(self, timeout=40):
        ends = self.ends()
        wait_for(lambda: self.fences() == ends, timeout, "the fences at the ends of the topics")

    def rebuilt(self):
        wait_for(lambda: not any(b"rebuild" in f for f in self.redis.hkeys(self.keys.meta)))

    def expect_exact(self):
        """Every metric, and the count identity of every partition."""
        for metric in METRICS:
            for grain in ("minute", "day", "all"):
                found = stored_rows(self.redis, self.keys, metric, grain)
                assert found == without_zeros(self.truth.rows(metric, grain)), (metric, grain)
        counts = {n.decode(): int(c) for n, c in self.redis.hgetall(self.keys.counts).items()}
        for at, fence in self.fences().items():
            assert sum(n for name, n in counts.items() if name.rpartition("/")[0] == at) == fence, at
        for topic in CONTRACTS:
            found = Counter({"records": 0})
            for name, n in counts.items():
                of, _, verdict = name.split("/")
                if of == topic and verdict != "empty":
                    found += Counter({verdict: n, "records": n})
            assert +found == +Counter(self.truth.verdicts(topic)), topic

    def expect_letters(self):
        """Each refused record is among the dead letters, whole and with its reasons; nothing else is."""
        expected = {
            name: (",".join(verdict.reasons), record.key(), record.value() or b"", record.headers() or [])
            for name, (record, verdict) in self.live.refused.items()
        }
        found = {}
        for letter in read_dead_letters(self.settings):
            headers = dict(letter.headers())
            if headers["reasons"] == CONFLICT.encode():
                continue
            own = [
                (n.removeprefix(OWN_HEADER), value)
                for n, value in letter.headers()
                if n.startswith(OWN_HEADER)
            ]
            content = headers["reasons"].decode(), headers["source_key"], letter.value(), own
            assert found.setdefault(letter.key().decode(), content) == content
        assert found == expected
        assert len(found) > 50

    def status(self):
        return json.loads((self.settings.state_dir / "status" / "materializer.json").read_text())

    def dump(self):
        """Everything that Redis holds of the generation but what a rebuild may change."""
        found = {}
        for key in self.redis.scan_iter(match=self.keys.space + "*", count=1000):
            kind = self.redis.type(key)
            if kind == b"list":
                # What was counted last follows the order of counting.
                continue
            found[key] = (
                self.redis.hgetall(key) if kind == b"hash" else self.redis.zrange(key, 0, -1, withscores=True)
            )
        for name in (b"epoch", b"server"):
            found[self.keys.meta.encode()].pop(name, None)
        return found


@pytest.fixture
def scene(settings):
    made = Scene(settings)
    yield made
    made.close()


def read_dead_letters(settings):
    """All dead letters of the generation that the settings serve."""
    topic = served_generation(settings).dead_letter_topic(settings)
    places = [(topic, p) for p in range(settings.kafka_partitions)]
    _, ends = log_bounds(admin(settings.kafka_bootstrap_servers), places)
    reader, found = consumer(settings.kafka_bootstrap_servers, "tests"), []
    reader.assign([TopicPartition(topic, p, 0) for topic, p in places])
    while len(found) < sum(ends.values()):
        found += reader.consume(500, 1)
    reader.close()
    return found


def steps(writer, limit):
    """Work until something is raised."""
    while True:
        writer.step(writer.judged.take(limit, 10))


@contextmanager
def materializer(settings):
    with Platform(settings, ("materializer",)) as running:
        yield running


def test_every_number_is_exact_at_the_end_of_the_topics(scene):
    with materializer(scene.settings):
        scene.produce(scene.emissions)
        scene.live.judge()
        scene.caught_up()
        scene.expect_exact()
        scene.expect_letters()


@pytest.mark.chaos
@pytest.mark.parametrize(
    "failpoint",
    [
        "materializer.before_commit:3",
        pytest.param("materializer.after_commit:3", marks=pytest.mark.longhaul),
        pytest.param("materializer.before_dead_letters:2", marks=pytest.mark.longhaul),
        pytest.param("materializer.after_dead_letters:2", marks=pytest.mark.longhaul),
        pytest.param("materializer.after_claim", marks=pytest.mark.longhaul),
        pytest.param("materializer.after_founding", marks=pytest.mark.longhaul),
    ],
)
@pytest.mark.cases(1)
def test_a_kill_between_two_writes_changes_nothing(settings, failpoint):
    scene = Scene(settings.replace(dataflow_failpoint=failpoint))
    try:
        scene.produce(scene.emissions)
        scene.live.judge()
        with materializer(scene.settings):
            scene.caught_up()
            scene.expect_exact()
            scene.expect_letters()
        marker = scene.settings.state_dir / "failpoints" / failpoint.partition(":")[0]
        assert marker.exists(), "nothing was killed, so this test has shown nothing"
    finally:
        scene.close()


@pytest.mark.chaos
@pytest.mark.longhaul
def test_kills_at_random_moments_while_verdicts_come_and_are_repeated(scene):
    rng, kills = random.Random(3), 0
    with materializer(scene.settings) as platform:
        for n in range(0, len(scene.emissions), 500):
            scene.produce(scene.emissions[n : n + 500])
            back = {at: max(0, offset - rng.choice((0, 0, 40))) for at, offset in scene.live.next.items()}
            scene.live.judge(back)
            platform.wait_ready("materializer")
            time.sleep(rng.random() / 5)  # where in its work it is hit is the random part
            platform.kill("materializer")
            kills += 1
        scene.caught_up()
        scene.expect_exact()
        scene.expect_letters()
        assert platform.supervisor.process("materializer").restarts == kills == 6


def test_a_hole_holds_its_partition_and_is_filled_on_request(scene):
    scene.produce(scene.emissions)
    left_out = set()

    def leave_out(verdict):
        gone = verdict.topic == "orders" and verdict.offset == 5
        left_out.update([place(verdict.topic, verdict.partition)] if gone else [])
        return gone

    with materializer(scene.settings):
        scene.live.judge(leave_out=leave_out)
        wanted = wait_for(lambda: scene.live.repeat_requested(0.5), 30, "a request to repeat")
        assert left_out
        wait_for(lambda: {name.decode() for name in scene.redis.hkeys(scene.keys.held)} == left_out)
        assert {scene.fences()[name] for name in left_out} == {5}
        scene.live.judge(wanted)
        scene.caught_up()
        scene.expect_exact()
        assert scene.redis.hlen(scene.keys.held) == 0


def test_a_refusal_is_applied_only_with_its_dead_letter(scene):
    """Verdicts that came without the refused record are asked for again; a restart between the two loses none."""
    scene.produce(scene.emissions)
    with materializer(scene.settings) as platform:
        scene.live.judge(leave_out_letter=lambda verdict: verdict.offset % 7 == 3)
        asked = wait_for(lambda: scene.live.repeat_requested(1.0), 40, "a request to repeat")
        held = wait_for(lambda: scene.status().get("held"), 10, "held partitions")
        assert all("is a refusal, and the refused record did not come" in reason for reason in held.values())
        platform.kill("materializer")
        scene.live.judge(asked)
        scene.caught_up()
        scene.expect_exact()
        scene.expect_letters()
        assert not scene.redis.hgetall(scene.keys.held)


@pytest.mark.cases(0)
def test_offsets_of_transactions_are_counted_as_empty_and_hold_nothing_up(scene):
    settings = scene.settings
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "transactional.id": "tests"})
    producer.init_transactions(30)
    kept = [e for e in scene.emissions if e.key is not None]
    scene.truth = GroundTruth()
    for n in range(0, len(kept), 400):
        producer.begin_transaction()
        aborts = n % 800 == 400
        for emission in kept[n : n + 400]:
            producer.produce(settings.topic_prefix + emission.topic, emission.value, emission.key)
            if not aborts:
                scene.truth.record(emission)
        producer.flush(30)
        producer.abort_transaction(30) if aborts else producer.commit_transaction(30)
    with materializer(settings):
        scene.live.judge()
        scene.caught_up()
        scene.expect_exact()
    empty = sum(int(c) for n, c in scene.redis.hgetall(scene.keys.counts).items() if n.endswith(b"/empty"))
    assert empty > 1_000


@pytest.mark.chaos
def test_a_flush_while_it_runs_brings_the_same_content_back(scene):
    scene.produce(scene.emissions)
    with materializer(scene.settings):
        scene.live.judge()
        scene.caught_up()
        scene.rebuilt()
        before = scene.dump()
        scene.forget()
        scene.caught_up()
        scene.rebuilt()
        assert scene.dump() == before


@pytest.mark.chaos
@pytest.mark.cases(0)
def test_a_redis_that_comes_back_older_is_brought_forward(scene):
    half = len(scene.emissions) // 2
    with materializer(scene.settings):
        scene.produce(scene.emissions[:half])
        scene.live.judge()
        scene.caught_up()
        older = {key: scene.redis.dump(key) for key in scene.redis.scan_iter(match=scene.keys.space + "*")}
        scene.produce(scene.emissions[half:])
        scene.live.judge()
        scene.caught_up()
        with scene.redis.pipeline(transaction=True) as pipe:
            scene.forget(pipe)
            for key, value in older.items():
                pipe.restore(key, 0, value)
            pipe.execute()
        scene.caught_up()
        scene.expect_exact()


@pytest.mark.cases(0)
def test_verdicts_that_have_aged_out_are_asked_for_again(scene):
    scene.produce(scene.emissions)
    with materializer(scene.settings):
        scene.live.judge()
        scene.caught_up()
        topic = scene.live.generation.judged_topic(scene.settings)
        client = admin(scene.settings.kafka_bootstrap_servers)
        cut = [TopicPartition(topic, p, 100) for p in range(scene.settings.kafka_partitions)]
        for future in client.delete_records(cut).values():
            future.result(15)
        scene.forget()
        wanted = wait_for(lambda: scene.live.repeat_requested(0.5), 30, "a request to repeat")
        scene.live.judge(wanted)
        scene.caught_up()
        scene.expect_exact()


@pytest.mark.chaos
@pytest.mark.cases(0)
def test_a_restart_of_redis_is_claimed_also_when_nothing_moves(scene):
    own_redis = scene.settings.replace(redis_host=None)
    with Platform(own_redis, ("valkey", "materializer"), preferred_ports=False) as platform:
        scene.redis.close()
        scene.redis = connect(platform.settings)
        scene.produce(scene.emissions)
        scene.live.judge()
        scene.caught_up()
        for _ in range(2):
            before = scene.redis.info("server")["run_id"]
            platform.kill("valkey")
            wait_for(lambda old=before: run_id(scene.redis) not in (None, old), what="another server")
            wait_for(lambda: claimed_server(scene) == run_id(scene.redis), 30, "a claim of the new server")
        scene.expect_exact()


def run_id(redis):
    try:
        return redis.info("server")["run_id"]
    except RedisError:
        return None


def claimed_server(scene):
    try:
        return scene.redis.hget(scene.keys.meta, "server").decode()
    except RedisError:
        return None


@pytest.mark.cases(0)
def test_topics_that_end_before_the_fences_are_refused(scene, monkeypatch):
    monkeypatch.setattr("serving.materializer.takeover.SETTLING", 1.0)
    scene.produce(scene.emissions)
    scene.live.judge()
    with materializer(scene.settings):
        scene.caught_up()
    name = next(iter(scene.fences()))
    scene.redis.hincrby(scene.keys.fence, name, 1)
    again = Materializer(scene.settings)
    with pytest.raises(GenerationError, match=f"end before what was applied from them: {name}"):
        again.claim()
    again.close()


def test_topics_that_lost_their_beginning_are_refused_after_a_flush(scene):
    scene.produce(scene.emissions)
    cut = TopicPartition(f"{scene.settings.topic_prefix}clickstream", 0, 10)
    client = admin(scene.settings.kafka_bootstrap_servers)
    for future in client.delete_records([cut]).values():
        future.result(15)
    fresh = Materializer(scene.settings)
    with pytest.raises(GenerationError, match="no longer hold what comes next in clickstream/0"):
        fresh.claim()
    fresh.close()


@pytest.mark.cases(0)
def test_what_is_no_verdict_on_the_judged_topic_stops_nothing(scene):
    scene.produce(scene.emissions)
    topic = scene.live.generation.judged_topic(scene.settings)
    stranger = Producer({"bootstrap.servers": scene.settings.kafka_bootstrap_servers, "log_level": 2})
    for value in (b"no JSON", b"[]", b'{"t": "orders"}', None):
        stranger.produce(topic, value, partition=0)
    assert stranger.flush(15) == 0
    scene.live.judge()
    with materializer(scene.settings) as platform:
        scene.caught_up()
        scene.expect_exact()
        assert platform.supervisor.process("materializer").restarts == 0


@pytest.mark.chaos
def test_of_two_writers_the_older_is_fenced_off_before_it_writes(scene):
    scene.produce(scene.emissions)
    scene.live.judge()
    older, newer = Materializer(scene.settings), Materializer(scene.settings)
    older.claim()
    older.step(older.judged.take(200, 10))
    newer.claim()
    fences = scene.fences()
    with pytest.raises(Lost, match="EPOCH"):
        steps(older, 200)
    assert scene.fences() == fences
    older.close()
    while scene.fences() != scene.ends():
        newer.step(newer.judged.take(300, 10))
        newer.tick()
    scene.expect_exact()
    newer.close()


def test_changed_metrics_are_refused_with_the_way_out(scene):
    with materializer(scene.settings):
        wait_for(lambda: scene.redis.hget(scene.keys.meta, "spec"), what="the first claim")
    changed = Materializer(scene.settings.replace(shop_timezone="Asia/Tokyo"))
    with pytest.raises(GenerationError, match="dataflow generation new"):
        changed.claim()
    changed.close()


@pytest.mark.longhaul
def test_a_new_generation_starts_it_over(scene):
    scene.produce(scene.emissions)
    with materializer(scene.settings) as platform:
        scene.live.judge()
        scene.caught_up()
        scene.live.generation = new_generation(scene.settings)
        scene.keys = Keys.of(scene.settings, scene.live.generation.name)
        wait_for(scene.fences, 60, "the new generation's fences")
        assert platform.supervisor.process("materializer").restarts == 1
        scene.live.judge(dict.fromkeys(scene.live.next, 0))
        scene.caught_up()
        scene.expect_exact()


def test_a_conflict_is_found_whole_in_the_dead_letters(scene):
    scene.produce(scene.emissions)
    with materializer(scene.settings):
        scene.live.judge()
        scene.caught_up()
    letters = read_dead_letters(scene.settings)
    conflicts = [m for m in letters if dict(m.headers())["reasons"] == b"version_conflict"]
    assert len({m.key() for m in conflicts}) == len(conflicts) > 10
    sent = {(e.topic, e.key, e.value) for e in scene.emissions}
    for message in conflicts:
        headers = dict(message.headers())
        assert (headers["source_topic"].decode(), headers["source_key"], message.value()) in sent
        assert message.partition() == int(headers["source_partition"])
