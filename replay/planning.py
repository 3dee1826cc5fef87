"""Makes the plan of a replay out of what there is. No side effects: reads the log of generations, topics, the lake."""

import shutil
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from infra.code import Code, changed
from infra.generation import source_bounds, source_identities
from infra.generations import Clone, Generation, Generations, read_generations
from infra.kafka import Offsets
from infra.settings import Settings
from replay.affected import affected
from replay.errors import ReplayError
from replay.origin import EVERYTHING as FROM_THE_BEGINNING
from replay.origin import Origin, trial_starts
from replay.plan import UNRECORDED, Estimate, Plan, Span, stages
from replay.selection import Selection, affected_by, check_names, check_selection
from schemas.errors import GenerationError
from streams.archive import archive_of
from streams.lake.clone import cloneable
from streams.lake.manifest import Manifest, newest_manifest
from streams.lake.place import lake_root

# Into lake and live numbers, measured on two cores with nothing beside it: docs/benchmarks.md. Throttles are lower.
RECORDS_PER_SECOND = 10_000
# Into Redis, out of the lake: the same, measured on the fold and its operations alone.
ROWS_PER_SECOND = 30_000
# Of a record's verdict and Redis state, where the lake's own size tells nothing yet.
BYTES_A_RECORD = 600
EVERYTHING = Selection()
SPARE = 1.5  # as much again in room: tables are rewritten before old files go


def plan_replay(
    settings: Settings,
    code: Code,
    throttle: int = 0,
    *,
    lake_first: bool = False,
    only: Selection = EVERYTHING,
    days: tuple[date, date] | None = None,
    origin: Origin = FROM_THE_BEGINNING,
) -> Plan:
    """The plan of a replay by `code`, beside the live generation: of everything, or of what `only` selects.

    `days` are those, the first and the last, whose rows are meant to differ. `throttle` is in records a second, 0 for
    none. `lake_first` fills the live numbers out of its lake, if the live
    generation has one. What the topics no longer hold comes from bronze of the live generation. With an `origin` it is
    a trial, of the records from there on. Raises GenerationError that names the ranges that are in neither;
    ReplayError, Unavailable.
    """
    if days is not None:
        check_days(days, datetime.now(UTC).astimezone(ZoneInfo(settings.shop_timezone)).date())
    told = days and (days[0].isoformat(), days[1].isoformat())
    now = read_generations(settings)
    base = live_of(now)
    refuse_second(now)
    topics = Generation(now.next_number(), source_identities(settings))
    first, ends = source_bounds(settings, topics)
    recorded = now.known[base.number].code
    # In doubt everything may be otherwise.
    differing = tuple(changed(recorded["declared"], code.declared)) if recorded else (UNRECORDED,)
    if only and origin:
        raise ReplayError(
            "expected either a part (--table, --metric), which begins where the live lake is, or a trial (--from, "
            "--topic), which begins there: leave one of them out"
        )
    if only:
        check_names(only)
        if recorded is None:
            raise ReplayError(
                f"expected it to be recorded by which code {base.name} was made, and it is not, so nobody can say what "
                "has changed since: replay everything, without --table and --metric"
            )
        part = plan_part(settings, base, topics, (first, ends), code, differing, throttle, only)
        return replace(part, days=told)
    trial = trial_starts(settings, topics, base, (first, ends), origin) if origin else None
    archive = None if trial else archive_of(settings, base)
    spans = []
    for at in topics.partitions():
        seam = archive.seam(*at) if archive else 0
        start = trial[at] if trial else base.start(*at) if seam else first[at]
        spans.append(Span(*at, start, seam, ends[at]))
    records = sum(span.archived + span.from_kafka for span in spans)
    # Of the lake a trial needs what its records are of all.
    share = records / max(1, sum(ends.values()) - sum(base.start(*at) for at in ends)) if trial else 1.0
    plan = Plan(
        topics.number,
        base.number,
        code.digest,
        differing,
        affected(differing),
        tuple(spans),
        archive,
        throttle,
        estimate(settings, base, records, throttle, share),
        lake_first=lake_first and newest_manifest(lake_root(settings, base.name)) is not None,
        days=told,
        trial=trial is not None,
    )
    return replace(plan, stages=stages(plan))


def plan_part(
    settings: Settings,
    base: Generation,
    topics: Generation,
    bounds: tuple[Offsets, Offsets],
    code: Code,
    differing: tuple[str, ...],
    throttle: int,
    only: Selection,
) -> Plan:
    """The plan that begins with the lake of `base`; `bounds` are those of the topics. Raises ReplayError."""
    check_selection(only, differing)
    root = lake_root(settings, base.name)
    clone = Clone(base.number, only.tables)
    try:
        manifest = cloneable(settings, replace(topics, clone=clone), newest_manifest(root))
    except GenerationError as error:
        raise ReplayError(str(error)) from error
    first, ends = bounds
    spans = tuple(Span(*at, manifest.until.get(at, 0), 0, end) for at, end in ends.items())
    check_held(base.name, manifest, first)
    plan = Plan(
        topics.number,
        base.number,
        code.digest,
        differing,
        affected_by(only, differing),
        spans,
        None,
        throttle,
        estimate_part(settings, root, manifest, only, sum(span.from_kafka for span in spans), throttle),
        lake_first=True,
        clone=clone,
    )
    return replace(plan, stages=stages(plan))


def check_held(base: str, manifest: Manifest, first: Offsets) -> None:
    """Raise ReplayError if the topics, which begin at `first`, have lost what lies behind the lake of `base`."""
    at_end = {at: (manifest.until.get(at, 0), offset) for at, offset in first.items()}
    if lost := {at: bounds for at, bounds in at_end.items() if bounds[0] < bounds[1]}:
        told = ", ".join(f"{t}/{p} from {end} to before {begin}" for (t, p), (end, begin) in lost.items())
        raise ReplayError(
            f"expected the topics to hold everything behind the lake of {base}, and they no longer have {told}: "
            "wait until that lake has caught up, if its records are in an older one's bronze; or replay everything, "
            "without --table and --metric"
        )


def check_days(days: tuple[date, date], today: date) -> None:
    """Raise ReplayError for days that can have no rows."""
    first, last = days
    if first > last:
        raise ReplayError(f"expected a first day that is not behind the last one, saw {first}..{last}")
    if first > today:
        raise ReplayError(f"expected days that have begun, and {first} is still to come: today it is {today}")


def live_of(now: Generations) -> Generation:
    """Raises ReplayError if there is none."""
    if now.live_generation is None:
        raise ReplayError(
            "expected a live generation to replay beside, and none was started: `dataflow up` does that"
        )
    return now.live_generation


def refuse_second(now: Generations, number: int | None = None) -> None:
    """Raise ReplayError while another generation than `number` is being filled, or may still become the live one.

    What a rollback goes back to may always follow.
    """
    others = [n for n in now.running() if n not in (now.live, now.before, number)]
    if others and (number is None or number != now.before):
        raise ReplayError(
            f"expected no other replay, and generation g{others[0]} is one: `dataflow replay promote g{others[0]}` or "
            f"`dataflow replay cancel g{others[0]}`, then try again"
        )


def estimate(
    settings: Settings, base: Generation, records: int, throttle: int, share: float = 1.0
) -> Estimate:
    """By the size of the live lake, of which this is a `share`, and by what was measured."""
    rate = min(throttle or RECORDS_PER_SECOND, RECORDS_PER_SECOND)
    root = lake_root(settings, base.name)
    lake = Path(root)
    return _room(settings, lake, records / rate, int(SPARE * min(1.0, share) * _size(lake)), records)


def estimate_part(
    settings: Settings, root: str, manifest: Manifest, only: Selection, records: int, throttle: int
) -> Estimate:
    """By the rows that go into Redis again, and the size of the tables that are made anew."""
    rows = sum(number for place, number in manifest.counts.items() if place.endswith("/changed"))
    anew = [Path(root, name) for name in only.tables if name in manifest.tables]
    disk = sum(map(_size, anew))
    paces = [min(throttle or pace, pace) for pace in (ROWS_PER_SECOND, RECORDS_PER_SECOND)]
    seconds = rows / paces[0] + records / paces[1]
    return _room(settings, Path(root), seconds, disk, records)


def _room(settings: Settings, lake: Path, seconds: float, tables: int, records: int) -> Estimate:
    """So many bytes go to the disk of the lake; what `records` leave elsewhere, to that of the state directory."""
    state, both = records * BYTES_A_RECORD, (_there(lake), _there(settings.state_dir))
    free, free_of_state = (shutil.disk_usage(each).free for each in both)
    if len({each.stat().st_dev for each in both}) == 1:
        return Estimate(seconds, tables + state, free)
    return Estimate(seconds, tables, free, state, free_of_state)


def _there(path: Path) -> Path:
    """The path, or what there is of it."""
    return next(each for each in (path, *path.parents) if each.exists())


def _size(directory: Path) -> int:
    """Bytes of all files in it. The lake's upkeep may remove some meanwhile."""
    size = 0
    for file in directory.rglob("*"):
        with suppress(FileNotFoundError):
            size += file.stat().st_size if file.is_file() else 0
    return size


def check_room(plan: Plan) -> None:
    """Raise ReplayError if a disk has not what the plan needs."""
    room = plan.estimate
    beside = room.state, room.state_free, " where the state directory is"
    for wanted, free, at in ((room.disk, room.free, ""), beside):
        if free is not None and free < wanted:
            raise ReplayError(
                f"expected {wanted / 1e9:,.1f} GB of room for {plan.name}{at}, and {free / 1e9:,.1f} GB are free: "
                "`dataflow replay gc` removes generations that nobody needs; or make room"
            )
