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

from infra.runtime.platform import LIVE, Platform
from tests.e2e.kit import Rest
from tests.helpers import isolated_settings
from tests.sources.test_importer_online_retail import DATA, EXCERPT, MAPPING, ROOT, SeparateComputation

FILES = DATA or [EXCERPT]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_line_is_accounted_for_and_rest_agrees_with_the_files(tmp_path):
    settings = isolated_settings(tmp_path, dataflow_env="retail", shop_currency="GBP")
    separate = SeparateComputation(FILES)
    with Platform(settings, LIVE, preferred_ports=False) as platform:
        report = tmp_path / "account.json"
        command = [
            sys.executable,
            "-m",
            "dataflow",
            "import",
            "--mapping",
            str(MAPPING),
            "--report",
            str(report),
        ]
        environ = {**os.environ, **platform.settings.environ()}
        done = subprocess.run(
            [*command, *map(str, FILES)], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        account = json.loads(report.read_text())
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
