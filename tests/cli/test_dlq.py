"""`dataflow dlq list` finds every refused record once, whatever was written how often and by whom."""

import json
import sys

import pytest
from confluent_kafka import Producer

from dataflow import code_of
from dataflow.main import OK, USAGE
from infra.code import keep
from infra.generations import change_generations
from infra.settings import Settings
from sources.codec import EventCodec
from tests.cli.kit import T0, DeadLetterWriter, Shell, listed, order, shown
from tests.generation_kit import begin_beside

MINUTE = 60_000_000


def test_the_newest_come_first_each_once_however_often_it_was_written(
    shell: Shell, environment: Settings, letters: DeadLetterWriter
) -> None:
    for _ in range(3):
        for n in range(5):
            letters.write(("orders", n % 2, n), b"x", ["too_short"], at=T0 + n * MINUTE)
    letters.write(("orders", 0, 2), b"x", ["too_short"], at=T0 + 2 * MINUTE)
    letters.flush()
    assert listed(shell) == ["orders/0/4", "orders/1/3", "orders/0/2", "orders/1/1", "orders/0/0"]
    assert listed(shell, "--limit", "2") == ["orders/0/4", "orders/1/3"]
    assert json.loads(shell.out)["more"] is True
    assert shown(shell, "orders/0/2")["copies"] == 4
    place = {"topic": f"{environment.dataflow_env}.g1.events.dead_letter", "partition": 0, "offset": 9}
    assert json.loads(shell.out)["dead_letter"] == place


def test_a_records_own_headers_are_shown_unless_they_may_name_somebody(
    shell: Shell, letters: DeadLetterWriter
) -> None:
    own = [("trace", b"a-1"), ("redriven_from", b"orders/0/0"), ("none", None)]
    for topic in ("products", "customers"):
        letters.write((topic, 0, 1), b"x", ["too_short"], own=own)
    letters.flush()
    whole = [("trace", "a-1"), ("redriven_from", "orders/0/0"), ("none", None)]
    masked = [("trace", "***"), *whole[1:]]

    def told(name: str, *arguments: str) -> list[tuple[str, str | None]]:
        return [(each["name"], each["value"]) for each in shown(shell, name, *arguments)["headers"]]

    assert (told("products/0/1"), told("customers/0/1"), told("customers/0/1", "--bytes")) == (
        whole,
        masked,
        whole,
    )
    assert shell.run("dlq", "show", "customers/0/1") == OK
    assert "Headers\n  trace          ***\n" in shell.out


def test_filters_and_summary_agree(shell: Shell, letters: DeadLetterWriter) -> None:
    letters.write(("orders", 0, 1), b"x", ["too_short"], at=T0)
    letters.write(("orders", 0, 2), b"x", ["status_allowed", "op_allowed"], at=T0 + MINUTE)
    letters.write(("payments", 1, 3), b"x", ["status_allowed"], at=T0 + 2 * MINUTE)
    # judged again under other rules: the newer verdict stands
    letters.write(("orders", 0, 1), b"x", ["wrong_magic_byte"], at=T0)
    letters.flush()
    assert listed(shell, "--topic", "orders") == ["orders/0/2", "orders/0/1"]
    assert listed(shell, "--reason", "status_allowed") == ["payments/1/3", "orders/0/2"]
    assert listed(shell, "--reason", "too_short") == []
    assert listed(shell, "--since", "2026-05-17T09:31:00Z") == ["payments/1/3", "orders/0/2"]
    assert listed(shell, "--since", "2026-05-17T09:31", "--until", "2026-05-17T11:32:00+02:00") == [
        "orders/0/2"
    ]
    assert listed(shell, "--since", "1h") == []
    assert shell.run("dlq", "list", "--summary", "--json") == OK
    document = json.loads(shell.out)
    assert document["letters"] == 3
    assert {(r["source_topic"], r["reason"]): r["letters"] for r in document["summary"]} == {
        ("orders", "op_allowed"): 1,
        ("orders", "status_allowed"): 1,
        ("orders", "wrong_magic_byte"): 1,
        ("payments", "status_allowed"): 1,
    }
    assert shell.run("dlq", "list", "--summary", "--topic", "orders") == OK
    assert shell.out.startswith("2 dead letters")
    assert "A letter with several reasons counts under each." in shell.out


def test_the_table_names_place_time_reasons_and_size(shell: Shell, letters: DeadLetterWriter) -> None:
    letters.write(("orders", 1, 7), b"x" * 4096, ["too_large"], size=300_000)
    letters.flush()
    assert shell.run("dlq", "list") == OK
    row = next(line for line in shell.out.splitlines() if line.startswith("orders/1/7"))
    assert row.split() == ["orders/1/7", "2026-05-17T09:30:00.000000Z", "too_large", "300,000+"]


def test_an_environment_without_dead_letters_says_so(shell: Shell, environment: Settings) -> None:
    assert shell.run("dlq", "list") == OK
    assert "no such dead letters" in shell.out
    assert listed(shell) == []
    assert shell.run("dlq", "list", "--summary") == OK
    assert "0 dead letters" in shell.out


def test_a_reason_that_is_misspelt_is_told_as_such(shell: Shell, environment: Settings) -> None:
    assert shell.run("dlq", "list", "--topic", "orders", "--reason", "total_amount_minimun") == OK
    assert "did you mean total_amount_minimum?" in shell.out
    assert shell.run("dlq", "list", "--reason", "???") == OK
    assert "rules of now are" in shell.out
    # It may be a mapping's own, or that of a rule that was, so it is asked for all the same; one that is right is not.
    assert shell.run("dlq", "list", "--reason", "undecodable") == OK
    assert "no rule of now" not in shell.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--topic", "order"),
        ("--reason", ""),
        ("--reason", "two words"),
        ("--topic", "import:"),
        ("--partition", "-1"),
        ("--topic", "orders", "--partition", "0", "--offsets", "4-2"),
        ("--since", "yesterday"),
        ("--limit", "0"),
        ("--since", "2026-01-02", "--until", "2026-01-01"),
    ],
    ids=" ".join,
)
def test_wrong_filters_are_wrong_usage(arguments: tuple[str, ...], shell: Shell) -> None:
    assert shell.run("dlq", "list", *arguments) == USAGE


def test_what_a_record_holds_cannot_steer_the_terminal(
    shell: Shell, letters: DeadLetterWriter, codec: EventCodec
) -> None:
    key, value = codec.encode("orders", order(source="\x1b[2Jgone"))
    letter = letters.write(("orders", 0, 1), value, ["\x1b[31mred"], key=key)
    letters.flush()
    for arguments in (("list",), ("list", "--summary"), ("show", letter)):
        assert shell.run("dlq", *arguments) == OK
        assert "\x1b" not in shell.out
        assert "\\x1b[" in shell.out


def test_transactions_of_somebody_else_neither_stop_nor_fool_the_reading(
    shell: Shell, environment: Settings, letters: DeadLetterWriter
) -> None:
    letters.write(("orders", 0, 1), b"x", ["too_short"])
    letters.flush()
    producer = Producer(
        {
            "bootstrap.servers": environment.kafka_bootstrap_servers,
            "transactional.id": environment.dataflow_env,
            "log_level": 2,
        }
    )
    producer.init_transactions(30)
    for name, end in (
        (b"orders/0/2", producer.commit_transaction),
        (b"orders/0/3", producer.abort_transaction),
    ):
        producer.begin_transaction()
        producer.produce(letters.topic, b"x", name, 0, headers=[("source_topic", b"orders")])
        producer.flush(30)
        end(30)
    # without the headers of a time its own is taken, which is newer
    assert listed(shell) == ["orders/0/2", "orders/0/1"]


def test_letters_from_when_all_were_in_one_topic_are_those_of_the_generation_that_they_name(
    shell: Shell, environment: Settings, letters: DeadLetterWriter, monkeypatch
) -> None:
    begin_beside(environment)
    for n, writer in enumerate(
        (
            letters,
            DeadLetterWriter(environment, "g1", shared=True),
            DeadLetterWriter(environment, "g2", shared=True),
        )
    ):
        writer.write(("orders", 1, n), b"x", ["too_short"], at=T0 + n)
        writer.flush()
    assert listed(shell) == ["orders/1/1", "orders/1/0"]
    assert json.loads(shell.out)["generation"] == "g1"
    assert (
        shown(shell, "orders/1/1")["dead_letter"]["topic"] == f"{environment.dataflow_env}.events.dead_letter"
    )
    monkeypatch.setenv("DATAFLOW_GENERATION", "2")
    assert listed(shell) == ["orders/1/2"]
    assert shell.run("dlq", "list", "--summary") == OK
    assert shell.out.startswith(f"1 dead letters in environment {environment.dataflow_env}, generation g2")


@pytest.mark.parametrize("command", [("list",), ("redrive", "--dry-run")])
def test_a_topic_that_only_the_code_of_the_generation_has_is_left_to_that(
    shell: Shell, environment: Settings, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """A contract was taken out of the tree: letters of its topic are there all the same."""
    started = []
    monkeypatch.setattr(
        code_of.os, "execve", lambda program, line, environ: started.append(environ) or sys.exit(OK)
    )
    assert shell.run("dlq", *command, "--topic", "returns") == USAGE
    assert "expected one of" in shell.err
    code = keep(environment)
    change_generations(
        environment,
        lambda _: {
            "g1/code": {"digest": code.digest, "declared": {**code.declared, "contract returns": "as it was"}}
        },
    )
    with pytest.raises(SystemExit):
        shell.run("dlq", *command, "--topic", "returns")
    assert [environ[code_of.RUNS_BY] for environ in started] == [code.digest]
    # It is started once: there, too, the topic may be an unknown one.
    monkeypatch.setenv(code_of.RUNS_BY, code.digest)
    assert shell.run("dlq", *command, "--topic", "nonsense") == USAGE
    assert len(started) == 1
