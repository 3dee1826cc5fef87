"""Each operation does what docs/importing.md says, null runs through, and what cannot be computed says why."""

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from sources.importer.compiler import Compiler, column_value
from sources.importer.context import Group, Line
from sources.importer.errors import LineRefused, MappingError, Where
from sources.importer.operations.names import Names, namespace_of
from sources.importer.operations.tables import Lookup, load_lookup
from tests.sources.importer_kit import HEADER, run, varied

COLUMNS = ("a", "b", "n", "empty")
NAMESPACE = namespace_of("https://example.org")
LOOKUPS = {
    "strict": Lookup("strict", {"x": "ex", "none": None}),
    "soft": Lookup("soft", {"x": "ex"}, default="other"),
}


def compiler(lookups=LOOKUPS) -> Compiler:
    return Compiler(
        lookups,
        Names(NAMESPACE),
        {name: column_value(i, name, frozenset([""]), name == "b") for i, name in enumerate(COLUMNS)},
    )


def value(node, a="", b="", n=""):
    line = Line("f.csv", 2, b"", [a, b, n, ""])
    return compiler().compile(node, Where("m.yaml", "values.v")).evaluate(line)


@pytest.mark.parametrize(
    ("node", "row", "expected"),
    [
        ("a", {"a": "x"}, "x"),
        ({"column": "a"}, {"a": "x"}, "x"),
        ({"from": "a", "trim": True}, {"a": "  x y "}, "x y"),
        ({"from": "a", "trim": True}, {"a": "   "}, None),
        ({"from": "a", "upper": True}, {"a": "eire"}, "EIRE"),
        ({"from": "a", "lower": True}, {"a": "EIRE"}, "eire"),
        ({"from": "a", "truncate": 3}, {"a": "ab cd"}, "ab"),
        ({"from": "a", "extract": r"^(\d+)\.0$"}, {"a": "17850.0"}, "17850"),
        ({"from": "a", "extract": r"\d+"}, {"a": "no 12"}, "12"),
        ({"from": "a", "extract": r"\d+"}, {"a": "none"}, None),
        ({"from": "a", "matches": "^C"}, {"a": "C5"}, True),
        ({"from": "a", "matches": "^C"}, {"a": "5C"}, False),
        ({"from": "a", "replace": {r"\s+": " ", "(b)": r"<\1>"}}, {"a": "a  b"}, "a <b>"),
        ({"from": "a", "replace": {".": ""}}, {"a": "abc"}, None),
        ({"template": "{a}-{n}{{}}"}, {"a": "x", "n": "7"}, "x-7{}"),
        ({"template": "{a}-{n}"}, {"a": "x"}, None),
        ({"constant": "text"}, {}, "text"),
        ({"constant": "1.50", "cast": "decimal"}, {}, Decimal("1.50")),
        ({"from": "n", "cast": "int"}, {"n": "-12"}, -12),
        ({"from": "n", "cast": "long"}, {"n": "+9000000000"}, 9_000_000_000),
        ({"from": "n", "cast": "decimal"}, {"n": "1e2"}, Decimal(100)),
        ({"from": "n", "cast": "decimal"}, {"n": ".001"}, Decimal("0.001")),
        ({"from": "n", "cast": "bool"}, {"n": "Yes"}, True),
        (
            {"from": "n", "cast": "timestamp"},
            {"n": "2011-01-01T01:00:00+01:00"},
            datetime(2011, 1, 1, tzinfo=UTC),
        ),
        ({"from": "n", "cast": "timestamp", "default": None}, {}, None),
        (
            {"from": {"from": "n", "cast": "timestamp"}, "cast": "long"},
            {"n": "1970-01-01T00:00:01.000002Z"},
            1_000_002,
        ),
        ({"from": {"from": "n", "cast": "decimal"}, "cast": "string"}, {"n": "2.500"}, "2.5"),
        ({"from": {"from": "n", "cast": "decimal"}, "cast": "int"}, {"n": "3.00"}, 3),
        ({"from": {"from": "n", "cast": "decimal"}, "round": 2}, {"n": "0.125"}, Decimal("0.12")),
        (
            {"from": {"from": "n", "cast": "decimal"}, "round": {"places": 2, "mode": "half_up"}},
            {"n": "0.125"},
            Decimal("0.13"),
        ),
        (
            {"from": {"from": "n", "cast": "decimal"}, "round": {"places": 0, "mode": "floor"}},
            {"n": "-0.1"},
            Decimal(-1),
        ),
        ({"from": {"from": "n", "cast": "int"}, "negate": True, "abs": True}, {"n": "4"}, 4),
        ({"add": [{"from": "n", "cast": "decimal"}, 1, 2]}, {"n": "0.10"}, Decimal("3.10")),
        ({"subtract": [10, {"from": "n", "cast": "int"}]}, {"n": "4"}, 6),
        (
            {"multiply": [{"from": "n", "cast": "decimal"}, {"from": "n", "cast": "decimal"}]},
            {"n": "1.1"},
            Decimal("1.21"),
        ),
        ({"multiply": [2, {"from": "n", "cast": "int"}]}, {}, None),
        ({"least": [3, {"from": "n", "cast": "int"}]}, {"n": "2"}, 2),
        ({"greatest": [3, {"from": "n", "cast": "int"}]}, {"n": "2"}, 3),
        ({"coalesce": ["empty", "a", {"constant": "z"}]}, {"a": "x"}, "x"),
        ({"from": "empty", "default": "none"}, {}, "none"),
        ({"from": "empty", "default": {"from": "a"}}, {"a": "x"}, "x"),
        ({"from": "a", "null_if": ["n/a", "-"]}, {"a": "-"}, None),
        ({"if": {"from": "a", "equals": "x"}, "then": 1, "else": 2}, {"a": "x"}, 1),
        ({"if": {"from": "a", "equals": "x"}, "then": 1, "else": 2}, {}, 2),
        ({"if": {"from": "a", "equals": "x"}, "then": 1}, {"a": "y"}, None),
        ({"cases": [{"when": {"from": "a", "equals": "x"}, "then": 1}], "else": 0}, {"a": "y"}, 0),
        ({"from": "a", "one_of": ["x", "y"]}, {"a": "y"}, True),
        ({"from": "a", "not_equals": "x"}, {"a": "y"}, True),
        ({"from": "a", "equals": {"from": "b"}}, {"a": "q", "b": "q"}, True),
        ({"from": "a", "equals": {"from": "b"}}, {"a": "q"}, None),
        ({"from": {"from": "n", "cast": "decimal"}, "at_most": 0}, {"n": "0.00"}, True),
        ({"from": {"from": "n", "cast": "int"}, "more_than": 5}, {"n": "5"}, False),
        (
            {"from": {"from": "n", "cast": "timestamp"}, "less_than": "2012-01-01T00:00:00Z"},
            {"n": "2011-12-31T00:00:00Z"},
            True,
        ),
        ({"from": "a", "is_null": True}, {}, True),
        ({"from": "a", "is_null": False}, {}, False),
        ({"all": [True, {"from": "a", "equals": "x"}]}, {}, None),
        ({"all": [False, {"from": "a", "equals": "x"}]}, {}, False),
        ({"any": [True, {"from": "a", "equals": "x"}]}, {}, True),
        ({"any": [False, {"from": "a", "equals": "x"}]}, {}, None),
        ({"not": {"from": "a", "equals": "x"}}, {"a": "x"}, False),
        ({"from": "a", "lookup": "strict"}, {"a": "x"}, "ex"),
        ({"from": "a", "lookup": "strict"}, {"a": "none"}, None),
        ({"from": "a", "lookup": "soft"}, {"a": "q"}, "other"),
        ({"from": "a", "lookup": "strict"}, {}, None),
        ({"uuid": {"order": "a"}}, {}, None),
    ],
    ids=str,
)
def test_an_operation_gives_the_documented_value(node, row, expected):
    got = value(node, **row)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("node", "row", "reason"),
    [
        ({"from": "n", "cast": "int"}, {"n": "1.0"}, "not_an_int"),
        ({"from": "n", "cast": "int"}, {"n": "1_000"}, "not_an_int"),
        ({"from": "n", "cast": "int"}, {"n": "٣"}, "not_an_int"),
        ({"from": "n", "cast": "decimal"}, {"n": "NaN"}, "not_a_decimal"),
        ({"from": "n", "cast": "decimal"}, {"n": "1,5"}, "not_a_decimal"),
        ({"from": "n", "cast": "decimal"}, {"n": "1e99"}, "not_a_decimal"),
        ({"from": "n", "cast": "bool"}, {"n": "maybe"}, "not_a_bool"),
        ({"from": "n", "cast": "timestamp"}, {"n": "2011-01-01T00:00:00"}, "not_a_time"),
        ({"from": "n", "time": {"format": "iso"}}, {"n": "2011-01-01T00:00:00"}, "not_a_time"),
        ({"from": "n", "time": {"format": "%d.%m.%Y", "zone": "UTC"}}, {"n": "31.02.2011"}, "not_a_time"),
        ({"from": "a", "lookup": "strict"}, {"a": "q"}, "unknown_strict"),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_computed_refuses_its_line_with_a_reason(node, row, reason):
    with pytest.raises(LineRefused) as refusal:
        value(node, **row)
    assert refusal.value.reason == reason
    assert "values.v" in refusal.value.detail
    assert next(iter(row.values())) in refusal.value.detail


def test_a_personal_value_is_not_repeated_in_a_reason():
    with pytest.raises(LineRefused) as refusal:
        value({"from": {"template": "{b}"}, "cast": "int"}, b="ada@example.org")
    assert "ada" not in refusal.value.detail


LONDON = {"format": "%Y-%m-%d %H:%M", "zone": "Europe/London"}


@pytest.mark.parametrize(
    ("text", "rules", "expected"),
    [
        ("2011-01-10 12:00", {}, "2011-01-10T12:00:00+00:00"),
        ("2011-07-10 12:00", {}, "2011-07-10T11:00:00+00:00"),
        ("2011-03-27 01:30", {"gap": "forward"}, "2011-03-27T01:30:00+00:00"),  # shown as 02:30 summer time
        ("2011-10-30 01:30", {}, "2011-10-30T00:30:00+00:00"),
        ("2011-10-30 01:30", {"overlap": "later"}, "2011-10-30T01:30:00+00:00"),
        ("2011-03-27 01:30", {}, "time_in_gap"),
        ("2011-10-30 01:30", {"overlap": "reject"}, "time_in_overlap"),
    ],
)
def test_local_times_become_utc_and_the_two_odd_hours_follow_the_rule(text, rules, expected):
    node = {"from": "a", "time": {**LONDON, **rules}}
    if expected.startswith("time_in"):
        with pytest.raises(LineRefused) as refusal:
            value(node, a=text)
        assert refusal.value.reason == expected
    else:
        assert value(node, a=text).isoformat() == expected


def test_an_id_is_the_standard_library_uuid5_of_kind_and_parts():
    assert value({"uuid": {"order": "a"}}, a="536365") == str(uuid.uuid5(NAMESPACE, "order|536365"))
    several = value({"uuid": {"item": ["a", {"from": "n", "cast": "decimal"}]}}, a="x|y\\", n="2.50")
    assert several == str(uuid.uuid5(NAMESPACE, "item|x\\|y\\\\|2.5"))
    assert namespace_of(str(NAMESPACE)) == NAMESPACE


def test_parts_that_join_to_the_same_text_do_not_make_the_same_id():
    assert value({"uuid": {"k": ["a", "b"]}}, a="1|2", b="3") != value(
        {"uuid": {"k": ["a", "b"]}}, a="1", b="2|3"
    )


def test_decimals_are_exact_beyond_the_usual_28_digits(tmp_path):
    document = varied(
        control_totals={"amount": {"line": {"multiply": ["unit_price", "unit_price", "unit_price"]}}}
    )
    account, _ = run(tmp_path, HEADER + "1,s,1,12345678.123456789,2011-01-01\n", document)
    read = Fraction(account.as_json()["control_totals"]["amount"]["read"])
    assert read == Fraction("12345678.123456789") ** 3


def group(*prices: str) -> Group:
    return Group([Line("f", i + 2, b"", [str(i), "", price, ""]) for i, price in enumerate(prices)], 0)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"sum": {"from": "n", "cast": "decimal"}}, Decimal("6.50")),
        ({"count": True}, 4),
        ({"count": "n"}, 3),
        ({"first": "n"}, "1.00"),
        ({"last": "n"}, "2.50"),
        ({"min": {"from": "n", "cast": "decimal"}}, Decimal("1.00")),
        ({"max": {"from": "n", "cast": "decimal"}}, Decimal("3.00")),
        (
            {"sum": {"from": "n", "cast": "decimal"}, "where": {"from": "a", "one_of": ["0", "3"]}},
            Decimal("3.50"),
        ),
        ({"sum": {"from": "n", "cast": "decimal"}, "negate": True}, Decimal("-6.50")),
        ({"max": "b"}, None),
        ({"count": "b"}, 0),
    ],
    ids=str,
)
def test_aggregates_run_over_the_lines_of_a_group_and_leave_out_nulls(node, expected):
    lines = compiler()
    scope = Compiler({}, lines.names, {}, lines=lines)
    assert scope.compile(node, Where("m.yaml")).evaluate(group("1.00", "3.00", "", "2.50")) == expected


def test_lookup_tables_come_from_csv_yaml_and_patterns(tmp_path):
    (tmp_path / "c.csv").write_text("name,code\nEIRE,IE\nNowhere,\n")
    (tmp_path / "c.yaml").write_text("EIRE: IE\nNorway: NO\n5: five\n")
    where = Where("m.yaml", "lookups.c")
    from_csv = load_lookup(
        "c", {"file": "c.csv", "key": "name", "value": "code", "ignore_case": True}, tmp_path, where
    )
    assert (from_csv.find("eire"), from_csv.find("Nowhere")) == ("IE", None)
    from_yaml = load_lookup("c", {"file": "c.yaml"}, tmp_path, where)
    assert (from_yaml.find("Norway"), from_yaml.find("5")) == ("NO", "five")
    patterns = load_lookup("c", {"patterns": {"^[0-9]+$": "number", "^[0-9]": "mixed"}}, tmp_path, where)
    assert (patterns.find("12"), patterns.find("1x")) == ("number", "mixed")


def test_a_default_that_stood_in_is_counted_as_a_miss():
    table = Lookup("t", {"x": "ex"}, default=None)
    node = compiler({"t": table}).compile({"from": "a", "lookup": "t"}, Where("m.yaml"))
    for text in ("x", "y", "y", "z"):
        node.evaluate(Line("f", 2, b"", [text, "", "", ""]))
    assert table.summary() == {"lookups": 3, "keys": 2, "most_frequent": {"y": 2, "z": 1}}


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"from": "a", "trimm": True}, r"unknown operation 'trimm'; did you mean 'trim'\?"),
        ({"trim": True, "from": "a"}, "begin with where it comes from"),
        ({"from": "a", "coalesce": ["b"]}, "begins a value and cannot follow"),
        ({}, "begins with one of"),
        (["a"], "saw a list"),
        ("nope", "unknown name 'nope'.*constant: nope"),
        ({"column": "nope"}, "unknown column 'nope'"),
        ({"from": "a", "cast": "float"}, "unknown type 'float'"),
        ({"from": "a", "round": 2}, "takes int or decimal; this is string; add `cast: decimal`"),
        ({"from": {"from": "a", "cast": "int"}, "trim": True}, "takes string; this is int"),
        ({"from": "a", "extract": "("}, "expected a regular expression"),
        ({"from": "a", "replace": {"x": r"\2"}}, "does not fit the pattern"),
        ({"template": "{a:>3}"}, "a name alone"),
        ({"template": "{a"}, "placeholders"),
        ({"from": "a", "equals": 5}, "expected string as on the left, saw int"),
        ({"from": "a", "equals": None}, "is_null"),
        ({"not": "a"}, "expected a condition, saw a value of type string"),
        ({"if": {"from": "a", "equals": "x"}, "then": 1, "else": "a"}, "values of one type, saw int, string"),
        ({"if": {"from": "a", "equals": "x"}}, "needs `then`"),
        ({"constant": "x", "cast": "int"}, "expected a whole number"),
        ({"from": "a", "time": {"format": "%Y"}}, "`zone` is needed"),
        ({"from": "a", "time": {"format": "%Y", "zone": "Mars/Base"}}, "IANA time zone"),
        ({"from": "a", "time": {"format": "iso", "gap": "maybe"}}, "unknown rule 'maybe'"),
        (
            {"from": {"constant": 1}, "round": {"places": 2, "mode": "nearest"}},
            "unknown rounding mode 'nearest'",
        ),
        ({"uuid": {"order": "a", "item": "b"}}, "expected one kind"),
        ({"sum": "a"}, "over the lines of a group"),
        ({"from": "a", "lookup": "nope"}, "unknown look-up table 'nope'"),
        ({"add": ["a", 1]}, "takes int or decimal; this is string"),
    ],
    ids=str,
)
def test_a_value_that_makes_no_sense_is_refused_with_its_place_and_what_is_known(node, message):
    with pytest.raises(MappingError, match=message) as error:
        compiler().compile(node, Where("m.yaml", "values.v"))
    assert "m.yaml: values.v" in str(error.value)
