"""Whether a schema may follow those that are registered: what can be told field by field, beside the registry. Pure.

The registry compares types and defaults. It does not notice that a field that was renamed before has lost its first
name: with a default, readers by that name then find nothing, and nobody is told.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def forgotten_names(
    earlier: Sequence[Mapping[str, Any]], newer: Mapping[str, Any], *, all_names: bool = True
) -> list[str]:
    """Which fields of `newer` leave out names that they have in `earlier` versions (oldest first): how to mend it.

    Any reader finds a field if its newest version lists `all_names`; the contract, which compares those of both sides
    (see `schemas.evolution`), also if each version of it has one that the newest lists.
    """
    found = []
    for spec in newer["fields"]:
        if (lost := _lost_names(spec, earlier, newer)) and (all_names or _is_cut_off(spec, lost, earlier)):
            found.append(
                f"{spec['name']} was called {' and '.join(lost)} before: whoever looks for it by that name would find "
                f"nothing, so its aliases have to be {', '.join([*spec.get('aliases', ()), *lost])}"
            )
    return found


def with_former_names(earlier: Sequence[Mapping[str, Any]], newer: Mapping[str, Any]) -> Mapping[str, Any]:
    """`newer`, each field with all names that it had in the `earlier` versions (oldest first).

    Somebody may have registered it past `dataflow schemas register`, which refuses what forgets a name.
    """
    lost = {spec["name"]: _lost_names(spec, earlier, newer) for spec in newer["fields"]}
    if not any(lost.values()):
        return newer
    fields = [
        {**spec, "aliases": [*spec.get("aliases", ()), *lost[spec["name"]]]} if lost[spec["name"]] else spec
        for spec in newer["fields"]
    ]
    return {**newer, "fields": fields}


def record_of(avro: str) -> Mapping[str, Any] | None:
    """The schema in a text, if it is one with fields; a registry takes others, too."""
    try:
        found = json.loads(avro)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("fields"), list) else None


def _lost_names(
    spec: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]], newer: Mapping[str, Any]
) -> list[str]:
    """Names that a field of `newer` had and does not list.

    A name that is another field's, in this version or in a later one than where it was found, is not the field's own.
    """
    listed = _names(spec)
    known = list(listed)
    of_others = {name for each in newer["fields"] if each is not spec for name in _names(each)}
    for version in reversed(earlier):
        own = {name for name in known if name not in of_others}
        same = [each for each in version["fields"] if own & set(_names(each))]
        of_others |= {name for each in version["fields"] if each not in same for name in _names(each)}
        known += [
            name
            for name in dict.fromkeys(name for each in same for name in _names(each))
            if name not in known and name not in of_others
        ]
    return [name for name in known if name not in listed]


def _is_cut_off(spec: Mapping[str, Any], lost: Sequence[str], earlier: Sequence[Mapping[str, Any]]) -> bool:
    """Whether some version of a field has only names that were `lost`."""
    listed = set(_names(spec))
    return any(
        set(lost) & set(_names(each)) and not listed & set(_names(each))
        for version in earlier
        for each in version["fields"]
    )


def same_fields(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two schemas have the same fields, whatever else they say: a registry may write a text its own way."""

    def shape(avro: Mapping[str, Any]) -> list[tuple[str, str, list[str], str | None]]:
        return [
            (
                each["name"],
                json.dumps(_plain(each["type"]), sort_keys=True),
                sorted(each.get("aliases", ())),
                json.dumps(each["default"], sort_keys=True) if "default" in each else None,
            )
            for each in avro["fields"]
        ]

    return shape(one) == shape(other)


def _plain(kind: Any) -> Any:
    """A type, `{"type": "string"}` as `"string"`."""
    if isinstance(kind, list):
        return [_plain(each) for each in kind]
    return kind["type"] if isinstance(kind, dict) and set(kind) == {"type"} else kind


def _names(spec: Mapping[str, Any]) -> list[str]:
    """What a field is and was called."""
    return [spec["name"], *spec.get("aliases", ())]


def backward_objections(older: Mapping[str, Any], newer: Mapping[str, Any]) -> list[str]:
    """Why a reader with `newer` cannot read records of `older`: what can be told field by field."""
    found = []
    before = {spec["name"]: spec["type"] for spec in older["fields"]}
    for spec in newer["fields"]:
        name = next((each for each in (spec["name"], *spec.get("aliases", ())) if each in before), None)
        if name is None and "default" not in spec:
            found.append(
                f"{spec['name']} has no default, and old records have no such field (nor one of its aliases)"
            )
        elif name is not None and "null" in before[name] and "null" not in spec["type"]:
            found.append(f"{spec['name']} was optional: old records may hold a null")
        elif name is not None and not _promotes(_plain_kind(before[name]), _plain_kind(spec["type"])):
            found.append(
                f"{spec['name']} was {_plain_kind(before[name])}, which is not read as {spec['type']}"
            )
    return found


# reader's type → writer's types that Avro reads as it
PROMOTED = {
    "int": {"int"},
    "long": {"int", "long"},
    "float": {"int", "long", "float"},
    "double": {"int", "long", "float", "double"},
    "string": {"string", "bytes"},
    "bytes": {"string", "bytes"},
    "boolean": {"boolean"},
}


def _promotes(writer: str, reader: str) -> bool:
    """Whether Avro reads the one as the other; True where only the registry can tell."""
    return reader not in PROMOTED or writer not in PROMOTED or writer in PROMOTED[reader]


def _plain_kind(kind: Any) -> str:
    """The primitive type inside a union or a logical type; anything else by its name."""
    if isinstance(kind, list):
        others = [each for each in kind if each != "null"]
        kind = others[0] if len(others) == 1 else "union"
    return str(kind.get("type")) if isinstance(kind, dict) else str(kind)
