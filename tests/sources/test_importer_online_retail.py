"""The example mapping on real data: every line accounted for, and sums that a separate computation confirms.

The separate computation uses csv and Decimal only, and no code of the importer. The excerpt is in the repository; the
whole data is read where `../shared/data` is at hand.
"""

import csv
import gzip
import io
import random
import re
from collections import Counter
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from sources.importer import DrySink, Importer, load_mapping
from tests.sources.importer_kit import NOW, CollectingSink

ROOT = Path(__file__).parents[2]
EXCERPT = ROOT / "tests" / "fixtures" / "online-retail-excerpt.csv"
MAPPING = ROOT / "examples" / "online-retail" / "mapping.yaml"
DATA = sorted((ROOT.parent / "shared" / "data" / "online-retail").glob("*.csv.gz"))
POSTAGE = {"POST", "DOT", "C2", "23444", "23574"}
NO_SALE = {"AMAZONFEE", "BANK CHARGES", "CRUK", "S", "B"}


class SeparateComputation:
    """What the README of the example promises, computed the plain way."""

    def __init__(self, paths):
        self.lines = self.accepted = self.duplicates = 0
        self.reasons, self.value = Counter(), Counter()
        self.invoices, self.items, self.customers = {}, Counter(), {}
        seen = set()
        for path in paths:
            opener = gzip.open if path.suffix == ".gz" else open
            with opener(path, "rt", encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    self.line(row, tuple(row.values()), seen)

    def line(self, row, content, seen):
        quantity, price = int(row["Quantity"]), Decimal(row["UnitPrice"])
        invoice, code = row["InvoiceNo"], row["StockCode"].upper()
        exact = quantity * price
        self.lines += 1
        self.value["read"] += exact
        if content in seen:
            self.duplicates += 1
            self.value["duplicates"] += exact
            return
        seen.add(content)
        reason = None
        if invoice[0] == "A":
            reason = "bad_debt_adjustment"
        elif price <= 0:
            reason = "price_not_positive"
        elif code in NO_SALE:
            reason = "not_a_sale"
        if reason:
            self.reasons[reason] += 1
            self.value[reason] += exact
            return
        self.accepted += 1
        rounded = quantity * price.quantize(Decimal("0.01"), ROUND_HALF_EVEN)
        self.value["rounding"] += exact - rounded
        self.value["credits" if invoice[0] == "C" else "sales"] += rounded
        self.invoices[invoice] = self.invoices.get(invoice, 0) + rounded
        if invoice[0] != "C" and code not in POSTAGE | {"M", "D"}:
            self.items["lines"] += 1
            self.items["units"] += quantity
            self.items["revenue"] += rounded
        if row["CustomerID"]:
            number = row["CustomerID"].split(".")[0]
            self.customers[number] = min(row["InvoiceDate"], self.customers.get(number, "9"))


def assert_agrees(account, separate):
    total, amount = account.total, account.as_json()["control_totals"]["amount"]
    assert (total.lines, total.accepted, total.duplicates) == (
        separate.lines,
        separate.accepted,
        separate.duplicates,
    )
    assert dict(total.reasons) == dict(separate.reasons)
    assert Decimal(amount["read"]) == separate.value["read"]
    assert Decimal(amount["events"]["sales"]) == separate.value["sales"]
    assert Decimal(amount["events"]["credits"]) == separate.value["credits"]
    assert Decimal(amount["rounding"]) == separate.value["rounding"]
    assert Decimal(amount["duplicates"]) == separate.value["duplicates"]
    assert {name: Decimal(value) for name, value in amount["refused"].items()} == {
        name: separate.value[name] for name in separate.reasons
    }
    assert account.events["orders"] == len(separate.invoices)
    assert account.events["order_items"] == separate.items["lines"]


def imported(paths):
    sink = CollectingSink()
    account = Importer(load_mapping(MAPPING), sink, NOW).run(paths)
    return account, sink


@pytest.fixture(scope="module")
def excerpt():
    return *imported([EXCERPT]), SeparateComputation([EXCERPT])


def test_the_excerpt_agrees_with_a_separate_computation(excerpt):
    account, sink, separate = excerpt
    assert_agrees(account, separate)
    totals = Counter()
    for order in sink.of("orders"):
        totals[order["status"]] += order["total_amount"]
    assert totals == {"placed": separate.value["sales"], "refunded": -separate.value["credits"]}
    assert sum(item["quantity"] for item in sink.of("order_items")) == separate.items["units"]
    assert (
        sum(item["quantity"] * item["unit_price"] for item in sink.of("order_items"))
        == separate.items["revenue"]
    )


def test_the_excerpt_holds_every_kind_of_dirt(excerpt):
    account, _, separate = excerpt
    rows = list(csv.DictReader(io.StringIO(EXCERPT.read_text("utf-8"), newline="")))
    assert set(separate.reasons) == {"bad_debt_adjustment", "price_not_positive", "not_a_sale"}
    assert account.total.duplicates > 0
    kinds = {
        "credit note": lambda r: r["InvoiceNo"][0] == "C",
        "guest": lambda r: not r["CustomerID"],
        "three decimals": lambda r: re.search(r"\.\d{3}", r["UnitPrice"]),
        "price below zero": lambda r: r["UnitPrice"][0] == "-",
        "stock correction": lambda r: Decimal(r["UnitPrice"]) == 0 and int(r["Quantity"]) < 0,
        "quotes": lambda r: '"' in r["Description"],
        "comma": lambda r: "," in r["Description"],
        "beyond ASCII": lambda r: not r["Description"].isascii(),
        "no country": lambda r: r["Country"] in ("Unspecified", "European Community", "Channel Islands"),
        "lower-case code": lambda r: re.search("^[0-9]+[a-z]", r["StockCode"]),
        **{
            code: lambda r, code=code: r["StockCode"] == code
            for code in ("POST", "DOT", "C2", "M", "D", *NO_SALE)
        },
    }
    assert [name for name, test in kinds.items() if not any(test(row) for row in rows)] == []
    numbers = [row["InvoiceNo"] for row in rows]
    runs = [number for i, number in enumerate(numbers) if i == 0 or numbers[i - 1] != number]
    assert "542806" in [number for number, count in Counter(runs).items() if count > 1]
    assert any(
        len({r["InvoiceDate"] for r in rows if r["InvoiceNo"] == number}) > 1 for number in set(numbers)
    )
    assert len(rows) <= 400


def test_customers_are_plainly_synthetic_and_new_at_their_first_sighting(excerpt):
    _, sink, separate = excerpt
    found = {event["email"]: event["created_at"] for event in sink.of("customers")}
    london = ZoneInfo("Europe/London")
    assert found == {
        f"customer-{number}@example.invalid": datetime.fromisoformat(first).replace(tzinfo=london)
        for number, first in separate.customers.items()
    }


def test_countries_are_iso_codes_and_what_is_no_country_has_none(excerpt):
    _, sink, _ = excerpt
    assert {order["shipping_country"] for order in sink.of("orders")} == {"GB", "IE", "DE", "NL", None}


def test_importing_the_excerpt_again_gives_the_same_bytes(excerpt):
    assert imported([EXCERPT])[1].records == excerpt[1].records


def test_parts_imported_in_any_order_lead_to_the_same_state(tmp_path, excerpt):
    header, *lines = EXCERPT.read_bytes().splitlines(keepends=True)
    whole = {}
    for line in lines:
        whole.setdefault(line.split(b",")[0], []).append(line)
    parts = []
    for i in range(4):
        path = tmp_path / f"part-{i}.csv"
        path.write_bytes(
            header + b"".join(b"".join(group) for n, group in enumerate(whole.values()) if n % 4 == i)
        )
        parts.append(path)
    states = []
    for seed in range(3):
        order = parts[:]
        random.Random(seed).shuffle(order)
        together = CollectingSink()
        for path in order:
            together.events += imported([path])[1].events
        states.append(
            {
                key: content(*item)
                for key, *item in ((key, key[0], event) for key, event in together.state().items())
            }
        )
    assert states[0] == states[1] == states[2]
    assert states[0] == {key: content(key[0], event) for key, event in excerpt[1].state().items()}


def content(topic, event):
    """What a row says, without when it was last said: a product unchanged in name and category is not sent again."""
    return {
        n: v
        for n, v in event.items()
        if topic != "products" or n in ("product_id", "name", "category", "sku", "created_at", "op")
    }


@pytest.mark.skipif(
    not DATA, reason="the whole data set is not at ../shared/data: only the excerpt is tested"
)
def test_the_whole_data_is_accounted_for_to_the_last_line_and_digit():
    account = Importer(load_mapping(MAPPING), DrySink(), NOW).run(DATA)
    assert account.errors == []
    assert_agrees(account, SeparateComputation(DATA))
    assert account.total.lines == 320_705
    assert account.as_json()["control_totals"]["amount"]["read"] == "5761931.382"
    assert "country" not in account.lookup_misses
    text = (MAPPING.parent / "README.md").read_text("utf-8").replace(",", "").replace("−", "-")
    amount = account.as_json()["control_totals"]["amount"]
    figures = [
        account.total.accepted,
        account.total.duplicates,
        account.total.refused,
        *account.events.values(),
    ]
    for figure in [
        *figures,
        *account.total.reasons.values(),
        amount["read"],
        *amount["events"].values(),
        amount["rounding"],
        amount["duplicates"],
    ]:
        assert re.search(rf"(?<![\d.]){re.escape(str(figure))}(?![\d.]*\d)", text), (
            f"the example's README does not say {figure}"
        )
