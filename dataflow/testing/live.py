"""The whole live path of an environment: broker → live job → materializer → REST, in processes that die for real.

The live job is the one in plain Python unless Spark's is asked for; what a test sees is the same. The API runs in a
thread of the test: it only reads, and is not killed with the rest.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

import httpx
import orjson

from dataflow.testing.judge import Verdict
from dataflow.testing.letters import letters_in
from dataflow.testing.pipeline import Row, Where
from dataflow.testing.plain_live import plain_live_spec
from dataflow.testing.process import JobProcess
from dataflow.testing.questions import bucket_prefix, metric_called, questions
from dataflow.testing.records import Letter, Place
from dataflow.testing.rest import serving
from dataflow.testing.services import Environment
from dataflow.testing.stream import Stream
from dataflow.testing.wait import wait_for
from infra.generation import load_generation, source_bounds, source_identities
from infra.generations import Generation
from infra.kafka import Offsets
from infra.read_topic import read_topic
from infra.runtime import jobs
from infra.runtime.spec import ProcessSpec
from infra.settings import Settings
from infra.setup import find_java
from schemas.errors import GenerationError
from serving.read.query import iso
from serving.store.keys import Keys
from serving.store.store import connect

LOG_LINES = 15


class Live:
    """A `Numbers` pipeline of processes; a context manager that starts it and leaves nothing behind.

    `jobs` are its processes by name: live and materializer. `kills` counts how often it was killed.
    """

    def __init__(
        self, environment: Environment, stream: Stream | None = None, *, spark: bool = False
    ) -> None:
        """`stream` is what produces to the environment; an ABORT in it kills this pipeline."""
        self.settings = environment.settings
        self.stream = stream or environment.stream()
        self.stream.attach(self)
        self.kills = 0
        self._exit = ExitStack()
        live = spark_live_spec if spark else plain_live_spec
        self.jobs = {
            spec_of(self.settings).name: JobProcess(self.settings, spec_of)
            for spec_of in (live, jobs.materializer_spec)
        }
        self._armed: JobProcess | None = None
        self._marker = Path()  # what the failpoint leaves when it kills

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for job in self.jobs.values():
                stack.callback(job.__exit__)
            self.start()
            self._api = stack.enter_context(serving(self.settings))
            self._api.wait_ready()
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._exit.close()
        # Its clients would outlive the broker, and complain: pytest keeps this object for a while.
        del self._api

    @property
    def url(self) -> str:
        """Where the API is."""
        return self._api.url

    @property
    def http(self) -> httpx.Client:
        """A client of the API, for any of its routes."""
        return self._api.http

    # --- Pipeline

    def start(self) -> None:
        """Start the jobs that are down; returns once they work."""
        self._armed = None
        down = [job for job in self.jobs.values() if not job.alive()]
        for job in down:
            job.launch()
        for job in down:
            job.wait_ready()

    def stop(self) -> None:
        """SIGTERM for the jobs; returns when they have ended."""
        for job in self.jobs.values():
            job.terminate()
        for job in self.jobs.values():
            job.ended()

    def kill(self) -> None:
        """SIGKILL for the jobs and all that they started. AssertionError for one that had ended by itself."""
        for job in self.jobs.values():
            job.kill()
        self.kills += 1

    def arm(self, failpoint: str) -> None:
        """Start a job again, the one that the failpoint's name begins with, so that it kills itself there."""
        name = failpoint.partition(":")[0]
        job = self.jobs.get(name.partition(".")[0])
        assert job is not None, f"expected a failpoint of {' or '.join(self.jobs)}, saw {failpoint}"
        self._armed, self._marker = job, self.settings.state_dir / "failpoints" / name
        self._marker.unlink(missing_ok=True)
        job.kill()
        job.launch(dataflow_failpoint=failpoint)
        # It may come there while it starts.
        wait_for(lambda: self._marker.exists() or job.ready(), job.spec.start_deadline, f"{job.name} at work")

    def died(self, timeout: float = 60.0) -> None:
        """Wait until the job that is armed has killed itself. AssertionError if it does not come to its failpoint."""
        job = self._armed
        assert job is not None, "expected a pipeline that is armed, saw none: `arm` it first"
        wait_for(
            self._marker.exists,
            timeout,
            f"the death of {job.name} at failpoint {self._marker.name} (is there such a failpoint, and do the records "
            "in front of ABORT lead there?)",
        )
        job.ended(timeout)
        self.kills += 1

    def settled(self, timeout: float = 60.0) -> None:
        """Wait until REST counts everything that the source topics hold now, empty offsets too."""
        # As the topics are now: the generation may not know of added partitions yet.
        now = replace(self._generation(), topics=source_identities(self.settings))
        _, ends = source_bounds(self.settings, now)

        def behind() -> dict[str, str]:
            for job in self.jobs.values():
                job.tend()
            fences = self._fences()
            return {
                str(Place(*at, end)): f"{fences.get(at, 0)} of {end}"
                for at, end in ends.items()
                if fences.get(at, 0) < end
            }

        try:
            wait_for(lambda: not behind(), timeout)
        except AssertionError:
            raise AssertionError(self._why(behind(), timeout)) from None

    # --- Numbers

    def rows(
        self, metric: str, grain: str = "all", by: str | Sequence[str] = (), where: Where | None = None
    ) -> list[Row]:
        declared, keys = metric_called(metric), Keys.of(self.settings, self._generation().name)
        prefix, redis = bucket_prefix(keys, declared, grain), connect(self.settings)
        try:
            starts = [int(key.decode().removeprefix(prefix)) for key in redis.scan_iter(match=prefix + "*")]
        finally:
            redis.close()
        rows: list[Row] = []
        for query in questions(declared, grain, by, where, starts, ZoneInfo(self.settings.shop_timezone)):
            asked: dict[str, Any] = {"grain": grain}
            asked |= {} if grain == "all" else {"from": iso(query.start), "to": iso(query.end)}
            asked |= {"by": ",".join(query.by)} if query.by else {}
            # Null is asked for as an empty value.
            asked |= {name: [value or "" for value in values] for name, values in query.where.items()}
            rows += self.get(f"/v1/metrics/{metric}", **asked)["rows"]
        return rows

    def verdicts(self, topic: str | None = None) -> list[Verdict]:
        found: dict[Place, Verdict] = {}
        judged = self._generation().judged_topic(self.settings)
        for message in read_topic(self.settings.kafka_bootstrap_servers, judged):
            if not message.headers():
                verdict = Verdict.of(orjson.loads(message.value()))
                found[Place(verdict.topic, verdict.partition, verdict.offset)] = verdict
        return [found[at] for at in sorted(found) if topic in (None, at.topic)]

    def dead_letters(self, topic: str | None = None) -> list[Letter]:
        name = self._generation().dead_letter_topic(self.settings)
        return letters_in(read_topic(self.settings.kafka_bootstrap_servers, name), topic)

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """The document at a path of the API. AssertionError for any answer but 200."""
        answer = self.http.get(path, params=parameters)
        assert answer.status_code == 200, (
            f"{answer.request.url} answers {answer.status_code}: {answer.text[:500]}"
        )
        return answer.json()

    # --- inside

    def _generation(self) -> Generation:
        found = load_generation(self.settings)
        if found is None:
            raise GenerationError(
                f"environment {self.settings.dataflow_env} has no generation: it was removed"
            )
        return found

    def _fences(self) -> Offsets:
        """What REST counts; nothing while it cannot say."""
        as_of: Mapping[str, Any] | None = self.http.get("/v1/status").json()["as_of"]
        if as_of is None:
            return {}
        return {(t, int(p)): offset for t, places in as_of["offsets"].items() for p, offset in places.items()}

    def _why(self, behind: Mapping[str, str], timeout: float) -> str:
        status = self.http.get("/v1/status").json()
        logs = [
            "\n".join([f"--- the log of {name}:", *job.log().splitlines()[-LOG_LINES:]])
            for name, job in self.jobs.items()
        ]
        left = ", ".join(f"{at}: {count}" for at, count in behind.items())
        said = orjson.dumps(status).decode()
        return "\n".join(
            [f"not everything is counted after {timeout:.0f} s ({left}); REST says {said}", *logs]
        )


def spark_live_spec(settings: Settings) -> ProcessSpec:
    """The Spark job, as the supervisor starts it."""
    return jobs.live_spec(settings, find_java(settings.java_home))
