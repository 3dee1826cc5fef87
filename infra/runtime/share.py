"""How much of a busy machine a process, with all that it starts, gets beside others: Linux's autogroups.

Every process of a run leads a session of its own, and Linux shares the processor out among sessions before it looks at
what `nice` says of their processes. The nice value of a session goes down and up without privileges, other than that of
a process. Where there are no autogroups (another system, a container that has its own share) nothing changes.
"""

from pathlib import Path


def set_session_niceness(leader: int, niceness: int) -> bool:
    """Set that of the session which a process leads; False if the kernel wants to be asked again in a moment."""
    try:
        Path(f"/proc/{leader}/autogroup").write_text(str(niceness), "ascii")
    except BlockingIOError:  # it takes ten a second
        return False
    except OSError:  # there are none, or the process is no more
        pass
    return True
