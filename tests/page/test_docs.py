"""The API can be read and tried in a browser, without anybody else's files."""

import pytest
from pydantic import SecretStr

from tests.page.browser import Chromium, Tab
from tests.page.kit import Shop
from tests.serving.api.kit import serving

OPERATION = "#operations-state-key_v1_key_get"


ANSWER = f"document.querySelector('{OPERATION} .live-responses-table')?.innerText"


def tried(tab: Tab) -> str:
    """What the service answers who tries the operation there."""
    tab.js(f"document.querySelector('{OPERATION} button').click()")
    tab.wait(f"document.querySelector('{OPERATION} .try-out__btn') !== null")
    tab.js(f"document.querySelector('{OPERATION} .try-out__btn').click()")
    tab.wait(f"document.querySelector('{OPERATION} .execute') !== null")
    tab.js(f"document.querySelector('{OPERATION} .execute').click()")
    tab.wait(f"{ANSWER}?.includes('scopes') || {ANSWER}?.includes('problems')")
    return tab.js(ANSWER)


def opened(tab: Tab, url: str) -> None:
    tab.open(url + "/docs")
    tab.wait("document.querySelectorAll('.opblock').length > 20")


def test_every_route_is_described_and_can_be_tried(tab: Tab, shop: Shop) -> None:
    opened(tab, shop.url)
    paths = shop.get("/openapi.json")["paths"]
    assert tab.js("document.querySelectorAll('.opblock').length") == sum(map(len, paths.values()))
    assert "admin" in tried(tab)


@pytest.mark.cases(0)
def test_who_needs_a_key_can_give_it_there(chromium: Chromium, shop: Shop) -> None:
    keys = SecretStr("dash:read-secret:read")
    with serving(shop.settings.replace(dataflow_api_keys=keys)) as api, chromium.tab() as tab:
        opened(tab, api.url)
        tab.wait("document.querySelector('.btn.authorize') !== null")
        assert "unauthorized" in tried(tab)
        tab.outage = True  # the browser notes the 401
        tab.js("document.querySelector('.btn.authorize').click()")
        field = "document.querySelector('.auth-container input')"
        tab.wait(f"{field} !== null")
        # As a keyboard does it: the framework behind the field looks for the event.
        tab.js(f"{field}.focus()")
        tab.send("Input.insertText", text="read-secret")
        tab.js("document.querySelector('.auth-container .btn.authorize').click()")
        tab.wait("document.querySelector('.auth-container')?.innerText.includes('Logout')")
        tab.js("document.querySelector('.dialog-ux .btn-done').click()")
        tab.js(f"document.querySelector('{OPERATION} .execute').click()")
        tab.wait(f"{ANSWER}?.includes('dash')")
        assert tab.errors() == []


def test_the_page_leads_to_it(page: Tab) -> None:
    page.js("document.querySelector('footer a[href=\"/docs\"]').click()")
    page.wait("document.querySelectorAll('.opblock').length > 20")
