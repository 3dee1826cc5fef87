"""A mapping, loaded and checked: what the files look like, what their lines mean, which events come of them.

Reads the mapping's YAML and its look-up tables. Everything that can be wrong before a line is read raises MappingError
here: unknown keys, operations, columns, topics, fields, wrong types, required fields without a value.
"""

import decimal
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sources.importer.compiler import Compiler, named_value, of_group
from sources.importer.document import read_yaml
from sources.importer.errors import Where
from sources.importer.expression import Evaluate
from sources.importer.input_section import INPUT_KEYS, Duplicates, input_columns, load_duplicates, load_format
from sources.importer.operations.names import Names, namespace_of
from sources.importer.operations.numbers import EXACT
from sources.importer.operations.tables import Lookup, load_lookup
from sources.importer.outputs import Output, compile_output
from sources.importer.reader import CsvFormat
from sources.importer.sections import NAME, choice, named, section, text
from sources.importer.totals import ControlTotal, load_control_total

MAPPING_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,50}")
KEYS = (
    "mapping",
    "doc",
    "source",
    "namespace",
    "revision",
    "input",
    "lookups",
    "values",
    "reject",
    "group",
    "events",
    "control_totals",
)
GROUP_KEYS = ("by", "grouping", "partial", "values", "reject")


@dataclass(frozen=True)
class Reject:
    """A reason to refuse a line or a group, when it does so, and a text that explains it."""

    reason: str
    when: Evaluate
    detail: Evaluate | None


@dataclass(frozen=True)
class Grouping:
    """How lines make groups. `contiguous` groups end where the key changes; else they end with the file."""

    by: Evaluate
    contiguous: bool
    keep_partial: bool
    slots: int
    rejects: tuple[Reject, ...]


@dataclass(frozen=True)
class Mapping:
    """A mapping that fits the contracts."""

    name: str
    doc: str
    namespace: UUID
    source: str
    form: CsvFormat
    duplicates: Duplicates | None
    lookups: dict[str, Lookup]
    slots: int
    rejects: tuple[Reject, ...]
    group: Grouping | None
    outputs: tuple[Output, ...]
    totals: tuple[ControlTotal, ...]


def load_mapping(path: Path) -> Mapping:
    """Read and check a mapping. Raises MappingError naming the file, the place in it, and what is known there."""
    with decimal.localcontext(EXACT):
        return _Loader(read_yaml(path), path).load()


class _Loader:
    """Builds a Mapping section by section; each section may use what the ones before it define."""

    def __init__(self, document: Any, path: Path) -> None:
        self.where = Where(path.name)
        self.path = path
        self.spec = section(document, KEYS, self.where)

    def load(self) -> Mapping:
        spec, where = self.spec, self.where
        name = spec.get("mapping")
        if not isinstance(name, str) or not MAPPING_NAME.fullmatch(name):
            raise (where / "mapping").error(
                f"expected the mapping's name: lower case letters, digits, . _ -; saw {name!r}"
            )
        source = text(spec, "source", where, f"import:{name}")
        revision = spec.get("revision", 0)
        if not isinstance(revision, int) or isinstance(revision, bool) or not 0 <= revision <= 99:
            raise (where / "revision").error(f"expected a number from 0 to 99, saw {revision!r}")
        if not isinstance(spec.get("namespace"), str):
            raise (where / "namespace").error(
                "expected the namespace of all ids: a UUID, or a URL or name that is yours"
            )
        names = Names(namespace_of(spec["namespace"]))
        input_spec = section(spec.get("input"), INPUT_KEYS, where / "input")
        form = load_format(input_spec, where / "input")
        lookups = {
            key: load_lookup(key, value, self.path.parent, where / "lookups" / key)
            for key, value in named(spec.get("lookups"), where / "lookups").items()
        }
        line = Compiler(lookups, names, input_columns(input_spec, form, revision, where))
        slots = _values(spec.get("values"), line, where / "values")
        rejects = _rejects(spec.get("reject"), line, where / "reject")
        group, group_compiler, event_line = self._group(line)
        compilers = {"line": event_line, "group": group_compiler}
        outputs = spec.get("events")
        if not isinstance(outputs, list) or not outputs:
            raise (where / "events").error("expected a list of events, each with topic and fields")
        return Mapping(
            name=name,
            doc=text(spec, "doc", where, ""),
            namespace=namespace_of(spec["namespace"]),
            source=source,
            form=form,
            duplicates=load_duplicates(
                input_spec.get("duplicates"), form, group is not None, where / "input" / "duplicates"
            ),
            lookups=lookups,
            slots=slots,
            rejects=rejects,
            group=group,
            outputs=tuple(
                compile_output(e, compilers, source, revision, where / "events" / i)
                for i, e in enumerate(outputs)
            ),
            totals=tuple(
                load_control_total(key, value, line, where / "control_totals" / key)
                for key, value in named(spec.get("control_totals"), where / "control_totals").items()
            ),
        )

    def _group(self, line: Compiler) -> tuple[Grouping | None, Compiler | None, Compiler]:
        """The group section, its scope, and the scope of `per: line` events, which see the group's values too."""
        where = self.where / "group"
        if "group" not in self.spec:
            return None, None, line
        spec = section(self.spec["group"], GROUP_KEYS, where)
        if "by" not in spec:
            raise where.error("expected `by`: the value that lines of one group share")
        grouping = choice(spec, "grouping", ("contiguous", "whole_file"), None, where)
        partial = choice(spec, "partial", ("keep", "reject"), None, where)
        shared = {name: line.scope[name] for name in ("revision",)}
        group = Compiler(line.lookups, line.names, shared, lines=line)
        slots = _values(spec.get("values"), group, where / "values", taken=line.scope)
        event_line = Compiler(
            line.lookups, line.names, {**{n: of_group(e) for n, e in group.scope.items()}, **line.scope}
        )
        rejects = _rejects(spec.get("reject"), group, where / "reject")
        by = line.compile(spec["by"], where / "by").evaluate
        return Grouping(by, grouping == "contiguous", partial == "keep", slots, rejects), group, event_line


def _values(specs: Any, compiler: Compiler, where: Where, taken: Iterable[str] = ()) -> int:
    """Define the named values of a section, top to bottom; returns how many there are."""
    values = named(specs, where)
    for slot, (name, node) in enumerate(values.items()):
        if name in compiler.scope or name in taken:
            raise (where / name).error(
                f"{name!r} is already the name of a column, a value or a built-in; choose another"
            )
        expression = compiler.compile(node, where / name)
        compiler.define(name, expression if expression.is_constant else named_value(slot, expression))
    return len(values)


def _rejects(specs: Any, compiler: Compiler, where: Where) -> tuple[Reject, ...]:
    if specs is None:
        return ()
    if not isinstance(specs, list):
        raise where.error("expected a list of {reason, when, detail}")
    rejects = []
    for i, item in enumerate(specs):
        spec = section(item, ("reason", "when", "detail"), where / i)
        reason = spec.get("reason")
        if not isinstance(reason, str) or not NAME.fullmatch(reason):
            raise (where / i / "reason").error(f"expected a name such as price_not_positive, saw {reason!r}")
        if "when" not in spec:
            raise (where / i).error("expected `when`: the condition that refuses the line")
        when = compiler.condition(spec["when"], where / i / "when").evaluate
        detail = (
            compiler.compile({"template": spec["detail"]}, where / i / "detail").evaluate
            if "detail" in spec
            else None
        )
        rejects.append(Reject(reason, when, detail))
    return tuple(rejects)
