"""The lake of the generation that is live now: where a query of one's own begins. Reads the log of generations."""

from infra.generations import read_generations
from infra.settings import Settings
from serving.lake.reader import Lake, no_lake
from streams.lake.manifest import Manifest
from streams.lake.place import lake_root


def live_lake(settings: Settings) -> tuple[Lake, Manifest]:
    """The lake that the pointer names, and its newest manifest: both of one generation, whatever is promoted since.

    Raises NoLake if no batch of it has ended, Unavailable if the broker does not answer.
    """
    live = read_generations(settings).live
    if live is None:
        raise no_lake()
    lake = Lake(lake_root(settings, f"g{live}"))
    return lake, lake.newest()
