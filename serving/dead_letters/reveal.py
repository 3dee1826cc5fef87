"""A dead letter's record, as readable as it can be made without showing personal data.

`reveal` is pure: it decodes field by field with the schema that the record was written with, as far as the bytes go,
and says what is wrong where. `writers_of` gets the schemas from the registry.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import Any

import fastavro
import orjson

from infra.registry import TopicSchemas
from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.evolution import bare_type
from schemas.validate import broken_rules, micros
from serving.dead_letters.letter import MASK, DeadLetter
from serving.read.reader import iso_micros
from sources.codec import HEADER, MAGIC

PLAIN = (int, float, Decimal, datetime)  # values that name nobody


@dataclass(frozen=True)
class Writer:
    """A registered schema: whose it is, which version, and its Avro text."""

    topic: str
    version: int
    schema_id: int
    avro: Mapping[str, Any]


@dataclass(frozen=True)
class Content:
    """What can be told of a record. `fields` are in the schema's order, up to the first that cannot be read.

    `masked` names those whose value is hidden, `problems` says in words what is wrong with the bytes.
    """

    writer: Writer | None
    fields: Mapping[str, Any]
    masked: tuple[str, ...]
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        writer = self.writer
        schema = writer and {"topic": writer.topic, "version": writer.version, "id": writer.schema_id}
        return {
            "schema": schema,
            "fields": dict(self.fields),
            "masked": list(self.masked),
            "problems": list(self.problems),
        }


def writers_of(settings: Settings, letter: DeadLetter) -> dict[int, Writer]:
    """The schemas that the letter's record may have been written with, by id.

    Those of other topics are looked up only for an id that its own topic has not. Raises Unavailable.
    """
    schema_id = _schema_id(letter.value or b"")
    if letter.source_topic not in CONTRACTS or schema_id is None:
        return {}
    schemas = TopicSchemas(settings)
    try:
        for topic in sorted(CONTRACTS, key=lambda each: each != letter.source_topic):
            for found in schemas.of(topic):
                if found.schema_id == schema_id:
                    return {schema_id: Writer(topic, found.version, schema_id, orjson.loads(found.avro))}
        return {}
    finally:
        schemas.close()


def reveal(letter: DeadLetter, writers: Mapping[int, Writer]) -> Content:
    """The letter's record, decoded as far as it goes, personal data masked.

    What only its producer knows the meaning of is masked too, on a topic that has personal data.

    Where bytes are damaged, a field may hold what belongs into another one. So of a damaged record of a topic that has
    personal data only what is plainly none is shown: numbers, times, and ids and codes that fit their field's rules.
    """
    value = letter.value or b""
    if letter.null_value:
        return Content(None, {}, (), ("there is no value",))
    schema_id = _schema_id(value)
    if schema_id is None:
        return Content(None, {}, (), (_no_header(value),))
    writer = writers.get(schema_id)
    if writer is None:
        return Content(None, {}, (), (f"the registry has no schema with the id {schema_id} under any topic",))
    problems = [] if writer.topic == letter.source_topic else [f"written with the schema of {writer.topic}"]
    if letter.truncated and len(value) + len(letter.key or b"") < letter.size:
        problems.append(f"only the first {len(value):,} of {letter.size:,} bytes are kept")
    read, faults, remarks = _read(value[HEADER.size :], writer)
    problems += faults
    personal, unheard_of = _personal(writer)
    sound = not problems or not (personal or CONTRACTS[letter.source_topic].pii_fields)
    fields, masked = {}, []
    for name, found in read.items():
        hidden = found is not None and (
            name in personal or name in unheard_of or not (sound or _harmless(writer.topic, name, found))
        )
        fields[name] = MASK if hidden else _plain(found)
        if hidden:
            masked.append(name)
    return Content(writer, fields, tuple(masked), (*problems, *remarks))


def _personal(writer: Writer) -> tuple[set[str], set[str]]:
    """The fields of a writer's schema that are personal data, and those of which only their producer knows whether.

    What a field is called by its writer may be another name of the contract's. A topic that has personal data may have
    more of it in a field that its contract has not heard of.
    """
    contract = CONTRACTS[writer.topic]
    also = {alias: name for name, field in contract.fields.items() for alias in field.aliases}
    personal, unheard_of = set(), set()
    for spec in writer.avro["fields"]:
        names = {spec["name"], *spec.get("aliases", ())}
        names |= {also[name] for name in names if name in also}
        if spec.get("pii") or names & set(contract.pii_fields):
            personal.add(spec["name"])
        elif not names & contract.fields.keys():
            unheard_of.add(spec["name"])
    return personal, unheard_of if contract.pii_fields else set()


def _schema_id(value: bytes) -> int | None:
    if len(value) < HEADER.size:
        return None
    magic, schema_id = HEADER.unpack_from(value)
    return schema_id if magic == MAGIC else None


def _no_header(value: bytes) -> str:
    if len(value) < HEADER.size:
        return f"{len(value)} bytes are too short for the header, which has {HEADER.size}"
    return f"the first byte is {value[0]:#04x}, not the zero byte of Confluent's wire format"


def _read(body: bytes, writer: Writer) -> tuple[dict[str, Any], list[str], list[str]]:
    """Fields up to the first that cannot be read, what is wrong with the bytes, and what else is to be said."""
    stream, found, problems, remarks, named = io.BytesIO(body), {}, [], [], {}
    for field in writer.avro["fields"]:
        name, at = field["name"], stream.tell()
        schema = fastavro.parse_schema(field["type"], named)
        try:
            try:
                found[name] = fastavro.schemaless_reader(stream, schema, None)
            except UnicodeDecodeError:
                stream.seek(at)
                found[name] = fastavro.schemaless_reader(
                    stream, schema, None, handle_unicode_errors="replace"
                )
                problems.append(f"{name} is not UTF-8")
                continue
            except (OverflowError, ValueError):
                # A time that is beyond any calendar is a number all the same.
                stream.seek(at)
                schema = fastavro.parse_schema(bare_type(field["type"]), named)
                found[name] = fastavro.schemaless_reader(stream, schema, None)
                if isinstance(found[name], int):
                    remarks.append(
                        f"{name} holds a time that no calendar has, shown as the number that it is"
                    )
                else:
                    problems.append(f"{name} is not what its type demands, its value is uncertain")
        except Exception as error:  # noqa: BLE001 fastavro raises whatever the damaged bytes lead to
            problems.append(
                f"{name} cannot be read at byte {HEADER.size + at} of {HEADER.size + len(body)}"
                f" ({type(error).__name__}): nothing behind it is known"
            )
            return found, problems, remarks
        if not _is_canonical(schema, found[name], body[at : stream.tell()]):
            problems.append(f"{name} is not encoded as its type demands, its value is uncertain")
    if left := len(body) - stream.tell():
        problems.append(f"{left:,} bytes are left over behind the record")
    return found, problems, remarks


def _is_canonical(schema: Any, value: Any, data: bytes) -> bool:
    out = io.BytesIO()
    try:
        fastavro.schemaless_writer(out, schema, value)
    except Exception:  # noqa: BLE001 what cannot be written was not written by rule
        return False
    return out.getvalue() == data


def _harmless(topic: str, name: str, value: Any) -> bool:
    """Whether a value of a damaged record tells nothing about a person, wherever its bytes came from."""
    if isinstance(value, PLAIN):
        return True
    contract = CONTRACTS[topic]
    field = contract.fields.get(name)
    closed = field is not None and (
        field.attributes.get("format") in ("uuid", "country") or "one_of" in field.attributes
    )
    if not closed:
        return False
    row = {**dict.fromkeys(contract.fields), name: value}
    return not any(
        violation.rule.startswith(f"{name}_") for violation in broken_rules(contract, row, 0, "reject")
    )


def _plain(value: Any) -> Any:
    """As JSON can have it, whatever a schema nests."""
    match value:
        case datetime():
            # One without a zone is of none: what is local stays so.
            return iso_micros(micros(value)) if value.tzinfo else value.isoformat()
        case dict():
            return {str(name): _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case None | bool() | str():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)
        case float():
            return value if isfinite(value) else str(value)
    return str(value)
