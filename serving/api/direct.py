"""The short way to a route whose path has no parameters: looked up, not searched for, and called with the request.

FastAPI tries one route after the other and prepares for dependencies and bodies that no route here has, which cost
more than most answers. It still has all routes: for OpenAPI, for paths with parameters and for whatever is an error.
"""

import inspect
from collections.abc import Iterable

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from schemas.errors import DataflowError
from serving.api.problems import as_problem, problem_response


class Direct:
    """ASGI middleware, the innermost. An error of the code becomes the problem document that it is anywhere else."""

    def __init__(self, app: ASGIApp, routers: Iterable[APIRouter]) -> None:
        self.app = app
        self._routes = {
            (method, route.path): (route, route.endpoint)
            for router in routers
            for route in router.routes
            if isinstance(route, APIRoute) and takes_the_request_only(route)
            for method in route.methods
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if found is None:
            await self.app(scope, receive, send)
            return
        scope["route"], endpoint = found
        try:
            response = await endpoint(Request(scope, receive, send))
        except DataflowError as error:
            response = problem_response(as_problem(error), scope["path"])
        await response(scope, receive, send)


def takes_the_request_only(route: APIRoute) -> bool:
    """Whether there is nothing that FastAPI would have to read from path, query or body."""
    return "{" not in route.path and list(inspect.signature(route.endpoint).parameters) == ["request"]
