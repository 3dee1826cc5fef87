"""Bronze holds what the topics do, byte for byte: a byte, a header or a time that is another one is found."""

from dataclasses import replace

import pytest
from confluent_kafka import Producer, TopicPartition

from infra.bootstrap import bootstrap
from infra.generation import current_generation, source_bounds
from infra.kafka import admin
from replay.verify.gaps import SourceTopic
from replay.verify.originals import PIECE, SAMPLE, Originals
from replay.verify.report import documents
from schemas.tables import TABLES
from serving.lake.views import connect
from streams.lake.place import lake_root
from tests.serving.lake_kit import SmallLake, frame

TOPIC, TABLE = "orders", "raw_orders"
HEADERS = [("trace", b"\x00\xff"), ("trace", None), ("ümlaut", b"")]


class Scene:
    """A topic, and a lake whose bronze is what the broker has, or what a test makes of it."""

    def __init__(self, settings):
        self.settings, self.generation = settings, current_generation(settings)
        self.name = settings.topic_prefix + TOPIC
        self.lake = SmallLake(lake_root(settings, "g1"), settings)

    def produce(self, count):
        producer = Producer({"bootstrap.servers": self.settings.kafka_bootstrap_servers, "log_level": 2})
        for n in range(count):
            value = None if n % 7 == 3 else f"value {n}".encode()
            key = None if n % 5 == 2 else f"key {n}".encode()
            producer.produce(self.name, value, key, n % 2, headers=HEADERS if n % 3 else None)
        assert producer.flush(30) == 0

    def sent(self):
        """What the broker has, as rows of bronze."""
        rows = []
        with SourceTopic(self.settings, TOPIC, (0, 1)) as source:
            for p in (0, 1):
                for record in source.records(p, *source.span(p)):
                    headers = [{"key": name, "value": value} for name, value in record.headers() or ()]
                    rows.append(
                        {
                            "partition": p,
                            "offset": record.offset(),
                            "kafka_time": record.timestamp()[1] * 1_000,
                            "key": record.key(),
                            "value": record.value(),
                            "headers": headers or None,
                        }
                    )
        return rows

    def write(self, rows):
        _, ends = source_bounds(self.settings, self.generation)
        before, number = self.lake.manifest, self.lake.manifest.number + 1
        self.lake.manifest = self.lake.store.write(
            replace(before, number=number, until={at: end for at, end in ends.items() if at[0] == TOPIC}),
            {TABLE: frame(TABLE, number, rows)},
        )

    def check(self, **how):
        with connect(self.lake.root, self.lake.manifest, [TABLES[TABLE]]) as lake:
            originals = Originals(self.settings, self.generation)
            [found] = [each for each in originals.check(lake, self.lake.manifest, **how) if each.rows]
        return found


@pytest.fixture
def scene(settings):
    settings = settings.replace(kafka_partitions=2)
    bootstrap(settings)
    made = Scene(settings)
    yield made
    made.lake.close()


CHANGED = {
    "value": (b"value 9!", "8 bytes, "),
    "key": (None, "null"),
    "headers": ([{"key": "trace", "value": b"\x00\xff"}], "1, "),
    "kafka_time": (1_700_000_000_000_000, "1700000000000000"),
}


@pytest.mark.parametrize("column", CHANGED)
def test_what_is_kept_otherwise_than_it_was_sent_is_found_and_not_shown(scene, column):
    scene.produce(40)
    rows = scene.sent()
    assert len(rows) == 40
    wrong, shown = CHANGED[column]
    [at] = [n for n, row in enumerate(rows) if (row["partition"], row["offset"]) == (1, 4)]
    assert rows[at][column] != wrong
    scene.write([*rows[:at], {**rows[at], column: wrong}, *rows[at + 1 :]])
    [document] = documents([scene.check()])
    assert (document["table"], document["equal"], document["rows"]) == ("raw_orders as sent", False, 40)
    [change] = document["examples"]
    assert change["row"] == {"partition": "1", "offset": "4"}
    assert list(change["is"]) == [column]
    assert change["is"][column].startswith(shown)
    assert "value 9" not in str(document)


def test_some_of_many_are_compared_at_a_time_and_all_if_that_is_asked_for(scene):
    scene.produce(2 * (PIECE + 100))
    rows = scene.sent()
    scene.write(rows)
    assert (scene.check().rows, scene.check().equal) == (2 * SAMPLE, True)
    everything = scene.check(all_of_them=True)
    assert (everything.rows, everything.equal) == (len(rows), True)

    scene.write([{**rows[-1], "value": b"another"}])  # beside the right one
    assert not scene.check(all_of_them=True).equal


def test_others_are_compared_with_another_manifest(scene, monkeypatch):
    scene.produce(2 * 10 * SAMPLE)
    scene.write(scene.sent())
    looked = []
    kept = SourceTopic.records
    monkeypatch.setattr(
        SourceTopic, "records", lambda self, *span: (looked.append(span), kept(self, *span))[1]
    )
    for number in range(1, 9):
        scene.lake.manifest = replace(scene.lake.manifest, number=number)
        with connect(scene.lake.root, scene.lake.manifest, [TABLES[TABLE]]) as lake:
            Originals(scene.settings, scene.generation)._topic(
                lake, scene.lake.manifest, TOPIC, False, lambda: False
            )
    starts = {first for partition, first, _ in looked if partition == 0}
    assert len(starts) > 4
    assert max(starts) - min(starts) > SAMPLE


def test_what_the_topic_has_lost_is_no_difference(scene):
    scene.produce(40)
    rows = scene.sent()
    wrong = [{**row, "value": b"no more to be compared"} if row["offset"] < 9 else row for row in rows]
    scene.write(wrong)
    client = admin(scene.settings.kafka_bootstrap_servers)
    places = [TopicPartition(scene.name, p, 9) for p in (0, 1)]
    for future in client.delete_records(places).values():
        future.result(30)
    found = scene.check()
    assert (found.rows, found.equal) == (40 - 2 * 9, True)
