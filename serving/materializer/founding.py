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


def found(claimed: Claimed, definition: str, first: Offsets, ends: Offsets, keys: Keys) -> Founding:
    """Take over what a claim saw, from topics that reach from `first` to `ends`.

    Raises GenerationError if it was folded by another `definition`, or if the topics no longer hold what comes next.
    """
    if claimed.spec not in (None, definition):
        raise GenerationError(
            f"{keys.space}* was folded by other metrics or another SHOP_TIMEZONE (expected definition {claimed.spec}, "
            f"saw {definition}): put them back, or let `dataflow generation new` fold everything again by the new ones"
        )
    gone = [place(*at) for at, fence in claimed.fences.items() if fence < first.get(at, 0)]
    if gone:
        raise GenerationError(
            f"the topics no longer hold what comes next in {', '.join(gone)}: retention or DeleteRecords took it; "
            "`dataflow generation new` starts over from what is there"
        )
    new = {at: offset for at, offset in first.items() if at not in claimed.base}
    fences = claimed.fences | new
    targets = dict(claimed.rebuild)
    # What may have been shown before and may be missing now: nothing is shown until it is there again.
    if claimed.spec is None or claimed.server != claimed.server_now:
        targets |= {at: end for at, end in ends.items() if end > fences.get(at, 0)}
    meta: list[Argument] = ["spec", definition, "server", claimed.server_now]
    for at, end in targets.items():
        meta += (f"rebuild:{place(*at)}", end)
    operations: list[Operation] = [("S", keys.meta, meta)]
    starts = [part for at, offset in new.items() for part in (place(*at), offset)]
    if starts:
        operations += [("S", keys.base, starts), ("S", keys.fence, starts)]
    return Founding(fences, targets, operations)
