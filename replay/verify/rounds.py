"""The continuous verifier: round after round it compares what has changed, and now and then everything.

Each record is judged once, in this process, by the oracle that `dataflow verify` uses too. Reads the lake, Redis, the
registry and the generations topic; asks the lake for barriers; writes what it found to Redis.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from infra.generation import current_generation
from infra.generations import Generation, read_generations
from infra.settings import Settings
from infra.status import write_status
from replay.verify.bounds import told
from replay.verify.finding import Compared, compared_by, found_of, heard, settle, upheld, wrong_in
from replay.verify.live import Buckets, LiveNumbers, Seen, everything, some_of
from replay.verify.originals import AS_SENT
from replay.verify.touched import InTurn, all_buckets
from replay.verify.verify import Verifier
from schemas.errors import DataflowError, Transient, Unavailable
from serving.store.store import connect
from serving.verified import Found, verified_key
from streams.rest import BESIDE, LIVE, rest_after
from streams.stop import StopRequest

# Seconds for the lake to reach a barrier; more after rounds in which it did not, as on a machine that is busy.
PATIENCE, LONGEST_PATIENCE = 30.0, 240.0
# Of VERIFY_WHOLE_SECONDS, until a round over everything in which not everything could be compared is tried again:
# sooner as long as none was ever whole, which is what a replay waits for.
AGAIN, AGAIN_LATER = 1 / 15, 1 / 4
TICK_SECONDS = 0.5

log = logging.getLogger(__name__)


class Rounds:
    """One run of the verifier over one generation; ends with it."""

    def __init__(self, settings: Settings, generation: Generation, redis: Redis, stop: StopRequest) -> None:
        self._stop = stop
        self._settings, self._generation, self._redis = settings, generation, redis
        self._key = verified_key(settings, generation.name)
        with told(settings):
            self._verifier = Verifier(settings, generation)
        self._touched: Buckets = {}
        self._in_turn = InTurn()
        self._patience = PATIENCE
        self._whole_at: float | None = None
        self._bytes_at = float("-inf")  # a monotonic time: when all bytes were compared last
        self._tried_at = float("-inf")  # a monotonic time: when a round over everything ended last
        self._wrong = self._told_wrong()  # what differed, until everything is found equal again
        self._has_told = False

    def close(self) -> None:
        self._verifier.close()

    def once(self) -> Found:
        """Compare, and write what was found."""
        now, said = time.time(), self._heard()
        wrong = self._wrong if said is None else upheld(said, self._wrong, lambda _: False)
        # What was wrong and is not looked at again would seem to be right. That some other records are as they were
        # sent makes none right that was not, and to compare all bytes takes long.
        kinds = {each["table"].endswith(AS_SENT) for each in (wrong.differences if wrong else ())}
        every_byte = (
            True in kinds and time.monotonic() - self._bytes_at >= self._settings.verify_whole_seconds
        )
        whole = every_byte or False in kinds or self._is_due(now)
        try:
            with told(self._settings):
                seen, why = asyncio.run(self._seen(whole))
                verdict = self._verifier.check(
                    seen,
                    whole=whole,
                    patience=self._patience,
                    live=why,
                    given_up=lambda: self._stop.asked,
                    every_byte=every_byte,
                )
                if whole:
                    verdict = self._verifier.and_the_rest(verdict, self._patience, lambda: self._stop.asked)
        except DataflowError as error:
            if not isinstance(error, Transient):
                raise
            found = self._nothing(error)
        else:
            self._touched = self._verifier.touched
            self._patience = PATIENCE if verdict.live is None else min(2 * self._patience, LONGEST_PATIENCE)
            if whole and verdict.exact and verdict.live is None:
                self._whole_at = now
            found = found_of(verdict, now, self._whole_at)
        if whole and self._verifier.verified is not None:
            self._tried_at = time.monotonic()
        if every_byte:
            self._bytes_at = time.monotonic()
        if self._stop.asked and found.exact is None:
            return found  # because of that: what was found last stands
        compared = compared_by(found, whole=whole, every_byte=every_byte)
        return self._tell_all(found, wrong, said, compared)

    def missed(self, error: DataflowError) -> Found:
        """A round that could not begin; where a stop was asked for, what was found last stands."""
        found = self._nothing(error)
        return found if self._stop.asked else self._tell_all(found, self._wrong, None, lambda _: False)

    def _nothing(self, error: DataflowError) -> Found:
        return Found(None, time.time(), str(error), whole_at=self._whole_at)

    def _is_due(self, now: float) -> bool:
        """Whether everything is to be compared.

        Where not everything could be, it is tried again, but not in every round: that costs most where the lake is
        behind.
        """
        every = self._settings.verify_whole_seconds
        again = every * (AGAIN if self._whole_at is None else AGAIN_LATER)
        is_old = self._whole_at is None or now - self._whole_at >= every
        return is_old and time.monotonic() - self._tried_at >= again

    def _told_wrong(self) -> Found | None:
        """What a verifier before this one has found last, if something differed."""
        try:
            found = Found.from_json(self._redis.get(self._key))
        except (RedisError, OSError, ValueError, TypeError):
            return None
        return wrong_in(found)

    def _heard(self) -> Found | None:
        """What `dataflow verify` has found to differ, which counts as if it had been found here."""
        try:
            return heard(self._redis, self._settings, self._generation.name)
        except (RedisError, OSError, ValueError, TypeError):
            return None

    def _tell_all(self, found: Found, wrong: Found | None, said: Found | None, compared: Compared) -> Found:
        """What is so after a round that has `found` this, where something was `wrong`, as the command `said`, too."""
        found = upheld(found, wrong, compared)
        self._wrong = wrong_in(found)
        told_now = self._tell(found)
        if said is not None and found.exact:
            try:
                settle(self._redis, self._settings, self._generation.name, said)
            except (RedisError, OSError) as error:
                log.warning("Redis does not take that all is equal again: %s", error)
        return told_now

    async def _seen(self, whole: bool) -> tuple[list[Seen], str | None]:
        numbers = LiveNumbers(self._settings, self._generation)
        if whole:
            return await everything(numbers, all_buckets(self._verifier.oracle))
        buckets: dict[tuple[str, str], set[int]] = {}
        for some in (self._touched, self._in_turn.next(self._verifier.oracle)):
            for of, starts in some.items():
                buckets.setdefault(of, set()).update(starts)
        return await some_of(numbers, buckets)

    def _tell(self, found: Found) -> Found:
        """Have it known. Where Redis was emptied since, the numbers that were found exact are perhaps no more."""
        for each in found.differences:
            log.error("%s differs: %s", each["table"], each)
        try:
            emptied = self._redis.set(self._key, found.to_json(), get=True) is None and self._has_told
            self._has_told = True
            if emptied:
                self._whole_at, self._tried_at = None, float("-inf")
                found = replace(found, whole_at=None)
                self._redis.set(self._key, found.to_json())
        except (RedisError, OSError) as error:
            log.warning("Redis does not take what was found: %s", error)
        return found


def run(settings: Settings, stop: StopRequest) -> None:
    """Rounds until a stop is asked for; a generation that takes the place of another begins anew.

    Where a service does not answer a round is missed, and what was judged before stays.
    """
    redis = connect(settings)
    rounds: Rounds | None = None
    generation: Generation | None = None
    try:
        while not stop.asked:
            began, is_live = time.monotonic(), False
            try:
                current = current_generation(settings)
                if generation is None or current.number != generation.number:
                    if rounds is not None:
                        rounds.close()
                        rounds = None
                    rounds, generation = Rounds(settings, current, redis, stop), current
                write_status(settings.dataflow_status_file, "running", **_status(None))
                found = rounds.once()
            except DataflowError as error:
                if rounds is None or not isinstance(error, Transient):
                    raise
                found = rounds.missed(error)
            with suppress(Unavailable):
                is_live = read_generations(settings).live == generation.number
            took = time.monotonic() - began
            log.info(
                "%s in %.1f s: %s",
                _word(found),
                took,
                found.detail or f"manifest {found.manifest}, {found.rows} rows",
            )
            rest = rest_after(took, LIVE if is_live else BESIDE)
            while not stop.asked and time.monotonic() - began < max(settings.verify_seconds, took + rest):
                write_status(settings.dataflow_status_file, "running", **_status(found))
                time.sleep(TICK_SECONDS)
    finally:
        if rounds is not None:
            rounds.close()
        redis.close()


def _status(found: Found | None) -> Mapping[str, Any]:
    return {} if found is None else {"exact": found.exact, "manifest": found.manifest, "found_at": found.at}


def _word(found: Found) -> str:
    return {None: "nothing compared", True: "exact", False: "NOT exact"}[found.exact]
