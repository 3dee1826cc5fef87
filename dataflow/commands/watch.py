"""`dataflow watch`: the live numbers in the terminal, as the API pushes them."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from typing import Protocol

import click
import orjson
from rich.console import Console
from rich.live import Live

from dataflow.api import api_address
from dataflow.live_text import line, picture
from dataflow.options import examples, settings_option
from dataflow.push import CONNECTING, View, follow
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from schemas.errors import Unavailable

REDRAW_SECONDS = 1.0  # how long a state lasts is shown too
SHORTEST_PAUSE = 0.1  # between two pictures
LINE_SECONDS = 1.0  # between two lines, where every line stays


class Display(Protocol):
    """Shows views; `pause` is how long it wants to see none, in seconds."""

    pause: float

    def show(self, view: View) -> None: ...

    def tick(self, view: View) -> None: ...


@click.command(
    epilog=examples(
        "dataflow watch",
        "dataflow watch --once",
        "dataflow watch --json | jq -r .revenue.net",
    )
    + "\n\n\b\nStates: live; stale (records wait, or the broker is silent); rebuilding; unavailable;\n"
    "disconnected (tried again, resuming with Last-Event-ID).\n"
    "Exit codes: 0 ended by Ctrl-C, or once the numbers are shown; 75 with --once: nothing to show now; 3 not running."
)
@click.option("--once", is_flag=True, help="Show the numbers once and end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, for each change.")
@settings_option
def command(settings: Settings, once: bool, as_json: bool) -> None:
    """The live numbers, as they change: revenue, funnel, products, errors, lag, freshness, exactness."""

    def address() -> str:
        return api_address(running_settings(settings, needs=()))

    views = follow(settings, address)
    with contextlib.suppress(KeyboardInterrupt):
        # Fails here, and not in the loop that tries again, if nothing runs at all.
        address()
        if once:
            view = asyncio.run(_first(views))
            _once(settings, view, as_json)
        elif as_json:
            asyncio.run(_run(views, JsonLines()))
        elif sys.stdout.isatty():
            with Live(console=Console(), auto_refresh=False) as live:
                asyncio.run(_run(views, Picture(live, settings.dataflow_env)))
        else:
            asyncio.run(_run(views, Lines()))


class JsonLines:
    """Every view, one a line."""

    pause = 0.0

    def show(self, view: View) -> None:
        click.echo(orjson.dumps(view.as_json()))

    def tick(self, view: View) -> None:
        """A script wants changes only."""


class Lines:
    """For a log: one line for what changed, at most one a second."""

    pause = LINE_SECONDS

    def show(self, view: View) -> None:
        click.echo(line(view, time.monotonic()))

    def tick(self, view: View) -> None:
        """Time alone is no news."""


class Picture:
    """For a terminal, drawn in place."""

    pause = SHORTEST_PAUSE

    def __init__(self, live: Live, env: str) -> None:
        self._live, self._env = live, env

    def show(self, view: View) -> None:
        self._live.update(picture(view, self._env, time.monotonic()), refresh=True)

    tick = show


async def _first(views: AsyncIterator[View]) -> View:
    """The first view that has numbers. Raises Unavailable for what stands in the way."""
    async with contextlib.aclosing(views):
        async for view in views:
            if view.snapshot is not None:
                return view
            if view.state != CONNECTING:
                raise Unavailable(f"the live numbers are not there: {view.state}: {view.detail}")
    raise Unavailable("the API ended the connection")


def _once(settings: Settings, view: View, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(view.as_json()))
    elif sys.stdout.isatty():
        Console().print(picture(view, settings.dataflow_env, time.monotonic()))
    else:
        click.echo(line(view, time.monotonic()))


async def _run(views: AsyncIterator[View], display: Display) -> None:
    """Show views until somebody interrupts. What comes during a pause is skipped, but for the newest."""
    newest: View | None = None
    arrived = asyncio.Event()

    async def receive() -> None:
        nonlocal newest
        async for view in views:
            newest = view
            if display.pause:
                arrived.set()
            else:
                display.show(view)

    async with contextlib.aclosing(views):
        receiver = asyncio.create_task(receive())
        try:
            while not receiver.done():
                waiting = asyncio.create_task(arrived.wait())
                await asyncio.wait((receiver, waiting), timeout=REDRAW_SECONDS, return_when="FIRST_COMPLETED")
                waiting.cancel()
                if arrived.is_set():
                    arrived.clear()
                    display.show(newest)
                    await asyncio.sleep(display.pause)
                elif newest is not None:
                    display.tick(newest)
            receiver.result()
        finally:
            receiver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await receiver
