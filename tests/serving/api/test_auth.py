"""Keys: once there are any, nothing goes in or out without one that may; without keys only this machine is served."""

import pytest
from pydantic import SecretStr

from infra.settings import Settings
from schemas.errors import SettingsError
from serving.api.__main__ import main
from serving.api.auth import host_of, is_loopback
from tests.serving.api.documents import order
from tests.serving.api.kit import assert_problem, listening, serving

KEYS = "dash:read-secret:read,shop:writer-sécret:write,both:both-secret:read+write,root:admin-secret:admin"
OPEN = [
    "/",
    "/tables",
    "/docs",
    "/static/app.js",
    "/static/style.css",
    "/favicon.ico",
    "/healthz",
    "/readyz",
    "/openapi.json",
]
READS = [
    "/v1/metrics",
    "/v1/metrics/revenue",
    "/v1/metrics/revenue/top?by=payment_method",
    "/v1/status",
    "/metrics",
]
READS += [
    "/v1/lag",
    "/v1/freshness",
    "/v1/exactness",
    "/v1/key",
    "/v1/dead-letters",
    "/v1/dead-letters/summary",
]
EVENTS = "/v1/events/orders"


@pytest.fixture(scope="module")
def api(shop, shop_api):
    with serving(shop.replace(dataflow_api_keys=SecretStr(KEYS))) as running:
        running.wait_ready()
        yield running


def bearer(secret: str) -> dict[str, bytes]:
    return {"Authorization": f"Bearer {secret}".encode()}


@pytest.mark.parametrize("path", OPEN)
def test_page_and_probes_need_no_key(api, path):
    assert api.get(path).status_code == 200


@pytest.mark.parametrize("path", [*READS, "/v1/live", "/v1/nothing", "/nothing"])
def test_data_needs_a_key(api, path):
    answer = api.get(path)
    assert_problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "headers",
    [
        bearer("read-secre"),
        bearer("read-secret2"),
        {"Authorization": "Bearer"},
        {"Authorization": "Basic read-secret"},
        {"Authorization": "read-secret"},
        {"X-API-Key": "wrong"},
        {"X-API-Key": ""},
    ],
)
def test_a_wrong_key_is_no_key(api, headers):
    assert_problem(api.get("/v1/status", headers=headers), 401, "unauthorized")


@pytest.mark.parametrize(
    ("secret", "reads", "writes"),
    [
        ("read-secret", True, False),
        ("writer-sécret", False, True),
        ("both-secret", True, True),
        ("admin-secret", True, True),
    ],
)
def test_each_scope_opens_its_own(api, secret, reads, writes):
    for headers in (bearer(secret), {"X-API-Key": secret.encode()}):
        for path in READS:
            answer = api.get(path, headers=headers)
            assert answer.status_code == 200 if reads else assert_problem(answer, 403, "forbidden")
        answer = api.post(EVENTS, json=order(), headers=headers)
        assert answer.status_code == 202 if writes else assert_problem(answer, 403, "forbidden")


def test_a_key_is_told_what_it_may_do(api, shop_api):
    scopes = {
        "read-secret": ["read"],
        "both-secret": ["read", "write"],
        "admin-secret": ["read", "write", "admin"],
    }
    for secret, expected in scopes.items():
        assert api.get("/v1/key", headers=bearer(secret)).json()["scopes"] == expected
    assert shop_api.get("/v1/key").json() == {"name": None, "scopes": ["read", "write", "admin"]}


def test_sending_without_a_key_is_refused_before_the_body_is_looked_at(api):
    assert_problem(api.post(EVENTS, content=b"no json"), 401, "unauthorized")


def test_push_takes_the_key_in_a_header(api):
    with listening(api, **{"X-API-Key": "read-secret"}) as events:
        assert events.until("snapshot")


def test_a_secret_is_in_no_answer(api):
    for secret in ("read-secret", "guessed-secret"):
        assert secret not in api.post(EVENTS, headers=bearer(secret)).text


def test_callers_with_the_same_idempotency_key_do_not_meet(api):
    headers = [{**bearer(secret), "Idempotency-Key": "1"} for secret in ("both-secret", "admin-secret")]
    ids = {api.post(EVENTS, json=order(), headers=each).json()["event_id"] for each in headers}
    assert len(ids) == 2


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:80", "page.localhost", "LOCALHOST:1"])
def test_without_keys_this_machine_is_served(shop_api, host):
    assert shop_api.get("/v1/status", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil", ""]
)
def test_without_keys_another_name_is_not_served(shop_api, host):
    """A page of another site whose name was made to lead to 127.0.0.1."""
    assert_problem(shop_api.get("/v1/status", headers={"Host": host}), 403, "host")
    assert_problem(shop_api.post(EVENTS, json=order(), headers={"Host": host}), 403, "host")


def test_with_keys_any_name_is_served(api):
    headers = {**bearer("read-secret"), "Host": "shop.example"}
    assert api.get("/v1/status", headers=headers).status_code == 200


def test_a_host_is_read_without_port_and_brackets():
    hosts = ["a.b:1", "[::1]:8000", "[::1]", "127.1.2.3", "A"]
    assert [host_of(each) for each in hosts] == ["a.b", "::1", "::1", "127.1.2.3", "a"]
    assert is_loopback("127.1.2.3")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("")


def test_it_does_not_start_open_to_others(monkeypatch):
    open_to_others = Settings.load({"DATAFLOW_ENV_FILE": ""}, api_host="0.0.0.0")
    monkeypatch.setattr(Settings, "load", lambda: open_to_others)
    with pytest.raises(SettingsError, match="DATAFLOW_API_KEYS must be set"):
        main()


def test_it_does_not_start_without_addresses(monkeypatch):
    nowhere = Settings.load({"DATAFLOW_ENV_FILE": ""})
    monkeypatch.setattr(Settings, "load", lambda: nowhere)
    with pytest.raises(SettingsError, match="KAFKA_BOOTSTRAP_SERVERS, KAFKA_SCHEMA_REGISTRY, REDIS_HOST"):
        main()
