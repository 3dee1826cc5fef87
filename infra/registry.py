"""The schema registry, through its Confluent-compatible REST API: register the contracts, look up ids.

Reads and writes subjects `<topic>-value`. Registration is slow (8-26 a second), so ids are looked up once and kept.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import httpx

from infra.settings import Settings
from schemas.compatibility import (
    backward_objections,
    forgotten_names,
    record_of,
    same_fields,
    with_former_names,
)
from schemas.contract import CONTRACTS
from schemas.errors import ContractError, Unavailable

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
# Records of every version stay in the topics, so a new reader has to read them all, and not those of the newest alone.
COMPATIBILITY = "BACKWARD_TRANSITIVE"
# What somebody has set for a subject → what it has to be, so that nothing is allowed that was not before.
STRICTER = {
    "BACKWARD_TRANSITIVE": "BACKWARD_TRANSITIVE",
    "FULL": "FULL_TRANSITIVE",
    "FULL_TRANSITIVE": "FULL_TRANSITIVE",
    "FORWARD": "FULL_TRANSITIVE",
    "FORWARD_TRANSITIVE": "FULL_TRANSITIVE",
}
TIMEOUT = 20.0  # seconds
DELETED = "?deleted=true"
# The API's own codes in the body of a 404. Another 404 comes from something else that answers at this address.
SUBJECT_NOT_FOUND, VERSION_NOT_FOUND, SCHEMA_NOT_FOUND = 40401, 40402, 40403


NO_REASON = "the registry gives no reason"

T = TypeVar("T")


@dataclass(frozen=True)
class RegisteredSchema:
    """A schema under a subject: the id that records carry, and its text."""

    schema_id: int
    version: int
    avro: str


class Registry:
    """A client of one registry. Raises Unavailable while it does not answer, ContractError if it refuses a schema."""

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url, timeout=timeout, headers={"Content-Type": MEDIA_TYPE}, trust_env=False
        )

    def close(self) -> None:
        self._http.close()

    def _call(self, method: str, path: str, body: Mapping | None = None) -> httpx.Response:
        try:
            answer = self._http.request(method, path, content=json.dumps(body) if body is not None else None)
        except httpx.HTTPError as error:
            raise Unavailable(f"the schema registry at {self.url} does not answer: {error}") from error
        if answer.status_code >= 500:
            raise Unavailable(f"the schema registry at {self.url} answers {answer.status_code} to {path}")
        return answer

    def register(self, subject: str, avro: Mapping, *, all_names: bool = True) -> int:
        """Register a schema under a subject; returns its id, the same one every time.

        From then on the subject takes only what reads the records of all its versions. Raises ContractError for a
        schema that does not, or that forgets a name which a field had: where not `all_names` are needed, one without
        which it is not found in records of another version.
        """
        known = self.schemas(subject)
        if known:
            self._guard(subject)
        schema_id = self.id_of(subject, avro)
        if not self._stands(schema_id, known, avro) and (
            lost := forgotten_names(_records(known), avro, all_names=all_names)
        ):
            raise ContractError(f"not registered as a schema of {subject}: {'; '.join(lost)}")
        if schema_id is not None:
            return schema_id
        answer = self._call(
            "POST", f"/subjects/{subject}/versions", {"schema": json.dumps(avro), "schemaType": "AVRO"}
        )
        if answer.status_code != 200:
            raise ContractError(
                f"the registry refuses the schema of {subject} ({answer.status_code}): {answer.text[:500]}; "
                "change it so that a reader with the new schema can read old records (a new field needs a default)"
            )
        if not known:
            self._guard(subject)  # some know a subject, and what holds for it, only from its first schema on
        return int(answer.json()["id"])

    def _guard(self, subject: str) -> None:
        """Have the registry compare with all versions; what is stricter than that stays."""
        own = self._level(f"/config/{subject}")
        wanted = STRICTER.get(own or self._level(f"/config/{subject}?defaultToGlobal=true"), COMPATIBILITY)
        if wanted != own:
            self._call("PUT", f"/config/{subject}", {"compatibility": wanted})

    def _level(self, path: str) -> str | None:
        """The compatibility that is set there, None if none is or nobody says."""
        answer = self._call("GET", path)
        try:
            return answer.json()["compatibilityLevel"] if answer.status_code == 200 else None
        except (ValueError, KeyError, TypeError):
            return None

    def objections(self, subject: str, avro: Mapping) -> list[str]:
        """Why a schema would be refused under a subject, empty if it would not; registers nothing."""
        known = self.schemas(subject)
        found = [why for each in reversed(known) for why in self._objections_by(subject, each, avro)]
        if not self._stands(self.id_of(subject, avro), known, avro):
            found += forgotten_names(_records(known), avro)
        return list(dict.fromkeys(found))

    def _stands(self, schema_id: int | None, known: Sequence[RegisteredSchema], avro: Mapping) -> bool:
        """Whether it is registered with all that it says: a registry may give the id of one with other aliases."""
        return schema_id is not None and any(same_fields(each, avro) for each in _records(known))

    def _objections_by(self, subject: str, version: RegisteredSchema, avro: Mapping) -> list[str]:
        """Why it does not go with one version: to ask for all at once is not everywhere possible."""
        answer = self._call(
            "POST",
            f"/compatibility/subjects/{subject}/versions/{version.version}?verbose=true",
            {"schema": json.dumps(avro), "schemaType": "AVRO"},
        )
        if _error_code(answer) in (SUBJECT_NOT_FOUND, VERSION_NOT_FOUND):
            return []  # deleted meanwhile
        if answer.status_code == 422:
            return [answer.text[:500]]
        if self._read(answer, lambda found: bool(found["is_compatible"])):
            return []
        # Not every registry gives reasons.
        older = record_of(version.avro)
        told = answer.json().get("messages") or (older and backward_objections(older, avro)) or [NO_REASON]
        return [str(each) for each in told]

    def versions(self, subject: str, *, deleted: bool = False) -> list[int]:
        """The versions under a subject, none if the registry says that it does not know the subject.

        Also the `deleted` ones, where the registry keeps them.
        """
        answer = self._call("GET", f"/subjects/{subject}/versions{DELETED if deleted else ''}")
        if _error_code(answer) == SUBJECT_NOT_FOUND:
            return []
        return self._read(answer, lambda found: [int(version) for version in found])

    def schema(self, subject: str, version: int, *, deleted: bool = False) -> RegisteredSchema:
        answer = self._call("GET", f"/subjects/{subject}/versions/{version}{DELETED if deleted else ''}")
        return self._read(
            answer, lambda found: RegisteredSchema(int(found["id"]), int(found["version"]), found["schema"])
        )

    def id_of(self, subject: str, avro: Mapping) -> int | None:
        """The id of this very schema under a subject, whatever else is registered there; None if it is not."""
        answer = self._call(
            "POST", f"/subjects/{subject}", {"schema": json.dumps(avro), "schemaType": "AVRO"}
        )
        if _error_code(answer) in (SUBJECT_NOT_FOUND, SCHEMA_NOT_FOUND) or answer.status_code == 422:
            return None  # 422: it is none that the registry could have
        return self._read(answer, lambda found: int(found["id"]))

    def schemas(self, subject: str) -> list[RegisteredSchema]:
        """All versions under a subject, oldest first."""
        return [self.schema(subject, version) for version in self.versions(subject)]

    def _read(self, answer: httpx.Response, form: Callable[[Any], T]) -> T:
        """The answer's content. Raises Unavailable for any that is not the API's: a proxy, a registry that starts."""
        try:
            if answer.status_code == 200:
                return form(answer.json())
        except (ValueError, KeyError, TypeError):
            pass
        raise Unavailable(
            f"expected an answer of the Confluent API from {answer.url}; saw {answer.status_code}: "
            f"{answer.text[:200]!r}. See whether KAFKA_SCHEMA_REGISTRY is the registry's address and it is ready"
        )


def _records(known: Iterable[RegisteredSchema]) -> list[Mapping[str, Any]]:
    """Those that have fields."""
    return [record for each in known if (record := record_of(each.avro))]


def _error_code(answer: httpx.Response) -> int | None:
    """What the API says about a 404."""
    if answer.status_code != 404:
        return None
    try:
        return answer.json()["error_code"]
    except (ValueError, KeyError, TypeError):
        return None


def subject(settings: Settings, topic: str) -> str:
    """The subject of a topic's values."""
    return f"{settings.topic_prefix}{topic}-value"


class TopicSchemas:
    """The schemas that the registry lists under each topic. One never changes, so each is read once."""

    def __init__(self, settings: Settings, timeout: float = TIMEOUT) -> None:
        self._settings = settings
        self._registry = Registry(settings.kafka_schema_registry, timeout)
        self._read: dict[tuple[str, int], RegisteredSchema] = {}
        self._texts: dict[tuple[str, int], str] = {}

    def of(self, topic: str) -> list[RegisteredSchema]:
        """All that are listed now or were before (records of them stay), oldest first. Raises Unavailable."""
        if not self.listed(topic):
            return []
        name = subject(self._settings, topic)
        return [self._read[key] for key in sorted(self._read) if key[0] == name]

    def listed(self, topic: str) -> list[RegisteredSchema]:
        """Those that are listed now, oldest first. Raises Unavailable."""
        name = subject(self._settings, topic)
        versions = self._registry.versions(name)
        for version in versions:
            if (name, version) not in self._read:
                schema = self._registry.schema(name, version)
                self._texts[name, version] = schema.avro
                self._read[name, version] = self._with_names(name, schema)
        return [self._read[name, version] for version in versions]

    def _with_names(self, name: str, schema: RegisteredSchema) -> RegisteredSchema:
        """With the names that its fields had before, where it does not list them.

        Deleted versions count, so that it does not matter who has seen which.
        """
        if (newer := record_of(schema.avro)) is None:
            return schema
        versions = sorted(n for n in self._registry.versions(name, deleted=True) if n < schema.version)
        earlier = [record for n in versions if (record := record_of(self._text(name, n)))]
        named = with_former_names(earlier, newer)
        return schema if named is newer else replace(schema, avro=json.dumps(named))

    def _text(self, name: str, version: int) -> str:
        """As it was registered."""
        if (name, version) not in self._texts:
            self._texts[name, version] = self._registry.schema(name, version, deleted=True).avro
        return self._texts[name, version]

    def close(self) -> None:
        self._registry.close()


def register_contracts(settings: Settings) -> dict[str, int]:
    """Register every contract; returns topic → schema id. Safe to repeat: ids stay.

    Raises ContractError if the registry refuses one, after it was asked for all.
    """
    registry, ids, refused = Registry(settings.kafka_schema_registry), {}, []
    try:
        for topic, contract in CONTRACTS.items():
            try:
                # What is read by the contract finds its fields by any name that both have.
                ids[topic] = registry.register(subject(settings, topic), contract.avro, all_names=False)
            except ContractError as error:
                refused.append(str(error))
    finally:
        registry.close()
    if refused:
        raise ContractError("\n".join(refused))
    return ids


def schema_ids(settings: Settings, topics: Iterable[str] | None = None) -> dict[str, int]:
    """Topic → id of the contract's own schema, which need not be the newest; `topics` None means all.

    Raises ContractError if one has none.
    """
    registry = Registry(settings.kafka_schema_registry)
    try:
        ids = {}
        for topic in CONTRACTS if topics is None else topics:
            schema_id = registry.id_of(subject(settings, topic), CONTRACTS[topic].avro)
            if schema_id is None:
                raise ContractError(
                    f"expected the contract's schema of {topic} in the registry; saw none that is the same: "
                    "run `dataflow up` first; if it runs, `python -m infra.bootstrap` says why the registry does not "
                    "take it"
                )
            ids[topic] = schema_id
        return ids
    finally:
        registry.close()
