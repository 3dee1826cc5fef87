"""Every record of the source topics is in bronze, once: a record that is not there, or twice, is found."""

from dataclasses import replace

import duckdb
import pytest
from confluent_kafka import Producer, TopicPartition

from infra.bootstrap import bootstrap
from infra.generation import current_generation, source_bounds
from infra.kafka import admin
from replay.verify.bronze import Completeness
from replay.verify.report import documents
from streams.lake.place import lake_root
from tests.serving.lake_kit import SmallLake, frame, raw_order

TOPIC = "orders"


class Scene:
    """The orders topic with transactions in it, and a lake whose bronze a test fills."""

    def __init__(self, settings):
        self.settings, self.generation = settings, current_generation(settings)
        self.lake = SmallLake(lake_root(settings, "g1"), settings)
        self.completeness = Completeness(settings, self.generation, duckdb.connect())
        self.records = {0: [], 1: []}  # offsets with a record, by partition

    def produce(self):
        """Transactions of ten records in each partition, of which one in three is given up."""
        producer = Producer(
            {
                "bootstrap.servers": self.settings.kafka_bootstrap_servers,
                "transactional.id": f"{self.settings.dataflow_env}-test",
                "log_level": 2,
            }
        )
        producer.init_transactions(30)
        offset = {0: 0, 1: 0}
        for n in range(6):
            producer.begin_transaction()
            for p in offset:
                for _ in range(10):
                    producer.produce(self.settings.topic_prefix + TOPIC, b"v", b"k", p)
            producer.flush(30)
            if n % 3 == 1:
                producer.abort_transaction(30)
            else:
                producer.commit_transaction(30)
            for p in offset:
                if n % 3 != 1:
                    self.records[p] += range(offset[p], offset[p] + 10)
                offset[p] += 11  # and one that ends the transaction

    def write(self, places, until=None):
        """A batch with these records in bronze."""
        _, ends = source_bounds(self.settings, self.generation)
        until = until or {at: end for at, end in ends.items() if at[0] == TOPIC}
        rows = [raw_order(offset, p) for p, offset in places]
        before = self.lake.manifest
        self.lake.manifest = self.lake.store.write(
            replace(before, number=before.number + 1, until=until),
            {"raw_orders": frame("raw_orders", before.number + 1, rows)},
        )

    def everything(self):
        return [(p, offset) for p, offsets in self.records.items() for offset in offsets]

    def check(self, since=None):
        """The orders' difference, and of how many offsets nobody can tell."""
        complete = self.completeness.check(self.lake.root, self.lake.manifest, since)
        assert [each.table for each in complete.differences if not each.equal] in ([], ["raw_orders"])
        [found] = [each for each in complete.differences if each.table == "raw_orders"]
        return found, complete.untold


@pytest.fixture
def scene(settings):
    settings = settings.replace(kafka_partitions=2)
    bootstrap(settings)
    found = Scene(settings)
    found.produce()
    yield found
    found.lake.close()


def test_where_transactions_ended_or_were_given_up_nothing_is_missing(scene, monkeypatch):
    scene.write(scene.everything())
    found, untold = scene.check()
    assert (found.rows, found.expected, found.equal, untold) == (80, 80, True, 0)
    # What the broker has confirmed is not asked again.
    monkeypatch.setattr("replay.verify.bronze.SourceTopic", None)
    assert scene.check()[0].equal


def test_a_record_that_is_not_in_bronze_is_found(scene):
    places = scene.everything()
    lost = [(0, 0), (0, scene.records[0][17]), (1, scene.records[1][-1]), (1, scene.records[1][20])]
    scene.write([at for at in places if at not in lost])
    found, untold = scene.check()
    assert sorted(found.missing) == sorted(lost)
    assert (found.missing_rows, found.unexpected_rows, found.expected, untold) == (4, 0, 80, 0)
    [document] = documents([found])
    assert document["examples"][0]["row"] == {"partition": "0", "offset": "0"}


def test_a_record_that_is_in_bronze_twice_or_from_nowhere_is_found(scene):
    beyond = (1, 1_000)
    twice = [(0, 3), (0, 3), (1, 5)]
    scene.write([*scene.everything(), *twice, beyond, (7, 0)])
    found, _ = scene.check()
    assert sorted(found.unexpected) == sorted([*twice, beyond, (7, 0)])
    assert (found.rows, found.expected, found.missing_rows) == (85, 80, 0)


def test_of_what_is_new_only_that_is_looked_at(scene):
    middle = {(TOPIC, 0): 33, (TOPIC, 1): 33}
    places = scene.everything()
    scene.write([at for at in places if at[1] < 33 and at != (0, 2)], middle)
    before = scene.lake.manifest
    scene.write([at for at in places if at[1] >= 33 and at != (1, 40)])
    found, _ = scene.check(since=before)
    assert found.missing == ((1, 40),)
    assert scene.check()[0].missing == ((0, 2), (1, 40)), "everything is looked at in turn"


def test_what_the_broker_no_longer_has_is_told_and_not_made_up(scene):
    scene.write([at for at in scene.everything() if at[1] >= 5 or at[0] == 1])
    name = scene.settings.topic_prefix + TOPIC
    client = admin(scene.settings.kafka_bootstrap_servers)
    for future in client.delete_records([TopicPartition(name, 0, 25)]).values():
        future.result(30)
    found, untold = scene.check()
    assert found.equal
    # Five records, the end of a transaction, the ten records and the end of one that was given up.
    assert untold == 5 + 1 + 10 + 1
