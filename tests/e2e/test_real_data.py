"""Real data through the whole platform: files by mapping, figures over REST, a separate computation over the files.

The excerpt is imported where the whole data set is not at hand. An environment of its own keeps it apart.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from decimal import Decimal

import pytest

from infra.runtime.platform import ALL, LIVE, Platform
from schemas.tables import TABLES
from serving.lake.reader import Lake
from serving.store.store import connect
from streams.lake.place import lake_root
from tests.e2e.kit import Rest
from tests.e2e.verify_kit import FILLED, Watched, exact_after_kills, exact_or_none, expect_exact
from tests.helpers import isolated_settings, wait_for
from tests.sources.test_importer_online_retail import DATA, EXCERPT, MAPPING, ROOT, SeparateComputation

FILES = DATA or [EXCERPT]
LONGEST = 1_800  # seconds for the slowest way to all of the data
WHOLE = pytest.mark.skipif(not DATA, reason="the data set is not at ../shared/data/online-retail")


@pytest.fixture
def retail(tmp_path):
    return isolated_settings(tmp_path, dataflow_env="retail", shop_currency="GBP")


@pytest.mark.longhaul
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_line_is_accounted_for_and_rest_agrees_with_the_files(retail, tmp_path):
    separate = SeparateComputation(FILES)
    with Platform(retail, LIVE, preferred_ports=False) as platform:
        account = imported(platform, FILES, tmp_path)
        counted = account["total"]
        assert counted["lines"] == separate.lines
        assert counted["accepted"] + counted["duplicates"] + counted["refused"] == separate.lines
        rest = Rest(platform.url)
        rest.caught_up(sum(account["events"].values()), 300)
        [revenue] = rest.get("/v1/metrics/revenue", grain="all")["rows"]
        assert Decimal(revenue["refunded"]) == -separate.value["credits"]
        assert Decimal(revenue["net"]) == separate.value["sales"]
        assert revenue["orders"] == len(separate.invoices)
        [items] = rest.get("/v1/metrics/items", grain="all")["rows"]
        assert Decimal(items["revenue"]) == separate.items["revenue"]
        assert (items["units"], items["lines"]) == (separate.items["units"], separate.items["lines"])
        [customers] = rest.get("/v1/metrics/customers", grain="all")["rows"]
        assert customers["new_customers"] == len(separate.customers)
        events = rest.get("/v1/metrics/events", grain="all", by="topic")["rows"]
        assert {row["topic"]: row["records"] for row in events} == +Counter(account["events"])
        assert {row["refused"] for row in events} == {0}
        assert rest.get("/v1/exactness")["exact"] is True
        rest.http.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "files",
    [
        pytest.param([EXCERPT], id="excerpt", marks=[pytest.mark.longhaul, pytest.mark.timeout(1_200)]),
        pytest.param(DATA, id="whole", marks=[pytest.mark.longhaul, pytest.mark.timeout(5_400), WHOLE]),
    ],
)
def test_gold_and_live_agree_at_a_barrier_on_the_real_data(retail, tmp_path, files):
    """And a computation over the files says the same of both, before and after kills."""
    separate = SeparateComputation(files)
    with Platform(retail.replace(verify_seconds=1), ALL, preferred_ports=False) as platform:
        account = imported(platform, files, tmp_path)
        records = sum(account["events"].values())
        rest = Rest(platform.url)
        rest.caught_up(records, LONGEST)
        verdict = expect_exact(platform.settings, FILLED, LONGEST)
        assert sum(verdict.manifest.counts.values()) == records
        [revenue] = rest.get("/v1/metrics/revenue", grain="all")["rows"]
        assert Decimal(revenue["net"]) == separate.value["sales"]
        lake = Lake(lake_root(platform.settings, verdict.manifest.generation))
        with lake.open(verdict.manifest, TABLES["fct_orders"]) as sql:
            [net] = sql.execute("SELECT sum(net) FROM fct_orders").fetchone()
        assert net == separate.value["sales"]
        watched = Watched(platform.settings)
        wanted = {"exact": True, "live": True, "at_barrier": True, "records": records}
        watched.wait("the verifier's word on all of it", timeout=LONGEST, **wanted)
        watched.redis.close()
        again = exact_after_kills(platform, ("lake", "materializer", "live"), FILLED, LONGEST)
        assert again.manifest.counts == verdict.manifest.counts
        redis = connect(platform.settings)
        redis.flushall()
        redis.close()
        wait_for(lambda: exact_or_none(platform.settings, FILLED), LONGEST, "the numbers to be there again")
        rest.http.close()


def imported(platform, files, tmp_path):
    """The importer's account of these files."""
    report = tmp_path / "account.json"
    command = [sys.executable, "-m", "dataflow", "import", "--mapping", str(MAPPING), "--report", str(report)]
    environ = {**os.environ, **platform.settings.environ()}
    done = subprocess.run(
        [*command, *map(str, files)], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(report.read_text())
