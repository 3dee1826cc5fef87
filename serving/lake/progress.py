"""How far a lake is behind its topics. Pure."""

from typing import Any

from infra.kafka import Offsets
from serving.read.reader import iso_micros
from streams.lake.manifest import Manifest


def progress(manifest: Manifest, ends: Offsets, now: float) -> dict[str, Any]:
    """`ends` are the topics' log ends, `now` is UTC seconds.

    Freshness as everywhere: how long ago the broker took the newest record that is in, while others wait; else 0.
    """
    behind: dict[str, int] = {}
    for (topic, partition), end in ends.items():
        # Where there are none yet, a partition of a topic that was read before begins at 0.
        waiting = max(0, end - manifest.until.get((topic, partition), 0))
        behind[topic] = behind.get(topic, 0) + waiting
    waiting, kafka_time = sum(behind.values()), manifest.kafka_time
    age = max(0, round(now * 1000 - kafka_time / 1000)) if kafka_time else None
    return {
        "batch": manifest.number,
        "records_behind": waiting,
        "by_topic": behind,
        "freshness_ms": age if waiting else 0,
        "newest_record_time": iso_micros(kafka_time) if kafka_time else None,
    }
