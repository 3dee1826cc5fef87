"""`dataflow tables`, `verify` and `lake resume`: what is in the lake, whether it is right, and how it goes on."""

import json
import os
import re
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest

from dataflow.commands.verify import NOT_COMPARED
from dataflow.difference_text import lines
from dataflow.lake_state import lake_text
from dataflow.main import FAILED, OK, TRY_AGAIN, USAGE
from infra.runtime.birth import birth
from infra.runtime.run_state import ADDRESSES, Run, write_run
from infra.settings import Settings
from infra.status import write_status
from replay.verify.compare import compare
from replay.verify.report import documents
from schemas.tables import RELATIONS, TABLES
from streams.lake.checkpoint import RESUME, Checkpoint
from streams.lake.place import lake_root
from tests.cli.kit import Shell
from tests.serving.api.kit import Running, State
from tests.serving.lake_kit import SECRET, SmallLake, customer, sales


@pytest.fixture
def lake(environment: Settings) -> Iterator[SmallLake]:
    found = SmallLake(lake_root(environment, "g1"), environment)
    yield found
    found.close()


def run_with(settings: Settings, *processes: dict, url: str | None = None, serves: int | None = None) -> None:
    """run.json as a supervisor writes it that is this process."""
    addresses = {name: getattr(settings, name) for name in ADDRESSES}
    started = birth()
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    run = Run(
        "r", os.getpid(), started, settings.dataflow_env, time.time(), url, addresses, list(processes), serves
    )
    write_run(settings.state_dir, run)


def process(state: str, name: str = "lake") -> dict:
    return {
        "name": name,
        "state": state,
        "pid": None,
        "birth": None,
        "port": None,
        "restarts": 0,
        "since": 0,
    }


def test_what_a_tables_columns_mean_needs_nothing_that_runs(shell: Shell) -> None:
    for name in RELATIONS:
        assert shell.run("tables", name) == OK, shell.err
    assert shell.run("tables", "customers") == OK
    assert "customers (silver, of topic customers; one row a customer_id)" in shell.out
    assert "Personal: masked." in shell.out
    assert shell.run("tables", "revenue_by_day") == OK
    assert "revenue_by_day (view of fct_orders; one row a day)" in shell.out
    assert shell.run("tables", "daily_sales", "--json") == OK
    document = json.loads(shell.out)
    assert document["key"] == ["day", "product_id"]
    assert {column["name"]: column["unit"] for column in document["columns"]}["revenue"] == "money"


def test_tables_are_listed_with_sizes_and_the_manifest_that_they_are_of(
    shell: Shell, lake: SmallLake, api: Running
) -> None:
    lake.write({"daily_sales": [sales(1, 1), sales(1, 2)]})
    assert shell.run("tables") == OK, shell.err
    row = next(line.split() for line in shell.out.splitlines() if line.startswith("daily_sales "))
    assert row[:3] == ["daily_sales", "gold", "2"]
    assert row[4:7] == ["kB", "1", "1"]
    assert shell.out.splitlines()[-1] == "as of manifest 1, g1-10"
    assert shell.run("tables", "--json") == OK
    assert json.loads(shell.out)["as_of"]["manifest"] == 1


def test_a_view_is_listed_and_its_rows_are_shown(shell: Shell, lake: SmallLake, api: Running) -> None:
    lake.write({"daily_sales": [sales(day, 1) for day in (4, 5, 11)]})
    assert shell.run("tables") == OK, shell.err
    row = next(line.split() for line in shell.out.splitlines() if line.startswith("sales_by_week "))
    assert row[:3] == ["sales_by_week", "view", "2"]
    assert row[3].endswith("Z"), "a view has no size, files and version"
    assert shell.run("tables", "sales_by_week", "--rows", "5", "--newest", "--columns", "week,revenue") == OK
    header, *rows, _, as_of = shell.out.splitlines()
    assert header.split() == ["WEEK", "REVENUE"]
    assert [row.split() for row in rows] == [["2026-05-11", "10.00"], ["2026-05-04", "20.00"]]
    assert as_of == "as of manifest 1, g1-10"
    assert shell.run("tables", "sales_by_week", "--where", "week=2026-05-11", "--json") == OK
    assert [row["units"] for row in json.loads(shell.out)["rows"]] == [1]


def test_without_a_lake_the_list_says_so(shell: Shell, api: Running) -> None:
    assert shell.run("tables") == OK, shell.err
    assert "daily_sales" in shell.out
    assert "found none with a finished batch" in shell.out
    assert shell.run("tables", "orders", "--rows", "3") == TRY_AGAIN
    assert "found none with a finished batch" in shell.err


def test_rows_are_chosen_and_shown_without_personal_data(shell: Shell, lake: SmallLake, api: Running) -> None:
    lake.write({"customers": [customer(1, country="AT"), customer(2, country="DE"), customer(3)]})
    lake.write({"customers": [customer(1, country="FR")]})
    assert shell.run("tables", "customers", "--rows", "2", "--columns", "customer_id,country,email") == OK
    header, *rows, _, as_of = shell.out.splitlines()
    assert header.split() == ["CUSTOMER_ID", "COUNTRY", "EMAIL"]
    assert [row.split() for row in rows] == [["c1", "FR", "***"], ["c2", "DE", "***"]]
    assert as_of == "there are more; as of manifest 2, g1-20"
    assert shell.run("tables", "customers", "--where", "country=FR", "--as-of", "1") == OK
    assert shell.out.startswith("no rows\n\nas of manifest 1")
    assert shell.run("tables", "customers", "--where", "country=", "--newest", "--json") == OK
    document = json.loads(shell.out)
    assert [row["customer_id"] for row in document["rows"]] == ["c3"]
    assert SECRET not in shell.out
    assert shell.run("tables", "customers", "--where", f"email={SECRET}") == FAILED
    assert "personal data" in shell.err
    assert shell.run("tables", "customers", "--as-of", "9") == FAILED
    assert "1 to 2; saw 9" in shell.err


@pytest.mark.parametrize(
    "arguments",
    [("bogus",), ("orders", "--where", "status"), ("orders", "--rows", "0"), ("--rows", "3"), ("--newest",)],
    ids=" ".join,
)
def test_wrong_usage_is_told_before_anything_is_asked(arguments: tuple[str, ...], shell: Shell) -> None:
    assert shell.run("tables", *arguments) == USAGE


def test_verify_says_exact_or_what_differs(shell: Shell, lake: SmallLake) -> None:
    lake.write({}, position=0)
    assert shell.run("verify", "--lake-only") == OK, shell.out + shell.err
    assert "customers: 0 rows, equal" in shell.out
    assert shell.out.splitlines()[-1] == (
        "exact: manifest 1 of g1, 0 records; live numbers not compared: not asked for"
    )
    # A row that no record in bronze gives.
    lake.write({"customers": [customer(1)]}, position=0)
    assert shell.run("verify") == FAILED
    assert "  customer_id=c1: should not be there" in shell.out
    assert SECRET not in shell.out
    assert "NOT exact: manifest 2 of g1" in shell.out
    assert shell.run("verify", "--json") == FAILED
    document = json.loads(shell.out)
    assert (document["exact"], document["manifest"]) == (False, 2)
    assert [table["table"] for table in document["tables"] if not table["equal"]] == ["customers"]


def test_verify_does_not_succeed_while_live_numbers_are_not_compared(
    shell: Shell, lake: SmallLake, environment: Settings
) -> None:
    lake.write({}, position=0)
    assert shell.run("verify") == NOT_COMPARED
    assert shell.out.splitlines()[-1].startswith(
        "exact: manifest 1 of g1, 0 records; live numbers not compared: "
    )
    state = State(environment)
    try:
        assert shell.run("verify") == OK, shell.out + shell.err
        assert shell.out.splitlines()[-1].endswith("; lake and live at the same offsets")
        state.apply("orders", records=3)  # which the lake does not take in
        assert shell.run("verify", "--patience", "0.3", "--json") == NOT_COMPARED
        document = json.loads(shell.out)
        assert (document["exact"], document["answers_compared"]) == (True, 0)
        assert f"{document['answers']} of {document['answers']} answers" in document["live_not_compared"]
    finally:
        state.close()


def test_verify_without_a_lake_says_what_fills_one(shell: Shell, environment: Settings) -> None:
    assert shell.run("verify") == FAILED
    assert "dataflow up" in shell.err


def test_a_row_that_differs_is_told_by_its_columns_and_personal_ones_are_not_shown() -> None:
    names = [column.name for column in TABLES["customers"].columns]

    def row(key: str, **values: object) -> tuple:
        return tuple({"customer_id": key, **values}.get(name) for name in names)

    difference = compare(
        "customers",
        [row("a", country="AT", email=SECRET), row("b", country="AT")],
        [row("a", country="DE", email="x@example.org"), row("c")],
        names,
    )
    [document] = documents([difference])
    assert lines(document) == [
        "customers: 2 rows, expected 2; 2 missing, 2 unexpected",
        "  customer_id=a: email is ***, should be ***; country is AT, should be DE",
        "  customer_id=b: should not be there",
        "  customer_id=c: is missing",
    ]
    assert SECRET not in json.dumps(document)
    [document] = documents(
        [compare("counts", [("orders/0/changed", 3)], [("orders/0/changed", 4)], ("of", "records"))]
    )
    assert lines(document)[1] == "  of=orders/0/changed: records is 3, should be 4"
    names = [column.name for column in TABLES["daily_sales"].columns]
    many = compare("daily_sales", [], [(1, n, 1, 1, Decimal("1.00")) for n in range(9)], names)
    assert lines(documents([many])[0])[-1] == "  … and 4 more"


def test_resume_goes_on_behind_the_newest_manifest(
    shell: Shell, environment: Settings, lake: SmallLake
) -> None:
    lake.write({"daily_sales": [sales(1, 1)]})
    checkpoint = Checkpoint(environment, "g1")
    (checkpoint.directory / "offsets").mkdir(parents=True)
    assert shell.run("lake", "resume", "--json") == OK, shell.err
    document = json.loads(shell.out)
    assert (document["generation"], document["manifest"]) == ("g1", 1)
    assert document["from"]["orders"] == {"0": 10, "1": 0}
    assert not checkpoint.directory.exists()
    assert (checkpoint.directory.parent / RESUME).exists()
    checkpoint.check(lake.manifest)  # the next driver begins anew and does not refuse
    assert shell.run("lake", "resume") == OK
    assert "behind manifest 1" in shell.out
    assert ["orders", "0", "10"] in [line.split() for line in shell.out.splitlines()]


def test_resume_refuses_while_the_lake_job_runs(shell: Shell, environment: Settings, lake: SmallLake) -> None:
    lake.write({"daily_sales": [sales(1, 1)]})
    for state in ("starting", "ready", "backoff"):
        run_with(environment, process(state))
        assert shell.run("lake", "resume") == FAILED
        assert state in shell.err
    status = environment.state_dir / "status" / "lake.json"
    status.parent.mkdir()
    run_with(environment)
    write_status(status, "running", batch=1, generation="g1", kafka_time=None)
    assert shell.run("lake", "resume") == FAILED
    assert re.search(r"running \d+ s ago", shell.err)
    write_status(status, "stopping", batch=1, generation="g1", kafka_time=None)
    assert shell.run("lake", "resume") == OK, shell.err


def test_resume_looks_at_the_lake_job_of_the_generation_that_goes_on(
    shell: Shell, environment: Settings, lake: SmallLake
) -> None:
    """The platform began with another one than the live one is now."""
    lake.write({"daily_sales": [sales(1, 1)]})
    run_with(environment, process("ready"), process("ready", "lake@g1"), serves=7)
    assert shell.run("lake", "resume") == FAILED
    run_with(environment, process("ready"), process("failed", "lake@g1"), serves=7)
    assert shell.run("lake", "resume") == OK, shell.err


def test_resume_without_a_lake_says_that_there_is_none(shell: Shell, environment: Settings) -> None:
    assert shell.run("lake", "resume") == FAILED
    assert "found none with a finished batch" in shell.err


def test_status_has_a_line_about_the_lake(
    shell: Shell, environment: Settings, lake: SmallLake, api: Running
) -> None:
    run_with(api.settings, {**process("ready"), "since": time.time()}, url=api.url)
    assert shell.run("status") == OK, shell.err
    assert "lake       batch" not in shell.out
    lake.write({"daily_sales": [sales(1, 1)]})
    assert shell.run("status") == OK, shell.err
    assert shell.out.splitlines()[-1] == "lake       batch 1, 0 behind, freshness 0.0 s"
    assert shell.run("status", "--json") == OK
    assert shell.run("status", "--tables") == OK, shell.err
    assert next(line.split()[:3] for line in shell.out.splitlines() if line.startswith("daily_sales ")) == [
        "daily_sales",
        "gold",
        "1",
    ]
    assert shell.run("status", "--tables", "--json") == OK
    assert {table["name"] for table in json.loads(shell.out)["tables"]} == set(RELATIONS)
    document = json.loads(shell.out)["lake"]
    assert (document["batch"], document["as_of"]["manifest"], document["job"]) == (1, 1, None)


def test_the_line_about_the_lake_falls_back_on_what_the_job_said() -> None:
    status = {"state": "running", "at": 99.0, "batch": 1_234, "kafka_time": 90_000_000}
    assert lake_text(status, None, 100.0) == "batch 1,234, running 1 s ago, newest record taken 10 s ago"
    assert lake_text({"state": "starting", "at": 99.0, "batch": None}, None, 100.0) == (
        "no batch yet, starting 1 s ago"
    )
    assert lake_text(None, None, 100.0) is None
    api = {"batch": 7, "records_behind": 1_200, "stale": True, "freshness_ms": 2_500}
    assert lake_text(status, api, 100.0) == "batch 7, 1,200 behind (stale), freshness 2.5 s"


def test_a_barrier_that_the_lake_is_beyond_is_not_reached(shell: Shell, lake: SmallLake) -> None:
    lake.write({}, position=5)
    assert shell.run("lake", "barrier", "--patience", "0.3", "--json") == FAILED
    assert json.loads(shell.out) == {"generation": "g1", "reached": False, "manifest": 1}
    assert shell.run("lake", "barrier", "--patience", "0.3") == FAILED
    assert shell.out.startswith("not reached: the lake is at manifest 1 of g1.")


def test_a_barrier_where_the_lake_is_names_its_manifest(shell: Shell, lake: SmallLake) -> None:
    lake.write({}, position=0)
    assert shell.run("lake", "barrier", "--patience", "0.3") == OK, shell.err
    assert shell.out == "manifest 1 of g1 is of these offsets\n"
    for wrong in ("orders/0=7", "orders=1", "bogus/0=0", "orders/0=x"):
        assert shell.run("lake", "barrier", "--at", wrong) == USAGE
        assert "--at: expected a source partition" in shell.err
