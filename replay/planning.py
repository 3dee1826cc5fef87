"""Makes the plan of a replay out of what there is. No side effects: reads the log of generations, topics, the lake."""

import shutil
from dataclasses import replace
from pathlib import Path

from infra.code import Code, changed
from infra.generation import source_bounds, source_identities
from infra.generations import Generation, Generations, read_generations
from infra.settings import Settings
from replay.affected import affected
from replay.errors import ReplayError
from replay.plan import Estimate, Plan, Span, stages
from streams.archive import archive_of
from streams.lake.manifest import newest_manifest
from streams.lake.place import lake_root

# Measured, with nothing beside it on two cores: docs/benchmarks.md. A throttle is mostly lower.
RECORDS_PER_SECOND = 30_000
# Of a record's verdict and Redis state, where the lake's own size tells nothing yet.
BYTES_A_RECORD = 600
SPARE = 1.5  # as much again in room: tables are rewritten before old files go


def plan_replay(settings: Settings, code: Code, throttle: int = 0, *, lake_first: bool = False) -> Plan:
    """The plan of a replay of everything by `code`, beside the live generation.

    `throttle` is in records a second, 0 for none. `lake_first` fills the live numbers out of its lake, if the live
    generation has one. What the topics no longer hold comes from bronze of the live generation. Raises GenerationError
    that names the ranges that are in neither; ReplayError, Unavailable.
    """
    now = read_generations(settings)
    base = live_of(now)
    refuse_second(now)
    topics = Generation(now.next_number(), source_identities(settings))
    first, ends = source_bounds(settings, topics)
    archive = archive_of(settings, base)
    spans = []
    for at in topics.partitions():
        seam = archive.seam(*at) if archive else 0
        spans.append(Span(*at, base.start(*at) if seam else first[at], seam, ends[at]))
    recorded = now.known[base.number].code
    differing = tuple(changed(recorded["declared"], code.declared)) if recorded else ()
    records = sum(span.archived + span.from_kafka for span in spans)
    plan = Plan(
        topics.number,
        base.number,
        code.digest,
        differing,
        affected(differing),
        tuple(spans),
        archive,
        throttle,
        estimate(settings, base, records, throttle),
        lake_first=lake_first and newest_manifest(lake_root(settings, base.name)) is not None,
    )
    return replace(plan, stages=stages(plan))


def live_of(now: Generations) -> Generation:
    """Raises ReplayError if there is none."""
    if now.live_generation is None:
        raise ReplayError(
            "expected a live generation to replay beside, and none was started: `dataflow up` does that"
        )
    return now.live_generation


def refuse_second(now: Generations) -> None:
    """Raise ReplayError while another generation is being filled, or may still become the live one."""
    others = [n for n in now.running() if n not in (now.live, now.before)]
    if others:
        raise ReplayError(
            f"expected no other replay, and generation g{others[0]} is one: `dataflow replay promote g{others[0]}` or "
            f"`dataflow replay cancel g{others[0]}`, then try again"
        )


def estimate(settings: Settings, base: Generation, records: int, throttle: int) -> Estimate:
    """By the size of the live lake, and by what was measured."""
    rate = min(throttle or RECORDS_PER_SECOND, RECORDS_PER_SECOND)
    root = lake_root(settings, base.name)
    if "://" in root:
        return Estimate(records / rate, records * BYTES_A_RECORD, None)
    lake = Path(root)
    used = sum(file.stat().st_size for file in lake.rglob("*") if file.is_file()) if lake.exists() else 0
    there = next(path for path in (lake, *lake.parents) if path.exists())
    disk = int(SPARE * used + records * BYTES_A_RECORD)
    return Estimate(records / rate, disk, shutil.disk_usage(there).free)


def check_room(plan: Plan) -> None:
    """Raise ReplayError if the disk has not what the plan needs."""
    free, wanted = plan.estimate.free, plan.estimate.disk
    if free is not None and free < wanted:
        raise ReplayError(
            f"expected {wanted / 1e9:,.1f} GB of room for {plan.name}, and {free / 1e9:,.1f} GB are free: `dataflow "
            "replay gc` removes generations that nobody needs; or make room"
        )
