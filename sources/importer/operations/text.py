"""Operations on text: trim, case, regular expressions, truncation, templates. Pure."""

import re
import string
from datetime import datetime
from decimal import Decimal
from typing import Any

from sources.importer.errors import Where
from sources.importer.expression import Expression, cached, combine, lift, require_type


def pattern(text: Any, where: Where) -> re.Pattern:
    """A compiled regular expression (Python's dialect, ASCII classes, searched anywhere in the text)."""
    if not isinstance(text, str):
        raise where.error(f"expected a regular expression as text, saw {text!r}")
    try:
        return re.compile(text, re.ASCII)
    except re.error as error:
        raise where.error(f"expected a regular expression, saw {text!r}: {error}") from error


def _flag(argument: Any, where: Where) -> None:
    if argument is not True:
        raise where.error(f"expected `true` (leave the step out otherwise), saw {argument!r}")


def _simple(operation):
    def step(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
        _flag(argument, where)
        require_type(inner, ("string",), "this step", where)
        return lift(inner, "string", lambda text: operation(text) or None)

    return step


def matches(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
    require_type(inner, ("string",), "matches", where)
    found = pattern(argument, where).search
    return lift(inner, "bool", cached(lambda text: found(text) is not None))


def extract(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
    """The first group of the match (the whole match without groups); null where nothing matches."""
    require_type(inner, ("string",), "extract", where)
    compiled = pattern(argument, where)
    group = 1 if compiled.groups else 0

    def find(text: str) -> str | None:
        match = compiled.search(text)
        return (match.group(group) or None) if match else None

    return lift(inner, "string", cached(find))


def replace(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
    """Every match of each pattern, in the order written, by its replacement (`\\1` is the first group)."""
    require_type(inner, ("string",), "replace", where)
    if not isinstance(argument, dict) or not argument:
        raise where.error("expected pairs `pattern: replacement`")
    pairs = []
    for key, value in argument.items():
        compiled = pattern(key, where)
        if not isinstance(value, str):
            raise (where / key).error(f'expected the replacement as text ("" for nothing), saw {value!r}')
        try:
            compiled.sub(value, "")  # checks the replacement's group references, whatever the text
        except (re.error, IndexError) as error:
            raise (where / key).error(
                f"the replacement {value!r} does not fit the pattern: {error}"
            ) from error
        pairs.append((compiled, value))

    def run(text: str) -> str | None:
        for compiled, value in pairs:
            text = compiled.sub(value, text)
        return text or None

    return lift(inner, "string", cached(run))


def truncate(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
    """The first characters, without white space left over at the end."""
    require_type(inner, ("string",), "truncate", where)
    if not isinstance(argument, int) or isinstance(argument, bool) or argument < 1:
        raise where.error(f"expected a number of characters of at least 1, saw {argument!r}")
    return lift(inner, "string", lambda text: text[:argument].rstrip() or None)


def as_text(value: Any) -> str:
    """How a value stands in a template or a name: numbers without trailing zeros, times as ISO 8601 in UTC."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        text = format(value, "f")
        return (text.rstrip("0").rstrip(".") if "." in text else text) if value else "0"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)


def template(compiler, spec: dict, where: Where) -> Expression:
    """Text with `{name}` placeholders; null if one of them is null. `{{` and `}}` stand for braces."""
    text = spec["template"]
    if not isinstance(text, str):
        raise where.error(f"expected text with {{name}} placeholders, saw {text!r}")
    try:
        pieces = [
            (literal, name, form or conversion)
            for literal, name, form, conversion in string.Formatter().parse(text)
        ]
    except ValueError as error:
        raise where.error(f"expected text with {{name}} placeholders, saw {text!r}: {error}") from error
    if any(name == "" or form for _, name, form in pieces):
        raise where.error(f"a placeholder is a name alone, such as {{order}}, in {text!r}")
    parts = [
        (literal, None if name is None else compiler.compile(name, where)) for literal, name, _ in pieces
    ]
    steps = [(literal, part and part.evaluate) for literal, part in parts]

    def render(context: Any) -> str | None:
        result = ""
        for literal, evaluate in steps:
            result += literal
            if evaluate is not None:
                value = evaluate(context)
                if value is None:
                    return None
                result += value if type(value) is str else as_text(value)
        return result or None

    return combine([part for _, part in parts if part], "string", render)


HEADS = {"template": (template, ())}
STEPS = {
    "trim": _simple(str.strip),
    "upper": _simple(str.upper),
    "lower": _simple(str.lower),
    "matches": matches,
    "extract": extract,
    "replace": replace,
    "truncate": truncate,
}
