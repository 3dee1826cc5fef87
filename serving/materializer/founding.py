"""What has to be in Redis before the first run: the definition, where each partition begins, what was lost. Pure."""

from dataclasses import dataclass

from infra.kafka import Offsets
from schemas.errors import GenerationError
from serving.store.keys import Keys, place
from serving.store.store import Argument, Claimed, Operation


@dataclass(frozen=True)
class Founding:
    """The fences to go on from, the offsets that a rebuild has to reach, and what to write first."""

    fences: Offsets
    targets: Offsets
    operations: list[Operation]


def found(
    claimed: Claimed, definition: str, starts: Offsets, first: Offsets, ends: Offsets, keys: Keys
) -> Founding:
    """Take over what a claim saw, from topics that reach from `first` to `ends`; the generation began at `starts`.

    Raises GenerationError if it was folded by another `definition`, or if the topics no longer hold what comes next or
    what was applied last.
    """
    if claimed.spec not in (None, definition):
        raise GenerationError(
            f"{keys.space}* was folded by other metrics, rules or columns, SHOP_TIMEZONE or MAX_EVENT_BYTES (expected "
            f"definition {claimed.spec}, saw {definition}): put them back, or let `dataflow generation new` fold "
            "everything again by the new ones"
        )
    new = {at: offset for at, offset in starts.items() if at not in claimed.base}
    fences = claimed.fences | new
    gone = [place(*at) for at, fence in fences.items() if fence < first.get(at, 0)]
    if gone:
        raise GenerationError(
            f"the topics no longer hold what comes next in {', '.join(gone)}: retention or DeleteRecords took it; "
            "`dataflow generation new` starts over from what is there"
        )
    lost = [
        f"{place(*at)} ({fence}, ends at {ends[at]})"
        for at, fence in fences.items()
        if fence > ends.get(at, fence)
    ]
    if lost:
        raise GenerationError(
            f"the topics end before what was applied from them: {', '.join(lost)}. The broker has lost records that "
            "are in these numbers, and gives their offsets to others; `dataflow generation new` starts over from "
            "what is there"
        )
    targets = dict(claimed.rebuild)
    # What may have been shown before and may be missing now: nothing is shown until it is there again.
    if claimed.spec is None or claimed.server != claimed.server_now:
        targets |= {at: end for at, end in ends.items() if end > fences.get(at, 0)}
    meta: list[Argument] = ["spec", definition, "server", claimed.server_now]
    for at, end in targets.items():
        meta += (f"rebuild:{place(*at)}", end)
    operations: list[Operation] = [("S", keys.meta, meta)]
    begun = [part for at, offset in new.items() for part in (place(*at), offset)]
    if begun:
        operations += [("S", keys.base, begun), ("S", keys.fence, begun)]
    return Founding(fences, targets, operations)
