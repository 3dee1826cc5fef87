"""What the generator's tests share: fixed ids and times, a second judge of records, a run that is made once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

from schemas.contract import CONTRACTS
from schemas.errors import EventError
from schemas.validate import micros, violations
from sources.codec import EventCodec
from sources.generator import Dials, Emission, GroundTruth, ShopSimulator, moments

IDS = {topic: 101 + n for n, topic in enumerate(CONTRACTS)}
START = datetime(2026, 3, 2, tzinfo=UTC)
SPAN = timedelta(days=12)
ARRIVAL = START + SPAN  # when the broker takes a history
CODEC = EventCodec(IDS)
TIDY, ALL_UP = Dials.none(), Dials.all_up()


@cache
def history(
    dials: Dials, count: int = 20_000, seed: int = 7, span: timedelta = SPAN
) -> tuple[Sequence[Emission], GroundTruth]:
    """A history of the shop, and its ground truth."""
    truth = GroundTruth()
    simulator = ShopSimulator(seed, START, IDS, dials, truth=truth)
    return list(simulator.emissions(moments(START, span, count))), truth


def reasons(
    topic: str,
    key: bytes | None,
    value: bytes | None,
    arrival: datetime = ARRIVAL,
    codec: EventCodec = CODEC,
) -> set[str]:
    """Why a record is to be refused, found by decoding it and by the contract's rules; empty if it is good."""
    if key is None:
        return {"null_key"}
    if value is None:
        return {"null_value"}
    try:
        event = codec.decode(topic, value)
    except EventError as error:
        return {error.rule}
    if event[CONTRACTS[topic].key].encode() != key:
        return {"wrong_key"}
    return {violation.rule for violation in violations(topic, event, micros(arrival))}
