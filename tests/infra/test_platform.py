"""A platform as a whole: one supervisor per state directory, no orphan however it ends, the same ports again."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from infra.runtime import jobs
from infra.runtime.birth import birth
from infra.runtime.child import group_members
from infra.runtime.door import open_door
from infra.runtime.errors import AlreadyRunning, NotRunning
from infra.runtime.platform import Platform
from infra.runtime.ports import PortBook
from infra.runtime.run_state import Run, kill_leftovers, read_run, running_settings, write_run
from infra.status import write_status
from schemas.errors import SettingsError, SetupError
from tests.helpers import isolated_settings, wait_for

ROOT = Path(__file__).parents[2]


@contextmanager
def held_platform(home: Path, clean: bool = True) -> Iterator[subprocess.Popen]:
    """A platform in a process of its own, ready; afterwards, if `clean`, no process of it is left."""
    command = [sys.executable, "-m", "tests.infra.hold_platform", str(home)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()
            process.wait()
            if clean:
                kill_leftovers(isolated_settings(home).state_dir)


def everything_of(home: Path) -> list[int]:
    """All processes of the run: children and what they started."""
    run = read_run(isolated_settings(home).state_dir)
    groups = [row["pid"] for row in run.processes]
    assert len(groups) == 2
    demo = run.processes[1]["pid"]
    wait_for(lambda: len(group_members(demo)) == 2, what="the grandchild")
    return [pid for group in groups for pid in group_members(group)]


def alive(pids: list[int]) -> list[int]:
    def runs(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return [pid for pid in pids if runs(pid)]


def test_sigkill_of_the_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    with held_platform(tmp_path) as supervisor:
        pids = everything_of(tmp_path)
        assert alive(pids) == pids
        assert len(pids) == 3
        supervisor.kill()
        wait_for(lambda: not alive(pids), 10, "the end of all processes")


@pytest.mark.skipif(sys.platform != "linux", reason="the parent death signal is Linux's")
def test_the_kernel_kills_the_children_even_when_the_watchdog_is_gone(tmp_path: Path) -> None:
    with held_platform(tmp_path) as supervisor:
        everything_of(tmp_path)
        children = [row["pid"] for row in read_run(isolated_settings(tmp_path).state_dir).processes]
        kill_with_watchdog(supervisor)
        wait_for(lambda: not alive(children), 10, "the end of the children")


def test_the_next_start_kills_what_survived_the_one_before(tmp_path: Path) -> None:
    with held_platform(tmp_path, clean=False) as supervisor:
        pids = everything_of(tmp_path)
        kill_with_watchdog(supervisor)
    if sys.platform == "linux":
        assert alive(pids), "the grandchild should have survived, else this test shows nothing"
    with Platform(isolated_settings(tmp_path), ("valkey",), preferred_ports=False):
        assert not alive(pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_orderly_end_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    with held_platform(tmp_path) as supervisor:
        pids = everything_of(tmp_path)
        supervisor.send_signal(number)
        supervisor.wait(20)
        assert not alive(pids)
    states = {row["state"] for row in read_run(isolated_settings(tmp_path).state_dir).processes}
    assert states == {"stopped"}


def test_a_second_supervisor_is_refused_and_told_who_runs(tmp_path: Path) -> None:
    settings = isolated_settings(tmp_path)
    with held_platform(tmp_path) as first:
        with pytest.raises(AlreadyRunning, match=str(first.pid)), Platform(settings, ("valkey",)):
            pass
        assert running_settings(settings, needs=("redis_host",)).redis_host == "127.0.0.1"
    wait_for(lambda: first.poll() is not None)
    with pytest.raises(NotRunning, match=r"dataflow up --env test.*REDIS_HOST"):
        running_settings(settings, needs=("redis_host",))


def test_two_environments_run_side_by_side(tmp_path: Path) -> None:
    one = isolated_settings(tmp_path, dataflow_env="one")
    two = isolated_settings(tmp_path, dataflow_env="two")
    with Platform(one, ("valkey",)) as first, Platform(two, ("valkey",)) as second:
        assert first.settings.redis_port != second.settings.redis_port


def test_ports_and_data_are_the_same_at_the_next_start(tmp_path: Path) -> None:
    settings = isolated_settings(tmp_path, redis_password='a "quoted" \\ secret')
    with Platform(settings, ("valkey",), preferred_ports=False) as platform:
        port = platform.settings.redis_port
        client(platform).set("kept", "yes")
        config = tmp_path / "test" / "valkey" / "valkey.conf"
        assert stat.S_IMODE(config.stat().st_mode) == 0o600
        platform.kill("valkey")
        platform.wait_ready("valkey")
        assert client(platform).get("kept") == b"yes"
    scratch = tmp_path / "test" / "spark" / "blockmgr-1"
    scratch.mkdir(parents=True)  # of a job that was killed
    with Platform(settings, ("valkey",), preferred_ports=False) as platform:
        assert not scratch.exists()
        assert platform.settings.redis_port == port
        assert client(platform).get("kept") == b"yes"


def test_a_service_whose_address_is_given_is_not_started(tmp_path: Path) -> None:
    settings = isolated_settings(tmp_path, redis_host="redis.example", redis_port=7)
    with Platform(settings, ("valkey",), demo=("sleep", "600")) as platform:
        assert [info.name for info in platform.supervisor.processes()] == ["demo"]
        assert (platform.settings.redis_host, platform.settings.redis_port) == ("redis.example", 7)


def test_an_api_open_to_others_without_keys_is_refused_before_anything_starts(tmp_path: Path) -> None:
    settings = isolated_settings(tmp_path, api_host="0.0.0.0")
    with pytest.raises(SettingsError, match="DATAFLOW_API_KEYS"), Platform(settings):
        pass
    assert not settings.state_dir.exists()


@pytest.mark.parametrize("older", [0, 100])
def test_a_run_of_an_older_dataflow_is_known(tmp_path: Path, older: float) -> None:
    """It wrote when a process had started, and not what is the same wherever the clock goes."""
    me = psutil.Process()
    row = {"name": "kafka", "state": "ready", "pid": me.pid, "create_time": me.create_time() - older}
    run = Run("x", me.pid, birth(), "test", 0.0, None, {}, [row])
    write_run(tmp_path, run)
    text = json.loads((tmp_path / "run.json").read_text())
    del text["birth"]
    (tmp_path / "run.json").write_text(json.dumps(text | {"create_time": row["create_time"]}))
    found = read_run(tmp_path)
    assert found is not None
    assert found.is_alive() == (older == 0)
    assert found.processes[0]["birth"].endswith(str(row["create_time"]))


def test_a_status_is_of_the_process_that_wrote_it_and_of_older_code_since_its_start(tmp_path: Path) -> None:
    settings = isolated_settings(tmp_path)
    spec = jobs.verifier_spec(settings)
    file = Path(spec.env["DATAFLOW_STATUS_FILE"])
    write_status(file, "running")
    assert spec.probe(os.getpid())
    assert not spec.probe(os.getpid() + 1)
    file.write_text(json.dumps({"state": "running", "at": 0.0}))
    assert spec.probe(os.getpid())
    spec.late_env()  # it starts again
    assert not spec.probe(os.getpid())


def test_lake_and_verifier_of_a_generation_wait_for_its_own_processes_only(tmp_path: Path) -> None:
    platform = Platform(isolated_settings(tmp_path), ("bootstrap", "live", "lake", "verifier"))
    assert {spec.name: spec.after for spec in platform._specs_beside(2)} == {
        "live@g2": ("bootstrap",),
        "lake@g2": ("bootstrap", "live@g2"),
        "verifier@g2": ("bootstrap", "lake@g2"),
    }


def test_a_job_gets_its_settings_and_a_service_gets_no_secret(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "of-another-shell")
    monkeypatch.setenv("SPARK_HOME", "/somewhere")
    settings = isolated_settings(tmp_path, redis_password="secret-word")
    demo = ("sh", "-c", "env; while :; do sleep 0.05; done")
    with Platform(settings, ("valkey",), demo=demo, preferred_ports=False) as platform:
        lines = wait_for(
            lambda: (text := platform.log_file("demo").read_text()).count("\n") > 10 and text.splitlines()
        )
        assert f"REDIS_PORT={platform.settings.redis_port}" in lines
        assert "REDIS_PASSWORD=secret-word" in lines
        assert not any(line.startswith("SPARK_HOME") for line in lines)
        [valkey] = platform.pids("valkey")
        assert "REDIS_PASSWORD" not in psutil.Process(valkey).environ()


def test_remembered_port_is_given_up_when_somebody_else_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        (tmp_path / "ports.json").write_text(json.dumps({"kafka": taken}))
        book = PortBook(tmp_path / "ports.json")
        port = book.take("kafka", taken)
        assert port != taken
        assert book.take("registry", port) != port
        assert book.take("kafka", taken) == port  # as its own it is not taken
    book = PortBook(tmp_path / "ports.json")
    assert book.take("kafka", 1) == port
    assert book.take("api-g9", 65_535 + 9) <= 65_535


NOWHERE = {
    "kafka_bootstrap_servers": "127.0.0.1:9",
    "kafka_schema_registry": "http://127.0.0.1:9",
    "redis_host": "127.0.0.1",
    "redis_port": 9,
}


@pytest.mark.cases(0)
def test_who_connects_while_the_api_is_stopped_or_killed_waits_and_is_not_refused(tmp_path: Path) -> None:
    settings = isolated_settings(tmp_path, **NOWHERE)
    with Platform(settings, ("api",), preferred_ports=False) as platform, ThreadPoolExecutor(2) as threads:
        health = f"{platform.url}/healthz"
        assert httpx.get(health, trust_env=False, timeout=20).status_code == 200
        platform.stop_process("api")
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(health, trust_env=False, timeout=0.5)
        waiting = threads.submit(httpx.get, health, trust_env=False, timeout=60)
        platform.start_process("api")
        assert waiting.result().status_code == 200
        platform.wait_ready("api")
        platform.kill("api")
        assert httpx.get(health, trust_env=False, timeout=60).status_code == 200
        assert platform.supervisor.process("api").restarts == 1
    with pytest.raises(httpx.ConnectError):
        httpx.get(health, trust_env=False)


def test_an_address_of_another_machine_is_refused_before_anything_starts(tmp_path: Path) -> None:
    keys = "shop:long-enough:read"
    settings = isolated_settings(tmp_path, api_host="192.0.2.1", dataflow_api_keys=keys, **NOWHERE)
    with (
        pytest.raises(SetupError, match=r"no free port on 192\.0\.2\.1 for api"),
        Platform(settings, ("api",)),
    ):
        pass


def test_a_port_that_is_taken_between_looking_and_listening_is_an_error_that_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(SetupError, match=rf"API_HOST=127.0.0.1, port {port}"),
            open_door("127.0.0.1", port),
        ):
            pass


def kill_with_watchdog(supervisor: subprocess.Popen) -> None:
    """SIGKILL the watchdog, then the supervisor."""
    [watchdog] = [
        p for p in psutil.Process(supervisor.pid).children() if "watchdog.py" in " ".join(p.cmdline())
    ]
    watchdog.kill()
    supervisor.kill()
    supervisor.wait(10)


def client(platform: Platform) -> redis.Redis:
    settings = platform.settings
    password = settings.redis_password.get_secret_value()
    return redis.Redis(settings.redis_host, settings.redis_port, password=password)
