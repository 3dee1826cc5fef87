"""JSON comes in exactly: numbers keep every digit, and what is no JSON is refused with its place, never its text."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.api.json_document import Malformed, parse

SECRET = "jane.doe@example.com"


def test_money_is_read_to_the_last_digit():
    found = parse(b'{"a": 0.1, "b": 12345678901234567890.12, "c": 1e2, "d": 7}')
    assert found == {
        "a": Decimal("0.1"),
        "b": Decimal("12345678901234567890.12"),
        "c": Decimal("1E+2"),
        "d": 7,
    }
    assert isinstance(found["a"], Decimal)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"a": NaN}', "line 3: expected a number; saw NaN"),
        (b'{"a": -Infinity}', "line 3: expected a number; saw -Infinity"),
        (b'{"a": 1, "a": 2}', "line 3: expected each key once; 'a' stands twice"),
        (b'{"x": {"a": 1, "a": 2}}', "line 3: expected each key once"),
        (b'{"a": }', "line 3 column 7: Expecting value"),
        (b'{"a": 1', "line 3 column 8"),
        (b'{"a": 1} {}', "line 3 column 10: Extra data"),
        (b'{"a":\n 1,\n}', "line 5 column"),
        (b'{"a": "\xff"}', "line 3 column 8: expected UTF-8"),
        (b'{\n"a": "\xff"}', "line 4 column 7: expected UTF-8"),
        (b"[" * 100_000, "line 3: nested too deeply"),
        (b'{"a": 1' + b"0" * 5_000 + b"}", "line 3: a number has too many digits"),
        (b'{"a": 1e99999999999999999999}', "line 3: a number has an exponent beyond all bounds"),
        (b"[1]", "line 3: expected a JSON object, one event; saw an array"),
        (b"null", "line 3: expected a JSON object, one event; saw null"),
        (b"true", "line 3: expected a JSON object, one event; saw true"),
        (b'"x"', "line 3: expected a JSON object, one event; saw a string"),
        (b"", "line 3 column 1"),
        (b"\xef\xbb\xbf{}", "line 3"),
    ],
)
def test_what_is_no_json_object_is_refused_with_its_place(raw, reason):
    with pytest.raises(Malformed) as raised:
        parse(raw, 3)
    assert reason in str(raised.value)


@pytest.mark.parametrize("damage", ['{{"email": "{0}"', '{{"email": "{0}" "x"}}', '["{0}"]', '"{0}"'])
def test_a_reason_never_repeats_a_value(damage):
    with pytest.raises(Malformed) as raised:
        parse(damage.format(SECRET).encode())
    assert SECRET not in str(raised.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_malformed(raw):
    try:
        found = parse(raw)
    except Malformed as error:
        found = str(error)
    assert isinstance(found, dict) or found.startswith("line ")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, max_size=6))
def test_a_document_without_fractions_is_what_json_reads(document):
    assert parse(json.dumps(document).encode()) == document
