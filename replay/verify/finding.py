"""What a verification has found, as it is told to everybody: by rounds of the verifier, or by `dataflow verify`.

What was wrong stays so until all of it was compared again. Writes Redis.
"""

from collections.abc import Callable
from dataclasses import replace

from redis import Redis
from redis.client import Pipeline

from infra.kafka import Offsets
from infra.settings import Settings
from replay.verify.live import LIVE_NUMBERS
from replay.verify.originals import AS_SENT
from replay.verify.report import documents
from replay.verify.verify import Verdict
from serving.store.store import connect
from serving.verified import Found, command_key

Compared = Callable[[str], bool]  # whether all of a table or metric was
TOLD = 10  # tables and metrics that differ are told of in full


def tell(settings: Settings, verdict: Verdict, at: float, *, every_byte: bool) -> bool:
    """Have it known what `dataflow verify`, begun at a time (UTC seconds), has found; returns whether it says anything.

    Something that differs does; that nothing does where the live numbers were compared, too. Raises RedisError.
    """
    if verdict.exact and verdict.live is not None:
        return False
    key = command_key(settings, verdict.manifest.generation)
    found = found_of(verdict, at, at if verdict.exact else None)
    compared = compared_by(found, whole=True, every_byte=every_byte)

    def change(pipe: Pipeline) -> None:
        before = Found.from_json(pipe.get(key))
        pipe.multi()
        pipe.set(key, upheld(found, wrong_in(before), compared).to_json())

    redis = connect(settings)
    try:
        redis.transaction(change, key)
    finally:
        redis.close()
    return True


def heard(redis: Redis, settings: Settings, generation: str) -> Found | None:
    """What the command has found to differ, and nobody has found to be equal since. Raises RedisError."""
    return wrong_in(Found.from_json(redis.get(command_key(settings, generation))))


def settle(redis: Redis, settings: Settings, generation: str, said: Found) -> None:
    """What the command `said` to differ has been compared again and is equal. Raises RedisError."""
    key = command_key(settings, generation)

    def change(pipe: Pipeline) -> None:
        is_same = Found.from_json(pipe.get(key)) == said
        pipe.multi()
        if is_same:
            pipe.delete(key)

    redis.transaction(change, key)


def wrong_in(found: Found | None) -> Found | None:
    """It, if something differs."""
    return found if found is not None and found.exact is False else None


def upheld(found: Found, wrong: Found | None, compared: Compared) -> Found:
    """What is to be told after a round that has `found` this.

    What was `wrong` before stays so until all of its table or metric was `compared` again, at no earlier offsets: that
    it could not be makes nothing right.
    """
    if wrong is None:
        return found
    again = {each["table"] for each in found.differences}
    is_older = _is_before(found, wrong)
    still = [
        each
        for each in wrong.differences
        if each["table"] not in again and (is_older or not compared(each["table"]))
    ]
    if not still:
        return found
    if found.exact is False:
        return replace(found, differences=[*found.differences, *still])
    why = found.detail or "only what had changed was"
    told = f"since then not everything could be compared again: {why}"
    return replace(wrong, differences=still, detail=told)


def _is_before(one: Found, other: Found) -> bool:
    """Whether one is of fewer records of some partition."""
    return any(
        offset > one.offsets.get(topic, {}).get(p, 0)
        for topic, partitions in other.offsets.items()
        for p, offset in partitions.items()
    )


def compared_by(found: Found, *, whole: bool, every_byte: bool) -> Compared:
    """Whether a round, of everything or with all bytes, has compared all of a table or metric."""

    def compared(table: str) -> bool:
        if not whole or found.exact is None:
            return False
        if table.endswith(AS_SENT):
            return every_byte
        return found.live or not table.startswith(LIVE_NUMBERS)

    return compared


def found_of(verdict: Verdict, at: float, whole_at: float | None) -> Found:
    """As it is told, at a time (UTC seconds); everything was last found equal at `whole_at`."""
    manifest = verdict.manifest
    wrong = [each for each in verdict.differences if not each.equal]
    return Found(
        verdict.exact,
        at,
        verdict.live,
        manifest.number,
        sum(manifest.counts.values()),
        verdict.at_barrier,
        verdict.live is None,
        whole_at,
        sum(each.expected for each in verdict.differences),
        documents(wrong[:TOLD]),
        _by_topic(manifest.until),
    )


def _by_topic(offsets: Offsets) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (topic, partition), offset in sorted(offsets.items()):
        found.setdefault(topic, {})[str(partition)] = offset
    return found
