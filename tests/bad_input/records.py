"""The table of bad records, and of odd ones that are none: what each is, and what has to be said of it.

It is put to the plain judge, to the whole live path in memory, and to the real one (see test_records.py and
test_real_path.py).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from dataflow.testing import Raw
from schemas.validate import micros
from tests.bad_input.kit import Maker, unscaled

UNDECIDED = "unknown_schema_id"
# Which of these is said of bytes that are no record depends on which check of them comes first.
DAMAGED = frozenset({"undecodable", "not_canonical", "invalid_utf8", "does_not_fit_contract"})
LARGEST = 2**63 - 1
NOBODYS_ID = 2_000_000_007


@dataclass(frozen=True)
class Case:
    """`make` makes the record; `reasons` are why it is refused, none if it is accepted."""

    name: str
    make: Callable[[Maker], Raw]
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


def refused(name: str, reasons: str, make: Callable[[Maker], Raw]) -> Case:
    return Case(name, make, tuple(reasons.split()))


def at(topic: str, field: str, moment: int) -> Callable[[Maker], Raw]:
    """A record with a time in µs that no calendar may have."""
    return lambda m: m.odd(topic, **{field: moment})


def ahead(**by: float) -> Callable[[Maker], Raw]:
    """An order of so much later than the clock's time."""
    return lambda m: m.good("orders", order_date=m.events.clock.now() + timedelta(**by))


FRAMES = (
    refused("an empty value", "too_short", lambda m: m.cut("orders", 0, 0)),
    refused("half a header", "too_short", lambda m: m.cut("orders", 0, 4)),
    refused("a header alone", "undecodable", lambda m: m.cut("orders", 0, 5)),
    refused(
        "another magic byte",
        "wrong_magic_byte",
        lambda m: Raw("orders", b"k", b"\x01" + m.good("orders").value[1:]),
    ),
    refused("a byte missing in front", UNDECIDED, lambda m: m.cut("orders", 1, None)),
    refused(
        "JSON", "wrong_magic_byte", lambda m: Raw("orders", b"1", b'{"order_id": "1", "total_amount": NaN}')
    ),
    refused("an id of no schema", UNDECIDED, lambda m: m.framed("orders", NOBODYS_ID)),
    refused("an id of all ones", UNDECIDED, lambda m: m.framed("orders", 2**32 - 1)),
    refused(
        "the schema id of another topic",
        UNDECIDED,
        lambda m: m.framed("orders", m.codec.schema_ids["payments"]),
    ),
    refused("cut off", "undecodable", lambda m: m.cut("payments", 0, -3)),
    refused("bytes behind it", "not_canonical", lambda m: m.cut("payments", 0, None, b"\0")),
    refused(
        "two records in one", "not_canonical", lambda m: m.cut("payments", 0, None, m.good("payments").value)
    ),
    refused("no UTF-8", "invalid_utf8", lambda m: m.odd("reviews", body=b"\xff\xfe")),
    refused("half a surrogate pair", "invalid_utf8", lambda m: m.odd("reviews", body=b"\xed\xa0\x80")),
    refused("a null key", "null_key", lambda m: Raw("orders", None, m.good("orders").value)),
    refused("an empty key", "key_is_not_entity_id", lambda m: Raw("orders", b"", m.good("orders").value)),
    refused(
        "another's key",
        "key_is_not_entity_id",
        lambda m: Raw("orders", m.good("orders").key, m.good("orders").value),
    ),
    refused("a tombstone", "null_value", lambda m: Raw("orders", m.good("orders").key, None)),
    refused("neither key nor value", "null_value", lambda m: Raw("clickstream", None, None)),
    refused("a value of 1 MB", "too_large", lambda m: m.good("reviews", body="x" * 1_000_000)),
    refused("1 MB of zeros", "too_large", lambda m: Raw("orders", b"k", bytes(1_000_000))),
    refused("a key of 300 kB", "too_large", lambda m: Raw("orders", b"k" * 300_000, m.good("orders").value)),
)

AMOUNTS = (
    Case("nothing to pay", lambda m: m.good("orders", total_amount="0")),
    Case("the largest amount", lambda m: m.good("orders", total_amount="9999999999.99")),
    refused("a cent below nothing", "total_amount_minimum", lambda m: m.good("orders", total_amount="-0.01")),
    refused(
        "the smallest amount",
        "total_amount_minimum",
        lambda m: m.good("orders", total_amount="-9999999999.99"),
    ),
    refused(
        "a digit too many", "does_not_fit_contract", lambda m: m.odd("orders", total_amount=unscaled(10**12))
    ),
    refused("40 digits", "not_canonical", lambda m: m.odd("orders", total_amount=unscaled(10**40 - 1))),
    refused(
        "40 digits below nothing",
        "not_canonical",
        lambda m: m.odd("orders", total_amount=unscaled(1 - 10**40)),
    ),
    refused(
        "2⁶⁴ and a little", "not_canonical", lambda m: m.odd("orders", total_amount=unscaled(2**64 + 1999))
    ),
    # A decimal is whole cents, so it can be no NaN; the bits of one are a number of 19 digits.
    refused(
        "the bits of a NaN",
        "not_canonical",
        lambda m: m.odd("orders", total_amount=struct.pack(">d", float("nan"))),
    ),
    refused("an amount without a byte", "not_canonical", lambda m: m.odd("orders", total_amount=b"")),
    refused(
        "an amount with a byte too many", "not_canonical", lambda m: m.odd("orders", total_amount=b"\0\x05")
    ),
    Case("the largest quantity", lambda m: m.good("order_items", quantity=2**31 - 1, unit_price="0.01")),
    refused("a quantity of 0", "quantity_minimum", lambda m: m.good("order_items", quantity=0)),
    refused("a quantity of 2³¹", "does_not_fit_contract", lambda m: m.odd("order_items", quantity=2**31)),
    refused(
        "a quantity of -2³¹",
        "quantity_minimum discount_within_line",
        lambda m: m.good("order_items", quantity=-(2**31)),
    ),
    refused(
        "a line that no sum of cents could hold",
        "line_amount_in_range",
        lambda m: m.good("order_items", quantity=2**31 - 1, unit_price="99999999.99"),
    ),
    refused(
        "a discount above the line",
        "discount_within_line",
        lambda m: m.good("order_items", quantity=1, unit_price="1.00", discount="1.01"),
    ),
    refused("a version below 0", "version_minimum", lambda m: m.good("orders", version=-1)),
    Case("the largest version", lambda m: m.good("orders", version=LARGEST)),
)

TIMES = (
    refused("the year 1970", "order_date_in_range", at("orders", "order_date", 0)),
    refused("a µs before 1970", "order_date_in_range", at("orders", "order_date", -1)),
    refused("seconds taken for µs", "order_date_in_range", at("orders", "order_date", 1_772_442_000)),
    refused("the last µs of 1999", "order_date_in_range", at("orders", "order_date", 946_684_799_999_999)),
    Case("the first µs of 2000", at("orders", "order_date", 946_684_800_000_000)),
    refused("the year 1970 of a click", "occurred_at_in_range", at("clickstream", "occurred_at", 0)),
    refused(
        "nanoseconds taken for µs", "order_date_in_range", at("orders", "order_date", 1_772_442_000 * 10**9)
    ),
    refused("the end of all times", "order_date_in_range", at("orders", "order_date", LARGEST)),
    refused("the beginning of all times", "order_date_in_range", at("orders", "order_date", -LARGEST - 1)),
    Case("later today", ahead(hours=23)),
    refused("the day after tomorrow", "order_date_in_range", ahead(days=2)),
    refused(
        "the year 9999", "order_date_in_range", lambda m: m.good("orders", order_date="9999-12-31T23:59:59Z")
    ),
    refused(
        "a click of tomorrow's tomorrow",
        "occurred_at_in_range",
        lambda m: m.odd("clickstream", occurred_at=m.events.clock.micros() + 2 * 86_400_000_000),
    ),
    Case("a time with a zone", lambda m: m.good("orders", order_date="2026-01-02T01:30:00+05:45")),
)

TEXTS = (
    Case("control characters", lambda m: m.good("reviews", body="a\x00\x1f\x7f\u2028z")),
    Case("beyond the basic plane", lambda m: m.good("reviews", body="🛒" * 50)),
    refused("a text of one space", "body_text", lambda m: m.good("reviews", body=" ")),
    refused("no text where there is one", "body_text", lambda m: m.good("reviews", body="")),
    refused(
        "an id in capitals", "order_id_is_uuid", lambda m: m.good("orders", order_id=m.events.ids().upper())
    ),
    refused("a state that there is not", "status_allowed", lambda m: m.good("orders", status="lost")),
    refused(
        "a country that there is not",
        "shipping_country_is_country",
        lambda m: m.good("orders", shipping_country="XX"),
    ),
)

CASES = (*FRAMES, *AMOUNTS, *TIMES, *TEXTS)

# True only while the clock stands still: the judge's one day is counted from the broker's time.
EDGES = (
    Case(
        "a day ahead to the µs",
        lambda m: m.odd("orders", order_date=micros(m.events.clock.now()) + 86_400_000_000),
    ),
    refused(
        "a µs more than a day ahead",
        "order_date_in_range",
        lambda m: m.odd("orders", order_date=micros(m.events.clock.now()) + 86_400_000_001),
    ),
)
