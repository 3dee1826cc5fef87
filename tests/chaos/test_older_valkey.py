"""A Valkey whose disk holds less than it had acknowledged: the numbers come forward, and nobody sees old ones."""

import shutil
import time

import httpx
import pytest

from tests.chaos.kit import Killer, world
from tests.helpers import wait_for

pytestmark = [pytest.mark.longhaul, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def running(tmp_path_factory, seed):
    with world(tmp_path_factory.mktemp("older"), seed) as made:
        yield made


# Without readers' memory, only the server's identity tells the API that what it reads may be older.
@pytest.mark.parametrize("also_killed", [(), ("api", "materializer")], ids=["alone", "and-its-readers"])
def test_a_valkey_that_comes_back_older_never_shows_it_and_is_brought_forward(
    running, tmp_path, seed, also_killed
):
    data, copy = running.settings.state_dir / "valkey" / "appendonlydir", tmp_path / "older"
    killer = Killer(running.platform, None)
    with running.watched() as reader:
        with running.shop.flowing(200):
            time.sleep(1)  # so that the copy is taken in the middle
            shutil.copytree(data, copy)
            older = running.rest.get("/v1/status")["as_of"]["position"]
            wait_for(lambda: position(running) > older + 200, 30, "newer numbers")
            running.platform.stop_process("valkey")
            shown = max(total(answer) for answer in reader.answers)
            assert shown > older
            killer.kill(*also_killed)
            shutil.rmtree(data)
            shutil.copytree(copy, data)
            # Nobody brings the old state forward before readers have come across it.
            running.platform.stop_process("materializer")
            answered = len(reader.answers)
            running.platform.start_process("valkey")
            wait_for(lambda: trouble(running) == "rebuilding", 120, "the old state to be refused")
            assert len(reader.answers) == answered
            running.platform.start_process("materializer")
            wait_for(lambda: len(reader.answers) > answered + 20, 120, "answers")
        running.settle()
    assert killer.total == len(also_killed)
    assert min(total(answer) for answer in reader.answers[answered:]) >= shown


def position(running) -> int:
    return running.rest.get("/v1/status")["as_of"]["position"]


def trouble(running) -> str | None:
    """The kind of problem with which a question is answered; None if it is answered, or by nobody."""
    try:
        answer = httpx.get(
            f"{running.platform.url}/v1/metrics/revenue?grain=all", timeout=10, trust_env=False
        )
    except httpx.HTTPError:
        return None
    return answer.json()["type"].rpartition("/")[2] if answer.status_code == 503 else None


def total(answer: dict) -> int:
    return answer["as_of"]["position"]
