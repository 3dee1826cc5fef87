"""A user's own topic gets another column after it has been in use: the lake takes it in with the next start.

All runs as processes with the user's own contracts; the contracts of this one are the shop's alone.
"""

import io
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import duckdb
import fastavro
import pytest
from confluent_kafka import Producer
from deltalake import DeltaTable

from dataflow.testing.process import JobProcess
from infra.entry import EXIT_TERMINAL
from infra.registry import Registry
from infra.runtime import jobs
from infra.runtime.platform import ROOT
from infra.setup import find_java
from serving.lake.reader import Lake, NoLake
from streams.lake.place import lake_root
from tests.helpers import wait_for

EXAMPLE = ROOT / "examples" / "returns"
COURIER = {"name": "courier", "type": ["null", "string"], "default": None, "doc": "Who brings it."}
STATES = ("announced", "received", "turned_down")
START = datetime(2026, 3, 2, tzinfo=UTC)
pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.timeout(1_200)]


class Parcels:
    """Makes returns and produces them under the newest schema of the directory."""

    def __init__(self, settings, chance):
        self.settings, self.chance, self.sent = settings, chance, []
        self.producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "log_level": 2})

    def uuid(self):
        return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))

    def send(self, count, again=0, **fields):
        """So many new ones, each with a second version, and some of those that were sent before, as they were."""
        events = self.chance.sample(self.sent, again)
        for _ in range(count):
            first = {
                "return_id": self.uuid(), "order_id": self.uuid(), "cause": "damaged", "state": "announced",
                "refund": Decimal(0), "note": None, "announced_at": START, "source": "test", "op": "c",
            }  # fmt: skip
            for version in (1, 2):
                change = {"event_id": self.uuid(), "version": version, "state": self.chance.choice(STATES)}
                at = START + timedelta(hours=self.chance.randrange(99))
                self.sent.append({**first, **change, "occurred_at": at, **fields})
                events.append(self.sent[-1])
        schema = json.loads((self.settings.dataflow_contracts / "avro" / "returns.avsc").read_text("utf-8"))
        registry = Registry(self.settings.kafka_schema_registry)
        schema_id = registry.register(f"{self.settings.topic_prefix}returns-value", schema)
        registry.close()
        parsed = fastavro.parse_schema(schema)
        for event in events:
            out = io.BytesIO(struct.pack(">bI", 0, schema_id))
            out.seek(5)
            fastavro.schemaless_writer(out, parsed, event)
            name = f"{self.settings.topic_prefix}returns"
            self.producer.produce(name, out.getvalue(), event["return_id"].encode())
        assert self.producer.flush(60) == 0
        return len(events)


def run(settings, *arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, env={**os.environ, **settings.environ()},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def lake_spec(settings):
    return jobs.lake_spec(settings, find_java(settings.java_home))


def settled(settings, job, records):
    """Wait until the lake has so many records; a second computation says that it has them right."""
    lake = Lake(lake_root(settings, "g1"))

    def there():
        job.tend()
        try:
            return sum(lake.newest().counts.values()) == records
        except NoLake:
            return False

    wait_for(there, 120, f"{records} records in the lake")
    verdict = run(settings, "dataflow", "verify", "--lake-only", "--json")
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
    assert json.loads(verdict.stdout)["records"] == records
    return lake.newest()


def couriers(settings, manifest):
    """How many rows there are of each courier."""
    table = DeltaTable(f"{lake_root(settings, 'g1')}/returns", version=manifest.tables["returns"])
    with duckdb.connect() as sql:
        rows = sql.execute(
            "SELECT courier, count(*) FROM (SELECT * FROM read_parquet(?, union_by_name = true) "
            "QUALIFY row_number() OVER (PARTITION BY return_id ORDER BY _batch DESC) = 1) GROUP BY courier",
            [table.file_uris()],
        )
        return dict(rows.fetchall())


def test_a_column_is_added_to_a_topic_that_is_in_use(settings, tmp_path):
    contracts = tmp_path / "contracts"
    for part in ("avro", "rules"):
        shutil.copytree(EXAMPLE / part, contracts / part)
    settings = settings.replace(dataflow_contracts=contracts, kafka_partitions=2)
    assert run(settings, "infra.bootstrap").returncode == 0
    parcels = Parcels(settings, random.Random(61))
    records = parcels.send(60)
    with JobProcess(settings, lake_spec) as job:
        first = settled(settings, job, records)
        job.kill()

        file = contracts / "avro" / "returns.avsc"
        contract = json.loads(file.read_text("utf-8"))
        contract["fields"].insert(3, COURIER)
        file.write_text(json.dumps(contract), "utf-8")
        started = run(settings, "infra.bootstrap")
        assert started.returncode == 0, started.stderr
        records += parcels.send(20, again=30, courier="post")
        job.start()
        second = settled(settings, job, records)
        assert second.tables["returns"] > first.tables["returns"]
        assert couriers(settings, second) == {None: 60, "post": 20}
        repeats = sum(n for name, n in second.counts.items() if name.endswith(("/repeat", "/superseded")))
        assert (repeats, [name for name in second.counts if name.endswith("/refused")]) == (30, [])

        # What it cannot take in is refused, and leaves it as it is: with the column goes the rule about it.
        contract["fields"] = [field for field in contract["fields"] if field["name"] != "note"]
        file.write_text(json.dumps(contract), "utf-8")
        job.kill()
        job.launch()
        assert job.ended(120) == EXIT_TERMINAL
        assert "by other rules of returns: put it back" in job.log()
        assert "`dataflow generation new`" in job.log()
        assert Lake(lake_root(settings, "g1")).newest() == second
