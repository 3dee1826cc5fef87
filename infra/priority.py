"""How much of a busy processor a process gets beside the others."""

import os
from contextlib import suppress
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")


def lower(niceness: int) -> None:
    """Let others go first, the more the higher (1 to 19).

    Where Linux groups processes by session (sched_autogroup_enabled), niceness counts only within a session, and each
    process of the platform has one of its own: so the group is lowered, too.
    """
    os.nice(niceness)
    with suppress(OSError):
        AUTOGROUP.write_text(str(niceness))
