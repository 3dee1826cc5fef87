"""The data dictionary: every table and view with what its columns mean, what is in it, and rows of it, masked."""

import json
from collections.abc import Iterator

import httpx
import pytest
from pydantic import SecretStr

from schemas.tables import RELATIONS
from schemas.views import VIEWS
from tests.page.browser import Chromium, Tab
from tests.page.conftest import wait_live
from tests.page.kit import Shop
from tests.page.test_reading import background, contrast, luminance, rgb, tab_to
from tests.serving.api.kit import serving
from tests.serving.lake_kit import SECRET, customer, sales

WIDTHS = [320, 768, 1280, 1920]


def opened(tab: Tab, url: str, at: str = "") -> Tab:
    tab.open(f"{url}/tables{at}")
    tab.wait("document.querySelector('#state').textContent.startsWith('manifest')")
    return tab


@pytest.fixture
def dictionary(tab: Tab, shop: Shop) -> Iterator[Tab]:
    """The page, with the tables on it."""
    return opened(tab, shop.url)


def visible(tab: Tab) -> list[str]:
    return tab.js("[...document.querySelectorAll('.table:not([hidden])')].map((each) => each.id)")


def waiting(shop: Shop) -> int:
    """Records that the small lake does not have: other tests put some into the topics."""
    return shop.get("/v1/lake")["records_behind"]


def show(tab: Tab, name: str) -> None:
    """Open a table and ask for some of its rows."""
    tab.js(f"void (document.getElementById('{name}').open = true)")
    tab.js(f"document.querySelector('#{name} .sample button').click()")
    tab.wait(f"document.querySelector('#{name} .sample .note').textContent.includes('at manifest')")


def test_every_table_and_view_is_told_by_layer_with_all_its_columns(dictionary, shop):
    told = {table["name"]: table for table in shop.get("/v1/tables")["tables"]}
    assert set(visible(dictionary)) == set(RELATIONS) == set(told)
    titles = dictionary.js("[...document.querySelectorAll('.layer h2')].map((h) => h.textContent)")
    assert titles == ["gold", "Views", "silver", "bronze"]
    inside = "[...document.querySelectorAll('#layer-view ~ .table')].map((each) => each.id)"
    assert dictionary.js(inside) == list(VIEWS)
    for name in ("customers", "raw_orders", "daily_sales", "customer_value", "quarantine"):
        dictionary.js(f"void (document.getElementById('{name}').open = true)")
        rows = dictionary.js(
            f"[...document.querySelectorAll('#{name} .columns tbody tr')].map((row) =>"
            " [...row.children].map((cell) => cell.textContent))"
        )
        assert rows == [
            [
                column["name"] + ("personal" if column["personal"] else ""),
                column["type"] + (" or null" if column["nullable"] else ""),
                column["unit"] or "–",
                column["doc"],
                column["source"],
            ]
            for column in told[name]["columns"]
        ]
    assert "One row for each day and product_id" in dictionary.text("#daily_sales .inside")
    assert "in the order of partition and offset" in dictionary.text("#raw_orders .inside")


def test_sizes_versions_and_progress_follow_without_a_reload(dictionary, shop, monkeypatch):
    monkeypatch.setattr("serving.lake.facts.PAUSES", 0)  # all is counted at each manifest

    def figures(name: str) -> str:
        return dictionary.text(f"#{name} .figures")

    facts = {table["name"]: table["facts"] for table in shop.get("/v1/tables")["tables"]}
    version, rows = facts["daily_sales"]["version"], facts["daily_sales"]["rows"]
    assert figures("daily_sales").startswith(f"{rows} rows · version {version} · ")
    assert figures("daily_sales").endswith(" ago")
    assert figures("orders") == "0 rows · version 0 · never written"
    assert "version" not in figures("sales_by_week")
    manifest = shop.lake.manifest.number
    assert dictionary.value("manifest") == str(manifest)
    behind = waiting(shop)
    dictionary.wait(f"document.querySelector('[data-value=waiting]').textContent === '{behind:,}'")
    assert (dictionary.value("freshness") == "nothing waits") is (behind == 0)
    dictionary.js("void (document.querySelector('#daily_sales').open = true)")
    shop.lake.write({"daily_sales": [sales(12, 7), sales(12, 8)]}, position=0)
    dictionary.js("document.dispatchEvent(new Event('visibilitychange'))")
    dictionary.wait(f"document.querySelector('[data-value=manifest]').textContent === '{manifest + 1}'")
    assert figures("daily_sales").startswith(f"{rows + 2} rows · version {version + 1} · ")
    assert dictionary.js("document.querySelector('#daily_sales').open") is True, "what was open stays so"


def test_rows_are_shown_when_asked_for_and_nobodys_data(dictionary, shop):
    shop.lake.write({"customers": [customer(2, country="AT", city="<i>Graz</i>")]}, position=0)
    show(dictionary, "customers")
    text = dictionary.text("#customers .sample")
    assert "c2" in text
    assert "***" in text
    assert SECRET not in dictionary.js("document.documentElement.innerHTML")
    show(dictionary, "sales_by_week")
    told = shop.get("/v1/tables/sales_by_week?limit=10")
    rows = dictionary.rows("#sales_by_week .sample tbody")
    assert rows == [[str(row[name]) for name in told["columns"]] for row in told["rows"]]
    show(dictionary, "payments")
    assert "No rows at manifest" in dictionary.text("#payments .sample")
    assert dictionary.js("document.querySelector('#payments .sample table')") is None


def test_a_table_is_found_by_its_name_and_by_a_column_and_by_its_address(dictionary, shop):
    def look_for(text: str) -> list[str]:
        dictionary.js(
            f"void (document.querySelector('#find-text').value = {json.dumps(text)},"
            " document.querySelector('#find-text').dispatchEvent(new Event('input')))"
        )
        return visible(dictionary)

    assert look_for("retention_by") == ["retention_by_cohort"]
    assert dictionary.text("#found") == f"1 of {len(RELATIONS)}"
    assert dictionary.js("[...document.querySelectorAll('.layer:not([hidden])')].length") == 1
    assert look_for("predicted_VALUE") == ["customer_value"]
    assert look_for("no such thing") == []
    # A view leads to its tables, also to one that is out of sight.
    look_for("revenue_by_day")
    dictionary.js("void (document.querySelector('#revenue_by_day').open = true)")
    dictionary.js("document.querySelector('#revenue_by_day .inside p a').click()")
    dictionary.wait("document.querySelector('#fct_orders').open")
    assert dictionary.js("document.activeElement.closest('details').id") == "fct_orders"
    assert len(visible(dictionary)) == len(RELATIONS)
    opened(dictionary, shop.url, "#sessions")
    dictionary.wait("document.querySelector('#sessions')?.open")


def test_it_is_read_by_keyboard_and_screen_reader(dictionary):
    tab_to(dictionary, "find-text")
    dictionary.press("Tab")
    assert dictionary.js("document.activeElement.closest('details').id") == "dim_customers"
    dictionary.press("Enter")
    dictionary.wait("document.querySelector('#dim_customers').open")
    nodes = dictionary.send("Accessibility.getFullAXTree")["nodes"]
    seen = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node.get("ignored") and "role" in node
    ]
    roles = [role for role, _ in seen]
    for landmark in ("banner", "main", "contentinfo", "navigation", "search"):
        assert roles.count(landmark) == 1, landmark
    assert ("region", "Columns of dim_customers") in seen
    assert [
        role for role, name in seen if role in ("button", "link", "region", "searchbox") and not name
    ] == []
    assert dictionary.js("[...document.querySelectorAll('h1')].length") == 1


@pytest.mark.parametrize("width", WIDTHS)
def test_no_width_scrolls_sideways(dictionary, width):
    dictionary.resize(width, 900)
    dictionary.wait(f"innerWidth === {width}")
    for name in ("fct_order_items_as_of", "raw_orders", "customers"):
        show(dictionary, name)
    dictionary.js("document.querySelectorAll('.table details').forEach((each) => { each.open = true; })")
    assert dictionary.js("document.documentElement.scrollWidth") <= width
    outside = """[...document.querySelectorAll('main *, header *, footer *')].filter((node) => {
      const box = node.getBoundingClientRect();
      return box.width > 1 && box.right > innerWidth + 1 && !node.closest('.scroll, .unseen, pre');
    }).map((node) => node.outerHTML.slice(0, 80))"""
    assert dictionary.js(outside) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_can_be_read_by_day_and_by_night(dictionary, theme):
    dictionary.prefer(prefers_color_scheme=theme)
    assert (luminance(background(dictionary)) < 0.1) is (theme == "dark")
    dictionary.js("void (document.querySelector('#customers').open = true)")
    card = rgb(dictionary.js("getComputedStyle(document.querySelector('.card')).backgroundColor"))
    for part in (".name", ".doc", ".figures", ".columns th", ".columns td", ".mark", ".inside .note"):
        colour = rgb(dictionary.js(f"getComputedStyle(document.querySelector('#customers {part}')).color"))
        assert contrast(colour, card) >= 4.5, part


def test_who_needs_a_key_gives_it_once_for_all_pages(chromium: Chromium, shop: Shop) -> None:
    keys = SecretStr("dash:schlüssel-鍵:read")
    with serving(shop.settings.replace(dataflow_api_keys=keys)) as api, chromium.tab() as tab:
        tab.outage = True  # the browser notes each 401
        tab.open(api.url + "/tables")
        tab.wait("document.querySelector('#key-form').hidden === false")
        assert visible(tab) == []
        for key, accepted in (("wrong", False), ("falsch-鎖", False), ("schlüssel-鍵", True)):
            tab.js("document.querySelector('#key-error').textContent = ''")
            tab.js(f"void (document.querySelector('#key').value = '{key}')")
            tab.js("document.querySelector('#key-form').requestSubmit()")
            if not accepted:
                tab.wait("document.querySelector('#key-error').textContent !== ''")
        tab.wait("document.querySelectorAll('.table').length > 0")
        assert tab.js("sessionStorage.getItem('dataflow-key')") == "schlüssel-鍵"
        assert tab.js("document.querySelector('#key-form').hidden") is True
        tab.open(api.url + "/")
        wait_live(tab)
        assert tab.errors() == []


@pytest.mark.parametrize("path", ["/", "/tables", "/replays"])
def test_a_name_that_does_not_belong_to_the_service_is_told_and_no_key_is_asked_for(
    chromium: Chromium, shop: Shop, path: str
) -> None:
    """As the service answers who opens it under such a name."""
    refused = httpx.get(shop.url + "/v1/status", headers={"Host": "shop.example"}, trust_env=False)
    assert refused.status_code == 403
    with chromium.tab() as tab:
        tab.outage = True
        tab.before(
            "const ask = fetch; window.fetch = (url, options) => String(url).startsWith('/v1/')"
            f" ? Promise.resolve(new Response({json.dumps(refused.text)}, {{status: 403}})) : ask(url, options)"
        )
        tab.open(shop.url + path)
        tab.wait("document.querySelector('#notice').textContent.includes('saw \\'shop.example\\'')")
        assert tab.js("document.querySelector('#key-form').hidden") is True


@pytest.mark.cases(0)
def test_without_an_answer_it_says_so_and_comes_back(dictionary, shop):
    dictionary.outage = True
    shop.stop()
    try:
        dictionary.js("document.dispatchEvent(new Event('visibilitychange'))")
        dictionary.wait("document.querySelector('#state').textContent === 'no answer'")
        assert "Trying again" in dictionary.text("#notice")
        assert len(visible(dictionary)) == len(RELATIONS), "what the tables mean stays"
    finally:
        shop.start()
    dictionary.wait("document.querySelector('#state').textContent.startsWith('manifest')", 20)
    assert dictionary.js("document.querySelector('#notice').hidden") is True


def test_the_main_page_has_a_line_about_the_lake_that_leads_here(page, shop):
    page.wait("document.querySelector('[data-value=lake]').textContent.startsWith('manifest')")
    behind = waiting(shop)
    words = f"{behind:,} wait" if behind else "nothing waits"
    assert page.value("lake").startswith(f"manifest {shop.lake.manifest.number}, {words}")
    for place in (".lake", "footer"):
        assert page.js(f"document.querySelector('{place} a[href=\"/tables\"]').href") == f"{shop.url}/tables"
    opened(page, shop.url)
    assert page.js("document.querySelector('header a').pathname") == "/"
