"""The options by which commands choose dead letters: topic, reason, time, place."""

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any

import click

from dataflow.options import Moment
from schemas.contract import CONTRACTS
from schemas.validate import micros
from serving.dead_letters import Wanted
from serving.dead_letters.letter import IMPORT


class SourceTopic(click.ParamType):
    """A source topic, `import` for every file import, or `import:NAME` for those by one mapping."""

    name = "topic"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value in CONTRACTS or value == IMPORT[:-1] or (value.startswith(IMPORT) and value != IMPORT):
            return value
        self.fail(
            f"expected one of {', '.join(CONTRACTS)}, import or import:MAPPING; saw {value!r}", param, ctx
        )


class OffsetRange(click.ParamType):
    """Offsets of a source partition: `17`, or `17-99`, both included."""

    name = "offsets"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        first, dash, last = value.partition("-")
        if (
            first.isdecimal()
            and (last.isdecimal() if dash else not last)
            and int(last or first) >= int(first)
        ):
            return int(first), int(last or first)
        self.fail(f"expected an offset, or the first and the last as in 17-99; saw {value!r}", param, ctx)


def letter_filters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options and hand in `wanted`."""

    @click.option("--topic", type=SourceTopic(), help="Of this source topic; `import`: lines of files.")
    @click.option("--reason", metavar="RULE", help="Refused for this reason, alone or among others.")
    @click.option(
        "--since", type=Moment(), help="Taken by the broker at or after this time; 2h: two hours ago. [UTC]"
    )
    @click.option("--until", type=Moment(), help="Taken by the broker before this time.")
    @click.option("--partition", type=click.IntRange(min=0), help="Of this source partition.")
    @click.option("--offsets", type=OffsetRange(), help="At these source offsets: 17, or 17-99.")
    @wraps(function)
    def wrapper(
        *args: Any,
        topic: str | None,
        reason: str | None,
        since: datetime | None,
        until: datetime | None,
        partition: int | None,
        offsets: tuple[int, int] | None,
        **kwargs: Any,
    ) -> Any:
        if since and until and since >= until:
            raise click.UsageError("--since must be before --until")
        if offsets and (topic is None or partition is None):
            raise click.UsageError(
                "--offsets needs --topic and --partition: offsets count within a partition"
            )
        wanted = Wanted(topic, reason, since and micros(since), until and micros(until), partition, offsets)
        return function(*args, wanted=wanted, **kwargs)

    return wrapper
