"""The processes of DataFlow itself, as specs: bootstrap, live job, materializer, API, lake, verifier, demo load.

They know nothing about being embedded: their settings come as environment variables, which name every address.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.code import deciding_settings
from infra.entry import PINNED
from infra.runtime import probes
from infra.runtime.spec import ProcessSpec
from infra.settings import Settings
from infra.setup import Java, spark_java_home

ROOT = Path(__file__).parents[2]
# Any address of this machine, for a client on it.
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True)
class Serves:
    """Which generation a process serves: what its name ends with, the variables that bind it when it starts, and
    whether it leaves the processor to others by now."""

    env: Callable[[], Mapping[str, str]] = dict
    suffix: str = ""
    gives_way: Callable[[], bool] = bool


# Of the live generation's, and of one that gives way to it. The live path goes first, then what others wait for.
NICENESS = {"live": (0, 15), "materializer": (0, 15), "lake": (10, 17), "verifier": (15, 19)}
UNBOUND = Serves()  # the live one, whichever that is


def bootstrap_spec(settings: Settings) -> ProcessSpec:
    """Creates topics, registers schemas; a task."""
    needs = ("kafka", "registry")
    return _job(settings, "bootstrap", "infra.bootstrap", PINNED, after=needs, start_deadline=120)


def live_spec(settings: Settings, java: Java, serves: Serves = UNBOUND) -> ProcessSpec:
    """The live Spark job."""
    env = _spark_env(settings, java)
    return _job(
        settings, "live", "streams.live", serves=serves, env=env, start_deadline=240, stop_deadline=25
    )


def lake_spec(
    settings: Settings, java: Java, after: tuple[str, ...] = ("bootstrap",), serves: Serves = UNBOUND
) -> ProcessSpec:
    """The lake's Spark job."""
    return _job(
        settings,
        "lake",
        "streams.lake",
        serves=serves,
        after=after,
        env=_spark_env(settings, java),
        start_deadline=300,
        stop_deadline=60,
    )


def verifier_spec(
    settings: Settings, after: tuple[str, ...] = ("bootstrap",), serves: Serves = UNBOUND
) -> ProcessSpec:
    """Computes everything again and compares."""
    return _job(
        settings,
        "verifier",
        "replay.verify",
        serves=serves,
        after=after,
        start_deadline=60,
        stop_deadline=60,
    )


def _spark_env(settings: Settings, java: Java) -> dict[str, str]:
    env = {"JAVA_HOME": str(spark_java_home(java, settings.cache_dir)), "PYSPARK_PYTHON": sys.executable}
    if settings.spark_master is None or settings.spark_master.startswith("local"):
        scratch = settings.state_dir / "spark"
        scratch.mkdir(parents=True, exist_ok=True)
        env |= {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_DIRS": str(scratch)}
    return env


def materializer_spec(settings: Settings, serves: Serves = UNBOUND) -> ProcessSpec:
    """Folds verdicts into Redis."""
    return _job(
        settings,
        "materializer",
        "serving.materializer",
        serves=serves,
        after=("bootstrap", "valkey"),
        start_deadline=120,
    )


def api_spec(
    settings: Settings, door: int, serves: Serves = UNBOUND, preview: int | None = None
) -> ProcessSpec:
    """REST, push and page of one generation; `door` is the listening socket's descriptor.

    That it can answer counts as ready, whoever does at the time. While Redis is rebuilt it answers 503, which is right.
    On the port `preview` it is to be seen also while it is not the live one's.
    """
    # What a replay over REST takes, which this process does not run by while its generation is another's.
    tree = {
        "dataflow_tree": ROOT,
        "dataflow_tree_contracts": settings.dataflow_contracts,
        "dataflow_tree_settings": json.dumps(deciding_settings(settings)),
    }
    seen = {} if preview is None else {"api_preview_port": preview}
    return _job(
        settings.replace(api_socket=door, **seen, **tree),
        "api",
        "serving.api",
        serves=serves,
        after=("bootstrap", "valkey"),
        port=preview or settings.api_port,
        start_deadline=60,
        fds=(door,),
    )


def demo_spec(settings: Settings, command: tuple[str, ...], serves: Serves = UNBOUND) -> ProcessSpec:
    """The demo load, by the code of a generation that can read it; it counts as ready once it runs.

    It comes after the materializer: what is produced before that has to be counted before anything is shown again.
    """
    env = settings.environ()
    return ProcessSpec(
        "demo", command, env, settings.state_dir, ("materializer",), lambda _: True, late_env=serves.env
    )


def client_host(settings: Settings) -> str:
    """Where a client on this machine reaches the API."""
    return WILDCARDS.get(settings.api_host, settings.api_host)


def api_url(settings: Settings) -> str:
    """The URL to show to the user."""
    host = client_host(settings)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.api_port}"


def _job(
    settings: Settings,
    name: str,
    module: str,
    *arguments: str,
    serves: Serves = UNBOUND,
    after: tuple[str, ...] = ("bootstrap",),
    env: dict[str, str] | None = None,
    port: int | None = None,
    start_deadline: float,
    stop_deadline: float = 15.0,
    fds: tuple[int, ...] = (),
) -> ProcessSpec:
    is_task = name == "bootstrap"
    first, beside = NICENESS.get(name, (0, 0))
    name += serves.suffix
    status = settings.state_dir / "status" / f"{name}.json"
    status.parent.mkdir(parents=True, exist_ok=True)
    own = settings.replace(dataflow_status_file=status).environ()

    def late_env() -> Mapping[str, str]:
        status.unlink(missing_ok=True)  # of the process before
        return serves.env()

    return ProcessSpec(
        name,
        (sys.executable, "-m", module, *arguments),
        own | (env or {}),
        Path(settings.state_dir),
        after,
        None if is_task else probes.status_file(status),
        port,
        start_deadline,
        stop_deadline,
        fds,
        late_env,
        lambda: beside if serves.gives_way() else first,
    )
