"""`dataflow replay`: run the topics through the code again, beside the live numbers; look at the difference; cut over.

Reads the log of generations, topics, lakes and Redis; writes the log of generations, and removes what is given up.
"""

import time
from collections.abc import Callable

import click

from dataflow.options import examples, json_option, print_json, print_table, settings_option, yes_option
from dataflow.replay_text import plan_text, progress_text
from infra.code import here
from infra.generations import State, read_generations
from infra.runtime.errors import NotRunning
from infra.runtime.run_state import read_run, running_settings
from infra.settings import Settings
from replay.collect import collect, known_gone
from replay.plan import Plan
from replay.planning import check_room, plan_replay
from replay.progress import Progress, read_progress
from replay.run import run_plan, set_state
from replay.switch import NUMBERS_BEHIND, Guards, promote, rollback

LOOK_SECONDS = 1.0
NEEDS = ("kafka_bootstrap_servers", "redis_host", "kafka_schema_registry")


class GenerationName(click.ParamType):
    """A generation, `g2` or `2`."""

    name = "generation"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        digits = str(value).removeprefix("g")
        if not digits.isdecimal() or not int(digits):
            self.fail(f"expected a generation, such as g2; saw {value!r}", param, ctx)
        return int(digits)


generation_argument = click.argument("number", metavar="GENERATION", type=GenerationName())
throttle_option = click.option(
    "--throttle",
    type=click.IntRange(0),
    default=2_000,
    show_default=True,
    help="Records a second, so that the live numbers keep their pace; 0: as fast as it goes.",
)


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


@command.command("plan", epilog=examples("dataflow replay plan", "dataflow replay plan --json"))
@throttle_option
@json_option
@settings_option
def plan_command(settings: Settings, throttle: int, as_json: bool) -> None:
    """What a replay by the code that is here would do. Changes nothing."""
    settings = running_settings(settings, needs=NEEDS)
    plan = plan_replay(settings, here(settings), throttle)
    print_json(plan.as_json()) if as_json else click.echo(plan_text(plan))
    check_room(plan)


@command.command("run", epilog=examples("dataflow replay run", "dataflow replay run --yes --detach"))
@throttle_option
@click.option("--detach", is_flag=True, help="Do not wait until it has caught up.")
@yes_option
@json_option
@settings_option
def run_command(settings: Settings, throttle: int, detach: bool, yes: bool, as_json: bool) -> None:
    """Plan, ask, and run it: into a new generation beside the live one, which goes on unchanged.

    Waits until it has caught up; Ctrl-C ends the waiting and not the replay.
    """
    settings = running_settings(settings, needs=NEEDS)
    check_supervised(settings)
    plan = plan_replay(settings, here(settings), throttle)
    if not as_json:
        click.echo(plan_text(plan) + "\n")
    if not yes:
        click.confirm("Run it?", abort=True, err=True)
    generation = run_plan(settings, plan)
    if not detach:
        follow(settings, generation.number, lambda text: click.echo(text, err=as_json))
    progress = read_progress(settings, generation)
    if as_json:
        print_json({"plan": plan.as_json(), "progress": progress.as_json()})
    else:
        click.echo(
            f"`dataflow replay diff` shows the difference, `dataflow replay promote {plan.name}` cuts over"
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
            row |= read_progress(settings, each.generation).as_json()
            plan = each.plan and Plan.from_json(each.plan)
            row["changed"] = list(plan.changed) if plan else []
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
                row["state"],
                row.get("numbers_behind"),
                row.get("lake_behind"),
                row.get("manifest"),
                verdicts[row["verified"]] if "verified" in row else None,
                ", ".join(row.get("changed", ())),
            )
            for row in rows
        ),
    )


@command.command("pause", epilog=examples("dataflow replay pause g2"))
@generation_argument
@settings_option
def pause_command(settings: Settings, number: int) -> None:
    """Have a generation stand still, to save the machine; it keeps what it has."""
    set_state(running_settings(settings, needs=NEEDS[:1]), number, State.PAUSED)
    click.echo(f"g{number} pauses; `dataflow replay resume g{number}` lets it go on from there")


@command.command("resume", epilog=examples("dataflow replay resume g2"))
@generation_argument
@settings_option
def resume_command(settings: Settings, number: int) -> None:
    """Let a generation that pauses go on from where it is."""
    set_state(running_settings(settings, needs=NEEDS[:1]), number, State.RUNNING)
    click.echo(f"g{number} goes on; `dataflow replay status` tells how far it is")


@command.command("cancel", epilog=examples("dataflow replay cancel g2"))
@generation_argument
@yes_option
@settings_option
def cancel_command(settings: Settings, number: int, yes: bool) -> None:
    """Give a generation up, and remove what it has made."""
    settings = running_settings(settings, needs=NEEDS)
    read_generations(settings).of(number)
    if not yes:
        click.confirm(f"Remove everything that g{number} has made?", abort=True, err=True)
    remove(settings, [number])


@command.command(
    "promote", epilog=examples("dataflow replay promote g2", "dataflow replay promote g2 --pause-old")
)
@generation_argument
@click.option(
    "--pause-old", is_flag=True, help="The generation before stands still; going back to it takes longer."
)
@click.option("--max-difference", type=click.FloatRange(0, 1), default=0.05, show_default=True)
@click.option("--unexpected", is_flag=True, help="Also if rows differ where the plan expects none to.")
@click.option("--undiffed", is_flag=True, help="Also if nobody has looked at the difference.")
@click.option("--unverified", is_flag=True, help="Also if the second computation has not found it exact.")
@settings_option
def promote_command(
    settings: Settings,
    number: int,
    pause_old: bool,
    max_difference: float,
    unexpected: bool,
    undiffed: bool,
    unverified: bool,
) -> None:
    """Make a generation the live one, for numbers and lake at once."""
    settings = running_settings(settings, needs=NEEDS)
    guards = Guards(unverified, max_difference, unexpected, undiffed)
    now = promote(settings, number, guards, pause_old)
    old = "stands still" if pause_old else "keeps following"
    click.echo(f"g{now.live} is live. g{now.before} {old}; `dataflow replay rollback` goes back to it")


@command.command(
    "rollback", epilog=examples("dataflow replay rollback", "dataflow replay rollback --patience 600")
)
@click.option("--pause-old", is_flag=True, help="The generation that is left stands still.")
@click.option(
    "--patience", type=click.FloatRange(0), default=300.0, show_default=True, help="Seconds to catch up."
)
@settings_option
def rollback_command(settings: Settings, pause_old: bool, patience: float) -> None:
    """Go back to the generation that was live before. One that pauses catches up first."""
    settings = running_settings(settings, needs=NEEDS)
    told = Told()
    now = rollback(settings, patience, pause_old, told)
    click.echo(
        f"g{now.live} is live again; g{now.before} {'stands still' if pause_old else 'keeps following'}"
    )


@command.command("gc", epilog=examples("dataflow replay gc", "dataflow replay gc g1 --yes"))
@click.argument("numbers", metavar="[GENERATION]…", nargs=-1, type=GenerationName())
@yes_option
@settings_option
def gc_command(settings: Settings, numbers: tuple[int, ...], yes: bool) -> None:
    """Remove what generations have made that are given up, or pause and are not what a rollback goes back to."""
    settings = running_settings(settings, needs=NEEDS)
    chosen = list(numbers) or known_gone(settings)
    if not chosen:
        click.echo("nothing to remove")
        return
    if not yes:
        names = ", ".join(f"g{number}" for number in chosen)
        click.confirm(f"Remove everything that {names} made?", abort=True, err=True)
    remove(settings, chosen)


def remove(settings: Settings, numbers: list[int]) -> None:
    for each in collect(settings, numbers):
        click.echo(
            f"{each.generation}: {each.keys:,} Redis keys, topics {', '.join(each.topics) or '–'}, directories "
            f"{', '.join(each.directories) or '–'} removed"
        )


def check_supervised(settings: Settings) -> None:
    """Raise NotRunning if the platform of this machine does not run: nobody would start the processes."""
    run = read_run(settings.state_dir)
    if run is not None and not run.is_alive():
        raise NotRunning(
            f"environment {settings.dataflow_env!r} does not run, and a replay needs processes of its own: "
            f"`dataflow up --env {settings.dataflow_env}` starts everything"
        )


def follow(settings: Settings, number: int, show: Callable[[str], None]) -> None:
    """Show how far it is until it has caught up."""
    told = Told(show)
    while True:
        progress = read_progress(settings, read_generations(settings).of(number).generation)
        told(progress)
        if progress.manifest is not None and progress.behind <= NUMBERS_BEHIND:
            return
        time.sleep(LOOK_SECONDS)


class Told:
    """Says how far a generation is, when that has changed, with rate and time to go."""

    def __init__(self, show: Callable[[str], None] = click.echo) -> None:
        self._show, self._first = show, None
        self._last = float("-inf")

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        self._first = self._first or (now, progress.behind)
        if now - self._last >= 5 * LOOK_SECONDS or progress.behind <= NUMBERS_BEHIND:
            self._show(progress_text(progress, self._first[1], now - self._first[0]))
            self._last = now
