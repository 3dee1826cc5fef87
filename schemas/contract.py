"""The contracts of the source topics, read from `avro/*.avsc` and `rules/*.yaml`: the shop's, and the user's own.

The shop's are in `schemas/`, the user's in the directory that DATAFLOW_CONTRACTS names (see `schemas.extension`).
The `.avsc` files are the only definition of a topic's shape: field types, nullability, personal data (`pii`), and what
a value may be (`format`, `minimum`, `maximum`, `one_of`, `max_length`). The rules that these attributes imply are
derived here; rules between fields stand beside the schema in a YAML file. Nothing else defines them again.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from schemas import extension
from schemas.attributes import check_attributes
from schemas.avsc import CHANGE_FIELDS, check_avsc
from schemas.countries import COUNTRIES
from schemas.errors import ContractError
from schemas.expression import compile_expression
from schemas.expression_type import Kind, check_type

DIRECTORY = Path(__file__).parent
SEVERITIES = ("reject", "warn")
EARLIEST_MICROS = 946_684_800_000_000  # 2000-01-01T00:00:00Z
DAY_MICROS = 86_400_000_000
UUID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\z"
EMAIL_PATTERN = r"^[^@\s]+@[^@\s]+\.[^@\s]+\z"

FieldType = Literal["string", "int", "long", "decimal", "timestamp"]


@dataclass(frozen=True)
class Field:
    """One column of a contract. Decimals have `precision` digits, `scale` of them behind the point."""

    name: str
    type: FieldType
    nullable: bool
    pii: bool
    doc: str
    precision: int = 0
    scale: int = 0
    default: Any = None
    aliases: tuple[str, ...] = ()  # names that it had before
    attributes: Mapping[str, Any] = None  # format, minimum, maximum, one_of, max_length, unit

    @property
    def default_value(self) -> Any:
        """What an event has that does not bring a value; in a schema a decimal's default stands as bytes."""
        return Decimal(0) if self.type == "decimal" and self.default is not None else self.default

    @property
    def is_money(self) -> bool:
        """Whether it is an amount of the shop's currency, and no other decimal such as a weight or a share."""
        return self.type == "decimal" and self.scale == 2 and self.attributes.get("unit") == "money"

    @property
    def required(self) -> bool:
        """Whether an event must bring a value."""
        return not self.nullable and self.default is None


@dataclass(frozen=True)
class Rule:
    """A quality rule. A record breaks it when `expression` is false; null passes, as in a SQL CHECK.

    In the expression money is a decimal, a time is an integer of UTC microseconds, and `kafka_time` is the time
    (microseconds) that the broker gave the record. `reject` sends the record to the dead letters, `warn` counts it.
    """

    topic: str
    name: str
    severity: Literal["reject", "warn"]
    expression: str
    description: str


@dataclass(frozen=True)
class Contract:
    """A source topic: its fields, its key, its rules. `entity_id` names the field that identifies what changes."""

    topic: str
    key: str
    entity_id: str
    doc: str
    avro: Mapping[str, Any]
    fields: Mapping[str, Field]
    rules: tuple[Rule, ...]

    @property
    def is_change(self) -> bool:
        """True where an event is a new version of a row; false for facts (clickstream)."""
        return "version" in self.fields

    @property
    def row_fields(self) -> tuple[str, ...]:
        """The columns of the row itself, without the change fields."""
        return tuple(name for name in self.fields if not self.is_change or name not in CHANGE_FIELDS)

    @property
    def pii_fields(self) -> tuple[str, ...]:
        return tuple(name for name, field in self.fields.items() if field.pii)

    @cached_property
    def avro_json(self) -> str:
        return json.dumps(self.avro)

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each column is to an expression; times are numbers."""
        return {name: "text" if field.type == "string" else "number" for name, field in self.fields.items()}

    @property
    def minor_unit_scales(self) -> dict[str, int]:
        """Scale of each column in a canonical row, where money stands in minor units."""
        return {name: field.scale for name, field in self.fields.items()}


def load_contract(topic: str, directory: Path = DIRECTORY) -> Contract:
    """Read one topic's `.avsc` and rules. Raises ContractError naming the file and the field."""
    path = directory / "avro" / f"{topic}.avsc"
    try:
        avro = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ContractError(f"expected an Avro record schema in {path}: {error}") from error
    check_avsc(avro, topic, str(path))
    fields = {spec["name"]: _field(spec, str(path)) for spec in avro["fields"]}
    rules = tuple(_implied(topic, fields)) + tuple(_declared(topic, directory / "rules" / f"{topic}.yaml"))
    names = [rule.name for rule in rules]
    if len(set(names)) != len(names):
        raise ContractError(
            f"{topic}: two rules have the same name: {sorted(n for n in names if names.count(n) > 1)}"
        )
    contract = Contract(
        topic, avro["dataflow.key"], avro["dataflow.entity_id"], avro.get("doc", ""), avro, fields, rules
    )
    scales = dict.fromkeys((*fields, "kafka_time"), 0)
    for rule in rules:
        try:
            compile_expression(rule.expression, scales)
            check_type(rule.expression, contract.kinds | {"kafka_time": "number"}, "boolean")
        except ContractError as error:
            raise ContractError(f"{path}, rule {rule.name}: {extension.one_line(error)}") from error
    return contract


def _field(spec: Mapping[str, Any], file: str) -> Field:
    kind, nullable = spec["type"], False
    if isinstance(kind, list):
        if len(kind) != 2 or kind[0] != "null":
            raise ContractError(f'{file}: {spec["name"]}: expected ["null", type], saw {kind}')
        kind, nullable = kind[1], True
    logical = kind.get("logicalType") if isinstance(kind, dict) else None
    if logical == "decimal":
        name: FieldType = "decimal"
    elif logical == "timestamp-micros":
        name = "timestamp"
    elif kind in ("string", "int", "long"):
        name = kind
    else:
        raise ContractError(
            f"{file}: {spec['name']}: expected string, int, long, bytes/decimal or long/timestamp-micros, saw {kind}"
        )
    check_attributes(spec, name, file)
    known = {"name", "type", "doc", "default", "pii", "aliases"}
    return Field(
        name=spec["name"],
        type=name,
        nullable=nullable,
        pii=bool(spec.get("pii")),
        doc=spec.get("doc", ""),
        precision=kind.get("precision", 0) if logical else 0,
        scale=kind.get("scale", 0) if logical else 0,
        default=spec.get("default"),
        aliases=tuple(spec.get("aliases", ())),
        attributes={key: value for key, value in spec.items() if key not in known},
    )


def _implied(topic: str, fields: Mapping[str, Field]) -> Iterator[Rule]:
    """The rules that the attributes of the fields imply."""
    for field in fields.values():
        n, a = field.name, field.attributes
        if field.type == "timestamp":
            bounds = f"{n} BETWEEN {EARLIEST_MICROS} AND kafka_time + {DAY_MICROS}"
            yield Rule(
                topic,
                f"{n}_in_range",
                "reject",
                bounds,
                f"{n} lies between 2000-01-01 and one day after its arrival.",
            )
        if a.get("format") == "uuid":
            yield Rule(
                topic,
                f"{n}_is_uuid",
                "reject",
                f"{n} RLIKE '{_sql(UUID_PATTERN)}'",
                f"{n} is a UUID in lower case.",
            )
        elif a.get("format") == "email":
            yield Rule(
                topic,
                f"{n}_is_email",
                "reject",
                f"{n} RLIKE '{_sql(EMAIL_PATTERN)}'",
                f"{n} looks like name@host.domain.",
            )
        elif a.get("format") == "country":
            codes = ", ".join(f"'{code}'" for code in COUNTRIES)
            yield Rule(
                topic, f"{n}_is_country", "reject", f"{n} IN ({codes})", f"{n} is an ISO 3166 alpha-2 code."
            )
        if "one_of" in a:
            values = ", ".join(f"'{value}'" for value in a["one_of"])
            yield Rule(topic, f"{n}_allowed", "reject", f"{n} IN ({values})", f"{n} is one of {values}.")
        if "max_length" in a:
            text = f"length({n}) BETWEEN 1 AND {a['max_length']} AND trim({n}) = {n}"
            yield Rule(
                topic,
                f"{n}_text",
                "reject",
                text,
                f"{n} is trimmed and has 1 to {a['max_length']} characters.",
            )
        if "minimum" in a:
            yield Rule(
                topic, f"{n}_minimum", "reject", f"{n} >= {a['minimum']}", f"{n} is at least {a['minimum']}."
            )
        if "maximum" in a:
            yield Rule(
                topic, f"{n}_maximum", "reject", f"{n} <= {a['maximum']}", f"{n} is at most {a['maximum']}."
            )


def _sql(pattern: str) -> str:
    """A regular expression as it stands inside a SQL string literal, where a backslash escapes."""
    return pattern.replace("\\", "\\\\")


def _declared(topic: str, path: Path) -> Iterator[Rule]:
    if not path.exists():
        return
    try:
        specs = yaml.safe_load(path.read_text("utf-8"))["rules"]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        saw = f"{type(error).__name__}: {extension.one_line(error)}"
        raise ContractError(f"{path}: expected YAML with a list under `rules`, saw {saw}") from error
    if not isinstance(specs, list | None):
        raise ContractError(f"{path}: expected YAML with a list under `rules`, saw {specs!r:.80}")
    for spec in specs or ():
        try:
            rule = Rule(topic, spec["name"], spec["severity"], spec["expression"], spec["description"])
        except (KeyError, TypeError) as error:
            raise ContractError(
                f"{path}: every rule needs name, severity, expression, description; missing {error}"
            ) from error
        if not isinstance(rule.expression, str) or not isinstance(rule.description, str):
            raise ContractError(
                f"{path}: expected the expression and the description of {rule.name} to be text; saw "
                f"{rule.expression!r:.80}, {rule.description!r:.80}"
            )
        if not extension.NAME.fullmatch(str(rule.name)) or rule.severity not in SEVERITIES:
            raise ContractError(
                f"{path}: expected a rule's name of lower-case letters, digits and '_', and one of "
                f"{', '.join(SEVERITIES)} as its severity; saw {rule.name!r}, {rule.severity!r}"
            )
        yield rule


def _load_all() -> Iterator[Contract]:
    yield from map(load_contract, SHOP_TOPICS)
    for topic in extension.own_topics(OWN_DIRECTORY, SHOP_TOPICS):
        yield load_contract(topic, OWN_DIRECTORY)


OWN_DIRECTORY = extension.own_directory(os.environ)
SHOP_TOPICS = sorted(path.stem for path in (DIRECTORY / "avro").glob("*.avsc"))
CONTRACTS: dict[str, Contract] = {contract.topic: contract for contract in _load_all()}
