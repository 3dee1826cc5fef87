"""What the attributes of a contract's field may be: those that rules are made of, where they mean something. Pure."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from schemas.errors import ContractError

FORMATS = ("uuid", "email", "country")
NUMBER_ATTRIBUTES = ("minimum", "maximum", "unit")
OF = {
    "string": ("format", "one_of", "max_length"),
    "int": NUMBER_ATTRIBUTES,
    "long": NUMBER_ATTRIBUTES,
    "decimal": NUMBER_ATTRIBUTES,
    "timestamp": (),
}


def _is_texts(value: Any) -> bool:
    texts = isinstance(value, list) and value and all(isinstance(each, str) for each in value)
    return bool(texts) and len(set(value)) == len(value) and not any(set(each) & set("'\\") for each in value)


def _is_bound(value: Any) -> bool:
    return type(value) is int or (type(value) is float and "e" not in repr(value) and value == value)


VALUES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "format": (lambda value: value in FORMATS, f"one of {', '.join(FORMATS)}"),
    "one_of": (_is_texts, "a list of texts, each once, without ' and \\"),
    "max_length": (
        lambda value: type(value) is int and value > 0,
        "a whole number of characters, at least 1",
    ),
    "minimum": (_is_bound, "a number, written without an exponent"),
    "maximum": (_is_bound, "a number, written without an exponent"),
    "unit": (lambda value: isinstance(value, str), "text"),
    "pii": (lambda value: isinstance(value, bool), "true or false"),
    "aliases": (
        lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
        "a list of names",
    ),
}


def check_attributes(spec: Mapping[str, Any], kind: str, file: str) -> None:
    """Raise ContractError, naming `file` and the field, for an attribute of a field of `kind` that says nothing.

    One with a dot in its name is somebody else's, and left alone.
    """
    where, allowed = f"{file}: {spec['name']}", OF[kind]
    for name, value in spec.items():
        if name in ("name", "type", "doc", "default", "order") or "." in name:
            continue
        if name not in (*allowed, "pii", "aliases"):
            near = get_close_matches(name, allowed, 1)
            hint = (
                f"; did you mean {near[0]}?" if near else ", or a name with a dot for what is somebody else's"
            )
            raise ContractError(
                f"{where}: expected attributes of a {kind}: {', '.join((*allowed, 'pii', 'aliases'))}; saw {name}{hint}"
            )
        fits, wanted = VALUES[name]
        if not fits(value):
            raise ContractError(f"{where}: expected {name} to be {wanted}, saw {value!r:.80}")
