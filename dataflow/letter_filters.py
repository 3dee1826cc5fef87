"""The options by which commands choose dead letters: topic, reason, time, place."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import wraps
from typing import Any

import click

from dataflow.code_of import by_the_code_of
from dataflow.options import Moment, chosen_settings
from infra.runtime.run_state import running_settings
from schemas.errors import DataflowError
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
    @click.pass_context
    @wraps(function)
    def wrapper(
        ctx: click.Context, /, *args: Any, since: datetime | None, until: datetime | None, **kwargs: Any
    ) -> Any:
        texts = {name: kwargs.pop(name) for name in ("topic", "reason", "partition", "offsets")}
        given = {name: text for name, text in texts.items() if text is not None}
        try:
            wanted = parse_wanted(given, since and micros(since), until and micros(until))
        except BadFilter as error:
            if error.name == "topic":
                with suppress(DataflowError):
                    _by_the_code_that_is_served(ctx, kwargs.get("env_here"))
            raise click.BadParameter(error.reason, param_hint=f"--{error.name}") from None
        return ctx.invoke(function, *args, wanted=wanted, **kwargs)

    return wrapper


def _by_the_code_that_is_served(ctx: click.Context, env_here: str | None) -> None:
    """Go on by it where there is one: it may have a topic that the code here has no more."""
    settings = running_settings(chosen_settings(ctx, env_here), needs=("kafka_bootstrap_servers",))
    by_the_code_of(settings, settings.dataflow_generation, surely=False)
