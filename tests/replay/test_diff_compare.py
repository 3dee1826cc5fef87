"""What a comparison of two extracts finds: held against plain Python, and each kind of difference by itself."""

import random
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from replay.diff.compare import compare
from replay.diff.errors import NotComparable, NotExtracted
from replay.diff.matching import common_type
from replay.diff.values import Tally
from tests.replay.diff_kit import MONEY, Extract, column, compared, compared_rows, plainly

COLUMNS = [
    column("a"),
    column("b", "BIGINT", summed=False),
    column("amount", MONEY, unit="money"),
    column("n", "INTEGER"),
    column("at", "TIMESTAMP"),
    column("day", "DATE"),
    column("fine", "BOOLEAN"),
]
WHEN = datetime(2026, 5, 1)  # noqa: DTZ001 times without a zone are UTC, as in the files
D1, D2, D3 = (date(2026, 5, day) for day in (1, 2, 3))


def random_row(chance, keys):
    maybe = lambda value: None if chance.random() < 0.15 else value  # noqa: E731
    return (
        maybe(f"k{chance.randrange(keys)}"),
        maybe(chance.randrange(3)),
        maybe(Decimal(chance.randrange(-(10**9), 10**9)) / 100),
        maybe(chance.randrange(-3, 4)),
        maybe(WHEN + timedelta(hours=chance.randrange(24), microseconds=chance.randrange(3))),
        maybe(date(2026, 5, chance.randrange(1, 5))),
        maybe(chance.random() < 0.5),
    )


def nearly(rows, chance, keys):
    """The same rows, with some left out, some changed, some twice, some new, in another order."""
    found = []
    for row in rows:
        match chance.randrange(12):
            case 0:
                continue
            case 1:
                n = chance.randrange(2, len(row))
                row = (*row[:n], random_row(chance, keys)[n], *row[n + 1 :])
            case 2:
                found.append(row)
        found.append(row)
    found += [random_row(chance, keys) for _ in range(chance.randrange(4))]
    chance.shuffle(found)
    return found


def expect_as_plainly(found, columns, one, other, key):
    wanted = plainly(columns, one, other, key)
    tally = found.tally
    assert (tally.one, tally.other) == (len(one), len(other))
    assert (tally.only_one, tally.only_other) == (wanted["only_one"], wanted["only_other"])
    assert tally.changed == wanted["changed"]
    assert tally.equal == len(other) - tally.only_other - tally.changed
    assert dict(found.columns) == wanted["columns"]
    assert {total.column: (total.one, total.other) for total in found.totals} == wanted["sums"]


@pytest.mark.parametrize("seed", range(30))
def test_random_tables_are_compared_as_plain_python_does(tmp_path, seed):
    chance = random.Random(seed)
    unique = seed % 2
    keys = chance.choice((5, 60))
    one = [random_row(chance, keys) for _ in range(chance.choice((0, 1, 40, 150)))]
    other = nearly(one, chance, keys)
    if unique:
        one, other = (list({row[:2]: row for row in rows}.values()) for rows in (one, other))
    found = compared_rows(tmp_path, COLUMNS, one, other, ("a", "b"), day="day")
    expect_as_plainly(found, COLUMNS, one, other, ("a", "b"))
    # What is told of the days adds up: a row that moved belongs to two.
    days = {day.day: day for day in found.days}
    for day, told in days.items():
        assert (told.tally.one, told.tally.other) == tuple(
            sum(row[5] == day for row in rows) for rows in (one, other)
        )
        for total in told.totals:
            at = [each.name for each in COLUMNS].index(total.column)
            sides = (sum(row[at] or 0 for row in rows if row[5] == day) for rows in (one, other))
            assert (total.one, total.other) == tuple(sides)
    assert sum(told.tally.only_one for told in found.days) == found.tally.only_one
    assert sum(told.tally.only_other for told in found.days) == found.tally.only_other
    if found.tally.changed:
        assert sum(told.tally.changed for told in found.days) >= found.tally.changed


def test_the_same_rows_in_another_order_are_equal(tmp_path):
    chance = random.Random(5)
    rows = [random_row(chance, 30) for _ in range(200)]
    found = compared_rows(tmp_path, COLUMNS, rows, rows[::-1], ("a", "b"), day="day")
    assert found.equal
    assert found.tally == Tally(200, 200)
    assert (found.columns, found.days, found.examples) == ((), (), ())


KEYED = [
    column("id"),
    column("amount", MONEY, unit="money"),
    column("who", personal=True),
    column("day", "DATE"),
]


def row(number, amount="1.00", who="anna", day=D1):
    return f"k{number}", Decimal(amount), who, day


def test_each_kind_of_difference_is_told_apart_with_its_day_and_its_rows(tmp_path):
    one = [row(1), row(2), row(3, day=D2), row(4, day=D3)]
    other = [row(1), row(2, "1.01"), row(5, "7.00", day=D2), row(4, day=D3)]
    found = compared_rows(tmp_path, KEYED, one, other, ("id",), day="day")
    assert found.tally == Tally(4, 4, only_one=1, only_other=1, changed=1)
    assert found.columns == (("amount", 1),)
    [total] = found.totals
    assert (total.one, total.other, total.difference) == (Decimal("4.00"), Decimal("10.01"), Decimal("6.01"))
    first, second = found.days
    assert (first.day, first.tally) == (D1, Tally(2, 2, changed=1))
    assert (second.day, second.tally) == (D2, Tally(1, 1, only_one=1, only_other=1))
    assert second.totals[0].difference == Decimal("6.00")
    changed, gone, new = found.examples
    assert (changed.change, changed.key, changed.one, changed.other) == (
        "changed",
        {"id": "k2"},
        {"amount": "1.00"},
        {"amount": "1.01"},
    )
    assert (gone.change, gone.key, gone.other) == ("only_one", {"id": "k3"}, None)
    assert (new.change, new.one) == ("only_other", None)
    assert new.other == {"amount": "7.00", "who": "***", "day": "2026-05-02"}


def test_personal_data_is_compared_and_never_told(tmp_path):
    columns = [column("id", personal=True), *KEYED[1:]]
    one, other = [row(1), row(2), row(3)], [row(1, who="berta"), row(2, who=None), row(4)]
    found = compared_rows(tmp_path, columns, one, other, ("id",))
    assert found.columns == (("who", 2),)
    assert not {"anna", "berta", "k1", "k2"} & set(_texts(found))
    # Only that it differs; null is no secret.
    assert ({"who": "***"}, {"who": "***"}) in [(each.one, each.other) for each in found.examples]
    assert ({"who": "***"}, {"who": None}) in [(each.one, each.other) for each in found.examples]


def test_what_is_personal_on_one_side_is_masked_on_both(tmp_path):
    one = Extract(tmp_path, "g1").add("t", [column("id"), column("who")], [("a", "anna")], ("id",))
    other = Extract(tmp_path, "g2").add(
        "t", [column("id"), column("who", personal=True)], [("a", "berta")], ("id",)
    )
    [found] = compared(one, other).relations
    assert not {"anna", "berta"} & set(_texts(found))


def _texts(found):
    return [
        value
        for each in found.examples
        for side in (each.key, each.one or {}, each.other or {})
        for value in side.values()
    ]


def test_null_is_a_value_in_keys_and_in_columns(tmp_path):
    columns = [column("a"), column("b"), column("n", "BIGINT")]
    one = [(None, None, 1), (None, "x", None), ("x", None, 3)]
    other = [(None, None, 1), (None, "x", 0), ("x", "y", 3)]
    found = compared_rows(tmp_path, columns, one, other, ("a", "b"))
    assert found.tally == Tally(3, 3, only_one=1, only_other=1, changed=1)
    assert found.columns == (("n", 1),)
    assert found.examples[0].one == {"n": None}


def test_a_row_that_is_there_twice_is_not_there_once(tmp_path):
    found = compared_rows(tmp_path, KEYED, [row(1), row(2)], [row(1), row(1), row(2)], ("id",))
    assert found.tally == Tally(2, 3, only_other=1)


def test_money_is_exact_to_its_38th_digit(tmp_path):
    kind = "DECIMAL(38,2)"
    columns = [column("id"), column("m", kind, unit="money")]
    large, less = (Decimal(f"123456789012345678901234567890123456.{cents}") for cents in (78, 77))
    found = compared_rows(tmp_path, columns, [("a", large)], [("a", less)], ("id",))
    [total] = found.totals
    assert (total.one, total.difference) == (large, Decimal("-0.01"))


def test_a_row_that_moved_to_another_day_belongs_to_both(tmp_path):
    found = compared_rows(tmp_path, KEYED, [row(1)], [row(1, day=D2)], ("id",), day="day")
    assert [(day.day, day.tally) for day in found.days] == [
        (D1, Tally(1, 0, changed=1)),
        (D2, Tally(0, 1, changed=1)),
    ]
    assert found.tally.changed == 1


def test_only_the_days_that_were_asked_for_are_compared_and_what_has_none_is_named(tmp_path):
    sides = []
    for generation, amount in (("g1", "1.00"), ("g2", "2.00")):
        rows = [row(1, amount), row(2, amount, day=D2), row(3, amount, day=D3)]
        extract = Extract(tmp_path, generation).add("t", KEYED, rows, ("id",), day="day")
        sides.append(extract.add("u", KEYED, rows, ("id",)))
    found = compared(*sides, days=(D2, D3))
    [t] = found.relations
    assert t.tally == Tally(2, 2, changed=2)
    assert found.left_out == ("u",)


def test_new_tables_and_columns_are_told_as_such_and_not_as_rows(tmp_path):
    one = Extract(tmp_path, "g1").add("t", KEYED, [row(1)], ("id",)).add("old", KEYED, [], ("id",))
    columns = [*KEYED, column("net", MONEY, defined="derived")]
    other = (
        Extract(tmp_path, "g2")
        .add("t", columns, [(*row(1), Decimal(1))], ("id",))
        .add("new", KEYED, [row(1)], ("id",))
    )
    found = compared(one, other)
    [t] = found.relations
    assert not t.tally.differing
    assert t.declared.only_other == ("net",)
    assert [each.title for each in found.only_one] == ["old"]
    assert [(each.title, each.rows) for each in found.only_other] == [("new", 1)]
    assert not t.equal
    assert not found.equal


def test_another_definition_is_told_and_is_no_difference_if_the_rows_are_the_same(tmp_path):
    sides = [
        Extract(tmp_path, generation).add(
            "t", [column("id"), column("n", "BIGINT", defined=how)], [("a", 1)], ("id",)
        )
        for generation, how in (("g1", "count"), ("g2", "count of all"))
    ]
    found = compared(*sides)
    assert found.relations[0].declared.defined == (("n", "count", "count of all"),)
    assert found.equal


def metric(home, generation, dimensions, rows):
    columns = [column("day", "DATE"), *map(column, dimensions), column("gross", "DECIMAL(38,2)")]
    columns.append(column("mean", "DECIMAL(38,2)", summed=False, derived=True))
    extract = Extract(home, generation)
    return extract.add("revenue", columns, rows, ("day", *dimensions), "day", kind="metric", grain="day")


def test_a_metric_with_other_dimensions_is_compared_by_those_that_both_have(tmp_path):
    m = Decimal
    one = metric(tmp_path, "g1", ("how",), [(D1, "card", m(10), m(5)), (D1, None, m(1), m(1))])
    split = [(D1, "card", "AT", m(4), m(2)), (D1, "card", "DE", m(6), m(3)), (D1, None, "AT", m(2), m(2))]
    other = metric(tmp_path, "g2", ("how", "country"), split)
    [found] = compared(one, other).relations
    assert found.tally == Tally(2, 2, changed=1)
    assert found.examples[0].key == {"day": "2026-05-01", "how": None}
    assert found.declared.summed_up
    assert found.declared.only_other == ("country",)
    assert found.declared.not_compared == ("mean",)
    [total] = found.totals
    assert total.difference == 1


def test_a_column_of_another_type_is_compared_by_its_values(tmp_path):
    one = Extract(tmp_path, "g1").add(
        "t", [column("id"), column("n", "INTEGER")], [("a", 1), ("b", 2)], ("id",)
    )
    wide = [column("id"), column("n", "DECIMAL(20,2)")]
    other = Extract(tmp_path, "g2").add("t", wide, [("a", Decimal(1)), ("b", Decimal("2.01"))], ("id",))
    [found] = compared(one, other).relations
    assert found.tally.changed == 1
    assert found.declared.types == (("n", "INTEGER", "DECIMAL(20,2)"),)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("INTEGER", "BIGINT", "BIGINT"),
        ("BIGINT", "DECIMAL(28,2)", "DECIMAL(28,2)"),
        ("BIGINT", "DECIMAL(10,2)", "DECIMAL(21,2)"),
        ("DECIMAL(38,0)", "BIGINT", "DECIMAL(38,0)"),
        ("DECIMAL(38,2)", "DECIMAL(38,6)", "VARCHAR"),
        ("DATE", "TIMESTAMP", "TIMESTAMP"),
        ("VARCHAR", "BIGINT", "VARCHAR"),
    ],
)
def test_two_types_are_compared_as_one_that_holds_both(one, other, both):
    assert common_type(one, other) == common_type(other, one) == both


def test_numbers_that_no_type_holds_are_compared_as_numbers_all_the_same(tmp_path):
    """1.50 is 1.500000; what has too many digits for six behind the point is compared as it stands."""
    large = Decimal("1" * 36 + ".25")
    one = Extract(tmp_path, "g1").add("t", [column("id"), column("x", "DECIMAL(38,2)")], [
        ("a", Decimal("1.50")), ("b", Decimal("2.00")), ("c", large), ("d", None)
    ], ("id",))  # fmt: skip
    other = Extract(tmp_path, "g2").add("t", [column("id"), column("x", "DECIMAL(38,6)")], [
        ("a", Decimal("1.500000")), ("b", Decimal("2.000001")), ("c", Decimal(3)), ("d", None)
    ], ("id",))  # fmt: skip
    [found] = compared(one, other).relations
    assert found.tally == Tally(4, 4, changed=2)


def test_personal_numbers_are_not_summed(tmp_path):
    """The sum of a day that has one row is that row."""
    columns = [column("id"), column("salary", MONEY, personal=True), column("day", "DATE")]
    rows = [("a", Decimal("5000.00"), D1)]
    found = compared_rows(tmp_path, columns, rows, [("a", Decimal("5200.00"), D1)], ("id",), day="day")
    assert found.tally == Tally(1, 1, changed=1)
    assert found.totals == ()
    assert [(each.day, each.totals) for each in found.days] == [(D1, ())]
    # Also where the code of one side says that it is summed, and only that of the other that it is personal.
    plain = [column("id"), column("salary", MONEY), column("day", "DATE")]
    one = Extract(tmp_path / "x", "g1").add("t", plain, rows, ("id",), "day")
    other = Extract(tmp_path / "x", "g2").add("t", columns, rows, ("id",), "day")
    assert compared(one, other).relations[0].totals == ()


def test_rows_whose_day_is_told_by_another_column_are_not_told_by_day(tmp_path):
    columns = [column("id"), column("ordered", "DATE"), column("made", "DATE")]
    rows = [("a", D1, D2)]
    one = Extract(tmp_path, "g1").add("t", columns, rows, ("id",), "ordered")
    other = Extract(tmp_path, "g2").add("t", columns, [("a", D1, D3)], ("id",), "made")
    [found] = compared(one, other).relations
    assert (found.tally, found.days) == (Tally(1, 1, changed=1), ())
    assert compared(one, other, days=(D1, D1)).left_out == ("t",)


def test_with_days_what_was_named_and_has_none_is_not_said_to_be_equal(tmp_path):
    one, other = (
        Extract(tmp_path, g).add("t", KEYED, [row(1)], ("id",)).add("u", KEYED, [row(1)], ("id",), "day")
        for g in ("g1", "g2")
    )
    assert compared(one, other, days=(D1, D1)).left_out == ("t",)
    with pytest.raises(NotComparable, match=r"expected a table whose rows have days, and t has none"):
        compared(one, other, days=(D1, D1), tables=("t", "u"))
    assert compared(one, other, days=(D1, D1), tables=("u",)).equal


def test_a_metric_by_the_same_dimensions_in_another_order_is_the_same_one(tmp_path):
    columns = [column("method"), column("country"), column("net", MONEY)]
    rows = [("card", "AT", Decimal("1.00"))]
    one = Extract(tmp_path, "g1").add("m", columns, rows, ("method", "country"), kind="metric", grain="all")
    other = Extract(tmp_path, "g2").add("m", columns, rows, ("country", "method"), kind="metric", grain="all")
    assert compared(one, other).equal


def test_what_adds_up_to_nothing_is_no_row_of_a_metric(tmp_path):
    columns = [column("method"), column("country"), column("net", MONEY)]
    rows = [
        ("card", "AT", Decimal("10.00")), ("card", "DE", Decimal("-10.00")), ("cash", "AT", Decimal("1.00"))
    ]  # fmt: skip
    one = Extract(tmp_path, "g1").add("m", columns, rows, ("method", "country"), kind="metric", grain="all")
    other = Extract(tmp_path, "g2").add(
        "m", columns[::2], [("cash", Decimal("1.00"))], ("method",), kind="metric", grain="all"
    )
    [found] = compared(one, other).relations
    assert (found.tally, found.declared.summed_up) == (Tally(1, 1), True)


def test_examples_are_few_and_of_every_kind(tmp_path):
    one = [row(n) for n in range(50)]
    other = [row(n, "2.00") for n in range(40)] + [row(n) for n in range(100, 103)]
    found = compared_rows(tmp_path, KEYED, one, other, ("id",), asked={"examples": 9})
    assert len(found.examples) == 9
    assert {each.change for each in found.examples} == {"changed", "only_one", "only_other"}


def test_tables_without_a_key_column_in_common_are_compared_by_whole_rows(tmp_path):
    columns = [column("a"), column("b")]
    one = Extract(tmp_path, "g1").add("t", columns, [("x", "1"), ("y", "2")], ("a",))
    other = Extract(tmp_path, "g2").add("t", columns, [("x", "1"), ("y", "3")], ("b",))
    [found] = compared(one, other).relations
    assert found.tally == Tally(2, 2, only_one=1, only_other=1)
    assert found.declared.key == (("a",), ("b",))


def test_extracts_of_other_offsets_are_not_compared(tmp_path):
    one, other = Extract(tmp_path, "g1"), Extract(tmp_path, "g2")
    other.until = {("orders", 0): 13}
    with pytest.raises(NotComparable, match=r"orders/0 g1 is at 12 and g2 at 13"):
        compared(one, other)
    # A topic that only one of them counts is no obstacle.
    other.until = {("orders", 0): 12, ("returns", 0): 4}
    assert compared(one, other).equal


def test_a_name_that_neither_has_is_refused(tmp_path):
    one, other = (Extract(tmp_path, g).add("t", KEYED, [], ("id",)) for g in ("g1", "g2"))
    assert [each.name for each in compared(one, other, tables=("t",)).relations] == ["t"]
    with pytest.raises(NotComparable, match="saw bogus"):
        compared(one, other, tables=("t", "bogus"))
    with pytest.raises(NotComparable, match="name of a metric"):
        compared(one, other, metrics=("t",))


def test_what_is_no_finished_extract_or_one_of_another_form_is_refused(tmp_path):
    one, other = Extract(tmp_path, "g1"), Extract(tmp_path, "g2")
    one.done()
    scratch = tmp_path / "s"
    scratch.mkdir()
    with pytest.raises(NotExtracted, match="none that is finished"):
        compare(one.home, other.home, scratch)
    index = other.done() / "index.json"
    index.write_text(index.read_text().replace('"form": 1', '"form": 9'))
    with pytest.raises(NotExtracted, match="form 1, saw 9"):
        compare(one.home, other.home, scratch)


@pytest.mark.slow
@pytest.mark.cases(0)
def test_many_rows_are_compared_within_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("replay.diff.tables.MEMORY", "300MB")
    count, columns = 1_000_000, [column("id", "BIGINT"), *KEYED[1:]]
    one = [(n, Decimal(n) / 100, f"customer number {n}", D1) for n in range(count)]
    other = [(n, m + (n % 1_000 == 0), who, day) for n, m, who, day in one[10:]]
    found = compared_rows(tmp_path, columns, one, other, ("id",), day="day")
    assert found.tally == Tally(count, count - 10, only_one=10, changed=count // 1_000 - 1)
    assert found.totals[0].difference == count // 1_000 - 1 - sum(Decimal(n) / 100 for n in range(10))
