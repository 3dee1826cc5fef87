"""Run a mapping over files: every line ends as accepted, refused or duplicate, its events and refusals go to a sink.

Reads the files once, in the order given; holds one group (contiguous) or one file's lines (whole_file) in memory. What
it sends is a function of mapping and files, so running it again after a crash leads to the same state.
"""

import decimal
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from sources.importer.account import Account, Tally
from sources.importer.checker import Checker
from sources.importer.context import MISSING, Group, Line
from sources.importer.errors import InputError, LineRefused
from sources.importer.mapping import Mapping, Reject
from sources.importer.operations.numbers import EXACT
from sources.importer.outputs import SentState
from sources.importer.reader import CsvFile
from sources.importer.sinks import RefusedLine, Sink

PROGRESS_EVERY = 4_096  # lines
Refusal = tuple[list[str], str]  # reasons, detail


class OpenGroup:
    """The lines of a group so far, and the digests of its lines where duplicates are looked for within groups."""

    __slots__ = ("lines", "seen")

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.seen: set[bytes] = set()


class Importer:
    """One run of a mapping. `kafka_time` (UTC microseconds) stands for the broker's clock when events are checked."""

    def __init__(
        self, mapping: Mapping, sink: Sink, kafka_time: int, progress: Callable[[Account], None] | None = None
    ) -> None:
        self.mapping = mapping
        self.sink = sink
        self._checker = Checker(kafka_time)
        self.progress = progress
        self.account = Account(mapping.name, mapping.totals)
        self._sent = SentState()
        self._seen_lines: set[bytes] = set()
        self._closed_groups: set[Any] = set()
        self._taken = 0

    def run(self, paths: Sequence[Path], limit: int | None = None) -> Account:
        """Import the files; with `limit` the first so many lines and what completes their groups.

        Raises InputError before anything is sent if a file cannot be opened or lacks a column, AccountingError if lines
        or sums do not add up. A file that breaks off is noted in `account.errors`, after the lines before the damage.
        """
        names = [path.name for path in paths]
        for name in names:
            if names.count(name) > 1:
                raise InputError(
                    f"two files are called {name}: the account names lines by file, so rename one of them"
                )
        for lookup in self.mapping.lookups.values():
            lookup.misses.clear()
        with decimal.localcontext(EXACT):
            files = [CsvFile(path, self.mapping.form) for path in paths]
            for file in files:
                if limit is not None and self._taken >= limit:
                    break
                self._file(file, limit)
            self.sink.flush()
            self.account.lookup_misses = {
                name: lookup.summary() for name, lookup in self.mapping.lookups.items() if lookup.misses
            }
            self.account.check()
        return self.account

    def _file(self, file: CsvFile, limit: int | None) -> None:
        tally = self.account.open(file.name)
        grouping, open_groups = self.mapping.group, {}
        if self.mapping.duplicates and self.mapping.duplicates.within == "file":
            self._seen_lines.clear()
        try:
            for line in file:
                if limit is not None and self._taken >= limit:
                    if grouping is None:
                        break
                    if line.problem or self._key(line, None) not in open_groups:
                        if grouping.contiguous and not line.problem:
                            break
                        continue
                self._taken += 1
                tally.lines += 1
                self._line(line, tally, open_groups)
                if self.progress and self._taken % PROGRESS_EVERY == 0:
                    self.progress(self.account)
        except InputError as error:
            tally.error = str(error)
            self.account.errors.append(str(error))
            # the rest of these groups is behind the damage: half an order must not go out under the order's id
            for group in open_groups.values():
                self._refuse_all(
                    group.lines,
                    (["file_damaged"], "the file breaks off before this line's group is complete"),
                    tally,
                )
        else:
            for key, group in open_groups.items():
                self._closed_groups.add(key)
                self._unit(group.lines, tally)
        if self.progress:
            self.progress(self.account)
        tally.check(file.name)

    def _line(self, line: Line, tally: Tally, open_groups: dict[Any, OpenGroup]) -> None:
        """Take one line up to its group, or to its outcome where it has one at once."""
        duplicates, grouping = self.mapping.duplicates, self.mapping.group
        if line.problem:
            return self._refuse(line, ([line.problem], line.detail), tally)
        if not line.memo:
            line.memo = [MISSING] * self.mapping.slots
        if (
            duplicates
            and duplicates.within != "group"
            and self._repeats(line, duplicates.columns, self._seen_lines)
        ):
            return self.account.duplicate(tally, line)
        if grouping is None:
            return self._unit([line], tally)
        key = self._key(line, tally)
        if key is None:
            return None
        group = open_groups.get(key)
        if group is None:
            if key in self._closed_groups:
                detail = (
                    "its group ended before; use `grouping: whole_file`, or bring its lines into one file"
                )
                return self._refuse(line, (["group_not_contiguous"], detail), tally)
            if grouping.contiguous:
                for ended, before in open_groups.items():
                    self._closed_groups.add(ended)
                    self._unit(before.lines, tally)
                open_groups.clear()
            group = open_groups[key] = OpenGroup()
        if (
            duplicates
            and duplicates.within == "group"
            and self._repeats(line, duplicates.columns, group.seen)
        ):
            return self.account.duplicate(tally, line)
        group.lines.append(line)
        return None

    def _key(self, line: Line, tally: Tally | None) -> Any:
        """The line's group key; None where it has none, which refuses the line if a tally is given."""
        if not line.memo:
            line.memo = [MISSING] * self.mapping.slots
        refusal = ["no_group_key"], "the value of group.by is empty in this line"
        try:
            key = self.mapping.group.by(line)
        except LineRefused as error:
            key, refusal = None, ([error.reason], error.detail)
        if key is None and tally is not None:
            self._refuse(line, refusal, tally)
        return key

    @staticmethod
    def _repeats(line: Line, columns: tuple[int, ...] | None, seen: set[bytes]) -> bool:
        """Whether an equal line came before. 128 bits: two lines that differ never meet in practice."""
        content = (
            line.raw
            if columns is None
            else repr([line.row[i] for i in columns]).encode("utf-8", "surrogatepass")
        )
        digest = hashlib.blake2b(content, digest_size=16).digest()
        if digest in seen:
            return True
        seen.add(digest)
        return False

    def _unit(self, lines: list[Line], tally: Tally) -> None:
        """Bring lines that belong together (or one line) to their outcome, all or none of their events."""
        grouping = self.mapping.group
        kept = []
        for line in lines:
            try:
                refusal = _rejection(self.mapping.rejects, line)
            except LineRefused as error:
                refusal = [error.reason], error.detail
            if refusal:
                self._refuse(line, refusal, tally)
            else:
                kept.append(line)
        while kept:
            if grouping and not grouping.keep_partial and len(kept) < len(lines):
                return self._refuse_all(
                    kept,
                    (
                        ["group_incomplete"],
                        "another line of its group was refused, and `partial: reject` asks for all",
                    ),
                    tally,
                )
            group = Group(kept, grouping.slots if grouping else 0)
            for line in kept:
                line.group = group
            events, refused = self._events(group)
            if not refused:
                return self._commit(kept, events, tally)
            # fewer lines make another group: its values and events are computed again over the lines kept
            self._sent.rollback()
            for line, refusal in refused:
                self._refuse(line, refusal, tally)
            gone = {id(line) for line, _ in refused}
            kept = [line for line in kept if id(line) not in gone]
        return None

    def _events(self, group: Group) -> tuple[list[tuple[str, dict]], list[tuple[Line, Refusal]]]:
        """The events of a group, or the lines that must be refused first and why."""
        events: list[tuple[str, dict]] = []
        refused: dict[int, tuple[Line, Refusal]] = {}
        useful: set[int] = set()
        grouping = self.mapping.group
        if grouping:
            try:
                refusal, culprit = _rejection(grouping.rejects, group), None
            except LineRefused as error:
                refusal, culprit = ([error.reason], error.detail), error.line
            if refusal:
                return [], [(line, refusal) for line in ([culprit] if culprit else group.lines)]
        for index, output in enumerate(self.mapping.outputs):
            for context in (group,) if output.per_group else group.lines:
                if id(context) in refused:
                    continue
                own = None if output.per_group else context
                try:
                    if output.when is not None and output.when(context) is not True:
                        continue
                    useful.add(id(context))
                    if not self._sent.wants(index, output, context):
                        continue
                    event = output.build(context)
                except LineRefused as error:
                    culprit, refusal = error.line or own, ([error.reason], error.detail)
                else:
                    found = self._checker.violations(output.topic, event)
                    if not found:
                        events.append((output.topic, event))
                        continue
                    culprit = own
                    refusal = (
                        [v.rule for v in found],
                        f"{output.topic}: " + "; ".join(v.reason for v in found),
                    )
                if culprit is None:
                    return [], [(line, refusal) for line in group.lines]
                refused[id(culprit)] = culprit, refusal
        if id(group) not in useful:
            for line in group.lines:
                if id(line) not in useful and id(line) not in refused:
                    refused[id(line)] = line, (["no_event"], "no event of the mapping applies to this line")
        return events, list(refused.values())

    def _commit(self, kept: list[Line], events: Iterable[tuple[str, dict]], tally: Tally) -> None:
        self._sent.commit()
        for topic, event in events:
            self.sink.event(topic, event)
            self.account.event(topic, event)
        for line in kept:
            self.account.accepted(tally, line)
            line.group = None  # a cycle would keep the whole group until the garbage collector runs

    def _refuse_all(self, lines: list[Line], refusal: Refusal, tally: Tally) -> None:
        for line in lines:
            self._refuse(line, refusal, tally)

    def _refuse(self, line: Line, refusal: Refusal, tally: Tally) -> None:
        reasons, detail = refusal
        reasons = list(dict.fromkeys(reasons))
        self.account.refused(tally, line, reasons, detail)
        self.sink.refused(
            RefusedLine(
                self.mapping.name, line.file, line.number, line.raw, line.size, tuple(reasons), detail
            )
        )


def _rejection(rejects: Sequence[Reject], context: Any) -> Refusal | None:
    """The first reason of the mapping that refuses a line or group; raises LineRefused where that cannot be told."""
    for reject in rejects:
        if reject.when(context) is True:
            return [reject.reason], (reject.detail(context) or "") if reject.detail else ""
    return None
