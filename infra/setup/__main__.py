"""`python -m infra.setup`: make this machine ready. Fast when it is. `--lock` writes jars.lock anew instead."""

import json
import sys
import tempfile
import time
from pathlib import Path

import click

from infra.settings import Settings
from infra.setup import ensure_jars, find_java, ivy, spark_java_home
from infra.setup.jars import LOCK_FILE, hashes
from infra.setup.launcher import write_launcher
from schemas.errors import DataflowError


@click.command(help="Make this machine ready: Java, jars, the `dataflow` command.")
@click.option("--lock", is_flag=True, help="Resolve ivy.xml again and write jars.lock (needs the network).")
def main(lock: bool) -> None:
    """Entry point."""
    started = time.monotonic()
    try:
        settings = Settings.load()
        java = find_java(settings.java_home)
        say(f"java {java.version} from {java.why}")
        if lock:
            write_lock(java)
            return
        spark_java_home(java, settings.cache_dir)
        jars = ensure_jars(settings.cache_dir, java, say)
        say(f"jars in {jars.kafka.parent}")
        if launcher := write_launcher():
            say(f"command {launcher}")
        say(f"ready ({time.monotonic() - started:.1f} s)")
    except DataflowError as error:
        sys.exit(f"setup: {error}")


def write_lock(java) -> None:
    """Resolve `ivy.xml` from scratch and write the hashes of what came."""
    with tempfile.TemporaryDirectory() as scratch:
        say("resolving ivy.xml (200 MB) …")
        ivy.retrieve(java, Path(scratch) / "out", Path(scratch) / "cache")
        lock = hashes(Path(scratch) / "out")
    LOCK_FILE.write_text(json.dumps(lock, indent=2) + "\n")
    say(f"{sum(map(len, lock.values()))} files written to {LOCK_FILE}")


def say(line: str) -> None:
    """One progress line."""
    click.echo(f"setup: {line}")


if __name__ == "__main__":
    main()
