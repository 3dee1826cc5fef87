"""The page of replays: what a reader sees, what only an administrator may, and that nothing is done without a yes."""

import json

import httpx
import pytest
from confluent_kafka import Producer

from infra.generations import State, change_generations, read_generations
from replay.diff.document import document
from replay.diff.values import Comparison, Declared, Only, RelationDifference, Side, Tally
from tests.page.browser import Chromium, Tab
from tests.page.kit import Shop
from tests.page.test_reading import tab_to

ANSWERS = 60  # s: each look is a command of its own


@pytest.fixture
def page(tab: Tab, shop: Shop) -> Tab:
    """The page, with the generations on it."""
    tab.open(f"{shop.url}/replays")
    tab.wait("document.querySelector('#state').textContent === 'g1 is live'", ANSWERS)
    return tab


@pytest.fixture
def beside(shop: Shop):
    """A generation g2 beside the live one, which nobody fills."""
    body = read_generations(shop.settings).known[1].generation.as_json()
    changes = {
        "g2": {**body, "number": 2},
        "g2/state": {"state": State.RUNNING},
        "g2/plan": {"changed": ["metric x"]},
    }
    change_generations(shop.settings, lambda _: changes)
    yield
    change_generations(shop.settings, lambda _: {"g2/state": {"state": State.GONE}})


def rows(tab: Tab) -> list[list[str]]:
    return tab.js(
        "[...document.querySelectorAll('#generations tr')].map((row) =>"
        " [...row.children].map((cell) => cell.textContent.trim().replace(/\\s+/g, ' ')))"
    )


@pytest.fixture(scope="module", autouse=True)
def records(shop: Shop) -> None:
    """There are some, so that the page has progress to show."""
    producer = Producer({"bootstrap.servers": shop.settings.kafka_bootstrap_servers})
    producer.produce(shop.settings.topic_prefix + "orders", b"no order", b"key")
    assert producer.flush(30) == 0


@pytest.mark.parametrize("width", [360, 800, 1_200, 2_600])
@pytest.mark.cases(0)
def test_each_card_is_as_wide_as_the_page_and_holds_what_is_in_it(page, width):
    """The main page's columns, which are of a style sheet that both have, are not this one's."""
    page.resize(width)
    wide, over = page.js(
        "(([...cards]) => [cards.map((card) => card.offsetWidth / card.parentElement.clientWidth),"
        " cards.map((card) => card.scrollWidth - card.clientWidth)])"
        "(document.querySelectorAll('main > .card:not([hidden])'))"
    )
    assert len(wide) >= 2
    assert min(wide) > 0.99
    assert max(over) <= 0


def test_the_generations_are_told_and_follow_without_a_reload(page, beside, shop):
    page.wait("document.querySelectorAll('#generations tr').length >= 2", ANSWERS)
    [live, other] = [row for row in rows(page) if row[0].split()[0] in ("g1", "g2")]
    assert live[0] == "g1 live"
    assert live[1] == "running"
    assert "numbers" in live[2]
    assert other[0] == "g2"
    assert other[4] == "metric x"
    change_generations(shop.settings, lambda _: {"g2/plan": {"changed": ["metric x"], "trial": True}})
    page.wait("document.querySelector('#generations').textContent.includes('trial, metric x')", ANSWERS)


def test_one_that_is_catching_up_is_told_with_its_rate_and_the_time_to_go(
    chromium: Chromium, shop: Shop, beside
):
    """Both as the service tells them: here it says what it would of one that has more to do."""
    answers = httpx.get(shop.url + "/v1/replays", trust_env=False).json()
    [other] = [each for each in answers["generations"] if each["generation"] == "g2"]
    other["progress"] |= {"records": 100_000, "numbers_behind": 8_000, "lake_behind": 40_000}
    told = {}
    for rate, left in ((1_234.4, 170), (0.0, None)):
        other["progress"] |= {"records_per_s": rate, "seconds_to_go": left}
        with chromium.tab() as tab:
            tab.before(
                "const ask = fetch; window.fetch = (url, options) => String(url).endsWith('/v1/replays')"
                f" ? Promise.resolve(new Response({json.dumps(json.dumps(answers))})) : ask(url, options)"
            )
            tab.open(shop.url + "/replays")
            tab.wait("document.querySelectorAll('#generations tr').length >= 2", ANSWERS)
            told[rate] = next(row[2] for row in rows(tab) if row[0].startswith("g2"))
    assert told == {
        1_234.4: "8,000 numbers, 40,000 lake, 1,234/s, about 3 min to go",
        0.0: "8,000 numbers, 40,000 lake, 0/s",
    }


def test_a_promote_is_asked_about_first_and_a_refusal_is_told_in_full(page, beside, shop):
    page.wait(
        "document.querySelector('#chosen').value === 'g2' && !document.querySelector('#acts').hidden", ANSWERS
    )
    page.js("document.querySelector('[data-act=promote]').click()")
    assert "Make g2 the live generation?" in page.text("#confirm-text")
    page.js("document.querySelector('#confirm-no').click()")
    assert page.js("document.querySelector('#confirm').hidden") is True
    assert page.js("document.querySelector('#told').hidden") is True  # nothing was asked of the service

    page.outage = True  # a refusal is an answer that a browser notes as failed to load
    page.js("document.querySelector('[data-act=promote]').click()")
    page.js("document.querySelector('#confirm-yes').click()")
    page.wait("document.querySelector('#told-title').textContent === 'Not done'", 90)
    assert "409" in page.text("#told-text")
    assert "expected g2 to have caught up" in page.text("#told-text")
    assert read_generations(shop.settings).live == 1


def test_a_part_is_asked_for_by_name(page):
    page.wait("!document.querySelector('#acts').hidden", ANSWERS)
    page.js("document.querySelector('#only-metrics').value = 'revenue, profit'")
    page.outage = True
    page.js("document.querySelector('#plan').click()")
    page.wait("document.querySelector('#told-title').textContent === 'Not done'", 90)
    assert "saw profit" in page.text("#told-text")


def test_what_is_declared_otherwise_is_a_difference_that_is_told_though_no_row_differs(page):
    declared = Declared(only_one=("net",), only_other=("vat",), key=(("day",), ("day", "country")))
    relations = (
        RelationDifference("table", "t", "t", "About t.", Tally(3, 3), declared),
        RelationDifference("table", "u", "u", "About u.", Tally(4, 4, changed=2), columns=(("gross", 2),)),
    )
    sides = Side("g1", 7, "d"), Side("g2", 5, "d", fewer=12)
    only = (Only("table", "v", "v", "About v.", 9),)
    found = Comparison(*sides, {}, "EUR", relations, only_one=only, made_at=0.0)
    module = "document.querySelector('script[type=module]').src.replace('replays.js', 'replay-parts.js')"
    told = page.js(
        f"import({module}).then(({{ differenceParts }}) => "
        f"differenceParts({json.dumps(document(found))}).map((part) => part.innerText || part.textContent).join('\\n'))"
    )
    assert "net (gone)" in told
    assert "vat (new)" in told
    assert "named by day, country, before by day" in told
    assert "gross" in told
    assert "Only in g1: table v, 9 rows." in told
    assert "g2 begins behind 12 records" in told


def test_days_that_are_meant_to_differ_go_with_the_plan_and_what_is_none_is_pointed_at(page):
    page.wait("!document.querySelector('#acts').hidden", ANSWERS)
    page.js("document.querySelector('#only-days').value = 'yesterday'")
    page.js("document.querySelector('#plan').click()")
    assert page.js("document.querySelector('#only-days').validity.patternMismatch") is True
    assert page.js("document.querySelector('#told').hidden") is True  # nothing was asked of the service
    page.js("document.querySelector('#only-days').value = '2026-03-01..2026-03-07'")
    page.js("document.querySelector('#plan').click()")
    page.wait("document.querySelector('#told-title').textContent.startsWith('What a replay into g')", 90)
    assert "Only rows of 2026-03-01..2026-03-07 are meant to differ." in page.text("#told-more")


def test_where_a_trial_begins_goes_with_the_plan_and_what_cannot_be_is_told(page):
    page.wait("!document.querySelector('#acts').hidden", ANSWERS)
    page.outage = True
    page.js("document.querySelector('#from').value = '2h, orders/0:999999'")
    page.js("document.querySelector('#only-topics').value = 'orders'")
    page.js("document.querySelector('#plan').click()")
    page.wait("document.querySelector('#told-title').textContent === 'Not done'", 90)
    assert "an offset of orders/0 that it has" in page.text("#told-text")
    assert "saw 999999" in page.text("#told-text")


def test_it_can_be_used_by_keyboard_alone(page):
    page.wait("!document.querySelector('#acts').hidden", ANSWERS)
    tab_to(page, "run")
    page.press("Enter")
    page.wait("document.activeElement.id === 'confirm-yes'", 90)
    assert page.text("#told-title").startswith("What a replay into g"), "it is told what is asked about"
    page.press("Tab")
    page.press("Enter")
    assert page.js("[document.querySelector('#confirm').hidden, document.activeElement.id]") == [True, "run"]
    page.press("Tab", shift=True)
    assert page.js("document.activeElement.id") == "plan"
    page.press("Enter")
    assert page.js("document.activeElement.id") == "told-title"
    page.wait("document.querySelector('#told-title').textContent.startsWith('What a replay into g')", 90)
    assert "should give the same" in page.text("#told-more") or "Changes:" in page.text("#told-more")
    assert page.js("document.activeElement.id") == "told-title"
