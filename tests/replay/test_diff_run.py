"""Two generations compared while they are at work: at offsets that both come to, each by a process of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal

import pytest
from confluent_kafka import Producer

from dataflow.main import OK
from infra.bootstrap import bootstrap
from infra.generation import begin_generation, source_bounds
from infra.generations import LIVE, State, change_generations, read_generations
from infra.runtime.platform import ROOT
from replay.diff.diff import diff
from replay.diff.errors import Behind, NotComparable, NotExtracted
from replay.diff.extracting import own_code
from replay.scratch import scratch
from replay.verify.verify import newest_manifest
from schemas.errors import GenerationError
from streams.lake.barrier import Barriers
from tests.cli.kit import Shell
from tests.helpers import wait_for
from tests.replay.lakes import GenerationLake, with_another
from tests.replay.test_diff_extract import an_order
from tests.streams.lake.shop import PARTITIONS, judged_events, judged_history

DIFFERENT = 1
DAYS = "2026-01-01..2026-12-31"


class World:
    """Two generations over the same topics; what is produced are the records of `judged`, from their beginning on."""

    def __init__(self, settings, judged):
        self.settings, self.judged = settings, judged
        bootstrap(settings)
        second = begin_generation(settings, 2)
        now = change_generations(settings, lambda _: {second.name: second.as_json()})
        self.generations = {number: known.generation for number, known in now.known.items()}
        self.lakes = {}
        self._producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "log_level": 2})
        self._produced = 0

    def produce(self, share=1.0):
        """Up to so much of each topic."""
        for topic, records in self.judged.items():
            for partition in range(PARTITIONS):
                mine = records.filter(records["partition"] == partition).sort("offset")
                first, last = (int(mine.height * part) for part in (self._produced, share))
                for row in mine[first:last].iter_rows(named=True):
                    name = self.settings.topic_prefix + topic
                    self._producer.produce(name, row["value"], row["key"], partition)
        assert not self._producer.flush(30)
        self._produced = share

    def ends(self):
        return source_bounds(self.settings, self.generations[1])[1]

    def fill(self, number, judged=None, seed=1):
        """A lake that has everything."""
        lake = self.lakes[number] = GenerationLake(self.settings, f"g{number}")
        lake.fill(judged or self.judged, seed, 400)
        return lake

    def state(self, number, state):
        change_generations(self.settings, lambda _: {f"g{number}/state": {"state": state}})

    @contextmanager
    def at_work(self, number, pause) -> Iterator[None]:
        """A lake that follows the topics, and ends batches where it is asked to, as the job does."""
        lake = GenerationLake(self.settings, f"g{number}")
        stop, failed = threading.Event(), []

        def work():
            barriers = Barriers(self.settings, self.generations[number])
            try:
                while not stop.wait(pause):
                    since = {at: lake.manifest.until.get(at, 0) for at in self.ends()}
                    for until in barriers.ends(since, self.ends(), 100_000):
                        lake.run_to(self.judged, until)
            except BaseException as error:
                failed.append(error)
                raise
            finally:
                barriers.close()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        assert not failed

    def left(self):
        """What comparisons have left behind."""
        place = self.settings.state_dir / "diff"
        return [each for each in place.iterdir() if each.is_dir()] if place.exists() else []


@pytest.fixture
def world(settings):
    return World(settings.replace(kafka_partitions=PARTITIONS), judged_history(1_000, 41))


@pytest.fixture
def both(world):
    """Two lakes that have everything, cut in two ways."""
    world.produce()
    world.fill(1, seed=1)
    world.fill(2, seed=2)
    return world


@pytest.mark.slow
def test_two_generations_of_the_same_records_are_equal_and_nothing_is_left(both):
    found = diff(both.settings)
    assert found.equal, [each.title for each in found.differing]
    assert (found.one.generation, found.one.live) == ("g1", True)
    assert (found.other.generation, found.other.live) == ("g2", False)
    assert found.offsets == both.ends()
    assert abs(found.made_at - time.time()) < 60
    assert both.left() == []
    # The other way round, too.
    assert diff(both.settings, 2, 1).one.generation == "g2"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("replay.diff.tables.MEMORY", "1MB")
        with pytest.raises(NotComparable, match="compare less, with --table or --metric, or make room"):
            diff(both.settings)
    assert both.left() == []


@pytest.mark.longhaul
@pytest.mark.slow
def test_while_records_flow_both_come_to_the_same_offsets(world):
    world.produce(0.1)
    with world.at_work(1, 0.2), world.at_work(2, 0.9):
        for number in (1, 2):
            wait_for(
                lambda number=number: newest_manifest(world.settings, f"g{number}"), what="a first batch"
            )
        stop = threading.Event()

        def flow():
            for step in range(11, 100):
                world.produce(step / 100)
                if stop.wait(0.1):
                    return

        thread = threading.Thread(target=flow)
        thread.start()
        try:
            found = [diff(world.settings, patience=60) for _ in range(2)]
        finally:
            stop.set()
            thread.join()
    assert all(each.equal for each in found)
    assert 0 < found[0].records <= found[1].records


@pytest.mark.slow
def test_code_with_another_metric_is_told_by_its_metric(both, tmp_path):
    # Beside a topic that neither lake knows, and its metric.
    directory = tmp_path / "contracts"
    shutil.copytree(ROOT / "examples" / "returns", directory)
    with (directory / "metrics.py").open("a") as declarations:
        declarations.write(
            'SHIPPED = Metric("shipped", "Orders by country.", "orders", "order_date", '
            '(Count("orders", "Orders."),), by=("shipping_country",))\nMETRICS = (RETURNS, SHIPPED)\n'
        )
    own = own_code(both.settings, read_generations(both.settings))

    def environment_of(number):
        return own(number) if number == 1 else {**own(number), "DATAFLOW_CONTRACTS": str(directory)}

    found = diff(both.settings, environment_of=environment_of)
    assert not found.differing
    assert [each.title for each in found.only_other] == ["shipped by day", "shipped in all"]
    assert not found.equal


@pytest.mark.cases(0)
def test_what_the_other_code_says_when_it_fails_is_told(both, tmp_path):
    own = own_code(both.settings, read_generations(both.settings))
    with pytest.raises(NotExtracted, match=r"code of g1 .* No module named"):
        diff(both.settings, environment_of=lambda number: {**own(number), "PYTHONPATH": str(tmp_path)})
    assert both.left() == []


def test_what_cannot_be_compared_is_said_before_anything_is_done(world):
    settings = world.settings
    world.produce()
    with pytest.raises(GenerationError, match="g9 was never started"):
        diff(settings, 1, 9)
    with pytest.raises(NotComparable, match="saw g1 twice"):
        diff(settings, 1, 1)
    with pytest.raises(NotComparable, match="expected a lake of g1 with a finished batch"):
        diff(settings)
    world.fill(1)
    with pytest.raises(NotComparable, match="expected a lake of g2 with a finished batch"):
        diff(settings)
    world.state(2, State.PAUSED)
    with pytest.raises(NotComparable, match="g2 to run, and it is paused"):
        diff(settings, 1, 2)
    with pytest.raises(GenerationError, match="another generation than g1 that runs"):
        diff(settings)
    world.state(2, State.GONE)
    with pytest.raises(GenerationError, match="g2 is gone"):
        diff(settings, 1, 2)
    assert not (settings.state_dir / "diff").exists()


def test_a_lake_that_does_not_come_in_time_is_told_by_how_much(world):
    world.produce()
    world.fill(1)
    lake = GenerationLake(world.settings, "g2")
    lake.run({topic: records.head(3) for topic, records in world.judged.items()})
    behind = sum(world.ends().values()) - sum(lake.manifest.until.values())
    with pytest.raises(Behind, match=f"of g2 is {behind:,} records behind"):
        diff(world.settings, patience=0.5)


@pytest.mark.slow
@pytest.mark.cases(0)
def test_the_newest_other_one_that_runs_is_the_default(both):
    third = replace(both.generations[2], number=3)
    change_generations(
        both.settings, lambda _: {third.name: third.as_json(), LIVE: {"number": 2, "before": 1}}
    )
    both.fill(3, seed=3)
    found = diff(both.settings)
    assert (found.one.generation, found.other.generation) == ("g2", "g3")
    assert read_generations(both.settings).live == 2


# --- the command


@pytest.fixture
def command(world, capsys, monkeypatch):
    for name, value in world.settings.environ().items():
        monkeypatch.setenv(name, value)
    return Shell(capsys)


@pytest.mark.slow
def test_the_command_tells_a_difference_as_text_json_and_a_page(world, command, tmp_path):
    order = an_order(7, order_id="00000000-0000-4000-8000-0000000000aa", total_amount=Decimal("12.50"))
    more = with_another(world.judged, judged_events([("orders", order)]), "orders")
    lakes = world.fill(1), world.fill(2, more)
    # The record is there for both, and g1's code has left it out.
    lakes[0].manifest = lakes[0].store.write(
        replace(lakes[0].manifest, number=lakes[0].manifest.number + 1, until=lakes[1].manifest.until), {}
    )
    world.judged = more
    world.produce()
    assert command.run("replay", "diff", "--table", "fct_orders", "--day", DAYS) == DIFFERENT, command.err
    assert command.out.startswith("Different: 1 of 1 table.\ng1 and g2 at the same offsets, ")
    assert "only the days 2026-01-01 to 2026-12-31" in command.out
    assert re.search(r"\ntable fct_orders: [\d,]+ → [\d,]+ rows; 1 only in g2\n", command.out)
    assert "order_id=00000000-0000-4000-8000-0000000000aa: gross 12.50" in command.out
    assert (
        command.run("replay", "diff", "g2", "1", "--metric", "revenue", "--metric", "items", "--json")
        == DIFFERENT
    )
    told = json.loads(command.out)
    assert (told["one"]["generation"], told["one"]["live"], told["equal"]) == ("g2", False, False)
    assert {r["title"]: r["equal"] for r in told["relations"]} == {
        "revenue by day": False,
        "revenue in all": False,
        "items by day": True,
        "items in all": True,
    }
    page = tmp_path / "page.html"
    assert command.run("replay", "diff", "--html", str(page), "--table", "orders") == DIFFERENT
    assert command.out == f"Different: 1 of 1 table. The page is {page}\n"
    assert "***" in page.read_text()
    assert order["shipping_address"] not in page.read_text()


@pytest.mark.slow
@pytest.mark.cases(0)
def test_a_comparison_that_is_killed_leaves_nothing_behind_the_next_one(both):
    settings = both.settings.replace(dataflow_failpoint="diff.before_compare")
    environment = {**os.environ, **settings.environ(), "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-m", "dataflow", "replay", "diff", "--metric", "events"]
    ended = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == -9, ended.stderr
    [left] = both.left()
    assert (left.stat().st_mode & 0o777) == 0o700, "it holds personal data"
    assert list(left.rglob("*.parquet"))
    ended = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == OK, ended.stderr
    assert ended.stdout.startswith("Equal: every row of 0 tables and 1 metric.\n")
    assert both.left() == []


def test_one_that_works_is_left_alone_by_another(both):
    with scratch(both.settings, "diff") as home:
        (home / "file").touch()
        with scratch(both.settings, "diff") as second:
            assert second != home
        assert (home / "file").exists()
    assert both.left() == []
