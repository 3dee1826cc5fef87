"""Dead letters over REST: found, counted and shown without personal data; put back once, by who may."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from infra.bootstrap import bootstrap
from infra.read_topic import read_topic
from infra.registry import schema_ids
from infra.runtime.platform import Platform
from infra.settings import Settings
from serving.api.letters.scans import AT_MOST
from sources.codec import EventCodec
from sources.importer.sinks import KafkaSink, RefusedLine
from sources.producer import EventProducer
from tests.cli.kit import PERSONAL, T0, DeadLetterWriter, customer, order, produced
from tests.serving.api.kit import Running, State, assert_problem, serving

MINUTE = 60_000_000
KEYS = "dash:read-secret:read,shop:write-secret:read+write,root:admin-secret:admin"
READ, WRITE, ADMIN = ({"X-API-Key": f"{name}-secret"} for name in ("read", "write", "admin"))
LETTERS, SUMMARY, REDRIVE = "/v1/dead-letters", "/v1/dead-letters/summary", "/v1/dead-letters/redrive"


@pytest.fixture(scope="module")
def shop(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An environment that holds dead letters of every kind, which no test changes."""
    home = tmp_path_factory.mktemp("letters")
    settings = platform.settings.replace(dataflow_env="letters", dataflow_home=home, kafka_partitions=2)
    bootstrap(settings)
    codec, letters = EventCodec(schema_ids(settings)), DeadLetterWriter(settings)
    for n in range(5):
        for _ in range(2):
            letters.write(("orders", n % 2, n), b"x", ["too_short"], at=T0 + n * MINUTE)
    key, value = codec.encode("customers", customer(country="A"))
    letters.write(("customers", 1, 7), value, ["country_format", "op_allowed"], key=key, at=T0 + 10 * MINUTE)
    letters.flush()
    line, detail = ",".join(PERSONAL.values()).encode(), f"no such customer {PERSONAL['email']}"
    refused = RefusedLine("online-retail", "a b.csv", 17, line, len(line), ("unparsable",), detail)
    with EventProducer(settings.kafka_bootstrap_servers, settings.topic_prefix, codec.schema_ids) as producer:
        KafkaSink(producer).refused(refused)
    return settings


@pytest.fixture(scope="module")
def api(shop: Settings) -> Iterator[Running]:
    state = State(shop)
    with serving(shop.replace(dataflow_api_keys=SecretStr(KEYS))) as running:
        running.wait_ready()
        yield running
    state.close()


@pytest.fixture
def environment(settings: Settings) -> Settings:
    settings = settings.replace(kafka_partitions=2)
    bootstrap(settings)
    return settings


@pytest.fixture
def own_api(environment: Settings) -> Iterator[Running]:
    """An API of one test, on loopback and without keys."""
    state = State(environment)
    with serving(environment) as running:
        running.wait_ready()
        yield running
    state.close()


def asked(api: Running, path: str = LETTERS, **parameters: object) -> dict:
    found = api.get(path, params=parameters, headers=READ)
    assert found.status_code == 200, found.text
    assert all(
        value not in found.text and value.encode().hex() not in found.text for value in PERSONAL.values()
    )
    return found.json()


def ids(api: Running, **parameters: object) -> list[str]:
    return [letter["id"] for letter in asked(api, **parameters)["letters"]]


def test_the_newest_come_first_each_once_page_by_page(api: Running) -> None:
    everything = ids(api)
    assert everything[0] == "a b.csv:17"
    assert everything[1:] == [
        "customers/1/7",
        "orders/0/4",
        "orders/1/3",
        "orders/0/2",
        "orders/1/1",
        "orders/0/0",
    ]
    found, page = [], {"next": None}
    while True:
        page = asked(api, limit=3, **({"cursor": page["next"]} if page["next"] else {}))
        found += [letter["id"] for letter in page["letters"]]
        if page["next"] is None:
            break
        assert len(page["letters"]) == 3
    assert found == everything
    assert page["as_of"]["generation"] == "g1"


def test_filters_choose_by_topic_reason_time_and_place(api: Running) -> None:
    assert ids(api, topic="customers") == ids(api, reason="op_allowed") == ["customers/1/7"]
    assert ids(api, topic="import") == ids(api, topic="import:online-retail") == ["a b.csv:17"]
    assert ids(api, topic="orders", since="2026-05-17T09:32:00Z", until="2026-05-17T09:34:00Z") == [
        "orders/1/3",
        "orders/0/2",
    ]
    assert ids(api, topic="orders", partition=0, offsets="1-3") == ["orders/0/2"]
    assert ids(api, topic="orders", partition=0, offsets="4") == ["orders/0/4"]
    assert ids(api, topic="payments") == []


def test_the_summary_counts_by_topic_and_reason_in_words(api: Running) -> None:
    found = asked(api, SUMMARY)
    assert found["letters"] == 7
    rows = {(row["source_topic"], row["reason"]): row for row in found["summary"]}
    assert {at: row["letters"] for at, row in rows.items()} == {
        ("customers", "country_format"): 1,
        ("customers", "op_allowed"): 1,
        ("import:online-retail", "unparsable"): 1,
        ("orders", "too_short"): 5,
    }
    assert "shorter" in rows["orders", "too_short"]["description"]
    assert asked(api, SUMMARY, topic="orders")["letters"] == 5


def test_one_letter_is_shown_decoded_and_names_nobody(api: Running) -> None:
    found = asked(api, f"{LETTERS}/customers/1/7")
    assert found["content"]["fields"]["email"] == "***"
    assert found["content"]["fields"]["occurred_at"] == "2026-05-17T09:30:00.000000Z"
    assert set(PERSONAL) <= set(found["content"]["masked"])
    assert [reason["rule"] for reason in found["reasons"]] == ["country_format", "op_allowed"]
    assert found["bytes"]["hex"] == ""
    assert asked(api, f"{LETTERS}/orders/0/2")["copies"] == 2
    line = asked(api, f"{LETTERS}/a%20b.csv:17")
    assert (line["content"], line["detail"], line["bytes"]["shown"]) == (None, "***", 0)
    assert_problem(api.get(f"{LETTERS}/orders/0/99", headers=READ), 404, "unknown-letter")


def test_the_original_bytes_are_for_admins(api: Running) -> None:
    path = f"{LETTERS}/a%20b.csv:17?bytes=true"
    for headers in (READ, WRITE):
        assert "admin" in assert_problem(api.get(path, headers=headers), 403, "forbidden")["detail"]
    found = api.get(path, headers=ADMIN).json()
    assert bytes.fromhex(found["bytes"]["hex"]).decode() == ",".join(PERSONAL.values())
    assert PERSONAL["email"] in found["detail"]


def test_only_admins_put_back(api: Running) -> None:
    for headers in (READ, WRITE):
        body = assert_problem(api.post(REDRIVE, json={}, headers=headers), 403, "forbidden")
        assert "admin" in body["detail"]
    assert api.post(REDRIVE, json={}, headers=ADMIN).status_code == 200
    assert_problem(api.post(REDRIVE, json={}), 401, "unauthorized")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("topic=order", "topic"),
        ("topic=import:", "topic"),
        ("since=yesterday", "since"),
        ("since=2026-01-02&until=2026-01-01", "until"),
        ("partition=-1", "partition"),
        ("offsets=1-2", "offsets"),
        ("topic=orders&partition=0&offsets=4-2", "offsets"),
        ("topic=orders&partition=0&offsets=" + "9" * 30, "offsets"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("cursor=1-2-3", "cursor"),
        ("topic=orders&topic=payments", "topic"),
        ("colour=red", "'colour'"),
    ],
)
def test_a_wrong_question_names_the_parameter(api: Running, query: str, parameter: str) -> None:
    body = assert_problem(api.get(f"{LETTERS}?{query}", headers=READ), 400, "bad-query")
    assert body["errors"][0]["parameter"] == parameter


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "line 1 column 1"),
        (b"[]", "expected a JSON object"),
        (b'{"dry_run": "no"}', "dry_run: expected true or false; saw a string"),
        (b'{"dry_run": false, "dry_run": true}', "expected each key once"),
        (b'{"partition": true}', "partition: expected a whole number"),
        (b'{"partition": 1.5}', "partition: expected a whole number"),
        (b'{"offsets": "1-2"}', "offsets: expected topic and partition"),
        (b'{"everything": true}', "expected one of topic"),
    ],
)
def test_a_wrong_re_drive_changes_nothing_and_says_what_is_wrong(
    api: Running, body: bytes, says: str
) -> None:
    headers = {**ADMIN, "Content-Type": "application/json"}
    problem = assert_problem(api.post(REDRIVE, content=body, headers=headers), 400, "bad-query")
    assert says in problem["detail"]


def test_a_form_of_another_site_puts_nothing_back(own_api: Running) -> None:
    """Browsers send a JSON content type across sites only after asking, which nobody answers here."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/x-ndjson"):
        answer = own_api.post(REDRIVE, content=b"{}", headers={"Content-Type": kind})
        assert_problem(answer, 415, "unsupported-media-type")


def test_bytes_that_the_letter_does_not_keep_come_from_the_source(
    own_api: Running, environment: Settings
) -> None:
    codec = EventCodec(schema_ids(environment))
    key, value = codec.encode("customers", customer())
    place = produced(environment, codec, "customers", key, value)
    letters, size = DeadLetterWriter(environment), len(key) + len(value)
    names = [
        letters.write(place, value[:40], ["too_large"], key=key, size=size)
        for place in (place, ("customers", 0, 10**6))
    ]
    letters.flush()
    found = [own_api.get(f"{LETTERS}/{name}?bytes=true").json()["bytes"] for name in names]
    assert [bytes.fromhex(each["hex"]) for each in found] == [value, value[:40]]
    assert [each["kept"] for each in found] == [40, 40]


def test_records_go_back_once_and_only_if_it_is_no_dry_run(own_api: Running, environment: Settings) -> None:
    codec, letters = EventCodec(schema_ids(environment)), DeadLetterWriter(environment)
    good = [codec.encode("orders", order(n)) for n in range(3)]
    for n, (key, value) in enumerate(good):
        letters.write(("orders", 0, n), value, ["unknown_schema_id"], key=key)
    letters.write(("orders", 1, 3), b"x", ["too_short"], key=good[0][0])
    letters.flush()

    def put_back(**body: object) -> dict:
        answer = own_api.post(REDRIVE, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def in_topic() -> list[tuple[bytes, bytes]]:
        topic = environment.topic_prefix + "orders"
        return sorted((m.key(), m.value()) for m in read_topic(environment.kafka_bootstrap_servers, topic))

    plan = put_back()
    assert (plan["dry_run"], plan["wanted"], plan["ready"], plan["redriven"]) == (True, 4, 3, 0)
    assert plan["still_refused"] == [{"topic": "orders", "reason": "too_short", "letters": 1}]
    assert in_topic() == []
    # Others have come since they were counted.
    changed = own_api.post(REDRIVE, json={"dry_run": False, "counted": 2})
    assert_problem(changed, 409, "redrive-changed")
    assert (changed.json()["ready"], "count again" in changed.text, in_topic()) == (3, True, [])
    chosen = {"topic": "orders", "partition": 0, "offsets": "1", "dry_run": False, "counted": 1}
    assert put_back(**chosen)["redriven"] == 1
    found = put_back(dry_run=False)
    assert (found["redriven"], found["left"]) == (2, {"already_redriven": 1, "still_refused": 1})
    assert in_topic() == sorted(good)
    assert put_back(dry_run=False)["redriven"] == 0


def test_a_second_re_drive_is_told_to_wait(own_api: Running) -> None:
    service, go, running = own_api.service, threading.Event(), threading.Event()

    def slow(read: object) -> None:
        running.set()
        assert go.wait(30)

    first = asyncio.run_coroutine_threadsafe(service.scans.redrive(slow), service._loop)
    assert running.wait(30)
    try:
        assert_problem(own_api.post(REDRIVE, json={}), 409, "redrive-running")
        assert own_api.get(LETTERS).status_code == 200
    finally:
        go.set()
    first.result(30)
    assert own_api.post(REDRIVE, json={}).status_code == 200


def test_a_question_that_takes_too_long_says_so(own_api: Running, environment: Settings) -> None:
    letters = DeadLetterWriter(environment)
    letters.write(("orders", 0, 1), b"x", ["too_short"])
    letters.flush()
    scans = own_api.service.scans
    scans.seconds = scans.redrive_seconds = -1.0
    for path in (LETTERS, SUMMARY, f"{LETTERS}/orders/0/1"):
        answer = own_api.get(path)
        assert "retry-after" in answer.headers
        assert "dataflow dlq" in assert_problem(answer, 503, "too-slow")["detail"]
    assert_problem(own_api.post(REDRIVE, json={}), 503, "too-slow")
    scans.seconds = 20.0
    assert len(own_api.get(LETTERS).json()["letters"]) == 1


def test_many_at_once_are_asked_to_come_again_while_the_rest_is_served(own_api: Running) -> None:
    service, go = own_api.service, threading.Event()
    began = threading.Semaphore(0)

    def slow(read: object) -> None:
        began.release()
        assert go.wait(30)

    others = [
        asyncio.run_coroutine_threadsafe(service.scans.read(slow), service._loop) for _ in range(AT_MOST)
    ]
    try:
        assert all(began.acquire(timeout=30) for _ in range(AT_MOST))
        assert_problem(own_api.get(LETTERS), 503, "too-many-clients")
        assert own_api.get("/v1/status").status_code == 200
    finally:
        go.set()
    for other in others:
        other.result(30)
    assert own_api.get(LETTERS).status_code == 200
