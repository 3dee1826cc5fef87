"""The panel of the dead letters: what was refused and why, nobody's data; put back by who may, once it is counted."""

import json
from urllib.parse import quote_plus

import pytest
from pydantic import SecretStr

from infra.read_topic import read_topic
from infra.registry import register_contracts, schema_ids
from sources.codec import EventCodec
from tests.cli.kit import PERSONAL, T0, DeadLetterWriter, customer, order
from tests.page.browser import Chromium, Tab
from tests.page.conftest import wait_live
from tests.page.kit import Shop
from tests.page.test_reading import tab_to
from tests.serving.api.kit import serving

MINUTE = 60_000_000


@pytest.fixture(scope="module")
def letters(shop: Shop) -> list[str]:
    """Their ids, newest first: 25 orders too short, an order that breaks a rule, two customers that would pass now."""
    settings = shop.settings
    register_contracts(settings)
    codec, writer = EventCodec(schema_ids(settings)), DeadLetterWriter(settings)
    ids = [writer.write(("orders", 0, n), b"\0x", ["too_short"], at=T0 + n * MINUTE) for n in range(25)]
    key, value = codec.encode("orders", order(status="<b>lost</b>"))
    ids.append(writer.write(("orders", 0, 40), value, ["status_allowed"], key=key, at=T0 + 40 * MINUTE))
    for n in (50, 51):
        key, value = codec.encode("customers", customer(n))
        ids.append(
            writer.write(("customers", 0, n), value, ["unknown_schema_id"], key=key, at=T0 + n * MINUTE)
        )
    writer.flush()
    return ids[::-1]


def wait_text(tab: Tab, selector: str, text: str) -> None:
    tab.wait(f"document.querySelector('{selector}').textContent.includes({json.dumps(text)})")


def shown(tab: Tab) -> list[str]:
    return [row[0] for row in tab.rows("#letters-rows")]


def choose(tab: Tab, select: str, value: str) -> None:
    tab.js(
        f"void (document.querySelector('{select}').value = '{value}',"
        f" document.querySelector('{select}').dispatchEvent(new Event('change')))"
    )


def click(tab: Tab, selector: str) -> None:
    tab.js(f"document.querySelector('{selector}').click()")


@pytest.fixture
def panel(page: Tab, letters: list[str]) -> Tab:
    """The page with the panel open."""
    click(page, "#letters-open")
    wait_text(page, "#letters-text", "The newest")
    return page


def test_the_newest_letters_are_listed_and_more_on_request(panel: Tab, letters: list[str]) -> None:
    assert shown(panel) == letters[:20]
    assert panel.rows("#letters-rows")[0][1:3] == ["unknown_schema_id", "2026-05-17 10:21:00"]
    click(panel, "#letters-more")
    wait_text(panel, "#letters-text", "no more")
    assert shown(panel) == letters
    assert panel.js("document.activeElement.textContent") == letters[20]
    assert panel.js("document.querySelector('#letters-more').hidden") is True


def test_topic_and_reason_narrow_the_list(panel: Tab, letters: list[str]) -> None:
    topics = panel.js("[...document.querySelector('#letters-topic').options].map((o) => o.value)")
    assert topics == ["", "customers", "orders"]
    choose(panel, "#letters-topic", "orders")
    wait_text(panel, "#letters-rows th", letters[2])
    reasons = panel.js("[...document.querySelector('#letters-reason').options].map((o) => o.textContent)")
    assert reasons == ["All reasons", "too_short (25)", "status_allowed (1)"]
    choose(panel, "#letters-reason", "status_allowed")
    wait_text(panel, "#letters-text", "no more")
    assert shown(panel) == ["orders/0/40"]


def write(tab: Tab, **values: str) -> None:
    """Fill in inputs of the form by their names, each as if it was left then."""
    for name, value in values.items():
        choose(tab, f"#letters-{name}", value)


def disabled(tab: Tab) -> dict[str, bool]:
    return {
        name: tab.js(f"document.querySelector('#letters-{name}').disabled")
        for name in ("partition", "offsets")
    }


def test_time_narrows_the_list_as_it_is_shown(panel: Tab, letters: list[str]) -> None:
    write(panel, since="2026-05-17T09:52", until="2026-05-17T10:20:00")
    wait_text(panel, "#letters-text", "The newest 4, and there are no more")
    assert shown(panel) == ["orders/0/40", "orders/0/24", "orders/0/23", "orders/0/22"]
    write(panel, since="", until="2026-05-17T09:31:01")
    wait_text(panel, "#letters-text", "The newest 2, and there are no more")
    assert shown(panel) == ["orders/0/1", "orders/0/0"]


def test_place_narrows_the_list_offsets_within_a_partition_and_that_within_a_topic(
    panel: Tab, letters: list[str]
) -> None:
    assert disabled(panel) == {"partition": True, "offsets": True}
    write(panel, topic="orders")
    assert disabled(panel) == {"partition": False, "offsets": True}
    write(panel, partition="1")
    wait_text(panel, "#letters-text", "There are no such dead letters.")
    write(panel, partition="0", offsets="7-9")
    wait_text(panel, "#letters-text", "The newest 3, and there are no more")
    assert shown(panel) == ["orders/0/9", "orders/0/8", "orders/0/7"]
    write(panel, topic="customers", partition="")
    wait_text(panel, "#letters-text", "The newest 2, and there are no more")
    assert shown(panel) == letters[:2]


@pytest.mark.parametrize(
    ("name", "text", "right"),
    [("offsets", "seven", "8"), ("offsets", "9-7", "7-9"), ("until", "2026-05-17T09:37", "2026-05-17T09:38")],
)
def test_what_cannot_be_meant_is_pointed_at_and_not_asked_for(
    panel: Tab, letters: list[str], name: str, text: str, right: str
) -> None:
    write(panel, topic="orders", partition="0", offsets="7", since="2026-05-17T09:37")
    wait_text(panel, "#letters-text", "The newest 1,")
    write(panel, **{name: text})
    assert panel.js(f"document.querySelector('#letters-{name}').matches(':invalid')") is True
    assert panel.js("document.activeElement.id") == f"letters-{name}"
    write(panel, **{name: right})
    wait_text(panel, "#letters-text", "The newest")
    assert shown(panel)[-1] == ("orders/0/8" if right == "8" else "orders/0/7")
    assert not [r["url"] for r in panel.requests() if f"{name}={quote_plus(text)}" in r["url"]]


def test_one_letter_is_read_by_keyboard_alone_and_names_nobody(page: Tab, letters: list[str]) -> None:
    tab_to(page, "letters-open")
    page.press("Enter")
    wait_text(page, "#letters-text", "The newest")
    for _ in range(10):
        if page.js("document.activeElement.textContent") == letters[0]:
            break
        page.press("Tab")
    page.press("Enter")
    page.wait("document.activeElement.id === 'letter-title'")
    assert page.text("#letter-title") == letters[0]
    fields = dict(page.rows("#letter-fields"))
    assert (fields["email"], fields["country"]) == ("***", "AT")
    assert "unknown_schema_id: No schema with the id" in page.text("#letter-why")
    assert not any(value in page.js("document.body.innerText") for value in PERSONAL.values())
    page.press("Escape")
    assert page.js("document.querySelector('#letters').open") is False
    assert page.js("document.activeElement.id") == "letters-open"


def test_what_its_first_bytes_are_is_shown_as_far_as_they_may_be(panel: Tab, shop: Shop) -> None:
    seen = set()
    for n in range(6):
        panel.js(f"[...document.querySelectorAll('#letters-rows button')][{n}].click()")
        panel.wait(
            f"document.querySelector('#letter-title').textContent =="
            f" [...document.querySelectorAll('#letters-rows button')][{n}].textContent"
        )
        told = bytes.fromhex(shop.get(f"/v1/dead-letters/{panel.text('#letter-title')}")["bytes"]["hex"])
        facts = panel.js("document.querySelector('#letter-facts').textContent")
        assert f"Begins with{told.hex(' ') or '–'}" in facts
        seen.add(bool(told))
    assert True in seen


def test_what_a_record_holds_is_text_and_no_html(panel: Tab) -> None:
    panel.js("[...document.querySelectorAll('#letters-rows button')][2].click()")
    panel.wait("document.activeElement.id === 'letter-title'")
    assert dict(panel.rows("#letter-fields"))["status"] == "<b>lost</b>"
    assert panel.js("document.querySelector('#letters b')") is None


def test_a_filter_is_chosen_and_a_re_drive_is_counted_and_left_by_keyboard_alone(panel: Tab) -> None:
    panel.wait("!document.querySelector('#redrive').hidden")
    tab_to(panel, "letters-topic")
    panel.press("ArrowDown")
    panel.wait("document.querySelector('#letters-topic').value === 'customers'")
    wait_text(panel, "#letters-text", "The newest 2, and there are no more")
    tab_to(panel, "redrive-count")
    panel.press("Enter")
    panel.wait("document.activeElement.id === 'redrive-yes'")
    tab_to(panel, "redrive-no")
    panel.press("Enter")
    panel.wait("document.querySelector('#redrive-confirm').hidden")
    assert panel.js("document.activeElement.id") == "redrive-count"
    panel.press("Escape")
    panel.wait("!document.querySelector('#letters').open")


def test_records_go_back_only_once_they_are_counted_and_confirmed(panel: Tab, shop: Shop) -> None:
    settings = shop.settings

    def back() -> int:
        topic = settings.topic_prefix + "customers"
        return sum(1 for _ in read_topic(settings.kafka_bootstrap_servers, topic))

    panel.wait("!document.querySelector('#redrive').hidden")
    click(panel, "#redrive-count")
    wait_text(panel, "#redrive-text", "2 records of 28 would go back; 26 would be refused again")
    assert panel.text("#redrive-yes") == "Put 2 records back"
    assert panel.js("document.activeElement.id") == "redrive-yes"
    choose(panel, "#letters-topic", "customers")
    panel.wait("document.querySelector('#redrive-confirm').hidden")
    wait_text(panel, "#letters-text", "The newest 2")
    click(panel, "#redrive-count")
    wait_text(panel, "#redrive-text", "2 records of 2 would go back.")
    click(panel, "#redrive-no")
    assert panel.js("document.querySelector('#redrive-confirm').hidden") is True
    assert back() == 0
    click(panel, "#redrive-count")
    panel.wait("!document.querySelector('#redrive-confirm').hidden")
    click(panel, "#redrive-yes")
    wait_text(panel, "#redrive-text", "2 records are back")
    assert back() == 2
    click(panel, "#redrive-count")
    wait_text(panel, "#redrive-text", "0 records of 2 would go back; 2 put back before")
    assert panel.js("document.querySelector('#redrive-confirm').hidden") is True


@pytest.mark.cases(0)
def test_those_of_a_range_go_back_though_they_would_be_refused_again_if_that_is_asked_for(
    panel: Tab, shop: Shop
) -> None:
    settings = shop.settings

    def back() -> int:
        topic = settings.topic_prefix + "orders"
        return sum(1 for _ in read_topic(settings.kafka_bootstrap_servers, topic))

    panel.wait("!document.querySelector('#redrive').hidden")
    write(panel, topic="orders", partition="0", offsets="3-4")
    wait_text(panel, "#letters-text", "The newest 2, and there are no more")
    click(panel, "#redrive-count")
    wait_text(panel, "#redrive-text", "0 records of 2 would go back; 2 would be refused again")
    click(panel, "#redrive-all")
    panel.wait("document.querySelector('#redrive-text').textContent === ''")
    click(panel, "#redrive-count")
    wait_text(panel, "#redrive-text", "2 records of 2 would go back.")
    # What was counted is no longer what is asked for.
    click(panel, "#redrive-all")
    panel.wait("document.querySelector('#redrive-confirm').hidden")
    click(panel, "#redrive-all")
    click(panel, "#redrive-count")
    panel.wait("!document.querySelector('#redrive-confirm').hidden")
    assert back() == 0
    click(panel, "#redrive-yes")
    wait_text(panel, "#redrive-text", "2 records are back")
    assert back() == 2


@pytest.mark.parametrize(("secret", "hidden"), [("read-secret", True), ("admin-secret", False)])
def test_who_may_only_read_is_not_offered_to_put_back(
    chromium: Chromium, shop: Shop, letters: list[str], secret: str, hidden: bool
) -> None:
    keys = SecretStr("dash:read-secret:read,root:admin-secret:admin")
    with serving(shop.settings.replace(dataflow_api_keys=keys)) as api, chromium.tab() as tab:
        tab.before(f"sessionStorage.setItem('dataflow-key', '{secret}')")
        tab.open(api.url + "/")
        wait_live(tab)
        click(tab, "#letters-open")
        wait_text(tab, "#letters-text", "The newest")
        tab.wait("performance.getEntriesByName(location.origin + '/v1/key').length > 0")
        tab.wait(f"document.querySelector('#redrive').hidden === {str(hidden).lower()}")


def test_a_service_that_does_not_answer_is_told(panel: Tab, shop: Shop) -> None:
    panel.outage = True
    shop.stop()
    try:
        click(panel, "#letters-filter button")
        wait_text(panel, "#letters-text", "No answer now: the service cannot be reached")
    finally:
        shop.start()


def arrive(shop: Shop, letters: list[str], numbers: range) -> None:
    """Letters that come while somebody looks on."""
    writer = DeadLetterWriter(shop.settings)
    for n in numbers:
        letters.insert(0, writer.write(("payments", 0, n), b"x", ["too_short"], at=T0 + (100 + n) * MINUTE))
    writer.flush()


def test_letters_that_arrive_show_up_by_themselves(panel: Tab, shop: Shop, letters: list[str]) -> None:
    wait_text(panel, "#letters-open", f"({len(letters)})")
    arrive(shop, letters, range(3))
    wait_text(panel, "#letters-open", f"({len(letters)})")
    panel.wait("document.querySelector('#letters-rows th').textContent === 'payments/0/2'")
    assert shown(panel) == letters[:20]
    topics = panel.js("[...document.querySelector('#letters-topic').options].map((o) => o.value)")
    assert topics == ["", "customers", "orders", "payments"]


def test_who_reads_is_not_moved_by_what_arrives(panel: Tab, shop: Shop, letters: list[str]) -> None:
    click(panel, "#letters-more")
    wait_text(panel, "#letters-text", "no more")
    panel.resize(1280, 500)
    button = "document.querySelectorAll('#letters-rows button')[15]"
    panel.js(f"{button}.scrollIntoView({{block: 'center'}}), {button}.focus({{preventScroll: true}})")
    reading = panel.js("document.activeElement.textContent")
    where = "Math.round(document.activeElement.getBoundingClientRect().top)"
    before = panel.js(where)
    arrive(shop, letters, range(3, 8))
    panel.wait("document.querySelector('#letters-rows th').textContent === 'payments/0/7'")
    assert panel.js("document.activeElement.textContent") == reading
    assert abs(panel.js(where) - before) <= 1
    # and so it is with one letter that somebody reads below the list
    panel.js("document.activeElement.click()")
    panel.wait("document.activeElement.id === 'letter-title'")
    before = panel.js(where)
    arrive(shop, letters, range(8, 10))
    panel.wait("document.querySelector('#letters-rows th').textContent === 'payments/0/9'")
    assert panel.text("#letter-title") == reading
    assert panel.js("document.activeElement.id") == "letter-title"
    assert abs(panel.js(where) - before) <= 1


def test_a_re_drive_goes_by_keyboard_alone_and_the_focus_is_never_lost(
    panel: Tab, shop: Shop, letters: list[str]
) -> None:
    arrive(shop, letters, range(20, 21))
    panel.wait("!document.querySelector('#redrive').hidden")
    write(panel, topic="payments", partition="0", offsets="20")
    wait_text(panel, "#letters-text", "The newest 1, and there are no more")
    panel.js(
        "document.addEventListener('focusin', (e) => { window.path = [...(window.path ?? []), e.target.id]; })"
    )
    tab_to(panel, "redrive-all")
    panel.press(" ")
    tab_to(panel, "redrive-count")
    panel.press("Enter")
    panel.wait("document.activeElement.id === 'redrive-yes'")
    panel.press("Enter")
    assert panel.js("document.activeElement.id") == "redrive-count"
    wait_text(panel, "#redrive-text", "1 record is back")
    assert panel.js("document.activeElement.id") == "redrive-count"
    assert panel.js("window.path.slice(-3)") == ["redrive-count", "redrive-yes", "redrive-count"]


def test_more_letters_come_without_the_focus_being_lost(panel: Tab) -> None:
    before = len(shown(panel))
    tab_to(panel, "letters-more")
    panel.press("Enter")
    panel.wait(f"document.querySelectorAll('#letters-rows tr').length > {before}")
    panel.wait(
        f"document.activeElement.closest('tr') === document.querySelector('#letters-rows').children[{before}]"
    )


@pytest.mark.parametrize("width", [320, 768, 1920])
def test_the_panel_fits_each_width(panel: Tab, width: int) -> None:
    panel.resize(width, 900)
    panel.js("document.querySelector('#letters-filter details').open = true")
    panel.js("document.querySelector('#letters-rows button').click()")
    panel.wait("!document.querySelector('#letter').hidden")
    dialog = "document.querySelector('#letters')"
    assert panel.js(f"{dialog}.scrollWidth <= {dialog}.clientWidth") is True
