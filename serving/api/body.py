"""The body of an ingest request: what it may be, read within bounds, cut into lines."""

from collections.abc import Iterator
from dataclasses import dataclass

from starlette.requests import Request

from serving.api.problems import Problem

JSON = "application/json"
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
LINES_AT_MOST = 10_000
CLOSE = {"Connection": "close"}


@dataclass(frozen=True)
class Line:
    """One document of the body and the number of its line, from 1."""

    number: int
    raw: bytes


def is_ndjson(request: Request) -> bool:
    """Whether the body is many documents (else it is one). Raises Problem for any other content type."""
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    charset = parameters.lower().replace(" ", "").replace('"', "").partition("charset=")[2]
    encoding = request.headers.get("content-encoding", "identity").lower()
    accepted = f"{JSON} (one document) or {NDJSON[0]} (one a line), in UTF-8, not compressed"
    if kind not in (JSON, *NDJSON):
        raise _unsupported(f"expected {accepted}; saw {kind[:80] or 'no content type'!r}")
    if charset not in ("", "utf-8", "utf8") or encoding != "identity":
        raise _unsupported(f"expected {accepted}")
    return kind in NDJSON


async def read(request: Request, most: int) -> bytes:
    """The body, of at most `most` bytes, counted as they come: a length may be missing or wrong. Raises Problem."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most:
        raise _too_large(most)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
    return b"".join(parts)


def lines(body: bytes) -> list[Line]:
    """The lines that are not blank. Raises Problem for more than LINES_AT_MOST."""
    found = list(_lines(body))
    if len(found) > LINES_AT_MOST:
        raise Problem(
            413,
            "too-large",
            f"expected at most {LINES_AT_MOST:,} lines; saw {len(found):,}: send them in parts",
        )
    return found


def _lines(body: bytes) -> Iterator[Line]:
    for number, raw in enumerate(body.split(b"\n"), 1):
        if raw.strip():
            yield Line(number, raw)


def _unsupported(detail: str) -> Problem:
    return Problem(415, "unsupported-media-type", detail, {"Accept": f"{JSON}, {NDJSON[0]}", **CLOSE})


def _too_large(most: int) -> Problem:
    # The rest of the body is not read, so the connection cannot be used again.
    return Problem(413, "too-large", f"expected a body of at most {most:,} bytes: send it in parts", CLOSE)
