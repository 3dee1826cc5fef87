"""One live job, its verdicts and what it is asked while it runs. The tests share the process; each adds its records."""

import io
import json
import logging
import time
from datetime import UTC, datetime

import fastavro
import pytest
from confluent_kafka import Producer

from infra.bootstrap import bootstrap
from infra.registry import Registry, subject
from schemas.contract import CONTRACTS
from sources.codec import HEADER, MAGIC
from sources.generator.malformed import CLAIMED_BYTES, zigzag
from streams.control import request_repeat
from tests.streams.live.kit import Account, LiveProcess, ShopFeed, against_plain_python, verdicts_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(platform, tmp_path_factory):
    """Settings of one environment for this file. Checkpoints are far between: no test leans on one."""
    return platform.settings.replace(
        dataflow_env="live-verdicts", dataflow_home=tmp_path_factory.mktemp("live")
    )


@pytest.fixture(scope="module")
def generation(settings):
    return bootstrap(settings)


@pytest.fixture(scope="module")
def job(settings, generation):
    with LiveProcess(settings) as running:
        yield running


@pytest.fixture(scope="module")
def account(settings, generation):
    with Account(settings, generation) as kept:
        yield kept


@pytest.fixture(scope="module")
def feed(settings, generation):
    return ShopFeed(settings)


def test_every_record_of_an_untidy_shop_gets_one_verdict_in_order_and_each_refusal_a_dead_letter(
    job, feed, account
):
    feed.produce(6_000)
    account.settle()
    assert against_plain_python(account, feed.codec) > 300
    assert account.total("repeats") == account.total("gaps") == 0
    assert job.status()["restarts"] == 0


def test_each_damaged_record_is_refused_with_its_reason_and_the_query_goes_on(job, feed, account, settings):
    key, value, _ = feed.good("orders")
    claim = value[: HEADER.size] + zigzag(CLAIMED_BYTES) + b"a few bytes"
    text = value.rindex(b"generator")
    damaged = {
        "undecodable": [claim, value[:-7]],
        "too_large": [value + b"\0" * 700_000],
        "wrong_magic_byte": [b"\1" + value[1:]],
        "too_short": [value[:3]],
        "unknown_schema_id": [HEADER.pack(MAGIC, 2_000_000_123) + value[HEADER.size :]],
        "invalid_utf8": [value[:text] + b"\xff" + value[text + 1 :]],
        "not_canonical": [value + b"\0"],
        "null_value": [None],
    }
    run = job.status()["run_id"]
    for values in damaged.values():
        feed.send("orders", *((key, each) for each in values))
    nameless = value + b" "  # another value, so that it can be told apart
    feed.send("orders", (None, nameless), (key, value))
    account.settle()
    for reason, values in damaged.items():
        assert [v.get("r") for v in verdicts_of(account, "orders", values)] == [[reason]] * len(values)
    assert verdicts_of(account, "orders", [nameless])[0]["r"] == ["null_key"]
    assert verdicts_of(account, "orders", [value])[0]["v"] == "a"
    assert job.status()["run_id"] == run


def test_aborted_records_get_no_verdict_and_committed_ones_do(feed, account, settings):
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka_bootstrap_servers,
            "transactional.id": settings.topic_prefix + "tests",
            "log_level": 2,
        }
    )
    producer.init_transactions(30)
    kept, lost = set(), set()
    for turn in range(6):
        places = kept if turn % 2 else lost
        producer.begin_transaction()
        for _ in range(20):
            key, value, _ = feed.good("clickstream")
            producer.produce(
                f"{settings.topic_prefix}clickstream",
                value,
                key,
                on_delivery=lambda _, m, into=places: into.add((m.partition(), m.offset())),
            )
        producer.flush(30)  # an aborted record lies in the log, too
        (producer.commit_transaction if turn % 2 else producer.abort_transaction)(30)
    assert len(kept) == len(lost) == 60
    account.settle()
    assert {account.verdict("clickstream", *place)["v"] for place in kept} == {"a"}
    assert not any(account.judged("clickstream", *place) for place in lost)
    assert account.total("gaps") == 0


def test_a_request_to_repeat_brings_every_verdict_from_its_offsets_on_again(
    job, feed, account, settings, generation
):
    before, attempt = account.total("repeats"), job.status()["attempt"]
    wanted = {place: max(len(messages) - 10, 0) for place, messages in account.sources.items()}
    everywhere = {place: wanted.get(place, 0) for place in generation.partitions()}
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for _ in range(2):  # whoever waits asks again; one attempt answers both
        request_repeat(producer, settings, generation.name, everywhere)
    job.wait_status("the next attempt", lambda s: s["attempt"] == attempt + 1)
    feed.produce(500)
    account.settle()
    repeated = sum(
        sum(m.offset() >= everywhere[place] for m in messages) for place, messages in account.sources.items()
    )
    assert before < account.total("repeats") <= before + repeated
    assert job.status()["attempt"] == attempt + 1
    assert account.total("gaps") == 0


def test_records_of_a_schema_registered_while_it_runs_are_accepted(job, feed, account, settings):
    run = job.status()["run_id"]
    newer = json.loads(CONTRACTS["reviews"].avro_json)
    newer["fields"].append({"name": "helpful", "type": ["null", "int"], "default": None})
    registry = Registry(settings.kafka_schema_registry)
    schema_id = registry.register(subject(settings, "reviews"), newer)
    registry.close()
    assert schema_id not in feed.ids.values()
    job.wait_status("a query that knows the schema", lambda s: s["run_id"] != run and s["state"] == "running")
    records = []
    for helpful in (None, 3):
        key, old, event = feed.good("reviews")
        out = io.BytesIO()
        fastavro.schemaless_writer(out, fastavro.parse_schema(newer), {**event, "helpful": helpful})
        records += [(key, HEADER.pack(MAGIC, schema_id) + out.getvalue()), (key, old)]
    # strict under the newer schema, too: the byte too many is not taken for the new field or for nothing
    records += [(records[0][0], records[0][1] + b"\0")]
    feed.send("reviews", *records)
    account.settle()
    verdicts = verdicts_of(account, "reviews", [value for _, value in records])
    assert [v["v"] for v in verdicts] == ["a", "a", "a", "a", "r"]
    assert verdicts[-1]["r"] == ["not_canonical"]
    assert [v["e"] for v in verdicts[::2][:2]] == [v["e"] for v in verdicts[1::2]]
    assert job.status()["last_failure"] is None


def test_sigterm_ends_it_within_seconds_without_an_error_in_its_log(job, feed):
    feed.produce(200)
    began = time.monotonic()
    job.terminate()
    assert job.ended(20) == 0
    logging.getLogger(__name__).info("stopped in %.1f s", time.monotonic() - began)
    assert [line for line in job.log().splitlines() if "ERROR" in line or "Exception" in line] == []
    assert len(job.log().splitlines()) < 20, job.log()
    assert datetime.now(UTC).timestamp() - job.status()["at"] < 20
    assert job.status()["state"] == "stopping"
