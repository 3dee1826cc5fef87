"""`dataflow generation` tells what the numbers are a function of, and starts over without a trace of the one before."""

import io
import json

import pytest

from dataflow.main import INTERRUPTED, OK
from infra.code import directory, here
from infra.generation import load_generation
from infra.generations import change_generations, read_generations
from infra.kafka import admin, ensure_topics
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.topics import TOPICS
from serving.store.keys import Keys
from serving.store.store import Store
from tests.cli.kit import Shell
from tests.helpers import wait_for
from tests.serving.api.kit import State


def generations(shell: Shell) -> list[dict]:
    assert shell.run("generation", "list", "--json") == OK, shell.err
    return json.loads(shell.out)["generations"]


def keys_of(state: State, generation: str) -> int:
    space = Keys.of(state.settings, generation).space
    return sum(1 for _ in state.redis.scan_iter(match=f"{space}*"))


def follow(state: State, generation: str) -> None:
    """As a materializer that has moved on does."""
    Store(state.redis, Keys.of(state.settings, generation)).claim()


def test_the_live_generation_is_shown_with_its_topics(shell: Shell, environment: Settings) -> None:
    [row] = generations(shell)
    assert (row["number"], row["live"], row["fits"], row["grown"]) == (1, True, True, [])
    assert row["judged_topic"] == f"{environment.dataflow_env}.g1.events.judged"
    recorded = load_generation(environment).topics
    assert [t["topic"] for t in row["topics"]] == list(recorded)
    assert {t["topic"]: (t["topic_id"], t["partitions"]) for t in row["topics"]} == {
        topic: (identity.topic_id, 2) for topic, identity in recorded.items()
    }
    assert set(recorded) == set(CONTRACTS)
    assert shell.run("generation", "list") == OK
    assert shell.out.startswith("g1 (live), running, judged in ")
    assert "fits the topics as they are" in shell.out


def test_an_environment_without_topics_has_no_generation(
    shell: Shell, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.environ().items():
        monkeypatch.setenv(name, value)
    assert generations(shell) == []
    assert shell.run("generation", "list") == OK
    assert "has no generation yet" in shell.out


def test_a_topic_created_again_does_not_fit_until_a_new_generation_starts(
    shell: Shell, environment: Settings, state: State
) -> None:
    client, name = admin(environment.kafka_bootstrap_servers), f"{environment.topic_prefix}orders"
    client.delete_topics([name])[name].result(30)
    wait_for(lambda: name not in client.list_topics(timeout=10).topics, what="the deletion")
    [row] = generations(shell)
    assert (row["fits"], [t["now"] for t in row["topics"] if t["now"]]) == (False, ["gone"])
    ensure_topics(client, {name: TOPICS["orders"]}, 2, 1)
    [row] = generations(shell)
    assert not row["fits"]
    assert "was deleted and created again" in row["misfit"]
    assert shell.run("generation", "list") == OK
    assert "does not fit: source topic orders" in shell.out
    follow(state, "g2")
    assert shell.run("generation", "new", "--yes", "--json") == OK
    rows = generations(shell)
    assert (rows[0]["number"], rows[0]["live"], rows[0]["fits"]) == (2, True, True)
    assert all(not row["live"] and not row["fits"] for row in rows[1:])


def test_new_removes_the_keys_of_the_generation_before_and_no_others(
    shell: Shell, environment: Settings, state: State
) -> None:
    state.order(1000)
    state.redis.set(f"{environment.redis_prefix}ingest:last", 1)
    state.redis.set(f"{environment.redis_prefix}g10:meta", 1)
    state.redis.set(f"x{environment.redis_prefix}g1:meta", 1)
    held = keys_of(state, "g1")
    assert held > 3
    follow(state, "g2")
    assert shell.run("generation", "new", "--yes", "--json") == OK, shell.err
    assert json.loads(shell.out) == {
        "env": environment.dataflow_env,
        "generation": "g2",
        "before": "g1",
        "judged_topic": f"{environment.dataflow_env}.g2.events.judged",
        "redis_keys_removed": held,
    }
    assert load_generation(environment).number == 2
    assert keys_of(state, "g1") == 0
    assert keys_of(state, "g2") == 1
    assert state.redis.get(f"{environment.redis_prefix}ingest:last") == b"1"
    assert state.redis.get(f"{environment.redis_prefix}g10:meta") == b"1"
    assert state.redis.get(f"x{environment.redis_prefix}g1:meta") == b"1"


def test_new_without_a_materializer_waits_for_none_for_ever(
    shell: Shell, environment: Settings, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.store.removal.FOLLOW_SECONDS", 0.5)
    assert shell.run("generation", "new", "--yes") == OK
    assert "generation g2 is the live one" in shell.out
    assert "503" in shell.out
    assert keys_of(state, "g1") == 0


def test_new_is_made_by_the_code_that_is_here_and_leaves_nothing_running_that_nobody_reads(
    shell: Shell, environment: Settings, state: State
) -> None:
    body = read_generations(environment).known[1].generation.as_json()
    second = {"g2": {**body, "number": 2}, "live": {"number": 2, "before": 1}}
    change_generations(environment, lambda _: second)
    assert read_generations(environment).running() == [1, 2]
    assert shell.run("generation", "new", "--yes", "--keep") == OK, shell.err
    now = read_generations(environment)
    assert (now.live, now.before, now.running()) == (3, 2, [3])
    assert now.known[3].code == here(environment).as_json()
    assert directory(environment, here(environment).digest).is_dir()


def test_new_can_keep_what_redis_holds(shell: Shell, environment: Settings, state: State) -> None:
    held = keys_of(state, "g1")
    assert shell.run("generation", "new", "--yes", "--keep", "--json") == OK
    assert json.loads(shell.out)["redis_keys_removed"] is None
    assert keys_of(state, "g1") == held


def test_new_does_nothing_unless_somebody_agrees(
    shell: Shell, environment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert shell.run("generation", "new") == INTERRUPTED
    assert load_generation(environment).number == 1
