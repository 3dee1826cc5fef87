"""Declarations of a user's own that do not fit are refused in one line: which file, what was expected and seen."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.contract import CONTRACTS, load_contract
from schemas.errors import ContractError
from schemas.extension import own_declarations, own_directory, own_topics
from schemas.metric import Active, Count, Derived, Dimension, Funnel, Metric, Rollup, Sum
from schemas.metric_check import check_all
from schemas.metrics import DIMENSIONS, METRICS
from serving.api.parameters import ROWS, TOP

ROOT = Path(__file__).parents[2]
Fields = dict[str, dict[str, Any]]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The example, to be damaged."""
    return shutil.copytree(ROOT / "examples" / "returns", tmp_path / "own")


def load(directory: Path) -> list[str]:
    """Take in a directory as the import of `schemas` does."""
    topics = own_topics(directory, CONTRACTS)
    for topic in topics:
        load_contract(topic, directory)
    return topics


def dataflow(directory: Path, *arguments: str) -> subprocess.CompletedProcess:
    environ = os.environ | {"DATAFLOW_CONTRACTS": str(directory), "DATAFLOW_HOME": str(directory / "home")}
    return subprocess.run(
        [sys.executable, "-m", "dataflow", *arguments],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip


def change_schema(directory: Path, change: Callable[[dict[str, Any], Fields], Any]) -> None:
    path = directory / "avro" / "returns.avsc"
    avro = json.loads(path.read_text())
    fields = {spec["name"]: spec for spec in avro["fields"]}
    change(avro, fields)
    avro["fields"] = list(fields.values())
    path.write_text(json.dumps(avro))


def test_the_example_is_taken_in(own: Path) -> None:
    assert load(own) == ["returns"]
    file, metrics, dimensions = own_declarations(own)
    assert (file, [m.name for m in metrics], dimensions) == (own / "metrics.py", ["returns"], ())


class TestDirectory:
    def test_is_looked_up_like_a_setting(self, own: Path, tmp_path: Path) -> None:
        file = tmp_path / "env"
        file.write_text(f"DATAFLOW_CONTRACTS={own}\n")
        other = shutil.copytree(own, tmp_path / "other")
        from_file = {"DATAFLOW_ENV_FILE": str(file)}
        assert own_directory(from_file) == own
        assert own_directory(from_file | {"DATAFLOW_CONTRACTS": ""}) == own
        assert own_directory(from_file | {"DATAFLOW_CONTRACTS": str(other)}) == other
        assert own_directory({"DATAFLOW_ENV_FILE": ""}) is None

    def test_that_is_none_is_refused(self, tmp_path: Path) -> None:
        for path, seen in ((tmp_path / "no", "none of that name"), (tmp_path, "no avro/ in it")):
            with pytest.raises(
                ContractError, match=f"DATAFLOW_CONTRACTS={path}: expected a directory.*{seen}"
            ):
                own_directory({"DATAFLOW_CONTRACTS": str(path), "DATAFLOW_ENV_FILE": ""})

    def test_without_a_contract_is_refused(self, own: Path) -> None:
        (own / "avro" / "returns.avsc").unlink()
        with pytest.raises(ContractError, match=r"avro: expected a file <topic>\.avsc"):
            load(own)

    @pytest.mark.parametrize("name", ["orders", "Returns", "re-turns", "events.judged", "import", "group"])
    def test_names_that_are_taken_or_none_are_refused(self, own: Path, name: str) -> None:
        (own / "avro" / "returns.avsc").rename(own / "avro" / f"{name}.avsc")
        with pytest.raises(ContractError, match=f"{name}.avsc: expected .* saw '?{name}.*rename the file"):
            load(own)

    def test_rules_of_no_topic_are_refused(self, own: Path) -> None:
        (own / "rules" / "returns.yaml").rename(own / "rules" / "orders.yaml")
        with pytest.raises(ContractError, match=r"orders.yaml: expected rules of a topic of .*saw 'orders'"):
            load(own)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, f: a.update({"dataflow.key": "nobody"}), '"dataflow.key" must name one of the fields'),
        (lambda a, f: a.update({"dataflow.topic": "orders"}), '"dataflow.topic" to be \'returns\''),
        (lambda a, f: a.update(type="enum"), "expected an Avro record schema"),
        (lambda a, f: f.pop("source"), r"a change event \(it has a version\) needs .* missing \['source'\]"),
        (lambda a, f: (f.pop("version"), f.pop("occurred_at")), r"a fact .* missing \['occurred_at'\]"),
        (
            lambda a, f: f.pop("version"),
            r'"dataflow.entity_id" to be event_id, by which each fact .* saw \'return_id\'',
        ),
        (lambda a, f: f["cause"].update(name="when"), "SQL does not keep for itself, saw 'when'; .* such as when_"),
        (lambda a, f: f["version"].update(type="int"), "version: expected a long .* saw int"),
        (lambda a, f: f["return_id"].update(type=["null", "string"]), "return_id: expected a string .* saw"),
        (lambda a, f: f["return_id"].update(pii=True), r"return_id: .* not personal data, saw personal data"),
        (lambda a, f: f["cause"].update(name="Cause"), "name of lower-case letters"),
        (lambda a, f: f["cause"].update(name="state"), "each field once, saw state twice"),
        (lambda a, f: f["cause"].update(type="strin"), "fastavro refuses: UnknownType: .*strin"),
        (lambda a, f: f["cause"].update(type="double"), "cause: expected string, int, long, .* saw double"),
        (lambda a, f: f["refund"]["type"].update(precision=30), "at most 18 digits, saw precision 30"),
        (lambda a, f: f["refund"].update(default="\u0001"), "refund: expected no default"),
        (lambda a, f: f["cause"].update(one_of=["it's"]), "cause: expected one_of to be a list of texts"),
        (lambda a, f: f["cause"].update(one_of=[]), "cause: expected one_of to be a list of texts, .* saw \\[\\]"),
        (lambda a, f: f["cause"].update(one_of="abc"), "cause: expected one_of to be a list of texts, .* saw 'abc'"),
        (lambda a, f: f["cause"].update(format="uid"), "cause: expected format to be one of uuid, email, country"),
        (lambda a, f: f["cause"].update(max_lenght=5), "cause: .* saw max_lenght; did you mean max_length"),
        (lambda a, f: f["cause"].update(minimum=5), "cause: expected attributes of a string: .* saw minimum"),
        (lambda a, f: f["cause"].update(pii="no"), "cause: expected pii to be true or false, saw 'no'"),
        (lambda a, f: f["refund"].update(max_length=5), "refund: expected attributes of a decimal: .* saw max_length"),
        (lambda a, f: f["refund"].update(minimum="0"), "refund: expected minimum to be a number, .*saw '0'"),
        (lambda a, f: a.update({"dataflow.key": ["return_id"]}), '"dataflow.key" to be text'),
        (lambda a, f: a.update({"dataflow.topic": ["orders"]}), '"dataflow.topic" to be text'),
    ],
)  # fmt: skip
def test_a_schema_that_is_no_contract_is_refused(own: Path, change: Callable, message: str) -> None:
    change_schema(own, change)
    with pytest.raises(ContractError, match=f"(?s)returns.avsc.*{message}"):
        load(own)


def test_attributes_of_others_are_left_alone(own: Path) -> None:
    change_schema(own, lambda a, f: f["cause"].update({"acme.owner": ["returns team"]}))
    assert load(own) == ["returns"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: [", "expected YAML with a list under `rules`, saw"),
        ("other: 1", "expected YAML with a list under `rules`, saw KeyError"),
        (
            "rules: [{name: a}]",
            "every rule needs name, severity, expression, description; missing 'severity'",
        ),
        (
            "rules: [{name: a, severity: fatal, expression: '1 = 1', description: d}]",
            "one of reject, warn as its severity; saw 'a', 'fatal'",
        ),
        (
            "rules: [{name: a, severity: warn, expression: 'refun > 0', description: d}]",
            "rule a: unknown column 'refun'",
        ),
        ("rules: 5", "expected YAML with a list under `rules`, saw 5"),
        *(
            (f"rules: [{{name: a, severity: warn, expression: {expression}, description: d}}]", message)
            for expression, message in (
                ("5", "expected the expression and the description of a to be text; saw 5"),
                ("refund", "rule a: expected a boolean, saw a number, in 'refund'"),
                (
                    "\"announced_at >= '2026-01-01'\"",
                    "rule a: .*announced_at with the text '2026-01-01'.*a time is a",
                ),
                (
                    "state > 3",
                    "rule a: expected two of a kind to compare, saw the text state with the number 3",
                ),
                ("state AND refund = 0", "rule a: expected a boolean, saw the text state"),
                ("length(refund) > 1", "rule a: expected a text, saw the number refund"),
                ("\"refund IN (1, 'x')\"", "rule a: expected two of a kind to compare"),
                ("cause IN (state)", "rule a: expected IN with texts or numbers, saw state"),
                ("\"state RLIKE '('\"", "rule a: expected a regular expression, saw '\\('"),
                ("state RLIKE cause", "rule a: expected RLIKE with a pattern in quotes, saw cause"),
                ("refund + state > 0", "rule a: expected a number, saw the text state"),
                ("refund < 1e6", "rule a: expected a number without an exponent, saw 1e6"),
                (
                    "\"trim(BOTH 'x' FROM state) = 'a'\"",
                    "rule a: expected trim.text., which takes off spaces",
                ),
            )
        ),
    ],
)
def test_rules_that_are_none_are_refused(own: Path, text: str, message: str) -> None:
    (own / "rules" / "returns.yaml").write_text(text)
    with pytest.raises(ContractError, match=f"returns.*{message}"):
        load(own)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A = 1\nMETRICS = (B,)\n", "metrics.py, line 2: expected declarations, saw NameError"),
        ("METRICS = (\n", "metrics.py, line 1: expected declarations, saw SyntaxError"),
        ("METRICS = [1]\n", "expected METRICS to be a tuple, .* saw list"),
        ("OTHER = ()\n", "expected METRICS = .* saw no such name"),
    ],
)
def test_a_file_of_metrics_that_is_none_is_refused(own: Path, text: str, message: str) -> None:
    (own / "metrics.py").write_text(text)
    with pytest.raises(ContractError, match=message):
        own_declarations(own)


def metric(**changes: Any) -> Metric:
    declared = {
        "name": "late",
        "doc": "Orders.",
        "of": "orders",
        "at": "order_date",
        "measures": (Count("orders", "Orders."),),
    }
    return Metric(**{**declared, **changes})


STAGES = {"key": "session_id", "stage": "event_type", "stages": ("purchase",)}
EACH = {"name": "mine", "doc": "Mine."}
LINES = {"of": "order_items", "at": "created_at", "by": ("product_id",)}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("revenue", "expected each to be a Metric, Funnel or Active, saw 'revenue'"),
        (METRICS["events"], "expected each to be a Metric, Funnel or Active"),
        (METRICS["revenue"], "metric revenue: expected a name that is not taken yet"),
        (metric(name="Late"), "metric 'Late': expected a name of lower-case letters"),
        (metric(of="order"), "metric late: no topic 'order'; known: "),
        (metric(at="status"), "`at` must name a timestamp of orders, saw 'status'"),
        (metric(by=("land",)), "orders has no column 'land'"),
        (metric(by="status"), "expected `by` to be a tuple, saw 'status'"),
        (metric(measures=()), "expected something to measure"),
        (metric(measures=(Count("a", ""), Count("a", ""))), "each once, none 'start'; saw 'a'"),
        (metric(measures=(Count("start", ""),)), "each once, none 'start'; saw 'start'"),
        (metric(measures=(Count("a", "", unit="pieces"),)), "late.a: expected one of money, count, ratio"),
        (metric(measures=(Count("a", "", where="stat = 'x'"),)), "late.a: unknown column 'stat'"),
        (metric(measures=(Sum("a", "total_amount * total_amount", ""),)), "cannot have 4 decimals"),
        (metric(measures=(Sum("a", "status", "", unit="count"),)), "late.a: expected a number, saw a text"),
        (metric(measures=(Count("a", "", where="order_date > '2026-01-01'"),)), "late.a: .* two of a kind to compare"),
        (metric(measures=(Count("a", "", where="version"),)), "late.a: expected a boolean, saw a number"),
        (metric(measures=(Count("a", "", where="status RLIKE '('"),)), "late.a: expected a regular expression"),
        (metric(measures=(Count("a", "", where="shipping_address IS NULL"),)), "is personal data"),
        (metric(derived=(Derived("b", "orders / none", "", "ratio"),)), "late.b: unknown column 'none'"),
        (metric(derived=(Derived("b", "1 - orders / orders", "", "ratio"),)), "late.b: expected at most one division"),
        (metric(derived=(Derived("b", "orders / orders * 2", "", "ratio"),)), "late.b: expected at most one division"),
        (metric(derived=(Derived("b", "orders +", "", "count"),)), "late.b: expected a SQL expression"),
        (metric(rollups=(Rollup("category", "customer_id", "products"),)), "roll-up category needs"),
        (metric(by=("total_amount",)), "text or whole numbers, saw 'total_amount', which is a decimal"),
        (metric(by=("order_date",)), "text or whole numbers, saw 'order_date', which is a timestamp"),
        (
            metric(**LINES, rollups=(Rollup("price", "product_id", "products"),)),
            "saw 'price', which is a decimal",
        ),
        *(
            (metric(rollups=(Rollup(name, "status", "products"),)), f"called as a parameter .* saw '{name}'")
            for name in (*ROWS, *TOP)
        ),
        (metric(measures=(Sum("a", "version", "", unit="count"),)), "late.a: expected what one record adds"),
        (metric(measures=(Sum("a", "total_amount * 100", ""),)), "at most 92,233,720,368, .* may be 999,999,999,999"),
        (Funnel(**EACH, of="orders", at="order_date", **STAGES), "metric mine: orders has no column 'session_id'"),
        (
            Funnel(**EACH, of="clickstream", at="occurred_at", **{**STAGES, "key": "visitor_id"}),
            r"a funnel counts the Kafka keys \(session_id\)",
        ),
        (
            Active(**EACH, of="orders", at="order_date", keys={"methods": "payment_method"}),
            "metric mine: needs a topic of facts, orders is not one",
        ),
    ],
)  # fmt: skip
def test_a_metric_that_cannot_be_counted_is_refused(declared: Any, message: str) -> None:
    with pytest.raises(ContractError, match=f"own.py: .*{message}"):
        check_all((declared,), (), METRICS.values(), DIMENSIONS.values(), file="own.py")


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (Dimension("products", of="products", attributes=("name",)), "a name that is not taken yet"),
        (Dimension("clicks", of="clickstream", attributes=("page",)), "whose events have a version"),
        (Dimension("people", of="customers", attributes=("email",)), "email is personal data"),
    ],
)
def test_a_dimension_that_cannot_be_joined_is_refused(declared: Dimension, message: str) -> None:
    with pytest.raises(ContractError, match=f"own.py: dimension {declared.name}: .*{message}"):
        check_all((), (declared,), METRICS.values(), DIMENSIONS.values(), file="own.py")


@pytest.mark.parametrize("command", [("up",), ("metrics",), ("dlq", "list")])
def test_the_command_line_says_it_in_one_line(own: Path, command: tuple[str, ...]) -> None:
    shutil.copy(own / "avro" / "returns.avsc", own / "avro" / "orders.avsc")
    done = dataflow(own, *command)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(
        f"Error: {own}/avro/orders.avsc: expected the name of a topic that does not exist yet"
    )
