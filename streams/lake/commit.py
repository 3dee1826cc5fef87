"""The one way in which anything is committed to a table of the lake."""

from collections.abc import Mapping

from deltalake import CommitProperties


def once(note: Mapping[str, str]) -> CommitProperties:
    """A commit that is tried as the next version after the one that is known, and as no other. `note` goes with it.

    Where files are only put together or cleaned up, deltalake tries again all the same: see `streams.lake.upkeep`.
    """
    return CommitProperties(custom_metadata=dict(note), max_commit_retries=0)
