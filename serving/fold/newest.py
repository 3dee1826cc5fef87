"""The newest records that were counted, as they stand in Redis: which are kept, in which form, and back. Pure.

A list per topic, because the newest of all are mostly clicks. It is written by the same call that counts the records,
so a record is in it if and only if it is counted, and it holds no personal data: of an event its id, op, status and
amount, of a refused record no more than a key that is a UUID.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import orjson
from confluent_kafka import Message

from schemas.contract import CONTRACTS, UUID_PATTERN, Contract, Field
from serving.fold.fold import CONFLICT
from serving.store.keys import Keys
from serving.store.store import Operation

KEPT = 50  # of each topic
MASK = "***"
STATUS = re.compile(r"(.*_)?(status|state|type)")
# Python before 3.14 does not know \z; fullmatch does the same.
UUID = re.compile(UUID_PATTERN.removesuffix(r"\z"))


@dataclass(frozen=True)
class Shown:
    """Which fields of a topic's events say what one is about; None where it has none."""

    entity_id: str
    status: str | None
    amount: str | None


@cache
def shown_fields(topic: str) -> Shown:
    """The entity, where it stands (or the kind of event), and the first amount of money; never personal data.

    Money is what is declared to be: with the unit `money`, and two digits behind the point as the shop's currency has.
    """
    contract: Contract = CONTRACTS[topic]
    open_ = {name: field for name, field in contract.fields.items() if not field.pii}
    closed = [name for name, field in open_.items() if name != "op" and "one_of" in field.attributes]
    named = [name for name in closed if STATUS.fullmatch(name)]
    status = next(iter((*named, *closed)), None)
    money = (name for name, field in open_.items() if field.is_money)
    return Shown(contract.entity_id, status, next(money, None))


def newest_operations(
    run: Sequence[Mapping[str, Any]],
    outcomes: Sequence[str],
    letters: Iterable[Message],
    position: int,
    keys: Keys,
) -> list[Operation]:
    """What to keep of a run: each topic's newest. `outcomes` are those of its verdicts, `position` is reached by it.

    Chosen before anything is built: a long run costs as much as a short one.
    """
    taken: Counter[str] = Counter()
    chosen: list[int] = []
    for n in range(len(run) - 1, -1, -1):
        topic = run[n]["t"]
        if taken[topic] < KEPT:
            taken[topic] += 1
            chosen.append(n)
    refused = {letter.key(): dict(letter.headers()) for letter in letters}
    rows: dict[str, list[bytes]] = {topic: [] for topic in taken}
    # Pushed one by one, so that the newest comes last here and first in the list.
    for n in reversed(chosen):
        verdict = run[n]
        at = position - (len(run) - 1 - n)
        rows[verdict["t"]].append(orjson.dumps(_row(verdict, outcomes[n], refused, at)))
    return [("L", keys.newest(topic), [KEPT, *found]) for topic, found in rows.items()]


def _row(
    verdict: Mapping[str, Any], outcome: str, refused: Mapping[bytes, Mapping[str, Any]], position: int
) -> list[Any]:
    topic, event = verdict["t"], verdict.get("e")
    place = [position, verdict["p"], verdict["o"], verdict["ts"], outcome]
    if event is None:
        headers = refused.get(b"%b/%d/%d" % (topic.encode(), verdict["p"], verdict["o"]), {})
        return [*place, _masked(headers.get("source_key")), None, None, None, None, verdict["r"]]
    shown = shown_fields(topic)
    return [
        *place,
        event[shown.entity_id],
        event.get("op"),
        event.get(shown.status),
        event.get(shown.amount),
        event.get("occurred_at"),
        [CONFLICT] if outcome == "refused" else [],
    ]


def _masked(key: bytes | None) -> str | None:
    """The key of a record that was refused: an id as it is; anything else may be an address."""
    if key is None:
        return None
    text = key.decode("utf-8", "replace")
    return text if UUID.fullmatch(text) else MASK


@dataclass(frozen=True)
class Counted:
    """One counted record. Times are µs; `position` grows with each record that is counted in a generation."""

    topic: str
    position: int
    partition: int
    offset: int
    kafka_time: int
    verdict: str
    entity_id: str | None
    op: str | None
    status: str | None
    amount: Decimal | None
    occurred_at: int | None
    reasons: tuple[str, ...]


def newest_records(lists: Mapping[str, Sequence[bytes]], limit: int) -> list[Counted]:
    """The newest `limit` of all topics' lists, newest first; none is missing between them for a limit up to KEPT."""
    found = [_counted(topic, orjson.loads(row)) for topic, rows in lists.items() for row in rows[:limit]]
    found.sort(key=lambda each: each.position, reverse=True)
    return found[:limit]


def _counted(topic: str, row: list[Any]) -> Counted:
    position, partition, offset, kafka_time, verdict, entity_id, op, status, amount, occurred_at, reasons = (
        row
    )
    if amount is not None:
        field: Field = CONTRACTS[topic].fields[shown_fields(topic).amount]
        amount = Decimal(amount).scaleb(-field.scale)
    return Counted(
        topic, position, partition, offset, kafka_time, verdict, entity_id, op, status, amount, occurred_at,
        tuple(reasons),
    )  # fmt: skip
