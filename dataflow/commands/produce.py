"""`dataflow produce`: events of a made-up shop, now and at a steady rate, or a history as fast as the broker takes it.

Writes the source topics and, if asked, a file with the ground truth.
"""

import itertools
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import orjson

from dataflow.options import examples, json_option, print_json, print_table, settings_option
from infra.registry import schema_ids
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from schemas.contract import SHOP_TOPICS
from sources.generator import MIXES, Dials, GroundTruth, ShopSimulator, moments
from sources.producer import EventProducer, Pacer

RATE, COUNT, HISTORY_COUNT = 50.0, 1_000, 20_000
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
PROGRESS_SECONDS = 0.5  # on a terminal
PROGRESS_SECONDS_LOG = 60.0  # elsewhere, where every line stays
LONGEST_NAP = 0.2  # seconds until Ctrl-C is noticed
FORGIVEN_AFTER = 10.0  # seconds that an endless run makes up for at most, after a stall
INTERRUPTED = 130


class Time(click.ParamType):
    """An ISO 8601 time; without a zone it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"expected a time such as 2026-03-01 or 2026-03-01T08:00Z, saw {value!r}", param, ctx)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


class Span(click.ParamType):
    """A length of time such as 90m, 12h or 3d."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        number, unit = value[:-1], value[-1:]
        if unit not in UNITS or not number.isdecimal() or not int(number):
            self.fail(f"expected a length of time such as 90m, 12h or 3d, saw {value!r}", param, ctx)
        return int(number) * UNITS[unit]


@click.command(
    epilog=examples(
        "dataflow produce                                   1,000 events, 50 a second",
        "dataflow produce --rate 200 --forever              until Ctrl-C",
        "dataflow produce --span 3d --count 100000 --rate 0 the last three days, at once",
        "dataflow produce --mix all-up --dial malformed=0.3 --count 5000 --truth truth.json",
    )
    + "\n\n\b\nDials (0 to 1, per event): duplicates, late, out_of_order, malformed, rule_breaking, conflicts.\n"
    "The same --seed, --start, --span, --count and dials give the same records, byte for byte.\n"
    "Exit codes: 0 done, 1 an error, 2 usage, 3 not running, 75 a service does not answer now,\n"
    "130 stopped before --count was reached."
)
@click.option(
    "--rate", type=click.FloatRange(min=0), help=f"Records a second; 0: as fast as possible. [{RATE:g}]"
)
@click.option(
    "--count", type=click.IntRange(min=1), help=f"Records. [{COUNT:,}; a history {HISTORY_COUNT:,}]"
)
@click.option("--forever", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--seed", type=int, help="Makes the ids and everything else. [from the clock, and printed]")
@click.option("--mix", type=click.Choice(list(MIXES)), default="demo", show_default=True, help="How untidy.")
@click.option("--dial", "dials", multiple=True, metavar="NAME=SHARE", help="Turn one dial; may be repeated.")
@click.option("--start", type=Time(), help="Produce a history from this time on. [now − span]")
@click.option("--span", type=Span(), help="Length of the history, such as 90m, 12h, 3d.")
@click.option(
    "--truth",
    "truth_file",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Write to this file, as JSON, what every figure must be if the topics hold these records alone.",
)
@json_option
@settings_option
def command(
    settings: Settings,
    rate: float | None,
    count: int | None,
    forever: bool,
    seed: int | None,
    mix: str,
    dials: tuple[str, ...],
    start: datetime | None,
    span: timedelta | None,
    truth_file: Path | None,
    as_json: bool,
) -> int:
    """Produce the events of a made-up shop, with its customers, baskets, payments and mishaps."""
    now = datetime.now(UTC)
    start = _history_start(start, span, count, forever, now)
    turned = MIXES[mix].turned(dials)
    if truth_file and not truth_file.absolute().parent.is_dir():
        raise click.UsageError(f"--truth: there is no directory {truth_file.parent}")
    settings = running_settings(settings, needs=("kafka_bootstrap_servers", "kafka_schema_registry"))
    ids = schema_ids(settings, SHOP_TOPICS)
    seed = time.time_ns() // 1_000 if seed is None else seed
    truth = GroundTruth() if truth_file else None
    simulator = ShopSimulator(seed, start or now, ids, turned, live=span is None, truth=truth)
    if count is None and not forever:
        count = COUNT if span is None else HISTORY_COUNT
    times = iter(lambda: datetime.now(UTC), None) if span is None else moments(start, span, count)
    if rate is None:
        rate = RATE if span is None else 0.0
    click.echo(f"seed {seed}, environment {settings.dataflow_env}", err=True)

    run = Run(simulator, turned, span)
    with (
        EventProducer(settings.kafka_bootstrap_servers, settings.topic_prefix, ids) as producer,
        _stop_signals(run),
    ):
        pacer = Pacer(rate, forgiven_after=FORGIVEN_AFTER if forever else float("inf"), sleep=run.nap)
        run.produce(producer, pacer, times, range(count) if count else itertools.count())
    # the truth holds only for what has arrived: the producer has flushed, or raised
    if truth_file:
        truth_file.write_bytes(orjson.dumps(truth.as_json(settings.shop_timezone)))
    document = {
        **run.document(),
        "environment": settings.dataflow_env,
        "truth": truth_file and str(truth_file),
    }
    if as_json:
        print_json(document)
    else:
        show(document)
    return INTERRUPTED if run.stopped and not forever else 0


def _history_start(
    start: datetime | None, span: timedelta | None, count: int | None, forever: bool, now: datetime
) -> datetime | None:
    """Where a history begins; None for a live run. Raises UsageError for options that contradict each other."""
    if forever and (count or span or start):
        raise click.UsageError("--forever goes with neither --count nor --start nor --span")
    if start and not span:
        raise click.UsageError("--start needs the length of the history, such as --span 3d")
    if not span:
        return None
    start = start or now - span
    if start + span > now:
        raise click.UsageError(
            f"the history would end at {start + span:%Y-%m-%d %H:%M} UTC, which is yet to come"
        )
    return start


class Run:
    """One run: what it has produced so far, and whether somebody wants it to end."""

    def __init__(self, simulator: ShopSimulator, dials: Dials, span: timedelta | None) -> None:
        self.stopped = False
        self._simulator = simulator
        self._dials = dials
        self._span = span
        self._topics: Counter[str] = Counter()
        self._intents: Counter[str] = Counter()
        self._records = 0
        self._began = time.monotonic()
        self._seconds = 0.0

    def produce(
        self, producer: EventProducer, pacer: Pacer, times: Iterator[datetime], turns: Iterable[int]
    ) -> None:
        """Produce a record at each of `times` for each turn, in the pacer's rhythm, until `stopped` is set."""
        progress = Progress()
        for _ in turns:
            pacer.wait()
            if self.stopped:
                break
            emission = self._simulator.next(next(times))
            producer.produce_raw(emission.topic, emission.key, emission.value)
            self._records += 1
            self._topics[emission.topic] += 1
            self._intents[emission.intent] += 1
            progress(self._records)
        producer.flush()
        self._seconds = time.monotonic() - self._began
        progress.end()

    def nap(self, seconds: float) -> None:
        """Sleep, but wake up soon after `stopped` is set."""
        until = time.monotonic() + seconds
        while not self.stopped and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, LONGEST_NAP))

    def document(self) -> dict[str, Any]:
        """What the run was and what it produced."""
        return {
            "seed": self._simulator.seed,
            "start": self._simulator.start.isoformat(),
            "span_seconds": self._span and self._span.total_seconds(),
            "dials": asdict(self._dials),
            "records": self._records,
            "topics": dict(sorted(self._topics.items())),
            "intents": {str(intent): n for intent, n in self._intents.most_common()},
            "seconds": round(self._seconds, 3),
            "records_per_second": round(self._records / self._seconds) if self._seconds else 0,
            "stopped": self.stopped,
        }


class Progress:
    """Says on stderr how far a run is: on a terminal in one line, elsewhere now and then."""

    EVERY = 64  # records between two looks at the clock

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._interval = PROGRESS_SECONDS if self._terminal else PROGRESS_SECONDS_LOG
        self._began = self._said = time.monotonic()

    def __call__(self, records: int) -> None:
        if records % self.EVERY:
            return
        now = time.monotonic()
        if now - self._said < self._interval:
            return
        self._said = now
        text = f"{records:,} records, {records / (now - self._began):,.0f} a second"
        click.echo(f"\r\x1b[K{text}" if self._terminal else text, err=True, nl=not self._terminal)

    def end(self) -> None:
        if self._terminal:
            click.echo("\r\x1b[K", err=True, nl=False)


@contextmanager
def _stop_signals(run: Run) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run in order: what was produced is flushed and reported."""

    def stop(number: int, frame: object) -> None:
        run.stopped = True

    before: dict[int, Callable[[int, Any], Any] | int | None] = {
        number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show(document: dict[str, Any]) -> None:
    """The run as a person reads it."""
    click.echo(
        f"{document['records']:,} records in {document['seconds']:.1f} s "
        f"({document['records_per_second']:,} a second), seed {document['seed']}\n"
    )
    print_table(("TOPIC", "RECORDS"), [(topic, f"{n:,}") for topic, n in document["topics"].items()])
    click.echo()
    print_table(("MEANT AS", "RECORDS"), [(intent, f"{n:,}") for intent, n in document["intents"].items()])
    if document["truth"]:
        click.echo(f"\nThe ground truth is in {document['truth']}.")
