"""`python -m serving.api` as a process: up without anything else, down at once, whoever listens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from infra.settings import Settings
from serving.api.process import SPARE_FILES
from tests.helpers import isolated_settings, wait_for
from tests.serving.api.kit import free_port

ROOT = Path(__file__).parents[3]


@contextmanager
def process(settings: Settings) -> Iterator[subprocess.Popen]:
    """The API as a process, answering."""
    environ = {**os.environ, **settings.environ()}
    command = [sys.executable, "-m", "serving.api"]
    with subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True) as running:
        try:
            wait_for(lambda: answers(settings) or running.poll() is not None, what="the API")
            yield running
        finally:
            running.kill()


def answers(settings: Settings) -> bool:
    try:
        return httpx.get(f"{url(settings)}/healthz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def url(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.api_port}"


@pytest.mark.parametrize("which", ["with everything", "with nothing"])
def test_sigterm_ends_it_promptly_and_in_good_order(world, state, which):
    addresses = (
        {} if which == "with everything" else {"kafka_bootstrap_servers": "127.0.0.1:9", "redis_port": 9}
    )
    settings = world.replace(api_port=free_port(), **addresses)
    with process(settings) as running, httpx.Client(trust_env=False) as client:
        with client.stream("GET", f"{url(settings)}/v1/live") as response:
            frames = response.iter_text()
            assert next(frames).startswith("retry")
            running.send_signal(signal.SIGTERM)
            began = time.monotonic()
            for _ in frames:
                pass
            assert running.wait(10) == 0
            assert time.monotonic() - began < 3
        assert "Traceback" not in running.stderr.read()


def test_a_wrong_setting_stops_it_with_the_terminal_status(tmp_path):
    settings = isolated_settings(tmp_path, api_host="0.0.0.0", api_port=free_port())
    with process(settings) as running:
        assert running.wait(10) == 78
        assert "DATAFLOW_API_KEYS" in running.stderr.read()


def test_a_system_that_allows_few_open_files_gets_as_many_push_clients_as_that_gives_room_for(world):
    settings = world.replace(api_port=free_port(), api_max_live_clients=5_000)
    command = f"ulimit -n {SPARE_FILES + 2}; exec {sys.executable} -m serving.api"
    environ = {**os.environ, **settings.environ()}
    with subprocess.Popen(
        ["sh", "-c", command], cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            line = running.stderr.readline()
        finally:
            running.kill()
    assert "at most 2 are pushed to" in line
