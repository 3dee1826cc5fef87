"""GET / and /static: the page and its files, all from this process, so that it works offline."""

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


def install(app: FastAPI) -> None:
    """Serve the page from `app`."""

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return FileResponse(DIRECTORY / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/favicon.ico", include_in_schema=False)
    async def favicon(request: Request) -> Response:
        return FileResponse(DIRECTORY / "favicon.svg", media_type="image/svg+xml")

    app.mount("/static", PageFiles(directory=DIRECTORY), "static")


class PageFiles(StaticFiles):
    """The page's files, asked about each time: a browser must not mix those of two releases."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


class SecurityHeaders:
    """ASGI middleware: every answer says that only this process's own files may run beside it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, guarded if scope["type"] == "http" else send)
