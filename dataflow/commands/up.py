"""`dataflow up`: start all processes of an environment, show their progress, stay until Ctrl-C or SIGTERM."""

import signal
import sys
import threading
import time
from contextlib import ExitStack

import click

from dataflow.options import examples, settings_option
from infra.runtime.platform import Platform
from infra.runtime.run_state import START_FAILED
from infra.runtime.spec import State
from infra.runtime.unit import ProcessInfo
from infra.settings import Settings
from schemas.contract import CONTRACTS, OWN_DIRECTORY
from schemas.metrics import OWN_METRICS

START_TIMEOUT_S = 300.0
MAX_RESTARTS = 5  # before the first readiness: then the reason is not one that time mends
DEMO_RATE = 50
DEMO = (sys.executable, "-m", "dataflow", "produce", "--rate", str(DEMO_RATE), "--forever")


@click.command(
    epilog=examples(
        "dataflow up --demo           everything, with a demo load",
        "dataflow up --env import     another environment, apart from the demo",
        "KAFKA_BOOTSTRAP_SERVERS=broker:9092 dataflow up    on your own Kafka",
    )
)
@click.option("--demo", is_flag=True, help=f"Also produce {DEMO_RATE} believable events a second.")
@settings_option
def command(settings: Settings, demo: bool) -> None:
    """Start everything and stay in the foreground; Ctrl-C stops it.

    Starts the broker, the registry and Redis where no address is set, then the jobs and the API. State is kept:
    starting again continues. What dies is restarted.
    """
    progress = Progress()
    platform = Platform(settings, demo=DEMO if demo else None, on_change=progress.show, on_notice=click.echo)
    with ExitStack() as stack:
        stop = _stop_signals(stack, platform)
        click.echo(f"environment {settings.dataflow_env}, state in {settings.state_dir}")
        if own := own_contracts():
            click.echo(own)
        platform.start(stack)
        stack.callback(click.echo, "stopping …")
        for target in (_await_ready, _await_end):
            threading.Thread(target=target, args=(platform, progress, stop), daemon=True).start()
        stop.wait()
    click.echo("stopped")
    if progress.error:
        raise progress.error


def own_contracts() -> str:
    """What the user has declared; empty if nothing. Wrong declarations end the command when this module is imported."""
    if OWN_DIRECTORY is None:
        return ""
    topics = [topic for topic in CONTRACTS if (OWN_DIRECTORY / "avro" / f"{topic}.avsc").exists()]
    metrics = ", ".join(metric.name for metric in OWN_METRICS) or "none"
    return f"contracts of your own in {OWN_DIRECTORY}: topics {', '.join(topics)}; metrics {metrics}"


class Progress:
    """Prints a line for each process that changes, and the URL when all are ready."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._begun = time.monotonic()
        self._seen: dict[str, State] = {}
        self._starting: dict[str, float] = {}

    def show(self, processes: list[ProcessInfo]) -> None:
        """Called by the supervisor after each change."""
        for info in processes:
            before = self._seen.get(info.name)
            if info.state == before:
                continue
            self._seen[info.name] = info.state
            if line := self._line(info):
                click.echo(f"{time.monotonic() - self._begun:6.1f} s  {info.name:<13} {line}")

    def _line(self, info: ProcessInfo) -> str:
        if info.state is State.STARTING:
            self._starting[info.name] = info.since
            return "starting"
        if info.state is State.READY:
            took = f"ready after {info.since - self._starting.get(info.name, info.since):.1f} s"
            return f"{took}, port {info.port}" if info.port else took
        if info.state is State.BACKOFF:
            return f"ended, starts again (restart {info.restarts})"
        return {State.DONE: "done", State.FAILED: "failed, see its log", State.STOPPED: "stopped"}.get(
            info.state, ""
        )


def _await_ready(platform: Platform, progress: Progress, stop: threading.Event) -> None:
    try:
        # The lake comes last and the numbers do not wait for it.
        platform.wait_ready(timeout=START_TIMEOUT_S, max_restarts=MAX_RESTARTS, but=("lake", "verifier"))
    except Exception as error:  # noqa: BLE001 shown by the main thread, which then stops everything
        if not stop.is_set():
            progress.error = error
            stop.set()
        return
    if not stop.is_set():
        click.echo(f"\n  {platform.url}\n\nCtrl-C stops everything; `dataflow status` tells more.")


def _await_end(platform: Platform, progress: Progress, stop: threading.Event) -> None:
    try:
        platform.wait_end()
    except Exception as error:  # noqa: BLE001 shown by the main thread
        progress.error = progress.error or error
    stop.set()


def _stop_signals(stack: ExitStack, platform: Platform) -> threading.Event:
    """An event that Ctrl-C, SIGTERM or a closed terminal sets; a second Ctrl-C does not wait for orderly ends."""
    stop = threading.Event()

    def handle(number: int, frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            platform.supervisor.hurry()
        stop.set()

    handlers = dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), handle)
    handlers[START_FAILED] = lambda *_: platform.start_failed()
    for number, handler in handlers.items():
        before = signal.signal(number, handler)
        stack.callback(signal.signal, number, before)
    return stop
