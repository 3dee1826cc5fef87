"""All generations as documents: which is live, what each has to do, how far it is. Blocking: for a thread.

Reads the log of generations, Redis, the lakes' newest manifests, where the topics end.
"""

import time
from typing import Any

from infra.generations import Generations, Recorded, State, read_generations
from infra.runtime.run_state import failing, unsteady
from infra.settings import Settings
from schemas.errors import DataflowError, Unavailable
from serving.generation_progress import Paces, read_progress
from serving.verified import document as verified_document


def generations_document(settings: Settings, paces: Paces) -> dict[str, Any]:
    """As they are now, with their pace since earlier looks that `paces` knows of. Raises Unavailable."""
    now = read_generations(settings)
    return {
        "live": _name(now.live),
        "before": _name(now.before),
        "generations": [_document(settings, now, each, paces) for _, each in sorted(now.known.items())],
    }


def _document(settings: Settings, now: Generations, recorded: Recorded, paces: Paces) -> dict[str, Any]:
    generation = recorded.generation
    plan = recorded.plan or {}
    found: dict[str, Any] = {
        "generation": generation.name,
        "live": generation.number == now.live,
        "before": generation.number == now.before,
        "state": recorded.state,
        "since": recorded.since,
        "code": (recorded.code or {}).get("digest"),
        "changed": list(plan.get("changed", ())),
        "affects": {kind: list(names) for kind, names in plan.get("affects", {}).items()},
        "throttle": plan.get("throttle"),
        "days": plan.get("days"),
        "trial": plan.get("trial", False),
        "progress": None,
        "verified": None,
        "detail": None,
    }
    if recorded.state is State.GONE:
        return found
    try:
        progress = read_progress(settings, generation)
    except DataflowError as error:
        # What is wrong with one that is not live, be it that its topics are no more, hides none of the others.
        if isinstance(error, Unavailable) and generation.number == now.live:
            raise
        return found | {"detail": str(error)}
    if failed := failing(settings.state_dir, generation.name):
        found["detail"] = f"{', '.join(failed)} failed, see the log"
    elif again := unsteady(settings.state_dir, generation.name):
        found["detail"] = f"{', '.join(again)} failed and begins again, see the log"
    told = {k: v for k, v in progress.as_json().items() if k not in ("generation", "verified")}
    pace = paces.see(time.monotonic(), progress)
    told |= {
        "records_per_s": None if pace is None else round(pace.rate, 1),
        "seconds_to_go": None if pace is None or pace.seconds_to_go is None else round(pace.seconds_to_go),
    }
    return found | {
        "progress": told,
        "verified": verified_document(progress.verified, time.time()),
    }


def _name(number: int | None) -> str | None:
    return None if number is None else f"g{number}"
