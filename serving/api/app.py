"""The application: routes, middlewares, and the service behind them for as long as the process runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

from infra.settings import Settings
from serving.api import (
    event_routes,
    letter_routes,
    metric_routes,
    newest_routes,
    page_routes,
    probe_routes,
    problems,
    replay_routes,
    state_routes,
    table_routes,
)
from serving.api.auth import Guard, is_open
from serving.api.direct import Direct
from serving.api.rate_limit import limit_of
from serving.api.service import Service
from serving.api.telemetry import Observe

VERSION = "0.1.0"
GZIP_FROM = 1_000  # bytes
GZIP_LEVEL = 4
ROUTERS = [
    routes.router
    for routes in (
        metric_routes,
        state_routes,
        event_routes,
        newest_routes,
        letter_routes,
        table_routes,
        replay_routes,
        probe_routes,
    )
]


def create_app(settings: Settings) -> FastAPI:
    """The application for `settings`. Nothing is connected to before it starts."""
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="DataFlow",
        version=VERSION,
        description="Exact live numbers of the shop, and the way in for its events. Errors are RFC 9457 problems.",
        # FastAPI's pages load their scripts from elsewhere; this works offline.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=[
            # Outermost first.
            Middleware(Observe, telemetry=service.telemetry),
            Middleware(page_routes.SecurityHeaders),
            Middleware(problems.Unexpected),
            Middleware(Guard, keys=settings.api_keys, host=settings.api_host, limit=limit_of(settings)),
            # Leaves event streams alone.
            Middleware(GZipMiddleware, minimum_size=GZIP_FROM, compresslevel=GZIP_LEVEL),
            Middleware(Direct, routers=ROUTERS),
        ],
    )
    app.state.service = service
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    page_routes.install(app)
    if settings.api_keys:
        describe_keys(app)
    return app


def describe_keys(app: FastAPI) -> None:
    """Say in OpenAPI how a key is sent, so that whoever reads it there can try it there."""
    document = app.openapi()
    document.setdefault("components", {})["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document["security"] = [{"bearer": []}, {"header": []}]
    for path, operations in document["paths"].items():
        if is_open(path):
            for operation in operations.values():
                operation["security"] = []
