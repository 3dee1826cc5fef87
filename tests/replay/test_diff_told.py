"""How a comparison is told: the summary first, nothing in it can do harm, and nothing has to be loaded."""

import json
import re
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser

import orjson
import pytest

from replay.diff.document import document
from replay.diff.page import page
from replay.diff.text import lines
from replay.diff.values import (
    Comparison,
    DayDifference,
    Declared,
    Example,
    Only,
    RelationDifference,
    Side,
    Tally,
    Total,
)

HARM = "<script>alert(1)</script>\x1b[2J"
TOTAL = Total("gross", "money", Decimal("1000.00"), Decimal("1012.50"))
FACTS = RelationDifference(
    "table",
    "fct_orders",
    "fct_orders",
    "Orders.",
    Tally(1_203, 1_204, only_one=1, only_other=2, changed=12),
    Declared(only_other=("fee",), defined=(("net", "gross", "gross - fee"),)),
    (("net", 12),),
    (TOTAL, Total("units", "count", 5, 5)),
    (
        *(DayDifference(date(2026, 3, day), Tally(3, 4, 0, 1), (TOTAL,)) for day in range(1, 10)),
        DayDifference(None, Tally(1, 1, changed=1), ()),
    ),
    (
        Example("changed", {"order_id": "a"}, {"net": "1.00"}, {"net": "2.00"}),
        Example("only_one", {"order_id": HARM}, {"gross": "3.00", "why": ["x", "y"]}, None),
        Example("only_other", {"order_id": None}, None, {"gross": "4.00", "why": None}),
    ),
)
SAME = RelationDifference(
    "metric", "items", "items in all", "Items.", Tally(7, 7), Declared(defined=(("n", "a", "b"),))
)
FOUND = Comparison(
    Side("g1", 812, "aa11", "5f1c", live=True),
    Side("g2", 40, "bb22"),
    {("orders", 0): 1_200, ("orders", 1): 90},
    "EUR",
    (FACTS, SAME),
    only_other=(Only("table", "new", HARM, "New.", 5),),
    left_out=("product_rates",),
    settings=(("SHOP_TIMEZONE", "UTC", "Europe/Vienna"),),
    made_at=1_790_000_000.0,
)
EQUAL = Comparison(FOUND.one, FOUND.other, FOUND.offsets, "EUR", (SAME,))


def test_text_tells_the_summary_first_and_then_what_differs():
    assert lines(FOUND)[:8] == [
        "Different: 1 of 1 table, 1 only in g2.",
        "g1 and g2 at the same offsets, 1,290 records of 2 partitions, made 2026-09-21T14:13:20Z",
        "  g1 (live): manifest 812, code 5f1c, declarations aa11",
        "  g2: manifest 40, code not pinned, declarations bb22",
        "  SHOP_TIMEZONE is UTC in g1, Europe/Vienna in g2",
        "  without days, so not compared: product_rates",
        f"  only in g2: table {HARM}, 5 rows",
        "",
    ]
    text = "\n".join(lines(FOUND)[8:])
    assert text.startswith(
        "table fct_orders: 1,203 → 1,204 rows; 12 rows changed, 1 only in g1, 2 only in g2\n"
    )
    for told in (
        "  only g2 has the columns fee\n",
        "  net is gross in g1, gross - fee in g2\n",
        "  columns: net in 12\n",
        "  sum of gross: 1,000.00 → 1,012.50 (+12.50)\n",
        "  2026-03-01: 1 only in g2; gross +12.50\n",
        "  … and 3 more days\n",
        "  ~ order_id=a: net 1.00 → 2.00\n",
        "  + order_id=null: gross 4.00\n",
        "  … and 12 more\n",
        "equal metrics: items in all\n  items in all: n is a in g1, b in g2",
    ):
        assert told in text, told
    assert "sum of units" not in text


def test_equal_ones_say_so_in_one_line():
    assert lines(EQUAL)[0] == "Equal: every row of 0 tables and 1 metric."


def test_json_has_everything_with_exact_money():
    told = json.loads(orjson.dumps(document(FOUND)))
    assert told["equal"] is False
    assert told["offsets"] == {"orders": {"0": 1_200, "1": 90}}
    facts, same = told["relations"]
    assert facts["rows"] == {
        "one": 1_203,
        "other": 1_204,
        "only_one": 1,
        "only_other": 2,
        "changed": 12,
        "equal": 1_190,
    }
    assert facts["sums"] == [
        {"column": "gross", "unit": "money", "one": "1000.00", "other": "1012.50", "difference": "12.50"},
        {"column": "units", "unit": "count", "one": 5, "other": 5, "difference": 0},
    ]
    assert len(facts["days"]) == 10
    assert facts["days"][-1]["day"] is None
    assert facts["examples"][1] == {
        "change": "only_one",
        "key": {"order_id": HARM},
        "one": {"gross": "3.00", "why": ["x", "y"]},
        "other": None,
    }
    assert (same["title"], same["equal"], same["declared"]["defined"][0]["other"]) == (
        "items in all",
        True,
        "b",
    )
    assert told["only_in_other"] == [
        {"kind": "table", "name": "new", "title": HARM, "doc": "New.", "rows": 5}
    ]


class Seen(HTMLParser):
    """The elements of a page, each closed where it belongs."""

    VOID = ("meta",)

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.attributes, self.text = [], [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("found", [FOUND, EQUAL], ids=["different", "equal"])
def test_the_page_is_whole_by_itself_and_runs_and_loads_nothing(found):
    text = page(found)
    seen = Seen(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(seen.tags)
    assert not re.search(r"url\(|@import|https?:", text)
    assert all(value.startswith("#") for name, value in seen.attributes if name in ("href", "src"))
    assert not any(name.startswith("on") for name, _ in seen.attributes)
    assert "width=device-width" in text
    assert "light dark" in text


def test_the_page_says_which_at_what_offsets_and_the_summary_first():
    told = Seen(page(FOUND)).text
    order = [
        "Different: 1 of 1 table, 1 only in g2.",
        "1,290 records of 2 partitions, made 2026-09-21T14:13:20Z",
        "g1 (live): manifest 812, code 5f1c",
        "g2: manifest 40, code not pinned",
        "12 rows changed, 1 only in g1, 2 only in g2",
        "Only in g2",
        "gross (EUR)",
        "3 of 15 rows that differ",
        "items in all",
        "Offsets",
    ]
    places = [told.index(each) for each in order]
    assert places == sorted(places)
    # What a record held is text.
    assert HARM in told
