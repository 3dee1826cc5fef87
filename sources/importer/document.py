"""Read a mapping or a look-up table from YAML, strictly.

Differs from plain YAML 1.1 where that would change data without a word: a key given twice is an error, `1.10` is an
exact decimal, only `true` and `false` are booleans and only `null` is null (so that the country code NO and the text
NULL stay text), and dates stay text.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from sources.importer.errors import Where


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader without guessing."""


_StrictLoader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if not tag.endswith((":bool", ":timestamp", ":float", ":int", ":null", ":merge", ":value"))
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _implicit(tag: str, pattern: str, first: Iterable[str]) -> None:
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_implicit("null", r"^(?:~|null|)$", ["~", "n", ""])
_implicit("bool", r"^(?:true|false)$", "tf")
_implicit("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789")
_implicit("float", r"^[-+]?(?:0|[1-9][0-9]*)\.[0-9]+$", "-+0123456789")


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Decimal:
    return Decimal(loader.construct_scalar(node))


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, list | dict):
            raise yaml.constructor.ConstructorError(
                None, None, "a key must be a word or a number", key_node.start_mark
            )
        if key in result:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} stands here twice", key_node.start_mark
            )
        result[key] = loader.construct_object(value_node, deep=True)
    return result


_StrictLoader.add_constructor("tag:yaml.org,2002:float", _decimal)
_StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_yaml(path: Path) -> Any:
    """The document in `path`. Raises MappingError naming file and line."""
    where = Where(path.name)
    try:
        return yaml.load(path.read_text("utf-8"), Loader=_StrictLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise where.error(f"expected a readable YAML file in UTF-8: {error}") from error
    except yaml.YAMLError as error:
        raise where.error(f"expected YAML: {error}") from error
