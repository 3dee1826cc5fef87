"""The API of an environment, as the commands ask it: where it is, with which key, and what its errors mean.

Reads run.json, else API_HOST and API_PORT; sends GET only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from infra.api_keys import Scope
from infra.runtime.errors import NotRunning
from infra.runtime.jobs import api_url
from infra.runtime.run_state import read_run
from infra.settings import Settings
from schemas.errors import DataflowError, SettingsError, Terminal, Unavailable

TIMEOUT_S = 20.0

Query = Mapping[str, Any] | Sequence[tuple[str, str]]


class BadQuestion(DataflowError, Terminal):
    """The API does not answer this question; the message says what it expects."""


def api_address(settings: Settings) -> str:
    """The URL of the environment's API. Raises NotRunning if there is none, or only that of another environment."""
    run = read_run(settings.state_dir)
    if run and run.is_alive() and run.url:
        return run.url
    # Somebody may run `python -m serving.api` on their own; another environment's API may also be there.
    url = api_url(settings)
    try:
        answer = httpx.get(
            f"{url}/v1/status", timeout=TIMEOUT_S, trust_env=False, headers=api_headers(settings)
        )
    except httpx.HTTPError:
        seen = "nothing answers there"
    else:
        env = _body(answer).get("env")
        if env == settings.dataflow_env or answer.status_code in (401, 403):
            return url
        seen = f"what answers there is environment {env!r}" if env else "something else answers there"
    raise NotRunning(
        f"environment {settings.dataflow_env!r} does not run (state directory {settings.state_dir}), and its API is "
        f"not at {url}: {seen}. Start it with `dataflow up --env {settings.dataflow_env}`, or set API_HOST and "
        "API_PORT to one that runs."
    )


def api_headers(settings: Settings) -> dict[str, bytes]:
    """With a configured key that may read; none where none is configured."""
    key = next((key for key in settings.api_keys if key.allows(Scope.READ)), None)
    return {"Authorization": f"Bearer {key.secret}".encode()} if key else {}


def api_get(settings: Settings, path: str, query: Query = ()) -> dict[str, Any]:
    """The JSON that GET `path` answers. Raises NotRunning, Unavailable (503), BadQuestion, SettingsError (no key)."""
    url = api_address(settings)
    try:
        answer = httpx.get(
            url + path, params=query, timeout=TIMEOUT_S, trust_env=False, headers=api_headers(settings)
        )
    except httpx.ConnectError as error:
        raise NotRunning(
            f"the API at {url} does not answer: {error}; `dataflow status` tells more"
        ) from error
    except httpx.HTTPError as error:
        raise Unavailable(f"the API at {url} does not answer: {error or type(error).__name__}") from error
    check(answer)
    return answer.json()


def check(answer: httpx.Response) -> None:
    """Raise what a problem document says."""
    if answer.is_success:
        return
    problem = _body(answer)
    detail = str(problem.get("detail") or f"{answer.status_code} {answer.reason_phrase}")
    if answer.status_code in (401, 403):
        raise SettingsError(f"the API wants a key that may read: set DATAFLOW_API_KEYS ({detail})")
    if answer.status_code >= 500:
        raise Unavailable(f"the API answers {answer.status_code}: {detail}")
    raise BadQuestion(detail)


def _body(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
