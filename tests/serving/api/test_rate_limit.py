"""Who asks too often is told when to come again, and nobody else notices."""

import time
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from infra.settings import Settings
from serving.api.rate_limit import limit_of
from tests.serving.api.documents import order
from tests.serving.api.kit import Running, assert_problem, listening, serving

KEYS = SecretStr("dash:read-secret:read,shop:write-secret:write")
DASH, SHOP = {"X-API-Key": "read-secret"}, {"X-API-Key": "write-secret"}
STATUS = "/v1/status"


@pytest.fixture
def api(shop: Settings, shop_api: Running) -> Iterator[Running]:
    with serving(shop.replace(dataflow_api_keys=KEYS, api_rate_limit="5/minute")) as running:
        running.wait_ready()
        yield running


def assert_told_to_wait(answer) -> None:
    assert "5 per 1 minute" in assert_problem(answer, 429, "too-many-requests")["detail"]
    assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_each_key_has_its_own_count(api: Running) -> None:
    for _ in range(5):
        assert api.get(STATUS, headers=DASH).status_code == 200
    assert_told_to_wait(api.get(STATUS, headers=DASH))
    assert api.post("/v1/events/orders", json=order(), headers=SHOP).status_code == 202


def test_what_a_key_may_not_counts_too(api: Running) -> None:
    for _ in range(5):
        assert_problem(api.get(STATUS, headers=SHOP), 403, "forbidden")
    assert_told_to_wait(api.post("/v1/events/orders", json=order(), headers=SHOP))


def test_secrets_cannot_be_tried_at_will(api: Running) -> None:
    for n in range(5):
        assert_problem(api.get(STATUS, headers={"X-API-Key": f"guess-{n}"}), 401, "unauthorized")
    assert_told_to_wait(api.get(STATUS, headers={"X-API-Key": "guess"}))
    assert api.get(STATUS, headers=DASH).status_code == 200


def test_a_push_stream_is_one_request(api: Running) -> None:
    with listening(api, **DASH) as events:
        assert events.until("snapshot")
        for _ in range(4):
            assert api.get(STATUS, headers=DASH).status_code == 200
        assert_told_to_wait(api.get(STATUS, headers=DASH))


def test_page_and_probes_are_not_counted(api: Running) -> None:
    for _ in range(10):
        for path in ("/", "/static/app.js", "/healthz", "/readyz"):
            assert api.get(path).status_code == 200


def test_who_waits_is_served_again(shop: Settings, shop_api: Running) -> None:
    with serving(shop.replace(api_rate_limit="2/second")) as api:
        api.wait_ready()
        answers = [api.get(STATUS) for _ in range(30)]
        refused = next(answer for answer in answers if answer.status_code == 429)
        deadline = time.monotonic() + 10
        while api.get(STATUS).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(int(refused.headers["retry-after"]))


@pytest.mark.parametrize(
    ("host", "setting", "limit"),
    [
        ("127.0.0.1", "auto", None),
        ("0.0.0.0", "auto", "1000/second"),
        ("127.0.0.1", "100/second", "100/second"),
        ("0.0.0.0", "off", None),
    ],
)
def test_on_loopback_there_is_no_limit_unless_one_is_set(host: str, setting: str, limit: str | None) -> None:
    settings = Settings.load({"DATAFLOW_ENV_FILE": ""}, api_host=host, api_rate_limit=setting)
    assert limit_of(settings) == limit
