"""Every request gets an answer in bounded time, whatever becomes of the Kafka producer. No broker listens here."""

import asyncio

from confluent_kafka import KafkaError

from serving.api.ingest import delivery
from serving.api.ingest.delivery import Deliveries, Undelivered

NOBODY = "127.0.0.1:9"


def test_records_of_a_producer_with_a_fatal_error_still_get_their_fate() -> None:
    deliveries = Deliveries(NOBODY, "t.", delivery_seconds=1)
    deliveries.start()
    old = deliveries._producer

    async def both() -> list:
        first = asyncio.create_task(deliveries.deliver("orders", [(b"k", b"v")]))
        await asyncio.sleep(0)
        assert len(old) >= 1  # what it has to say about itself counts, too
        # as librdkafka would say it
        deliveries._error(deliveries._lost, KafkaError(KafkaError._FATAL, "lost its order", True))
        second = asyncio.create_task(deliveries.deliver("orders", [(b"k", b"v")]))
        return await asyncio.wait_for(asyncio.gather(first, second), 15)

    [[one], [other]] = asyncio.run(both())
    deliveries.stop()
    assert deliveries._producer is not old
    # the client itself reported it, nobody had to give up waiting
    assert "reported nothing" not in one.reason
    assert isinstance(other, Undelivered)


def test_a_request_does_not_wait_for_ever_for_a_report_that_does_not_come(monkeypatch) -> None:
    monkeypatch.setattr(delivery, "REPORT_SECONDS", 0.1)
    deliveries = Deliveries(NOBODY, "t.", delivery_seconds=0.2)
    deliveries._renew()  # nobody polls
    records = [(b"k", b"v")] * 3
    fates = asyncio.run(asyncio.wait_for(deliveries.deliver("orders", records), 15))
    assert [type(fate) for fate in fates] == [Undelivered] * 3
    assert "timed out" in fates[0].reason
    assert not fates[0].too_large
