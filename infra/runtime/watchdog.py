"""Kills what a supervisor leaves behind when it is killed: `python watchdog.py`, started by the supervisor.

A child's own children (Spark's JVM) are not covered by the kernel's parent death signal, and macOS has none. So this
process reads lines `+ <process group>` and `- <process group>` from its standard input, and when that ends, because the
supervisor did, it kills the groups that are left. Standard library only; it sleeps in read() all its life.
"""

import os
import signal
import sys


def main() -> None:
    """Follow the lines to their end, then kill."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        sign, _, group = line.partition(" ")
        (groups.add if sign == "+" else groups.discard)(int(group))
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


if __name__ == "__main__":
    main()
