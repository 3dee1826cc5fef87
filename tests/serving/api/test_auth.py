"""Keys: once there are any, nothing goes in or out without one that may; without keys only this machine is served."""

import re
from functools import reduce
from typing import Any, NamedTuple

import httpx
import pytest
from pydantic import SecretStr

from dataflow.api import api_headers
from infra.settings import Settings
from schemas.errors import SettingsError
from serving.api.__main__ import main
from serving.api.app import ROUTERS, create_app
from serving.api.auth import host_of, is_loopback
from tests.serving.api.documents import order
from tests.serving.api.kit import Running, assert_problem, listening, serving

KEYS = "dash:read-secret:read,shop:writer-sécret:write,both:both-secret:read+write,root:admin-secret:admin"
OPEN = [
    "/",
    "/tables",
    "/replays",
    "/docs",
    "/static/app.js",
    "/static/style.css",
    "/favicon.ico",
    "/healthz",
    "/readyz",
    "/openapi.json",
]
EVENTS = "/v1/events/orders"
SECRETS = {
    "read-secret": {"read"},
    "writer-sécret": {"write"},
    "both-secret": {"read", "write"},
    "admin-secret": {"read", "write", "admin"},
}
# Something for each parameter of a path; whether there is such a thing does not matter here.
PARTS = {"{id}": "orders%2F0%2F0", "{name}": "raw_orders", "{act}": "pause"}
APP = create_app(Settings.load({"DATAFLOW_ENV_FILE": ""}, dataflow_api_keys=SecretStr(KEYS)))


class Route(NamedTuple):
    """An operation of the OpenAPI document, and what that says of it."""

    method: str
    path: str
    said: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def url(self) -> str:
        """A path to ask for, with what the query must have."""
        path = reduce(lambda path, part: path.replace(part, PARTS[part]), PARTS, self.path)
        must = [
            each["name"]
            for each in self.said.get("parameters", ())
            if each["in"] == "query" and each["required"]
        ]
        return path + ("?" if must else "") + "&".join(f"{name}=x" for name in must)

    @property
    def needs(self) -> str:
        """The scope: whoever adds a route that is of none of these kinds has to say here what it needs."""
        # Two generations are compared by a process of its own for as long as it takes: not for whoever reads.
        if self.method == "GET" and not self.path.endswith("/diff"):
            return "read"
        if self.path.startswith("/v1/replays"):
            return "admin"
        return {"/v1/dead-letters/redrive": "admin"}.get(self.path) or {"/v1/events": "write"}[
            self.path.rpartition("/")[0]
        ]

    def status(self, api: Running, **headers: bytes) -> int:
        """What it answers; of a stream, the beginning is enough."""
        # A body that every route refuses: who may start something here does not.
        body = {} if self.method == "GET" else {"json": {"no_such_member": 0}}
        with api.http.stream(self.method, self.url, headers=headers, **body) as answer:
            return answer.status_code


ROUTES = [
    Route(method.upper(), path, said)
    for path, operations in APP.openapi()["paths"].items()
    for method, said in operations.items()
]
GUARDED = [route for route in ROUTES if route.path not in OPEN]


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


@pytest.mark.parametrize("route", GUARDED, ids=str)
def test_data_needs_a_key(api, route):
    with api.http.stream(route.method, route.url) as answer:
        answer.read()
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing"])
def test_without_a_key_nobody_learns_what_there_is(api, path):
    assert_problem(api.get(path), 401, "unauthorized")


# Two end in bytes that Latin-1 takes for spaces.
@pytest.mark.parametrize("secret", ["тайный-ключ-х", "clé-secrète-à", "秘密の鍵-秘密の鍵"])
def test_a_key_in_any_letters_is_read_as_programs_send_it(shop_api, secret):
    settings = shop_api.settings.replace(dataflow_api_keys=SecretStr(f"dash:{secret}:read"))
    with serving(settings) as api:
        assert (
            httpx.get(f"{api.url}/v1/key", headers=api_headers(settings), trust_env=False).status_code == 200
        )
        assert_problem(api.get("/v1/key", headers=bearer("x")), 401, "unauthorized")


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


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("route", GUARDED, ids=str)
def test_each_scope_opens_its_own(api, route, secret):
    may = route.needs in SECRETS[secret]
    for headers in (bearer(secret), {"X-API-Key": secret.encode()}):
        status = route.status(api, **headers)
        assert str(status) in (route.said["responses"].keys() - {"401", "403"} if may else {"403"})


def test_with_its_scope_a_key_gets_what_it_asks_for(api):
    headers = bearer("both-secret")
    assert api.get("/v1/metrics/revenue", headers=headers).status_code == 200
    assert api.post(EVENTS, json=order(), headers=headers).status_code == 202


def test_openapi_says_of_each_route_whether_it_needs_a_key(api):
    refusals = {"401", "403", "429"}
    for route in ROUTES:
        is_open = route.path in OPEN
        assert route.said.get("security", ["needed"]) == ([] if is_open else ["needed"]), str(route)
        assert refusals & route.said["responses"].keys() == (set() if is_open else refusals), str(route)
    assert api.get("/openapi.json").json()["paths"] == APP.openapi()["paths"]


def test_what_openapi_leaves_out_holds_no_data():
    there = [*APP.routes, *(route for router in ROUTERS for route in router.routes)]
    paths = {route.path for route in there if hasattr(route, "path")}
    described = "\n".join(route.path for route in ROUTES)
    left_out = {
        p for p in paths if not re.search(f"^{re.sub('{.*?}', '[^/]+', p)}$", described, re.MULTILINE)
    }
    assert "/v1/metrics/{name}/top" in paths - left_out
    assert left_out <= {*OPEN, "/static", "/static/swagger"}


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


@pytest.mark.parametrize("path", ["/v1/replays/rollback", "/v1/replays/g9/cancel", "/v1/replays", EVENTS])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "http://[broken"])
def test_without_keys_a_page_of_another_site_changes_nothing(shop_api, path, origin):
    """A form that sends itself asks nobody, and its body may be empty."""
    answer = shop_api.http.post(path, headers={"Origin": origin})
    assert_problem(answer, 403, "origin")


def test_without_keys_its_own_page_may_change_things_and_so_may_a_program(shop_api):
    own = str(shop_api.http.base_url).rstrip("/")
    for headers in ({"Origin": own}, {}):
        assert_problem(shop_api.http.post("/v1/replays/g9/pause", headers=headers), 409, "replay-refused")
    assert shop_api.http.get("/v1/status", headers={"Origin": "http://evil.example"}).status_code == 200


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
