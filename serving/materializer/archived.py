"""What bronze says of offsets that the topics no longer hold: which of them are records, and what these were."""

from bisect import bisect_left

from confluent_kafka import Message

from streams.archive import Course

WINDOW = 100_000  # offsets of a partition that are looked up at a time


class Archived:
    """The records below the turn of a course. It remembers which offsets are records, one window a partition."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._known: dict[tuple[str, int], tuple[int, int, list[int]]] = {}

    def next_offset(self, topic: str, partition: int, offset: int, end: int) -> tuple[int | None, int]:
        """The first record at or behind `offset` that bronze has; if it has none, None, and where to go on in Kafka.

        Nothing is looked for behind `end`. Raises Unavailable if bronze cannot be read.
        """
        at = topic, partition
        turn = self._course.turn.get(at, 0)
        if offset >= turn:
            return None, offset
        while offset < turn and offset <= end:
            _, until, records = self._window(at, offset, turn)
            n = bisect_left(records, offset)
            if n < len(records):
                return records[n], records[n]
            offset = until
        return None, max(offset, self._course.start[at]) if offset >= turn else offset

    def record(self, topic: str, partition: int, offset: int) -> Message | None:
        """The record at exactly `offset`; None if it is not one of bronze. Raises Unavailable."""
        return next(self._course.messages(topic, partition, offset, offset + 1), None)

    def _window(self, at: tuple[str, int], offset: int, turn: int) -> tuple[int, int, list[int]]:
        """From and to where it is known what the offsets are, `offset` among them, and which of them are records."""
        known = self._known.get(at)
        if known is None or not known[0] <= offset < known[1]:
            until = min(offset + WINDOW, turn)
            known = self._known[at] = offset, until, self._course.offsets(*at, offset, until)
        return known
