"""The account of an import: what became of every line, and what the lines were worth. Pure.

Every line has exactly one outcome (accepted, refused, duplicate). Control totals follow a number through the import, as
in bookkeeping: what the files say = what the events say + what was refused, left out as duplicate or rounded away.
"""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sources.importer.errors import AccountingError, LineRefused
from sources.importer.totals import ControlTotal

EXAMPLES = 3  # per reason


@dataclass
class Tally:
    """Lines by outcome; `reasons` counts refused lines by their first reason."""

    lines: int = 0
    accepted: int = 0
    refused: int = 0
    duplicates: int = 0
    reasons: Counter = field(default_factory=Counter)
    error: str | None = None

    def check(self, what: str) -> None:
        """Raise AccountingError unless lines = accepted + refused + duplicates, and the reasons add up to refused."""
        if (
            self.lines != self.accepted + self.refused + self.duplicates
            or self.refused != self.reasons.total()
        ):
            raise AccountingError(
                f"{what}: expected every line to have one outcome; saw {self.lines} lines, but "
                f"{self.accepted} accepted + {self.refused} refused ({self.reasons.total()} by reason) "
                f"+ {self.duplicates} duplicates. Please report this defect"
            )

    def as_json(self) -> dict[str, Any]:
        return {
            "lines": self.lines,
            "accepted": self.accepted,
            "refused": self.refused,
            "duplicates": self.duplicates,
            "reasons": dict(self.reasons.most_common()),
            **({"error": self.error} if self.error else {}),
        }


@dataclass
class ControlSums:
    """One control total over a run.

    `read` is over all lines; accepted lines are worth `accepted` as the file says, and `booked` as the events have it.
    """

    declared: ControlTotal
    read: Decimal = Decimal(0)
    accepted: Decimal = Decimal(0)
    booked: Decimal = Decimal(0)
    duplicates: Decimal = Decimal(0)
    refused: dict[str, Decimal] = field(default_factory=dict)
    by: dict[str, Decimal] = field(default_factory=dict)
    events: dict[str, Decimal] = field(default_factory=dict)
    unvalued: int = 0

    @property
    def rounding(self) -> Decimal:
        """What rounding took away: accepted lines as the file says minus what was booked of them."""
        return self.accepted - self.booked

    def value(self, line: Any, evaluate: Any) -> Decimal:
        """The worth of a line, 0 (and counted) where it cannot be told."""
        try:
            value = evaluate(line) if line.row is not None else None
        except LineRefused:
            value = None
        if value is None:
            self.unvalued += 1
            return Decimal(0)
        return Decimal(value)

    def add_event(self, topic: str, event: dict[str, Any]) -> None:
        for item in self.declared.events:
            if item.topic == topic and all(event[name] == value for name, value in item.where):
                self.events[item.name] = self.events.get(item.name, Decimal(0)) + item.sign * (
                    event[item.field] or 0
                )

    def check(self) -> None:
        """Raise AccountingError unless the sum goes through: files = events + rounding + refused + duplicates."""
        if self.declared.events:
            said = sum(self.events.values(), Decimal(0))
            if said != self.booked:
                raise AccountingError(
                    f"control total {self.declared.name}: accepted lines were booked as {self.booked}, but the "
                    f"events say {said}. Either `booked` in the mapping does not say what goes into the events, or an "
                    "event was left out"
                )
        total = self.booked + self.rounding + sum(self.refused.values(), Decimal(0)) + self.duplicates
        if total != self.read:
            raise AccountingError(
                f"control total {self.declared.name}: expected {self.read} as read, saw {total} by outcome"
            )

    def as_json(self) -> dict[str, Any]:
        return {
            "read": str(self.read),
            "events": {name: str(value) for name, value in self.events.items()},
            "booked": str(self.booked),
            "rounding": str(self.rounding),
            "refused": {name: str(value) for name, value in sorted(self.refused.items())},
            "duplicates": str(self.duplicates),
            "by": {name: str(value) for name, value in sorted(self.by.items())},
            "lines_without_value": self.unvalued,
        }


class Account:
    """The whole account: a tally per file, events per topic, examples per reason, control totals."""

    def __init__(self, mapping_name: str, totals: tuple[ControlTotal, ...]) -> None:
        self.mapping_name = mapping_name
        self.files: dict[str, Tally] = {}
        self.events: Counter = Counter()
        self.examples: dict[str, list[dict[str, Any]]] = {}
        self.totals = [ControlSums(total) for total in totals]
        self.lookup_misses: dict[str, dict[str, Any]] = {}
        self.errors: list[str] = []

    def open(self, file: str) -> Tally:
        return self.files.setdefault(file, Tally())

    def accepted(self, tally: Tally, line: Any) -> None:
        tally.accepted += 1
        for total in self.totals:
            declared = total.declared
            value = total.value(line, declared.line.evaluate)
            booked = (
                value if declared.booked is declared.line else Decimal(declared.booked.evaluate(line) or 0)
            )
            total.read += value
            total.accepted += value
            total.booked += booked
            if declared.by is not None:
                key = str(declared.by.evaluate(line))
                total.by[key] = total.by.get(key, Decimal(0)) + value

    def refused(self, tally: Tally, line: Any, reasons: list[str], detail: str) -> None:
        tally.refused += 1
        first = reasons[0]
        tally.reasons[first] += 1
        examples = self.examples.setdefault(first, [])
        if len(examples) < EXAMPLES:
            examples.append({"file": line.file, "line": line.number, "detail": detail})
        for total in self.totals:
            value = total.value(line, total.declared.line.evaluate)
            total.read += value
            total.refused[first] = total.refused.get(first, Decimal(0)) + value

    def duplicate(self, tally: Tally, line: Any) -> None:
        tally.duplicates += 1
        for total in self.totals:
            value = total.value(line, total.declared.line.evaluate)
            total.read += value
            total.duplicates += value

    def event(self, topic: str, event: dict[str, Any]) -> None:
        self.events[topic] += 1
        for total in self.totals:
            total.add_event(topic, event)

    @property
    def total(self) -> Tally:
        """All files together."""
        result = Tally()
        for tally in self.files.values():
            result.lines += tally.lines
            result.accepted += tally.accepted
            result.refused += tally.refused
            result.duplicates += tally.duplicates
            result.reasons.update(tally.reasons)
        return result

    def check(self) -> None:
        """Raise AccountingError unless every line and every sum is accounted for."""
        for name, tally in self.files.items():
            tally.check(name)
        self.total.check("all files")
        for total in self.totals:
            total.check()

    def as_json(self) -> dict[str, Any]:
        return {
            "mapping": self.mapping_name,
            "total": self.total.as_json(),
            "files": {name: tally.as_json() for name, tally in self.files.items()},
            "events": dict(sorted(self.events.items())),
            "control_totals": {total.declared.name: total.as_json() for total in self.totals},
            "lookup_misses": self.lookup_misses,
            "examples": self.examples,
            "errors": self.errors,
        }
