"""The last difference that somebody has looked at, of two generations, kept for whoever promotes one of them.

Reads and writes `{state_dir}/replay/<one>-<other>.json`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from infra.settings import Settings


@dataclass(frozen=True)
class Kept:
    """`differing` has each table and metric that differs, with the share of its rows; `at` is in UTC seconds."""

    one: int
    other: int
    at: float
    differing: Mapping[str, float]

    @property
    def worst(self) -> str | None:
        """The table or metric that differs most."""
        return max(self.differing, key=self.differing.__getitem__, default=None)

    @property
    def share(self) -> float:
        return max(self.differing.values(), default=0.0)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))


def keep_difference(settings: Settings, kept: Kept) -> None:
    file = _file(settings, kept.one, kept.other)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".new")
    draft.write_text(kept.to_json(), "utf-8")
    draft.replace(file)


def kept_difference(settings: Settings, one: int, other: int) -> Kept | None:
    """None if nobody has looked at it."""
    try:
        return Kept.from_json(_file(settings, one, other).read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return None


def _file(settings: Settings, one: int, other: int) -> Path:
    return settings.state_dir / "replay" / f"g{one}-g{other}.json"
