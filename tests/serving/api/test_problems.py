"""Every error is a problem document, and an unexpected one says nothing of what it was about."""

import socket

import pytest
from starlette.requests import Request

from tests.serving.api.kit import assert_problem, serving


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1", "/v1/", "/v1/metrics/", "/v1/metrics/revenue/", "/v1/events"]
)
def test_no_such_path(shop_api, path):
    body = assert_problem(shop_api.get(path), 404, "not-found")
    assert body["instance"] == path


@pytest.mark.parametrize("path", ["/static/nothing.js", "/static/../auth.py", "/static/%2e%2e/api/auth.py"])
def test_no_file_but_the_pages_own(shop_api, path):
    assert_problem(shop_api.get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/metrics", "GET"),
        ("DELETE", "/v1/metrics/revenue", "GET"),
        ("GET", "/v1/events/orders", "POST"),
        ("PUT", "/v1/status", "GET"),
        ("OPTIONS", "/v1/events/orders", "POST"),
        ("POST", "/", "GET"),
        ("POST", "/static/app.js", "GET"),
    ],
)
def test_no_such_method(shop_api, method, path, allowed):
    answer = shop_api.http.request(method, path)
    assert allowed in assert_problem(answer, 405, "method-not-allowed")["detail"]
    assert allowed in answer.headers["allow"]


def test_an_unexpected_error_is_a_problem_and_keeps_secrets(shop, caplog):
    secret = "jane@example.com"
    with serving(shop) as api:

        async def broken(request: Request):
            raise ValueError(secret)

        api.server.config.app.router.add_route("/broken", broken)
        answer = api.get("/broken")
        assert_problem(answer, 500, "internal")
        assert (
            'dataflow_http_requests_total{method="GET",route="other",status="500"} 1.0'
            in api.get("/metrics").text
        )
    assert secret not in answer.text + caplog.text
    assert "ValueError" in caplog.text
    assert "test_problems.py" in caplog.text


def test_who_goes_in_the_middle_of_a_body_disturbs_nobody(shop_api, caplog):
    with socket.create_connection(("127.0.0.1", shop_api.settings.api_port)) as client:
        client.sendall(
            b"POST /v1/events/orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
    assert shop_api.get("/healthz").status_code == 200
    assert caplog.text == ""


def test_every_answer_carries_the_security_headers(shop_api):
    for path in ("/", "/v1/metrics", "/nothing", "/static/app.js"):
        headers = shop_api.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"


def test_the_page_asks_nobody_else(shop_api):
    """Offline: no address but this service's own, nothing inline that the policy would refuse."""
    page = shop_api.get("/").text
    for path in ("/", "/static/app.js", "/static/stream.js", "/static/style.css", "/static/favicon.svg"):
        answer = shop_api.get(path)
        assert answer.status_code == 200
        text = answer.text.replace('xmlns="http://www.w3.org/2000/svg"', "").replace(
            '"http://www.w3.org/2000/svg"', ""
        )
        assert "http:" not in text
        assert "https:" not in text
        assert "//cdn" not in text
    assert "<style" not in page
    assert "style=" not in page
    assert "onclick" not in page
    assert 'aria-live="polite"' in page


def test_the_description_of_the_api_is_whole(shop_api):
    document = shop_api.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert "422" not in operation["responses"] or path.startswith("/v1/events")
    assert {"/v1/metrics", "/v1/status", "/v1/live", "/healthz", "/readyz", "/metrics"} <= set(
        document["paths"]
    )
