"""What must be so before a generation is made the live one, each told in words where it is not.

`check_…` raise ReplayError. Reads the state of this machine's platform; all else is handed in.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.generations import Generation, Recorded, State
from infra.kafka import Offsets
from infra.runtime.run_state import failed, failing, read_run
from infra.runtime.spec import State as ProcessState
from infra.runtime.spec import suffix
from infra.settings import Settings
from replay.differences import Kept
from replay.errors import ReplayError
from replay.plan import UNRECORDED
from serving.generation_progress import Progress

# A generation that follows is some hundred records behind at a high rate; its lake rests (see `streams.rest`).
NUMBERS_BEHIND = 5_000
FEW = 0.05  # of the rows
VERIFIED_WITHIN = 3600.0  # seconds
DIFFED_WITHIN = 24 * 3600.0  # seconds
READY = str(ProcessState.READY)


@dataclass(frozen=True)
class Guards:
    """What a promote goes without, because somebody said so.

    `unverified`: the second computation need not have been made; one that differs is no matter of taste.
    `most_differing`: at most this share of a table's or metric's rows differs from the live generation's. None: nobody
    has stated one, so what the plan changes may differ in all of them, and anything else in few.
    `unexpected`: also where the plan expects no difference, be it a table, a metric or a day. `undiffed`: nobody need
    have looked; what somebody has found all the same counts.
    """

    unverified: bool = False
    most_differing: float | None = None
    unexpected: bool = False
    undiffed: bool = False


def check_running(recorded: Recorded) -> None:
    if recorded.state is not State.RUNNING:
        name = recorded.generation.name
        raise ReplayError(
            f"expected generation {name} to follow the topics, and it is {recorded.state}: `dataflow replay resume "
            f"{name}`, wait until it has caught up, then try again"
        )


def check_answering(settings: Settings, generation: Generation) -> None:
    """The old API leaves as soon as the pointer moves: on the platform of this machine its successor has to be up."""
    run = read_run(settings.state_dir)
    rows = run.processes if run is not None and run.is_alive() else []
    mine = [
        row
        for row in rows
        if row["name"] == "api" + suffix(generation.name) or _serves(settings, row, generation)
    ]
    if any(row["name"].startswith("api") for row in rows) and not any(row["state"] == READY for row in mine):
        raise ReplayError(
            f"expected the API of {generation.name} to be ready to take over, and it is not: `dataflow status` shows "
            "its state; try again when it is"
        )


def check_processes(settings: Settings, generation: Generation, found: Sequence[str] | None = None) -> None:
    """What cannot go on counts nothing once it is live; nobody may notice before new records come.

    `found`: those of its processes that cannot, if somebody has looked.
    """
    if found := failing(settings.state_dir, generation.name) if found is None else found:
        raise ReplayError(
            f"expected the processes of {generation.name} to run, and {', '.join(found)} failed: see the log of each; "
            "try again when they do"
        )


def check_counting(settings: Settings, generation: Generation) -> None:
    """The same of one that is gone back to: of what has failed for good, and its verifier counts nothing."""
    found = failed(settings.state_dir, generation.name)
    check_processes(settings, generation, [name for name in found if not name.startswith("verifier")])


def _serves(settings: Settings, row: Mapping[str, Any], generation: Generation) -> bool:
    """Whether the API that was there from the start serves this generation, by its own word."""
    try:
        status = json.loads((settings.state_dir / "status" / "api.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return row["name"] == "api" and status.get("generation") == generation.number


def check_caught_up(progress: Progress) -> None:
    """A reader that was told of a record must not be told of fewer."""
    if progress.numbers_behind > NUMBERS_BEHIND or progress.manifest is None:
        raise ReplayError(
            f"expected {progress.generation} to have caught up with the topics, and its numbers are "
            f"{progress.numbers_behind:,} records behind, its lake {progress.lake_behind:,}: `dataflow replay follow "
            f"{progress.generation}` tells how fast it comes"
        )


def check_reached(progress: Progress, ends: Offsets) -> None:
    """Its numbers are functions of all that was there when somebody asked, so its live job gives verdicts."""
    missing = sum(max(0, end - progress.numbers.get(at, 0)) for at, end in ends.items())
    if missing:
        raise ReplayError(
            f"expected the numbers of {progress.generation} to follow, and they have not come to where the topics "
            f"ended when this was asked: {missing:,} records are missing. A live job that has just started needs a "
            f"minute or so: `dataflow status` shows live@{progress.generation}; try again when `dataflow replay "
            "status` shows few records behind"
        )


def check_lake_reached(progress: Progress, told: Offsets) -> None:
    """Its tables are functions of all that the live generation's were when somebody asked, of the topics that it reads.

    The other one may read more: contracts of one's own come and go with the code.
    """
    topics = {topic for topic, _ in progress.ends}
    missing = sum(max(0, offset - progress.lake.get(at, 0)) for at, offset in told.items() if at[0] in topics)
    if missing:
        raise ReplayError(
            f"expected the lake of {progress.generation} to have come to where the live one is, and {missing:,} "
            "records are missing: wait until it has; `dataflow replay status` tells how far it is"
        )


def check_judging(verdicts: int, progress: Progress, held: int) -> None:
    """`verdicts` were ever written to its judged topic, and the topics hold offsets (`held`) to give some on.

    What its lake has filled in says nothing of its live job.
    """
    if not verdicts and held:
        raise ReplayError(
            f"expected the live job of {progress.generation} to have given verdicts, and it has given none yet: "
            f"`dataflow status` shows live@{progress.generation}; try again when it is ready"
        )


def check_not_wrong(progress: Progress) -> None:
    """What is gone back to was right when it was looked at last. That nobody has is no reason to stay."""
    found = progress.verified
    if found is not None and found.exact is False:
        raise ReplayError(
            f"expected {progress.generation} to have been exact, and the second computation differs in "
            f"{', '.join(each['table'] for each in found.differences)}: `dataflow verify --generation "
            f"{progress.generation}` shows the rows; --although-wrong goes back to it all the same"
        )


def check_verified(progress: Progress, now: float, may_be_missing: bool = False) -> None:
    found = progress.verified
    name = progress.generation
    if found is not None and found.exact is False:
        raise ReplayError(
            f"expected {name} to be exact, and the second computation differs in "
            f"{', '.join(each['table'] for each in found.differences)}: do not promote it; `dataflow verify "
            f"--generation {name}` shows the rows"
        )
    if may_be_missing:
        return
    if found is None or found.exact is None or found.whole_at is None:
        why = (found.detail or "not all of it") if found else "its verifier has not finished a round"
        raise ReplayError(
            f"expected {name}, tables and live numbers, to have been computed a second time and found exact, and it "
            f"was not yet ({why}): wait "
            f"for the process verifier@{name}, or `dataflow verify --generation {name}`; --unverified goes without"
        )
    if now - found.at > VERIFIED_WITHIN:
        raise ReplayError(
            f"expected {name} to have been verified within the last hour, and that was {(now - found.at) / 3600:.1f} "
            "hours ago: is its verifier running? --unverified goes without"
        )


def check_difference(kept: Kept | None, recorded: Recorded, guards: Guards, now: float) -> None:
    name = recorded.generation.name
    if kept is None and guards.undiffed:
        if guards.most_differing is None:
            return
        raise ReplayError(
            f"expected a difference to hold against --max-difference {guards.most_differing}, and nobody has looked at "
            f"the one between the live generation and {name}: `dataflow replay diff`, or leave one of the two out"
        )
    if kept is None:
        raise ReplayError(
            f"expected somebody to have looked at the difference between the live generation and {name}: `dataflow "
            "replay diff` shows it; --undiffed goes without"
        )
    if now - kept.at > DIFFED_WITHIN and not guards.undiffed:
        raise ReplayError(
            f"expected somebody to have looked at the difference between the live generation and {name} within the "
            f"last day, and that was {(now - kept.at) / 86_400:.1f} days ago: `dataflow replay diff` shows what it is "
            "by now; --undiffed goes without"
        )
    plan = recorded.plan or {}
    if plan.get("days") and not guards.unexpected:
        check_days_differing(kept.days, *plan["days"])
    affects = plan.get("affects", {})
    expected = {
        f"{kind} {name}"
        for kind, names in (("table", "tables"), ("table", "views"), ("metric", "metrics"))
        for name in affects.get(names, ())
    }
    # What there is no more, or by another name, affects nothing.
    expected |= {what.replace("view ", "table ") for what in plan.get("changed", ())}
    if UNRECORDED in plan.get("changed", ()):
        expected = set()  # anything may be otherwise, so nothing is known to be
    surprising = sorted(set(kept.differing) - expected)
    if surprising and not guards.unexpected:
        raise ReplayError(
            f"expected differences only where the plan has changes ({', '.join(sorted(expected)) or 'nowhere'}), and "
            f"there are some in {', '.join(surprising)}: look at `dataflow replay diff`; --unexpected goes without"
        )
    stated = guards.most_differing
    most = FEW if stated is None else stated
    shares = {n: share for n, share in kept.differing.items() if stated is not None or n not in expected}
    worst = max(shares, key=shares.__getitem__, default=None)
    if worst is not None and shares[worst] > most:
        raise ReplayError(
            f"expected at most {most:.1%} of the rows of a table or metric to differ, and of the {worst} it is "
            f"{shares[worst]:.1%}: if that is meant, --max-difference {shares[worst]:.3f}"
        )


def check_days_differing(found: Mapping[str, Sequence[str]], first: str, last: str) -> None:
    """Raise ReplayError if rows of other days than the planned ones differ (ISO dates; "" for rows without a day).

    What has no days, such as a figure of all orders, is not held to them.
    """
    for name, days in sorted(found.items()):
        others = [day for day in days if not first <= day <= last]
        if others:
            more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
            where = f"{others[0] or 'rows without a day'}{more}"
            raise ReplayError(
                f"expected rows of {first}..{last} to differ, as planned, and of no other day, and the {name} differs "
                f"at {where}: look at `dataflow replay diff`; --unexpected goes without"
            )
