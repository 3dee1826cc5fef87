"""Everybody can read the page: by keyboard, by screen reader, on a phone, on a wall, by day and night, unmoved."""

import json
import re
from contextlib import suppress

import pytest

from tests.helpers import wait_for
from tests.page.browser import Tab
from tests.page.conftest import wait_live
from tests.page.test_figures import columns

WIDTHS = [320, 360, 768, 1280, 1920, 2560]
VERDICTS = ("changed", "repeat", "superseded", "refused", "empty")


def focused(tab: Tab) -> str:
    return tab.js("document.activeElement.id")


def tab_to(tab: Tab, target: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(40):
        if focused(tab) == target:
            return
        tab.press("Tab")
    raise AssertionError(f"Tab does not lead to {target}")


def test_the_account_is_opened_read_and_closed_by_keyboard_alone(page, shop):
    page.press("Tab")
    assert page.js("document.activeElement.textContent") == "Skip to the numbers"
    tab_to(page, "exact")
    assert page.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("Enter")
    page.wait(
        "document.querySelector('#proof').open && document.querySelectorAll('#proof-topics tr').length > 0"
    )
    page.press("Tab")
    assert page.js("document.querySelector('#proof').contains(document.activeElement)") is True

    told = shop.get("/v1/exactness")
    topics = {row[0]: row[1:] for row in page.rows("#proof-topics")}
    for topic, row in topics.items():
        partitions = [p for p in told["partitions"] if p["topic"] == topic]
        offsets = sum(p["next_offset"] - p["base"] for p in partitions)
        counts = [sum(p["counts"][verdict] for p in partitions) for verdict in VERDICTS]
        assert sum(counts) == offsets
        assert row == [f"{offsets:,}", *(f"{each:,}" for each in counts), "yes"], topic
    assert set(topics) == {p["topic"] for p in told["partitions"]}
    assert page.rows("#proof-total")[0][1] == f"{told['offsets']:,}"
    offsets = {row[0]: row[2] for row in page.rows("#proof-offsets")}
    assert offsets == {
        f"{topic}/{partition}": f"{offset:,}"
        for topic, partitions in told["as_of"]["offsets"].items()
        for partition, offset in partitions.items()
    }
    assert f"Generation {told['as_of']['generation']}, position {told['as_of']['position']:,}" in page.text(
        "#proof-as-of"
    )

    page.press("Escape")
    assert page.js("document.querySelector('#proof').open") is False
    assert focused(page) == "exact"


def test_the_account_follows_while_it_is_open(page, shop, rest):
    page.js("document.querySelector('#exact').click()")
    page.wait("document.querySelectorAll('#proof-total tr').length > 0")
    shop.apply(next(rest))
    total = f"{shop.get('/v1/exactness')['offsets']:,}"
    page.wait(f"document.querySelector('#proof-total td').textContent === '{total}'", 5)


def test_the_minutes_are_gone_through_by_arrow_keys(page):
    page.js("document.querySelector('#minutes-details').open = true")
    page.wait("document.querySelectorAll('#minutes-rows tr').length === 60")
    newest, second, *_, oldest = page.rows("#minutes-rows")
    resting = page.text("#minutes-text")
    assert resting.startswith("Highest at ")
    tab_to(page, "minutes")

    def says(row: list[str]) -> None:
        minute, gross, net, orders = row
        expected = f"{minute}: {net} net of {gross} gross, {orders} {'order' if orders == '1' else 'orders'}"
        page.wait(f"document.querySelector('#minutes-text').textContent === {expected!r}", 2)

    page.press("ArrowLeft")
    says(newest)
    assert page.js("document.querySelector('#minutes-text').ariaLive") == "polite"
    page.press("ArrowLeft")
    says(second)
    page.press("ArrowRight")
    page.press("ArrowRight")
    says(newest)
    page.press("Home")
    says(oldest)
    page.press("Escape")
    page.wait(f"document.querySelector('#minutes-text').textContent === {resting!r}", 2)
    page.press("Tab")
    assert page.js("document.querySelector('#minutes-text').ariaLive") == "off"


def test_a_screen_reader_finds_landmarks_headings_names_and_tables(page):
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    seen = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node.get("ignored") and "role" in node
    ]
    roles = [role for role, _ in seen]
    for landmark in ("banner", "main", "contentinfo", "navigation"):
        assert roles.count(landmark) == 1, landmark
    assert [
        name
        for role, name in seen
        if role in ("button", "region", "table", "link") and not name and role != "table"
    ] == []
    assert {"Net revenue", "Funnel", "Top products", "Last hour, by minute"} <= {
        n for r, n in seen if r == "region"
    }
    assert roles.count("status") == 1
    assert page.js("[...document.querySelectorAll('h1')].length") == 1
    levels = page.js("[...document.querySelectorAll('main h2, main h3')].map((h) => h.tagName)")
    assert set(levels) == {"H2"}
    # Each picture has its table, and is nothing to a screen reader itself.
    assert (
        page.js("[...document.querySelectorAll('canvas')].every((c) => c.closest('[aria-hidden=true]'))")
        is True
    )
    assert (
        page.js(
            "[...document.querySelectorAll('table')].every((t) => t.querySelector('thead th[scope=col]'))"
        )
        is True
    )
    assert (
        page.js("[...document.querySelectorAll('tbody tr')].every((r) => r.querySelector('th[scope=row]'))")
        is True
    )
    assert page.js("document.documentElement.lang") == "en"


@pytest.mark.parametrize(
    ("opener", "dialog", "ready"),
    [("#letters-open", "#letters", "#letters-text"), ("#exact", "#proof", "#proof-text")],
)
def test_a_screen_reader_finds_its_way_in_a_dialog(page, opener, dialog, ready):
    page.js(f"document.querySelector('{opener}').click()")
    page.wait(
        f"document.querySelector('{dialog}').open && document.querySelector('{ready}').textContent !== ''"
    )
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    seen = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node.get("ignored") and "role" in node
    ]
    [name] = [name for role, name in seen if role == "dialog"]
    assert name
    asked = ("button", "region", "link", "textbox", "combobox", "checkbox", "spinbutton", "searchbox")
    assert [role for role, name in seen if role in asked and not name] == []
    # What lies behind a modal dialog is not there for a screen reader.
    assert "banner" not in {role for role, _ in seen}
    within = f"[...document.querySelector('{dialog}').querySelectorAll('table')]"
    assert page.js(f"{within}.every((t) => t.querySelector('thead th[scope=col]'))") is True
    page.press("Escape")
    page.wait(f"!document.querySelector('{dialog}').open")


def test_numbers_that_change_announce_nothing(page):
    """Only the word of the state, and what somebody has asked for: a screen reader that read each figure would never
    end.
    """
    live = page.js(
        "[...document.querySelectorAll('[aria-live=polite], [role=status], [role=alert]')].map((e) => e.id)"
    )
    assert set(live) == {"state", "key-error", "proof-text", "letters-text", "redrive-text"}


@pytest.mark.parametrize("width", WIDTHS)
def test_no_width_scrolls_sideways(page, width):
    page.resize(width, 900)
    page.wait(f"innerWidth === {width}")
    assert page.js("document.documentElement.scrollWidth") <= width
    outside = """[...document.querySelectorAll('main *, header *, footer *')].filter((node) => {
      const box = node.getBoundingClientRect();
      return box.width > 1 && box.right > innerWidth + 1 && !node.closest('.scroll, .unseen, .u-wrap');
    }).map((node) => node.outerHTML.slice(0, 80))"""
    # The chart follows its card at the next frame.
    with suppress(AssertionError):
        page.wait(f"({outside}).length === 0", 5)
    assert page.js(outside) == []
    page.js("document.querySelector('#exact').click()")
    page.wait("document.querySelectorAll('#proof-topics tr').length > 0")
    assert (
        page.js(
            "document.querySelector('#proof').scrollWidth <= document.querySelector('#proof').clientWidth"
        )
        is True
    )


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (2560, 1440), (3840, 2160)])
def test_a_wall_shows_all_of_it_without_scrolling(page, width, height):
    page.resize(width, height)
    page.wait(f"innerWidth === {width}")
    assert page.js("document.querySelector('main').getBoundingClientRect().bottom") <= height


@pytest.mark.parametrize("metrics", [1, 2])
def test_so_it_does_with_metrics_and_a_topic_of_ones_own(page, metrics):
    page.resize(1920, 1080)
    page.wait("innerWidth === 1920")
    figures = [
        {
            "name": name,
            "doc": "What it counts, in a sentence of a usual length.",
            "unit": "count",
            "value": 17,
        }
        for name in ("parcels", "refunds", "refunded", "average_refund", "share_of_orders")
    ]
    doc = "Returned items by the day of their order."
    drawn = [{"name": f"returns{n}", "doc": doc, "figures": figures} for n in range(metrics)]
    page.js(f"import('/static/more.js').then((more) => more.drawMore({json.dumps(drawn)}, 'EUR'))")
    # A table that has a row for each topic has one more.
    page.js(
        "for (const body of document.querySelectorAll('main tbody'))"
        "  if ([...body.rows].some((row) => row.textContent.includes('clickstream')))"
        "    body.append(body.rows[0].cloneNode(true))"
    )
    page.wait("!document.querySelector('#more').hidden")
    assert "Share of orders\n17" in page.text("#more")
    assert page.js("document.querySelector('main').getBoundingClientRect().bottom") <= 1080


def test_the_chart_fits_its_card_at_each_width(page):
    for width in (1920, 360, 1280):
        page.resize(width, 900)
        page.wait(
            "(() => { const plot = document.querySelector('#minutes-revenue');"
            " return Math.abs(plot.querySelector('.uplot').offsetWidth - plot.clientWidth) <= 1; })()",
            5,
        )


def test_a_state_in_which_nothing_has_happened_yet_has_no_minutes_of_another_one(page):
    """As after a reset, or for a new generation: the page stays open."""
    page.js(
        "import('/static/minutes.js').then(({ MinuteChart }) => {"
        " const chart = new MinuteChart(), at = '2026-03-02T01:40:31Z';"
        " const shot = (time) => ({ currency: 'EUR', time_zone: 'UTC', as_of: { event_time: time },"
        "   freshness: { newest_record_time: time }, revenue_by_minute: [] });"
        " const drawn = () => document.querySelectorAll('#minutes .uplot').length;"
        " window.drawn = [drawn()]; chart.show(shot(at)); window.drawn.push(drawn());"
        " chart.show(shot(null)); window.drawn.push(drawn(), document.querySelector('#minutes-text').textContent);"
        "})"
    )
    page.wait("window.drawn?.length === 4")
    before, with_some, without, said = page.js("window.drawn")
    assert (with_some, without, said) == (before + 2, before, "no orders yet")


def test_what_is_no_amount_of_money_is_shown_as_it_is(page):
    page.js(
        "import('/static/format.js').then(({ money }) => {"
        " window.shown = ['1234.50', '1.234', '7', null].map((text) => money(text, 'EUR')); })"
    )
    page.wait("window.shown?.length === 4")
    assert page.js("window.shown") == ["€1,234.50", "1.234", "7", "–"]


def background(tab: Tab) -> tuple[int, ...]:
    return rgb(tab.js("getComputedStyle(document.body).backgroundColor"))


def rgb(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def luminance(colour: tuple[int, ...]) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [c / 255 for c in colour]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_day_and_night_follow_the_system_until_the_reader_chooses_which_is_remembered(page, shop):
    page.prefer(prefers_color_scheme="dark")
    assert luminance(background(page)) < 0.1
    page.prefer(prefers_color_scheme="light")
    assert luminance(background(page)) > 0.8
    tab_to(page, "theme")
    page.press("Enter")
    assert page.js("document.activeElement.ariaLabel") == "Colours: light. Change"
    page.press(" ")
    assert page.js("document.activeElement.ariaLabel") == "Colours: dark. Change"
    assert luminance(background(page)) < 0.1
    page.open(shop.url + "/")
    wait_live(page)
    assert luminance(background(page)) < 0.1, "what was chosen is forgotten"
    tab_to(page, "theme")
    page.press("Enter")
    assert luminance(background(page)) > 0.8, "as the system says again"


def test_the_chart_is_the_same_by_day_and_by_night(page):
    page.prefer(prefers_color_scheme="light")
    by_day = columns(page)
    assert len(set(by_day)) > 10
    page.prefer(prefers_color_scheme="dark")
    wait_for(lambda: columns(page) == by_day, 3, "the same bars in the colours of the night")
    page.prefer(prefers_color_scheme="light")
    wait_for(lambda: columns(page) == by_day, 3, "the same bars as before")


@pytest.mark.parametrize("trust", ["live", "stale"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_by_day_and_by_night_fresh_and_stale(page, theme, trust):
    """At least 4.5 to 1 (WCAG 2.2, AA)."""
    page.js(f"void (document.documentElement.dataset.theme = '{theme}')")
    page.js(f"void (document.querySelector('#numbers').dataset.trust = '{trust}')")
    card = rgb(page.js("getComputedStyle(document.querySelector('.card')).backgroundColor"))
    for part in (
        ".big",
        "dt",
        ".tiles dd",
        ".aside",
        "#products td",
        "thead th",
        ".note",
        "tr[data-state=refused] td:nth-of-type(2)",
    ):
        colour = rgb(page.js(f"getComputedStyle(document.querySelector('main {part}')).color"))
        assert contrast(colour, card) >= 4.5, part


def test_who_wants_no_motion_gets_none(page):
    moves = "getComputedStyle(document.querySelector('.bar'), '::after').transitionDuration"
    assert page.js(moves) != "0s"
    page.prefer(prefers_reduced_motion="reduce")
    assert page.js(moves) == "0s"


def test_where_colours_are_the_systems_shares_and_what_is_pressed_are_seen_all_the_same(page):
    parts = "getComputedStyle(document.querySelector('.parts span')).backgroundColor"
    bars = "getComputedStyle(document.querySelector('.bar'), '::after').backgroundColor"
    border = "getComputedStyle(document.querySelector('#newest-pause')).borderTop"
    page.prefer(forced_colors="active")
    card = page.js("getComputedStyle(document.querySelector('.card')).backgroundColor")
    assert card not in (page.js(parts), page.js(bars))
    assert "3px double" not in page.js(border)
    page.js("document.querySelector('#newest-pause').click()")
    page.wait(f"{border}.startsWith('3px double')")


def test_the_chart_library_is_the_one_that_is_named(page, shop):
    """It lies beside the page with its licence; the page asks nobody else for anything, as after every test here."""
    name, version = shop.http.get("/static/vendor/uplot/VERSION").text.split()
    library = shop.http.get("/static/vendor/uplot/uPlot.iife.min.js").text
    assert f"(v{version})" in library[:100]
    assert "MIT" in shop.http.get("/static/vendor/uplot/LICENSE").text
    assert page.js("typeof uPlot") == "function"
    assert name == "uPlot"
    assert len(page.requests()) > 10
