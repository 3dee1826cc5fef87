"""Look-up tables: inline, from a CSV or YAML file beside the mapping, or a list of patterns. Reads the files at load.

A key that is not in the table takes the table's default and is counted as a miss, so that nobody overlooks it; without
a default its line is refused (`unknown_NAME`).
"""

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sources.importer.document import read_yaml
from sources.importer.errors import LineRefused, Where
from sources.importer.expression import Expression, cached, lift, require_type, shown
from sources.importer.operations.text import pattern

KEYS = ("table", "patterns", "file", "key", "value", "default", "ignore_case")
MAX_MISSES = 1_000  # distinct missing keys that are told apart
MISSES_SHOWN = 10
_MISSING = object()


@dataclass
class Lookup:
    """A table by name. `find` gives the value of a key or `default`; `misses` counts the keys that were not in it."""

    name: str
    entries: Mapping[str, str | None]
    patterns: tuple[tuple[Any, str | None], ...] = ()
    default: Any = _MISSING
    ignore_case: bool = False
    misses: Counter = field(default_factory=Counter)

    def summary(self) -> dict[str, Any]:
        """How often the default stood in, for how many keys, and the most frequent of them."""
        return {
            "lookups": self.misses.total(),
            "keys": len(self.misses),
            "most_frequent": dict(self.misses.most_common(MISSES_SHOWN)),
        }

    def find(self, key: str) -> Any:
        """The value, or _MISSING."""
        for compiled, value in self.patterns:
            if compiled.search(key):
                return value
        return self.entries.get(key.casefold() if self.ignore_case else key, _MISSING)


def load_lookup(name: str, spec: Any, directory: Path, where: Where) -> Lookup:
    """Read one entry of `lookups`. Raises MappingError."""
    if not isinstance(spec, dict):
        raise where.error(f"expected a table; keys: {', '.join(KEYS)}")
    for key in spec:
        if key not in KEYS:
            raise where.unknown("key", key, KEYS)
    kinds = [kind for kind in ("table", "patterns", "file") if kind in spec]
    if len(kinds) != 1:
        raise where.error(f"expected exactly one of table, patterns, file; saw {', '.join(kinds) or 'none'}")
    ignore_case = spec.get("ignore_case", False)
    if not isinstance(ignore_case, bool):
        raise (where / "ignore_case").error(f"expected true or false, saw {ignore_case!r}")
    default = spec.get("default", _MISSING)
    if default is not _MISSING and default is not None and not isinstance(default, str):
        raise (where / "default").error(f"expected text or null, saw {default!r}")
    if kinds != ["file"] and (spec.keys() & {"key", "value"}):
        raise where.error("`key` and `value` name the columns of a CSV `file`")
    if "patterns" in spec:
        pairs = _pairs(spec["patterns"], where / "patterns")
        prefix = "(?i)" if ignore_case else ""
        return Lookup(
            name,
            {},
            tuple((pattern(prefix + k, where / "patterns"), v) for k, v in pairs.items()),
            default,
            ignore_case,
        )
    entries = (
        _pairs(spec["table"], where / "table") if "table" in spec else _from_file(spec, directory, where)
    )
    if ignore_case:
        entries = {key.casefold(): value for key, value in entries.items()}
    return Lookup(name, entries, (), default, ignore_case)


def _pairs(entries: Any, where: Where) -> dict[str, str | None]:
    if not isinstance(entries, dict) or not entries:
        raise where.error("expected pairs `key: value`")
    for key, value in entries.items():
        if not isinstance(value, str | int | None) or isinstance(value, bool):
            raise (where / key).error(f"expected text or null, saw {value!r} (quote a number)")
    return {str(key): None if value is None else str(value) for key, value in entries.items()}


def _from_file(spec: dict, directory: Path, where: Where) -> dict[str, str | None]:
    name = spec["file"]
    if not isinstance(name, str):
        raise (where / "file").error(f"expected a file name, saw {name!r}")
    path = directory / name
    if path.suffix in (".yaml", ".yml"):
        return _pairs(read_yaml(path), where / "file")
    if path.suffix != ".csv":
        raise (where / "file").error(f"expected a .csv, .yaml or .yml file, saw {name!r}")
    if not isinstance(spec.get("key"), str) or not isinstance(spec.get("value"), str):
        raise where.error("a CSV table needs `key` and `value`: the names of its two columns")
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines, strict=True)
            for column in (spec["key"], spec["value"]):
                if column not in (rows.fieldnames or ()):
                    raise where.unknown(f"column of {name}", column, rows.fieldnames or ())
            entries: dict[str, str | None] = {}
            for row in rows:
                key, value = row[spec["key"]], row[spec["value"]]
                if key is None or value is None:
                    raise where.error(f"{name} line {rows.line_num}: expected {len(rows.fieldnames)} columns")
                if key in entries:
                    raise where.error(f"{name} line {rows.line_num}: the key {key!r} stands there twice")
                entries[key] = value or None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise where.error(f"expected a readable CSV table in UTF-8: {error}") from error
    return entries


def lookup(compiler, inner: Expression, argument: Any, where: Where) -> Expression:
    """`lookup: NAME`, a table of the mapping's `lookups`."""
    require_type(inner, ("string",), "lookup", where)
    if argument not in compiler.lookups:
        raise where.unknown("look-up table", argument, compiler.lookups)
    table: Lookup = compiler.lookups[argument]
    find = cached(table.find)

    def evaluate(key: str) -> Any:
        value = find(key)
        if value is not _MISSING:
            return value
        if table.default is _MISSING:
            raise LineRefused(
                f"unknown_{table.name}", f"{where.path}: not in the table {table.name}: {shown(inner, key)}"
            )
        seen = "(personal)" if inner.personal else key
        if seen in table.misses or len(table.misses) < MAX_MISSES:
            table.misses[seen] += 1
        return table.default

    return lift(inner, "string", evaluate)


HEADS: dict = {}
STEPS = {"lookup": lookup}
