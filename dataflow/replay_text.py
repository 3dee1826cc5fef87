"""Plans and progress of replays as text."""

import time
from collections.abc import Callable

import click

from replay.guards import NUMBERS_BEHIND
from replay.plan import Plan, Span
from serving.generation_progress import Pace, Progress

TELL_SECONDS = 5.0
SURE_SECONDS = 60.0  # after which one that is not nearer is said not to come there


def plan_text(plan: Plan) -> str:
    """What the plan does, for a person."""
    archived = sum(span.archived for span in plan.spans)
    lines = [
        f"Replay of {_what(plan)} into generation {plan.name}, beside g{plan.base}, which stays live.",
        "",
        "Changes: " + (", ".join(plan.changed) or "none; it should give the same, row by row"),
    ]
    for kind, names in plan.affects.items():
        if names:
            lines.append(f"  affects {kind}: {', '.join(names)}")
    if plan.days:
        lines.append(f"Days: {_days(*plan.days)}; a promote is refused if rows of others differ")
    lines += ["", f"Records: {plan.records:,}" + (f", of which {archived:,} from bronze" if archived else "")]
    for topic in dict.fromkeys(span.topic for span in plan.spans):
        mine = [span for span in plan.spans if span.topic == topic]
        parts = ", ".join(map(_span_text, mine))
        lines.append(f"  {topic:<12} {sum(s.archived + s.from_kafka for s in mine):>12,}   {parts}")
    minutes, seconds = divmod(round(plan.estimate.seconds), 60)
    throttle = f"at most {plan.throttle:,} records a second" if plan.throttle else "as fast as it goes"
    room = _room_text(plan.estimate.disk, plan.estimate.free)
    if plan.estimate.state_free is not None:
        beside = _room_text(plan.estimate.state, plan.estimate.state_free)
        room += f" for the lake; {beside} where the state directory is"
    lines += [
        "",
        f"Time: about {minutes} min {seconds} s once its processes are up, {throttle}. Room: {room}.",
        "",
        "Stages:",
        *(f"  {n}. {stage.name:<9} {stage.doc}" for n, stage in enumerate(plan.stages, 1)),
    ]
    return "\n".join(lines)


def _room_text(wanted: int, free: int | None) -> str:
    return f"about {wanted / 1e9:,.2f} GB" + ("" if free is None else f", {free / 1e9:,.1f} GB are free")


def _what(plan: Plan) -> str:
    if plan.trial:
        return "some records, as a trial that cannot be promoted,"
    if plan.clone is None:
        return "all source topics"
    return f"a part, out of the lake of g{plan.clone.number},"


def _days(first: str, last: str) -> str:
    return first if first == last else f"{first}..{last}"


def _span_text(span: Span) -> str:
    bronze = f" (bronze below {span.seam:,})" if span.archived else ""
    return f"{span.partition}: {span.start:,}–{span.end:,}{bronze}"


def progress_text(progress: Progress, first: Progress, seconds: float, throttle: int) -> str:
    """One line: how far it is, `seconds` after it was at `first`, at a pace of `throttle` records a second."""
    share = 1.0 if not progress.records else progress.done / progress.records
    pace = Pace.between(first, progress, seconds) if seconds > 0 else Pace(0.0, 0.0, None)
    left = f", about {pace.seconds_to_go:,.0f} s to go" if pace.seconds_to_go else ""
    late = seconds >= SURE_SECONDS and progress.to_go > NUMBERS_BEHIND
    if late and pace.seconds_to_go is None and 0 < throttle <= pace.grow:
        left = (
            f", and does not come nearer: the topics grow by {pace.grow:,.0f} records/s, and it takes {throttle:,} at "
            f"most. `dataflow replay cancel {progress.generation}`, then run it with a higher --throttle"
        )
    numbers = "wait for the lake" if progress.waits_for_lake else f"{progress.numbers_behind:,} behind"
    if progress.filled is not None:
        numbers = f"are filled out of it, {progress.filled:,} rows so far"
    return (
        f"{progress.generation}: {progress.done:,} of {progress.records:,} records ({share:.0%}), lake "
        f"{progress.lake_behind:,} behind, numbers {numbers}, {pace.rate:,.0f} records/s{left}"
    )


class Told:
    """Says how far a generation is, when that has changed, with rate and time to go."""

    def __init__(self, show: Callable[[str], None] = click.echo, throttle: int = 0) -> None:
        self._show, self._throttle, self._first = show, throttle, None
        self._last = float("-inf")

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        self._first = self._first or (now, progress)
        if now - self._last >= TELL_SECONDS or progress.behind <= NUMBERS_BEHIND:
            began, first = self._first
            self._show(progress_text(progress, first, now - began, self._throttle))
            self._last = now
