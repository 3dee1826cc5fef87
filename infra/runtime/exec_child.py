"""Becomes a child process that dies with its supervisor: `python exec_child.py <supervisor pid> <command> …`.

Between fork and exec Python code is not safe in a process with threads, so the kernel is asked here, in a program
of its own, which the command then replaces. Standard library only; started with `-I -S`, it costs about 20 ms.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for SIGKILL when the thread that started us ends, then become the command."""
    supervisor, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor:
        sys.exit("the supervisor ended before its child began")
    for name in ("SIGPIPE", "SIGXFSZ"):
        # The interpreter ignores them, and exec would pass that on.
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
