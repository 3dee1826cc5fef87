"""When Redis may be shown again after it was lost, emptied or set back: how far the materializer has to come first.

An emptied Redis holds nothing that says what was shown, so it has to reach the ends that the source topics had. One
that was only started again may be older than what was shown, by commits whose verdicts are all on the judged topic: it
has to be read to its end, and no partition may be left that waits for a repeat.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from infra.kafka import Offsets
from serving.store.keys import Keys, place
from serving.store.store import Argument, Claimed, Operation

SOURCE, JUDGED = "rebuild:", "reread:"


@dataclass(frozen=True)
class Rebuild:
    """What has to be reached: `sources` fences, `judged` positions. Nothing: readers may be shown what is there."""

    sources: Offsets
    judged: Mapping[int, int]

    def __bool__(self) -> bool:
        return bool(self.sources or self.judged)

    def fields(self) -> list[Argument]:
        """Names and values in Redis."""
        found: list[Argument] = []
        for at, end in self.sources.items():
            found += (SOURCE + place(*at), end)
        for partition, end in self.judged.items():
            found += (f"{JUDGED}{partition}", end)
        return found

    def has_read(self, positions: Mapping[int, int]) -> bool:
        """Whether the judged topic is read as far as it has to be."""
        return all(positions.get(partition, 0) >= end for partition, end in self.judged.items())

    def reached(self, fences: Offsets) -> bool:
        return all(fences.get(at, 0) >= end for at, end in self.sources.items())

    def ended(self, keys: Keys) -> Operation:
        """Lets readers in."""
        return "D", keys.meta, self.fields()[::2]


def needed(
    claimed: Claimed,
    fences: Offsets,
    ends: Offsets,
    judged_first: Mapping[int, int],
    judged_ends: Mapping[int, int],
) -> Rebuild:
    """What a claim makes necessary, and what earlier claims have left.

    `ends` are those of the source topics; the judged topic reaches from `judged_first` to `judged_ends`, looked up
    after the claim: whoever wrote before can apply nothing more.
    """
    sources, judged = dict(claimed.rebuild), dict(claimed.reread)
    if claimed.spec is None:
        emptied = True
    elif claimed.server != claimed.server_now:
        # Verdicts that have aged out cannot be read again.
        emptied = any(first > claimed.judged.get(p, 0) for p, first in judged_first.items())
        judged |= {} if emptied else judged_ends
    else:
        return Rebuild(sources, judged)
    if emptied:
        sources |= {at: end for at, end in ends.items() if end > fences.get(at, 0)}
    return Rebuild(sources, judged)
