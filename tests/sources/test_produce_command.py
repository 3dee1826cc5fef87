"""`dataflow produce` puts into Kafka what its ground truth says, repeatably, and ends in order when told to."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from dataflow.commands.produce import command
from infra.bootstrap import bootstrap
from infra.kafka import admin, consumer, log_bounds
from infra.registry import schema_ids
from infra.runtime.errors import NotRunning
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.errors import SettingsError
from sources.codec import EventCodec
from tests.helpers import wait_for
from tests.sources.recomputation import METRICS, Recomputed

ROOT = Path(__file__).parents[2]
PROGRAM = (
    "import sys; from dataflow.commands.produce import command; sys.exit(command.main(standalone_mode=False))"
)
HISTORY = ("--start", "2026-03-02", "--span", "6d", "--count", "6000", "--seed", "11", "--mix", "all-up")


def invoke(*args: object) -> int:
    return command.main([str(arg) for arg in args], standalone_mode=False)


@pytest.fixture
def environment(settings, monkeypatch) -> Settings:
    """An environment with topics and schemas, to which this process's variables point."""
    bootstrap(settings)
    for name, value in settings.environ().items():
        monkeypatch.setenv(name, value)
    return settings


def records_in(settings: Settings) -> list[tuple[str, bytes | None, bytes | None]]:
    """Everything in the source topics, each partition in its order."""
    names = [settings.topic_prefix + name for name in CONTRACTS]
    partitions = [(name, p) for name in names for p in range(settings.kafka_partitions)]
    start, end = log_bounds(admin(settings.kafka_bootstrap_servers), partitions)
    expected = sum(end[key] - start[key] for key in partitions)
    reader = consumer(settings.kafka_bootstrap_servers, "produce-test", **{"auto.offset.reset": "earliest"})
    found: list = []
    try:
        reader.subscribe(names)

        def all_read() -> bool:
            found.extend(reader.consume(1_000, 0.2))
            return len(found) >= expected

        wait_for(all_read, 60, f"{expected} records")
    finally:
        reader.close()
    return [(m.topic().removeprefix(settings.topic_prefix), m.key(), m.value()) for m in found]


def rows_of(document: dict, metric: str, grain: str) -> dict:
    return {
        tuple(key): {name: n for name, n in measures.items() if n}
        for *key, measures in document["rows"][metric][grain]
    }


def test_what_is_in_kafka_adds_up_to_the_ground_truth(environment, capsys, tmp_path):
    assert invoke(*HISTORY, "--truth", tmp_path / "truth.json", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    truth = json.loads((tmp_path / "truth.json").read_text())
    records = records_in(environment)
    assert report["records"] == len(records) == 6000
    assert sum(report["topics"].values()) == sum(report["intents"].values()) == 6000
    recomputed = Recomputed(records, EventCodec(schema_ids(environment)), datetime.now(UTC))
    for topic in CONTRACTS:
        assert {name: n for name, n in truth["verdicts"][topic].items() if n} == recomputed.verdicts[topic]
    for metric in METRICS:
        for grain in ("minute", "hour", "day", "all"):
            assert rows_of(truth, metric, grain) == recomputed.rows(metric, grain, "UTC")


def test_the_same_command_again_gives_the_same_bytes_and_changes_no_entity(environment, capsys):
    assert invoke(*HISTORY) == 0
    once = records_in(environment)
    assert invoke(*HISTORY) == 0
    twice = records_in(environment)
    assert sorted(map(repr, once * 2)) == sorted(map(repr, twice))
    codec, now = EventCodec(schema_ids(environment)), datetime.now(UTC)
    before, after = Recomputed(once, codec, now), Recomputed(twice, codec, now)
    for metric in METRICS:
        assert after.rows(metric, "hour", "UTC") == before.rows(metric, "hour", "UTC")
    assert "seed 11" in capsys.readouterr().out


def test_a_live_run_happens_now(environment, capsys):
    before = datetime.now(UTC)
    assert invoke("--count", 300, "--rate", 0, "--mix", "none") == 0
    codec = EventCodec(schema_ids(environment))
    times = [codec.decode(topic, value)["occurred_at"] for topic, _, value in records_in(environment)]
    assert len(times) == 300
    assert before <= min(times) <= max(times) <= datetime.now(UTC)
    assert "300 records" in capsys.readouterr().out


def start(settings: Settings, *args: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, args)],
        cwd=ROOT,
        env={**os.environ, **settings.environ()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("number", "args", "code"),
    [
        (signal.SIGINT, ["--forever", "--rate", "500"], 0),
        (signal.SIGTERM, ["--forever", "--rate", "500"], 0),
        (signal.SIGINT, ["--count", "1000000", "--rate", "500"], 130),
        (signal.SIGINT, ["--count", "150", "--rate", "0.5"], 130),
    ],
    ids=["ctrl-c", "terminated", "before-the-count", "while-it-waits"],
)
@pytest.mark.cases(1)
def test_a_run_that_is_stopped_flushes_and_reports(environment, number, args: Sequence[str], code):
    produced_at_once = ["--dial", "late=0"]
    client = admin(environment.kafka_bootstrap_servers)
    partitions = [(environment.topic_prefix + "products", p) for p in range(environment.kafka_partitions)]
    with start(environment, *args, *produced_at_once, "--json") as running:
        wait_for(lambda: sum(log_bounds(client, partitions)[1].values()) > 0, 30, "the first records")
        running.send_signal(number)
        out, error = running.communicate(timeout=20)
    assert running.returncode == code, error
    report = json.loads(out)
    assert report["stopped"]
    assert report["records"] == len(records_in(environment)) > 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--forever", "--count", "5"], "--forever"),
        (["--start", "2026-01-01"], "--span"),
        (["--start", "2999-01-01", "--span", "3d"], "yet to come"),
        (["--span", "3w"], "such as 90m, 12h or 3d"),
        (["--span", "0d"], "such as 90m, 12h or 3d"),
        (["--span", "3d", "--start", "yesterday"], "2026-03-01"),
        (["--truth", "/no/such/directory/t.json"], "no directory"),
    ],
)
def test_a_wrong_option_is_explained(monkeypatch, args, message):
    monkeypatch.setenv("DATAFLOW_ENV_FILE", "")
    with pytest.raises(click.UsageError) as caught:
        invoke(*args)
    assert message in caught.value.format_message()


def test_a_wrong_dial_is_explained(monkeypatch):
    monkeypatch.setenv("DATAFLOW_ENV_FILE", "")
    with pytest.raises(SettingsError, match="malfromed"):
        invoke("--dial", "malfromed=0.1")


def test_without_a_platform_it_says_how_to_start_one(monkeypatch, tmp_path):
    monkeypatch.setenv("DATAFLOW_ENV_FILE", "")
    monkeypatch.setenv("DATAFLOW_HOME", str(tmp_path))
    with pytest.raises(NotRunning, match="dataflow up"):
        invoke("--count", 1)
