"""How the live state fares: freshness, lag and exactness, computed from one read and the newest log ends. Pure."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.api.kafka_watch import KafkaView
from serving.read import AsOf
from serving.read.reader import iso_micros
from serving.store.keys import VERDICTS, parse_place, place


@dataclass(frozen=True)
class PartitionLag:
    """A source partition: where its log ends (None: not known), what comes next, and how many offsets lie between."""

    topic: str
    partition: int
    log_end: int | None
    next_offset: int

    @property
    def behind(self) -> int:
        return max(0, self.log_end - self.next_offset) if self.log_end is not None else 0


@dataclass(frozen=True)
class PartitionProof:
    """A source partition's account: every offset from `base` to `next_offset` has exactly one verdict."""

    topic: str
    partition: int
    base: int
    next_offset: int
    counts: Mapping[str, int]
    held: str | None

    @property
    def exact(self) -> bool:
        return self.next_offset - self.base == sum(self.counts.values()) and self.held is None


@dataclass(frozen=True)
class Health:
    """All of it, as of one moment of Redis; the log ends are up to a second older, or older still if `stale`."""

    as_of: AsOf
    lags: tuple[PartitionLag, ...]
    proofs: tuple[PartitionProof, ...]
    stale: bool
    ends_age_ms: int | None
    now: float
    waited: float = 0.0  # seconds in which records wait and none was counted, see serving.api.waiting

    @classmethod
    def of(
        cls,
        as_of: AsOf,
        base: Mapping[str, str],
        counts: Mapping[str, str],
        held: Mapping[str, str],
        kafka: KafkaView,
        now: float,
        monotonic: float,
    ) -> "Health":
        """`base`, `counts` and `held` are the hashes of Redis, `now` is UTC seconds, `monotonic` dates the log ends."""
        verdicts: defaultdict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(VERDICTS, 0))
        for name, count in counts.items():
            at, _, verdict = name.rpartition("/")
            verdicts[at][verdict] = int(count)
        # A partition that the materializer has not begun is known from its log end only.
        places = sorted(set(as_of.offsets) | set(kafka.ends) | set(map(parse_place, held)))
        lags, proofs = [], []
        for topic, partition in places:
            name = place(topic, partition)
            known = as_of.offsets.get((topic, partition), 0)
            start = int(base.get(name, known))
            lags.append(PartitionLag(topic, partition, kafka.ends.get((topic, partition)), known))
            proofs.append(PartitionProof(topic, partition, start, known, verdicts[name], held.get(name)))
        age = kafka.age(monotonic)
        return cls(
            as_of,
            tuple(lags),
            tuple(proofs),
            not kafka.is_fresh(monotonic),
            None if age is None else round(age * 1000),
            now,
        )

    @property
    def behind(self) -> int:
        return sum(lag.behind for lag in self.lags)

    @property
    def exact(self) -> bool:
        return all(proof.exact for proof in self.proofs)

    @property
    def held(self) -> dict[str, str]:
        return {place(p.topic, p.partition): p.held for p in self.proofs if p.held is not None}

    @property
    def freshness_ms(self) -> int | None:
        """How long ago the broker took the newest counted record; 0 while nothing waits, None while none is counted."""
        if not self.behind:
            return 0
        if not self.as_of.kafka_time:
            return None
        return max(round(self.waited * 1000), round(self.now * 1000 - self.as_of.kafka_time / 1000))

    @property
    def freshness_seconds(self) -> int | None:
        return None if self.freshness_ms is None else self.freshness_ms // 1000

    def freshness(self) -> dict[str, Any]:
        event, kafka = self.as_of.event_time, self.as_of.kafka_time
        return {
            "freshness_ms": self.freshness_ms,
            "newest_event_time": iso_micros(event) if event else None,
            "newest_record_time": iso_micros(kafka) if kafka else None,
        }

    def lag(self) -> dict[str, Any]:
        """Totals."""
        topics: dict[str, int] = {}
        for lag in self.lags:
            topics[lag.topic] = topics.get(lag.topic, 0) + lag.behind
        return {
            "records_behind": self.behind,
            "by_topic": topics,
            "stale": self.stale,
            "log_ends_age_ms": self.ends_age_ms,
        }

    def lag_in_full(self) -> dict[str, Any]:
        rows = [
            {
                "topic": lag.topic,
                "partition": lag.partition,
                "log_end": lag.log_end,
                "next_offset": lag.next_offset,
                "records_behind": lag.behind if lag.log_end is not None else None,
            }
            for lag in self.lags
        ]
        return {**self.lag(), "partitions": rows}

    def exactness(self) -> dict[str, Any]:
        """Totals, and what is held."""
        totals = {v: sum(proof.counts[v] for proof in self.proofs) for v in VERDICTS}
        offsets = sum(proof.next_offset - proof.base for proof in self.proofs)
        return {"exact": self.exact, "offsets": offsets, "counts": totals, "held": self.held}

    def exactness_in_full(self) -> dict[str, Any]:
        rows = [
            {
                "topic": proof.topic,
                "partition": proof.partition,
                "base": proof.base,
                "next_offset": proof.next_offset,
                "counts": dict(proof.counts),
                "held": proof.held,
                "exact": proof.exact,
            }
            for proof in self.proofs
        ]
        return {**self.exactness(), "partitions": rows}
