"""`dataflow replay`: run the topics through the code again, beside the live numbers; look at the difference; cut over.

`plan`, `run` and `status` are here. Reads the log of generations, topics, lakes and Redis; `run` begins a generation.
"""

import time
from collections.abc import Callable
from datetime import date, datetime
from functools import partial, wraps
from typing import Any

import click

from dataflow.commands.replay_acts import ACTS
from dataflow.commands.replay_diff import diff
from dataflow.options import (
    Beginning,
    DayRange,
    examples,
    json_option,
    print_json,
    print_table,
    settings_option,
    yes_option,
)
from dataflow.replay_text import Told, plan_text
from infra.code import here
from infra.generations import State, read_generations
from infra.runtime.errors import NotRunning
from infra.runtime.logs import Logs
from infra.runtime.run_state import failing, read_run, running_settings
from infra.settings import FASTEST, Settings
from replay.errors import ReplayError
from replay.guards import NUMBERS_BEHIND
from replay.origin import Origin
from replay.plan import Plan
from replay.planning import check_room, plan_replay
from replay.run import run_plan
from replay.selection import Selection
from replay.verify.barrier import Barrier
from schemas.errors import DataflowError
from serving.generation_progress import read_progress
from serving.lake.reader import Lake
from streams.lake.place import lake_root

LOOK_SECONDS = 1.0
NEEDS = ("kafka_bootstrap_servers", "redis_host", "kafka_schema_registry")


throttle_option = click.option(
    "--throttle",
    type=click.IntRange(0, FASTEST),
    default=2_000,
    show_default=True,
    help="Records a second, so that the live numbers keep their pace; 0: as fast as it goes.",
)


lake_first_option = click.option(
    "--lake-first",
    is_flag=True,
    help="Fill the lake first, and the live numbers out of it. Before a promote, see that its numbers follow.",
)


def only_options(command: Callable) -> Callable:
    """What to make anew, and where that is meant to show, if not everything and everywhere."""
    table = click.option(
        "--table",
        "tables",
        multiple=True,
        metavar="NAME",
        help="Only this table of the lake, out of its silver.",
    )
    metric = click.option(
        "--metric", "metrics", multiple=True, metavar="NAME", help="Only this metric, out of the live lake."
    )
    day = click.option(
        "--day",
        "days",
        type=DayRange(),
        metavar="D[..D]",
        help="Only rows of these days are meant to differ: a promote that finds others is refused.",
    )
    return table(metric(day(command)))


def origin_options(command: Callable) -> Callable:
    """Of which records it is a trial, if not of all; hands in `origin`."""

    @click.option(
        "--from",
        "begins",
        type=Beginning(),
        multiple=True,
        metavar="TIME|PLACE",
        help="A trial, of what the broker took from then on (2h: two hours ago), or of a partition from an offset on: "
        "orders/0:1200 (several may be named). It cannot be promoted.",
    )
    @click.option(
        "--topic",
        "topics",
        multiple=True,
        metavar="NAME",
        help="A trial, of this source topic; of others only what is new.",
    )
    @wraps(command)
    def wrapper(*args: Any, begins: tuple[Any, ...], topics: tuple[str, ...], **kwargs: Any) -> Any:
        times = [each for each in begins if isinstance(each, datetime)]
        places = [each for each in begins if not isinstance(each, datetime)]
        offsets = dict(places)
        if len(times) > 1 or len(offsets) < len(places):
            raise click.BadParameter(
                "expected one time at most, and each partition once", param_hint="--from"
            )
        return command(*args, origin=Origin(times[0] if times else None, offsets, topics), **kwargs)

    return wrapper


@click.group(
    epilog=examples(
        "dataflow replay plan",
        "dataflow replay run",
        "dataflow replay diff",
        "dataflow replay promote g2",
        "dataflow replay rollback",
    )
)
def command() -> None:
    """Run the topics through this code again, beside the live numbers; see the difference; cut over, or go back."""


@command.command(
    "plan",
    epilog=examples(
        "dataflow replay plan",
        "dataflow replay plan --metric revenue",
        "dataflow replay plan --table daily_sales --day 2026-03-02",
        "dataflow replay plan --from 2h --topic orders",
        "dataflow replay plan --json",
    ),
)
@throttle_option
@lake_first_option
@only_options
@origin_options
@json_option
@settings_option
def plan_command(
    settings: Settings,
    throttle: int,
    lake_first: bool,
    tables: tuple[str, ...],
    metrics: tuple[str, ...],
    days: tuple[date, date] | None,
    origin: Origin,
    as_json: bool,
) -> None:
    """What a replay by the code that is here would do. Changes nothing."""
    settings = running_settings(settings, needs=NEEDS)
    only = Selection(tables, metrics)
    plan = plan_replay(
        settings, here(settings), throttle, lake_first=lake_first, only=only, days=days, origin=origin
    )
    print_json(plan.as_json()) if as_json else click.echo(plan_text(plan))
    check_room(plan)


@command.command(
    "run",
    epilog=examples(
        "dataflow replay run", "dataflow replay run --table daily_sales", "dataflow replay run --yes --detach"
    ),
)
@throttle_option
@lake_first_option
@only_options
@origin_options
@click.option("--detach", is_flag=True, help="Do not wait until it has caught up.")
@yes_option
@json_option
@settings_option
def run_command(
    settings: Settings,
    throttle: int,
    lake_first: bool,
    tables: tuple[str, ...],
    metrics: tuple[str, ...],
    days: tuple[date, date] | None,
    origin: Origin,
    detach: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Plan, ask, and run it: into a new generation beside the live one, which goes on unchanged.

    Waits until it has caught up; Ctrl-C ends the waiting and not the replay.
    """
    settings = running_settings(settings, needs=NEEDS)
    check_supervised(settings)
    only = Selection(tables, metrics)
    plan = plan_replay(
        settings, here(settings), throttle, lake_first=lake_first, only=only, days=days, origin=origin
    )
    if not as_json:
        click.echo(plan_text(plan) + "\n")
    if not yes:
        click.confirm("Run it?", abort=True, err=True)
    generation = run_plan(settings, plan)
    if not detach:
        # Of a trial, so few records behind may be nearly all.
        near = max(500, plan.records // 10) if plan.trial else NUMBERS_BEHIND
        show = partial(click.echo, err=as_json)
        follow(settings, generation.number, plan.throttle, show, min(near, NUMBERS_BEHIND))
    progress = read_progress(settings, generation)
    if as_json:
        print_json({"plan": plan.as_json(), "progress": progress.as_json()})
    else:
        click.echo(
            "`dataflow replay diff` shows the difference, `dataflow replay "
            + (f"cancel {plan.name}` removes the trial" if plan.trial else f"promote {plan.name}` cuts over")
        )


@command.command("status", epilog=examples("dataflow replay status", "dataflow replay status --json"))
@json_option
@settings_option
def status_command(settings: Settings, as_json: bool) -> None:
    """All generations, which is live, and how far each is."""
    settings = running_settings(settings, needs=("kafka_bootstrap_servers", "redis_host"))
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
                f"{', '.join(row['failing'])} failed" if row.get("failing") else row["state"],
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


def check_supervised(settings: Settings) -> None:
    """Raise NotRunning if the platform of this machine does not run: nobody would start the processes."""
    run = read_run(settings.state_dir)
    if run is not None and not run.is_alive():
        raise NotRunning(
            f"environment {settings.dataflow_env!r} does not run, and a replay needs processes of its own: "
            f"`dataflow up --env {settings.dataflow_env}` starts everything"
        )


def follow(
    settings: Settings,
    number: int,
    throttle: int,
    show: Callable[[str], None],
    near: int = NUMBERS_BEHIND,
) -> None:
    """Show how far it is, until it is `near` the topics' ends.

    Raises ReplayError if one of its processes cannot go on.
    """
    told, generation = Told(show, throttle), read_generations(settings).of(number).generation
    lake = Barrier(settings, generation.name, Lake(lake_root(settings, generation.name)))
    while True:
        generation = read_generations(settings).of(number).generation
        if failed := failing(settings.state_dir, generation.name):
            tail = Logs(settings.state_dir / "logs").tail(failed[0])
            raise ReplayError(
                f"expected the processes of {generation.name} to run, and {', '.join(failed)} failed. The end of "
                f"{failed[0]}'s log:\n{tail}\nThe live generation is as it was. `dataflow replay cancel "
                f"{generation.name}` removes what there is of this one"
            )
        progress = read_progress(settings, generation)
        told(progress)
        begun = progress.numbers != progress.starts or not progress.records
        if progress.manifest is not None and begun and progress.numbers_behind <= near:
            if progress.lake_behind <= near:
                return
            lake.hurry()  # which else rests
        time.sleep(LOOK_SECONDS)


for act in (diff, *ACTS):
    command.add_command(act)
