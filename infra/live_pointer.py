"""Follows which generation is live, and tells of another one some milliseconds after it was recorded.

Reads the log of generations, see `infra.generations`, by one request that the broker answers when there is something to
tell: so it costs next to nothing while there is not. A thread of its own.
"""

import json
import logging
import threading
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from infra.generations import LIVE, read_generations
from infra.kafka import admin, consumer, log_bounds
from infra.settings import Settings
from schemas.errors import DataflowError, Unavailable
from schemas.topics import GENERATIONS

RETRY_SECONDS = 1.0
POLL_SECONDS = 1.0  # after which the thread looks whether it is still wanted
CONFIG = {
    "fetch.wait.max.ms": 10_000,  # how long the broker may think about one request; it answers at once if there is news
    "reconnect.backoff.max.ms": 1_000,
}

log = logging.getLogger("dataflow.generations")


class LivePointer:
    """Calls `on_change` with the live generation's number, None while there is none: first, and whenever it changes.

    What cannot be read is tried again; nothing is told meanwhile.
    """

    def __init__(self, settings: Settings, on_change: Callable[[int | None], None]) -> None:
        self._settings, self._on_change = settings, on_change
        self._topic = settings.topic_prefix + GENERATIONS
        self._stopped = threading.Event()
        self._told: int | None = None

    def start(self) -> None:
        # A daemon: a call into a broker that hangs must not hold up the end of the process.
        threading.Thread(target=self._run, name="live-pointer", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        told = None
        while not self._stopped.is_set():
            try:
                self._follow()
            except Exception as error:
                if not isinstance(error, DataflowError | KafkaException):
                    log.exception("the generations cannot be followed")
                elif str(error) != told:
                    log.warning("the generations cannot be followed: %s", error)
                told = str(error)
            self._stopped.wait(RETRY_SECONDS)

    def _follow(self) -> None:
        client = admin(self._settings.kafka_bootstrap_servers)
        # Before it is read: what comes in between is read twice, and not left out.
        end = log_bounds(client, [(self._topic, 0)])[1][self._topic, 0]
        live = read_generations(self._settings).live
        if live is None and self._told is not None:
            # So a broker looks that has just been started: of what is live there is always one.
            raise Unavailable(f"the broker shows no live generation, and there was g{self._told}")
        self._tell(live)
        reader = consumer(self._settings.kafka_bootstrap_servers, f"{self._topic}-pointer", **CONFIG)
        try:
            reader.assign([TopicPartition(self._topic, 0, end)])
            while not self._stopped.is_set():
                # All that there is, before anything is told: it may have changed more than once.
                message = reader.poll(POLL_SECONDS if live == self._told else 0)
                if message is not None:
                    live = _pointer(message, live)
                elif live != self._told:
                    self._tell(live)
        finally:
            reader.close()

    def _tell(self, live: int | None) -> None:
        self._told = live
        self._on_change(live)


def _pointer(message: Message, known: int | None) -> int | None:
    """What the pointer says after a record. Raises Unavailable."""
    if error := message.error():
        if error.code() == KafkaError._PARTITION_EOF:
            return known
        raise Unavailable(f"the generations cannot be read: {error.str()}")
    if message.key() != LIVE.encode():
        return known
    body = json.loads(message.value() or b"null")
    return body and body["number"]
