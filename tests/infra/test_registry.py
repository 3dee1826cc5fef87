"""The registry's client: ids of the contracts' own schemas, and trouble that is told apart from "nothing there"."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from infra.registry import COMPATIBILITY, Registry, TopicSchemas, register_contracts, schema_ids, subject
from schemas.contract import CONTRACTS
from schemas.errors import ContractError, Unavailable

Answer = tuple[int, bytes]
UNKNOWN_SUBJECT = (404, b'{"error_code": 40401, "message": "no such subject"}')


@pytest.fixture
def registry() -> Iterator[tuple[Registry, list[Answer]]]:
    """A client, and the one answer that its server gives to everything."""
    given: list[Answer] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = given[-1]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    client = Registry(f"http://127.0.0.1:{server.server_port}")
    yield client, given
    client.close()
    server.shutdown()
    thread.join()
    server.server_close()


def test_only_an_unknown_subject_has_no_versions(registry) -> None:
    client, given = registry
    given.append(UNKNOWN_SUBJECT)
    assert client.versions("s") == []
    assert client.id_of("s", {}) is None
    given.append((200, b"[1, 2]"))
    assert client.versions("s") == [1, 2]


@pytest.mark.parametrize(
    "answer",
    [
        (404, b"<html>no such page</html>"),
        (404, b"[]"),
        (401, b""),
        (429, b"{}"),
        (500, b""),
        (200, b"<html>welcome</html>"),
        (200, b'{"id": null}'),
    ],
)
def test_any_other_answer_is_trouble_that_may_pass(registry, answer: Answer) -> None:
    client, given = registry
    given.append(answer)
    with pytest.raises(Unavailable):
        client.versions("s")
    with pytest.raises(Unavailable):
        client.schema("s", 1)
    with pytest.raises(Unavailable):
        client.id_of("s", {})


def test_a_newer_schema_changes_no_id_of_the_contracts(settings) -> None:
    with pytest.raises(ContractError, match=r"python -m infra\.bootstrap"):
        schema_ids(settings)
    ids = register_contracts(settings)
    client, name = Registry(settings.kafka_schema_registry), subject(settings, "reviews")
    newer = json.loads(CONTRACTS["reviews"].avro_json)
    newer["fields"].append({"name": "helpful", "type": ["null", "int"], "default": None})
    assert client.versions(subject(settings, "nothing")) == []
    assert client.id_of(name, newer) is None
    newer_id = client.register(name, newer)
    assert client.schema(name, max(client.versions(name))).schema_id == newer_id != ids["reviews"]
    client.close()
    assert schema_ids(settings) == ids
    assert register_contracts(settings) == ids


Spec = dict[str, object]
A: Spec = {"name": "a", "type": "string"}


def of(*fields: Spec) -> dict:
    return {"type": "record", "name": "x", "fields": list(fields)}


def past_us(settings, name: str, avro: dict) -> None:
    """Register by the registry's own API, as any other client does."""
    url = f"{settings.kafka_schema_registry}/subjects/{name}/versions"
    httpx.post(
        url, json={"schema": json.dumps(avro), "schemaType": "AVRO"}, trust_env=False
    ).raise_for_status()


def test_a_schema_has_to_read_the_records_of_all_versions_and_not_of_the_newest_alone(settings) -> None:
    client, name = Registry(settings.kafka_schema_registry), subject(settings, "x")
    b, filled = {"name": "b", "type": "int"}, {"name": "b", "type": "int", "default": 0}
    for fine in (of(A), of(A, filled)):
        assert client.objections(name, fine) == []
        client.register(name, fine)
    # It reads those of the newest version, which have b, but not those of the first.
    assert client.objections(name, of(A, b)) != []
    with pytest.raises(ContractError, match="refuses"):
        client.register(name, of(A, b))
    client.close()


def test_a_rename_that_forgets_a_name_is_refused(settings) -> None:
    client, name = Registry(settings.kafka_schema_registry), subject(settings, "x")
    first, second = {"name": "b", "type": "int", "default": 0}, {"name": "c", "type": "int", "default": 0}
    third = {"name": "d", "type": "int", "default": 0, "aliases": ["c"]}
    client.register(name, of(A, first))
    old = client.register(name, of(A, {**second, "aliases": ["b"]}))
    # Without its alias a registry may take it for the same.
    for all_names in (True, False):
        with pytest.raises(ContractError, match="c was called b"):
            client.register(name, of(A, second), all_names=all_names)
    assert any("c was called b" in why for why in client.objections(name, of(A, second)))
    assert client.objections(name, of(A, third)) == [
        "d was called b before: whoever looks for it by that name would find nothing, "
        "so its aliases have to be c, b"
    ]
    with pytest.raises(ContractError, match="d was called b before"):
        client.register(name, of(A, third))
    assert client.register(name, of(A, {**third, "aliases": ["c", "b"]})) > old
    # The first one with a default is no longer the first one: who reads by it finds nothing in records of the second.
    with pytest.raises(ContractError, match="b was called"):
        client.register(name, of(A, {**first, "default": 1}))
    # What is registered already says so again, whatever came after it.
    assert client.register(name, of(A, {**second, "aliases": ["b"]})) == old
    client.close()


def test_where_somebody_else_registered_one_that_does_its_field_has_all_names_all_the_same(settings) -> None:
    name = subject(settings, "x")
    past_us(settings, name, of(A, {"name": "b", "type": "int", "default": 0}))
    past_us(settings, name, of(A, {"name": "c", "type": "int", "default": 0, "aliases": ["b"]}))
    past_us(settings, name, of(A, {"name": "d", "type": "int", "default": 0, "aliases": ["c"]}))
    schemas = TopicSchemas(settings)
    *_, newest = schemas.of("x")
    schemas.close()
    assert json.loads(newest.avro)["fields"][1]["aliases"] == ["c", "b"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, COMPATIBILITY),
        ("NONE", COMPATIBILITY),
        ("BACKWARD", COMPATIBILITY),
        ("FULL", "FULL_TRANSITIVE"),
        ("FULL_TRANSITIVE", "FULL_TRANSITIVE"),
    ],
)
def test_what_is_stricter_stays_so(settings, before: str | None, after: str) -> None:
    name = subject(settings, "x")
    url = f"{settings.kafka_schema_registry}/config/{name}"
    client = Registry(settings.kafka_schema_registry)
    client.register(name, of(A))
    if before is not None:
        httpx.put(url, json={"compatibility": before}, trust_env=False).raise_for_status()
    client.register(name, of(A))
    told = httpx.get(url, params={"defaultToGlobal": "true"}, trust_env=False).json()
    assert told["compatibilityLevel"] == after
    client.close()


def test_a_deleted_version_still_says_what_a_field_was_called(settings) -> None:
    """Whoever was there when it was listed and who comes later read the same."""
    name = subject(settings, "x")
    past_us(settings, name, of(A, {"name": "b", "type": "int", "default": 0}))
    past_us(settings, name, of(A, {"name": "c", "type": "int", "default": 0, "aliases": ["b"]}))
    early = TopicSchemas(settings)
    assert len(early.of("x")) == 2
    url = f"{settings.kafka_schema_registry}/subjects/{name}/versions"
    httpx.delete(f"{url}/2", trust_env=False).raise_for_status()
    past_us(settings, name, of(A, {"name": "d", "type": "int", "default": 0, "aliases": ["c"]}))
    late = TopicSchemas(settings)
    found = [schemas.of("x")[-1] for schemas in (early, late)]
    assert found[0] == found[1]
    assert json.loads(found[0].avro)["fields"][1]["aliases"] == ["c", "b"]
    early.close()
    late.close()


def test_a_schema_of_another_kind_under_the_subject_stops_nobody(settings) -> None:
    name = subject(settings, "x")
    body = {"schema": 'syntax = "proto3"; message x { string a = 1; }', "schemaType": "PROTOBUF"}
    url = f"{settings.kafka_schema_registry}/subjects/{name}/versions"
    httpx.post(url, json=body, trust_env=False).raise_for_status()
    schemas, client = TopicSchemas(settings), Registry(settings.kafka_schema_registry)
    assert [each.avro.startswith("syntax") for each in schemas.of("x")] == [True]
    assert client.objections(name, of(A)) != []
    schemas.close()
    client.close()


def test_a_schema_that_the_registry_cannot_read_is_refused_and_not_tried_for_ever(settings) -> None:
    client, name = Registry(settings.kafka_schema_registry), subject(settings, "x")
    client.register(name, of(A))
    with pytest.raises(ContractError, match="refuses the schema"):
        client.register(name, of(A, {"name": "b", "type": "int", "default": "no number"}))
    client.close()
