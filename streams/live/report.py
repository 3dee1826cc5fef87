"""The live job's status file: what the supervisor and `dataflow status` know of it. Writes DATAFLOW_STATUS_FILE."""

import time
from typing import Any

from infra.settings import Settings
from infra.status import write_status

REASON_CHARACTERS = 500


class Report:
    """What there is to say about this process. Times are epoch seconds, `restarts` counts restarts of its query.

    `failures` counts how often it has failed one after the other: soon after its start, or for the same reason with
    nothing committed between; 0 while it works.
    """

    def __init__(self, settings: Settings) -> None:
        self._file = settings.dataflow_status_file
        self._known: dict[str, Any] = {
            "mode": settings.live_mode,
            "started_at": time.time(),
            "generation": None,
            "attempt": None,
            "query_id": None,
            "run_id": None,
            "query_started_at": None,
            "restarts": 0,
            "failures": 0,
            "last_failure": None,
            "registry_failure": None,
        }

    def know(self, **details: Any) -> None:
        """Take in what has changed; the next `write` tells it."""
        self._known |= details

    def query_started(self, query_id: str, run_id: str) -> None:
        again = self._known["run_id"] is not None
        self.know(
            query_id=query_id,
            run_id=run_id,
            query_started_at=time.time(),
            restarts=self._known["restarts"] + again,
        )

    def failed(self, reason: str, failures: int = 0) -> None:
        self.know(failures=failures, last_failure={"at": time.time(), "reason": reason[:REASON_CHARACTERS]})

    def registry_fails(self, reason: str) -> bool:
        """The registry is of no use since now, or still; True if that is new."""
        if self._known["registry_failure"] is not None:
            return False
        self.know(registry_failure={"since": time.time(), "reason": reason[:REASON_CHARACTERS]})
        return True

    def registry_answers(self) -> bool:
        """The registry answers; True if it did not before."""
        failed = self._known["registry_failure"] is not None
        self.know(registry_failure=None)
        return failed

    def write(self, state: str) -> None:
        """`state` is starting, running, restarting (the query failed, a pause) or stopping."""
        write_status(self._file, state, **self._known)
