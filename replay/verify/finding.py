"""What a verification has found, as it is told to everybody: by rounds of the verifier, or by `dataflow verify`.

What was wrong stays so until all of it was compared again. Writes Redis.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from infra.kafka import Offsets
from infra.settings import Settings
from replay.verify.live import LIVE_NUMBERS
from replay.verify.originals import AS_SENT
from replay.verify.report import documents
from replay.verify.verify import Verdict
from serving.store.store import connect
from serving.verified import Found, verified_key

TOLD = 10  # tables and metrics that differ are told of in full


def tell(settings: Settings, verdict: Verdict, *, every_byte: bool) -> bool:
    """Have it known what a look at everything has found; returns whether that is worth telling.

    Something that differs is; that nothing does is where the live numbers were compared, too. Raises RedisError.
    """
    if verdict.exact and verdict.live is not None:
        return False
    key, now = verified_key(settings, verdict.manifest.generation), time.time()
    redis = connect(settings)
    try:
        before = Found.from_json(redis.get(key))
        found = found_of(verdict, now, now if verdict.exact else before and before.whole_at)
        wrong = before if before is not None and before.exact is False else None
        redis.set(key, upheld(found, wrong, compared_by(found, whole=True, every_byte=every_byte)).to_json())
    finally:
        redis.close()
    return True


def upheld(found: Found, wrong: Found | None, compared: Callable[[str], bool]) -> Found:
    """What is to be told after a round that has `found` this.

    What was `wrong` before stays so until all of its table or metric was `compared` again: that it could not be makes
    nothing right.
    """
    if wrong is None:
        return found
    again = {each["table"] for each in found.differences}
    still = [each for each in wrong.differences if each["table"] not in again and not compared(each["table"])]
    if not still:
        return found
    if found.exact is False:
        return replace(found, differences=[*found.differences, *still])
    why = found.detail or "only what had changed was"
    told = f"since then not everything could be compared again: {why}"
    return replace(wrong, differences=still, detail=told)


def compared_by(found: Found, *, whole: bool, every_byte: bool) -> Callable[[str], bool]:
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
