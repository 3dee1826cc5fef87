"""What a verification says of itself: exact is said of what was compared, and what was not is told."""

import asyncio
import errno
import io
import os
from dataclasses import replace
from pathlib import Path

import fastavro
import pytest

from infra.bootstrap import bootstrap
from infra.generation import current_generation
from infra.registry import Registry, TopicSchemas, subject
from replay.verify.live import LiveNumbers, everything
from replay.verify.report import documents
from replay.verify.verify import Verifier, verify
from schemas.contract import CONTRACTS
from schemas.errors import Unavailable
from serving.lake.views import connect
from sources.codec import HEADER, MAGIC
from streams.lake.place import lake_root
from streams.plain_judge import PlainJudge
from tests.serving.api.kit import State
from tests.serving.lake_kit import SmallLake
from tests.sources.generator_kit import CODEC, TIDY, history
from tests.streams.lake.shop import MAX_BYTES, judged_records
from tests.streams.lake.test_batches import Driver

PATIENCE = 0.3
MORE = {"name": "extra", "type": ["null", "string"], "default": None}


@pytest.fixture
def environment(settings):
    settings = settings.replace(kafka_partitions=2)
    bootstrap(settings)
    return settings


@pytest.fixture
def lake(environment):
    found = SmallLake(lake_root(environment, "g1"), environment)
    yield found
    found.close()


@pytest.fixture
def state(environment):
    found = State(environment)
    yield found
    found.close()


@pytest.fixture
def verifier(environment):
    with Verifier(environment, current_generation(environment)) as found:
        yield found


def answers(settings):
    seen, why = asyncio.run(everything(LiveNumbers(settings, current_generation(settings))))
    assert seen, why
    return seen


def test_all_answers_are_compared_where_the_lake_has_come_as_far(environment, lake, state, verifier):
    lake.write({}, position=0)
    seen = answers(environment)
    verdict = verifier.check(seen, patience=PATIENCE)
    assert verdict.exact
    assert verdict.at_barrier
    assert (verdict.live, verdict.compared, verdict.answers) == (None, len(seen), len(seen))


def test_answers_beyond_the_lake_are_not_said_to_be_compared(environment, lake, state, verifier):
    lake.write({}, position=0)
    before = answers(environment)
    state.apply("orders", records=3)
    beyond = answers(environment)
    verdict = verifier.check([*before, *beyond], patience=PATIENCE)
    assert verdict.exact, "nothing that was compared differs"
    assert (verdict.compared, verdict.answers) == (len(before), len(before) + len(beyond))
    assert verdict.live.startswith(f"{len(beyond)} of {verdict.answers} answers not compared: ")
    assert "beyond the lake" in verdict.live


def test_answers_behind_what_was_verified_are_not_said_to_be_compared(environment, lake, state, verifier):
    lake.write({}, position=0)
    before = answers(environment)
    lake.write({}, position=3)
    verifier.check(patience=PATIENCE)
    verdict = verifier.check(before, patience=PATIENCE)
    assert verdict.compared == 0
    assert "behind what was verified before" in verdict.live
    assert (verdict.manifest.number, verdict.at_barrier) == (2, False), (
        "the tables are not compared at that one either"
    )


def test_a_lake_that_was_put_back_is_not_wrong_for_that(environment, lake, verifier, monkeypatch):
    """Its tables are functions of fewer offsets than the oracle is, which does not go back."""
    lake.write({}, position=0)
    older = verifier.lake.newest()
    lake.write({}, position=3)
    assert verifier.check(patience=PATIENCE).manifest.number == 2
    with monkeypatch.context() as patched:
        patched.setattr(verifier.lake, "newest", lambda: older)
        with pytest.raises(Unavailable, match=r"newest manifest \(1\) is behind that: it was put back"):
            verifier.check(patience=PATIENCE)
    assert verifier.check(patience=PATIENCE).manifest.number == 2


def test_bronze_is_read_within_bounds_and_what_does_not_fit_is_kept_from_others(
    environment, lake, verifier, monkeypatch
):
    bounds = ("memory_limit", "threads", "temp_directory")
    asked = "SELECT " + ", ".join(f"current_setting('{name}')" for name in bounds)
    seen = []

    def noting(*given):
        connection = connect(*given)
        seen.append(connection.execute(asked).fetchone())
        return connection

    monkeypatch.setattr("replay.verify.verify.connect", noting)
    lake.write({}, position=0)
    assert verifier.check(patience=PATIENCE).exact
    [(*reading, place)], (*own, other) = seen, verifier.oracle.database.execute(asked).fetchone()
    assert reading == own == [own[0], 1]
    assert place != other, "two databases would take each other's files for their own"
    assert all(Path(each).is_relative_to(environment.state_dir / "verifier") for each in (place, other))


def test_no_room_for_a_verifier_is_told_and_no_traceback(environment, lake, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("replay.verify.verify.scratch", full)
    with pytest.raises(Unavailable, match="see whether the disk is full"):
        verify(environment, with_live=False)


def judge_now(settings):
    """One that knows what the registry lists now; and the ids, as a manifest has them."""
    schemas = TopicSchemas(settings)
    known = {topic: schemas.of(topic) for topic in CONTRACTS}
    schemas.close()
    return PlainJudge(known, MAX_BYTES), {topic: tuple(s.schema_id for s in k) for topic, k in known.items()}


def written_with(schema, schema_id, count):
    """Customers' records in another schema than the contract's."""
    found, writer = [], fastavro.parse_schema(schema)
    emissions = [each for each in history(TIDY, 2_000)[0] if each.topic == "customers"]
    for emission in emissions[:count]:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, writer, {**CODEC.decode("customers", emission.value), "extra": "x"})
        found.append(("customers", emission.key, HEADER.pack(MAGIC, schema_id) + out.getvalue()))
    return found


@pytest.mark.parametrize("at_once", [True, False], ids=["by one who comes later", "round after round"])
def test_a_record_is_judged_by_the_schemas_that_were_known_when_it_was_taken_in(
    environment, verifier, at_once
):
    """Registered after its record was refused, a schema makes the next records good and not that one."""
    schema = {**CONTRACTS["customers"].avro, "fields": [*CONTRACTS["customers"].avro["fields"], MORE]}
    registry = Registry(environment.kafka_schema_registry)
    # The registry gives a schema one id, whatever the subject.
    schema_id = registry.register(f"{environment.topic_prefix}elsewhere-value", schema)
    first, *others = written_with(schema, schema_id, 4)
    driver = Driver(environment.dataflow_home, root=lake_root(environment, "g1"))

    def take_in(records, offset):
        judge, ids = judge_now(environment)
        driver.manifest = replace(driver.manifest, schemas=ids)
        driver.run(judged_records(records, judge, offset))

    take_in([first], 0)
    if not at_once:
        assert verifier.check(patience=PATIENCE).exact
    assert registry.register(subject(environment, "customers"), schema) == schema_id
    registry.close()
    take_in(others, 1)
    for whole in (False, True):
        verdict = verifier.check(whole=whole, patience=PATIENCE)
        assert verdict.exact, [each for each in documents(verdict.differences) if not each["equal"]]
    assert verdict.manifest.counts == {"customers/0/refused": 1, "customers/0/changed": len(others)}
