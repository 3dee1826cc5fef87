"""Whether the query that runs answers a request to repeat anyway, so that it need not begin anew.

Who waits for verdicts asks again and again. On a busy machine a query needs minutes until it gives the first one;
beginning anew at each request, it would never come to that.
"""

import logging
import time

from infra.generations import Generation
from infra.kafka import Offsets, admin, identities, log_bounds
from infra.settings import Settings
from schemas.errors import Unavailable
from streams.live.attempt import Attempt

# Who has made a request may not have seen yet what came just now.
SETTLING_SECONDS = 15.0
# After which a query that gives nothing is not believed in.
WARMING_SECONDS = 300.0

log = logging.getLogger(__name__)


class Answering:
    """Of one generation's live job. Reads where the topic of verdicts ends."""

    def __init__(self, settings: Settings, generation: Generation) -> None:
        self._settings, self._generation = settings, generation
        self._began: tuple[float, Offsets] | None = None
        self._requested = self._by_request = False

    def requested(self) -> None:
        """The query that starts next is the answer to a request."""
        self._requested = True

    def begins(self, committed: float | None) -> None:
        """A query starts now. One that has `committed` goes on there, and repeats nothing of before."""
        self._began = None if committed else (time.monotonic(), self._ends())
        self._by_request, self._requested = self._requested, False

    def failed(self) -> None:
        """The query has failed: to begin elsewhere may be what mends it."""
        self._began = None

    def answers(self, attempt: Attempt, wanted: Offsets) -> bool:
        """Whether it gives all verdicts from `wanted` on, or has just done so."""
        if self._began is None:
            return False
        began, ends = self._began
        since = {} if attempt.starting is None else attempt.starting
        if any(offset < since.get(at, self._generation.start(*at)) for at, offset in wanted.items()):
            return False
        waited = time.monotonic() - began
        if self._by_request and waited < SETTLING_SECONDS:
            return True
        return waited < WARMING_SECONDS and ends == self._ends() != {}

    def _ends(self) -> Offsets:
        """Where the topic of verdicts ends; empty if the broker does not say."""
        topic = self._generation.judged_topic(self._settings)
        client = admin(self._settings.kafka_bootstrap_servers)
        try:
            partitions = identities(client, [topic])[topic].partitions
            return log_bounds(client, [(topic, p) for p in range(partitions)])[1]
        except (Unavailable, KeyError) as error:
            log.warning("where the verdicts end is not to be seen: %s", error)
            return {}
