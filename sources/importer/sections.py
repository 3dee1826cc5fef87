"""Small checks that the loaders of a mapping's sections share. Raise MappingError with the place in the file. Pure."""

import re
from collections.abc import Iterable
from typing import Any

from sources.importer.errors import Where

NAME = re.compile(r"[a-z][a-z0-9_]*")


def section(spec: Any, keys: Iterable[str], where: Where) -> dict:
    """A map with known keys only."""
    if not isinstance(spec, dict):
        raise where.error(
            f"expected a map with keys out of {', '.join(keys)}; saw {'nothing' if spec is None else repr(spec)[:80]}"
        )
    for key in spec:
        if key not in keys:
            raise where.unknown("key", key, keys)
    return spec


def named(spec: Any, where: Where) -> dict[str, Any]:
    """A map from names to anything; nothing is an empty one."""
    if spec is None:
        return {}
    if not isinstance(spec, dict):
        raise where.error(f"expected `name: …`, saw {spec!r}")
    for name in spec:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise where.error(
                f"a name is lower case letters, digits and _, beginning with a letter; saw {name!r}"
            )
    return spec


def text(spec: dict, key: str, where: Where, default: str) -> str:
    value = spec.get(key, default)
    if not isinstance(value, str):
        raise (where / key).error(f"expected text, saw {value!r}")
    return value


def choice(spec: dict, key: str, known: tuple[str, ...], default: str | None, where: Where) -> str:
    value = spec.get(key, default)
    if value is None:
        raise where.error(f"`{key}` must be said: {' or '.join(known)}")
    if value not in known:
        raise (where / key).unknown(key, value, known)
    return value
