"""The page says how far it can be trusted: stale, disconnected, rebuilding; and it comes back by itself, resuming."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from confluent_kafka import Producer
from pydantic import SecretStr

from infra.kafka import admin, log_bounds
from serving.verified import Found, verified_key
from tests.helpers import wait_for
from tests.page.browser import Tab
from tests.page.conftest import wait_live
from tests.page.kit import Shop
from tests.page.test_figures import headline, money, shown
from tests.serving.api.kit import serving

# The page's clock, which a test can put forward.
CLOCK = """
  window.ahead = 0;
  const told = performance.now.bind(performance);
  performance.now = () => told() + window.ahead;
"""
FIGURES = (".big", ".tiles dd", ".sum dd", "#funnel td", "#products td", "#countries td", "#topics td")


def state(tab: Tab) -> str:
    return tab.text("#state")


def colours(tab: Tab) -> dict[str, str]:
    return {each: tab.js(f"getComputedStyle(document.querySelector('{each}')).color") for each in FIGURES}


def until(tab: Tab, word: str, timeout: float = 15) -> None:
    tab.wait(f"document.querySelector('#state').textContent === '{word}'", timeout)


@pytest.fixture
def stoppable(shop: Shop, page: Tab) -> Iterator[Shop]:
    """The shop, whose API a test may stop."""
    page.outage = True
    yield shop
    if shop.server is None:
        shop.start()


def test_who_is_disconnected_is_told_within_two_seconds_and_every_figure_is_marked(page, stoppable):
    fresh, before = colours(page), shown(page, headline(stoppable))
    stoppable.stop()
    until(page, "disconnected", 2)
    assert page.js("document.querySelector('#notice').hidden") is False
    assert "No connection to the service" in page.text("#notice")
    assert "What is shown is" in page.text("#notice")
    marked = colours(page)
    assert [each for each in FIGURES if marked[each] == fresh[each]] == []
    assert page.js("document.title").startswith("disconnected")
    assert page.text("#exact-word") == "not known"
    assert page.value("lake") == "not known"
    assert shown(page, before) == before, "the last figures stay"
    age = page.value("age")
    wait_for(lambda: page.value("age") != age, 3, "the growing age of the last snapshot")


def test_who_comes_back_resumes_and_the_mark_goes(page, stoppable, rest):
    """With news, and without any: then no snapshot is sent again, and the one that is shown is the newest."""
    fresh = colours(page)
    for run in (next(rest), []):
        position = stoppable.get("/v1/status")["as_of"]["position"]
        until(page, "live")
        stoppable.stop()
        until(page, "disconnected", 2)
        if run:
            stoppable.apply(run)
        stoppable.start()
        until(page, "live")
        assert page.js("document.querySelector('#notice').hidden") is True
        expected = headline(stoppable)
        wait_for(lambda: shown(page, expected) == expected, 2, "the newest figures")  # noqa: B023
        assert page.sent_headers("/v1/live")[-1]["last-event-id"].startswith(f"g1-{position}-")
        assert colours(page) == fresh
    assert "last-event-id" not in page.sent_headers("/v1/live")[0]


def test_a_service_that_falls_silent_is_not_believed_and_is_connected_to_anew(tab, shop):
    tab.before(CLOCK)
    tab.open(shop.url + "/")
    wait_live(tab)
    connections = len(tab.sent_headers("/v1/live"))

    def put_forward() -> bool:
        # A heartbeat in this very moment makes it one of the next.
        tab.js("void (window.ahead += 16000)")
        return tab.js("new Promise((done) => setTimeout(done, 1100))") or state(tab) == "stale"

    wait_for(put_forward, what="the word that the service is silent")
    assert "silent for" in tab.text("#notice")
    tab.js("void (window.ahead += 10000)")
    wait_for(lambda: len(tab.sent_headers("/v1/live")) > connections, what="another connection")
    until(tab, "live")


def test_records_that_wait_make_the_numbers_stale_until_they_are_counted(page, shop):
    topic = f"{shop.settings.topic_prefix}orders"
    producer = Producer({"bootstrap.servers": shop.settings.kafka_bootstrap_servers})
    # Other tests may have put something there.
    there = log_bounds(admin(shop.settings.kafka_bootstrap_servers), [(topic, 0)])[1][topic, 0]
    for _ in range(shop.next_offset("orders") + 3 - there):
        producer.produce(topic, b"{}", partition=0)
    producer.flush(20)
    taken = int((time.time() - 60) * 1_000_000)
    shop.folded.redis.hset(shop.folded.keys.meta, "kafka_time", taken)
    try:
        until(page, "stale")
        assert "3 records wait" in page.text("#notice")
        assert page.value("lag") == "3 records"
        waiting = {row[0]: row[4] for row in page.rows("#topics")}
        assert waiting == {topic: "3" if topic == "orders" else "0" for topic in waiting}
        # a minute and what this test took
        assert page.value("freshness").split()[1] == "s"
        assert int(page.value("freshness").split()[0]) >= 60
    finally:
        newest = shop.folded.newest[""] // 1_000_000
        shop.apply([shop.order(100 * n, newest - 600) for n in (1, 2, 3)])
    until(page, "live")
    assert page.value("lag") == "0 records"
    assert page.value("freshness") == "nothing waits"


def test_an_open_account_is_not_shown_as_what_is_so_when_the_service_has_gone(page, stoppable):
    page.js("document.querySelector('#exact').click()")
    page.wait("document.querySelector('#proof-text').dataset.state === 'exact'")
    stoppable.stop()
    page.wait("document.querySelector('#proof-text').dataset.state === 'unknown'")
    assert "What stands below is the last one" in page.text("#proof-text")
    stoppable.start()
    page.wait("document.querySelector('#proof-text').dataset.state === 'exact'")


@pytest.mark.cases(0)
def test_nor_when_it_does_not_answer(page, shop):
    page.js("document.querySelector('#exact').click()")
    page.wait("document.querySelector('#proof-text').dataset.state === 'exact'")
    hangs = "(_, { signal }) => new Promise((_, fail) => signal.addEventListener('abort', () => fail(signal.reason)))"
    page.js(f"void (window.answers = window.fetch, window.fetch = {hangs})")
    newest = shop.folded.newest[""] // 1_000_000
    shop.apply([shop.order(100, newest - 600)])
    page.wait("document.querySelector('#proof-text').dataset.state === 'unknown'", 30)
    assert "the service has not answered for 5 s" in page.text("#proof-text")
    page.js("void (window.fetch = window.answers)")
    shop.apply([shop.order(100, newest - 600)])
    page.wait("document.querySelector('#proof-text').dataset.state === 'exact'", 30)


def test_where_storage_is_refused_the_page_is_live_all_the_same(tab, shop):
    refuse = "get() { throw new DOMException('refused', 'SecurityError'); }"
    tab.before(
        "".join(f"Object.defineProperty(window, '{n}Storage', {{ {refuse} }});" for n in ("local", "session"))
    )
    tab.open(shop.url + "/")
    wait_live(tab)
    for path in ("/tables", "/replays"):
        tab.open(shop.url + path)
        tab.wait("document.querySelector('#state').dataset.state === 'live'", 60)


def test_a_held_partition_is_named(page, shop):
    redis, keys = shop.folded.redis, shop.folded.keys
    redis.hset(keys.held, "orders/0", "hole at 7")
    page.wait("document.querySelector('#exact-word').textContent === 'held'")
    assert page.value("exactness") == "held: orders/0"
    page.js("document.querySelector('#exact').click()")
    page.wait("document.querySelector('#proof-held li') !== null")
    assert page.text("#proof-held") == "orders/0: hole at 7"
    assert page.text("#proof-text").startswith("Held: 1 of 7 partitions")
    redis.delete(keys.held)
    page.wait("document.querySelector('#proof-text').dataset.state === 'exact'")
    # It stays open, and no number moves: the account goes with what is so.
    redis.hset(keys.held, "orders/0", "hole at 8")
    page.wait("document.querySelector('#proof-text').dataset.state === 'held'")
    redis.delete(keys.held)
    page.wait("document.querySelector('#proof-text').dataset.state === 'exact'")
    page.wait("document.querySelector('#exact-word').textContent === 'exact'")


def test_counts_that_do_not_add_up_are_told_with_their_partition(page, shop):
    redis, keys = shop.folded.redis, shop.folded.keys
    redis.hincrby(keys.counts, "orders/0/changed", 1)
    try:
        page.wait("document.querySelector('#exact-word').textContent === 'counts differ'")
        page.js("document.querySelector('#exact').click()")
        page.wait("document.querySelector('#proof-offsets tr') !== null")
        told = {row[0]: row[3] for row in page.rows("#proof-offsets")}
        assert told == {at: "differs" if at == "orders/0" else "exact" for at in told}
        assert len(told) == 7
        assert page.text("#proof-text") == "The counts do not add up to the offsets."
    finally:
        redis.hincrby(keys.counts, "orders/0/changed", -1)
    page.wait("document.querySelector('#exact-word').textContent === 'exact'")


def test_what_a_second_computation_found_otherwise_is_told_at_once(page, shop):
    wrong = [{"table": "daily_sales", "missing": 2, "unexpected": 1}]
    now = time.time()
    found = Found(exact=False, at=now - 90, whole_at=now - 600, records=1_234, live=True, differences=wrong)
    key = verified_key(shop.settings, "g1")
    shop.folded.redis.set(key, found.to_json())
    try:
        page.wait("document.querySelector('#exact-word').textContent === 'verified: differs'")
        page.js("document.querySelector('#exact').click()")
        page.wait("document.querySelector('#proof-verified').textContent.includes('differs')")
        assert page.text("#proof-text").startswith("Exact")
        assert "1,234 records, lake and live numbers" in page.text("#proof-verified")
        assert page.text("#proof-differences") == "daily_sales: 2 missing, 1 unexpected"
        equal = replace(found, exact=True, differences=[])
        for told, word in (
            (equal, "exact, verified"),
            (replace(equal, at=time.time() - 7_200), "exact"),
            (replace(equal, at=time.time()), "exact, verified"),
            (replace(equal, whole_at=None), "exact"),
            (replace(equal, at=time.time()), "exact, verified"),
            (replace(equal, exact=None), "exact"),
        ):
            shop.folded.redis.set(key, told.to_json())
            page.wait(f"document.querySelector('#exact-word').textContent === '{word}'")
    finally:
        shop.folded.redis.delete(key)


def test_a_redis_that_does_not_answer_makes_the_numbers_unavailable_and_they_come_back(page, shop):
    page.outage = True
    fresh = colours(page)
    shop.folded.redis.execute_command("CLIENT", "PAUSE", 9_000, "ALL")
    until(page, "unavailable")
    assert "The service cannot read:" in page.text("#notice")
    assert page.text("#exact-word") == "not known"
    assert [each for each in FIGURES if colours(page)[each] == fresh[each]] == []
    until(page, "live", 30)
    assert page.js("document.querySelector('#notice').hidden") is True
    assert page.text("#exact-word") == "exact"


def test_a_rebuild_is_shown_as_such_and_its_end_too(page, shop):
    """503 from REST and on the stream; no figure of before is shown as if it were of now."""
    page.outage = True
    fresh, expected = colours(page), headline(shop)
    log = shop.log
    shop.forget()
    until(page, "rebuilding")
    assert shop.http.get("/v1/metrics/revenue").status_code == 503
    assert "rebuilding its numbers (503)" in page.text("#notice")
    assert page.text("#exact-word") == "rebuilding"
    assert [each for each in FIGURES if colours(page)[each] == fresh[each]] == []
    page.js("document.querySelector('#exact').click()")
    page.wait("document.querySelector('#proof-text').textContent.includes('503')")
    shop.begin()
    shop.apply(log)
    until(page, "live")
    wait_for(lambda: shown(page, expected) == expected, 3, "the same figures as before")
    assert page.js("document.querySelector('#notice').hidden") is True
    assert page.text("#exact-word") == "exact"


def test_a_service_with_keys_asks_for_one_and_says_if_it_is_wrong(chromium, shop):
    keys = SecretStr("dash:read-secret:read,shop:write-secret:write")
    with serving(shop.settings.replace(dataflow_api_keys=keys)) as api, chromium.tab() as tab:
        tab.open(api.url + "/")
        until(tab, "key needed")
        tab.wait("document.activeElement.id === 'key'")
        enter(tab, "write-secret")
        tab.wait("document.querySelector('#key-error').textContent !== ''")
        enter(tab, "read-secret")
        wait_live(tab)
        assert tab.js("document.querySelector('#key-form').hidden") is True
        assert tab.value("net") == money(shop.total("revenue")["net"])
        tab.js("document.querySelector('#exact').click()")
        tab.wait("document.querySelector('#proof-text').textContent.startsWith('Exact')")
        assert "secret" not in tab.js("location.href + document.documentElement.outerHTML").replace(
            "secret=", ""
        )


def enter(tab: Tab, text: str) -> None:
    tab.send("Input.insertText", text=text)
    tab.press("Enter")
