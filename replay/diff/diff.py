"""The difference of two generations of this environment at the same offsets.

Has both lakes end a batch where the topics end, each one's own code write out what its lake holds, and compares. Reads
the log of generations; writes the control topic, and a directory that is gone afterwards.
"""

import time
from collections.abc import Iterable
from dataclasses import replace

import duckdb

from infra.code import changed
from infra.failpoints import Failpoints
from infra.generations import Generations, Recorded, State, read_generations
from infra.runtime.child import Watchdog
from infra.settings import Settings
from replay.diff.compare import EVERYTHING, Asked, compare
from replay.diff.errors import NotComparable
from replay.diff.extracting import EnvironmentOf, extract, own_code
from replay.diff.meeting import Tell, meet
from replay.diff.room import check_room
from replay.diff.values import Comparison, Side
from replay.origin import fewer
from replay.scratch import scratch
from schemas.errors import GenerationError
from schemas.extension import one_line

PATIENCE = 60.0  # seconds for the two lakes to come to the same offsets


def diff(
    settings: Settings,
    one: int | None = None,
    other: int | None = None,
    *,
    asked: Asked = EVERYTHING,
    patience: float = PATIENCE,
    environment_of: EnvironmentOf | None = None,
    tell: Tell = lambda _: None,
) -> Comparison:
    """Compare generation `one` (default: the live one) with `other` (default: the newest other that runs).

    `environment_of` gives the environment of a process with a generation's own code; default: each one's own.
    `tell` gets what is being done. Raises GenerationError for a generation that is not there, and what `meet`,
    `extract` and `compare` raise.
    """
    now = read_generations(settings)
    one, other = choose(now, one, other)
    known = [_running(now, number) for number in (one, other)]
    tell(f"g{one} and g{other} end a batch at the same offsets …")
    manifests = meet(settings, *(each.generation for each in known), patience, tell)
    names = _names(asked, *known)
    check_room(settings, manifests, frozenset((*(asked.tables or ()), *(asked.metrics or ()))))
    environment_of = environment_of or own_code(settings, now)
    with scratch(settings, "diff") as home:
        found, watchdog = [], Watchdog()
        try:
            for number, manifest in zip((one, other), manifests, strict=True):
                tell(f"g{number} is written out at manifest {manifest.number} …")
                found.append(extract(manifest, environment_of(number), home, names, watchdog))
        finally:
            watchdog.close()
        Failpoints(settings).hit("diff.before_compare")
        tell("comparing …")
        try:
            compared = compare(*found, home, asked)
        except duckdb.Error as error:  # no memory, or no room for what does not fit into it
            raise NotComparable(
                f"expected room and memory to compare g{one} and g{other}, saw {one_line(error)}: compare less, with "
                "--table or --metric, or make room"
            ) from error
    return replace(
        compared,
        one=_side(compared.one, now, *known),
        other=_side(compared.other, now, *reversed(known)),
        made_at=time.time(),
    )


def choose(now: Generations, one: int | None, other: int | None) -> tuple[int, int]:
    """Which two. Raises GenerationError if there are none to choose from, NotComparable for one and the same."""
    if one is None:
        one = now.live
        if one is None:
            raise GenerationError(
                "expected a live generation, and none was ever started: run `dataflow up` first"
            )
    if other is None:
        others = [number for number in now.running() if number != one]
        if not others:
            raise GenerationError(
                f"expected another generation than g{one} that runs, and there is none: start one (a replay, or "
                "`dataflow generation new`), or name it"
            )
        other = others[-1]
    if one == other:
        raise NotComparable(f"expected two generations, saw g{one} twice: name another one")
    return one, other


def _running(now: Generations, number: int) -> Recorded:
    """Raises GenerationError for one that is not there, NotComparable for one that stands still."""
    found = now.of(number)
    if found.state is not State.RUNNING:
        raise NotComparable(
            f"expected g{number} to run, and it is {found.state}: it cannot come to the offsets of the other one. "
            "Let it run again, and compare when it has caught up"
        )
    return found


def _names(asked: Asked, one_side: Recorded, other_side: Recorded) -> list[str]:
    """What was asked for, as arguments of the extract: with everything, the views that the two codes make otherwise."""
    tables, metrics = asked.tables or (), asked.metrics or ()
    if not tables and not metrics:
        one, other = ((each.code or {}).get("declared", {}) for each in (one_side, other_side))
        different = changed(one, other)
        # What all views are made by is code of the lake.
        of_views = (one | other).keys() if "code lake" in different else different
        if views := _of_kind("view", of_views):
            tables = (*_of_kind("table", one | other), *views)
            metrics = _of_kind("metric", one | other)
    return [
        argument
        for option, names in (("--table", tables), ("--metric", metrics))
        for name in names
        for argument in (option, name)
    ]


def _of_kind(kind: str, declared: Iterable[str]) -> list[str]:
    return sorted(what.removeprefix(f"{kind} ") for what in declared if what.startswith(f"{kind} "))


def _side(side: Side, now: Generations, recorded: Recorded, other: Recorded) -> Side:
    code = (recorded.code or {}).get("digest")
    live = recorded.generation.number == now.live
    return replace(side, code=code, live=live, fewer=fewer(recorded.generation, other.generation))
