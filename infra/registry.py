"""The schema registry, through its Confluent-compatible REST API: register the contracts, look up ids.

Reads and writes subjects `<topic>-value`. Registration is slow (8-26 a second), so ids are looked up once and kept.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from infra.settings import Settings
from schemas.contract import CONTRACTS
from schemas.errors import ContractError, Unavailable

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
COMPATIBILITY = "BACKWARD"


@dataclass(frozen=True)
class RegisteredSchema:
    """A schema under a subject: the id that records carry, and its text."""

    schema_id: int
    version: int
    avro: str


class Registry:
    """A client of one registry. Raises Unavailable while it does not answer, ContractError if it refuses a schema."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url, timeout=20, headers={"Content-Type": MEDIA_TYPE}, trust_env=False
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

    def register(self, subject: str, avro: Mapping) -> int:
        """Register a schema under a subject with BACKWARD compatibility; returns its id, the same one every time."""
        self._call("PUT", f"/config/{subject}", {"compatibility": COMPATIBILITY})
        answer = self._call(
            "POST", f"/subjects/{subject}/versions", {"schema": json.dumps(avro), "schemaType": "AVRO"}
        )
        if answer.status_code != 200:
            raise ContractError(
                f"the registry refuses the schema of {subject} ({answer.status_code}): {answer.text[:500]}; "
                "change it so that a reader with the new schema can read old records (a new field needs a default)"
            )
        return int(answer.json()["id"])

    def versions(self, subject: str) -> list[int]:
        answer = self._call("GET", f"/subjects/{subject}/versions")
        return [int(v) for v in answer.json()] if answer.status_code == 200 else []

    def schema(self, subject: str, version: int) -> RegisteredSchema:
        answer = self._call("GET", f"/subjects/{subject}/versions/{version}")
        if answer.status_code != 200:
            raise Unavailable(
                f"the registry lists version {version} of {subject} but answers {answer.status_code} for it"
            )
        found = answer.json()
        return RegisteredSchema(int(found["id"]), int(found["version"]), found["schema"])

    def schemas(self, subject: str) -> list[RegisteredSchema]:
        """All versions under a subject, oldest first."""
        return [self.schema(subject, version) for version in self.versions(subject)]


def subject(settings: Settings, topic: str) -> str:
    """The subject of a topic's values."""
    return f"{settings.topic_prefix}{topic}-value"


def register_contracts(settings: Settings) -> dict[str, int]:
    """Register every contract; returns topic → schema id. Safe to repeat: ids stay."""
    registry = Registry(settings.kafka_schema_registry)
    try:
        return {
            topic: registry.register(subject(settings, topic), contract.avro)
            for topic, contract in CONTRACTS.items()
        }
    finally:
        registry.close()


def schema_ids(settings: Settings) -> dict[str, int]:
    """Topic → id of the contract's newest registered schema. Raises ContractError if a topic has none."""
    registry = Registry(settings.kafka_schema_registry)
    try:
        ids = {}
        for topic in CONTRACTS:
            found = registry.versions(subject(settings, topic))
            if not found:
                raise ContractError(
                    f"no schema is registered for {topic}: run `dataflow up` or `python -m infra.bootstrap` first"
                )
            ids[topic] = registry.schema(subject(settings, topic), max(found)).schema_id
        return ids
    finally:
        registry.close()
