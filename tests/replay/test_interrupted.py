"""A verifier that lacks memory, room or a file says so, goes on where it stands, and counts nothing twice."""

import errno
import os
from functools import partial

import duckdb
import pytest
from deltalake.exceptions import TableNotFoundError

from replay.verify.bounds import told
from replay.verify.oracle import Oracle
from replay.verify.reading import in_order
from schemas.errors import Unavailable
from tests.helpers import isolated_settings
from tests.replay.test_tables import Checked
from tests.streams.lake.shop import judged_history

WRAPPED = "Invalid Input Error: Attempting to execute an unsuccessful or closed pending query result\nError: "


class Torn:
    """A method of the oracle that fails at its `at`-th call, when it has done its work: with its transaction."""

    def __init__(self, monkeypatch, name, at):
        self.calls, self.at = 0, at
        method = getattr(Oracle, name)

        def failing(oracle, *given):
            found = method(oracle, *given)
            self.calls += 1
            if self.calls == self.at:
                oracle.database.execute("SELECT error('no memory')").fetchall()
            return found

        monkeypatch.setattr(Oracle, name, failing)


@pytest.fixture
def checked(tmp_path, monkeypatch):
    monkeypatch.setattr("replay.verify.oracle.in_order", partial(in_order, at_once=150))
    return Checked(tmp_path)


@pytest.mark.parametrize(
    ("name", "at"), [("_versions", 2), ("_note", 3), ("_refuse", 3), ("_note_minutes", 3)]
)
@pytest.mark.cases(2)
def test_what_is_interrupted_goes_on_where_it_stands(checked, monkeypatch, name, at):
    checked.driver.run(judged_history(1_200, 31))
    torn = Torn(monkeypatch, name, at)
    for _ in range(2):
        with pytest.raises(duckdb.Error, match="no memory"):
            checked.check()
        stands = checked.oracle.records
        assert stands == sum(checked.oracle.counts.values()) > 0
        assert stands == sum(checked.oracle.until.values()), "the topics have a record at each offset"
        torn.calls = torn.at - 1
    torn.calls = torn.at
    assert not checked.check()
    assert checked.oracle.records > stands


def test_changes_are_forgotten_all_or_not_at_all(checked):
    checked.driver.run(judged_history(600, 32))
    assert not checked.check()
    database = checked.oracle.database
    database.execute("INSERT INTO _both_orders SELECT * FROM _all_orders; DROP TABLE _both_reviews")
    with pytest.raises(duckdb.Error, match="_both_reviews"):
        checked.oracle.forget_changes()
    assert database.execute("SELECT count(*) > 0 FROM _both_orders").fetchone() == (True,)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (duckdb.OutOfMemoryException("Out of Memory Error: failed\n\nPossible solutions"), "make room"),
        (duckdb.InvalidInputException(f"{WRAPPED}Out of Memory Error: failed\n\nPossible"), "make room"),
        (duckdb.IOException("IO Error: Could not write: failed"), "the disk is full"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "the disk is full"),
        (duckdb.IOException('IO Error: No files found that match "x"\n\nLINE 1: SELECT'), "a newer one"),
        (TableNotFoundError("no log"), "a newer one"),
    ],
    ids=["memory", "memory, later", "spill", "disk", "files", "log"],
)
def test_what_is_missed_is_told_and_what_to_do(tmp_path, error, said):
    settings = isolated_settings(tmp_path)
    with pytest.raises(Unavailable, match=said) as raised, told(settings):
        raise error
    assert "Possible" not in str(raised.value)
    assert "LINE 1" not in str(raised.value)


def test_what_is_wrong_with_the_verifier_itself_stays_an_error_of_it(tmp_path):
    with pytest.raises(duckdb.BinderException), told(isolated_settings(tmp_path)):
        duckdb.connect().execute("SELECT nothing")
