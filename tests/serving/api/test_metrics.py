"""Metrics over HTTP: what was committed is what is read, as of when, split and filtered as declared."""

import gzip
import threading

import pytest

from schemas.metrics import METRICS
from serving.store.keys import encode_dimensions
from tests.helpers import wait_for
from tests.serving.api.kit import MINUTE, assert_problem


def test_the_catalogue_says_what_each_metric_can_answer(shop_api):
    found = {each["name"]: each for each in shop_api.get("/v1/metrics").json()["metrics"]}
    assert list(found) == list(METRICS)
    revenue = found["revenue"]
    assert revenue["grains"] == ["minute", "hour", "day", "all"]
    assert revenue["dimensions"] == ["payment_method", "shipping_country"]
    assert {"name": "net", "unit": "money"}.items() <= revenue["figures"][4].items()
    assert found["items"]["rollups"] == [{"name": "category", "through": "product_id"}]
    assert found["active"]["grains"] == ["all"]


def test_openapi_describes_each_metric_by_its_declaration(shop_api):
    document = shop_api.get("/openapi.json").json()
    for name in METRICS:
        operation = document["paths"][f"/v1/metrics/{name}"]["get"]
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert {"rows", "as_of"} <= set(schema["required"])
    parameters = {each["name"]: each for each in document["paths"]["/v1/metrics/items"]["get"]["parameters"]}
    assert set(parameters) == {"grain", "from", "to", "by", "product_id", "category", "order", "limit"}
    assert parameters["grain"]["schema"]["enum"] == ["minute", "hour", "day", "all"]
    assert parameters["order"]["schema"]["enum"] == ["revenue", "units", "lines"]
    assert "/v1/metrics/active/top" not in document["paths"]
    assert "total_amount" in str(document["paths"]["/v1/events/orders"]["post"]["requestBody"])


def test_every_grain_shows_what_was_committed(api, state):
    state.order(1_999)
    state.order(1, MINUTE + 60, "paypal", "AT")
    for grain, starts in {
        "minute": ["2026-05-17T09:30:00Z", "2026-05-17T09:31:00Z"],
        "hour": ["2026-05-17T09:00:00Z"],
        "day": ["2026-05-17T00:00:00Z"],
    }.items():
        body = api.get("/v1/metrics/revenue", params={"grain": grain}).json()
        assert [row["start"] for row in body["rows"]] == starts
        assert sum(row["orders"] for row in body["rows"]) == 2
    body = api.get("/v1/metrics/revenue?grain=all").json()
    assert body["rows"] == [
        {
            "gross": "20.00",
            "cancelled": "0.00",
            "refunded": "0.00",
            "orders": 2,
            "net": "20.00",
            "average_order_value": "10.00",
        }
    ]
    assert (body["metric"], body["currency"], body["time_zone"], body["from"]) == (
        "revenue",
        "USD",
        "UTC",
        None,
    )
    as_of = body["as_of"]
    assert as_of["generation"] == "g1"
    assert as_of["position"] == 2
    assert as_of["offsets"]["orders"] == {"0": 2, "1": 0}
    assert as_of["event_time"] == "2026-05-17T09:31:00.000000Z"
    assert as_of["age_ms"] > 0


def test_rows_are_split_filtered_and_ordered(api, state):
    state.order(500, method="card", country="DE")
    state.order(700, method="card", country="AT")
    state.order(100, method="paypal", country="DE")
    start = state.keys.bucket("revenue", "all", 0)
    state.apply("orders", ("A", start, [f"{encode_dimensions(('cash_on_delivery', None))}|gross", 50]))

    def gross(query: str) -> list[tuple]:
        rows = api.get(f"/v1/metrics/revenue?grain=all&{query}").json()["rows"]
        return [
            (*(row[n] for n in ("payment_method", "shipping_country") if n in row), row["gross"])
            for row in rows
        ]

    assert gross("by=payment_method&order=gross") == [
        ("card", "12.00"),
        ("paypal", "1.00"),
        ("cash_on_delivery", "0.50"),
    ]
    assert gross("by=shipping_country&payment_method=card") == [("AT", "7.00"), ("DE", "5.00")]
    assert gross("payment_method=card&payment_method=paypal&shipping_country=DE") == [("6.00",)]
    assert gross("by=shipping_country&shipping_country=") == [(None, "0.50")]
    assert gross("by=payment_method,shipping_country&order=gross&limit=1") == [("card", "AT", "7.00")]
    top = api.get("/v1/metrics/revenue/top?by=payment_method&n=1&order=orders").json()
    assert [row["payment_method"] for row in top["rows"]] == ["card"]
    assert (top["by"], top["order"], top["grain"]) == (["payment_method"], "orders", "all")


def test_a_corrected_category_moves_its_history_at_once(api, state):
    cell = encode_dimensions(("p1",))
    state.apply("order_items", ("A", state.keys.bucket("items", "all", 0), [f"{cell}|units", 3]))
    path = "/v1/metrics/items?grain=all&by=category"
    assert [row["category"] for row in api.get(path).json()["rows"]] == ["unknown"]
    for version, category in enumerate(("mugs", "cups"), 1):
        state.products({"p1": ["Mug", category, 999]}, version)
        rows = api.get(path).json()["rows"]
        assert [(row["category"], row["units"]) for row in rows] == [(category, 3)]


def test_before_the_first_event_the_answer_is_empty_and_says_so(api):
    body = api.get("/v1/metrics/revenue").json()
    assert (body["rows"], body["from"], body["to"]) == ([], None, None)
    assert (body["as_of"]["event_time"], body["as_of"]["position"]) == (None, 0)


@pytest.mark.parametrize("path", ["/v1/metrics/income", "/v1/metrics/income/top"])
def test_an_unknown_metric_is_a_problem_that_lists_those_known(shop_api, path):
    body = assert_problem(shop_api.get(path), 404, "unknown-metric")
    assert body["known"] == list(METRICS)


@pytest.mark.parametrize(
    ("query", "named"),
    [("colour=red", "payment_method"), ("grain=week", "minute, hour"), ("from=x", "2026-05-17T09:30:00Z")],
)
def test_a_wrong_parameter_is_a_problem_that_names_what_is_allowed(shop_api, query, named):
    body = assert_problem(shop_api.get(f"/v1/metrics/revenue?{query}"), 400, "bad-query")
    assert named in body["detail"]
    assert body["errors"][0]["parameter"]


def test_a_range_of_too_many_buckets_is_a_problem(shop_api):
    path = "/v1/metrics/revenue?grain=minute&from=2026-01-01&to=2026-02-01"
    assert "at most 2,000" in assert_problem(shop_api.get(path), 400, "bad-query")["detail"]


def test_a_metric_without_dimensions_has_no_top(shop_api):
    assert_problem(shop_api.get("/v1/metrics/active/top?by=x"), 404, "not-found")


@pytest.mark.parametrize("query", ["grain=all", "grain=hour", "grain=day&from=2026-05-01&to=2026-06-01"])
def test_an_unchanged_answer_is_not_sent_twice(api, state, query):
    state.order(1_999)
    path = f"/v1/metrics/revenue?{query}"
    tag = api.get(path).headers["etag"]
    unchanged = api.get(path, headers={"If-None-Match": f'"other", {tag}'})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag)
    state.order(1)
    changed = api.get(path, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


def test_a_large_answer_is_compressed_for_who_takes_it(api, state):
    for n in range(30):
        state.order(100 + n, MINUTE + 60 * n)
    path = "/v1/metrics/revenue?grain=minute"
    with api.http.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as packed:
        raw = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "gzip"
    plain = api.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert len(raw) < len(plain.content) / 3
    assert gzip.decompress(raw).startswith(b'{"metric":"revenue"')


def test_concurrent_readers_never_go_back_and_see_only_whole_commits(api, state):
    """Each commit adds one order of one cent, so every answer must be cents = orders = position."""
    wrong, seen, stop = [], [0] * 4, threading.Event()

    def reader(n: int) -> None:
        while not stop.is_set():
            body = api.get("/v1/metrics/revenue?grain=all").json()
            row = body["rows"][0] if body["rows"] else {"gross": "0.00", "orders": 0}
            position = body["as_of"]["position"]
            if position < seen[n] or not row["orders"] == position == round(float(row["gross"]) * 100):
                wrong.append((seen[n], body))
            seen[n] = position

    threads = [threading.Thread(target=reader, args=(n,)) for n in range(len(seen))]
    for thread in threads:
        thread.start()
    for _ in range(200):
        state.order(1)
    wait_for(lambda: min(seen) == 200, what="every reader at the end")
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
