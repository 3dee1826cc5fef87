"""Whether a schema may follow those that are registered: what can be told field by field, beside the registry. Pure.

The registry compares types and defaults. It does not notice that a field that was renamed before has lost its first
name: with a default, readers by that name then find nothing, and nobody is told.
"""

from collections.abc import Iterable, Mapping
from typing import Any


def forgotten_names(earlier: Iterable[Mapping[str, Any]], newer: Mapping[str, Any]) -> list[str]:
    """Which fields of `newer` leave out names that they have in one of the `earlier` versions, and how to mend it."""
    had = [spec for version in earlier for spec in version["fields"]]
    found = []
    for spec in newer["fields"]:
        if lost := _lost_names(spec, had, newer):
            found.append(
                f"{spec['name']} was called {' and '.join(lost)} before: whoever looks for it by that name would find "
                f"nothing, so its aliases have to be {', '.join([*spec.get('aliases', ()), *lost])}"
            )
    return found


def with_former_names(earlier: Iterable[Mapping[str, Any]], newer: Mapping[str, Any]) -> Mapping[str, Any]:
    """`newer`, each field with all names that it had in the `earlier` versions, which went through this themselves.

    Somebody may have registered it past `dataflow schemas register`, which refuses what forgets a name.
    """
    had = [spec for version in earlier for spec in version["fields"]]
    lost = {spec["name"]: _lost_names(spec, had, newer) for spec in newer["fields"]}
    if not any(lost.values()):
        return newer
    fields = [
        {**spec, "aliases": [*spec.get("aliases", ()), *lost[spec["name"]]]} if lost[spec["name"]] else spec
        for spec in newer["fields"]
    ]
    return {**newer, "fields": fields}


def is_record(avro: Any) -> bool:
    """Whether a schema is one with fields; a registry takes others, too."""
    return isinstance(avro, Mapping) and isinstance(avro.get("fields"), list)


def _lost_names(
    spec: Mapping[str, Any], had: Iterable[Mapping[str, Any]], newer: Mapping[str, Any]
) -> list[str]:
    """Names of a field's that it does not list, and that no other field of the same version has for itself."""
    listed = [spec["name"], *spec.get("aliases", ())]
    known = list(listed)
    for name in known:  # which grows meanwhile
        for before in had:
            if before["name"] == name:
                known += [each for each in before.get("aliases", ()) if each not in known]
    taken = {each["name"] for each in newer["fields"]}
    return [name for name in known if name not in listed and name not in taken]


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
