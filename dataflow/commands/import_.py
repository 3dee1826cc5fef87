"""`dataflow import`: files by a mapping to events, every line accounted for.

Reads the files and the mapping; writes the source topics, the dead letters and, if asked, a report.
"""

import gc
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import orjson

from dataflow.options import examples, json_option, print_json, print_table, settings_option
from infra.registry import schema_ids
from infra.runtime.run_state import running_settings
from infra.settings import Settings
from schemas.errors import DataflowError
from sources.importer import Account, DrySink, Importer, KafkaSink, Sink, load_mapping
from sources.producer import EventProducer

PROGRESS_SECONDS = 0.5  # on a terminal
PROGRESS_SECONDS_LOG = 10.0  # elsewhere, where every line stays


@click.command(
    "import",
    epilog=examples(
        "dataflow import orders.csv.gz --mapping shop.yaml --dry-run",
        "dataflow import --env retail 20*.csv.gz --mapping examples/online-retail/mapping.yaml",
        "dataflow dlq list --env retail        the lines that were refused",
    )
    + "\n\n\b\nExit codes: 0 every line has an outcome (refused ones included), 1 an error, 2 usage, 3 not running,\n"
    "75 a service does not answer now.\n"
    "Importing the same files again changes nothing. docs/importing.md explains mappings.",
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--mapping", "mapping_file", required=True, type=click.Path(path_type=Path), help="The mapping (YAML)."
)
@click.option("--dry-run", is_flag=True, help="Read and check everything, send nothing.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="The first N lines, and what completes their groups."
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the account to this file, as JSON.",
)
@json_option
@settings_option
def command(
    settings: Settings,
    files: tuple[Path, ...],
    mapping_file: Path,
    dry_run: bool,
    limit: int | None,
    report: Path | None,
    as_json: bool,
) -> int:
    """Import FILES (CSV, plain or gzip): events to the source topics, refused lines to the dead letters."""
    mapping = load_mapping(mapping_file)
    sink = DrySink() if dry_run else _kafka_sink(settings)
    # The lines of a file are alive at once; with default thresholds the collector takes 12 % of the time.
    gc.set_threshold(50_000, 20, 50)
    started = time.monotonic()
    importer = Importer(mapping, sink, time.time_ns() // 1_000, Progress(started))
    failure: DataflowError | None = None
    try:
        importer.run(files, limit)
    except DataflowError as error:
        failure = error
        importer.account.errors.append(str(error))
    finally:
        importer.progress.end()
    account = importer.account
    seconds = time.monotonic() - started
    document = {
        **account.as_json(),
        "environment": settings.dataflow_env,
        "dry_run": dry_run,
        "seconds": round(seconds, 3),
        "rows_per_second": round(account.total.lines / seconds) if seconds else 0,
    }
    if report:
        report.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    if as_json:
        print_json(document)
    elif account.files:
        show(document)
    if failure:
        raise failure
    for error in account.errors:
        click.echo(f"Error: {error}", err=True)
    return 1 if account.errors else 0


def _kafka_sink(settings: Settings) -> Sink:
    settings = running_settings(settings, needs=("kafka_bootstrap_servers", "kafka_schema_registry"))
    producer = EventProducer(settings.kafka_bootstrap_servers, settings.topic_prefix, schema_ids(settings))
    return KafkaSink(producer)


class Progress:
    """Says on stderr how far an import is: on a terminal in one line, elsewhere now and then."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.terminal = sys.stderr.isatty()
        self.every = PROGRESS_SECONDS if self.terminal else PROGRESS_SECONDS_LOG
        self.next = started + self.every

    def __call__(self, account: Account) -> None:
        now = time.monotonic()
        if now < self.next:
            return
        self.next = now + self.every
        total = account.total
        text = (
            f"{list(account.files)[-1]}: {total.lines:,} lines, {total.refused:,} refused, "
            f"{total.lines / (now - self.started):,.0f} lines/s"
        )
        click.echo(f"\r\x1b[K{text}" if self.terminal else text, err=True, nl=not self.terminal)

    def end(self) -> None:
        if self.terminal:
            click.echo("\r\x1b[K", err=True, nl=False)


def show(document: dict[str, Any]) -> None:
    """The account as a person reads it."""
    total, sent = document["total"], "would be sent (dry run)" if document["dry_run"] else "sent"
    click.echo(
        f"{document['mapping']} → environment {document['environment']}: {total['lines']:,} lines of "
        f"{len(document['files'])} files in {document['seconds']:.1f} s ({document['rows_per_second']:,} lines/s)\n"
    )
    rows = [("accepted", "", f"{total['accepted']:,}", ""), ("duplicate", "", f"{total['duplicates']:,}", "")]
    for reason, count in total["reasons"].items():
        example = document["examples"][reason][0]
        rows.append(
            (
                "refused",
                reason,
                f"{count:,}",
                f"{example['file']}:{example['line']} {example['detail']}"[:110],
            )
        )
    rows.append(("total", "", f"{total['lines']:,}", ""))
    print_table(("OUTCOME", "REASON", "LINES", "EXAMPLE"), rows)
    click.echo(
        f"\nEvents {sent}: "
        + (", ".join(f"{n:,} {topic}" for topic, n in document["events"].items()) or "none")
    )
    for name, sums in document["control_totals"].items():
        click.echo(f"\nControl total {name}")
        parts = [(f"  {key}", value) for key, value in sums["events"].items()] or [
            ("  booked", sums["booked"])
        ]
        parts += [("  rounding", sums["rounding"]), ("  duplicates", sums["duplicates"])]
        parts += [(f"  refused: {reason}", value) for reason, value in sums["refused"].items()]
        parts.append(("= all lines", sums["read"]))
        print_table(("", "SUM"), [(label, grouped(value)) for label, value in parts])
    for name, misses in document["lookup_misses"].items():
        most = ", ".join(f"{key!r} {n:,}" for key, n in list(misses["most_frequent"].items())[:3])
        click.echo(f"\nLook-up {name}: {misses['keys']:,} keys not in the table took its default ({most}, …)")


def grouped(text: str) -> str:
    """An exact decimal with thousands separators: -11062.06 is -11,062.06."""
    return f"{Decimal(text):,f}"
