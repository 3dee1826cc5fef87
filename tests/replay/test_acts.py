"""Run, promote, roll back and remove, killed before and after each write: not done, or done, and done by the next."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import psutil
import pytest
from confluent_kafka import Producer, TopicPartition

from dataflow.commands.replay_status import follow
from infra.bootstrap import bootstrap
from infra.code import ROOT, directory, here, keep
from infra.generations import (
    LIVE,
    Clone,
    Generation,
    Generations,
    State,
    change_generations,
    read_generations,
)
from infra.kafka import admin, identities
from infra.runtime.birth import birth
from infra.runtime.fleet import Fleet
from infra.runtime.jobs import Serves, verifier_spec
from infra.runtime.logs import Logs
from infra.runtime.run_state import IN_VAIN, QUERIES_IN_VAIN, Run, failing, unsteady, write_run
from infra.status import write_status
from replay.collect import collect, unended
from replay.differences import Kept, keep_difference, kept_difference
from replay.errors import ReplayError
from replay.guards import Guards
from replay.planning import plan_replay
from replay.run import run_plan, set_state
from replay.switch import promote, rollback, switch, wait_until_it_follows
from schemas.errors import GenerationError, Unavailable
from serving.generation_progress import Progress, read_progress
from serving.store.keys import Keys
from serving.store.store import connect
from serving.verified import verified_key
from streams.control import ControlReader
from streams.lake.place import lake_root
from tests.helpers import isolated_settings, wait_for
from tests.serving.lake_kit import SmallLake

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.fixture
def world(settings):
    """An environment with a live generation g1, and nobody's processes."""
    settings = settings.replace(kafka_partitions=1)
    bootstrap(settings)
    change_generations(settings, lambda _: {"g1/code": here(settings).as_json()})
    return settings


def killed(settings, failpoint: str, *arguments: str) -> None:
    """Run a command of `dataflow replay` that kills itself at a failpoint, and see that it did."""
    done = command(settings, *arguments, dataflow_failpoint=failpoint)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    marker = settings.state_dir / "failpoints" / failpoint
    assert marker.exists()
    marker.unlink()


def command(settings, *arguments: str, **changes) -> subprocess.CompletedProcess:
    env = {**os.environ, **settings.replace(**changes).environ(), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "dataflow", "replay", *arguments]
    return subprocess.run(line, env=env, capture_output=True, text=True, check=False, timeout=180)


def states(settings) -> dict[int, str]:
    return {number: str(each.state) for number, each in sorted(read_generations(settings).known.items())}


def begun(settings):
    """A second generation beside the live one."""
    return run_plan(settings, plan_replay(settings, here(settings)))


def outputs(settings, generation) -> set[str]:
    names = {generation.judged_topic(settings), generation.dead_letter_topic(settings)}
    return set(identities(admin(settings.kafka_bootstrap_servers), names))


@pytest.mark.parametrize(
    ("failpoint", "recorded"),
    [
        pytest.param("replay.before_begin", False, marks=pytest.mark.longhaul),
        ("replay.before_record", False),
        pytest.param("replay.after_record", True, marks=pytest.mark.longhaul),
    ],
)
@pytest.mark.cases(1)
def test_a_run_that_is_killed_has_begun_a_generation_or_none(world, failpoint, recorded):
    killed(world, failpoint, "run", "--yes", "--detach", "--throttle", "0")
    assert states(world) == ({1: "running", 2: "running"} if recorded else {1: "running"})
    again = command(world, "run", "--yes", "--detach", "--throttle", "0", "--json")
    if recorded:
        assert again.returncode == 1
        assert "generation g2 is one" in again.stderr
    else:
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout)["plan"]["number"] == 2
    now = read_generations(world)
    assert (now.live, now.of(2).plan["base"], now.of(2).code["digest"]) == (1, 1, here(world).digest)


def test_a_plan_changes_nothing_and_says_what_a_run_does(world):
    done = command(world, "plan", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert (plan["number"], plan["base"], plan["changed"], plan["records"]) == (2, 1, [], 0)
    assert states(world) == {1: "running"}
    assert not (world.state_dir / "code").exists()
    generation = begun(world)
    assert plan["stages"] == read_generations(world).of(generation.number).plan["stages"]


def test_code_that_was_edited_after_the_plan_is_not_run(world):
    plan = plan_replay(world, here(world))
    other = type(plan).from_json({**plan.as_json(), "code": "0123456789abcdef"})
    with pytest.raises(ReplayError, match="edited since"):
        run_plan(world, other)
    begun(world)
    set_state(world, 2, State.GONE)
    with pytest.raises(ReplayError, match="g3 the next: plan again"):
        run_plan(world, plan)


def test_a_switch_that_is_killed_is_done_or_not(world):
    """Killed around the one write; nobody else may have switched meanwhile."""
    begun(world)
    program = (
        "from infra.settings import Settings; from replay.switch import switch; "
        "switch(Settings.load(), {base}, {number}, True)"
    )
    for failpoint, live in (("replay.before_switch", 1), ("replay.after_switch", 2)):
        env = {**os.environ, **world.replace(dataflow_failpoint=failpoint).environ(), "PYTHONPATH": str(ROOT)}
        line = [sys.executable, "-c", program.format(base=1, number=2)]
        done = subprocess.run(line, env=env, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == -signal.SIGKILL, done.stderr
        now = read_generations(world)
        assert now.live == live
    assert (now.before, now.of(1).state) == (1, State.PAUSED)
    with pytest.raises(ReplayError, match="expected g1 to be live, and g2 is by now"):
        switch(world, 1, 2, False)


def test_what_a_promote_is_refused_for_is_told_before_anything_changes(world):
    generation = begun(world)
    now = read_generations(world)
    with pytest.raises(ReplayError, match="not live yet"):
        promote(world, 1, Guards())
    with pytest.raises(GenerationError, match="g5 was never started"):
        promote(world, 5, Guards())
    with pytest.raises(ReplayError, match="caught up"):
        promote(world, 2, Guards())
    set_state(world, 2, State.PAUSED)
    with pytest.raises(ReplayError, match="resume g2"):
        promote(world, 2, Guards())
    with pytest.raises(ReplayError, match="there was none before g1"):
        rollback(world, 0)
    assert read_generations(world).live == now.live == 1
    assert outputs(world, generation) == {generation.judged_topic(world), generation.dead_letter_topic(world)}


@pytest.mark.cases(0)
def test_one_that_pauses_does_not_go_on_beside_another(world):
    begun(world)
    set_state(world, 2, State.PAUSED)
    begun(world)
    with pytest.raises(ReplayError, match="generation g3 is one"):
        set_state(world, 2, State.RUNNING)
    assert states(world) == {1: "running", 2: "paused", 3: "running"}
    set_state(world, 3, State.GONE)
    set_state(world, 2, State.RUNNING)
    set_state(world, 2, State.GONE)
    with pytest.raises(GenerationError, match="g2 is gone"):
        set_state(world, 2, State.RUNNING)


def test_a_removal_waits_for_every_process_of_the_generation(tmp_path):
    """Also for those that are not named after it, and those that are to be started again."""
    settings = isolated_settings(tmp_path)
    settings.state_dir.mkdir(parents=True)
    me = psutil.Process()

    def left(number: int, serves: int, **processes: str) -> list[str]:
        rows = [
            {"name": name.replace("_", "@"), "state": state, "pid": None} for name, state in processes.items()
        ]
        run = Run("x", me.pid, birth(), "test", 0.0, None, {}, rows, serves)
        write_run(settings.state_dir, run)
        return unended(settings, Generation(number, {}))

    assert left(1, 1, kafka="ready", live="stopped", lake="backoff", live_g2="ready") == ["lake"]
    assert left(2, 1, kafka="ready", live="ready", live_g2="backoff", lake_g2="failed") == [
        "live@g2",
        "lake@g2",
    ]
    assert left(2, 1, kafka="ready", live="ready") == []


@pytest.mark.cases(0)
def test_a_copy_of_code_that_is_used_or_was_asked_for_just_now_is_kept(world):
    digest = keep(world).digest
    copy = directory(world, digest)
    assert begun(world).number == 2

    def cancelled(number: int) -> bool:
        """Whether its copy of the code goes with it."""
        [removed] = collect(world, [number])
        return str(copy) in removed.directories

    # The live one runs by it, too.
    old = time.time() - 3_600
    os.utime(copy, (old, old))
    assert not cancelled(2)
    change_generations(world, lambda _: {"g1/code": {"digest": "another", "declared": {}}})
    keep(world)
    assert not cancelled(2)
    os.utime(copy, (old, old))
    me = psutil.Process()
    run = Run("x", me.pid, birth(), "test", 0.0, None, {}, [], 1, digest)
    write_run(world.state_dir, run)
    assert not cancelled(2)
    write_run(world.state_dir, replace(run, code="another"))
    assert cancelled(2)


@pytest.mark.cases(0)
def test_half_of_a_copy_of_code_is_taken_for_none_and_goes_with_the_next(world, monkeypatch):
    digest = keep(world).digest
    copy, old = directory(world, digest), time.time() - 3_600
    change_generations(world, lambda _: {"g1/code": {"digest": "another", "declared": {}}})
    assert begun(world).number == 2
    os.utime(copy, (old, old))

    def dies(place):
        raise KeyboardInterrupt(str(place))

    with monkeypatch.context() as patched:
        patched.setattr("replay.collect.shutil.rmtree", dies)
        with pytest.raises(KeyboardInterrupt, match=rf"\.gone-{digest}"):
            collect(world, [2])
    assert not copy.exists()
    assert keep(world).digest == digest
    assert (copy / "infra").is_dir()
    half = copy.with_name(f".gone-{digest}")
    os.utime(half, (old, old))
    collect(world, [2])
    assert not half.exists()
    assert copy.exists()


def test_what_runs_again_since_somebody_was_asked_is_not_removed(world):
    generation = begun(world)
    set_state(world, 2, State.PAUSED)
    set_state(world, 2, State.RUNNING)
    with pytest.raises(ReplayError, match="g2 runs: `dataflow replay pause g2` first"):
        collect(world, [2], running=False)
    assert states(world) == {1: "running", 2: "running"}
    assert len(outputs(world, generation)) == 2


def test_who_waits_for_a_replay_is_told_of_a_process_that_has_failed(world):
    assert begun(world).number == 2
    me = psutil.Process()
    rows = [
        {"name": "live", "state": "failed", "restarts": 0},
        {"name": "lake@g2", "state": "ready", "restarts": 0},
    ]

    def running(**last: object) -> None:
        row = {"name": "materializer@g2", **last}
        write_run(world.state_dir, Run("x", me.pid, birth(), "test", 0.0, None, {}, [*rows, row], 1))

    running(state="backoff", restarts=10 * IN_VAIN, failures=1)  # over a year
    assert failing(world.state_dir, "g2") == []
    for last in (
        {"state": "failed", "restarts": 0},
        {"state": "backoff", "restarts": 9, "failures": IN_VAIN},
    ):
        running(**last)
        Logs(world.state_dir / "logs").note("materializer@g2", "no such metric")
        with pytest.raises(
            ReplayError, match=r"(?s)materializer@g2 failed.*no such metric.*replay cancel g2"
        ):
            follow(world, 2, lambda _: None)
        assert failing(world.state_dir, "g1") == ["live"]

    # At once of the first failures, each with the end of the log; one that is ready again has none.
    lives, told = iter([*({"state": "backoff", "failures": n} for n in (1, 2)), {"state": "failed"}]), []

    def next_life(text: str) -> None:
        if text.startswith("g2: "):  # how far it is, which is told at each look
            running(restarts=0, **next(lives))
        else:
            told.append(text)

    running(state="ready", restarts=7, failures=7)
    with pytest.raises(ReplayError, match=r"materializer@g2 failed"):
        follow(world, 2, next_life)
    assert [text.partition(".")[0] for text in told] == [
        f"materializer@g2 has failed and begins again (in a row: {n})" for n in (1, 2)
    ]
    assert all("no such metric" in text for text in told)


def test_who_waits_for_a_replay_that_was_told_to_pause_does_not_wait_for_ever(world):
    begun(world)
    set_state(world, 2, State.PAUSED)
    with pytest.raises(ReplayError, match=r"g2 to run, and it stands still: `dataflow replay resume g2`"):
        follow(world, 2, lambda _: None)


def test_a_process_whose_query_fails_again_and_again_is_one_that_has_failed(world):
    """It runs, and tries again for ever: code that fails on a record does so each time."""
    assert begun(world).number == 2
    me = psutil.Process()
    rows = [{"name": "lake@g2", "state": "ready", "restarts": 0, "pid": 77}]
    write_run(world.state_dir, Run("x", me.pid, birth(), "test", 0.0, None, {}, rows, 1))
    status = world.state_dir / "status" / "lake@g2.json"
    for pid, failures, expected in (
        (77, 0, []),
        (77, QUERIES_IN_VAIN - 1, []),
        (77, QUERIES_IN_VAIN, ["lake@g2"]),
        (76, QUERIES_IN_VAIN, []),  # of the process before
    ):
        status.parent.mkdir(exist_ok=True)
        write_status(status, "restarting", failures=failures)
        status.write_text(status.read_text().replace(f'"pid": {me.pid}', f'"pid": {pid}'))
        assert failing(world.state_dir, "g2") == expected
        assert unsteady(world.state_dir, "g2") == ({"lake@g2": failures} if failures and pid == 77 else {})
    for text in ("", "[]", "{}"):
        status.write_text(text)
        assert failing(world.state_dir, "g2") == []


@pytest.mark.cases(0)
def test_the_lake_of_one_that_is_to_be_switched_to_is_told_not_to_rest(world):
    """Once, however often it is looked at; nobody else's is."""
    generation = begun(world)
    readers = {name: ControlReader(world, name) for name in ("g1", "g2")}
    with pytest.raises(ReplayError):
        wait_until_it_follows(world, generation, {("orders", 0): 1}, {("orders", 0): 1}, 2)
    told = {name: [] for name in readers}

    def heard() -> bool:
        for name, reader in readers.items():
            told[name].append(reader.barriers_requested())
        return ([], True) in told["g2"]

    wait_for(heard, 30, "a word to the lake of g2")
    assert [each for each in told["g1"] if each != ([], False)] == []
    for reader in readers.values():
        reader.close()


def test_the_lake_of_a_replay_that_is_waited_for_is_told_not_to_rest(world, monkeypatch):
    """As soon as it has begun, and the numbers wait for it alone."""
    generation = begun(world)
    reader, true = ControlReader(world, "g2"), read_progress(world, generation)

    def at(manifest: int | None, numbers: int, lake: int) -> Progress:
        numbers, lake, ends = ({("orders", 0): offset} for offset in (numbers, lake, 9_000))
        return replace(true, manifest=manifest, numbers=numbers, lake=lake, ends=ends)

    steps = iter([at(None, 9_000, 0), at(1, 0, 0), at(1, 9_000, 0), at(1, 9_000, 9_000)])
    monkeypatch.setattr("dataflow.commands.replay_status.read_progress", lambda *_: next(steps))
    monkeypatch.setattr("dataflow.commands.replay_status.LOOK_SECONDS", 0.01)
    follow(world, 2, lambda _: None)
    assert next(steps, None) is None
    wait_for(lambda: reader.barriers_requested() == ([], True), 30, "a word to the lake of g2")
    reader.close()


def test_who_waits_for_a_replay_waits_for_a_service_that_starts_again_too(world, monkeypatch):
    """A broker that has just started may show nothing of the log of generations, or a part."""
    begun(world)
    true, known = read_progress(world, read_generations(world).of(2).generation), read_generations(world)
    there = replace(true, manifest=1, lake=true.ends, numbers=true.ends)
    logs, looks = iter([known, Generations(), replace(known, known={1: known.known[1]}), known, known]), []

    def progress(*_) -> Progress:
        looks.append(len(looks))
        if len(looks) == 1:
            raise Unavailable("Redis does not answer")
        return there

    monkeypatch.setattr("dataflow.commands.replay_status.read_generations", lambda _: next(logs))
    monkeypatch.setattr("dataflow.commands.replay_status.read_progress", progress)
    monkeypatch.setattr("dataflow.commands.replay_status.LOOK_SECONDS", 0.01)
    follow(world, 2, lambda _: None)
    assert (next(logs, None), looks) == (None, [0, 1])
    monkeypatch.setattr("dataflow.commands.replay_status.AWAY_SECONDS", -1.0)
    logs, looks = iter([known, Generations()]), []
    with pytest.raises(Unavailable, match=r"not to be seen yet\. g2 is begun all the same: .*follow g2"):
        follow(world, 2, lambda _: None)


@pytest.mark.parametrize(("throttle", "gives_way"), [(1_234, True), (0, False)])
def test_a_replay_leaves_the_processor_to_the_live_one_unless_it_is_to_go_as_fast_as_it_goes(
    world, throttle, gives_way
):
    run_plan(world, plan_replay(world, here(world), throttle))
    fleet = Fleet(world, keep(world), ["live"], lambda _: [], logging.getLogger("fleet"))
    fleet.base_env()
    fleet.env_of(2)
    assert (fleet.gives_way(), fleet.gives_way(1), fleet.gives_way(2)) == (False, False, gives_way)
    spec = verifier_spec(world, serves=Serves(gives_way=lambda: fleet.gives_way(2)))
    assert spec.niceness() == (19 if gives_way else 15)
    # What is gone back to has to keep up, too.
    for before, first_gives_way in ((1, False), (None, True)):
        change_generations(world, lambda _, before=before: {LIVE: {"number": 2, "before": before}})
        fleet.env_of(2)
        fleet._note(read_generations(world))
        assert (fleet.gives_way(), fleet.gives_way(2)) == (first_gives_way, False)


def test_the_processes_of_a_replay_get_the_pace_that_was_planned(world):
    run_plan(world, plan_replay(world, here(world), 1_234))
    fleet = Fleet(world, keep(world), ["live"], lambda _: [], logging.getLogger("fleet"))
    assert (
        fleet.env_of(2).items()
        >= {
            "DATAFLOW_GENERATION": "2",
            "REPLAY_RECORDS_PER_SECOND": "1234",
        }.items()
    )
    assert fleet.env_of(1)["REPLAY_RECORDS_PER_SECOND"] == "0"
    # One that is live, or is gone back to, has none.
    for live, before in ((2, 1), (1, 2)):
        change_generations(world, lambda _, to={"number": live, "before": before}: {LIVE: to})
        assert fleet.env_of(2)["REPLAY_RECORDS_PER_SECOND"] == "0"


@pytest.mark.cases(0)
def test_settings_that_decide_are_those_that_the_generation_began_with(world):
    """`.env` was edited while the platform runs: what the plan told is what the processes get, also after a restart."""
    edited = world.replace(shop_timezone="Europe/Vienna")
    plan = plan_replay(edited, here(edited))
    assert plan.changed == ("setting SHOP_TIMEZONE",)
    run_plan(edited, plan)
    fleet = Fleet(world, keep(world), ["live"], lambda _: [], logging.getLogger("fleet"))
    zones = {number: fleet.env_of(number)["SHOP_TIMEZONE"] for number in (1, 2)}
    assert zones == {1: world.shop_timezone, 2: "Europe/Vienna"}
    told = []
    again = Fleet(edited, keep(edited), ["live"], lambda _: [], logging.getLogger("fleet"), told.append)
    assert again.base_env()["SHOP_TIMEZONE"] == world.shop_timezone
    assert "which differs from what is here in setting SHOP_TIMEZONE" in told[0]


@pytest.mark.parametrize(
    "failpoint",
    [
        *(pytest.param(f"replay.after_{each}", marks=pytest.mark.longhaul) for each in ("gone", "keys")),
        "replay.after_topics",
    ],
)
@pytest.mark.cases(1)
def test_a_removal_that_is_killed_is_finished_by_the_next(world, failpoint):
    generation = begun(world)
    redis = connect(world)
    keys = Keys.of(world, generation.name)
    redis.hset(keys.meta, "epoch", 1)
    redis.hset(Keys.of(world, "g1").meta, "epoch", 1)
    lake = world.state_dir / "lake" / "g2" / "orders"
    lake.mkdir(parents=True)
    (lake / "part").write_text("x")
    verified = verified_key(world, "g2")
    redis.set(verified, "{}")
    told = (
        *("logs/live@g2.log", "logs/live@g2.log.1", "status/live@g2.json"),
        *("logs/live.log", "logs/live@g21.log", "status/live@g21.json"),
    )
    for name in told:
        (world.state_dir / name).parent.mkdir(exist_ok=True)
        (world.state_dir / name).write_text("{}")
    for one, other in ((1, 2), (2, 3), (1, 3)):
        keep_difference(world, Kept(one, other, time.time(), {}))
    killed(world, failpoint, "cancel", "g2", "--yes")
    assert states(world) == {1: "running", 2: "gone"}
    how = ("cancel", "g2") if failpoint == "replay.after_keys" else ("gc",)
    done = command(world, *how, "--yes")
    assert done.returncode == 0, done.stderr
    assert json.loads(command(world, "gc", "--json").stdout) == {"removed": []}
    again = command(world, "cancel", "g2", "--yes")
    assert (again.returncode, "g2 is gone" in again.stderr) == (1, True)
    assert outputs(world, generation) == set()
    assert [str(name) for name in told if (world.state_dir / name).exists()] == list(told[3:])
    assert not redis.exists(keys.meta)
    assert redis.exists(Keys.of(world, "g1").meta)  # nobody else's
    assert not lake.exists()
    assert not redis.exists(verified)
    left = [kept_difference(world, *pair) for pair in ((1, 2), (2, 3), (1, 3))]
    assert [each is None for each in left] == [True, True, False]
    assert (world.state_dir / "code").is_dir()
    redis.close()
    assert begun(world).number == 3  # a number is given once


def test_two_removals_at_once_remove_all_between_them(world):
    generation = begun(world)
    lake = world.state_dir / "lake" / "g2"
    for number in range(200):
        (lake / str(number)).mkdir(parents=True)
        (lake / str(number) / "part").write_text("x")
    with connect(world) as redis:
        redis.hset(Keys.of(world, "g2").meta, "epoch", 1)
    before = outputs(world, generation)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: collect(world, [2]), range(2)))
    assert [removed.generation for [removed] in both] == ["g2", "g2"]
    topics = [topic for [removed] in both for topic in removed.topics]
    assert sorted(topics) == sorted(before)
    assert outputs(world, generation) == set()
    assert not lake.exists()
    with connect(world) as redis:
        assert not redis.exists(Keys.of(world, "g2").meta)
    assert read_generations(world).known[2].removed


def test_what_is_needed_is_not_removed(world):
    generation = begun(world)
    done = command(world, "gc", "g2", "--yes")
    assert (done.returncode, "g2 runs: `dataflow replay pause g2` first" in done.stderr) == (1, True)
    assert states(world) == {1: "running", 2: "running"}
    with pytest.raises(ReplayError, match="g1 is the live one"):
        collect(world, [1])
    with pytest.raises(ReplayError, match="saw g9"):
        collect(world, [9])
    seams = {"reviews": [3]}
    body = generation.as_json() | {"archive": {"number": 1, "manifest": 1, "seams": seams, "until": seams}}
    change_generations(world, lambda _: {"g2": body})
    switch(world, 1, 2, True)
    with pytest.raises(ReplayError, match="begun from the bronze tables of g1 and has not taken them over"):
        collect(world, [1])
    assert states(world) == {1: "paused", 2: "running"}
    # Where that one is removed with it, nobody needs it any more.
    change_generations(
        world, lambda _: {"g3": replace(generation, number=3).as_json(), "g3/state": {"state": State.RUNNING}}
    )
    switch(world, 2, 3, True)
    assert [each.generation for each in collect(world, [1, 2], running=False)] == ["g2", "g1"]
    assert states(world) == {1: "gone", 2: "gone", 3: "running"}


@pytest.mark.cases(0)
def test_a_topic_that_loses_its_beginning_after_the_plan_is_planned_again(world):
    age = filled(world, "reviews", 20)
    plan = plan_replay(world, here(world))
    age(12)
    with pytest.raises(
        ReplayError, match=r"reviews/0 to be read from offset 0.*begins at 12 by now: plan again"
    ):
        run_plan(world, plan)
    assert states(world) == {1: "running"}


@pytest.mark.cases(0)
def test_what_bronze_has_of_what_a_topic_loses_after_the_plan_is_planned_again_too(world):
    """Nobody is told to do without records that are there."""
    age = filled(world, "orders", 20)
    topics = {topic: each.topic_id for topic, each in read_generations(world).live_generation.topics.items()}
    with closing(SmallLake(lake_root(world, "g1"), world, "g1", topics)) as lake:
        lake.write({"orders": []}, position=18)
    plan = plan_replay(world, here(world))
    assert plan.archive.seams["orders"] == [0]
    age(12)
    with pytest.raises(ReplayError, match=r"lost records since, which bronze of g1 has: plan again"):
        run_plan(world, plan)
    assert plan_replay(world, here(world)).archive.seams["orders"] == [12]
    age(19)
    with pytest.raises(GenerationError, match=r"orders/0 from 18 to before 19"):
        run_plan(world, plan)
    assert states(world) == {1: "running"}


@pytest.mark.cases(0)
def test_nor_does_a_part_begin_where_the_topics_have_nothing_any_more(world):
    """It goes on where the live lake is, which may have been paused since."""
    age = filled(world, "orders", 20)
    topics = {topic: each.topic_id for topic, each in read_generations(world).live_generation.topics.items()}
    with closing(SmallLake(lake_root(world, "g1"), world, "g1", topics)) as lake:
        lake.write({"orders": []}, position=10)
    part = {"clone": Clone(1, ("daily_sales",)), "lake_first": True, "archive": None}
    plan = replace(plan_replay(world, here(world)), **part)
    age(12)
    with pytest.raises(ReplayError, match=r"lake of g1, .* no longer have orders/0 from 10 to before 12"):
        run_plan(world, plan)
    assert states(world) == {1: "running"}
    with closing(SmallLake(lake_root(world, "g1"), world, "g1", topics)) as lake:
        lake.write({"orders": []}, position=5)
    assert run_plan(world, plan).clone.number == 1


def filled(world, topic: str, records: int) -> Callable[[int], None]:
    """A topic with so many records in partition 0; call what is returned to take those below an offset away."""
    feed, name = (
        Producer({"bootstrap.servers": world.kafka_bootstrap_servers}),
        f"{world.topic_prefix}{topic}",
    )
    for _ in range(records):
        feed.produce(name, b"x", b"k")
    assert feed.flush(30) == 0
    client = admin(world.kafka_bootstrap_servers)

    def age(offset: int) -> None:
        deleted = client.delete_records([TopicPartition(name, 0, offset)])
        assert all(future.result(30) for future in deleted.values())

    return age


def test_records_that_are_nowhere_any_more_are_named_and_nothing_is_begun(world):
    filled(world, "reviews", 20)(12)
    for act in ("plan", "run"):
        done = command(world, act, *(["--yes", "--detach"] if act == "run" else []))
        assert done.returncode == 1
        assert "has no lake" in done.stderr
    assert states(world) == {1: "running"}
    assert not identities(admin(world.kafka_bootstrap_servers), [f"{world.topic_prefix}g2.events.judged"])
