"""The test kit: what a user tests their own topics, rules and metrics with, and what DataFlow's own tests are built on.

    pytest_plugins = ["dataflow.testing"]      # in the conftest.py of the root directory

brings the fixtures (`dataflow.testing.plugin`); without pytest everything here can be used as plain objects. See
docs/testing.md. Importing this module imports nothing of DataFlow: the contracts are declared when `schemas` is
imported, and which ones there are (DATAFLOW_CONTRACTS) may first be known from pytest's configuration.

PYTEST_DONT_REWRITE: a conftest.py may import names from here before pytest loads the plugin, which would warn of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflow.testing.abort import ABORT, Abort
    from dataflow.testing.clock import Clock, Ids
    from dataflow.testing.events import Event, Events
    from dataflow.testing.judge import Judge, Verdict
    from dataflow.testing.live import Live
    from dataflow.testing.offline import Offline, rows_over
    from dataflow.testing.pipeline import Numbers, Pipeline
    from dataflow.testing.records import Letter, Place, Raw
    from dataflow.testing.services import Addresses, Environment, Services, running_services
    from dataflow.testing.stream import Stream
    from dataflow.testing.time_machine import Dials, Evaluation, TimeMachine
    from dataflow.testing.wait import wait_for

# Public name → the module that has it.
_HOMES = {
    "ABORT": "abort",
    "Abort": "abort",
    "Addresses": "services",
    "Clock": "clock",
    "Dials": "time_machine",
    "Environment": "services",
    "Event": "events",
    "Evaluation": "time_machine",
    "Events": "events",
    "Ids": "clock",
    "Judge": "judge",
    "Letter": "records",
    "Live": "live",
    "Numbers": "pipeline",
    "Offline": "offline",
    "Pipeline": "pipeline",
    "Place": "records",
    "Raw": "records",
    "Services": "services",
    "Stream": "stream",
    "TimeMachine": "time_machine",
    "Verdict": "judge",
    "rows_over": "offline",
    "running_services": "services",
    "wait_for": "wait",
}

__all__ = [
    "ABORT",
    "Abort",
    "Addresses",
    "Clock",
    "Dials",
    "Environment",
    "Evaluation",
    "Event",
    "Events",
    "Ids",
    "Judge",
    "Letter",
    "Live",
    "Numbers",
    "Offline",
    "Pipeline",
    "Place",
    "Raw",
    "Services",
    "Stream",
    "TimeMachine",
    "Verdict",
    "rows_over",
    "running_services",
    "wait_for",
]

# What pytest loads when it is told to load this module.
pytest_plugins = ("dataflow.testing.plugin",)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
