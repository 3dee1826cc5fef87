"""A disk that is full: whoever cannot write stops and says so, what was acknowledged stays, room brings all back.

The disk is a small tmpfs under a service's data, filled up by one file. Mounting one takes rights that few users have.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from dataflow.testing import Environment, Live, running_services, wait_for
from infra.bootstrap import bootstrap
from infra.registry import schema_ids
from schemas.errors import Unavailable
from sources.importer import Importer, KafkaSink, load_mapping
from sources.producer import EventProducer
from tests.bad_input.counting import measure
from tests.helpers import isolated_settings
from tests.serving.api.documents import order
from tests.serving.api.kit import assert_problem
from tests.sources.importer_kit import HEADER, MAPPING, NOW, write_mapping

SIZES = {"kafka": "96m", "valkey": "8m", "checkpoints": "4m"}
LINES = HEADER + "".join(f"{n},s,{n % 3},1.50,2011-01-01\n" for n in range(300))
pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.timeout(600)]


class TinyDisk:
    """A mounted tmpfs of a few MB."""

    def __init__(self, path: Path) -> None:
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """To the last byte, for as long as somebody else writes."""
        with self._ballast.open("ab", buffering=0) as out:
            for size in (1 << 16, 1 << 12, 1):
                while True:
                    try:
                        out.write(bytes(size))
                    except OSError:
                        break

    def leave(self, size: int) -> None:
        """Give so many bytes back, of what was filled."""
        os.truncate(self._ballast, max(0, self._ballast.stat().st_size - size))

    def make_room(self) -> None:
        self._ballast.unlink()


@contextmanager
def tiny_disk(path: Path, size: str) -> Iterator[TinyDisk]:
    """Skips the test where this user may not mount."""
    path.mkdir(parents=True)
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path],
            capture_output=True,
            text=True,
            check=False,
        )
        if sys.platform == "linux"
        else None
    )
    if mounted is None or mounted.returncode:
        pytest.skip(
            f"a small disk cannot be mounted here: {mounted.stderr.strip() if mounted else sys.platform}"
        )
    try:
        yield TinyDisk(path)
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@contextmanager
def live_on(name: str, home: Path) -> Iterator[tuple[Live, TinyDisk]]:
    """A live path whose `name` keeps its data on a tiny disk."""
    with ExitStack() as stack:
        disk = stack.enter_context(tiny_disk(isolated_settings(home).state_dir / name, SIZES[name]))
        services = stack.enter_context(running_services(home))
        settings = services.settings.replace(dataflow_home=home / "jobs", kafka_partitions=2)
        environment = Environment(settings, bootstrap(settings), schema_ids(settings))
        live = stack.enter_context(Live(environment))
        live.stream.produce_all([("orders", {"total_amount": "1.00"})] * 20)
        live.settled()
        yield live, disk
        assert name in {info.name for info in services.platform.supervisor.processes() if info.restarts}


def test_kafkas_disk_is_full_and_gets_room(tmp_path: Path) -> None:
    """Ingest and import say that nothing was taken; the numbers stay; then both are done again, and count once."""
    (tmp_path / "lines.csv").write_text(LINES)
    mapping = load_mapping(write_mapping(tmp_path, MAPPING))
    with live_on("kafka", tmp_path / "home") as (live, disk):
        document = order(event_id="0d5e8a3c-1b7e-4a53-8c6f-0d8f0a3c1b7e", total_amount="2.00")

        def imported() -> None:
            settings = live.settings
            producer = EventProducer(
                settings.kafka_bootstrap_servers,
                settings.topic_prefix,
                live.stream.codec.schema_ids,
                delivery_seconds=5,
            )
            Importer(mapping, KafkaSink(producer), NOW).run([tmp_path / "lines.csv"])

        disk.fill()
        wait_for(lambda: refuses(imported, disk), 90, "an import that is not taken")
        answer = live.http.post("/v1/events/orders", json=document, timeout=60)
        problem = assert_problem(answer, 503, "unavailable")
        assert (problem["retryable"], problem["event_id"]) == (True, document["event_id"])
        [shown] = live.get("/v1/metrics/revenue", grain="all")["rows"]
        assert shown["orders"] >= 20
        disk.make_room()
        wait_for(lambda: not refuses(imported, None), 120, "an import that is taken")
        answer = wait_for(lambda: accepted(live, document), 60, "an order that is taken")
        live.settled(180)
        # of 300 lines a third has no pieces
        assert measure(live, "revenue", "orders") == 20 + 200 + 1
        assert measure(live, "revenue", "gross") == 20 + 2 + 100 * (1 + 2) * 3 // 2
        exactness = live.get("/v1/exactness")
        assert (exactness["exact"], exactness["held"]) == (True, {})


def test_valkeys_disk_is_full_and_gets_room(tmp_path: Path) -> None:
    """What it has not on its disk it has not said; the records wait in Kafka."""
    with live_on("valkey", tmp_path / "home") as (live, disk):
        disk.fill()
        live.stream.produce_all([("orders", {"total_amount": "1.00"})] * 200)
        log = live.settings.state_dir / "materializer.log"
        wait_for(lambda: "claiming the state anew" in log.read_text(), 60, "the materializer's trouble")
        shown = live.http.get("/v1/metrics/revenue", params={"grain": "all"})
        assert shown.status_code == 503 or shown.json()["rows"][0]["orders"] >= 20
        disk.make_room()
        live.settled(120)
        assert measure(live, "revenue", "orders") == measure(live, "revenue", "gross") == 220
        exactness = live.get("/v1/exactness")
        assert (exactness["exact"], exactness["held"]) == (True, {})


def test_the_live_jobs_disk_is_full_and_gets_room(tmp_path: Path) -> None:
    """Neither where it is cannot be stored nor which query it runs: it says so, also if it starts then, and goes on."""
    with ExitStack() as stack:
        services = stack.enter_context(running_services(tmp_path / "services"))
        home = tmp_path / "jobs"
        settings = services.settings.replace(dataflow_home=home, kafka_partitions=2, live_trigger_seconds=5)
        environment = Environment(settings, bootstrap(settings), schema_ids(settings))
        disk = stack.enter_context(tiny_disk(settings.state_dir / "checkpoints", SIZES["checkpoints"]))
        live = stack.enter_context(Live(environment, spark=True))
        job = live.jobs["live"]
        live.stream.produce_all([("orders", {"total_amount": "1.00"})] * 20)
        live.settled()

        disk.fill()
        live.stream.produce_all([("orders", {"total_amount": "1.00"})] * 200)
        wait_for(lambda: "No space left" in job.log(), 120, "the job's trouble")
        [shown] = live.get("/v1/metrics/revenue", grain="all")["rows"]
        assert 20 <= shown["orders"] <= 220
        job.forget()  # it may have ended by itself
        job.launch()
        wait_for(lambda: "No space left" in job.log(), 180, "the same once more")
        job.tend()

        disk.make_room()
        live.settled(300)
        assert measure(live, "revenue", "orders") == measure(live, "revenue", "gross") == 220
        exactness = live.get("/v1/exactness")
        assert (exactness["exact"], exactness["held"]) == (True, {})


def refuses(act: Callable[[], None], disk: TinyDisk | None) -> bool:
    """Whether it ends with a message for the user; the disk is filled again, whatever was freed meanwhile."""
    try:
        act()
    except Unavailable as error:
        return "look at the broker" in str(error).lower()
    if disk is not None:
        disk.fill()
    return False


def accepted(live: Live, document: dict) -> bool:
    return live.http.post("/v1/events/orders", json=document, timeout=60).status_code == 202
