"""JSON answers: as bytes, and with an ETag where the state has not moved since the client last asked."""

import secrets
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.responses import Response

from serving.read import AsOf

# Another process may be another release, which words its answers differently.
PROCESS = secrets.token_hex(3)


class Json(Response):
    """A JSON answer."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def etag(as_of: AsOf) -> str:
    """Of any answer of one URL: it is a function of the offsets. Weak, because `age_ms` grows meanwhile."""
    return f'W/"{as_of.generation}-{as_of.position}-{PROCESS}"'


def not_modified(headers: Headers, as_of: AsOf) -> Response | None:
    """304 if the client holds the answer of this very state."""
    return unchanged(headers, etag(as_of))


def unchanged(headers: Headers, tag: str) -> Response | None:
    """304 if the client holds the answer of this tag."""
    known = headers.get("if-none-match")
    if known is None or tag not in (each.strip() for each in known.split(",")):
        return None
    return Response(status_code=304, headers={"ETag": tag, "Cache-Control": "no-cache"})


def answer(body: Any, as_of: AsOf | None = None, tag: str | None = None) -> Json:
    """200. With `as_of`, or the `tag` that the answer has, the client may ask again with If-None-Match."""
    tag = etag(as_of) if as_of else tag
    headers = {"Cache-Control": "no-cache" if tag else "no-store"}
    if tag:
        headers["ETag"] = tag
    return Json(body, headers=headers)
