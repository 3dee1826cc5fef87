"""What the tests of the command line share: dead letters as the live job writes them, and running one command."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from confluent_kafka import Producer

from dataflow.main import OK, main
from infra.settings import Settings
from schemas.topics import DEAD_LETTER
from sources.codec import EventCodec
from sources.producer import EventProducer

T0 = 1_779_010_200_000_000  # 2026-05-17T09:30:00Z in µs
WHEN = datetime(2026, 5, 17, 9, 30, tzinfo=UTC)
PERSONAL = {
    "email": "anna.berger@example.org",
    "first_name": "Annabella",
    "last_name": "Bergerova",
    "phone": "+43 660 5551234",
    "address_line1": "Lindenstrasse 17",
    "city": "Klagenfurt",
    "postal_code": "9020-X",
}


def uuid(n: int) -> str:
    return f"00000000-0000-4000-8000-{n:012d}"


def change(n: int) -> dict[str, Any]:
    """The change fields of an event."""
    return {"event_id": uuid(900 + n), "op": "c", "occurred_at": WHEN, "version": 1 + n, "source": "test"}


def customer(n: int = 1, **fields: Any) -> dict[str, Any]:
    row = {"customer_id": uuid(n), **PERSONAL, "country": "AT", "created_at": WHEN, "updated_at": WHEN}
    return {**row, **change(n), **fields}


def order(n: int = 1, **fields: Any) -> dict[str, Any]:
    row = {
        "order_id": uuid(n),
        "customer_id": uuid(100 + n),
        "order_date": WHEN,
        "status": "placed",
        "total_amount": Decimal("12.50"),
        "shipping_address": "Lindenstrasse 17, 9020-X Klagenfurt",
        "shipping_country": "AT",
        "payment_method": "card",
        "created_at": WHEN,
        "updated_at": WHEN,
    }
    return {**row, **change(n), **fields}


class DeadLetterWriter:
    """Writes dead letters with the live job's key, headers and partition, to a generation's topic or to the shared one.

    Into the shared one all went before generations had topics of their own.
    """

    def __init__(self, settings: Settings, generation: str = "g1", *, shared: bool = False) -> None:
        self.generation = generation
        self.topic = settings.topic_prefix + (DEAD_LETTER if shared else f"{generation}.{DEAD_LETTER}")
        self.producer = Producer(
            {"bootstrap.servers": settings.kafka_bootstrap_servers, "acks": "all", "log_level": 2}
        )

    def write(
        self,
        place: tuple[str, int, int],
        value: bytes | None,
        reasons: Sequence[str],
        *,
        key: bytes | None = b"",
        at: int = T0,
        size: int | None = None,
        own: Sequence[tuple[str, bytes | None]] = (),
    ) -> str:
        """Queue the letter of the source record at (topic, partition, offset); returns its id. `own`: its headers."""
        topic, partition, offset = place
        letter_id = f"{topic}/{partition}/{offset}"
        kept = value or b""
        size = len(kept) + len(key or b"") if size is None else size
        texts = {
            "source_topic": topic,
            "source_partition": partition,
            "source_offset": offset,
            "reasons": ",".join(reasons),
            "kafka_time": at,
            "generation": self.generation,
            "size": size,
            "truncated": str(size > len(kept) + len(key or b"")).lower(),
            "null_value": str(value is None).lower(),
        }
        headers = [(name, str(text).encode()) for name, text in texts.items()]
        headers += [("source_key", key), *(("record:" + name, value) for name, value in own)]
        self.producer.produce(self.topic, kept, letter_id.encode(), partition, headers=headers)
        return letter_id

    def flush(self) -> None:
        assert self.producer.flush(30) == 0


def produced(
    settings: Settings,
    codec: EventCodec,
    topic: str,
    key: bytes,
    value: bytes,
    headers: Sequence[tuple[str, bytes | None]] | None = None,
) -> tuple[str, int, int]:
    """Put one record into a source topic; returns its topic, partition and offset."""
    places: list[tuple[str, int, int]] = []
    with EventProducer(
        settings.kafka_bootstrap_servers,
        settings.topic_prefix,
        codec.schema_ids,
        on_delivered=lambda *at: places.append(at),
    ) as producer:
        producer.produce_raw(topic, key, value, headers)
    [place] = places
    return place


class Shell:
    """Runs a command line in this process and keeps what it wrote."""

    def __init__(self, capsys: pytest.CaptureFixture) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def run(self, *arguments: str) -> int:
        self._capsys.readouterr()
        status = main(list(arguments))
        self.out, self.err = self._capsys.readouterr()
        return status


def listed(shell: Shell, *arguments: str) -> list[str]:
    assert shell.run("dlq", "list", "--json", *arguments) == OK, shell.err
    return [letter["id"] for letter in json.loads(shell.out)["letters"]]


def shown(shell: Shell, letter_id: str, *arguments: str) -> dict:
    assert shell.run("dlq", "show", letter_id, "--json", *arguments) == OK, shell.err
    return json.loads(shell.out)
