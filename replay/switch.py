"""Promote and roll back: one record in the log of generations names the live one, and all who read follow it.

Before it is written, what would make a reader see a wrong number, or go back, is refused. Killed before, nothing has
changed; killed after, it is done.
"""

import time
from collections.abc import Callable
from contextlib import suppress

from infra.failpoints import Failpoints
from infra.generation import compare_identities, source_bounds, source_identities
from infra.generations import (
    LIVE,
    Changes,
    Generation,
    Generations,
    State,
    change_generations,
    read_generations,
)
from infra.kafka import Offsets, admin, identities, log_bounds
from infra.settings import Settings
from replay.differences import kept_difference
from replay.errors import ReplayError
from replay.guards import (
    Guards,
    check_answering,
    check_caught_up,
    check_counting,
    check_difference,
    check_judging,
    check_lake_reached,
    check_not_wrong,
    check_processes,
    check_reached,
    check_running,
    check_verified,
)
from replay.origin import check_whole
from replay.planning import live_of
from replay.run import set_state
from replay.verify.barrier import Barrier
from schemas.errors import Unavailable
from serving.generation_progress import Progress, read_progress
from serving.lake.reader import Lake
from streams.lake.manifest import newest_manifest
from streams.lake.place import lake_root

POLL_SECONDS = 0.5
FOLLOWS_WITHIN = 30.0  # seconds


def promote(settings: Settings, number: int, guards: Guards, pause_old: bool = False) -> Generations:
    """Make generation `number` the live one. Raises ReplayError where a guard says no, GenerationError for topics that
    were created again."""
    now = read_generations(settings)
    found = now.of(number)
    base = live_of(now)
    if number == base.number:
        raise ReplayError(f"expected a generation that is not live yet, and g{number} is")
    if (found.plan or {}).get("trial"):
        raise ReplayError(
            f"expected a generation of all records, and g{number} is a trial of some: replay without --from and "
            "--topic, and promote that one"
        )
    check_whole(found.generation, base)
    check_topics(settings, found.generation)
    check_running(found)
    check_answering(settings, found.generation)
    progress = read_progress(settings, found.generation)
    check_caught_up(progress)
    check_verified(progress, time.time(), guards.unverified)
    check_difference(kept_difference(settings, base.number, number), found, guards, time.time())
    told = newest_of(settings, base)
    wait_until_it_follows(settings, found.generation, progress.ends, told, FOLLOWS_WITHIN)
    check_processes(settings, found.generation)
    return switch(settings, base.number, number, pause_old)


def rollback(
    settings: Settings,
    patience: float,
    pause_old: bool = False,
    told: Callable[[Progress], None] = lambda _: None,
    leaving: int | None = None,
    although_wrong: bool = False,
) -> Generations:
    """Make the generation live again that was before the last switch; one that pauses catches up first.

    `told` hears how far it is. `leaving` is the one that is live for who asks: asked twice, a rollback would else go
    forth again. `although_wrong`: also to one that was found to be not exact. Raises ReplayError, and GenerationError
    if its topics are no more what it has read.
    """
    now = read_generations(settings)
    base = live_of(now)
    if leaving not in (None, base.number):
        raise ReplayError(
            f"expected g{leaving} to be live, which was to be left, and {base.name} is: somebody has switched already"
        )
    if now.before is None or now.known[now.before].state is State.GONE:
        raise ReplayError(
            f"expected a generation to go back to, and there was none before g{base.number}, or it is gone: "
            "`dataflow replay run` makes one anew"
        )
    before = now.of(now.before)
    check_topics(settings, before.generation)
    if not although_wrong:
        check_not_wrong(read_progress(settings, before.generation))
    if before.state is State.PAUSED:
        set_state(settings, now.before, State.RUNNING)
    ends = read_progress(settings, before.generation).ends
    wait_until_it_follows(settings, before.generation, ends, newest_of(settings, base), patience, told)
    return switch(settings, base.number, now.before, pause_old)


def wait_until_it_follows(
    settings: Settings,
    generation: Generation,
    ends: Offsets,
    in_lake: Offsets,
    patience: float,
    told: Callable[[Progress], None] = lambda _: None,
) -> None:
    """Until its numbers have come to `ends`, its lake to `in_lake`, and its API can answer.

    A lake that rests is asked to go on. Raises ReplayError after `patience` seconds, or Unavailable if something is
    down then; ReplayError at once where a process that counts has failed for good.
    """
    deadline = time.monotonic() + patience
    barrier = Barrier(settings, generation.name, Lake(lake_root(settings, generation.name)))
    while True:
        check_counting(settings, generation)
        try:
            progress = read_progress(settings, generation)
            told(progress)
            check_answering(settings, generation)
            check_caught_up(progress)
            first, now = source_bounds(settings, generation)
            held = sum(now.values()) - sum(first.values())
            check_judging(verdicts_of(settings, generation), progress, held)
            check_reached(progress, ends)
            check_lake_reached(progress, in_lake)
            return
        except (ReplayError, Unavailable):
            if time.monotonic() > deadline:
                raise
        with suppress(Unavailable):
            barrier.hurry()
        time.sleep(POLL_SECONDS)


def check_topics(settings: Settings, generation: Generation) -> None:
    """Raise GenerationError if a topic is another one than it has read: nothing is missing then, and all is wrong."""
    compare_identities(generation, source_identities(settings, generation.topics))


def newest_of(settings: Settings, generation: Generation) -> Offsets:
    """What the tables of a generation are functions of now; nothing without a lake."""
    manifest = newest_manifest(lake_root(settings, generation.name))
    return manifest.until if manifest else {}


def verdicts_of(settings: Settings, generation: Generation) -> int:
    """How many its live job ever wrote, also if the topic has let go of them."""
    topic = generation.judged_topic(settings)
    client = admin(settings.kafka_bootstrap_servers)
    found = identities(client, {topic})
    if topic not in found:
        return 0
    _, ends = log_bounds(client, [(topic, p) for p in range(found[topic].partitions)])
    return sum(ends.values())


def switch(settings: Settings, base: int, number: int, pause_old: bool) -> Generations:
    """The one write. Raises ReplayError if another generation has become the live one meanwhile."""
    failpoints = Failpoints(settings)

    def decide(now: Generations) -> Changes:
        if now.live != base:
            raise ReplayError(
                f"expected g{base} to be live, and g{now.live} is by now: look again, then decide"
            )
        check_running(now.of(number))
        failpoints.hit("replay.before_switch")
        # What no rollback goes back to any more follows for nobody.
        left = [now.before] if now.before not in (None, base, number) and now.before in now.running() else []
        paused = {
            f"g{each}/state": {"state": State.PAUSED} for each in (*left, *([base] if pause_old else []))
        }
        return {LIVE: {"number": number, "before": base}, **paused}

    now = change_generations(settings, decide)
    failpoints.hit("replay.after_switch")
    return now
