"""`dim_date` has the years of every accepted version, whether it ever stood or not, and however batches are cut."""

import random
from datetime import timedelta

import pytest

from tests.sources.generator_kit import START
from tests.streams.lake.restless import Restless
from tests.streams.lake.shop import judged_events
from tests.streams.lake.test_batches import Driver, content, expect_right

LONG_AGO = START - timedelta(days=800)
AT = {"orders": "order_date", "order_items": "created_at"}


def versions(topic, *steps):
    """Events of one entity: for each step its version, its day, and what happened to it."""
    shop = Restless(random.Random(1))
    row = getattr(shop, f"{topic}_row")()
    return [
        (
            topic,
            {
                **row,
                AT[topic]: at,
                "event_id": shop.uuid(),
                "op": op,
                "occurred_at": START,
                "version": version,
                "source": "test",
            },
        )
        for version, at, op in steps
    ]


@pytest.mark.parametrize("topic", AT)
@pytest.mark.parametrize("size", [1, 2], ids=["in batches of their own", "in one batch"])
@pytest.mark.parametrize(
    "steps",
    [
        [(1, LONG_AGO, "c"), (2, START, "u")],
        [(2, START, "u"), (1, LONG_AGO, "c")],
        [(1, LONG_AGO, "d"), (2, START, "c")],
        [(1, LONG_AGO, "d")],
    ],
    ids=["corrected", "late", "deleted and born again", "deleted"],
)
@pytest.mark.cases(4)
def test_a_version_that_never_stood_has_its_year(tmp_path, topic, size, steps):
    judged = judged_events(versions(topic, *steps))
    driver = Driver(tmp_path)
    for at in range(0, len(steps), size):
        driver.run({topic: judged[topic].slice(at, size)})
    expect_right(driver.root, driver.manifest)
    years = {year for _, year, *_ in content(driver.root, driver.manifest)["dim_date"]}
    assert years == {at.year for _, at, _ in steps}


def test_an_event_has_its_year(tmp_path):
    click = Restless(random.Random(1)).click() | {"occurred_at": LONG_AGO}
    driver = Driver(tmp_path)
    driver.run(judged_events([("clickstream", click)]))
    expect_right(driver.root, driver.manifest)
    years = {year for _, year, *_ in content(driver.root, driver.manifest)["dim_date"]}
    assert years == {LONG_AGO.year}
