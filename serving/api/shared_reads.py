"""Reads of requests that come at the same time, as one read of Redis: its fences, and the buckets that several look
at, are then read and parsed once for all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from schemas.errors import DataflowError
from serving.api.gathered import Gathered
from serving.read import Answer, MetricQuery, QueryError, Reader
from serving.read.query import SECONDS

NO_LISTS: Mapping[str, int] = {}
TOGETHER = 16
# A question about more buckets goes by itself: a long call holds up every other client of Redis.
BUCKETS = 64
DAY = 86_400


@dataclass(frozen=True)
class _Asked:
    queries: Sequence[MetricQuery]
    hashes: Sequence[str]
    lists: Mapping[str, int]


class SharedReads:
    """Answers as `Reader.read` does, of one moment each."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._small: Gathered[_Asked, Answer] = Gathered(self._together, TOGETHER)

    async def read(
        self,
        queries: Sequence[MetricQuery] = (),
        hashes: Sequence[str] = (),
        lists: Mapping[str, int] = NO_LISTS,
    ) -> Answer:
        """See `Reader.read`."""
        if sum(map(_buckets, queries)) > BUCKETS:
            return await self._reader.read(queries, hashes, lists)
        return await self._small.ask(_Asked(queries, hashes, lists))

    async def _together(self, asked: Sequence[_Asked]) -> Sequence[Answer | Exception]:
        if len(asked) == 1:
            return [await self._reader.read(asked[0].queries, asked[0].hashes, asked[0].lists)]
        queries: list[MetricQuery] = []
        for each in asked:
            # The same question is answered once.
            queries += (query for query in each.queries if query not in queries)
        hashes = list(dict.fromkeys(key for each in asked for key in each.hashes))
        lists: dict[str, int] = {}
        for each in asked:
            for key, most in each.lists.items():
                lists[key] = max(most, lists.get(key, 0))
        try:
            answer = await self._reader.read(queries, hashes, lists)
        except QueryError:
            # Of one of them; the others shall not suffer from it.
            return [await self._alone(each) for each in asked]
        return [_part(answer, each, queries) for each in asked]

    async def _alone(self, asked: _Asked) -> Answer | Exception:
        try:
            return await self._reader.read(asked.queries, asked.hashes, asked.lists)
        except DataflowError as error:
            return error


def _buckets(query: MetricQuery) -> int:
    """About how many buckets a question looks at."""
    return 1 if query.grain == "all" else (query.end - query.start) // SECONDS.get(query.grain, DAY) + 1


def _part(answer: Answer, asked: _Asked, queries: Sequence[MetricQuery]) -> Answer:
    """What one of them asked for."""
    return replace(
        answer,
        rows=[answer.rows[queries.index(query)] for query in asked.queries],
        hashes={key: answer.hashes[key] for key in asked.hashes},
        lists={key: answer.lists[key][:most] for key, most in asked.lists.items()},
    )
