"""The dead letters over REST and push are those of the live generation, and follow when another one becomes live."""

import time
from collections.abc import Iterator

import pytest

from infra.bootstrap import bootstrap
from infra.settings import Settings
from sources.importer.sinks import KafkaSink, RefusedLine
from sources.producer import EventProducer
from tests.cli.kit import T0, DeadLetterWriter
from tests.generation_kit import begin_beside, go_live
from tests.helpers import wait_for
from tests.serving.api.kit import Events, Running, State, assert_problem, listening, serving

LETTERS, SUMMARY = "/v1/dead-letters", "/v1/dead-letters/summary"
LINE = "orders.csv:17"
FOLLOWED = 10  # seconds


@pytest.fixture
def shop(settings: Settings) -> Settings:
    """Two generations with different refusals, g1 live, and an import that has refused a line."""
    settings = settings.replace(kafka_partitions=2)
    bootstrap(settings)
    begin_beside(settings)
    for name, offsets, reason in (("g1", (0, 1, 2), "too_short"), ("g2", (2, 3), "status_allowed")):
        letters = DeadLetterWriter(settings, name)
        for n in offsets:
            letters.write(("orders", n % 2, n), name.encode(), [reason], at=T0 + n)
        letters.flush()
    refused = RefusedLine("shop", "orders.csv", 17, b"17;x", 4, ("not_a_number",), "expected a number")
    with EventProducer(settings.kafka_bootstrap_servers, settings.topic_prefix, {}) as producer:
        KafkaSink(producer).refused(refused)
    return settings


@pytest.fixture
def states(shop: Settings) -> Iterator[None]:
    found = [State(shop, name) for name in ("g1", "g2")]
    yield
    for state in found:
        state.close()


def listed(api: Running, **parameters: object) -> dict:
    answer = api.get(LETTERS, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(page: dict) -> list[str]:
    return [letter["id"] for letter in page["letters"]]


def told(events: Events) -> dict:
    """The next note about dead letters."""
    while True:
        kind, data, _ = events.next("dead_letters")
        if kind == "dead_letters":
            return data


@pytest.mark.usefixtures("states")
def test_the_list_shows_the_other_generations_letters_within_seconds_of_the_switch(
    shop: Settings,
) -> None:
    with serving(shop) as api:
        api.wait_ready()
        first = listed(api)
        assert (first["generation"], ids(first)) == ("g1", [LINE, "orders/0/2", "orders/1/1", "orders/0/0"])
        assert first["letters"][1]["dead_letter"]["topic"] == f"{shop.dataflow_env}.g1.events.dead_letter"
        assert api.get(f"{LETTERS}/orders/1/3").status_code == 404
        counted = api.get(SUMMARY).json()
        assert (counted["generation"], counted["letters"]) == ("g1", 4)
        with listening(api) as events:
            assert told(events)["letters"] == 4
            go_live(shop, 2)
            began = time.monotonic()
            wait_for(lambda: listed(api)["generation"] == "g2", FOLLOWED, "the other generation's letters")
            print(f"followed after {time.monotonic() - began:.1f} s")
            while (note := told(events))["generation"] != "g2":
                pass
            assert note["letters"] == 3
            assert set(note["offsets"]) == {
                f"{shop.dataflow_env}.{name}" for name in ("events.dead_letter", "g2.events.dead_letter")
            }
        assert ids(listed(api)) == [LINE, "orders/1/3", "orders/0/2"]
        assert ids(listed(api, reason="too_short")) == []
        counted = api.get(SUMMARY).json()
        rows = {row["reason"]: row["letters"] for row in counted["summary"]}
        assert (counted["generation"], rows) == ("g2", {"not_a_number": 1, "status_allowed": 2})
        letter = api.get(f"{LETTERS}/orders/0/2?bytes=true").json()
        assert (letter["generation"], letter["copies"]) == ("g2", 1)
        assert letter["bytes"]["hex"] == b"g2".hex()
        assert api.get(f"{LETTERS}/orders/0/0").status_code == 404
        assert api.get(f"{LETTERS}/{LINE}").json()["generation"] is None


@pytest.mark.usefixtures("states")
def test_pages_go_on_within_a_generation_and_not_into_another(shop: Settings) -> None:
    with serving(shop) as api:
        api.wait_ready()
        page = listed(api, limit=2)
        rest = listed(api, limit=2, cursor=page["next"])
        assert (ids(page), ids(rest)) == ([LINE, "orders/0/2"], ["orders/1/1", "orders/0/0"])
        assert rest["next"] is None
        go_live(shop, 2)
        wait_for(lambda: listed(api)["generation"] == "g2", FOLLOWED, "the other generation's letters")
        gone = api.get(LETTERS, params={"limit": 2, "cursor": page["next"]})
        assert "begin at the first page" in assert_problem(gone, 410, "gone")["detail"]
        again = listed(api, limit=2)
        assert ids(listed(api, limit=2, cursor=again["next"])) == ["orders/0/2"]


@pytest.mark.usefixtures("states")
def test_an_api_that_is_bound_to_a_generation_shows_its_letters_whichever_is_live(shop: Settings) -> None:
    with serving(shop.replace(dataflow_generation=2)) as api:
        api.wait_ready()
        found = listed(api)
        assert (found["generation"], ids(found)) == ("g2", [LINE, "orders/1/3", "orders/0/2"])
