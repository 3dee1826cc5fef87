"""How every process of DataFlow ends: `sys.exit(run_process(main))` in its `__main__`.

The exit status tells the supervisor whether a restart can help, so that nobody reads logs to decide.
"""

import errno
import sys
from collections.abc import Callable

from schemas.errors import DataflowError, Terminal

EXIT_TRANSIENT = 75  # EX_TEMPFAIL of sysexits.h: the supervisor starts the process again
PINNED = "--pinned"  # to infra.bootstrap
EXIT_TERMINAL = 78  # EX_CONFIG: it does not, and shows the process as failed

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)  # of an OSError: the disk is full, or this user's share of it


def run_process(main: Callable[[], object]) -> int:
    """Call `main` and turn a DataflowError into one message on stderr and an exit status."""
    try:
        main()
    except DataflowError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return EXIT_TERMINAL if isinstance(error, Terminal) else EXIT_TRANSIENT
    except KeyboardInterrupt:
        return 130
    return 0
