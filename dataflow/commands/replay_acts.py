"""`dataflow replay pause|resume|cancel|promote|rollback|gc`: what changes which generation is live, runs, or is there.

Writes the log of generations, and removes what is given up.
"""

from dataclasses import asdict

import click

from dataflow.options import GenerationName, examples, json_option, print_json, settings_option, yes_option
from dataflow.replay_text import Told
from infra.generations import State, read_generations
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from replay.collect import check_given_up, collect, collectable
from replay.guards import Guards
from replay.run import set_state
from replay.switch import promote, rollback

NEEDS = ("kafka_bootstrap_servers", "redis_host")


generation_argument = click.argument("number", metavar="GENERATION", type=GenerationName())


@click.command("pause", epilog=examples("dataflow replay pause g2"))
@generation_argument
@json_option
@settings_option
def pause_command(settings: Settings, number: int, as_json: bool) -> None:
    """Have a generation stand still, to save the machine; it keeps what it has."""
    set_state(running_settings(settings, needs=NEEDS[:1]), number, State.PAUSED)
    tell(
        f"g{number} pauses; `dataflow replay resume g{number}` lets it go on from there",
        as_json,
        paused=number,
    )


@click.command("resume", epilog=examples("dataflow replay resume g2"))
@generation_argument
@json_option
@settings_option
def resume_command(settings: Settings, number: int, as_json: bool) -> None:
    """Let a generation that pauses go on from where it is."""
    set_state(running_settings(settings, needs=NEEDS[:1]), number, State.RUNNING)
    tell(f"g{number} goes on; `dataflow replay status` tells how far it is", as_json, resumed=number)


@click.command("cancel", epilog=examples("dataflow replay cancel g2"))
@generation_argument
@yes_option
@json_option
@settings_option
def cancel_command(settings: Settings, number: int, yes: bool, as_json: bool) -> None:
    """Give a generation up, and remove what it has made."""
    settings = running_settings(settings, needs=NEEDS)
    now = read_generations(settings)
    if number not in collectable(now):  # else a removal that was killed is to be finished
        now.of(number)
    if not yes:
        click.confirm(f"Remove everything that g{number} has made?", abort=True, err=True)
    remove(settings, [number], as_json)


@click.command(
    "promote", epilog=examples("dataflow replay promote g2", "dataflow replay promote g2 --pause-old")
)
@generation_argument
@click.option(
    "--pause-old",
    is_flag=True,
    help="The generation before stands still; going back takes longer, while topics still hold what it lacks.",
)
@click.option(
    "--max-difference",
    type=click.FloatRange(0, 1),
    help="Share of the rows of any table or metric that may differ. Not given: all of what the plan changes, and 0.05 "
    "of anything else.",
)
@click.option("--unexpected", is_flag=True, help="Also if rows differ where the plan expects none to.")
@click.option(
    "--undiffed",
    is_flag=True,
    help="Also if nobody has looked at the difference; a look that was counts.",
)
@click.option("--unverified", is_flag=True, help="Also if the second computation has not been made.")
@json_option
@settings_option
def promote_command(
    settings: Settings,
    number: int,
    pause_old: bool,
    max_difference: float | None,
    unexpected: bool,
    undiffed: bool,
    unverified: bool,
    as_json: bool,
) -> None:
    """Make a generation the live one, for numbers and lake at once."""
    settings = running_settings(settings, needs=NEEDS)
    guards = Guards(unverified, max_difference, unexpected, undiffed)
    now = promote(settings, number, guards, pause_old)
    old = "stands still" if pause_old else "keeps following"
    text = f"g{now.live} is live. g{now.before} {old}; `dataflow replay rollback` goes back to it"
    tell(text, as_json, live=now.live, before=now.before)


@click.command(
    "rollback", epilog=examples("dataflow replay rollback", "dataflow replay rollback --patience 600")
)
@click.option("--pause-old", is_flag=True, help="The generation that is left stands still.")
@click.option(
    "--patience", type=click.FloatRange(0), default=300.0, show_default=True, help="Seconds to catch up."
)
@click.option(
    "--leaving",
    type=GenerationName(),
    metavar="GENERATION",
    help="Only if this one is live: asked twice, it else goes forth again.",
)
@click.option(
    "--although-wrong", is_flag=True, help="Also if the second computation of the one before differs."
)
@json_option
@settings_option
def rollback_command(
    settings: Settings,
    pause_old: bool,
    patience: float,
    leaving: int | None,
    although_wrong: bool,
    as_json: bool,
) -> None:
    """Go back to the generation that was live before. One that pauses catches up first."""
    settings = running_settings(settings, needs=NEEDS)
    told = Told(lambda text: click.echo(text, err=as_json))
    now = rollback(settings, patience, pause_old, told, leaving, although_wrong)
    left = "stands still" if pause_old else "keeps following"
    tell(f"g{now.live} is live again; g{now.before} {left}", as_json, live=now.live, before=now.before)


@click.command("gc", epilog=examples("dataflow replay gc", "dataflow replay gc g1 --yes"))
@click.argument("numbers", metavar="[GENERATION]…", nargs=-1, type=GenerationName())
@yes_option
@json_option
@settings_option
def gc_command(settings: Settings, numbers: tuple[int, ...], yes: bool, as_json: bool) -> None:
    """Remove what generations have made that are given up, or come before the live one and pause.

    Unless it is named, not the one that a rollback goes back to, nor a replay that pauses.
    """
    settings = running_settings(settings, needs=NEEDS)
    now = read_generations(settings)
    chosen = list(numbers) or collectable(now)
    for number in chosen:
        check_given_up(now, number)
    if not chosen:
        tell("nothing to remove", as_json, removed=[])
        return
    if not yes:
        names = ", ".join(
            f"g{number}" + (", which a rollback goes back to," if number == now.before else "")
            for number in chosen
        )
        click.confirm(f"Remove everything that {names} made?", abort=True, err=True)
    remove(settings, chosen, as_json, running=False)


def tell(text: str, as_json: bool, **document: object) -> None:
    """What was done, for a person or a program; generations by their names."""
    named = {name: f"g{value}" if isinstance(value, int) else value for name, value in document.items()}
    print_json(named) if as_json else click.echo(text)


def remove(settings: Settings, numbers: list[int], as_json: bool, *, running: bool = True) -> None:
    removed = collect(settings, numbers, running=running)
    if as_json:
        print_json({"removed": [asdict(each) for each in removed]})
        return
    for each in removed:
        click.echo(
            f"{each.generation}: {each.keys:,} Redis keys, topics {', '.join(each.topics) or '–'}, directories "
            f"{', '.join(each.directories) or '–'} removed"
        )


ACTS = (pause_command, resume_command, cancel_command, promote_command, rollback_command, gc_command)
