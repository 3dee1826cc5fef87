"""What is known of many dead letters without reading them again: where each is, what it is, why it was refused.

An SQLite database in memory, because it searches without holding up the interpreter, and takes a quarter of what Python
objects would. It holds neither bytes nor keys: who wants those reads the letter's place. It keeps the newest `most`
copies (some 300 bytes each); what is older is only known to be there. Of letters that were put back it keeps the ids,
all of them. It is of one generation for good; another one gets an index of its own. Safe to use from several threads.
"""

import sqlite3
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from serving.dead_letters.letter import At, DeadLetter, Order, Place
from serving.dead_letters.scan import Wanted
from serving.dead_letters.topics import LetterTopics

KEPT = 200_000
TRIMMED = 0.9  # of that, so that not every letter makes room for the next one
CHUNK = 500
SCHEMA = """
CREATE TABLE letters (
  topic INTEGER, partition INTEGER, offset INTEGER, id TEXT, kind INTEGER, source_partition INTEGER,
  source_offset INTEGER, file TEXT, line INTEGER, detail TEXT, kafka_time INTEGER, written INTEGER,
  generation TEXT, size INTEGER, truncated INTEGER, null_value INTEGER, time INTEGER, current INTEGER,
  PRIMARY KEY (topic, partition, offset)
) WITHOUT ROWID;
CREATE INDEX by_id ON letters (id);
CREATE INDEX by_order ON letters (time, written, partition, offset, topic) WHERE current;
CREATE INDEX by_kind ON letters (kind) WHERE current;
CREATE TABLE redriven (id TEXT PRIMARY KEY) WITHOUT ROWID;
"""
COLUMNS = (
    "id, kind, source_partition, source_offset, file, line, detail, kafka_time, written, generation, size,"
    " truncated, null_value, topic, partition, offset"
)
ORDER = "(time, written, partition, offset, topic)"
NEWEST_FIRST = "time DESC, written DESC, partition DESC, offset DESC, topic DESC"
# A letter that is written again is the same letter: the copy written last stands for all.
SUPERSEDE = """
UPDATE letters SET current = 0 WHERE id = :id AND current AND (topic, partition, offset) <> (
  SELECT topic, partition, offset FROM letters WHERE id = :id
  ORDER BY written DESC, topic DESC, partition DESC, offset DESC LIMIT 1
)
"""

Key = TypeVar("Key", bound=Hashable)


class LetterIndex:
    """Answers what `newest`, `summarize` and `copies_of` answer by reading everything."""

    def __init__(
        self, topics: LetterTopics, first: Mapping[At, int], floors: Mapping[At, int], most: int = KEPT
    ) -> None:
        """`first` is where each partition begins, `floors` from where on the index is to hold all copies."""
        self.topics, self.most = topics, most
        self._lock = threading.RLock()
        self._kinds: dict[tuple[str, tuple[str, ...]], int] = {}
        self._database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._database.executescript(SCHEMA)
        self._first, self.floors = dict(first), dict(floors)
        self._names = sorted(topics.names)  # a topic's number in the rows is its place here
        self.copies = self.letters = self.redriven_marks = 0

    # --- what is in it

    def older(self) -> dict[At, int]:
        """Where there are letters that it does not hold: partition → below which offset."""
        with self._lock:
            return {at: floor for at, floor in self.floors.items() if self._first.get(at, 0) < floor}

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Take in copies that are not in it, each partition's in their order."""
        ids = [{"id": letter.id} for letter in letters]
        with self._lock:
            rows = [self._row(letter) for letter in letters]
            execute = self._database.executemany
            self._database.execute("BEGIN")
            execute(f"INSERT INTO letters VALUES ({','.join('?' * 18)})", rows)
            superseded = execute(SUPERSEDE, ids).rowcount
            self._database.execute("COMMIT")
            self.copies += len(rows)
            self.letters += len(rows) - superseded
        if self.copies > self.most:
            self._trim()

    def mark_redriven(self, ids: Iterable[str]) -> None:
        with self._lock:
            added = self._database.executemany(
                "INSERT OR IGNORE INTO redriven VALUES (?)", [(i,) for i in ids]
            )
            self.redriven_marks += max(0, added.rowcount)

    def drop_before(self, first: Mapping[At, int]) -> None:
        """The partitions begin at these offsets by now."""
        with self._lock:
            self._first = dict(first)
            for at, offset in first.items():
                if offset > self.floors.get(at, 0):
                    self._drop(at, offset)

    def _trim(self) -> None:
        with self._lock:
            sql = "SELECT topic, partition, count(*) FROM letters GROUP BY topic, partition"
            counts = {(self._names[topic], p): n for topic, p, n in self._database.execute(sql)}
            for at, keep in shares(counts, int(self.most * TRIMMED)).items():
                if keep == 0 or counts[at] <= keep:
                    continue
                sql = "SELECT offset FROM letters WHERE topic = ? AND partition = ? ORDER BY offset LIMIT 1 OFFSET ?"
                [[floor]] = self._database.execute(sql, (*self._at(at), counts[at] - keep))
                self._drop(at, floor)

    def _drop(self, at: At, floor: int) -> None:
        sql = "DELETE FROM letters WHERE topic = ? AND partition = ? AND offset < ?"
        self._database.execute(sql, (*self._at(at), floor))
        self.floors[at] = floor
        sql = "SELECT count(*), total(current) FROM letters"
        [[self.copies, letters]] = self._database.execute(sql)
        self.letters = int(letters)

    # --- questions

    def newest(
        self, wanted: Wanted, limit: int, before: Order | None = None
    ) -> tuple[list[DeadLetter], bool]:
        """The newest `limit` that are wanted, newest first, and whether there are more."""
        with self._lock:
            where, values = self._where(wanted)
            if before is not None:
                where += f" AND {ORDER} < (?, ?, ?, ?, ?)"
                values += (*before[:4], bisect_left(self._names, before[4]))
            sql = f"SELECT {COLUMNS} FROM letters WHERE {where} ORDER BY {NEWEST_FIRST} LIMIT ?"
            found = self._letters(sql, (*values, limit + 1))
        return found[:limit], len(found) > limit

    def summarize(self, wanted: Wanted) -> tuple[int, Counter[tuple[str, str]]]:
        """How many letters are wanted, and how many by (source topic, reason)."""
        with self._lock:
            where, values = self._where(wanted)
            sql = f"SELECT kind, count(*) FROM letters WHERE {where} GROUP BY kind"
            rows = self._database.execute(sql, values).fetchall()
            kinds = {number: kind for kind, number in self._kinds.items()}
        counts: Counter[tuple[str, str]] = Counter()
        for number, letters in rows:
            topic, reasons = kinds[number]
            for reason in reasons or ("unknown",):
                counts[topic, reason] += letters
        return sum(letters for _, letters in rows), counts

    def places(self, letter_id: str) -> list[Place]:
        """Where each copy of a letter is."""
        with self._lock:
            sql = "SELECT topic, partition, offset FROM letters WHERE id = ?"
            found = self._database.execute(sql, (letter_id,)).fetchall()
        return [(self._names[topic], partition, offset) for topic, partition, offset in found]

    def redriven(self, ids: Iterable[str]) -> set[str]:
        """Which of these are back in their topics."""
        with self._lock:
            sql = "SELECT id FROM redriven WHERE id = ?"
            return {i for each in ids for (i,) in self._database.execute(sql, (each,))}

    def entries(self, topic: str) -> Iterator[DeadLetter]:
        """Every letter in a topic, each partition in its order. What comes while it is read may be missing."""
        number, last = self._names.index(topic), (-1, -1)
        while True:
            sql = (
                f"SELECT {COLUMNS} FROM letters WHERE current AND topic = ? AND (partition, offset) > (?, ?)"
            )
            found = self._letters(f"{sql} ORDER BY partition, offset LIMIT {CHUNK}", (number, *last))
            yield from found
            if len(found) < CHUNK:
                return
            last = found[-1].partition, found[-1].offset

    def first_written(self, at: At) -> int | None:
        """When the oldest copy that is kept of a partition was written (µs); None if none is."""
        with self._lock:
            sql = "SELECT written FROM letters WHERE topic = ? AND partition = ? ORDER BY offset LIMIT 1"
            found = self._database.execute(sql, self._at(at)).fetchone()
        return found[0] if found else None

    # --- rows

    def _at(self, at: At) -> tuple[int, int]:
        return self._names.index(at[0]), at[1]

    def _where(self, wanted: Wanted) -> tuple[str, list[int]]:
        kinds = [n for (topic, reasons), n in self._kinds.items() if wanted.is_of_kind(topic, reasons)]
        parts, values = [f"current AND kind IN ({','.join(map(str, kinds))})"], []
        if wanted.topic is None and wanted.reason is None:
            parts = ["current"]
        first, last = wanted.offsets or (None, None)
        for condition, value in (
            ("time >= ?", wanted.since),
            ("time < ?", wanted.until),
            ("source_partition = ?", wanted.partition),
            ("source_offset >= ?", first),
            ("source_offset <= ?", last),
        ):
            if value is not None:
                parts.append(condition)
                values.append(value)
        return " AND ".join(parts), values

    def _letters(self, sql: str, values: Sequence[int]) -> list[DeadLetter]:
        with self._lock:
            rows = self._database.execute(sql, values).fetchall()
            kinds = {number: kind for kind, number in self._kinds.items()}
        found = []
        for id_, kind, *place, kafka_time, written, generation, size, truncated, null_value, t, p, o in rows:
            source_partition, source_offset, file, line, detail = place
            topic, reasons = kinds[kind]
            found.append(
                DeadLetter(
                    id_, topic, source_partition, source_offset, file, line, reasons, detail, kafka_time,
                    written, generation, size, bool(truncated), bool(null_value), self._names[t], p, o, None, None,
                )
            )  # fmt: skip
        return found

    def _row(self, letter: DeadLetter) -> tuple[object, ...]:
        key = letter.source_topic, letter.reasons
        kind = self._kinds.setdefault(key, len(self._kinds))
        return (
            *self._at((letter.topic, letter.partition)), letter.offset, letter.id, kind,
            letter.source_partition, letter.source_offset, letter.file, letter.line, letter.detail, letter.kafka_time,
            letter.written, letter.generation, letter.size, letter.truncated, letter.null_value, letter.time, True,
        )  # fmt: skip


def shares(sizes: Mapping[Key, int], most: int) -> dict[Key, int]:
    """How much of each to keep, at most `most` together: all of the small ones, the large ones alike."""
    left, found = most, {}
    for n, partition in enumerate(sorted(sizes, key=sizes.__getitem__)):
        found[partition] = min(sizes[partition], left // (len(sizes) - n))
        left -= found[partition]
    return found
