"""Whatever a file looks like, every line of it has one outcome, and damage stays where it is."""

import gzip
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sources.importer import InputError, load_mapping
from sources.importer.engine import Importer
from sources.importer.reader import MAX_RECORD_BYTES
from tests.sources.importer_kit import HEADER, NOW, CollectingSink, run, varied, write_mapping

GOOD = "1,s,2,1.50,2011-01-01\n"
# a mapping without a group, so that lines stand alone
SINGLE = varied(group=..., events__0=..., control_totals=...)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1,s,2,1.50\n", "ragged_row"),
        (b"1,s,2,1.50,2011-01-01,x\n", "ragged_row"),
        (b"\n", "blank_line"),
        (b"  \r\n", "blank_line"),
        (b"1,\xff\xfe,2,1.50,2011-01-01\n", "undecodable"),
        (b'1,"s,2,1.50,2011-01-01\n', "damaged_quotes"),
        (b'1,"s"x,2,1.50,2011-01-01\n', "damaged_quotes"),
        (b"1," + b"s" * MAX_RECORD_BYTES + b",2,1.50,2011-01-01\n", "line_too_long"),
        (b"1," + b"s" * 3_000_000 + b",2,1.50,2011-01-01\n", "line_too_long"),
        (b"1,s,two,1.50,2011-01-01\n", "not_an_int"),
        (b"1,s,0,1.50,2011-01-01\n", "quantity_minimum"),
        (b"1,s,2,1.555,2011-01-01\n", "unit_price_type"),
        (b"1,s,2,1.50,1999-12-31\n", "created_at_in_range"),
        (b"1,,2,1.50,2011-01-01\n", "order_item_id_required"),
    ],
    ids=lambda value: value[:30].decode("latin-1").strip() if isinstance(value, bytes) else value,
)
def test_a_damaged_line_is_refused_and_its_neighbours_are_not(tmp_path, line, reason):
    content = (HEADER + GOOD).encode() + line + b"2,s,2,1.50,2011-01-01\n"
    account, sink = run(tmp_path, content, SINGLE)
    assert (account.total.lines, account.total.accepted, dict(account.total.reasons)) == (3, 2, {reason: 1})
    refused = sink.lines[0]
    assert (refused.line, refused.reasons[0]) == (3, reason)
    original = line.rstrip(b"\n").removesuffix(b"\r")
    assert refused.raw == original[:MAX_RECORD_BYTES]
    assert (dict(refused.headers).get("cut_from_bytes") == str(len(original)).encode()) is (
        len(original) > MAX_RECORD_BYTES
    )


def test_a_refused_line_carries_what_a_reader_of_dead_letters_needs(tmp_path):
    _, sink = run(tmp_path, HEADER + "1,s,0,-1.50,2011-01-01\n", SINGLE)
    line = sink.lines[0]
    headers = dict(line.headers)
    assert line.key == b"lines.csv:2"
    assert (headers["source_topic"], headers["file"], headers["line"]) == (b"import:shop", b"lines.csv", b"2")
    assert headers["reasons"].split(b",")[:2] == [b"quantity_minimum", b"unit_price_minimum"]
    assert b"at least 1" in headers["detail"]


def test_a_file_without_a_last_newline_loses_nothing(tmp_path):
    account, _ = run(tmp_path, (HEADER + GOOD).rstrip("\n").replace("\n", "\r\n"))
    assert account.total.accepted == 1


def test_a_byte_order_mark_other_column_order_and_further_columns_are_fine(tmp_path):
    content = b"\xef\xbb\xbfprice, at ,note,pieces,sku,order\n1.50,2011-01-01,hello,2,s,1\n"
    account, sink = run(tmp_path, content)
    assert (account.total.accepted, sink.of("order_items")[0]["quantity"]) == (1, 2)


def test_a_quoted_field_may_span_lines_where_the_mapping_allows_it(tmp_path):
    content = (
        HEADER
        + '1,"a\nb",2,1.50,2011-01-01\n2,s,2,1.50,2011-01-01\n3,"open,2,1.50,2011-01-01\n4,s,2,1.50,2011-01-01\n'
    )
    document = {**SINGLE, "input": {**SINGLE["input"], "max_record_lines": 3}}
    account, sink = run(tmp_path, content, document)
    assert (account.total.lines, account.total.accepted) == (4, 3)
    assert (sink.lines[0].line, sink.lines[0].reasons, sink.lines[0].raw) == (
        5,
        ("damaged_quotes",),
        b'3,"open,2,1.50,2011-01-01',
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"order,sku,price\n", "the header lacks pieces, at"),
        (b"order,sku,pieces,price,at,at\n", "names at twice"),
        (b'"order\n', "cannot be read as a header"),
        (b"\xff\n", "cannot be read as a header"),
    ],
)
def test_a_file_that_does_not_fit_stops_the_run_before_anything_is_sent(tmp_path, content, message):
    (tmp_path / "good.csv").write_text(HEADER + GOOD)
    (tmp_path / "bad.csv").write_bytes(content)
    sink = CollectingSink()
    with pytest.raises(InputError, match=message) as error:
        Importer(load_mapping(write_mapping(tmp_path, SINGLE)), sink, NOW).run(
            [tmp_path / "good.csv", tmp_path / "bad.csv"]
        )
    assert "bad.csv" in str(error.value)
    assert not sink.records


def test_two_files_of_one_name_are_refused_because_lines_are_named_by_file(tmp_path):
    (tmp_path / "sub").mkdir()
    for path in (tmp_path / "a.csv", tmp_path / "sub" / "a.csv"):
        path.write_text(HEADER + GOOD)
    with pytest.raises(InputError, match=r"two files are called a\.csv"):
        Importer(load_mapping(write_mapping(tmp_path, SINGLE)), CollectingSink(), NOW).run(
            [tmp_path / "a.csv", tmp_path / "sub" / "a.csv"]
        )


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_truncated_gzip_gives_its_lines_and_then_an_error(tmp_path, keep):
    lines = [f"{i},s{i * 7919 % 1009},2,1.{i % 90 + 10},2011-01-{i % 28 + 1:02}\n" for i in range(5_000)]
    packed = gzip.compress((HEADER + "".join(lines)).encode(), mtime=0)
    account, sink = run(tmp_path, packed[: int(len(packed) * keep)], SINGLE)
    (error,) = account.errors
    assert "lines.csv" in error
    tally = account.total
    assert 0 < tally.accepted < 5_000
    assert tally.lines == tally.accepted + tally.refused
    assert tally.reasons["truncated_line"] == tally.refused <= 1
    assert [item["unit_price"] for item in sink.of("order_items")] == [
        Decimal(line.split(",")[3]) for line in lines[: tally.accepted]
    ]


@pytest.mark.parametrize("grouping", ["contiguous", "whole_file"])
def test_a_file_that_breaks_off_sends_no_half_group(tmp_path, grouping):
    lines = [f"{i // 10},s{i},2,{i * 7919 % 1009}.50,2011-01-01\n" for i in range(5_000)]
    packed = gzip.compress((HEADER + "".join(lines)).encode(), mtime=0)
    account, sink = run(tmp_path, packed[: len(packed) // 2], varied(group__grouping=grouping))
    items = {order["order_id"]: 0 for order in sink.of("orders")}
    for item in sink.of("order_items"):
        items[item["order_id"]] += 1
    assert set(items.values()) <= {10}
    assert bool(items) is (grouping == "contiguous")
    assert account.total.reasons["file_damaged"] > 0
    assert account.errors


def test_the_other_files_are_imported_when_one_is_damaged(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((HEADER + GOOD * 1000).encode())[:-4])
    (tmp_path / "b.csv").write_text(HEADER + GOOD)
    account = Importer(load_mapping(write_mapping(tmp_path, SINGLE)), CollectingSink(), NOW).run(
        [tmp_path / "a.csv.gz", tmp_path / "b.csv"]
    )
    assert account.files["a.csv.gz"].error
    assert account.files["a.csv.gz"].accepted == 1000
    assert account.files["b.csv"].accepted == 1


_piece = st.sampled_from(
    [
        b"1",
        b"2",
        b"s",
        b",",
        b",,",
        b'"',
        b"\n",
        b"\r\n",
        b"\xff",
        b"1.50",
        b"2011-01-01",
        b"1,s,2,1.50,2011-01-01\n",
        b"\x00",
        b"x" * 50,
    ]
)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    pieces=st.lists(_piece, max_size=60),
    span=st.sampled_from([1, 3]),
    within=st.sampled_from(["group", "file", "run"]),
)
def test_every_line_of_any_file_has_exactly_one_outcome(tmp_path, pieces, span, within):
    body = b"".join(pieces)
    document = varied(
        input__max_record_lines=span,
        input__duplicates={"of": "line", "within": within},
        group__grouping="whole_file",
    )
    account, sink = run(tmp_path, HEADER.encode() + body, document)
    tally = account.total
    physical = body.count(b"\n") + (not body.endswith(b"\n") and body != b"")
    assert tally.lines == tally.accepted + tally.refused + tally.duplicates
    assert tally.lines == physical if span == 1 else tally.lines <= physical
    assert len({line.line for line in sink.lines}) == tally.refused
