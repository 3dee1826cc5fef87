"""What OpenAPI says of each route holds for whatever is sent to it: status codes, content types, bodies."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from infra.registry import register_contracts, schema_ids
from infra.runtime.platform import Platform
from infra.settings import Settings
from serving.api.app import create_app
from sources.codec import EventCodec
from tests.cli.kit import DeadLetterWriter, customer, order
from tests.page.kit import Shop, tape
from tests.serving.lake_kit import raw_order

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    # The server's threads, in this process, draw from `random` too.
    pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies"),
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


def operations() -> list[APIOperation]:
    """Every route but the push stream, which does not end, and replays, which begin and remove generations.

    tests/serving/api/test_live.py and test_replays.py look at those.
    """
    document = create_app(Settings.load({"DATAFLOW_ENV_FILE": ""})).openapi()
    found = (
        schemathesis.openapi.from_dict(document)
        .exclude(path="/v1/live")
        .exclude(path_regex="^/v1/replays")
        .get_all_operations()
    )
    return [each.ok() for each in found]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
@pytest.mark.parametrize("operation", operations(), ids=lambda each: each.label)
def test_every_answer_is_one_that_openapi_describes(
    filled: Shop, operation: APIOperation, mode: GenerationMode
) -> None:
    if mode is GenerationMode.NEGATIVE and not (
        operation.query or operation.body or operation.path_parameters
    ):
        pytest.skip("it takes nothing that could be wrong")

    @seed(20_260_517)
    @settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def conforms(case: Case) -> None:
        case.call_and_validate(base_url=filled.url, checks=CHECKS, timeout=30)

    conforms()
