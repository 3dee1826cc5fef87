"""One output of a mapping: how a line or a group becomes an event of a topic. Pure.

An event is a function of its line or group alone; what was sent before only decides whether it is sent (`send`). So an
import of the same lines, in one run or in several, in any order, leads to the same state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from schemas.contract import CONTRACTS, Contract
from schemas.validate import micros
from sources.importer.compiler import Compiler
from sources.importer.errors import Where
from sources.importer.expression import Evaluate, Expression, as_type
from sources.importer.operations.names import Names

TYPES = {"string": "string", "int": "int", "long": "int", "decimal": "decimal", "timestamp": "timestamp"}
KEYS = ("topic", "per", "when", "send", "fields")
ALWAYS, IF_NEWER = "always", "if_newer"
FILLED = ("event_id", "op", "version", "source")


@dataclass(frozen=True)
class Output:
    """A compiled entry of `events`. `send` is always, if_newer, or the fields whose change is worth an event."""

    topic: str
    per_group: bool
    when: Evaluate | None
    fields: tuple[tuple[str, Evaluate], ...]
    send: str | tuple[str, ...]
    names: Names
    default_version: bool
    default_event_id: bool
    revision: int
    entity_id: Evaluate
    occurred_at: Evaluate
    marks: tuple[Evaluate, ...]

    def version(self, context: Any) -> int | None:
        """The version of a line's or group's event, where the importer gives it: its time plus the revision."""
        moment = self.occurred_at(context)
        return None if moment is None else micros(moment) + self.revision

    def build(self, context: Any) -> dict[str, Any]:
        """The event of a line or group."""
        event = {name: evaluate(context) for name, evaluate in self.fields}
        if self.default_version:
            moment = event["occurred_at"]
            event["version"] = None if moment is None else micros(moment) + self.revision
        if self.default_event_id:
            identity = event[CONTRACTS[self.topic].entity_id]
            event["event_id"] = self.names.uuid(f"event|{self.topic}|{identity}|{event['version']}")
        return event


class SentState:
    """What a run has sent of entities whose output does not send always: the highest version, or the compared fields.

    It grows by one entry per entity and output (some 300 bytes). `pending` holds what a group in work adds; `commit`
    keeps it, `rollback` forgets it.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[int, Any], Any] = {}
        self._pending: dict[tuple[int, Any], Any] = {}

    def wants(self, index: int, output: Output, context: Any) -> bool:
        """Whether the output's event of this line or group is worth sending after those before it; notes it if so."""
        if output.send == ALWAYS:
            return True
        key = (index, output.entity_id(context))
        last = self._pending.get(key) or self._seen.get(key)
        mark = tuple([evaluate(context) for evaluate in output.marks])
        if last is None or (mark != last if output.send != IF_NEWER else (mark[0] or 0) > (last[0] or 0)):
            self._pending[key] = mark
            return True
        return False

    def commit(self) -> None:
        if self._pending:
            self._seen.update(self._pending)
            self._pending.clear()

    def rollback(self) -> None:
        self._pending.clear()


def compile_output(
    spec: Any, compilers: Mapping[str, Compiler | None], source: str, revision: int, where: Where
) -> Output:
    """Compile one entry of `events`. `compilers` has the scopes `line` and `group` (None without a group)."""
    if not isinstance(spec, dict):
        raise where.error(f"expected an event; keys: {', '.join(KEYS)}")
    for key in spec:
        if key not in KEYS:
            raise where.unknown("key", key, KEYS)
    topic, per = spec.get("topic"), spec.get("per", "line")
    if topic not in CONTRACTS:
        raise (where / "topic").unknown("topic", topic, CONTRACTS)
    if per not in compilers:
        raise (where / "per").unknown("unit", per, compilers)
    compiler = compilers[per]
    if compiler is None:
        raise (where / "per").error("`per: group` needs a `group` section")
    contract = CONTRACTS[topic]
    fields = _fields(spec.get("fields"), contract, compiler, where / "fields")
    if contract.is_change:
        fields.setdefault("op", lambda context: "r")
        fields.setdefault("source", lambda context: source)
    missing = [
        name
        for name, field in contract.fields.items()
        if field.required and name not in fields and not _filled(contract, name)
    ]
    if missing:
        raise (where / "fields").error(
            f"{topic} requires {', '.join(missing)}: give each a value (the contract knows no default)"
        )
    when = compiler.condition(spec["when"], where / "when").evaluate if "when" in spec else None
    send = _send(spec.get("send", ALWAYS), contract, fields, where / "send")
    output = Output(
        topic=topic,
        per_group=per == "group",
        when=when,
        fields=tuple(fields.items()),
        send=send,
        names=compiler.names,
        default_version=contract.is_change and "version" not in fields,
        default_event_id=contract.is_change and "event_id" not in fields,
        revision=revision,
        entity_id=fields[contract.entity_id],
        occurred_at=fields["occurred_at"],
        marks=(),
    )
    if send == IF_NEWER:
        return replace(output, marks=(fields.get("version", output.version),))
    return replace(output, marks=tuple(fields[name] for name in send)) if send != ALWAYS else output


def _filled(contract: Contract, name: str) -> bool:
    """Whether the importer fills the field itself."""
    return contract.is_change and name in FILLED


def _fields(specs: Any, contract: Contract, compiler: Compiler, where: Where) -> dict[str, Evaluate]:
    if not isinstance(specs, dict) or not specs:
        raise where.error(f"expected `field: value` for the fields of {contract.topic}")
    fields = {}
    for name, node in specs.items():
        if name not in contract.fields:
            raise where.unknown(f"field of {contract.topic}", name, contract.fields)
        fields[name] = _fitting(compiler.compile(node, where / name), contract, name, where / name)
    return fields


def _fitting(expression: Expression, contract: Contract, name: str, where: Where) -> Evaluate:
    """The evaluator of a field, after checking that its type can fit the contract."""
    field = contract.fields[name]
    expected = TYPES[field.type]
    if expression.type == "null" and field.required:
        raise where.error(f"{contract.topic}.{name} is required, and this is always null")
    fits = expression.type in (expected, "null") or (expected, expression.type) == ("decimal", "int")
    if not fits:
        remedy = "add `time: …`" if expected == "timestamp" else f"add `cast: {field.type}`"
        raise where.error(
            f"{contract.topic}.{name} is a {field.type}, and this value is {expression.type}; {remedy}"
        )
    return as_type(expression, expected).evaluate


def _send(
    spec: Any, contract: Contract, fields: Mapping[str, Evaluate], where: Where
) -> str | tuple[str, ...]:
    if spec == ALWAYS or (spec == IF_NEWER and contract.is_change):
        return spec
    if (
        isinstance(spec, dict)
        and list(spec) == ["on_change"]
        and isinstance(spec["on_change"], list)
        and spec["on_change"]
    ):
        for name in spec["on_change"]:
            if name not in fields:
                raise (where / "on_change").unknown("field of this event", name, fields)
        return tuple(spec["on_change"])
    raise where.error(f"expected always, if_newer (change topics) or {{on_change: [field, …]}}, saw {spec!r}")
