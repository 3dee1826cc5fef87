"""`python -m tests.streams.lake.driven HOME SEED [longer]`: fills the lake in HOME with a seeded shop, to the end.

It goes on where the lake is, tidies it all the time, and at the end holds it against the second computation. With
`longer` contracts have got columns since. DATAFLOW_FAILPOINT says where it is killed; PYTHONHASHSEED must be the same
for all that work on one lake, for the shop's hashes of content are Python's.
"""

import os
import random
import sys
from pathlib import Path

import pytest

from schemas.contract import CONTRACTS
from schemas.tables import bronze
from serving.lake.views import connect
from streams.lake import upkeep
from tests.streams.lake.newer import TOPICS, declare_anew, longer
from tests.streams.lake.restless import events
from tests.streams.lake.shop import judged_events
from tests.streams.lake.test_batches import Driver, cut, expect_right

EVENTS, SIZE = 400, 5
UPKEEP_EVERY = 3
upkeep.FOLD_FROM_ROWS, upkeep.SMALL_FILES = 10, 4


def main(home: Path, seed: int, is_longer: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for topic in TOPICS if is_longer else ():
            declare_anew(patch, home / "declared", topic, longer)
        driver = Driver(home, failpoint=os.environ.get("DATAFLOW_FAILPOINT"))
        tidy = upkeep.Upkeep(driver.store.failpoints, home / "scratch")
        batches = list(cut(judged_events(events(seed, EVENTS)), random.Random(seed), SIZE))
        for batch in batches[driver.manifest.number :]:
            driver.run(batch)
            if driver.manifest.number % UPKEEP_EVERY == 0:
                driver.manifest = driver.store.upkeep(tidy, driver.manifest)
        expect_right(driver.root, driver.manifest)
        expect_each_once(driver)


def expect_each_once(driver: Driver) -> None:
    """Bronze has every offset below the manifest's, once."""
    with connect(driver.root, driver.manifest) as lake:
        for topic, contract in CONTRACTS.items():
            rows = lake.execute(
                f'SELECT partition, count(*), count(DISTINCT "offset") FROM {bronze(contract).name} GROUP BY ALL'
            ).fetchall()
            ends = {p: end for (of, p), end in driver.manifest.until.items() if of == topic}
            assert {p: (all_, once) for p, all_, once in rows} == {p: (end, end) for p, end in ends.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), "longer" in sys.argv[3:])
