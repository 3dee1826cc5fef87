"""docs/own-topic.md does what it says: its commands are run as they stand there, and answer what stands there."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from infra.code import here
from infra.entry import EXIT_TERMINAL, PINNED
from infra.generations import change_generations, read_generations
from infra.registry import Registry, subject
from infra.runtime.platform import Platform
from infra.settings import Settings
from tests.e2e.typed import HOST, ROOT, Page, Terminal
from tests.helpers import wait_for
from tests.page.browser import Chromium, chromium_path
from tests.serving.api.kit import free_port

PAGE = Page("own-topic.md")
EXAMPLE = ROOT / "examples" / "returns"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def env_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `.env` that the page tells to write."""
    path = tmp_path_factory.mktemp("own") / "env"
    path.write_text(PAGE.block("ini"))
    return path


def own_environment(platform: Platform, home: Path, name: str) -> Settings:
    """Settings of an environment on the tests' services. They leave DATAFLOW_CONTRACTS to the `.env`."""
    port = free_port()
    return platform.settings.replace(dataflow_env=name, dataflow_home=home, kafka_partitions=1, api_port=port)


@pytest.fixture(scope="module")
def terminal(
    platform: Platform, env_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Terminal]:
    """A second terminal, while `dataflow up` runs in the first."""
    home = tmp_path_factory.mktemp("home")
    settings = own_environment(platform, home, "own-topic")
    found = Terminal(settings, env_file, f"http://127.0.0.1:{settings.api_port}")
    log = home / "up.log"
    with log.open("w") as output:
        up = subprocess.Popen(
            [sys.executable, "-m", "dataflow", "up"],
            cwd=ROOT,
            env=found.environ,
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(
            lambda: up.poll() is not None or "Ctrl-C stops everything" in log.read_text(),
            280,
            "`dataflow up`",
        )
        assert up.poll() is None, log.read_text()
        assert found.url in log.read_text()
        assert f"{EXAMPLE}: topics returns; metrics returns" in log.read_text()
        yield found
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0, log.read_text()


@pytest.fixture(scope="module")
def followed(terminal: Terminal) -> Terminal:
    terminal.follow(PAGE)
    return terminal


@pytest.mark.parametrize(("file", "text"), PAGE.quotes())
def test_what_the_page_quotes_is_in_the_file(file: str, text: str) -> None:
    assert text in (ROOT / file).read_text("utf-8")


@pytest.mark.cases(0)
def test_the_page_does_what_it_says(followed: Terminal) -> None:
    rows = json.loads(followed.run(f"curl '{HOST}/v1/metrics/returns?grain=all'"))["rows"]
    assert rows == [
        {"parcels": 2, "refunds": 1, "refunded": "39.90", "average_refund": "39.90", "refund_rate": 0.5}
    ]
    totals = json.loads(followed.run(f"curl '{HOST}/v1/metrics/events?grain=all&by=topic'"))["rows"]
    [counted] = [row for row in totals if row["topic"] == "returns"]
    assert (counted["records"], counted["changed"], counted["refused"]) == (4, 3, 1)


def test_the_dead_letter_is_shown_without_personal_data(followed: Terminal) -> None:
    [letter] = json.loads(followed.run("dataflow dlq list --topic returns --json"))["letters"]
    shown = followed.run(f"dataflow dlq show {letter['id']} --json")
    assert "refund_only_when_refunded" in shown
    assert "15.00" in shown
    assert "Too small" not in shown


def test_openapi_describes_the_routes(followed: Terminal) -> None:
    document = json.loads(followed.run(f"curl {HOST}/openapi.json"))
    body = document["paths"]["/v1/events/returns"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert body["properties"]["cause"]["enum"] == [
        "damaged",
        "wrong_item",
        "not_as_described",
        "changed_mind",
    ]
    assert body["required"] == ["return_id", "order_id", "cause", "state", "announced_at"]
    assert {"/v1/metrics/returns", "/v1/metrics/returns/top"} <= document["paths"].keys()


def test_the_page_in_the_browser_shows_the_metric(followed: Terminal, tmp_path: Path) -> None:
    path = chromium_path()
    if path is None:
        pytest.skip("the page is tested in a real browser, and this machine has none")
    browser = Chromium(path, tmp_path)
    try:
        with browser.tab() as tab:
            tab.open(followed.url + "/")
            tab.wait("document.querySelector('#more-returns-refunded')?.textContent === '$39.90'")
            assert tab.text("#more h3") == "Returns"
            assert (tab.text("#more-returns-parcels"), tab.text("#more-returns-refund_rate")) == ("2", "0.5")
            tab.js("document.querySelector('#letters-open').click()")
            tab.wait("document.querySelector('#letters-rows tr') !== null")
            topics = tab.js("[...document.querySelector('#letters-topic').options].map((o) => o.value)")
            assert topics == ["", "returns"]
            assert "refund_only_when_refunded" in tab.rows("#letters-rows")[0]
            assert tab.errors() == []
    finally:
        browser.close()


@pytest.mark.cases(0)
def test_what_is_tried_here_keeps_a_generation_that_has_its_own_code_from_nothing(
    platform: Platform, env_file: Path, tmp_path: Path
) -> None:
    settings = own_environment(platform, tmp_path, "own-pinned")
    bare, own = Terminal(settings, None), Terminal(settings, env_file)
    assert bare.python("-m", "infra.bootstrap").returncode == 0
    change_generations(settings, lambda _: {"g1/code": here(settings).as_json()})
    pinned = own.python("-m", "infra.bootstrap", PINNED)
    assert (pinned.returncode, pinned.stderr) == (0, "")
    with closing(Registry(settings.kafka_schema_registry)) as registry:
        assert len(registry.versions(subject(settings, "returns"))) == 1
    assert own.python("-m", "infra.bootstrap").returncode == EXIT_TERMINAL

    # Nor does a schema that the registry refuses.
    other = shutil.copytree(EXAMPLE, tmp_path / "other")
    schema = other / "avro" / "returns.avsc"
    note = '"name": "note", "type": ["null", "string"]'
    text = schema.read_text("utf-8").replace(', "max_length": 1000, "pii": true', "")
    assert note in text
    schema.write_text(text.replace(note, note.replace("string", "long")), "utf-8")
    (tmp_path / "env").write_text(f"DATAFLOW_CONTRACTS={other}\n", "utf-8")
    wrong = Terminal(settings, tmp_path / "env")
    refused = wrong.python("-m", "infra.bootstrap")
    assert (refused.returncode, "incompatible" in refused.stderr) == (EXIT_TERMINAL, True), refused.stderr
    pinned = wrong.python("-m", "infra.bootstrap", PINNED)
    assert pinned.returncode == 0, pinned.stderr
    assert "g1 goes on without what is here: " in pinned.stderr


@pytest.mark.longhaul
def test_a_generation_that_began_before_the_topic_says_the_way_out_and_so_does_one_without_it(
    platform: Platform, env_file: Path, tmp_path: Path
) -> None:
    settings = own_environment(platform, tmp_path, "own-later")
    bare, own = Terminal(settings, None), Terminal(settings, env_file)
    assert bare.python("-m", "infra.bootstrap").returncode == 0

    refused = own.python("-m", "dataflow", "up")
    assert refused.returncode == 1
    assert "generation g1 began before there was a contract for returns" in refused.stderr
    assert "`dataflow generation new`" in refused.stderr
    # Nothing has come of it: without the topic it goes on.
    assert bare.python("-m", "infra.bootstrap").returncode == 0

    started = own.python("-m", "dataflow", "generation", "new", "--yes", "--keep")
    assert started.returncode == 0, started.stderr
    assert own.python("-m", "infra.bootstrap").returncode == 0
    without = bare.python("-m", "infra.bootstrap")
    assert without.returncode == EXIT_TERMINAL
    assert (
        "generation g2 counts returns too, which has no contract here: let DATAFLOW_CONTRACTS"
        in without.stderr
    )


@pytest.mark.longhaul
def test_to_start_over_makes_the_topics_that_it_needs(
    platform: Platform, env_file: Path, tmp_path: Path
) -> None:
    settings = own_environment(platform, tmp_path, "own-over")
    assert Terminal(settings, None).python("-m", "infra.bootstrap").returncode == 0
    started = Terminal(settings, env_file).python("-m", "dataflow", "generation", "new", "--yes", "--keep")
    assert started.returncode == 0, started.stderr
    assert "returns" in read_generations(settings).live_generation.topics
