"""The plan of a replay: what would be run again, from where to where, by which code, and what that changes. Pure.

`replay.planning` makes one out of what there is, without side effects. The same plan goes to whoever explains it and to
`replay.run`, which carries it out: so a dry run tells what a run does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from infra.generations import Archive, Clone

UNRECORDED = "code that the live generation was made by, which is not recorded"  # among what is changed


@dataclass(frozen=True)
class Span:
    """The records of one source partition from `start` to before `end`; those below `seam` are read from bronze."""

    topic: str
    partition: int
    start: int
    seam: int
    end: int

    @property
    def archived(self) -> int:
        """Offsets that bronze has to give."""
        return max(0, min(self.seam, self.end) - self.start)

    @property
    def from_kafka(self) -> int:
        return max(0, self.end - max(self.start, self.seam))


@dataclass(frozen=True)
class Estimate:
    """About how long it takes (seconds) once its processes are up, and how much room (bytes) on the lake's disk.

    `free` is what is free there. `state` is what the disk of the state directory takes, if that is another one: then
    `state_free` of it is free.
    """

    seconds: float
    disk: int
    free: int | None  # of older plans
    state: int = 0
    state_free: int | None = None


@dataclass(frozen=True)
class Stage:
    """One step of the run, in words; `records` are offsets that it goes through."""

    name: str
    doc: str
    records: int = 0


@dataclass(frozen=True)
class Plan:
    """A replay into generation `number`, beside the live one `base`: of all source topics, or of a part (`clone`).

    `changed` is what decides otherwise in this code (see `infra.code`); `affects` what may have other rows by that, by
    kind: tables, views, metrics, routes. `throttle` is in records a second, 0 for none. `lake_first`: the live numbers
    begin where the lake has come to, and are filled out of it. `clone`: its lake begins as the base's is, so `spans`
    begin there; some tables are made anew. `days`: only rows of these, the first and the last, are meant to differ; of
    other days a promote lets none (dates of the shop's time zone). `trial`: its spans begin
    behind the base's beginning, so it can never be promoted.
    """

    number: int
    base: int
    code: str
    changed: tuple[str, ...]
    affects: Mapping[str, Sequence[str]]
    spans: tuple[Span, ...]
    archive: Archive | None
    throttle: int
    estimate: Estimate
    stages: tuple[Stage, ...] = field(default=())
    lake_first: bool = False
    clone: Clone | None = None
    days: tuple[str, str] | None = None
    trial: bool = False

    @property
    def name(self) -> str:
        return f"g{self.number}"

    @property
    def planned(self) -> str:
        """What a run has to have in common with this plan to be what somebody has looked at."""
        return f"g{self.base}-g{self.number}-{self.code}"

    @property
    def records(self) -> int:
        """Offsets in all: how many records, but for those that transactions leave empty."""
        return sum(span.archived + span.from_kafka for span in self.spans)

    def as_json(self) -> dict[str, Any]:
        body = {**asdict(self), "records": self.records}
        # Code that knows nothing of days and trials reads it, too.
        for name in ("days", "trial"):
            if not body[name]:
                del body[name]
        if self.estimate.state_free is None:  # nor of two disks
            body["estimate"] = {n: v for n, v in body["estimate"].items() if n not in ("state", "state_free")}
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        known = {name: value for name, value in body.items() if name != "records"}
        archive, clone, days = known["archive"], known.get("clone"), known.get("days")
        return cls(
            **known
            | {
                "changed": tuple(known["changed"]),
                "spans": tuple(Span(**each) for each in known["spans"]),
                "archive": archive and Archive(**archive),
                "clone": clone and Clone(clone["number"], tuple(clone["tables"])),
                "days": days and tuple(days),
                "estimate": Estimate(**known["estimate"]),
                "stages": tuple(Stage(**each) for each in known["stages"]),
            }
        )


def stages(plan: Plan) -> tuple[Stage, ...]:
    """What a run of the plan does, in order."""
    archived = sum(span.archived for span in plan.spans)
    from_kafka = sum(span.from_kafka for span in plan.spans)
    found = [
        Stage("keep", f"a copy of this code, {plan.code}, in the state directory"),
        Stage("register", "topics and schemas that this code declares and the environment lacks"),
        Stage(
            "begin",
            f"generation {plan.name}, with topics of its own for verdicts and dead letters",
        ),
    ]
    if archived:
        found.append(
            Stage(
                "archive",
                f"judged from bronze of g{plan.archive.number}, up to each partition's seam",
                archived,
            )
        )
    if plan.clone is not None:
        anew = ", ".join(plan.clone.tables)
        found += [
            Stage(
                "clone",
                f"the lake of g{plan.clone.number} as it is, without a copy of its files; made anew out of its silver: "
                f"{anew or 'nothing'}",
            ),
            Stage("lake", "what has come since, from the source topics, judged, into its tables", from_kafka),
        ]
    elif plan.lake_first:
        found += [Stage("lake", "from the source topics, judged, into its tables", from_kafka)]
    if plan.lake_first:
        found.append(
            Stage("numbers", "into Redis, and its dead letters, out of its lake; from there on by verdicts")
        )
    else:
        into = "into its verdicts, its numbers in Redis and its lake"
        found.append(Stage("judge", f"from the source topics, {into}", from_kafka))
    end = f"cancel {plan.name}" if plan.trial else f"promote {plan.name}` or `cancel {plan.name}"
    found += [
        Stage("verify", "computed a second time, and compared, all the time"),
        Stage("follow", f"once caught up it keeps following, until `dataflow replay {end}`"),
    ]
    return tuple(found)
