"""What the subcommands share: `--env` after the command too, `--json`, settings, times, output.

@click.command(epilog=examples("dataflow topics --json"))
@json_option
@settings_option
def command(settings: Settings, as_json: bool) -> None: ...
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import wraps
from typing import Any

import click
import orjson

from infra.settings import Settings

PLACE = re.compile(r"([a-z][a-z0-9_]{0,99})/([0-9]{1,6}):([0-9]{1,18})", re.ASCII)
UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def settings_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--env NAME` and hand `settings` in. Given before and after the command, the later one counts."""

    @click.option(
        "--env", "env_here", metavar="NAME", help="The environment (default: DATAFLOW_ENV, else demo)."
    )
    @click.pass_context
    @wraps(function)
    def wrapper(ctx: click.Context, /, *args: Any, env_here: str | None, **kwargs: Any) -> Any:
        return ctx.invoke(function, *args, settings=chosen_settings(ctx, env_here), **kwargs)

    return wrapper


def chosen_settings(ctx: click.Context, env_here: str | None) -> Settings:
    """Those of the environment that was named, after the command or before it."""
    env = env_here or ctx.obj
    return Settings.load(**({"dataflow_env": env} if env else {}))


json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


class DayRange(click.ParamType):
    """A day, or a first and a last one."""

    name = "days"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[date, date]:
        if isinstance(value, tuple):
            return value
        first, _, last = value.partition("..")
        try:
            days = date.fromisoformat(first), date.fromisoformat(last or first)
        except ValueError:
            self.fail(
                f"expected a day such as 2026-03-01, or 2026-03-01..2026-03-07; saw {value!r}", param, ctx
            )
        if days[0] > days[1]:
            self.fail(f"expected a first day that is not behind the last one, saw {value!r}", param, ctx)
        return days


class Moment(click.ParamType):
    """A time (UTC where it names no zone), or how long ago it was: 90s, 15m, 2h, 3d."""

    name = "time"
    more = ""  # what else it may be

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            if value[-1:] in UNITS and value[:-1].isdecimal():
                return datetime.now(UTC) - int(value[:-1]) * UNITS[value[-1]]
            at = datetime.fromisoformat(value)
            return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.fail(
                "expected a time such as 2026-03-01 or 2026-03-01T08:00Z, or how long ago, such as 15m, 2h, 3d"
                f"{self.more}; "
                f"saw {value!r}",
                param,
                ctx,
            )


class Beginning(Moment):
    """Where to begin: a time, or the offset of a partition, `orders/0:1200`, as ((topic, partition), offset)."""

    name = "beginning"
    more = ", or an offset such as orders/0:1200"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | tuple[tuple[str, int], int]:
        found = isinstance(value, str) and PLACE.fullmatch(value)
        if found:
            return (found[1], int(found[2])), int(found[3])
        if isinstance(value, str) and "/" in value:
            self.fail(f"expected TOPIC/PARTITION:OFFSET such as orders/0:1200, saw {value!r}", param, ctx)
        return super().convert(value, param, ctx)


class GenerationName(click.ParamType):
    """A generation, `g2` or `2`, as its number."""

    name = "generation"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"g?([1-9][0-9]{0,8})", str(value), re.ASCII)
        if found is None:
            self.fail(f"expected a generation such as g2, saw {value!r}", param, ctx)
        return int(found[1])


def examples(*lines: str) -> str:
    """The epilog of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def print_json(value: Any) -> None:
    """One indented JSON document on stdout."""
    click.echo(
        orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str).decode()
    )


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as they need to be; numbers to the right."""
    cells = [[("" if cell is None else printable(str(cell))) for cell in row] for row in (header, *rows)]
    rows = list(cells[1:])
    numeric = [bool(rows) and all(_is_number(row[n]) for row in rows) for n in range(len(header))]
    widths = [max(len(row[n]) for row in cells) for n in range(len(header))]
    for row in cells:
        parts = (
            c.rjust(w) if right else c.ljust(w) for c, w, right in zip(row, widths, numeric, strict=True)
        )
        click.echo("  ".join(parts).rstrip())


def printable(text: str) -> str:
    """Text from a record, unable to steer the terminal: what is no printable character appears escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _is_number(text: str) -> bool:
    try:
        return text == "" or float(json.loads(text.replace(",", ""))) is not None
    except (ValueError, TypeError):
        return False
