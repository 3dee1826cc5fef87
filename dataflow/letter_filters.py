"""The options by which commands choose dead letters: topic, reason, time, place."""

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any

import click

from dataflow.options import Moment
from schemas.validate import micros
from serving.dead_letters import BadFilter, parse_wanted


def letter_filters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options and hand in `wanted`."""

    @click.option("--topic", metavar="TOPIC", help="Of this source topic; `import`: lines of files.")
    @click.option("--reason", metavar="RULE", help="Refused for this reason, alone or among others.")
    @click.option(
        "--since", type=Moment(), help="Taken by the broker at or after this time; 2h: two hours ago. [UTC]"
    )
    @click.option("--until", type=Moment(), help="Taken by the broker before this time.")
    @click.option("--partition", metavar="N", help="Of this source partition.")
    @click.option("--offsets", metavar="OFFSETS", help="At these source offsets: 17, or 17-99.")
    @wraps(function)
    def wrapper(*args: Any, since: datetime | None, until: datetime | None, **kwargs: Any) -> Any:
        texts = {name: kwargs.pop(name) for name in ("topic", "reason", "partition", "offsets")}
        given = {name: text for name, text in texts.items() if text is not None}
        try:
            wanted = parse_wanted(given, since and micros(since), until and micros(until))
        except BadFilter as error:
            raise click.BadParameter(error.reason, param_hint=f"--{error.name}") from None
        return function(*args, wanted=wanted, **kwargs)

    return wrapper
