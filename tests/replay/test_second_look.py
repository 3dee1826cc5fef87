"""What a verdict says after a later look at parts of it: nothing twice, nothing less, and the later one last."""

from replay.verify.compare import Difference
from replay.verify.tables import WHOLE
from replay.verify.verify import Verdict
from streams.lake.manifest import Manifest

NONE = Manifest(0, "g1", {}, {})


def equal(table: str, rows: int) -> Difference:
    return Difference(table, rows, rows, (), (), ("at", "figure"), 1)


def wrong(table: str, rows: int) -> Difference:
    return Difference(table, rows, rows, ((1, 2),), ((1, 3),), ("at", "figure"), 1, 1, 1)


def rows(first: list[Difference], later: list[Difference]) -> dict[str, tuple[int, int, bool]]:
    found = Verdict(NONE, tuple(first)).then(Verdict(NONE, tuple(later)))
    assert len({each.table for each in found.differences}) == len(found.differences)
    return {each.table: (each.rows, each.expected, each.equal) for each in found.differences}


def test_there_is_one_that_no_account_of_changes_knows() -> None:
    assert {"counts", "dim_date"} == WHOLE


def test_what_is_compared_once_more_is_not_more() -> None:
    first = [equal("orders", 1_000), equal("dim_date", 365), equal("counts", 7), equal("live revenue all", 1)]
    later = [equal("orders", 3), equal("dim_date", 365), equal("counts", 7), equal("live revenue all", 1)]
    assert rows(first, later) == {each.table: (each.rows, each.rows, True) for each in first}


def test_what_was_not_asked_for_before_is_more() -> None:
    found = rows(
        [equal("live revenue minute", 60)], [equal("live revenue minute", 2), equal("live active all", 1)]
    )
    assert found == {"live revenue minute": (62, 62, True), "live active all": (1, 1, True)}


def test_what_is_not_asked_for_again_stays() -> None:
    assert rows([equal("live revenue all", 1), equal("orders", 5)], []) == {
        "live revenue all": (1, 1, True),
        "orders": (5, 5, True),
    }


def test_what_was_wrong_stays_so_and_what_is_wrong_now_is() -> None:
    both = ["orders", "dim_date", "live revenue all"]
    for first, later in ((wrong, equal), (equal, wrong), (wrong, wrong)):
        found = rows([first(each, 9) for each in both], [later(each, 9) for each in both])
        assert found == dict.fromkeys(both, (9, 9, False))
