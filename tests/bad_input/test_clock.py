"""A clock that is set back, or jumps, while REST events come: versions grow all the same, and the last change counts.

The broker's clock and this machine's cannot be moved by a test: the ingest's is handed in. What depends on the broker's
is the range of times alone, whose bounds the judge's tests try with times of their own.
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from dataflow.testing import Clock, Live
from dataflow.testing.rest import Running, serving
from infra.settings import Settings
from schemas.validate import micros
from serving.api.ingest.ingest import Ingest
from serving.api.ingest.versions import Versions
from tests.serving.api.documents import new_id, order

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
JUMPS = (
    "2026-03-02T09:30:00Z",
    "2026-03-02T09:29:59Z",
    "1970-01-01T00:00:00Z",
    "2099-01-01T00:00:00Z",
    "2026-03-02T09:30:01Z",
)


def test_versions_grow_wherever_the_clock_goes(settings: Settings) -> None:
    clock = Clock()

    async def given() -> list[int]:
        redis = Redis(host=settings.redis_host, port=settings.redis_port)
        versions, found = Versions(redis, settings.redis_prefix), []
        try:
            for time in JUMPS:
                clock.set(time)
                for _ in range(3):
                    found += await versions.give([("orders", new_id()), ("orders", new_id())], clock.micros())
            again = [("orders", new_id())]
            first = await versions.give(again, clock.micros())
            clock.set(JUMPS[2])
            assert await versions.give(again, clock.micros()) == first
        finally:
            await redis.aclose()
        return found

    found = asyncio.run(given())
    assert found == sorted(set(found))
    assert found[0] == micros(NOW)


@pytest.fixture
def clock() -> Clock:
    """True until it is moved."""
    return Clock(datetime.now(UTC))


@pytest.fixture
def api(shop: Live, clock: Clock) -> Iterator[Running]:
    """An API of the shop's whose ingest goes by `clock`."""
    with serving(shop.settings) as running:
        service = running.service
        service.ingest.stop()
        service.ingest = Ingest(service.settings, service.redis, service.telemetry, clock=clock.now)
        service.ingest.start()
        yield running


@pytest.mark.parametrize(
    "back", [timedelta(seconds=1), timedelta(days=365), timedelta(days=20 * 365)], ids=str
)
def test_an_order_that_changes_after_the_clock_was_set_back_is_what_it_was_made_last(
    shop: Live, api: Running, clock: Clock, back: timedelta
) -> None:
    placed = order(total_amount="5.00", shipping_country="LI")

    def cancelled() -> str:
        shop.settled()
        [row] = shop.rows("revenue", where={"shipping_country": "LI"})
        return row["cancelled"]

    assert api.post("/v1/events/orders", json=placed).status_code == 202
    before = cancelled()
    clock.set(clock.now() - back)
    document = {**placed, "status": "cancelled", "order_date": "2006-01-01T00:00:00Z"}
    document |= {"created_at": "2006-01-01T00:00:00Z", "updated_at": "2006-01-01T00:00:00Z"}
    answer = api.post("/v1/events/orders", json=document)
    assert answer.status_code == 202, answer.text
    assert float(cancelled()) - float(before) == 5


def test_a_clock_before_2000_refuses_what_happens_now_and_gives_the_reason(
    api: Running, clock: Clock
) -> None:
    """Its events would be refused by the judge: their time is the machine's."""
    clock.set("1970-01-01T00:00:10Z")
    answer = api.post("/v1/events/orders", json=order())
    assert answer.status_code == 422
    rules = [error["rule"] for error in answer.json()["errors"]]
    assert "occurred_at_in_range" in rules
    clock.set(datetime.now(UTC))
    assert api.post("/v1/events/orders", json=order()).status_code == 202
