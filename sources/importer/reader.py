"""Read a CSV file, plain or gzip, as lines that each end in a row or in the reason why not.

Damage stays where it is: a bad byte, a ragged row or an open quote spoils its own line only. A file that cannot be read
on (truncated gzip) gives the lines until there and then raises InputError.
"""

import codecs
import csv
import gzip
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sources.importer.context import Line
from sources.importer.errors import InputError

CHUNK = 1 << 20
# a longer record is refused: its dead letter must stay below the broker's limit, and csv takes no longer field
MAX_RECORD_BYTES = 131_072
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class CsvFormat:
    """How the files are written. `columns` are the columns that the mapping uses; a file may have more."""

    columns: tuple[str, ...]
    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = '"'
    header: bool = True
    max_record_lines: int = 1


class RawLine(NamedTuple):
    """A physical line: its number, its bytes without the line end (cut at MAX_RECORD_BYTES), and its full size."""

    number: int
    raw: bytes
    size: int
    complete: bool = True


class CsvFile:
    """One input file. Opening it checks the header; iterating gives its lines."""

    def __init__(self, path: Path, form: CsvFormat) -> None:
        self.path = path
        self.name = path.name
        self.form = form
        order, self.width = self._header()
        self._pick = _picker(order)

    def _open(self) -> BinaryIO:
        if self.path.exists() and not self.path.is_file():
            raise InputError(
                f"{self.path}: expected a regular file (it is read twice: header first, then lines)"
            )
        try:
            with self.path.open("rb") as probe:
                compressed = probe.read(2) == GZIP_MAGIC
            return gzip.open(self.path) if compressed else self.path.open("rb")
        except OSError as error:
            raise InputError(f"{self.path}: expected a readable file: {error.strerror or error}") from error

    def _header(self) -> tuple[Sequence[int] | None, int]:
        """Where the mapping's columns stand in a row (None: as they are), and how many columns a row has."""
        columns = self.form.columns
        if not self.form.header:
            self._open().close()
            return None, len(columns)
        with self._open() as stream:
            first = next(self._physical(stream), None)
        if first is None:
            raise InputError(f"{self.path}: expected a header with {', '.join(columns)}; the file is empty")
        names = self._row(first.raw)
        if isinstance(names, str):
            raise InputError(f"{self.path}: line 1 cannot be read as a header: {names}")
        names = [name.strip() for name in names]
        missing = [name for name in columns if name not in names]
        if missing:
            raise InputError(
                f"{self.path}: the header lacks {', '.join(missing)}; it has {', '.join(names)[:500]}. "
                "Nothing was imported: rename the columns in the mapping's input.columns, or repair the file"
            )
        twice = sorted({name for name in columns if names.count(name) > 1})
        if twice:
            raise InputError(
                f"{self.path}: the header names {', '.join(twice)} twice, so it is not clear which is meant"
            )
        order = [names.index(name) for name in columns]
        return (None if order == list(range(len(names))) else order), len(names)

    def __iter__(self) -> Iterator[Line]:
        with self._open() as stream:
            source = self._physical(stream)
            if self.form.header:
                next(source, None)
            pending: deque[RawLine] = deque()
            while (physical := pending.popleft() if pending else next(source, None)) is not None:
                yield self._line(physical, source, pending)

    def _line(self, physical: RawLine, source: Iterator[RawLine], pending: deque[RawLine]) -> Line:
        """The line that begins here: with its row, or with the reason why it has none."""
        number, raw, size, complete = physical
        if size > MAX_RECORD_BYTES or not complete:
            too_long = "line_too_long", f"expected at most {MAX_RECORD_BYTES} bytes, saw {size}"
            broken_off = "truncated_line", "the file breaks off inside this line"
            line = self._refused(physical, *(too_long if complete else broken_off))
            line.size = size
            return line
        try:
            text = raw.decode(self.form.encoding)
        except UnicodeDecodeError as error:
            return self._refused(physical, "undecodable", self._undecodable(error))
        if self.form.quote not in text:
            row = text.split(self.form.delimiter)
        else:
            parsed = self._parse(text)
            if isinstance(parsed, str) and self.form.max_record_lines > 1 and text.count(self.form.quote) % 2:
                raw, parsed = self._continued(physical, parsed, source, pending)
            if isinstance(parsed, str):
                return self._refused(physical, "damaged_quotes", parsed)
            row = parsed
        if len(row) != self.width:
            if not raw.strip():
                return self._refused(physical, "blank_line", "the line is empty")
            return self._refused(physical, "ragged_row", f"expected {self.width} columns, saw {len(row)}")
        return Line(self.name, number, raw, row if self._pick is None else self._pick(row))

    def _refused(self, physical: RawLine, reason: str, detail: str) -> Line:
        return Line(self.name, physical.number, physical.raw, None, reason, detail)

    def _undecodable(self, error: UnicodeDecodeError) -> str:
        return f"expected {self.form.encoding}: {error.reason} at byte {error.start}"

    def _continued(
        self, first: RawLine, problem: str, source: Iterator[RawLine], pending: deque[RawLine]
    ) -> tuple[bytes, list[str] | str]:
        """Take further physical lines until the quote closes; give them back where it does not within the limit."""
        raw, taken = first.raw, []
        while len(taken) + 1 < self.form.max_record_lines and len(raw) <= MAX_RECORD_BYTES:
            more = pending.popleft() if pending else next(source, None)
            if more is None:
                break
            taken.append(more)
            if not more.complete or more.size > MAX_RECORD_BYTES:
                break
            raw += b"\n" + more.raw
            row = self._row(raw)
            if not isinstance(row, str) and len(raw) <= MAX_RECORD_BYTES:
                return raw, row
        pending.extendleft(reversed(taken))
        return first.raw, problem

    def _row(self, raw: bytes) -> list[str] | str:
        try:
            return self._parse(raw.decode(self.form.encoding))
        except UnicodeDecodeError as error:
            return self._undecodable(error)

    def _parse(self, text: str) -> list[str] | str:
        """The row of a record, or what is wrong with its quotes."""
        # one list item: a reader splits a str at other line ends than the file's
        reader = csv.reader([text], delimiter=self.form.delimiter, quotechar=self.form.quote, strict=True)
        try:
            return next(reader, [])
        except csv.Error as error:
            return f"the quotes do not match: {error}"

    def _physical(self, stream: BinaryIO) -> Iterator[RawLine]:
        """The file's physical lines. Raises InputError at its damaged end, after the lines before it."""
        number, rest, size = 0, b"", 0
        mark = codecs.BOM_UTF8 if codecs.lookup(self.form.encoding).name == "utf-8" else b""
        while True:
            try:
                chunk = stream.read1(CHUNK)
            except (EOFError, OSError, zlib.error) as error:
                if size:
                    yield RawLine(number + 1, rest[:MAX_RECORD_BYTES], size, complete=False)
                raise InputError(
                    f"{self.path}: damaged after line {number}: {error}. "
                    "The lines until there are accounted for; repair the file and import it again"
                ) from error
            if not chunk:
                break
            if mark:
                chunk = chunk.removeprefix(mark)
                mark = b""
            lines = chunk.split(b"\n")
            if len(lines) == 1:
                # an endless line is counted, not kept
                rest, size = (rest + chunk)[: MAX_RECORD_BYTES + 1], size + len(chunk)
                continue
            first_size = size + len(lines[0])
            lines[0] = (rest + lines[0])[: MAX_RECORD_BYTES + 1]
            rest = lines.pop()
            size = len(rest)
            for i, raw in enumerate(lines):
                number += 1
                full = first_size if i == 0 else len(raw)
                if raw.endswith(b"\r"):
                    raw = raw[:-1]
                    full -= 1
                yield RawLine(number, raw[:MAX_RECORD_BYTES], full)
        if size:
            raw = rest.removesuffix(b"\r")
            yield RawLine(number + 1, raw[:MAX_RECORD_BYTES], size - (len(rest) - len(raw)))


def _picker(order: Sequence[int] | None):
    if order is None:
        return None
    if len(order) == 1:
        index = order[0]
        return lambda row: [row[index]]
    return itemgetter(*order)
