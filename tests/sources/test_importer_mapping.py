"""A mapping that does not fit is refused at load, with its place and what is known there; the documented one works."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from schemas.errors import ContractError
from sources.importer import Importer, MappingError, load_mapping
from tests.sources.importer_kit import HEADER, NOW, CollectingSink, run, varied, write_mapping

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("changes", "place", "message"),
    [
        ({"colour": "red"}, "top level", "unknown key 'colour'"),
        ({"mapping": "No Good"}, "mapping", "expected the mapping's name"),
        ({"namespace": ...}, "namespace", "namespace of all ids"),
        ({"revision": -1}, "revision", "0 to 99"),
        ({"input": ...}, "input", "saw nothing"),
        ({"input__colums": []}, "input", "did you mean 'columns'"),
        ({"input__columns": []}, "input.columns", "list of column names"),
        ({"input__columns": ["order", "order"]}, "input.columns", "named twice"),
        ({"input__encoding": "utf-16"}, "input.encoding", "contains ASCII"),
        ({"input__delimiter": "::"}, "input", "one ASCII character"),
        ({"input__format": "xlsx"}, "input.format", "unknown format 'xlsx'"),
        ({"input__max_record_lines": 0}, "input.max_record_lines", "1 to 1000"),
        ({"input__personal": ["mail"]}, "input.personal", "unknown column 'mail'"),
        ({"input__duplicates": {"of": "line"}}, "input.duplicates", "`within` must be said"),
        (
            {"input__duplicates": {"of": ["nope"], "within": "run"}},
            "input.duplicates.of",
            "unknown column 'nope'",
        ),
        ({"values__order": "sku"}, "values.order", "already the name"),
        ({"values__total": "sku"}, "group.values.total", "already the name"),
        ({"values__line_number": "sku"}, "values.line_number", "already the name"),
        ({"values__Big": "sku"}, "values", "lower case"),
        (
            {"values__early": {"from": "later"}, "values__later": "sku"},
            "values.early.from",
            "unknown name 'later'",
        ),
        ({"reject": [{"reason": "x"}]}, "reject[0]", "expected `when`"),
        ({"reject": [{"reason": "X y", "when": True}]}, "reject[0].reason", "expected a name"),
        ({"reject": [{"reason": "x", "when": "sku"}]}, "reject[0].when", "expected a condition"),
        (
            {"reject": [{"reason": "x", "when": True, "detail": "{nope}"}]},
            "reject[0].detail.template",
            "unknown name 'nope'",
        ),
        ({"group__by": ...}, "group", "expected `by`"),
        ({"group__partial": ...}, "group", "`partial` must be said: keep or reject"),
        ({"group__grouping": "sorted"}, "group.grouping", "unknown grouping 'sorted'"),
        ({"group__values__total": "amount"}, "group.values.total", "belongs to a line, and a group has many"),
        ({"group": ...}, "events[0].per", "needs a `group` section"),
        ({"events": []}, "events", "list of events"),
        ({"events__0__topic": "order"}, "events[0].topic", "did you mean 'orders'"),
        ({"events__0__per": "row"}, "events[0].per", "unknown unit 'row'"),
        ({"events__0__fields__status": ...}, "events[0].fields", "orders requires status"),
        ({"events__0__fields__occurred_at": ...}, "events[0].fields", "requires occurred_at"),
        ({"events__0__fields__colour": 1}, "events[0].fields", "unknown field of orders 'colour'"),
        ({"events__0__fields__status": None}, "events[0].fields.status", "this is always null"),
        (
            {"events__0__fields__total_amount": {"first": "price"}},
            "events[0].fields.total_amount",
            "add `cast: decimal`",
        ),
        ({"events__0__fields__order_date": {"first": "at"}}, "events[0].fields.order_date", "add `time: …`"),
        (
            {"events__1__fields__quantity": "unit_price"},
            "events[1].fields.quantity",
            "is a int, and this value is decimal",
        ),
        (
            {"events__1__send": {"on_change": ["name"]}},
            "events[1].send.on_change",
            "unknown field of this event",
        ),
        ({"events__1__send": "sometimes"}, "events[1].send", "expected always, if_newer"),
        ({"control_totals__amount__line": "sku"}, "control_totals.amount.line", "add `cast: decimal`"),
        (
            {"control_totals__amount__events__orders__field": "status"},
            "control_totals.amount.events.orders.field",
            "unknown number of orders",
        ),
        (
            {"control_totals__amount__events__orders__sign": "-"},
            "control_totals.amount.events.orders.sign",
            "unknown sign",
        ),
        (
            {"lookups": {"t": {"file": "gone.csv", "key": "a", "value": "b"}}},
            "lookups.t",
            "readable CSV table",
        ),
        ({"lookups": {"t": {"table": {"a": [1]}}}}, "lookups.t.table.a", "expected text or null"),
        ({"lookups": {"t": {}}}, "lookups.t", "exactly one of table, patterns, file"),
    ],
    ids=str,
)
def test_a_wrong_mapping_is_refused_at_load(tmp_path, changes, place, message):
    with pytest.raises(MappingError, match=re.escape(message)) as error:
        load_mapping(write_mapping(tmp_path, varied(**changes)))
    assert f"mapping.yaml: {place}: " in str(error.value)
    assert isinstance(error.value, ContractError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "the key 'a' stands here twice"),
        ("a: [1\n", "expected YAML"),
        ("- a\n", "expected a map with keys"),
        ("", "saw nothing"),
    ],
)
def test_yaml_that_would_change_data_silently_is_an_error(tmp_path, text, message):
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(MappingError, match=message):
        load_mapping(tmp_path / "m.yaml")


def test_a_missing_mapping_file_is_named(tmp_path):
    with pytest.raises(MappingError, match=r"gone\.yaml"):
        load_mapping(tmp_path / "gone.yaml")


def test_the_change_fields_fill_themselves(tmp_path):
    _, sink = run(tmp_path, HEADER + "1,s,2,1.50,2011-01-01T00:00:00\n", varied(revision=3))
    order = sink.of("orders")[0]
    assert order["version"] == 1_293_840_000_000_003
    assert (order["op"], order["source"]) == ("r", "import:shop")
    _, again = run(tmp_path, HEADER + "1,s,2,1.50,2011-01-01T00:00:00\n", varied(revision=4))
    assert again.of("orders")[0]["event_id"] != order["event_id"]


def test_any_encoding_with_ascii_inside_can_be_read(tmp_path):
    content = (HEADER + "1,£7,2,1.50,2011-01-01\n").encode("cp1252")
    document = varied(input__encoding="cp1252", events__1__fields__product_id={"uuid": {"product": "sku"}})
    account, _ = run(tmp_path, content, document)
    assert account.total.accepted == 1
    account, sink = run(tmp_path, content)
    assert sink.lines[0].reasons == ("undecodable",)


def test_the_worked_example_of_the_documentation_gives_what_it_says(tmp_path):
    text = (ROOT / "docs" / "importing.md").read_text("utf-8")
    csv_text, mapping = (
        re.search(r"```csv\n(.*?)```", text, re.S)[1],
        re.search(r"`tickets\.yaml`:\n\n```yaml\n(.*?)```", text, re.S)[1],
    )
    (tmp_path / "tickets.csv").write_text(csv_text, "utf-8")
    (tmp_path / "tickets.yaml").write_text(mapping, "utf-8")
    sink = CollectingSink()
    account = Importer(load_mapping(tmp_path / "tickets.yaml"), sink, NOW).run([tmp_path / "tickets.csv"])
    assert (account.total.accepted, dict(account.total.reasons)) == (2, {"no_seats": 1})
    assert [order["total_amount"] for order in sink.of("orders")] == [Decimal("86.00")]
    assert (len(sink.of("order_items")), [c["email"] for c in sink.of("customers")]) == (
        2,
        ["ada@example.org"],
    )
    assert sink.of("orders")[0]["order_date"].isoformat() == "2025-12-24T09:15:00+00:00"


def test_every_operation_is_documented():
    from sources.importer.compiler import HEADS, STEPS

    text = (ROOT / "docs" / "importing.md").read_text("utf-8")
    section = text[text.index("### Values") : text.index("### reject")]
    words = set(re.findall(r"[a-z_]+", section))
    assert set(HEADS) | set(STEPS) <= words
