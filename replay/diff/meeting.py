"""Two lakes brought to the same offsets: both are asked for a batch that ends where the topics end now.

While records flow one of them may have planned its batch further already. Then both are asked again, with newer ends.
Writes the control topic (barriers), reads topic ends and manifests.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from infra.generation import source_bounds
from infra.generations import Generation
from infra.kafka import CONFIRM_SECONDS, Offsets, admin, identities
from infra.settings import Settings
from replay.diff.errors import Behind, NoCommonOffsets, NotComparable
from replay.verify.barrier import POLL_SECONDS, Barrier
from schemas.errors import GenerationError
from serving.lake.reader import Lake, NoLake
from streams.lake.manifest import Manifest
from streams.lake.place import lake_root

Tell = Callable[[str], None]


@dataclass
class _Lake:
    """One of the two, and its manifest at the offsets that are wanted, once it is there."""

    generation: Generation
    barrier: Barrier
    newest: Manifest
    found: Manifest | None = None


def meet(
    settings: Settings, one: Generation, other: Generation, patience: float, tell: Tell = lambda _: None
) -> tuple[Manifest, Manifest]:
    """A manifest of each, at the same offsets of every partition that both read.

    `patience` is in seconds. Raises NotComparable if one has no lake, GenerationError if the topics are others by now,
    Behind or NoCommonOffsets when time is up, Unavailable.
    """
    one, other = (_of_now(settings, each) for each in (one, other))
    both = [_lake(settings, each) for each in (one, other)]
    topics = {**one.topics, **other.topics}
    until, tries = time.monotonic() + patience, 0
    while True:
        tries += 1
        _, ends = source_bounds(settings, replace(one, topics=topics))
        found = _reach(both, ends, until)
        if found is not None:
            return found
        if time.monotonic() > until:
            raise _too_late(both, ends, patience, tries)
        tell("a lake has gone past the offsets that were asked for; asking again")


def _reach(both: list[_Lake], ends: Offsets, until: float) -> tuple[Manifest, Manifest] | None:
    """None if one has gone past, or time is up."""
    wanted = [{at: offset for at, offset in ends.items() if at[0] in each.generation.topics} for each in both]
    for each in both:
        each.found = None
    while True:
        for each, offsets in zip(both, wanted, strict=True):
            # One that was there stays found, wherever it goes meanwhile.
            if each.found is None:
                look = each.barrier.look(offsets)
                each.newest = look.manifest
                if look.beyond:
                    return None
                if look.reached:
                    each.found = look.manifest
        if all(each.found for each in both):
            return both[0].found, both[1].found
        if time.monotonic() > until:
            return None
        for each, offsets in zip(both, wanted, strict=True):
            if each.found is None:
                each.barrier.ask(offsets)
        time.sleep(POLL_SECONDS)


def _too_late(both: list[_Lake], ends: Offsets, patience: float, tries: int) -> NoCommonOffsets:
    behind = [
        (
            sum(
                max(0, offset - each.newest.until.get(at, 0))
                for at, offset in ends.items()
                if at[0] in each.generation.topics
            ),
            each.generation.name,
        )
        for each in both
        if each.found is None
    ]
    records, name = max(behind, default=(0, ""))
    if records:
        return Behind(
            f"expected both lakes at the end of the topics within {patience:g} s; that of {name} is {records:,} "
            "records behind it. Let it catch up (`dataflow status`; its processes have to run), or name a longer "
            "--patience"
        )
    return NoCommonOffsets(
        f"expected both lakes to end a batch at the same offsets within {patience:g} s; {tries} times one of them had "
        "gone past already. Try again, or name a longer --patience"
    )


def _lake(settings: Settings, generation: Generation) -> _Lake:
    lake = Lake(lake_root(settings, generation.name))
    try:
        return _Lake(generation, Barrier(settings, generation.name, lake), lake.newest())
    except NoLake:
        raise NotComparable(
            f"expected a lake of {generation.name} with a finished batch, and there is none yet: its first batch takes "
            "some seconds after its processes start; `dataflow status` tells how they fare"
        ) from None


def _of_now(settings: Settings, generation: Generation) -> Generation:
    """With the partitions that its topics have now. Raises GenerationError if these are other topics by now."""
    prefix = settings.topic_prefix
    names = [prefix + topic for topic in generation.topics]
    found = identities(admin(settings.kafka_bootstrap_servers), names, CONFIRM_SECONDS)
    now = {name.removeprefix(prefix): identity for name, identity in found.items()}
    for topic, recorded in generation.topics.items():
        if topic not in now or now[topic].topic_id != recorded.topic_id:
            raise GenerationError(
                f"expected topic {topic} to be the one that {generation.name} began with, and it was deleted"
                f"{' and created again' if topic in now else ''}: its offsets mean nothing any more. "
                "`dataflow generation new` starts over from the topics as they are"
            )
    return replace(generation, topics=now)
