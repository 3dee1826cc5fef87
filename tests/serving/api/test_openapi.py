"""What OpenAPI says of each route holds for whatever is sent to it: answers, what is refused, keys, links."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from schemathesis import APIOperation, BaseSchema, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.generation.stateful.state_machine import StepOutput
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from dataflow.testing import Clock, Events, Ids
from infra.registry import register_contracts, schema_ids
from infra.runtime.platform import Platform
from infra.settings import Settings
from schemas.contract import CONTRACTS
from serving.api.app import create_app
from sources.codec import EventCodec
from tests.cli.kit import DeadLetterWriter, customer, order
from tests.helpers import wait_for
from tests.page.kit import Shop, tape
from tests.serving.api.kit import Running, serving
from tests.serving.lake_kit import raw_order

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
# An id that there is, and an event that keeps all rules, are hardly ever made up: other tests below have them.
MADE_UP = {"/v1/dead-letters/{id}", *(f"/v1/events/{topic}" for topic in CONTRACTS)}
SECRET = "admin-secret"
KEYS = SecretStr(f"root:{SECRET}:admin")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def filled(platform: Platform) -> Iterator[Shop]:
    """A shop that has seen an hour, and has dead letters of all kinds and a lake."""
    shop = Shop(platform.settings.replace(dataflow_env="openapi"))
    register_contracts(shop.settings)
    shop.apply(tape()[:5_000])
    codec, letters = EventCodec(schema_ids(shop.settings)), DeadLetterWriter(shop.settings)
    for n, (topic, event) in enumerate((("orders", order(1)), ("customers", customer(2)))):
        key, value = codec.encode(topic, event)
        letters.write((topic, 0, n), value, ["status_allowed"], key=key)
        letters.write((topic, 0, 10 + n), value[:40], ["undecodable"], key=key)
        letters.write((topic, 0, 20 + n), b"", ["null_key", "too_short"], key=None)
    letters.flush()
    shop.lake.write({"raw_orders": [raw_order(0)]})
    shop.start()
    yield shop
    shop.close()


@pytest.fixture(scope="module")
def locked(filled: Shop) -> Iterator[Running]:
    """The same shop, where a key is needed."""
    with serving(filled.settings.replace(dataflow_api_keys=KEYS)) as running:
        wait_for(lambda: running.get("/readyz").status_code == 200, 30, "readiness")
        yield running


def document(**changes: Any) -> BaseSchema:
    """Every route."""
    app = create_app(Settings.load({"DATAFLOW_ENV_FILE": ""}, **changes))
    return schemathesis.openapi.from_dict(app.openapi())


def operations(**changes: Any) -> list[APIOperation]:
    """Those that do not begin and remove generations: test_openapi_replays.py does."""
    found = document(**changes).exclude(path_regex="^/v1/replays")
    return [each.ok() for each in found.get_all_operations()]


def patience(operation: APIOperation) -> float | tuple[float, float]:
    """Seconds for an answer; of the push stream, which does not end, what comes until nothing does for a while."""
    return (30, 0.5) if operation.path == "/v1/live" else 30


def few(examples: int, **more: Any) -> settings:
    """The same ones in every run."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        **more,
    )


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
@pytest.mark.parametrize("operation", operations(), ids=lambda each: each.label)
def test_every_answer_is_one_that_openapi_describes_and_what_is_wrong_is_refused(
    filled: Shop, operation: APIOperation, mode: GenerationMode
) -> None:
    if mode is GenerationMode.NEGATIVE and not (
        operation.query or operation.body or operation.path_parameters
    ):
        pytest.skip("it takes nothing that could be wrong")

    @seed(20_260_517)
    @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def conforms(case: Case) -> None:
        answer = case.call_and_validate(base_url=filled.url, checks=CHECKS, timeout=patience(operation))
        statuses[answer.status_code] += 1

    statuses: Counter[int] = Counter()
    conforms()
    if mode is GenerationMode.POSITIVE:
        answered = any(status < 300 for status in statuses)
        assert answered or operation.path in MADE_UP, f"all that is right is refused: {dict(statuses)}"


@schemathesis.serializer("application/x-ndjson")
def lines_of_json(context: Any, value: Any) -> bytes:
    """OpenAPI knows of such a body that it is text; what is none is a line that is no event."""
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def good_line(topic: str, number: int) -> str:
    """An event that is right, as JSON."""
    events = Events(Clock(), Ids(f"{topic} {number}"))
    return json.dumps(
        {name: value for name, value in events(topic).items() if value is not None}, default=plain
    )


def plain(value: Decimal | datetime) -> str:
    return str(value) if isinstance(value, Decimal) else value.isoformat()


@pytest.mark.parametrize("topic", CONTRACTS)
def test_lines_of_events_right_and_wrong_are_answered_as_openapi_says(filled: Shop, topic: str) -> None:
    [operation] = [each for each in operations() if each.path == f"/v1/events/{topic}"]
    made = operation.as_strategy(generation_mode=GenerationMode.POSITIVE).map(lambda case: case.body)
    no_event = st.sampled_from(["", " ", "{", "null", "[1]", '"x"', "{}", '{"a":1}{"a":1}', "\r", "\x00"])
    line = st.one_of(
        st.integers(0, 999).map(lambda number: good_line(topic, number)),
        made.map(lambda found: found if isinstance(found, str) else json.dumps(found, default=str)),
        no_event,
        st.text(max_size=40),
    )
    statuses: Counter[int] = Counter()

    @few(25)
    @given(st.lists(line, min_size=1, max_size=6))
    def conforms(lines: list[str]) -> None:
        case = operation.Case(body="\n".join(lines), media_type="application/x-ndjson")
        answer = case.call_and_validate(base_url=filled.url, checks=CHECKS, timeout=30)
        statuses[answer.status_code] += 1

    conforms()
    assert statuses[202] > 0
    assert set(statuses) - {202}, "nothing was refused"


@pytest.mark.parametrize("operation", operations(dataflow_api_keys=KEYS), ids=lambda each: each.label)
def test_what_openapi_says_needs_a_key_is_refused_without_and_with_a_wrong_one(
    locked: Running, operation: APIOperation
) -> None:
    headers, checks = {"X-API-Key": SECRET}, [*CHECKS, ignored_auth]
    statuses: set[int] = set()

    @few(3)
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    def conforms(case: Case) -> None:
        for name in ("Authorization", "X-API-Key"):  # which it makes up, too
            (case.headers or {}).pop(name, None)
        answer = case.call_and_validate(
            base_url=locked.url, headers=headers, checks=checks, timeout=patience(operation)
        )
        statuses.add(answer.status_code)

    conforms()
    assert not statuses & {401, 403}


def test_what_an_answer_links_to_is_there(filled: Shop) -> None:
    """A walk along the links of OpenAPI: a list, one of it, the next page."""
    reading = document().include(method="GET", path_regex="^/v1/(dead-letters|tables)")
    walked: Counter[tuple[str, int]] = Counter()

    class Walk(reading.as_state_machine()):  # type: ignore[misc]
        def step(self, input: Any) -> Any:
            case = input.case
            # What a link gives, and no more: the other test asks whatever may be asked.
            given = {name for where, name in input.applied_parameters if where.name == "QUERY"}
            case.query = {name: value for name, value in (case.query or {}).items() if name in given}
            if case.path == "/v1/dead-letters":
                case.query["limit"] = 2
            answer = case.call_and_validate(base_url=filled.url, checks=CHECKS, timeout=30)
            if input.transition is not None and input.is_applied:
                walked[input.transition.id, answer.status_code] += 1
            return StepOutput(answer, case)

    Walk.run(settings=few(10, stateful_step_count=5, phases=[Phase.generate]))
    # "GET /v1/tables -> [200] rows -> GET /v1/tables/{name}"
    links = {name.split(" -> ")[1].removeprefix("[200] ") for name, _ in walked}
    assert links == {"letter", "next", "rows", "columns"}
    assert {status for _, status in walked} == {200}
