"""A user edits a metric in their tree while the demo runs, and does the rest on the page: run, compare, promote, back.

What every answer on the way says is computed again over exactly the offsets that it names, by the definition of the
generation that it names. The page of the live numbers is open all the time, and does not blink.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from dataflow.testing.services import isolated_settings
from infra.code import PACKAGES, ROOT
from infra.generations import read_generations
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from streams.lake.manifest import newest_manifest
from streams.lake.place import lake_root
from tests.e2e.kit import Across, Rest, expect_prefixes
from tests.helpers import wait_for
from tests.page.browser import Chromium, Tab, chromium_path
from tests.page.conftest import wait_live

OLD, NEW = "where=\"status = 'cancelled'\"", "where=\"status IN ('cancelled', 'paid')\""
DEFINED = {"g1": ("cancelled",), "g2": ("cancelled", "paid")}  # states that count as cancelled
PATIENCE = 600
# What the reader sees of trust, from now on: each word of the badge that is not the one before.
WATCH = """(() => {
  window.words = [];
  const note = () => {
    const word = document.querySelector('#state').textContent;
    if (window.words.at(-1) !== word) window.words.push(word);
  };
  note();
  const changes = {childList: true, characterData: true, subtree: true};
  new MutationObserver(note).observe(document.querySelector('#state'), changes);
})()"""

pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.timeout(2_400)]


@dataclass
class User:
    """Somebody with a working copy that runs, and its pages."""

    tree: Path
    settings: Settings
    url: str
    rest: Rest

    def edit(self) -> None:
        file = self.tree / "schemas" / "metrics.py"
        text = file.read_text("utf-8")
        assert text.count(OLD) == 1
        file.write_text(text.replace(OLD, NEW), "utf-8")

    def net(self) -> Decimal:
        [row] = self.rest.get("/v1/metrics/revenue", grain="all")["rows"]
        return Decimal(row["net"])


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    """`dataflow up --demo` in a working copy."""
    tree = tmp_path / "tree"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    settings = isolated_settings(tmp_path / "home", kafka_partitions=2, verify_seconds=10)
    log = tmp_path / "up.log"
    with log.open("w") as output:
        up = subprocess.Popen(
            [sys.executable, "-m", "dataflow", "up", "--demo"],
            cwd=tree,
            env={**os.environ, **settings.environ()},
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(lambda: up.poll() is not None or "Ctrl-C stops" in log.read_text(), 300, "`dataflow up`")
        assert up.poll() is None, log.read_text()
        [url] = [line.strip() for line in log.read_text().splitlines() if line.startswith("  http")]
        rest = Rest(url)
        yield User(tree, running_settings(settings), url, rest)
        rest.http.close()
    finally:
        up.terminate()
        assert up.wait(90) == 0, log.read_text()


@contextmanager
def tabs(home: Path) -> Iterator[tuple[Tab, Tab]]:
    home.mkdir()
    browser = Chromium(chromium_path(), home)
    try:
        with browser.tab() as one, browser.tab() as other:
            yield one, other
    finally:
        browser.close()


def act(page: Tab, button: str, title: str, confirmed: bool) -> str:
    """Press it, say yes where that is asked for, and wait for this title; returns what is told beneath it."""
    page.js(f"document.querySelector('{button}').click()")
    if confirmed:
        page.wait("!document.querySelector('#confirm').hidden")
        page.js("document.querySelector('#confirm-yes').click()")
    told = "document.querySelector('#told-title').textContent"
    page.wait(f"!['', 'Working'].includes({told})", PATIENCE)
    assert page.js(told) == title, page.text("#told")
    return page.text("#told")


def promotable(user: User) -> bool:
    """Whether g2 has caught up and is verified."""
    answer = user.rest.http.get("/v1/replays/g2")
    if answer.status_code == 503:
        return False
    assert answer.status_code == 200, answer.text
    found = answer.json()
    progress, verified = found["progress"], found["verified"]
    return bool(
        progress
        and progress["filled"] is None
        and max(progress["numbers_behind"], progress["lake_behind"]) < 1_000
        and verified
        and verified["exact"]
        and verified["whole_at"]
    )


@pytest.mark.skipif(chromium_path() is None, reason="it is done in a real browser, and this machine has none")
def test_a_metric_is_fixed_on_the_page_while_the_demo_runs_and_every_number_is_right(
    user: User, tmp_path: Path
) -> None:
    root = lake_root(user.settings, "g1")
    wait_for(lambda: (found := newest_manifest(root)) and found.number, PATIENCE, "the lake of g1")
    with tabs(tmp_path / "chromium") as (numbers, replays), Across(user.url, pause=0.2).asking() as reader:
        numbers.open(user.url + "/")
        wait_live(numbers)
        replays.open(user.url + "/replays")
        replays.wait("document.querySelector('#state').textContent === 'g1 is live'", PATIENCE)
        replays.wait("!document.querySelector('#acts').hidden", PATIENCE)
        numbers.js(WATCH)

        user.edit()
        replays.js("document.querySelector('#only-metrics').value = 'revenue'")
        told = act(replays, "#plan", "What a replay into g2 would do", confirmed=False)
        assert "Changes: metric revenue." in told
        assert list(read_generations(user.settings).known) == [1]
        act(replays, "#run", "Generation g2 has begun", confirmed=True)
        wait_for(lambda: promotable(user), PATIENCE, "g2, caught up and verified")

        replays.wait("document.querySelector('#chosen').value === 'g2'")
        told = act(replays, "[data-act=diff]", "How g2 differs from g1", confirmed=False)
        differing = replays.js(
            "[...document.querySelector('#told-more table').tBodies[0].rows].map((row) =>"
            " [...row.cells].map((cell) => cell.textContent))"
        )
        assert {row[0] for row in differing} == {"revenue by day", "revenue in all"}, told
        # Only in g1, only in g2, and the columns of rows that are in both.
        assert {tuple(row[3:]) for row in differing} == {("0", "0", "cancelled, net")}, told

        act(replays, "[data-act=promote]", "g2 is live", confirmed=True)
        wait_for(lambda: reader.generation == 2, 60, "answers of g2")
        wait_for(lambda: len([a for a in reader.answers if of(a) == "g2"]) > 50, 60, "more answers of g2")
        net = "document.querySelector('[data-value=net]').textContent"
        wait_for(lambda: digits(numbers.js(net)) == digits(user.net()), 60, "the page's net of g2")

        act(replays, "[data-act=rollback]", "g1 is live again", confirmed=True)
        wait_for(lambda: reader.generation == 1, 60, "answers of g1")
        wait_for(lambda: digits(numbers.js(net)) == digits(user.net()), 60, "the page's net of g1")
        words = numbers.js("window.words")
        errors = [*numbers.errors(), *replays.errors()]
    # Two more Spark jobs on a small machine may make records wait, which is said; nobody is disconnected.
    assert set(words) <= {"live", "stale"}, words
    assert errors == []
    assert reader.faults == []
    for name, states in DEFINED.items():
        answers = [each for each in reader.answers if of(each) == name]
        assert len(answers) > 50
        expect_prefixes(user.settings, answers, 6, states)


def of(answer: dict) -> str:
    return answer["as_of"]["generation"]


def digits(money: str | Decimal) -> str:
    """Its digits, whatever stands between them."""
    return "".join(filter(str.isdigit, str(money)))
