"""The lake over REST: the dictionary, rows of one manifest page by page, personal data for who may see it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.settings import Settings
from schemas.tables import RELATIONS
from schemas.views import VIEWS
from serving.api.lake import work
from streams.lake.place import lake_root
from tests.helpers import wait_for
from tests.serving.api.kit import Running, assert_problem, serving
from tests.serving.lake_kit import SECRET, SmallLake, customer, raw_order, sales

KEYS = "dash:read-secret:read,root:admin-secret:read+admin"
READ, ADMIN = ({"X-API-Key": f"{name}-secret"} for name in ("read", "admin"))


@pytest.fixture
def lake(world: Settings) -> Iterator[SmallLake]:
    found = SmallLake(lake_root(world, "g1"), world)
    yield found
    found.close()


@pytest.fixture
def tables(world: Settings) -> Iterator[Running]:
    """The API over a lake; it needs no live state."""
    with serving(world) as running:
        yield known(running)


@pytest.fixture
def guarded(world: Settings) -> Iterator[Running]:
    """The same with keys."""
    with serving(world.replace(dataflow_api_keys=SecretStr(KEYS))) as running:
        yield known(running, headers=READ)


def known(running: Running, **options) -> Running:
    """As soon as it knows the generation."""

    def answers() -> bool:
        found = running.get("/v1/lake", **options)
        return found.status_code == 200 or "live generation" not in found.text

    wait_for(answers, 30, "the generation")
    return running


def asked(api: Running, path: str, **parameters) -> dict:
    found = api.get(path, params=parameters)
    assert found.status_code == 200, found.text
    return found.json()


def test_the_dictionary_is_told_without_a_lake_and_says_that_there_is_none(tables: Running) -> None:
    body = asked(tables, "/v1/tables")
    assert [table["name"] for table in body["tables"]] == list(RELATIONS)
    assert all(table["facts"] is None for table in body["tables"])
    assert body["as_of"] is None
    assert "dataflow up" in body["detail"]
    one = asked(tables, "/v1/tables/daily_sales/columns")
    assert one == {
        k: v for k, v in next(t for t in body["tables"] if t["name"] == "daily_sales").items() if k != "facts"
    }
    assert [column["name"] for column in one["columns"]][:2] == ["day", "product_id"]
    assert one["columns"][4]["type"] == "decimal(28,2)"
    assert one["columns"][4]["unit"] == "money"
    problem = assert_problem(tables.get("/v1/tables/orders"), 503, "unavailable")
    assert "found none" in problem["detail"]
    assert_problem(tables.get("/v1/lake"), 503, "unavailable")


def test_sizes_versions_and_progress_are_told_with_what_they_are_a_function_of(
    lake: SmallLake, tables: Running
) -> None:
    lake.write({"daily_sales": [sales(1, 1), sales(1, 2)]})
    lake.write({"daily_sales": [sales(1, 1, "7.00")]})
    body = asked(tables, "/v1/tables")
    facts = {table["name"]: table["facts"] for table in body["tables"]}
    assert (facts["daily_sales"]["rows"], facts["daily_sales"]["version"]) == (2, 2)
    assert facts["daily_sales"]["bytes"] > 0
    assert facts["orders"]["rows"] == 0
    as_of = body["as_of"]
    assert (as_of["generation"], as_of["manifest"], as_of["position"]) == ("g1", 2, 20)
    assert as_of["offsets"] == {"orders": {"0": 20}}
    assert asked(tables, "/v1/tables", as_of=1)["as_of"]["manifest"] == 1
    progress = asked(tables, "/v1/lake", limit=1)
    assert (progress["batch"], progress["records_behind"], progress["freshness_ms"]) == (2, 0, 0)
    assert progress["counts"] == {"orders/0/changed": 20}
    assert [each["number"] for each in progress["manifests"]] == [2]


def test_views_are_listed_paged_and_filtered_like_tables(lake: SmallLake, tables: Running) -> None:
    lake.write({"daily_sales": [sales(day, product) for day in (4, 11, 18) for product in (1, 2)]})
    listed = {table["name"]: table for table in asked(tables, "/v1/tables")["tables"]}
    assert [name for name, table in listed.items() if table["layer"] == "view"] == list(VIEWS)
    week = listed["sales_by_week"]
    assert (week["key"], week["reads"], week["topic"]) == (["week"], ["daily_sales"], None)
    assert "date_trunc('week', day)" in week["sql"]
    assert (week["facts"]["rows"], week["facts"]["version"], week["facts"]["files"]) == (3, None, None)
    assert (listed["daily_sales"]["reads"], listed["daily_sales"]["sql"]) == ([], None)
    path = "/v1/tables/sales_by_week"
    first = asked(tables, path, limit=2)
    lake.write({"daily_sales": [sales(18, 1, "99.00")]})
    rest = asked(tables, path, cursor=first["next"])
    assert [row["week"] for row in first["rows"] + rest["rows"]] == ["2026-05-04", "2026-05-11", "2026-05-18"]
    assert (rest["rows"][0]["revenue"], rest["as_of"]["manifest"], rest["masked"]) == ("20.00", 1, [])
    assert asked(tables, path, revenue="109.00", columns="week")["rows"] == [{"week": "2026-05-18"}]
    assert asked(tables, "/v1/tables/sales_by_category")["rows"][0]["category"] == "unknown"
    assert asked(tables, f"{path}/columns")["columns"][0]["type"] == "date"
    # Every one of them, over tables without a row.
    for name in VIEWS:
        assert asked(tables, f"/v1/tables/{name}", as_of=1, limit=1)["table"] == name


def test_an_answer_of_the_same_manifest_is_not_sent_again(
    lake: SmallLake, guarded: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.lake.facts.PAUSES", 0)  # all is counted at each manifest
    lake.write({"daily_sales": [sales(1, 1)], "customers": [customer(1)]})
    tags = {}
    for path in ("/v1/tables", "/v1/tables/daily_sales?limit=1", "/v1/tables/sales_by_week"):
        first = guarded.get(path, headers=READ)
        tags[path] = first.headers["etag"]
        assert first.headers["cache-control"] == "no-cache"
        again = guarded.get(path, headers={**READ, "If-None-Match": f'"x", {tags[path]}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tags[path])
    lake.write({"daily_sales": [sales(1, 2)]})
    for path, tag in tags.items():
        newer = guarded.get(path, headers={**READ, "If-None-Match": tag})
        assert (newer.status_code, newer.json()["as_of"]["manifest"]) == (200, 2)
        assert newer.headers["etag"] != tag
    # An older manifest goes on being what it was.
    path, tag = "/v1/tables/sales_by_week?as_of=1", tags["/v1/tables/sales_by_week"]
    assert guarded.get(path, headers={**READ, "If-None-Match": tag}).status_code == 304
    # What is revealed is kept nowhere, and who may not see it learns nothing.
    path = "/v1/tables/customers?reveal=true"
    revealed = guarded.get(path, headers={**ADMIN, "If-None-Match": newer.headers["etag"]})
    assert (revealed.status_code, revealed.headers["cache-control"]) == (200, "no-store")
    assert "etag" not in revealed.headers
    headers = {**READ, "If-None-Match": newer.headers["etag"]}
    assert_problem(guarded.get(path, headers=headers), 403, "forbidden")


def test_a_dictionary_that_was_not_counted_in_time_is_asked_for_again(
    lake: SmallLake, tables: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write({"daily_sales": [sales(1, 1)]})
    with monkeypatch.context() as patched:
        patched.setattr(work.Budget, "may_go_on", lambda _: False)
        first = tables.get("/v1/tables")
    assert "etag" not in first.headers
    assert None in [table["facts"]["rows"] for table in first.json()["tables"]]
    assert tables.get("/v1/tables").headers["etag"]


def test_pages_are_of_one_manifest_whatever_is_written_between_them(lake: SmallLake, tables: Running) -> None:
    lake.write({"daily_sales": [sales(day, product) for day in (1, 2, 3) for product in (1, 2)]})
    path, rows, cursor = "/v1/tables/daily_sales", [], {}
    while True:
        body = asked(tables, path, limit=2, columns="product_id,day", **cursor)
        assert body["as_of"]["manifest"] == 1
        rows += [(row["day"], row["product_id"]) for row in body["rows"]]
        lake.write({"daily_sales": [sales(2, 1, _deleted=True), sales(2, 9), sales(3, 2, "0.01")]})
        if body["next"] is None:
            break
        cursor = {"cursor": body["next"]}
    assert rows == [(f"2026-05-0{day}", f"p{product}") for day in (1, 2, 3) for product in (1, 2)]
    newest = asked(tables, path, order="desc", limit=2)
    assert [(row["day"], row["product_id"], row["revenue"]) for row in newest["rows"]] == [
        ("2026-05-03", "p2", "0.01"),
        ("2026-05-03", "p1", "10.00"),
    ]
    assert newest["as_of"]["manifest"] == lake.manifest.number
    then = asked(tables, path, as_of="2026-05-17T09:30:10Z")
    assert (then["as_of"]["manifest"], len(then["rows"])) == (1, 6)


def test_filters_are_read_as_their_columns_types(lake: SmallLake, tables: Running) -> None:
    lake.write(
        {
            "daily_sales": [sales(1, 1, "10.00"), sales(2, 2, "20.50"), sales(2, 3, "20.50")],
            "customers": [customer(1, country="AT"), customer(2)],
        }
    )

    def found(table: str, column: str, **where) -> list:
        return [row[column] for row in asked(tables, f"/v1/tables/{table}", **where)["rows"]]

    assert found("daily_sales", "product_id", day="2026-05-02") == ["p2", "p3"]
    assert found("daily_sales", "product_id", revenue="20.5", units=3) == ["p3"]
    assert found("daily_sales", "product_id", units=[1, 2]) == ["p1", "p2"]
    assert found("customers", "customer_id", country="") == ["c2"]
    assert found("customers", "customer_id", created_at="2026-05-17T11:31:00+02:00") == ["c1"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("nothing=1", "'nothing'"),
        ("units=x", "units"),
        ("units=9223372036854775808", "units"),
        ("revenue=1.234", "revenue"),
        ("day=2026-02-30", "day"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("columns=day,bogus", "columns"),
        ("columns=day,day", "columns"),
        ("order=revenue", "order"),
        ("reveal=yes", "reveal"),
        ("as_of=yesterday", "as_of"),
        ("cursor=bogus", "cursor"),
        ("cursor=WyJvcmRlcnMiLCJnMSIsMSxmYWxzZSxbIngiXV0", "cursor"),
    ],
)
def test_a_wrong_question_names_the_parameter(shop_api: Running, query: str, parameter: str) -> None:
    body = assert_problem(shop_api.get(f"/v1/tables/daily_sales?{query}"), 400, "bad-query")
    assert body["errors"][0]["parameter"] == parameter


def test_what_is_not_there_says_what_is(lake: SmallLake, tables: Running) -> None:
    lake.write({"daily_sales": [sales(1, 1), sales(1, 2)]})
    lake.write({"daily_sales": [sales(1, 3)]})
    assert assert_problem(tables.get("/v1/tables/sales"), 404, "unknown-table")["known"] == list(RELATIONS)
    problem = assert_problem(tables.get("/v1/tables/daily_sales?as_of=7"), 404, "unknown-manifest")
    assert "1 to 2; saw 7" in problem["detail"]
    for path in ("/v1/tables", "/v1/tables/daily_sales"):
        assert asked(tables, path, as_of="g1-2")["as_of"]["manifest"] == 2
        # Each generation counts its own.
        of_another = assert_problem(tables.get(f"{path}?as_of=g7-2"), 410, "gone")
        assert "g7-2 is a manifest of generation g7, and now g1 is live" in of_another["detail"]
    cursor = asked(tables, "/v1/tables/daily_sales", as_of=1, limit=1)["next"]
    for file in (Path(lake.root) / "daily_sales").glob("*.parquet"):
        file.unlink()
    assert_problem(tables.get(f"/v1/tables/daily_sales?cursor={cursor}"), 410, "gone")
    wrong = assert_problem(tables.get(f"/v1/tables/daily_sales?cursor={cursor}&as_of=2"), 400, "bad-query")
    assert wrong["errors"][0]["parameter"] == "as_of"
    assert_problem(tables.get(f"/v1/tables/orders?cursor={cursor}"), 400, "bad-query")


def test_personal_data_is_shown_to_who_may_see_it_and_asks_for_it(lake: SmallLake, guarded: Running) -> None:
    lake.write({"customers": [customer(1)], "raw_orders": [raw_order(0)]})
    for table, column in (("customers", "email"), ("raw_orders", "value")):
        path = f"/v1/tables/{table}"
        for headers in (READ, ADMIN):
            body = guarded.get(path, headers=headers)
            assert SECRET not in body.text
            assert SECRET.encode().hex() not in body.text
            assert body.json()["rows"][0][column] == "***"
            assert column in body.json()["masked"]
        assert_problem(guarded.get(f"{path}?reveal=true", headers=READ), 403, "forbidden")
        body = guarded.get(f"{path}?reveal=true", headers=ADMIN).json()
        assert body["rows"][0][column] in (SECRET, SECRET.encode().hex())
        assert body["masked"] == []
    path = f"/v1/tables/customers?email={SECRET}"
    problem = assert_problem(guarded.get(path, headers=ADMIN), 400, "bad-query")
    assert "reveal=true" in problem["detail"]
    assert_problem(guarded.get(f"{path}&reveal=true", headers=READ), 403, "forbidden")
    assert len(guarded.get(f"{path}&reveal=true", headers=ADMIN).json()["rows"]) == 1
    assert_problem(guarded.get("/v1/tables"), 401, "unauthorized")


def test_a_question_that_takes_too_long_is_stopped_and_others_go_on(
    lake: SmallLake, tables: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write({"daily_sales": [sales(1, 1)]})
    service = tables.service
    monkeypatch.setattr(service.lake, "seconds", 0.3)
    endless = "SELECT count(*) FROM range(10000000000) a, range(10000000000) b WHERE a.range * b.range = -1"
    monkeypatch.setattr("serving.lake.question.Question.sql", lambda *_: (endless, []))
    problem = assert_problem(tables.get("/v1/tables/daily_sales"), 503, "too-slow")
    assert "0.3 s" in problem["detail"]
    monkeypatch.undo()
    assert len(asked(tables, "/v1/tables/daily_sales")["rows"]) == 1
    assert not service.lake._running


def test_no_more_questions_than_bounded_are_answered_at_once(
    lake: SmallLake, tables: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write({"daily_sales": [sales(1, 1)]})
    waiting, go_on = threading.Semaphore(0), threading.Event()

    def held(*_):
        waiting.release()
        go_on.wait(20)
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr("serving.api.table_routes.read_page", held)
        clients = [
            threading.Thread(target=tables.http.get, args=("/v1/tables/daily_sales",))
            for _ in range(work.AT_MOST)
        ]
        for client in clients:
            client.start()
        for _ in clients:
            assert waiting.acquire(timeout=20)
        assert_problem(tables.get("/v1/tables/daily_sales"), 503, "too-many-clients")
        go_on.set()
        for client in clients:
            client.join()
    assert len(asked(tables, "/v1/tables/daily_sales")["rows"]) == 1
