"""Errors as RFC 9457 problem documents: what each error of the code is over HTTP, and the handlers that send it.

A problem never repeats what a client sent as personal data, and an unexpected error is logged by place, without its
message, which might.
"""

import logging
import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.errors import DataflowError, Unavailable
from serving.read import QueryError, Rebuilding

MEDIA_TYPE = "application/problem+json"
RETRY_SOON = {"Retry-After": "1"}

log = logging.getLogger("dataflow.api")

TITLES = {
    "bad-query": "The question cannot be answered as asked",
    "forbidden": "The key may not do this",
    "gone": "What was asked for is no longer kept",
    "host": "This name does not belong to the API",
    "origin": "A page of another site asks",
    "internal": "Something went wrong here",
    "method-not-allowed": "No such method here",
    "not-found": "Nothing is here",
    "redrive-changed": "Another number would go back than was counted",
    "redrive-running": "A re-drive is running",
    "replay-busy": "Something is being changed",
    "replay-refused": "The replay cannot do this now",
    "rebuilding": "The live state is being rebuilt",
    "refused": "Nothing was accepted",
    "too-costly": "The answer would take too much",
    "too-large": "The request is too large",
    "too-many-clients": "No place is free",
    "too-many-requests": "Too many requests",
    "too-slow": "The answer would take too long",
    "unauthorized": "A key is needed",
    "unavailable": "A service does not answer",
    "unknown-generation": "No such generation",
    "unknown-letter": "No such dead letter",
    "unknown-manifest": "No such manifest",
    "unknown-metric": "No such metric",
    "unknown-table": "No such table",
    "unknown-topic": "No such topic",
    "unsupported-media-type": "The content type is not understood",
}


class Problem(DataflowError):
    """An error with its own place in HTTP: `kind` names one of `TITLES`; `more` are extension members."""

    def __init__(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers, self.more = dict(headers or {}), more


def bad_query(detail: str, errors: Sequence[Mapping[str, str]] = ()) -> Problem:
    """400: the query string is at fault; `errors` names the parameters."""
    more = {"errors": list(errors)} if errors else {}
    return Problem(400, "bad-query", detail, **more)


def as_problem(error: DataflowError) -> Problem:
    """What an error of the code is over HTTP."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Rebuilding):
        return Problem(503, "rebuilding", str(error), RETRY_SOON)
    if isinstance(error, Unavailable):
        return Problem(503, "unavailable", str(error), RETRY_SOON)
    if isinstance(error, QueryError):
        return bad_query(str(error))
    raise error


def problem_response(problem: Problem, instance: str) -> Response:
    body = {
        "type": f"/problems/{problem.kind}",
        "title": TITLES[problem.kind],
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
        **problem.more,
    }
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(orjson.dumps(body), problem.status, headers, MEDIA_TYPE)


async def _on_dataflow_error(request: Request, error: DataflowError) -> Response:
    return problem_response(as_problem(error), request.url.path)


async def _on_http_exception(request: Request, error: HTTPException) -> Response:
    path, headers = request.url.path, error.headers or {}
    if error.status_code == 404:
        problem = Problem(404, "not-found", "expected a path of this API, see /openapi.json", headers)
    elif error.status_code == 405:
        allowed = headers.get("Allow", headers.get("allow", ""))
        problem = Problem(
            405,
            "method-not-allowed",
            f"expected {allowed or 'another method'}; saw {request.method}",
            headers,
        )
    else:
        kind = "bad-query" if error.status_code < 500 else "internal"
        problem = Problem(error.status_code, kind, HTTPStatus(error.status_code).phrase, headers)
    return problem_response(problem, path)


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""
    app.add_exception_handler(DataflowError, _on_dataflow_error)
    app.add_exception_handler(HTTPException, _on_http_exception)


class Unexpected:
    """ASGI middleware: an error that nobody expected is logged by place and answered as a problem."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except ClientDisconnect:
            # Who asked has gone.
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a problem document
            places = "".join(traceback.format_tb(error.__traceback__))
            # Not the message: it may hold what a client sent.
            log.error("%s in %s %s\n%s", type(error).__name__, scope["method"], scope["path"], places)
            if started:
                return
            detail = "an unexpected error, which is in the log; the request may be tried again"
            await problem_response(Problem(500, "internal", detail), scope["path"])(scope, receive, send)
