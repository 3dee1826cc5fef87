"""What the end-to-end tests of the lake share: the job as a process that a test kills, and what has to be in it."""

import sys
from dataclasses import replace

from dataflow.testing.process import JobProcess
from infra.generation import current_generation, source_bounds
from infra.generations import Generation
from infra.runtime import jobs
from infra.runtime.spec import ProcessSpec
from infra.settings import Settings
from infra.setup import find_java
from schemas.contract import CONTRACTS
from schemas.tables import bronze
from serving.lake.reader import Lake, NoLake
from streams.lake.manifest import Manifest
from streams.lake.place import lake_root
from tests.helpers import wait_for
from tests.streams.lake.kit import verified

SETTLE_SECONDS = 300


class LakeJob(JobProcess):
    """The lake job as the supervisor would start it, or another `module` that runs it."""

    def __init__(self, settings: Settings, module: str | None = None) -> None:
        def spec_of(settings: Settings) -> ProcessSpec:
            spec = jobs.lake_spec(settings, find_java(settings.java_home))
            return spec if module is None else replace(spec, command=(sys.executable, "-m", module))

        super().__init__(settings, spec_of)

    @property
    def generation(self) -> Generation:
        """The live one."""
        return current_generation(self.settings)

    def lake(self) -> Lake:
        return Lake(lake_root(self.settings, self.generation.name))

    def newest(self) -> int:
        """The number of the newest manifest; 0 if there is none."""
        try:
            return self.lake().newest().number
        except NoLake:
            return 0

    def settle(self) -> Manifest:
        """Everything that is in the topics now is in the lake: each record once, and what it means. Tends the job."""
        manifest = self.reached()
        expect_each_once(self.lake(), manifest)
        verified(self.settings)
        return manifest

    def reached(self) -> Manifest:
        """Wait until everything that is in the topics now has a manifest. Tends the job."""
        lake, (_, ends) = self.lake(), source_bounds(self.settings, self.generation)

        def there() -> Manifest | None:
            self.tend()
            try:
                found = lake.newest()
            except NoLake:
                return None
            return found if all(found.until.get(place, 0) >= end for place, end in ends.items()) else None

        return wait_for(there, SETTLE_SECONDS, f"the lake at {sum(ends.values())} records")


def expect_each_once(lake: Lake, manifest: Manifest) -> None:
    """Bronze has every offset of topics that were written without transactions, from 0 to the manifest's, once."""
    for topic, contract in CONTRACTS.items():
        table = bronze(contract)
        with lake.open(manifest, table) as sql:
            rows = sql.execute(
                f'SELECT partition, count(*), count(DISTINCT "offset"), min("offset"), max("offset") '
                f"FROM {table.name} GROUP BY partition"
            ).fetchall()
        found = {p: counted for p, *counted in rows}
        expected = {
            p: [end, end, 0, end - 1] for (of, p), end in manifest.until.items() if of == topic and end
        }
        assert found == expected, topic
