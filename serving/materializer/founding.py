"""What has to be in Redis before the first run: the definition, where each partition begins, what was lost. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from infra.kafka import Offsets
from schemas.errors import GenerationError
from serving.materializer.rebuild import Rebuild, needed
from serving.store.keys import Keys, place
from serving.store.store import Argument, Claimed, Operation

At = tuple[str, int]


@dataclass(frozen=True)
class Founding:
    """The fences to go on from, what has to be reached before anything is shown, and what to write first."""

    fences: Offsets
    rebuild: Rebuild
    operations: list[Operation]


def found(
    claimed: Claimed,
    definition: str,
    starts: Offsets,
    ends: Offsets,
    judged: tuple[Mapping[int, int], Mapping[int, int]],
    keys: Keys,
    lost: Mapping[At, tuple[int, int]] | None = None,
    filled: Offsets | None = None,
) -> Founding:
    """Take over what a claim saw; the generation began at `starts`, and up to before `filled` it is filled.

    `ends` are those of the source topics, `judged` says where the judged topic begins and ends, `lost` which offsets
    from the fences on are in neither Kafka nor bronze.

    Raises GenerationError if it was folded by another `definition`, or if what comes next is lost, or the topics no
    longer hold what was applied last.
    """
    if claimed.spec not in (None, definition):
        raise GenerationError(
            f"{keys.space}* was folded by other metrics, rules or columns, SHOP_TIMEZONE or MAX_EVENT_BYTES (expected "
            f"definition {claimed.spec}, saw {definition}): put them back, or let `dataflow generation new` fold "
            "everything again by the new ones"
        )
    new = {at: offset for at, offset in starts.items() if at not in claimed.base}
    begun = {at: (filled or {}).get(at, offset) for at, offset in new.items()}
    fences = claimed.fences | begun
    if lost:
        gone = ", ".join(
            f"{place(*at)} (from {since} to before {until})" for at, (since, until) in lost.items()
        )
        raise GenerationError(
            f"the topics no longer hold what comes next in {gone}: retention or DeleteRecords took it, and bronze does "
            "not have it. `dataflow generation new` starts over from what is there"
        )
    shorter = [
        f"{place(*at)} ({fence}, ends at {ends[at]})"
        for at, fence in fences.items()
        if fence > ends.get(at, fence)
    ]
    if shorter:
        raise GenerationError(
            f"the topics end before what was applied from them: {', '.join(shorter)}. The broker has lost records that "
            "are in these numbers, and gives their offsets to others; `dataflow generation new` starts over from "
            "what is there"
        )
    rebuild = needed(claimed, fences, ends, *judged)
    meta: list[Argument] = ["spec", definition, "server", claimed.server_now, *rebuild.fields()]
    operations: list[Operation] = [("S", keys.meta, meta)]
    for key, offsets in ((keys.base, new), (keys.fence, begun)):
        if offsets:
            operations.append(("S", key, [part for at, o in offsets.items() for part in (place(*at), o)]))
    return Founding(fences, rebuild, operations)
