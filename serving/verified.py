"""What a second computation last found, in Redis: the continuous verifier and `dataflow verify` write there.

<env>:verified:<generation>           string   JSON, see `Found`: of the verifier's last round
<env>:verified:<generation>:command   string   the same of the last `dataflow verify` that had something to say

Two keys, so that neither overwrites what the other has found meanwhile.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

import orjson

from infra.settings import Settings

COUNTS_SECONDS = 3600.0  # so long what the command has found is a word on the rounds after it


def verified_key(settings: Settings, generation: str) -> str:
    """Apart from the generation's own keys, which the materializer alone writes."""
    return f"{settings.redis_prefix}verified:{generation}"


def command_key(settings: Settings, generation: str) -> str:
    """What `dataflow verify` has found."""
    return f"{verified_key(settings, generation)}:command"


def verified_keys(settings: Settings, generation: str) -> tuple[str, str]:
    """Both, in the order in which `told` takes what they hold."""
    return verified_key(settings, generation), command_key(settings, generation)


@dataclass(frozen=True)
class Found:
    """The last round. Times are UTC seconds; `offsets` are those of the manifest that was compared."""

    exact: bool | None  # None: nothing could be compared
    at: float
    detail: str | None = None  # what could not be compared, and why
    manifest: int | None = None
    records: int = 0  # that the tables and numbers are a function of
    at_barrier: bool = False  # tables and live numbers were of the same offsets
    live: bool = False  # live numbers were compared, all that were asked for
    whole_at: float | None = None  # when everything, not only what had changed, was last found equal
    rows: int = 0  # compared in this round
    differences: list[dict[str, Any]] = field(default_factory=list)  # the tables and metrics that differ
    offsets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def to_json(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes | None) -> Self | None:
        """None if nothing has been found yet."""
        return None if text is None else cls(**orjson.loads(text))


def told(last_round: bytes | None, command: bytes | None) -> Found | None:
    """What both together say: wrong if one of them does, else what is newer.

    What the command has found of everything counts for a round after it that could not, or has not, compared all.
    """
    found, said = Found.from_json(last_round), Found.from_json(command)
    if found is None or said is None:
        return said or found
    if said.exact is False:
        if found.exact is not False:
            return said
        known = {each["table"] for each in found.differences}
        more = [each for each in said.differences if each["table"] not in known]
        return replace(found, differences=[*found.differences, *more])
    if found.exact is False or found.at - said.at > COUNTS_SECONDS:
        return found
    if found.exact is None or found.at < said.at:
        return said
    return found if found.whole_at is not None else replace(found, whole_at=said.whole_at)


def document(found: Found | None, now: float) -> dict[str, Any] | None:
    """As it stands in answers; `age_ms` is how long ago it was found."""
    if found is None:
        return None
    body = asdict(found) | {"at": _iso(found.at), "whole_at": found.whole_at and _iso(found.whole_at)}
    return body | {"age_ms": max(0, round((now - found.at) * 1000))}


def brief(found: Found, now: float) -> dict[str, Any]:
    """The document without its offsets."""
    return {name: value for name, value in document(found, now).items() if name != "offsets"}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
