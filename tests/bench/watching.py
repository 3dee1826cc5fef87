"""Clients that note what they see and when: push, REST, the judged topic, the fences in Redis. Each runs in a worker.

Times are of the monotonic clock, which the processes of a machine share.
"""

import threading
import time
from typing import Any

import httpx
import orjson
from confluent_kafka import TopicPartition
from redis import Redis

from infra.generation import current_generation
from infra.kafka import admin, consumer, log_bounds
from infra.settings import Settings
from serving.store.keys import Keys, parse_place
from tests.bench.figures import Judged, Place, Seen
from tests.bench.workers import Inside

POLL_PAUSE = 0.005
RETRY_PAUSE = 0.02
QUESTION = "/v1/metrics/revenue?grain=all"


class Notes:
    """What a client has seen so far; shows the newest position to the parent."""

    def __init__(self, inside: Inside) -> None:
        self.seen: list[Seen] = []
        self.answers = 0
        self._inside = inside

    def take(self, at: float, as_of: dict[str, Any] | None) -> None:
        """An answer or a snapshot that came at `at`."""
        self.answers += 1
        if as_of:
            self.offsets(
                at, {(t, int(p)): o for t, each in as_of["offsets"].items() for p, o in each.items()}
            )

    def offsets(self, at: float, offsets: dict[Place, int]) -> None:
        if not self.seen or self.seen[-1][1] != offsets:
            self.seen.append((at, offsets))
            self._inside.show(sum(offsets.values()))

    def result(self) -> dict[str, Any]:
        return {"seen": self.seen, "answers": self.answers}


def push(inside: Inside, url: str) -> dict[str, Any]:
    """A client of GET /v1/live that connects again when it is cut off."""
    notes = Notes(inside)
    threading.Thread(target=_listen, args=(url, notes, inside), daemon=True).start()
    inside.wait_for_stop()
    return notes.result()


def _listen(url: str, notes: Notes, inside: Inside) -> None:
    client = httpx.Client(base_url=url, timeout=httpx.Timeout(5, read=15), trust_env=False)
    # A platform that is just starting has nothing to connect to yet.
    inside.ready()
    while True:
        try:
            with client.stream("GET", "/v1/live") as answer:
                rest = b""
                for chunk in answer.iter_raw():
                    at = time.monotonic()
                    *frames, rest = (rest + chunk).split(b"\n\n")
                    for frame in frames:
                        if b"event: snapshot" in frame:
                            notes.take(at, orjson.loads(frame.partition(b"data: ")[2])["as_of"])
        except httpx.HTTPError:
            pass
        time.sleep(RETRY_PAUSE)


def rest(inside: Inside, url: str) -> dict[str, Any]:
    """A client that asks for one metric, waits 5 ms after each answer, and asks again."""
    notes = Notes(inside)
    with httpx.Client(base_url=url, timeout=10, trust_env=False) as client:
        inside.ready()
        while not inside.stopped():
            try:
                answer = client.get(QUESTION)
                if answer.status_code == 200:
                    notes.take(time.monotonic(), orjson.loads(answer.content)["as_of"])
                    time.sleep(POLL_PAUSE)
                    continue
            except httpx.HTTPError:
                pass
            time.sleep(RETRY_PAUSE)
    return notes.result()


def judged(inside: Inside, settings: Settings) -> list[Judged]:
    """A consumer of the judged topic: when which verdict on which record came."""
    topic = current_generation(settings).judged_topic(settings)
    reader = consumer(settings.kafka_bootstrap_servers, "bench", **{"fetch.wait.max.ms": 10})
    places = [(topic, p) for p in reader.list_topics(topic, 15).topics[topic].partitions]
    _, ends = log_bounds(admin(settings.kafka_bootstrap_servers), places)
    reader.assign([TopicPartition(*at, end) for at, end in ends.items()])
    found: list[Judged] = []
    inside.ready()
    while not inside.stopped():
        messages = reader.consume(500, 0.005)
        at = time.monotonic()
        for message in messages:
            # a record with headers is a refused one, its verdict comes next
            if message.error() is None and not message.headers():
                verdict = orjson.loads(message.value())
                found.append(Judged(at, verdict["t"], verdict["p"], verdict["o"], verdict["v"]))
    reader.close()
    return found


def fences(inside: Inside, settings: Settings) -> dict[str, Any]:
    """Reads the fences whenever a commit announces itself."""
    notes, keys = Notes(inside), Keys.of(settings, current_generation(settings).name)
    with (
        Redis(settings.redis_host, settings.redis_port) as redis,
        redis.pubsub(ignore_subscribe_messages=True) as channel,
    ):
        channel.subscribe(keys.channel)
        inside.ready()
        while not inside.stopped():
            if channel.get_message(timeout=0.2) is not None:
                found = redis.hgetall(keys.fence)
                at = time.monotonic()
                notes.answers += 1
                notes.offsets(at, {parse_place(n.decode()): int(o) for n, o in found.items()})
    return notes.result()
