"""Writes the dead letters: refused records as the live job hands them on, and those that only the fold can refuse.

The live job puts a refused record on the judged topic right before its verdict. It is written to the generation's own
topic, `<env>.g1.events.dead_letter`, before the refusal is applied, so that whatever is counted as refused can be found
there.
"""

from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import KafkaError, Message, Producer

from infra.generations import Generation
from infra.settings import Settings
from schemas.errors import Unavailable
from streams.limits import EXCERPT_BYTES, HEADERS_BYTES, KEY_BYTES, OWN_HEADER

TIMEOUT = 15.0
Header = tuple[str, bytes | None]


class DeadLetters:
    """The dead letters of one generation. A repeat has the same key, `topic/partition/offset`."""

    def __init__(self, settings: Settings, generation: Generation) -> None:
        self._topic = generation.dead_letter_topic(settings)
        self._prefix, self._generation = settings.topic_prefix, generation.name
        self._most = settings.max_event_bytes
        self._awaited: dict[bytes, Message] = {}  # letters whose verdict has not been read yet, by key
        self._producer = Producer(
            {
                "bootstrap.servers": settings.kafka_bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 0,
                "message.max.bytes": 100_000_000,  # the broker decides
                "log_level": 2,
            }
        )

    def keep(self, letter: Message) -> None:
        """A letter from the judged topic: its verdict is next."""
        self._awaited[letter.key()] = letter

    def of(self, topic: str, partition: int, offset: int) -> Message | None:
        """The letter that came before this record's verdict, which is here now; None if none did."""
        return (
            self._awaited.pop(b"%b/%d/%d" % (topic.encode(), partition, offset), None)
            if self._awaited
            else None
        )

    def forget(self) -> None:
        """The judged topic is read again from its positions."""
        self._awaited.clear()

    def positions(self, positions: Mapping[int, int]) -> Mapping[int, int]:
        """From where the judged topic has to be read again so that no letter is missing: at most `positions`."""
        if not self._awaited:
            return positions
        lowest = dict(positions)
        for letter in self._awaited.values():
            lowest[letter.partition()] = min(letter.offset(), lowest[letter.partition()])
        return lowest

    def write(self, letters: Iterable[Message], conflicts: Iterable[Message], reason: str) -> None:
        """Pass on `letters`, and write one for each source record in `conflicts`, refused for `reason`.

        Returns when the broker has them all. Raises Unavailable otherwise.
        """
        failures: list[KafkaError] = []

        def produce(partition: int, key: bytes, value: bytes | None, headers: Sequence[Header]) -> None:
            def delivered(error: KafkaError | None, _: Message) -> None:
                if error is None:
                    return
                excerpt = (value or b"")[:EXCERPT_BYTES]
                if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and excerpt != (value or b""):
                    cut = [(name, b"true" if name == "truncated" else text) for name, text in headers]
                    produce(partition, key, excerpt, cut)
                else:
                    failures.append(error)

            self._producer.produce(
                self._topic, value, key, partition, headers=list(headers), on_delivery=delivered
            )

        refused = (
            letter_of(record, record.topic().removeprefix(self._prefix), reason, self._generation, self._most)
            for record in conflicts
        )
        for letter in (*letters, *refused):
            produce(letter.partition(), letter.key(), letter.value(), letter.headers())
        left = self._producer.flush(TIMEOUT)
        if left or failures:
            raise Unavailable(
                f"dead letters were not delivered: {failures[0].str() if failures else 'no answer'}"
            )


def letter_of(record: Message, topic: str, reasons: str, generation: str, max_bytes: int) -> Message:
    """A source record's dead letter, as the live job hands it on: whole, or an excerpt if it is too large."""
    key, value = record.key(), record.value() or b""
    if len(value) + len(key or b"") > max_bytes:
        value = value[:EXCERPT_BYTES]
    return Message(
        topic="",
        partition=record.partition(),
        offset=-1,
        key=f"{topic}/{record.partition()}/{record.offset()}".encode(),
        value=value,
        headers=_headers(record, topic, reasons, generation, max_bytes),
        timestamp=record.timestamp(),
    )


def _headers(record: Message, topic: str, reasons: str, generation: str, max_bytes: int) -> list[Header]:
    """The letter's own, then those of the record."""
    key, own = record.key(), record.headers() or []
    size = len(record.value() or b"") + len(key or b"")
    kept = sum(len(name.encode()) + len(value or b"") for name, value in own) <= HEADERS_BYTES
    cut = size > max_bytes or len(key or b"") > KEY_BYTES or not kept
    texts = {
        "source_topic": topic,
        "source_partition": record.partition(),
        "source_offset": record.offset(),
        "reasons": reasons,
        "kafka_time": record.timestamp()[1] * 1000,
        "generation": generation,
        "size": size,
        "truncated": "true" if cut else "false",
        "null_value": "true" if record.value() is None else "false",
    }
    found = [(name, str(value).encode()) for name, value in texts.items()]
    found.append(("source_key", key and key[:KEY_BYTES]))
    return found + [(OWN_HEADER + name, value) for name, value in own if kept]
