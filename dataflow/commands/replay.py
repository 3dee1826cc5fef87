"""`dataflow replay`: run the topics through the code again, beside the live numbers; look at the difference; cut over.

`plan` and `run` are here. Reads the log of generations, topics, lakes and Redis; `run` begins a generation.
"""

from collections.abc import Callable
from datetime import date, datetime
from functools import partial, wraps
from typing import Any

import click

from dataflow.commands.replay_acts import ACTS
from dataflow.commands.replay_diff import diff
from dataflow.commands.replay_status import follow, follow_command, status_command
from dataflow.options import (
    Beginning,
    DayRange,
    examples,
    json_option,
    print_json,
    settings_option,
    yes_option,
)
from dataflow.replay_text import plan_text
from infra.code import here
from infra.runtime.errors import NotRunning
from infra.runtime.run_state import read_run, running_settings
from infra.settings import FASTEST, Settings
from replay.origin import Origin
from replay.planning import check_room, plan_replay
from replay.run import check_planned, run_plan
from replay.selection import Selection
from serving.generation_progress import read_progress

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
    print_json({**plan.as_json(), "planned": plan.planned}) if as_json else click.echo(plan_text(plan))
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
@click.option(
    "--planned",
    metavar="PLAN",
    help="Only if it still is that: what `dataflow replay plan --json` tells as `planned`. For whoever confirms what "
    "somebody else, or a page, has shown.",
)
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
    planned: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Plan, ask, and run it: into a new generation beside the live one, which goes on unchanged.

    Waits until it has caught up. Ctrl-C ends the waiting and not the replay; `dataflow replay follow` waits again.
    """
    settings = running_settings(settings, needs=NEEDS)
    check_supervised(settings)
    only = Selection(tables, metrics)
    plan = plan_replay(
        settings, here(settings), throttle, lake_first=lake_first, only=only, days=days, origin=origin
    )
    check_planned(plan, planned)
    if not as_json:
        click.echo(plan_text(plan) + "\n")
    if not yes:
        click.confirm("Run it?", abort=True, err=True)
    generation = run_plan(settings, plan)
    if not detach:
        follow(settings, generation.number, partial(click.echo, err=as_json))
    progress = read_progress(settings, generation)
    if as_json:
        print_json({"plan": plan.as_json(), "progress": progress.as_json()})
    else:
        click.echo(
            "`dataflow replay diff` shows the difference, `dataflow replay "
            + (f"cancel {plan.name}` removes the trial" if plan.trial else f"promote {plan.name}` cuts over")
        )


def check_supervised(settings: Settings) -> None:
    """Raise NotRunning if the platform of this machine does not run: nobody would start the processes."""
    run = read_run(settings.state_dir)
    if run is not None and not run.is_alive():
        raise NotRunning(
            f"environment {settings.dataflow_env!r} does not run, and a replay needs processes of its own: "
            f"`dataflow up --env {settings.dataflow_env}` starts everything"
        )


for act in (status_command, follow_command, diff, *ACTS):
    command.add_command(act)
