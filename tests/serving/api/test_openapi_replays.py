"""What OpenAPI says of /v1/replays… holds for whatever is sent there, while generations begin, pause and go by it."""

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, seed
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth

from infra.generations import State, read_generations
from tests.serving.api.kit import Running, serving
from tests.serving.api.test_openapi import CHECKS, KEYS, SECRET, document, few

pytestmark = [pytest.mark.slow, pytest.mark.longhaul, pytest.mark.timeout(1_800)]
NAMES = st.sampled_from(["g1", "g2", "g3", "g99", "x"])


@pytest.fixture(scope="module")
def locked(shop) -> Iterator[Running]:
    """The API of an environment with topics and schemas, whose platform nobody supervises; a key is needed."""
    with serving(shop.replace(dataflow_api_keys=KEYS)) as running:
        running.http.headers["X-API-Key"] = SECRET
        yield running


def operations() -> list[APIOperation]:
    found = document(dataflow_api_keys=KEYS).include(path_regex="^/v1/replays")
    return [each.ok() for each in found.get_all_operations()]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
@pytest.mark.parametrize("operation", operations(), ids=lambda each: each.label)
def test_every_answer_is_one_that_openapi_describes_and_only_the_live_one_is_never_touched(
    locked: Running, operation: APIOperation, mode: GenerationMode
) -> None:
    takes = operation.query or operation.body or operation.path_parameters
    if mode is GenerationMode.NEGATIVE and not takes:
        pytest.skip("it takes nothing that could be wrong")
    checks = [*CHECKS, ignored_auth] if mode is GenerationMode.POSITIVE else CHECKS
    statuses: Counter[int] = Counter()

    @seed(20_261_129)
    @few(8)
    @given(case=operation.as_strategy(generation_mode=mode), name=NAMES)
    def conforms(case: Case, name: str) -> None:
        for made_up in ("Authorization", "X-API-Key"):
            (case.headers or {}).pop(made_up, None)
        if mode is GenerationMode.POSITIVE and "name" in (case.path_parameters or {}):
            case.path_parameters["name"] = name  # which it would hardly find
        answer = case.call_and_validate(
            base_url=locked.url, headers={"X-API-Key": SECRET}, checks=checks, timeout=120
        )
        statuses[answer.status_code] += 1

    conforms()
    assert not statuses.keys() & {401, 403}
    known = read_generations(locked.settings)
    assert (known.live, known.of(1).state) == (1, State.RUNNING)
