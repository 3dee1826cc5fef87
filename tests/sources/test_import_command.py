"""`dataflow import` says what became of every line, ends with the right exit code, and a killed run can be repeated."""

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow.commands.import_ import command
from infra.bootstrap import bootstrap
from infra.kafka import admin, consumer, log_bounds
from infra.runtime.errors import NotRunning
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.topics import DEAD_LETTER
from sources.importer import MappingError
from tests.helpers import wait_for
from tests.sources.importer_kit import HEADER, MAPPING, run, varied, write_mapping

ROOT = Path(__file__).parents[2]
EXCERPT = ROOT / "tests" / "fixtures" / "online-retail-excerpt.csv"
EXAMPLE = ROOT / "examples" / "online-retail" / "mapping.yaml"


def invoke(*args: object) -> int:
    return command.main([str(arg) for arg in args], standalone_mode=False)


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    monkeypatch.setenv("DATAFLOW_ENV_FILE", "")
    monkeypatch.setenv("DATAFLOW_HOME", str(tmp_path / "home"))


def test_a_dry_run_needs_no_platform_and_shows_the_account(capsys):
    assert invoke(EXCERPT, "--mapping", EXAMPLE, "--dry-run") == 0
    out = capsys.readouterr().out
    for text in ("337", "price_not_positive", "would be sent (dry run)", "= all lines", "-6,327.969"):
        assert text in out


def test_the_report_and_the_json_output_are_the_same_account(capsys, tmp_path):
    assert invoke(EXCERPT, "--mapping", EXAMPLE, "--dry-run", "--json", "--report", tmp_path / "r.json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "r.json").read_text())
    total = printed["total"]
    assert total["lines"] == total["accepted"] + total["refused"] + total["duplicates"] == 337
    assert {"line", "file", "detail"} <= set(printed["examples"]["not_a_sale"][0])


def test_refused_lines_are_no_failure_and_a_damaged_file_is(capsys, tmp_path):
    write_mapping(tmp_path, MAPPING)
    (tmp_path / "a.csv").write_text(HEADER + "1,s,0,1.00,2011-01-01\n")
    assert invoke(tmp_path / "a.csv", "--mapping", tmp_path / "mapping.yaml", "--dry-run") == 0
    (tmp_path / "b.csv").write_bytes(gzip.compress((HEADER + "1,s,1,1.00,2011-01-01\n").encode())[:-4])
    assert invoke(tmp_path / "b.csv", "--mapping", tmp_path / "mapping.yaml", "--dry-run") == 1
    assert "b.csv: damaged after line 2" in capsys.readouterr().err


def test_a_wrong_mapping_stops_before_anything_is_read(tmp_path):
    path = write_mapping(tmp_path, varied(colour="red"))
    with pytest.raises(MappingError, match="unknown key 'colour'"):
        invoke(tmp_path / "does-not-matter.csv", "--mapping", path, "--dry-run")


def contents(settings: Settings) -> dict[str, list[tuple[bytes, bytes, dict[str, bytes]]]]:
    """Everything in the environment's source topics and dead letters: key, value, headers."""
    names = [settings.topic_prefix + name for name in (*CONTRACTS, DEAD_LETTER)]
    client = admin(settings.kafka_bootstrap_servers)
    partitions = [(name, p) for name in names for p in range(settings.kafka_partitions)]
    start, end = log_bounds(client, partitions)
    expected = sum(end[key] - start[key] for key in partitions)
    reader = consumer(settings.kafka_bootstrap_servers, "import-test", **{"auto.offset.reset": "earliest"})
    found: dict[str, list] = {name: [] for name in (*CONTRACTS, DEAD_LETTER)}
    try:
        reader.subscribe(names)

        def all_read() -> bool:
            for message in reader.consume(1_000, 0.2):
                topic = message.topic().removeprefix(settings.topic_prefix)
                found[topic].append((message.key(), message.value(), dict(message.headers() or [])))
            return sum(map(len, found.values())) >= expected

        wait_for(all_read, 60, f"{expected} records")
    finally:
        reader.close()
    return found


def start_import(settings: Settings, *args: object) -> subprocess.Popen:
    program = "import sys; from dataflow.commands.import_ import command; sys.exit(command.main(standalone_mode=False))"
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, args)],
        cwd=ROOT,
        env={**os.environ, **settings.environ()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_an_import_reaches_kafka_with_its_dead_letters(settings):
    bootstrap(settings)
    with start_import(settings, EXCERPT, "--mapping", EXAMPLE) as importing:
        assert (importing.wait(60), importing.stderr.read()) == (0, b"")
    found = contents(settings)
    assert {topic: len(records) for topic, records in found.items() if records} == {
        "customers": 24,
        "products": 261,
        "orders": 32,
        "order_items": 297,
        DEAD_LETTER: 17,
    }
    letters = {key: (value, headers) for key, value, headers in found[DEAD_LETTER]}
    value, headers = letters[b"online-retail-excerpt.csv:336"]
    assert value == EXCERPT.read_bytes().splitlines()[335]
    assert headers["reasons"] == b"bad_debt_adjustment"
    assert headers["source_topic"] == b"import:online-retail"


@pytest.mark.cases(0)
def test_an_import_killed_half_way_and_repeated_leaves_what_one_import_would(settings, tmp_path):
    bootstrap(settings)
    lines = "".join(f"{i // 5},s{i},{i % 7},1.50,2011-01-{i % 28 + 1:02}\n" for i in range(60_000))
    _, expected = run(tmp_path, HEADER + lines)
    arguments = tmp_path / "lines.csv", "--mapping", tmp_path / "mapping.yaml"
    client = admin(settings.kafka_bootstrap_servers)
    partitions = [(settings.topic_prefix + "order_items", p) for p in range(settings.kafka_partitions)]
    with start_import(settings, *arguments) as killed:
        wait_for(lambda: sum(log_bounds(client, partitions)[1].values()) > 0, 60, "the first records")
        os.killpg(killed.pid, signal.SIGKILL)
        assert killed.wait(10) == -signal.SIGKILL
    before = sum(log_bounds(client, partitions)[1].values())
    assert 0 < before < len(expected.of("order_items"))
    with start_import(settings, *arguments) as again:
        assert again.wait(90) == 0, again.stderr.read()
    found = contents(settings)
    assert len(found["order_items"]) >= before + len(expected.of("order_items"))
    bodies = {(topic, key, value[5:]) for topic, key, value in expected.records if topic in CONTRACTS}
    assert {(topic, key, value[5:]) for topic in CONTRACTS for key, value, _ in found[topic]} == bodies
    assert {key for key, _, _ in found[DEAD_LETTER]} == {line.key for line in expected.lines}


def test_without_a_platform_an_import_says_how_to_start_one(tmp_path):
    run(tmp_path, HEADER)
    with pytest.raises(NotRunning, match="dataflow up"):
        invoke(tmp_path / "lines.csv", "--mapping", tmp_path / "mapping.yaml")
