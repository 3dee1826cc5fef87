"""`dataflow schemas` says before it is registered whether a schema would do, and why not."""

import json
import random
import sys
from pathlib import Path

import pytest

from dataflow import code_of
from dataflow.main import FAILED, OK, USAGE
from infra.code import keep
from infra.generations import change_generations
from infra.settings import Settings
from schemas.contract import CONTRACTS
from tests.chaos.evolving import CHANGES, next_version
from tests.cli.kit import Shell


def schema_file(path: Path, **changes: dict | None) -> str:
    """The schema of orders with fields replaced, added or (None) dropped."""
    schema = json.loads(CONTRACTS["orders"].avro_json)
    specs = {spec["name"]: spec for spec in schema["fields"]}
    for name, change in changes.items():
        if change is None:
            del specs[name]
        else:
            specs[name] = {**specs.get(name, {"name": name}), **change}
    file = path / "orders.avsc"
    file.write_text(json.dumps({**schema, "fields": list(specs.values())}))
    return str(file)


def checked(shell: Shell, file: str) -> tuple[int, dict]:
    status = shell.run("schemas", "check", file, "--json")
    return status, json.loads(shell.out)


def test_what_may_come_next_passes_and_is_registered_once(
    shell: Shell, environment: Settings, tmp_path: Path
) -> None:
    file = schema_file(tmp_path, gift={"type": ["null", "string"], "default": None})
    assert checked(shell, file) == (OK, {"topic": "orders", "fits": True, "registry": [], "contract": None})
    assert shell.run("schemas", "list", "--json") == OK
    before = json.loads(shell.out)["schemas"]
    assert {row["topic"] for row in before} == set(CONTRACTS)
    ids = set()
    for _ in range(2):
        assert shell.run("schemas", "register", file, "--json") == OK
        ids.add(json.loads(shell.out)["id"])
    assert len(ids) == 1
    assert shell.run("schemas", "list", "--json") == OK
    [new] = [row for row in json.loads(shell.out)["schemas"] if row not in before]
    assert (new["topic"], new["version"], new["id"], new["objection"]) == ("orders", 2, *ids, None)


def test_what_the_registry_takes_for_one_that_it_has_is_not_said_to_be_registered(
    shell: Shell, environment: Settings, tmp_path: Path
) -> None:
    file = schema_file(tmp_path, status={"aliases": ["state"]})
    assert shell.run("schemas", "register", file, "--json") == OK
    told = json.loads(shell.out)
    assert shell.run("schemas", "list", "--json") == OK
    versions = [row["version"] for row in json.loads(shell.out)["schemas"] if row["topic"] == "orders"]
    assert (told["registered"], len(versions)) in ((True, 2), (False, 1))
    assert shell.run("schemas", "register", file) == OK
    assert ("nothing was registered" in shell.out) is not told["registered"]


@pytest.mark.parametrize("kind", CHANGES)
def test_each_kind_of_change_that_old_records_are_read_with_passes(
    shell: Shell, environment: Settings, tmp_path: Path, kind: str
) -> None:
    topic = "reviews"  # which has something for each kind
    before = json.loads(CONTRACTS[topic].avro_json)
    made, schema = next_version(topic, before, 1, random.Random(1), set(CHANGES) - {kind})
    assert made == kind
    file = tmp_path / "reviews.avsc"
    file.write_text(json.dumps(schema))
    assert checked(shell, str(file)) == (OK, {"topic": topic, "fits": True, "registry": [], "contract": None})
    assert shell.run("schemas", "register", str(file)) == OK
    # The way back is none: what was written with it is not read without it, or is, and then that passes too.
    back = tmp_path / "back.avsc"
    back.write_text(json.dumps(before))
    status, document = checked(shell, str(back))
    assert document["fits"] is (kind in ("added", "given a default"))
    assert (status == OK) is document["fits"]


def test_what_old_records_cannot_be_read_with_is_refused_with_the_reason(
    shell: Shell, environment: Settings, tmp_path: Path
) -> None:
    file = schema_file(tmp_path, gift={"type": "string"})
    status, document = checked(shell, file)
    assert (status, document["fits"], document["contract"]) == (FAILED, False, None)
    assert document["registry"] == [
        "gift has no default, and old records have no such field (nor one of its aliases)"
    ]
    assert shell.run("schemas", "register", file) == FAILED
    assert "as the next version of" in shell.err
    assert "gift has no default, and old records have no such field" in shell.err
    assert shell.run("schemas", "check", file) == FAILED
    assert "readers with it read old records: no" in shell.out


def test_what_the_running_contract_cannot_read_is_refused_before_a_record_is(
    shell: Shell, environment: Settings, tmp_path: Path
) -> None:
    file = schema_file(tmp_path, status=None)
    status, document = checked(shell, file)
    assert (status, document["fits"], document["registry"]) == (FAILED, False, [])
    assert "status" in document["contract"]
    assert shell.run("schemas", "register", file) == FAILED
    assert "all its records would be refused" in shell.err


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("customer_id", {"type": "string", "default": ""}, "customer_id was optional"),
        ("status", {"type": "int"}, "status was string"),
    ],
)
def test_another_type_is_refused_by_name(
    shell: Shell, environment: Settings, tmp_path: Path, name: str, change: dict, reason: str
) -> None:
    status, document = checked(shell, schema_file(tmp_path, **{name: change}))
    assert status == FAILED
    assert any(reason in each for each in document["registry"]), document


RECORD = '{"type": "record", "name": "x", "fields": [{"name": "a", "type": "string"}]'


@pytest.mark.parametrize("command", ["check", "register"])
@pytest.mark.parametrize("topic", [(), ("--topic", "orders")], ids=["", "topic"])
@pytest.mark.cases(8)
def test_what_is_no_schema_of_a_topic_says_what_was_expected(
    shell: Shell, environment: Settings, tmp_path: Path, topic: tuple[str, ...], command: str
) -> None:
    file = tmp_path / "x.avsc"
    for text in (
        "{", "", "5", "null", '"string"', '["null", "string"]', "[1]", '{"type": "record", "name": "x"}',
        '{"type": "enum", "name": "x", "symbols": ["A"]}', RECORD + ', "dataflow.topic": ["orders"]}',
    ):  # fmt: skip
        file.write_text(text)
        assert shell.run("schemas", command, str(file), *topic) in (FAILED, USAGE), text
        assert "expected" in shell.err + shell.out, text


def test_the_contract_that_is_asked_is_the_running_one_and_not_that_of_the_files(
    shell: Shell, environment: Settings, tmp_path: Path, monkeypatch
) -> None:
    """Somebody has edited a contract: what the live generation reads is what it was made by."""
    code = keep(environment)
    edited = {"digest": code.digest, "declared": {**code.declared, "contract orders": "as it was"}}
    change_generations(environment, lambda _: {"g1/code": edited})
    started = []
    monkeypatch.setattr(
        code_of.os, "execve", lambda program, line, environ: started.append(environ) or sys.exit(OK)
    )
    for command in (("list",), ("check", schema_file(tmp_path)), ("register", schema_file(tmp_path))):
        with pytest.raises(SystemExit):
            shell.run("schemas", *command)
    assert [environ[code_of.RUNS_BY] for environ in started] == [code.digest] * 3
