"""GET /, /tables, /replays, /docs, /static: the pages and their files, all from this process, so they work offline."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DIRECTORY = Path(__file__).parents[1] / "page"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
# Swagger UI has its icons in data URLs.
DOCS_POLICY = (
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def install(app: FastAPI) -> None:
    """Serve the page from `app`."""

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return FileResponse(DIRECTORY / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/tables", include_in_schema=False)
    async def tables(request: Request) -> Response:
        return FileResponse(DIRECTORY / "tables.html", headers={"Cache-Control": "no-cache"})

    @app.get("/replays", include_in_schema=False)
    async def replays(request: Request) -> Response:
        return FileResponse(DIRECTORY / "replays.html", headers={"Cache-Control": "no-cache"})

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        headers = {"Cache-Control": "no-cache", "Content-Security-Policy": DOCS_POLICY}
        return FileResponse(DIRECTORY / "docs.html", headers=headers)

    @app.get("/favicon.ico", include_in_schema=False)
    async def favicon(request: Request) -> Response:
        return FileResponse(DIRECTORY / "favicon.svg", media_type="image/svg+xml")

    app.mount("/static/swagger", StaticFiles(packages=[("fastapi_offline", "static")]), "swagger")
    app.mount("/static", PageFiles(directory=DIRECTORY), "static")


class PageFiles(StaticFiles):
    """The page's files, asked about each time: a browser must not mix those of two releases."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


class SecurityHeaders:
    """ASGI middleware: every answer says that only this process's own files may run beside it.

    A policy that a route has set itself stays.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, guarded if scope["type"] == "http" else send)
