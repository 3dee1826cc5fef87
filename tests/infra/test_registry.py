"""The registry's client: ids of the contracts' own schemas, and trouble that is told apart from "nothing there"."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.registry import Registry, register_contracts, schema_ids, subject
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
