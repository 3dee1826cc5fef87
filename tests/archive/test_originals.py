"""The bytes that a dead letter does not keep: in the source topic, then in bronze; without either they are gone."""

import pytest

from infra.bootstrap import bootstrap
from infra.generations import Generation
from infra.registry import schema_ids
from infra.settings import Settings
from schemas.errors import Unavailable
from serving.dead_letters import Originals, Wanted, copies_of, served_letters
from serving.dead_letters.redrive import Redriver
from sources.codec import EventCodec
from tests.archive.kit import age_out, fill_bronze
from tests.cli.kit import DeadLetterWriter, customer, produced

pytestmark = pytest.mark.slow


class Letter:
    """Of a record that is in its topic, and of which it keeps but the beginning."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.generation: Generation = bootstrap(settings)
        codec = EventCodec(schema_ids(settings))
        key, value = self.record = codec.encode("customers", customer())
        self.place = produced(settings, codec, "customers", key, value, [("trace", b"1"), ("empty", None)])
        letters = DeadLetterWriter(settings)
        size = len(key) + len(value)
        self.name = letters.write(self.place, value[:20], ["too_large"], key=key, size=size)
        letters.flush()

    def age_out(self) -> None:
        topic, partition, offset = self.place
        age_out(self.settings, {(topic, partition): offset + 1})

    def whole(self) -> tuple[bytes | None, bytes | None]:
        """Key and value; the record's headers are as they were."""
        with Originals(self.settings) as originals:
            found = originals.whole(copies_of(self.settings, served_letters(self.settings), self.name)[-1])
        assert found.headers == (("trace", b"1"), ("empty", None))
        return found.key, found.value

    def ready(self) -> tuple[int, dict[str, int]]:
        """How many a re-drive would put back, and what it would leave."""
        with Redriver(self.settings) as redriver:
            plan = redriver.plan(Wanted())
        return len(plan.ready), dict(plan.left)


@pytest.mark.cases(0)
def test_without_a_lake_they_go_with_the_topics_record(settings: Settings) -> None:
    letter = Letter(settings)
    assert letter.whole() == letter.record
    assert letter.ready() == (1, {})
    letter.age_out()
    with pytest.raises(Unavailable):
        letter.whole()
    assert letter.ready() == (0, {"bytes_lost": 1})


@pytest.mark.cases(0)
def test_a_lake_has_them_when_the_topic_has_them_no_more(settings: Settings) -> None:
    letter = Letter(settings)
    fill_bronze(settings, letter.generation)
    letter.age_out()
    assert letter.whole() == letter.record
    assert letter.ready() == (1, {})
