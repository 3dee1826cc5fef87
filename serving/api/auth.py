"""Who may do what: an ASGI middleware that asks for an API key before any data goes in or out.

Without configured keys everything is open, which the settings allow on loopback only, and then only under a name of
this machine: a page of another site whose name leads to 127.0.0.1 gets nothing, and one under its own name may change
nothing here. With keys, whatever is not listed as
open needs one: reading needs the scope `read`, what `ADMIN` lists `admin`, everything else `write`.
"""

import hmac
import re
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from infra.api_keys import ApiKey
from infra.api_keys import Scope as KeyScope
from serving.api.problems import Problem, problem_response
from serving.api.rate_limit import RateLimit

# The pages and their files hold no data; they ask for a key where one is needed.
OPEN = frozenset(
    {"/", "/tables", "/replays", "/docs", "/healthz", "/readyz", "/openapi.json", "/favicon.ico"}
)
OPEN_BELOW = "/static/"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
ADMIN = frozenset({"/v1/dead-letters/redrive"})
ADMIN_BELOW = "/v1/replays"


class Guard:
    """Lets a request through, or answers 401, 403 or 429. The name of the key goes to `scope["api_key"]`."""

    def __init__(self, app: ASGIApp, keys: Sequence[ApiKey], host: str, limit: str | None = None) -> None:
        self.app, self.host = app, host.strip("[]")
        self.rate_limit = RateLimit(limit) if limit else None
        self.keys = [(key, key.secret.encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        problem = self._problem(scope)
        if self.rate_limit is not None:
            # Who brings no key that is known counts by address: secrets cannot be tried at will.
            problem = self.rate_limit.problem(caller_of(scope)) or problem
        if problem is None:
            await self.app(scope, receive, send)
        else:
            await problem_response(problem, scope["path"])(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        return self._key_problem(scope) if self.keys else self._host_problem(scope)

    def _host_problem(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        name = host_of(host)
        if name != self.host and not is_loopback(name):
            detail = (
                f"expected the host {self.host} or localhost; saw {name[:60]!r}. Under other names the API "
            )
            return Problem(403, "host", detail + "answers who brings a key: set DATAFLOW_API_KEYS")
        # A form of another site is sent without being asked for, and its answer need not be readable to do harm.
        origin = headers.get("origin")
        if scope["method"] in READING or origin is None or site_of(origin) == host.lower():
            return None
        detail = f"expected to be asked by a page of this API, or by none; saw the origin {origin[:60]!r}"
        return Problem(403, "origin", f"{detail}. With DATAFLOW_API_KEYS other pages may ask, with a key")

    def _key_problem(self, scope: Scope) -> Problem | None:
        secret = presented(Headers(scope=scope))
        key = self._find(secret) if secret else None
        if key is None:
            detail = "expected `Authorization: Bearer <secret>` or `X-API-Key: <secret>`"
            detail += "; the secret belongs to no key" if secret else "; saw neither"
            return Problem(401, "unauthorized", detail, {"WWW-Authenticate": 'Bearer realm="dataflow"'})
        scope["api_key"], scope["api_allows"] = key.name, key.allows
        needed = needed_scope(scope["method"], scope["path"])
        return None if key.allows(needed) else forbidden(key.name, needed)

    def _find(self, secret: bytes) -> ApiKey | None:
        found = None
        # All of them, each in constant time: how long it takes tells nothing about any secret.
        for key, known in self.keys:
            if hmac.compare_digest(known, secret):
                found = key
        return found


def caller_of(scope: Scope) -> str:
    """Whose requests are counted together."""
    if "api_key" in scope:
        return f"key {scope['api_key']}"
    return f"address {scope['client'][0] if scope.get('client') else ''}"


def needed_scope(method: str, path: str) -> KeyScope:
    """What a key must be allowed for a request."""
    if method in READING:
        return KeyScope.READ
    return KeyScope.ADMIN if path in ADMIN or path.startswith(ADMIN_BELOW) else KeyScope.WRITE


def may(request: Request, needed: KeyScope) -> bool:
    """Whether the key of a request is allowed something; without configured keys everybody may."""
    allows = request.scope.get("api_allows")
    return allows is None or allows(needed)


def demand(request: Request, needed: KeyScope) -> None:
    """For what a route only does for some. Raises Problem."""
    if not may(request, needed):
        raise forbidden(request.scope["api_key"], needed)


def forbidden(name: str, needed: KeyScope) -> Problem:
    return Problem(403, "forbidden", f"expected a key with the scope {needed}; key {name!r} has not got it")


def host_of(header: str) -> str:
    """The name or address in a Host header, without port and brackets."""
    name = header if header.endswith("]") else re.sub(r":[0-9]*$", "", header)
    return name.strip("[]").lower()


def site_of(origin: str) -> str | None:
    """The host and port of an Origin header, None if it names none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def is_loopback(name: str) -> bool:
    """Whether a host is this machine itself."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def is_open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_BELOW)


def presented(headers: Headers) -> bytes | None:
    """The secret that a request brings, None if it brings none."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    # Of spaces only those of ASCII: others are bytes of a letter.
    if scheme.lower() == "bearer" and secret.strip(" \t"):
        return secret.strip(" \t").encode("latin-1")
    key = headers.get("x-api-key")
    return key.encode("latin-1") if key else None
