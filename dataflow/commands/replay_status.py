"""`dataflow replay status` and `follow`: which generations there are, and how far each is.

Reads the log of generations, topics' ends, lakes' newest manifests and Redis. Changes nothing, but
that `follow` tells a lake not to rest.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import click

from dataflow.options import GenerationName, examples, json_option, print_json, print_table, settings_option
from dataflow.replay_text import Told
from infra.generations import Generations, State, read_generations
from infra.runtime.logs import Logs
from infra.runtime.run_state import failing, running_settings, unsteady
from infra.settings import Settings
from replay.errors import ReplayError
from replay.guards import NUMBERS_BEHIND
from replay.plan import Plan
from replay.verify.barrier import Barrier
from schemas.errors import DataflowError, Unavailable
from serving.generation_progress import Progress, read_progress
from serving.lake.reader import Lake
from streams.lake.place import lake_root

LOOK_SECONDS = 1.0
NEEDS = ("kafka_bootstrap_servers", "redis_host")
AWAY_SECONDS = 120.0  # that a service may need to be there again
END_LINES = 5
TRIAL_SHARE = 10  # of so few records as a trial has, what is near else may be nearly all


@click.command("status", epilog=examples("dataflow replay status", "dataflow replay status --json"))
@json_option
@settings_option
def status_command(settings: Settings, as_json: bool) -> None:
    """All generations, which is live, and how far each is."""
    settings = running_settings(settings, needs=NEEDS)
    now = read_generations(settings)
    rows = []
    for number, each in sorted(now.known.items()):
        row = {
            "generation": f"g{number}",
            "live": number == now.live,
            "state": each.state,
            "since": each.since,
        }
        if each.state is not State.GONE:
            try:
                row |= read_progress(settings, each.generation).as_json()
            except DataflowError as error:
                # What is wrong with one that is not live, be it that its topics are no more, hides none of the others.
                if number == now.live:
                    raise
                row["detail"] = str(error)
            plan = each.plan and Plan.from_json(each.plan)
            row["changed"] = list(plan.changed) if plan else []
            row["trial"] = bool(plan and plan.trial)
            row["failing"] = failing(settings.state_dir, each.generation.name)
            row["unsteady"] = unsteady(settings.state_dir, each.generation.name)
        rows.append(row)
    if as_json:
        print_json(
            {
                "live": now.live and f"g{now.live}",
                "before": now.before and f"g{now.before}",
                "generations": rows,
            }
        )
        return
    header = ("GENERATION", "", "STATE", "NUMBERS BEHIND", "LAKE BEHIND", "MANIFEST", "VERIFIED", "CHANGES")
    verdicts = {True: "exact", False: "NOT exact", None: "not yet"}
    print_table(
        header,
        (
            (
                row["generation"],
                "live" if row["live"] else "before" if row["generation"] == f"g{now.before}" else "",
                _state(row),
                row.get("numbers_behind"),
                row.get("lake_behind"),
                row.get("manifest"),
                verdicts[row["verified"]] if "verified" in row else None,
                ", ".join((*(["trial"] if row.get("trial") else []), *row.get("changed", ()))),
            )
            for row in rows
        ),
    )
    for row in rows:
        if "detail" in row:
            click.echo(f"{row['generation']}: {row['detail']}", err=True)


def _state(row: Mapping[str, Any]) -> str:
    if row.get("failing"):
        return f"{', '.join(row['failing'])} failed"
    again = [
        f"{name} has failed {times}\N{MULTIPLICATION SIGN}" for name, times in row.get("unsteady", {}).items()
    ]
    return ", ".join((row["state"], *again))


@click.command("follow", epilog=examples("dataflow replay follow", "dataflow replay follow g2"))
@click.argument("number", metavar="[GENERATION]", required=False, type=GenerationName())
@settings_option
def follow_command(settings: Settings, number: int | None) -> None:
    """Show how far a replay is, with its rate and the time to go, until it has caught up.

    The newest one that runs beside the live one, unless another is named. Ctrl-C ends the showing and not the replay.
    """
    settings = running_settings(settings, needs=NEEDS)
    now = read_generations(settings)
    follow(settings, followed(now) if number is None else now.of(number).generation.number)


def followed(now: Generations) -> int:
    """The newest generation that runs beside the live one. Raises ReplayError if there is none."""
    running = [number for number in now.running() if number != now.live]
    if not running:
        raise ReplayError(
            "expected a replay beside the live generation, and there is none: `dataflow replay run` begins one, "
            "`dataflow replay status` tells which generations there are"
        )
    return max(running)


def follow(settings: Settings, number: int, show: Callable[[str], None] = click.echo) -> None:
    """Show how far it is, until it is near the topics' ends.

    Raises ReplayError if it stands still, is no more, or one of its processes cannot go on; Unavailable if a service is
    away for long.
    """
    recorded = read_generations(settings).of(number)
    generation, plan = recorded.generation, recorded.plan and Plan.from_json(recorded.plan)
    near = max(500, plan.records // TRIAL_SHARE) if plan and plan.trial else NUMBERS_BEHIND
    near, told = min(near, NUMBERS_BEHIND), Told(show, plan.throttle if plan else 0)
    lake = Barrier(settings, generation.name, Lake(lake_root(settings, generation.name)))
    logs, stumbled, answered = Logs(settings.state_dir / "logs"), {}, time.monotonic()
    while True:
        try:
            progress = _going_on(settings, number, logs)
        except Unavailable as error:  # a service that starts again; the replay goes on when it is there
            if time.monotonic() - answered > AWAY_SECONDS:
                raise Unavailable(
                    f"{error}. {generation.name} is begun all the same: `dataflow replay follow {generation.name}` "
                    "when it answers"
                ) from error
            time.sleep(LOOK_SECONDS)
            continue
        answered = time.monotonic()
        before, stumbled = stumbled, unsteady(settings.state_dir, generation.name)
        for name, times in stumbled.items():
            if times != before.get(name):
                end = logs.tail(name, END_LINES)
                show(f"{name} has failed and begins again (in a row: {times}). The end of its log:\n{end}")
        told(progress)
        begun = progress.numbers != progress.starts or not progress.records
        if progress.manifest is not None and begun and progress.numbers_behind <= near:
            if progress.lake_behind <= near:
                return
            with suppress(Unavailable):
                lake.hurry()  # which else rests
        time.sleep(LOOK_SECONDS)


def _going_on(settings: Settings, number: int, logs: Logs) -> Progress:
    """How far it is. Raises ReplayError if it cannot come any further, Unavailable."""
    now = read_generations(settings)
    if now.live is None or number not in now.known:  # as of a broker that has just started again
        raise Unavailable("the log of generations is not to be seen yet")
    recorded = now.of(number)
    generation = recorded.generation
    if recorded.state is not State.RUNNING:
        raise ReplayError(
            f"expected {generation.name} to run, and it stands still: `dataflow replay resume {generation.name}` "
            "lets it go on"
        )
    if failed := failing(settings.state_dir, generation.name):
        raise ReplayError(
            f"expected the processes of {generation.name} to run, and {', '.join(failed)} failed. The end of "
            f"{failed[0]}'s log:\n{logs.tail(failed[0])}\nThe live generation is as it was. `dataflow replay "
            f"cancel {generation.name}` removes what there is of this one"
        )
    return read_progress(settings, generation)
