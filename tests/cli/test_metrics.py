"""`dataflow metrics` shows the declarations with nothing running, and the API's rows with the offsets behind them."""

import json

import pytest

from dataflow.main import FAILED, NOT_RUNNING, OK, TRY_AGAIN, USAGE
from infra.settings import Settings
from schemas.metrics import METRICS
from tests.cli.kit import Shell
from tests.helpers import wait_for
from tests.serving.api.kit import MINUTE, Running, State, serving


def test_the_catalogue_needs_nothing_that_runs(shell: Shell) -> None:
    assert shell.run("metrics", "--json") == OK
    catalogue = json.loads(shell.out)["metrics"]
    assert [metric["name"] for metric in catalogue] == list(METRICS)
    assert all(metric["figures"] and metric["grains"] and metric["doc"] for metric in catalogue)
    assert shell.run("metrics") == OK
    assert "revenue: What customers owe" in shell.out
    assert "by product_id, category (of product_id); grains minute, hour, day, all" in shell.out
    assert "average_order_value  money  Gross revenue per order." in shell.out


def test_the_catalogue_is_the_apis_own(shell: Shell, api: Running) -> None:
    assert shell.run("metrics", "--json") == OK
    assert json.loads(shell.out) == api.get("/v1/metrics").json()


def test_rows_come_from_the_api_with_what_they_are_a_function_of(
    shell: Shell, api: Running, state: State
) -> None:
    state.order(1_234_567, method="card", country="DE")
    state.order(2_000, method="paypal", country="AT")
    state.order(3_000, method="paypal", country="DE")
    arguments = ("metrics", "revenue", "--grain", "all", "--by", "payment_method", "--order", "gross")
    assert shell.run(*arguments) == OK, shell.err
    header, card, paypal, _, as_of = shell.out.splitlines()
    assert header.split()[:3] == ["PAYMENT_METHOD", "GROSS", "USD"]
    assert card.split()[:2] == ["card", "12,345.67"]
    assert paypal.split()[:2] == ["paypal", "50.00"]
    assert as_of == "as of g1-3, newest event 2026-05-17T09:30:00.000000Z"
    assert shell.run(*arguments, "--json") == OK
    document = json.loads(shell.out)
    answer = api.get("/v1/metrics/revenue?grain=all&by=payment_method&order=gross").json()
    assert {**document, "as_of": None} == {**answer, "as_of": None}
    assert document["as_of"]["offsets"] == answer["as_of"]["offsets"]


def test_every_option_reaches_the_api(shell: Shell, api: Running, state: State) -> None:
    for country in ("AT", "DE", "FR"):
        state.order(1_000, country=country)
        state.order(1_000, country=country, minute=MINUTE - 3600)
    options = ("--by", "shipping_country", "--where", "shipping_country=AT", "--where", "shipping_country=FR")
    ranged = ("--from", "2026-05-17T09:00:00Z", "--to", "2026-05-17T10:00:00Z", "--grain", "hour")
    assert shell.run("metrics", "revenue", "--json", *options, *ranged) == OK, shell.err
    document = json.loads(shell.out)
    assert (document["from"], document["to"]) == ("2026-05-17T09:00:00Z", "2026-05-17T10:00:00Z")
    assert [(r["shipping_country"], r["gross"]) for r in document["rows"]] == [
        ("AT", "10.00"),
        ("FR", "10.00"),
    ]
    assert shell.run("metrics", "revenue", "--json", *options, *ranged, "--limit", "1") == OK
    assert len(json.loads(shell.out)["rows"]) == 1
    assert shell.run("metrics", "revenue", "--grain", "all", "--where", "shipping_country=XX") == OK
    assert shell.out.startswith("no rows\n\nas of g1-6")


def test_a_question_that_the_metric_cannot_answer_says_what_it_can(shell: Shell, api: Running) -> None:
    assert shell.run("metrics", "revenue", "--by", "category") == FAILED
    assert "payment_method, shipping_country" in shell.err
    assert shell.run("metrics", "revenue", "--grain", "week") == FAILED
    assert "minute, hour, day, all" in shell.err


@pytest.mark.parametrize(
    "arguments",
    [("bogus",), ("revenue", "--where", "country"), ("revenue", "--limit", "0"), ("--grain", "day")],
    ids=" ".join,
)
def test_wrong_usage_is_told_before_anything_is_asked(arguments: tuple[str, ...], shell: Shell) -> None:
    assert shell.run("metrics", *arguments) == USAGE


def test_the_api_of_another_environment_is_not_mistaken_for_this_ones(shell: Shell, api: Running) -> None:
    assert shell.run("metrics", "revenue", "--env", "other") == NOT_RUNNING
    assert f"is environment '{api.settings.dataflow_env}'" in shell.err


def test_a_state_that_is_being_rebuilt_is_an_error_that_says_so(
    shell: Shell, api: Running, state: State
) -> None:
    state.redis.unlink(*state.redis.keys(f"{state.keys.space}*"))
    assert shell.run("metrics", "revenue") == TRY_AGAIN
    assert "503" in shell.err
    assert "filled again" in shell.err


def test_the_key_that_may_read_is_sent(
    shell: Shell, environment: Settings, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = "ingest:secret-one:write,reports:secret-two:read"
    with serving(environment.replace(dataflow_api_keys=keys)) as running:
        monkeypatch.setenv("API_PORT", str(running.settings.api_port))
        assert shell.run("metrics", "revenue") == FAILED
        assert "DATAFLOW_API_KEYS" in shell.err
        monkeypatch.setenv("DATAFLOW_API_KEYS", keys)
        wait_for(lambda: shell.run("metrics", "revenue") == OK, what="an answer")
