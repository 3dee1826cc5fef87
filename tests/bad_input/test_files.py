"""Bad files: every line of one has its outcome and its reason in the account, and damage stays where it is."""

from datetime import UTC, datetime

import pytest

from schemas.validate import micros
from sources.importer import InputError
from tests.sources import importer_kit
from tests.sources.importer_kit import HEADER, run, varied

# without a group, so that lines stand alone
SINGLE = varied(group=..., events__0=..., control_totals=...)
GOOD = "1,s,2,1.50,2011-01-01\n"
NEXT = "2,s,2,1.50,2011-01-01\n"
FORTY = "1234567890" * 4


LINES = {
    "an amount of 40 digits": (f"1,x,2,{FORTY},2011-01-01", "not_a_decimal"),
    "an amount of 40 decimals": (f"1,x,2,0.{FORTY},2011-01-01", "not_a_decimal"),
    "three decimals": ("1,x,2,1.505,2011-01-01", "unit_price_type"),
    "an amount beyond its contract": ("1,x,2,100000000.00,2011-01-01", "unit_price_type"),
    "a negative amount": ("1,x,2,-0.01,2011-01-01", "unit_price_minimum"),
    "NaN": ("1,x,2,NaN,2011-01-01", "not_a_decimal"),
    "Infinity": ("1,x,2,-Infinity,2011-01-01", "not_a_decimal"),
    "a signalling NaN": ("1,x,2,sNaN,2011-01-01", "not_a_decimal"),
    "an exponent": ("1,x,2,1e999999999,2011-01-01", "not_a_decimal"),
    "a decimal comma": ('1,x,2,"1,50",2011-01-01', "not_a_decimal"),
    "Arabic digits": ("1,x,2,١.٥٠,2011-01-01", "not_a_decimal"),
    "a quantity of 0": ("1,x,0,1.50,2011-01-01", "quantity_minimum"),
    "a quantity of 2³¹": (f"1,x,{2**31},0.01,2011-01-01", "quantity_type"),
    "a quantity of 40 digits": (f"1,x,{FORTY},0.01,2011-01-01", "not_an_int"),
    "a quantity of 5,000 digits": (f"1,x,{'9' * 5_000},0.01,2011-01-01", "not_an_int"),
    "half a piece": ("1,x,0.5,1.50,2011-01-01", "not_an_int"),
    "a line too dear": (f"1,x,{2**31 - 1},99999999.99,2011-01-01", "line_amount_in_range"),
    "the year 1970": ("1,x,2,1.50,1970-01-01", "created_at_in_range"),
    "the year 9999": ("1,x,2,1.50,9999-12-31", "created_at_in_range"),
    "beyond 9999 by its zone": ("1,x,2,1.50,9999-12-31T23:59:59-01:00", "not_a_time"),
    "the year 10000": ("1,x,2,1.50,10000-01-01", "not_a_time"),
    "a day that there is not": ("1,x,2,1.50,2011-02-30", "not_a_time"),
    "no time": ("1,x,2,1.50,yesterday", "not_a_time"),
    "a second header": (HEADER.strip(), "not_an_int"),
}


@pytest.mark.parametrize("name", LINES)
def test_a_bad_line_is_in_the_account_with_its_reason_and_its_neighbours_are_imported(
    tmp_path, name: str
) -> None:
    line, reason = LINES[name]
    account, sink = run(tmp_path, HEADER + GOOD + line + "\n" + NEXT, SINGLE)
    assert (account.total.accepted, dict(account.total.reasons)) == (2, {reason: 1})
    document = account.as_json()
    [example] = document["examples"][reason]
    assert (example["file"], example["line"]) == ("lines.csv", 3)
    assert len(sink.of("order_items")) == 2
    [refused] = sink.lines
    assert (refused.raw.decode(), refused.reasons[0]) == (line, reason)


def test_all_of_them_in_one_file_are_told_apart_and_the_sums_are_those_of_the_good_lines(tmp_path) -> None:
    text = HEADER + "".join(
        f"{line}\n{n},good,1,0.01,2011-01-01\n" for n, (line, _) in enumerate(LINES.values())
    )
    account, sink = run(tmp_path, text, SINGLE)
    assert (account.total.lines, account.total.accepted, account.total.refused) == (
        2 * len(LINES),
        len(LINES),
        len(LINES),
    )
    reasons = [reason for _, reason in LINES.values()]
    assert dict(account.total.reasons) == {reason: reasons.count(reason) for reason in reasons}
    assert [line.reasons[0] for line in sink.lines] == reasons
    assert sum(item["quantity"] for item in sink.of("order_items")) == len(LINES)


@pytest.mark.parametrize(
    ("at", "accepted"),
    [("2026-03-03", 1), ("2026-03-03T09:30:00Z", 1), ("2026-03-03T09:30:01Z", 0), ("2026-03-05", 0)],
)
def test_a_time_is_future_by_the_day_of_the_import(tmp_path, monkeypatch, at: str, accepted: int) -> None:
    monkeypatch.setattr(importer_kit, "NOW", micros(datetime(2026, 3, 2, 9, 30, tzinfo=UTC)))
    account, _ = run(tmp_path, f"{HEADER}1,s,2,1.50,{at}\n", SINGLE)
    assert account.total.accepted == accepted
    assert dict(account.total.reasons) == ({} if accepted else {"created_at_in_range": 1})


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "byte order mark"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_a_last_line_that_is_cut_off_is_refused_and_the_rest_is_imported(
    tmp_path, mark: bytes, end: bytes
) -> None:
    whole = mark + end.join((HEADER + GOOD + NEXT).encode().splitlines()) + end
    cut = whole.rstrip()[: -len(b",2011-01-01")]
    account, sink = run(tmp_path, cut, SINGLE)
    assert (account.total.accepted, dict(account.total.reasons)) == (1, {"ragged_row": 1})
    assert sink.lines[0].line == 3


def test_a_last_line_cut_within_its_date_is_not_taken_for_another_day(tmp_path) -> None:
    """A file may end without a line end, so only what is in the line can tell."""
    for kept in range(1, len(NEXT.strip())):
        account, sink = run(tmp_path, HEADER + GOOD + NEXT[:kept], SINGLE)
        assert (account.total.lines, account.total.accepted) == (2, 1), NEXT[:kept]
        assert sink.lines[0].raw.decode() == NEXT[:kept]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty|lacks"),
        (b"\n\n", "lacks"),
        (GOOD.encode(), "the header lacks order, sku, pieces, price, at"),
        (HEADER.replace("price", "Price").encode(), "the header lacks price"),
        (HEADER.replace(",", ";").encode(), "the header lacks"),
        (HEADER.encode("utf-16"), "cannot be read as a header|lacks"),
        (b"PK\x03\x04" + bytes(200), "cannot be read as a header|lacks"),
        (b"\x1f\x8b" + bytes(20), "lines.csv"),
    ],
    ids=[
        "empty",
        "a mark alone",
        "blank",
        "no header",
        "capitals",
        "semicolons",
        "UTF-16",
        "zip",
        "broken gzip",
    ],
)
def test_a_file_that_is_none_is_told_before_anything_is_sent(tmp_path, content: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        run(tmp_path, content, SINGLE)
    assert "lines.csv" in str(error.value)


def test_a_header_alone_is_a_file_without_lines(tmp_path) -> None:
    account, sink = run(tmp_path, HEADER, SINGLE)
    assert (account.total.lines, account.errors, sink.records) == (0, [], [])
