"""Lines become orders with items: which lines belong together, what a refused one does to the rest, what repeats."""

from decimal import Decimal

import pytest

from sources.importer import AccountingError, Importer, load_mapping
from tests.sources.importer_kit import HEADER, NOW, CollectingSink, run, varied, write_mapping

A1, A2, A3 = (
    "A,s1,2,1.50,2011-01-01T10:00:00\n",
    "A,s2,1,4.00,2011-01-01T09:00:00\n",
    "A,s3,0,9.00,2011-01-01T11:00:00\n",
)
B1 = "B,s1,1,1.00,2011-01-02\n"
DUPLICATES = {"of": "line", "within": "run"}


def totals(sink: CollectingSink) -> list[Decimal]:
    return [order["total_amount"] for order in sink.of("orders")]


def test_an_order_is_made_over_all_its_lines(tmp_path):
    account, sink = run(tmp_path, HEADER + A1 + A2 + B1)
    assert totals(sink) == [Decimal("7.00"), Decimal("1.00")]
    assert sink.of("orders")[0]["order_date"].isoformat() == "2011-01-01T09:00:00+00:00"
    assert {item["order_id"] for item in sink.of("order_items")} == {
        order["order_id"] for order in sink.of("orders")
    }
    assert account.total.accepted == 3


def test_partial_keep_computes_the_order_over_the_lines_that_are_kept(tmp_path):
    # the item breaks its contract (quantity 0), so only building its event shows it
    account, sink = run(tmp_path, HEADER + A1 + A3 + A2)
    assert totals(sink) == [Decimal("7.00")]
    assert (account.total.accepted, dict(account.total.reasons)) == (2, {"quantity_minimum": 1})


def test_partial_reject_refuses_the_whole_group(tmp_path):
    account, sink = run(tmp_path, HEADER + A1 + A3 + A2 + B1, varied(group__partial="reject"))
    assert totals(sink) == [Decimal("1.00")]
    assert dict(account.total.reasons) == {"quantity_minimum": 1, "group_incomplete": 2}


def test_a_duplicate_does_not_make_a_group_incomplete(tmp_path):
    document = varied(group__partial="reject", input__duplicates=DUPLICATES)
    account, sink = run(tmp_path, HEADER + A1 + A1 + A2, document)
    assert totals(sink) == [Decimal("7.00")]
    assert (account.total.accepted, account.total.duplicates) == (2, 1)


def test_a_value_that_an_aggregate_cannot_use_refuses_that_line_only(tmp_path):
    account, sink = run(tmp_path, HEADER + A1 + "A,s9,1,oops,2011-01-01\n" + A2)
    assert totals(sink) == [Decimal("7.00")]
    assert dict(account.total.reasons) == {"not_a_decimal": 1}
    assert sink.lines[0].line == 3


def test_a_group_can_be_refused_as_a_whole(tmp_path):
    document = varied(
        group__reject=[
            {"reason": "too_small", "when": {"from": "total", "less_than": 2}, "detail": "only {total}"}
        ]
    )
    account, sink = run(tmp_path, HEADER + A1 + A2 + B1, document)
    assert totals(sink) == [Decimal("7.00")]
    assert (dict(account.total.reasons), sink.lines[0].detail) == ({"too_small": 1}, "only 1")


def test_a_group_event_that_breaks_its_contract_refuses_all_its_lines(tmp_path):
    document = varied(
        events__0__fields__status={
            "if": {"from": "total", "more_than": 5},
            "then": {"constant": "lost"},
            "else": {"constant": "paid"},
        }
    )
    account, sink = run(tmp_path, HEADER + A1 + A2 + B1, document)
    assert totals(sink) == [Decimal("1.00")]
    assert dict(account.total.reasons) == {"status_allowed": 2}
    assert len(sink.of("order_items")) == 1


def test_contiguous_refuses_a_group_that_comes_back_rather_than_making_a_second_order(tmp_path):
    account, sink = run(tmp_path, HEADER + A1 + B1 + A2)
    assert totals(sink) == [Decimal("3.00"), Decimal("1.00")]
    assert dict(account.total.reasons) == {"group_not_contiguous": 1}


def test_whole_file_joins_a_group_that_is_interrupted(tmp_path):
    account, sink = run(tmp_path, HEADER + A1 + B1 + A2, varied(group__grouping="whole_file"))
    assert totals(sink) == [Decimal("7.00"), Decimal("1.00")]
    assert account.total.accepted == 3


@pytest.mark.parametrize("grouping", ["contiguous", "whole_file"])
def test_a_group_never_spans_files(tmp_path, grouping):
    (tmp_path / "1.csv").write_text(HEADER + A1)
    (tmp_path / "2.csv").write_text(HEADER + A2)
    sink = CollectingSink()
    mapping = load_mapping(write_mapping(tmp_path, varied(group__grouping=grouping)))
    account = Importer(mapping, sink, NOW).run([tmp_path / "1.csv", tmp_path / "2.csv"])
    assert totals(sink) == [Decimal("3.00")]
    assert dict(account.files["2.csv"].reasons) == {"group_not_contiguous": 1}


def test_a_line_without_a_group_key_is_refused(tmp_path):
    account, _ = run(tmp_path, HEADER + ",s1,2,1.50,2011-01-01\n" + B1)
    assert (account.total.accepted, dict(account.total.reasons)) == (1, {"no_group_key": 1})


@pytest.mark.parametrize(("within", "repeats"), [("group", 1), ("file", 2), ("run", 3)])
def test_duplicates_are_looked_for_where_the_mapping_says(tmp_path, within, repeats):
    # by these columns A1 repeats once in its group, once more in its file, once more in the second file
    document = varied(
        input__duplicates={"of": ["sku", "pieces"], "within": within},
        events__1__fields__order_item_id={"uuid": {"i": ["order", "line_number", "file_name"]}},
    )
    (tmp_path / "1.csv").write_text(HEADER + A1 + A1 + B1.replace("s1,1", "s1,2"))
    (tmp_path / "2.csv").write_text(HEADER + B1.replace("B,s1,1", "C,s1,2"))
    account = Importer(load_mapping(write_mapping(tmp_path, document)), CollectingSink(), NOW).run(
        [tmp_path / "1.csv", tmp_path / "2.csv"]
    )
    assert account.total.duplicates == repeats


def test_a_line_from_which_nothing_comes_is_refused_and_not_lost(tmp_path):
    document = varied(
        group=..., events__0=..., control_totals=..., events__0__when={"from": "quantity", "more_than": 1}
    )
    account, _ = run(tmp_path, HEADER + A1 + A2, document)
    assert (account.total.accepted, dict(account.total.reasons)) == (1, {"no_event": 1})


def sends(tmp_path, send, *lines):
    document = varied(
        group=...,
        events__0=...,
        control_totals=...,
        events__0__send=send,
        events__0__fields__order_item_id={"uuid": {"i": "order"}},
    )
    account, sink = run(tmp_path, HEADER + "".join(lines), document)
    assert account.total.accepted == len(lines)
    return [(item["quantity"], item["occurred_at"].day) for item in sink.of("order_items")]


def test_on_change_sends_an_entity_again_only_if_a_named_field_changed(tmp_path):
    lines = [f"A,s,{pieces},1.00,2011-01-{day:02}\n" for day, pieces in enumerate([1, 1, 2, 2, 1], 1)]
    assert sends(tmp_path, {"on_change": ["quantity"]}, *lines) == [(1, 1), (2, 3), (1, 5)]


def test_if_newer_sends_an_entity_only_with_a_higher_version(tmp_path):
    lines = [f"A,s,1,1.00,2011-01-{day:02}\n" for day in (2, 2, 1, 4, 3)]
    assert sends(tmp_path, "if_newer", *lines) == [(1, 2), (1, 4)]


def test_a_refused_event_does_not_count_as_sent(tmp_path):
    lines = HEADER + "A,s,0,1.00,2011-01-01\nA,s,0,2.00,2011-01-01\n"
    document = varied(
        group=..., events__0=..., control_totals=..., events__0__send={"on_change": ["quantity"]}
    )
    account, _ = run(tmp_path, lines, document)
    assert account.total.reasons["quantity_minimum"] == 2


@pytest.mark.parametrize(("grouping", "lines"), [("contiguous", 2), ("whole_file", 3)])
def test_a_limit_completes_the_groups_that_it_began(tmp_path, grouping, lines):
    content = HEADER + A1 + A2 + B1 + (A1.replace("s1", "s7") if grouping == "whole_file" else "")
    account, sink = run(tmp_path, content, varied(group__grouping=grouping), limit=1)
    assert (account.total.lines, len(sink.of("orders"))) == (lines, 1)


def test_a_control_total_that_does_not_go_through_fails_the_run(tmp_path):
    document = varied(events__0__fields__total_amount={"add": ["total", 1]})
    with pytest.raises(
        AccountingError,
        match=r"control total amount: accepted lines were booked as 1\.00, but the events say 2\.00",
    ):
        run(tmp_path, HEADER + B1, document)


def test_control_totals_tell_events_rounding_refused_and_duplicates_apart(tmp_path):
    document = varied(
        input__duplicates=DUPLICATES,
        values__exact={"from": "price", "cast": "decimal"},
        values__unit_price={"from": "price", "cast": "decimal", "round": 2},
        control_totals__amount={
            "line": {"multiply": ["quantity", "exact"]},
            "booked": "amount",
            "by": "sku",
            "events": {"orders": {"topic": "orders", "field": "total_amount"}},
        },
    )
    document["values"] = {
        key: document["values"][key] for key in ("exact", "quantity", "unit_price", "amount", "moment")
    }
    content = (
        HEADER
        + "A,x,1,1.005,2011-01-01\n" * 2
        + "A,y,0,5.00,2011-01-01\nA,y,oops,5.00,2011-01-01\nA,y,-2,5.00,2011-01-01\n"
    )
    account, _ = run(tmp_path, content, document)
    total = account.as_json()["control_totals"]["amount"]
    assert total["read"] == "-7.990"
    assert (total["events"], total["rounding"], total["duplicates"]) == ({"orders": "1.00"}, "0.005", "1.005")
    assert total["refused"] == {"not_an_int": "0", "quantity_minimum": "-10.00"}
    assert (total["by"], total["lines_without_value"]) == ({"x": "1.005"}, 1)


def test_importing_again_gives_the_same_bytes(tmp_path):
    content = HEADER + A1 + A3 + A2 + B1
    first, second = run(tmp_path, content)[1], run(tmp_path, content)[1]
    assert first.records == second.records


def test_a_run_that_was_killed_and_started_again_ends_in_the_same_state(tmp_path):
    class Killed(Exception):
        pass

    class DyingSink(CollectingSink):
        def event(self, topic, event):
            if len(self.events) == 3:
                raise Killed
            super().event(topic, event)

    content = HEADER + A1 + A2 + B1 + "C,s1,1,2.00,2011-01-03\n"
    whole = run(tmp_path, content)[1]
    dying = DyingSink()
    with pytest.raises(Killed):
        Importer(load_mapping(tmp_path / "mapping.yaml"), dying, NOW).run([tmp_path / "lines.csv"])
    again = CollectingSink()
    again.events = list(dying.events)
    Importer(load_mapping(tmp_path / "mapping.yaml"), again, NOW).run([tmp_path / "lines.csv"])
    assert len(again.events) == 3 + len(whole.events)
    assert again.state() == whole.state()
