"""Where a generation begins that is completed from bronze, and whether bronze and Kafka meet at each seam. Pure.

Below the seam of a source partition its records are read from another generation's bronze, from the seam on from Kafka.
What is in neither must not be passed over: a generation that lacks records is not begun.
"""

from infra.generations import Archive, Generation
from infra.kafka import Offsets
from schemas.errors import GenerationError


def base_starts(generation: Generation, base: Generation, first: Offsets) -> Offsets:
    """Where bronze of `base` begins, by source partition of `generation`; where Kafka does for topics that it lacks."""
    return {
        (topic, p): base.start(topic, p) if _is_same(generation, base, topic) else first[topic, p]
        for topic, p in generation.partitions()
    }


def archived_starts(generation: Generation, base: Generation, first: Offsets, end: Offsets) -> Offsets:
    """Where each partition of `generation` begins: where bronze of `base` does if it has a seam, else where Kafka does.

    Kafka has what lies from `first` to before `end`. Raises GenerationError, which names each range that is in neither
    of the two.
    """
    archive, starts = generation.archive, base_starts(generation, base, first)
    missing = [
        f"{topic}/{p} from {since} to before {until} ({why})"
        for (topic, p), start in starts.items()
        for since, until, why in _missing(archive, topic, p, start, first, end)
    ]
    other = [
        topic
        for topic in generation.topics
        if any(archive.seams.get(topic, ())) and not _is_same(generation, base, topic)
    ]
    missing += [f"{topic} (it was created again since, or {base.name} never read it)" for topic in other]
    if missing:
        raise GenerationError(
            f"expected every record since {base.name} began in Kafka or in its bronze, and some are in neither: "
            f"{'; '.join(missing)}. Where only the lake of {base.name} is behind, let it catch up and try again; what "
            "is gone is gone: `dataflow generation new` begins with what the topics hold"
        )
    return {at: start if archive.seam(*at) else first[at] for at, start in starts.items()}


def _is_same(generation: Generation, base: Generation, topic: str) -> bool:
    known = base.topics.get(topic)
    return known is not None and known.topic_id == generation.topics[topic].topic_id


def _missing(
    archive: Archive, topic: str, partition: int, start: int, first: Offsets, end: Offsets
) -> list[tuple[int, int, str]]:
    """Ranges of a partition that are in neither, and why."""
    at = topic, partition
    seam, until = archive.seam(*at), archive.end(*at)
    found = []
    if until < seam and start < seam:
        bronze = f"bronze of g{archive.number} at manifest {archive.manifest} ends at {until}"
        found.append((max(start, until), seam, f"{bronze}, the seam is at {seam}"))
    if max(seam, start) < first[at]:
        found.append((max(seam, start), first[at], f"Kafka begins at {first[at]}, the seam is at {seam}"))
    if seam > end[at]:
        found.append((end[at], seam, f"the topic ends at {end[at]}, the seam is at {seam}"))
    return found
