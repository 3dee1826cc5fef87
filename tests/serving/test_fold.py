"""The fold in a real Redis equals the generator's ground truth, whatever the order of arrival and the size of a run."""

import asyncio
import random

import pytest

from schemas.contract import CONTRACTS
from schemas.metrics import METRICS
from serving.read import MetricQuery
from sources.generator.truth import GRAINS, grains_of
from tests.serving.kit import Folded, ask, stored_rows, verdicts, without_zeros
from tests.sources.generator_kit import ALL_UP, history

TRUTH = ("revenue", "items", "payments", "customers", "reviews", "funnel", "clicks")


@pytest.fixture
def folded(settings):
    running = []

    def make(remembered=200_000, **changes):
        running.append(Folded(settings.replace(**changes), remembered))
        return running[-1]

    yield make
    for each in running:
        each.close()


@pytest.mark.parametrize(
    ("time_zone", "remembered"), [("UTC", 200_000), ("America/New_York", 0), ("UTC", 40), ("UTC", 2_000)]
)
@pytest.mark.cases(2)
def test_every_metric_equals_the_ground_truth_of_an_untidy_shop(folded, time_zone, remembered):
    """Also when what the writer remembers of Redis is forgotten at once, or after a while."""
    emissions, truth = history(ALL_UP)
    state = folded(remembered, shop_timezone=time_zone)
    all_verdicts = verdicts(emissions)
    rng, at = random.Random(5), 0
    while at < len(all_verdicts):
        size = rng.choice((1, 3, 50, 300, 700))
        state.apply(all_verdicts[at : at + size])
        at += size
    for metric in TRUTH:
        for grain in GRAINS:
            expected = without_zeros(truth.rows(metric, grain, time_zone))
            assert stored_rows(state.redis, state.keys, metric, grain) == expected, (metric, grain)
            assert expected
    counts = {name.decode(): int(n) for name, n in state.redis.hgetall(state.keys.counts).items()}
    for topic in CONTRACTS:
        expected = truth.verdicts(topic)
        found = {v: counts.get(f"{topic}/0/{v}", 0) for v in ("changed", "repeat", "superseded", "refused")}
        assert {"records": sum(found.values()), **found} == expected
    answer = asyncio.run(ask(state.settings, MetricQuery(METRICS["active"])))
    assert answer.rows[0] == [next(iter(truth.rows("active", "all").values()))]
    assert len(state.conflicts) > 100
    assert grains_of("active") == ("all",)
