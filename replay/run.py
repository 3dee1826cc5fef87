"""Carries out a plan: begins the generation, and from then on its processes do the rest. Cancels and pauses it.

Writes topics and schemas that are missing, a copy of the code, and the log of generations: one transaction, which is
the moment at which the replay exists. What is killed before has begun nothing that matters, and may be run again.
"""

from dataclasses import replace

from infra.bootstrap import prepare
from infra.code import keep
from infra.failpoints import Failpoints
from infra.generation import begin_generation, source_bounds
from infra.generations import (
    Changes,
    Generation,
    Generations,
    State,
    change_generations,
    read_generations,
)
from infra.kafka import Offsets
from infra.settings import Settings
from replay.errors import ReplayError
from replay.plan import Plan
from replay.planning import check_held, check_room, live_of, refuse_second
from schemas.errors import GenerationError
from streams.archive import archive_of
from streams.lake.manifest import newest_manifest
from streams.lake.place import lake_root


def run_plan(settings: Settings, plan: Plan) -> Generation:
    """Begin the generation of `plan`. Raises ReplayError if what it was made for is no longer so."""
    check_room(plan)
    failpoints = Failpoints(settings)
    code = keep(settings)
    if code.digest != plan.code:
        raise ReplayError(
            f"expected the code that was planned for ({plan.code}), and it was edited since ({code.digest}): plan again"
        )
    check_still_next(plan, read_generations(settings))
    prepare(settings)
    failpoints.hit("replay.before_begin")

    def decide(now: Generations) -> Changes:
        check_still_next(plan, now)
        try:
            begun = begin_generation(
                settings, plan.number, plan.archive, lambda begun: check_starts(settings, plan, begun)
            )
        except GenerationError:
            refuse_moved_seam(settings, plan, now)
            raise
        # What begins as another lake has what that has, from where on that has it.
        starts = now.of(plan.clone.number).generation.starts if plan.clone else begun.starts
        if plan.trial:
            planned = {(span.topic, span.partition): span.start for span in plan.spans}
            check_ends(planned, source_bounds(settings, begun)[1])
            starts = begun.by_topic({at: planned.get(at, begun.start(*at)) for at in begun.partitions()})
        generation = replace(begun, starts=starts, lake_first=plan.lake_first, clone=plan.clone)
        failpoints.hit("replay.before_record")
        return {
            generation.name: generation.as_json(),
            f"{generation.name}/code": code.as_json(),
            f"{generation.name}/plan": plan.as_json(),
            f"{generation.name}/state": {"state": State.RUNNING},
        }

    now = change_generations(settings, decide)
    failpoints.hit("replay.after_record")
    return now.known[plan.number].generation


def check_planned(plan: Plan, planned: str | None) -> None:
    """Raise ReplayError if `plan` is of other code or generations than the one that somebody has looked at."""
    if planned not in (None, plan.planned):
        raise ReplayError(
            f"expected to run what was planned ({planned}: the live generation, the next one, the code), and by now it "
            f"is {plan.planned}: somebody has edited, promoted or begun something since; look at the plan again"
        )


def check_still_next(plan: Plan, now: Generations) -> None:
    """Raise ReplayError if something has begun or become live since that it was planned without."""
    if live_of(now).number != plan.base or now.next_number() != plan.number:
        raise ReplayError(
            f"expected g{plan.base} to be live and {plan.name} to be the next, as planned, and now g{now.live} is "
            f"live, g{now.next_number()} the next: plan again"
        )
    refuse_second(now)


def check_starts(settings: Settings, plan: Plan, begun: Generation) -> None:
    """Raise ReplayError if a topic has lost records since that the plan has: it would begin behind them, unseen."""
    if plan.clone:
        manifest = newest_manifest(lake_root(settings, f"g{plan.clone.number}"))
        if manifest is not None:  # else there is nothing to begin with, as its lake will say
            check_held(f"g{plan.clone.number}", manifest, {at: begun.start(*at) for at in begun.partitions()})
        return
    for span in plan.spans:
        start = begun.start(span.topic, span.partition)
        if start > span.start:
            raise ReplayError(
                f"expected {span.topic}/{span.partition} to be read from offset {span.start}, as planned, and the "
                f"topic begins at {start} by now: plan again, with what the topic still has, or what bronze gives"
            )


def refuse_moved_seam(settings: Settings, plan: Plan, now: Generations) -> None:
    """Raise ReplayError if bronze has what the topics have lost since the plan, GenerationError if it has not."""
    if plan.archive is None:
        return
    found = archive_of(settings, now.of(plan.archive.number).generation)
    if found is not None and found.seams != plan.archive.seams:
        raise ReplayError(
            f"expected the topics to begin where they did when this was planned, and they have lost records since, "
            f"which bronze of g{plan.archive.number} has: plan again"
        )


def check_ends(planned: Offsets, ends: Offsets) -> None:
    """Raise ReplayError if a trial would begin behind a topic's end: it was created again since."""
    for (topic, partition), start in planned.items():
        if start > (end := ends.get((topic, partition), 0)):
            raise ReplayError(
                f"expected {topic}/{partition} to go on from offset {start}, as planned, and it ends at {end} by "
                "now: it was created again; plan again"
            )


def set_state(settings: Settings, number: int, state: State) -> None:
    """Pause a generation, let it go on, or give it up. Raises ReplayError for the live one, GenerationError."""

    def decide(now: Generations) -> Changes:
        found = now.of(number)
        if number == now.live:
            raise ReplayError(
                f"expected a generation that is not live, and g{number} is: promote another one first"
            )
        if state is State.RUNNING:
            refuse_second(now, number)
        return {} if found.state is state else {f"g{number}/state": {"state": state}}

    change_generations(settings, decide)
