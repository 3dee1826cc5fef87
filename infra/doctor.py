"""What this machine must have, and what it should: one small check each, for `dataflow doctor`.

A check returns a Finding and changes nothing.
"""

import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from infra.runtime.ports import is_free
from infra.runtime.run_state import read_run
from infra.settings import Settings
from infra.setup.jars import LOCK_FILE, checked_jars
from infra.setup.java import find_java
from schemas.errors import SetupError

MEMORY_NEEDED_GB, MEMORY_WANTED_GB = 2.5, 4.0
DISK_NEEDED_GB, DISK_WANTED_GB = 1.0, 5.0
FILES_NEEDED, FILES_WANTED = 1_024, 4_096
PORTS = {"Kafka": 9092, "registry": 8081}


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARN = "warn"
    "It works, worse."
    BLOCK = "block"
    "It does not work until this is mended."


@dataclass(frozen=True)
class Finding:
    """What a check saw, and what to do unless all is well."""

    check: str
    level: Level
    seen: str
    todo: str = ""


def examine(settings: Settings) -> list[Finding]:
    """All checks, in the order in which a new machine fails them."""
    return [check(settings) for check in CHECKS]


def _python(_: Settings) -> Finding:
    seen = f"{platform.python_version()} ({sys.executable})"
    if sys.prefix == sys.base_prefix:
        todo = "Use the environment that `make setup` makes: .venv/bin/dataflow."
        return Finding("Python", Level.WARN, f"{seen}, not a virtual environment", todo)
    return Finding("Python", Level.OK, seen)


def _system(_: Settings) -> Finding:
    system, machine = platform.system(), platform.machine().lower()
    libc, version = platform.libc_ver()
    seen = f"{system} {machine}" + (f", {libc} {version}" if libc else "")
    if system not in ("Linux", "Darwin") or machine not in ("x86_64", "amd64", "aarch64", "arm64"):
        todo = (
            "Use Linux or macOS on x86-64 or arm64: the Java runtime and Valkey come as programs for these."
        )
        return Finding("system", Level.BLOCK, seen, todo)
    if system == "Linux" and libc != "glibc":
        todo = "The Java runtime of the wheel needs glibc (Alpine has musl): set JAVA_HOME to a Java of the system."
        return Finding("system", Level.WARN, seen, todo)
    return Finding("system", Level.OK, seen)


def _memory(_: Settings) -> Finding:
    memory = psutil.virtual_memory()
    free, total = memory.available / 2**30, memory.total / 2**30
    todo = f"Close programs or add memory: everything embedded takes about {MEMORY_NEEDED_GB} GB."
    return _threshold(
        "memory", free, MEMORY_NEEDED_GB, MEMORY_WANTED_GB, f"{free:.1f} of {total:.1f} GB free", todo
    )


def _disk(settings: Settings) -> Finding:
    place = _existing(settings.dataflow_home)
    free = shutil.disk_usage(place).free / 2**30
    if not os.access(place, os.W_OK):
        return Finding(
            "disk", Level.BLOCK, f"{place} is not writable", "Set DATAFLOW_HOME to a directory of yours."
        )
    todo = "Free some space, or set DATAFLOW_HOME to a larger disk: source topics keep everything."
    return _threshold("disk", free, DISK_NEEDED_GB, DISK_WANTED_GB, f"{free:.1f} GB free at {place}", todo)


def _java(settings: Settings) -> Finding:
    try:
        java = find_java(settings.java_home)
        subprocess.run([java.program, "-version"], capture_output=True, check=True, timeout=30)
    except SetupError as error:
        return Finding("Java", Level.BLOCK, str(error), "Run `make setup`.")
    except (OSError, subprocess.SubprocessError) as error:
        todo = "Set JAVA_HOME to a JDK 21 to 25 that starts on this machine."
        return Finding("Java", Level.BLOCK, f"{java.program} does not start: {error}", todo)
    return Finding("Java", Level.OK, f"{java.version} from {java.why}")


def _jars(settings: Settings) -> Finding:
    try:
        jars = checked_jars(settings.cache_dir)
    except SetupError as error:
        return Finding("jars", Level.BLOCK, str(error), "Run `make setup` (200 MB from Maven Central, once).")
    return Finding("jars", Level.OK, f"as in {LOCK_FILE.name}, in {jars.kafka.parent}")


def _ports(settings: Settings) -> Finding:
    run = read_run(settings.state_dir)
    if run and run.is_alive():
        return Finding("ports", Level.OK, f"in use by this environment, which runs (process {run.pid})")
    wanted = PORTS | {"Redis": settings.redis_port, "API": settings.api_port}
    taken = [f"{name} {port}" for name, port in wanted.items() if not is_free(port)]
    if taken:
        todo = "Nothing, another free port is taken; or stop what uses them, or set API_PORT and REDIS_PORT."
        return Finding("ports", Level.WARN, f"in use: {', '.join(taken)}", todo)
    return Finding(
        "ports", Level.OK, ", ".join(f"{name} {port}" for name, port in wanted.items()) + " are free"
    )


def _open_files(_: Settings) -> Finding:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return Finding("open files", Level.OK, "no limit")
    todo = f"Run `ulimit -n {FILES_WANTED}` in this shell: the broker holds several files per partition."
    return _threshold("open files", limit, FILES_NEEDED, FILES_WANTED, f"limit {limit}", todo)


def _clock(_: Settings) -> Finding:
    seen = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    # Files come from the past. A clock behind them would date events before what they change.
    if time.time() + 86_400 < LOCK_FILE.stat().st_mtime:
        return Finding("clock", Level.BLOCK, f"{seen}, before {LOCK_FILE.name} was written", "Set the clock.")
    return Finding("clock", Level.OK, seen)


CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    _python,
    _system,
    _memory,
    _disk,
    _java,
    _jars,
    _ports,
    _open_files,
    _clock,
)


def _threshold(check: str, value: float, needed: float, wanted: float, seen: str, todo: str) -> Finding:
    level = Level.BLOCK if value < needed else Level.WARN if value < wanted else Level.OK
    return Finding(check, level, seen, "" if level is Level.OK else todo)


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())
