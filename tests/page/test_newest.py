"""The newest events on the page: what was counted last, by itself, standing still for whoever reads it."""

import json
from datetime import datetime

import pytest

from tests.cli.kit import T0, DeadLetterWriter
from tests.page.browser import Tab
from tests.page.kit import Shop
from tests.page.test_reading import tab_to

ROWS = "[...document.querySelectorAll('#newest-rows button')].map((b) => b.textContent)"


def expected(shop: Shop) -> list[str]:
    """As REST has them."""
    events = shop.get("/v1/events/newest?limit=15")["events"]
    return [f"{e['topic']}/{e['partition']}/{e['offset']}" for e in events]


def wait_newest(tab: Tab, shop: Shop) -> list[str]:
    found = expected(shop)
    tab.wait(f"JSON.stringify({ROWS}) === {json.dumps(json.dumps(found, separators=(',', ':')))}")
    return found


def test_what_is_counted_shows_up_by_itself_newest_first(page, shop, rest):
    before = wait_newest(page, shop)
    shop.apply(next(rest)[:5])
    after = wait_newest(page, shop)
    assert after[5:] == before[:10]
    newest = datetime.fromisoformat(shop.get("/v1/status")["as_of"]["event_time"])
    shop.apply([shop.order(123_456, int(newest.timestamp()))])
    assert wait_newest(page, shop)[0].startswith("orders/0/")
    record, verdict, taken = page.js(
        "[...document.querySelector('#newest-rows tr').children].map((cell) => cell.textContent)"
    )
    assert record.endswith(" Placed, $1,234.56")
    assert (verdict, taken) == ("changed", f"{newest:%H:%M:%S}")


def test_the_list_is_paused_and_goes_on(page, shop, rest):
    before = wait_newest(page, shop)
    tab_to(page, "newest-pause")
    page.press("Enter")
    assert page.js("document.querySelector('#newest-pause').ariaPressed") == "true"
    shop.apply(next(rest)[:3])
    page.wait("document.querySelector('#newest-note').textContent === 'stands still, 3 newer'")
    assert page.js(ROWS) == before
    page.press("Enter")
    assert wait_newest(page, shop) != before
    assert page.text("#newest-note") == ""


def test_a_record_that_has_the_focus_stays_where_it_is(page, shop, rest):
    before = wait_newest(page, shop)
    page.js("document.querySelectorAll('#newest-rows button')[1].focus()")
    shop.apply(next(rest)[:3])
    page.wait("document.querySelector('#newest-note').textContent === 'stands still, 3 newer'")
    assert page.js("document.activeElement.textContent") == before[1]
    assert page.js(ROWS) == before
    page.js("document.activeElement.blur()")
    wait_newest(page, shop)


def test_a_record_leads_to_the_account_of_its_partition(page, shop):
    wait_newest(page, shop)
    button = "document.querySelector('#newest-rows tr:not([data-verdict=refused]) button')"
    first = page.js(f"{button}.textContent")
    page.js(f"{button}.click()")
    page.wait("document.querySelector('#proof-offsets [data-state=meant]') !== null")
    assert page.text("#proof-offsets [data-state=meant] .label") == first.rpartition("/")[0]
    page.press("Escape")
    page.js("document.querySelector('#exact').click()")
    page.wait("document.querySelector('#proof-offsets [data-state=meant]') === null")


def test_a_refused_record_leads_to_its_dead_letter(page, shop):
    """One of another topic, so that no list that a test counts has it."""
    offset = shop.next_offset("reviews")
    writer = DeadLetterWriter(shop.settings)
    letter = writer.write(("reviews", 0, offset), b"x", ["too_short"])
    writer.flush()
    refused = {"t": "reviews", "p": 0, "o": 0, "ts": T0, "v": "r", "r": ["too_short"]}
    shop.apply([refused])
    assert wait_newest(page, shop)[0] == letter
    assert "refused" in page.text("#newest-rows tr")
    page.js("document.querySelector('#newest-rows button').click()")
    page.wait("document.activeElement.id === 'letter-title'")
    assert page.text("#letter-title") == letter


def test_it_comes_back_after_redis_was_emptied(page, shop, rest):
    log = shop.log
    before = wait_newest(page, shop)
    shop.forget()
    page.wait("document.querySelector('#state').textContent === 'rebuilding'")
    assert page.js(ROWS) == before, "what is shown stays, marked as what it is"
    shop.begin()
    shop.apply(log)
    page.wait("document.querySelector('#state').textContent === 'live'")
    assert wait_newest(page, shop) == before


@pytest.mark.parametrize("width", [320, 768, 1100, 1920])
def test_the_list_has_room_for_some_rows_at_each_width(page, shop, width):
    page.resize(width, 1080)
    page.wait(f"innerWidth === {width}")
    box = "document.querySelector('.newest .scroll').getBoundingClientRect()"
    assert page.js(f"{box}.height") > 150
    assert page.js(f"{box}.width") > 220


def test_what_another_generation_decided_otherwise_is_shown_as_that(page, shop):
    """After a promote the same records come again, by other verdicts."""
    event = shop.get("/v1/events/newest?limit=1")["events"][0] | {"partition": 99}
    script = """import('/static/newest.js').then(({ NewestEvents }) => {
      const list = new NewestEvents(() => {}), event = %s;
      return ['changed', 'refused'].map((verdict) => {
        list.show([{ ...event, verdict }], 'USD', 'UTC');
        return [...document.querySelectorAll('#newest-rows tr')].filter((row) => row.textContent.includes('/99/'))
          .map((row) => [row.dataset.verdict, row.children[1].textContent]);
      });
    })"""
    assert page.js(script % json.dumps(event)) == [[["changed", "changed"]], [["refused", "refused"]]]
