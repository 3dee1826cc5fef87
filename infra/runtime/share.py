"""How much of a busy machine a process, with all that it starts, gets beside others: Linux's autogroups.

Every process of a run leads a session of its own, and Linux shares the processor out among sessions before it looks at
what `nice` says of their processes. The nice value of a session goes down and up without privileges, other than that of
a process. Where there are no autogroups (another system, a container that has its own share) nothing changes.
"""

from pathlib import Path


def set_session_niceness(leader: int, niceness: int) -> bool:
    """Set that of the session which a process leads; False if it is to be tried again in a moment.

    The kernel takes ten a second, and none of a process that is only just becoming another program.
    """
    try:
        Path(f"/proc/{leader}/autogroup").write_bytes(str(niceness).encode())
    except FileNotFoundError:  # there are none, or the process is no more
        return True
    except OSError:
        return False
    return True
