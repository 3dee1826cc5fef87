"""Reads that come at the same time share a call to Redis; each gets its own answer, and its own error."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from schemas.metrics import REVENUE
from serving.api.app import ROUTERS
from serving.api.direct import Direct
from serving.api.redis_client import ServerIdentity, connect
from serving.api.shared_reads import SharedReads
from serving.read import Answer, MetricQuery, Reader
from tests.serving.api.kit import MINUTE

QUESTIONS = [
    "/v1/metrics/revenue?grain=all",
    "/v1/metrics/revenue?grain=all&by=shipping_country",
    "/v1/metrics/revenue?grain=minute",
    "/v1/metrics/revenue?grain=hour",
    "/v1/metrics/revenue/top?by=payment_method",
    "/v1/metrics/funnel?grain=all",
    "/v1/freshness",
    "/v1/exactness",
    "/v1/events/newest?limit=3",
]
TOO_LONG = "/v1/metrics/revenue?grain=minute&from=2020-01-01&to=2026-01-01"


def without_age(body: dict) -> dict:
    return {**body, "as_of": {**body["as_of"], "age_ms": None}}


def fcalls(state) -> int:
    return state.redis.info("commandstats")["cmdstat_fcall_ro"]["calls"]


def test_each_of_many_at_once_gets_the_answer_that_it_gets_alone(api, state):
    for n in range(40):
        state.order(100 + n, MINUTE - 60 * n, ("card", "paypal")[n % 2], ("DE", "FR", "IT")[n % 3])
    alone = {path: without_age(api.get(path).json()) for path in QUESTIONS}
    asked = [*QUESTIONS, TOO_LONG] * 40
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    with (
        httpx.Client(base_url=api.url, timeout=30, trust_env=False, limits=limits) as client,
        ThreadPoolExecutor(32) as pool,
    ):
        answers = list(pool.map(client.get, asked))
    for path, answer in zip(asked, answers, strict=True):
        if path == TOO_LONG:
            assert (answer.status_code, answer.json()["type"]) == (400, "/problems/bad-query")
        else:
            assert answer.status_code == 200
            assert without_age(answer.json()) == alone[path]


def test_reads_that_wait_at_the_same_time_share_a_call(state):
    """Without an API, whose own reads would be counted too: two calls go out at once, the rest by sixteen."""
    state.order(1)
    before = fcalls(state)

    async def at_once() -> list[Answer]:
        identity = ServerIdentity()
        redis = connect(state.settings, identity)
        shared = SharedReads(Reader(redis, state.keys, "g1", "UTC"))
        try:
            return await asyncio.gather(*(shared.read([MetricQuery(REVENUE)]) for _ in range(40)))
        finally:
            await redis.aclose()

    assert [answer.rows[0][0]["orders"] for answer in asyncio.run(at_once())] == [1] * 40
    assert fcalls(state) - before <= 5


def test_a_reader_never_sees_less_than_was_there_when_it_asked(api, state):
    """Others' calls that are under way do not answer it."""
    with ThreadPoolExecutor(8) as pool:
        going = True

        def ask() -> None:
            with httpx.Client(base_url=api.url, trust_env=False) as client:
                while going:
                    client.get(QUESTIONS[0])

        others = [pool.submit(ask) for _ in range(8)]
        try:
            for n in range(1, 100):
                state.order(1)
                body = api.get(QUESTIONS[0]).json()
                assert body["rows"][0]["orders"] == body["as_of"]["position"] == n
        finally:
            going = False
        for other in others:
            other.result(10)


def test_every_route_without_parameters_in_its_path_goes_the_short_way():
    """None of them needs what FastAPI would prepare; one that did would silently lose the short way."""
    direct = Direct(None, ROUTERS)
    plain = {
        (method, route.path)
        for router in ROUTERS
        for route in router.routes
        for method in route.methods
        if "{" not in route.path
    }
    assert set(direct._routes) == plain


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/metrics/revenue?grain=week", 400),
        ("GET", "/v1/metrics/nonsense", 404),
        ("POST", "/v1/metrics/revenue", 405),
        ("GET", "/v1/metrics/revenue/", 404),
    ],
)
def test_an_error_is_the_same_problem_whichever_way_it_came(api, method, path, status):
    answer = api.http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == path.partition("?")[0]
