"""What the page shows is what REST says, to the cent, and it goes on being so without a reload."""

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

import orjson
import pytest

from tests.helpers import wait_for
from tests.page.browser import Tab
from tests.page.conftest import wait_live
from tests.page.kit import Shop
from tests.serving.api.kit import serving

NONE = "–"
SHOWN = 8  # rows of a ranking


def money(text: str | None) -> str:
    return NONE if text is None else f"${Decimal(text):,.2f}"


def ratio(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{(Decimal(str(value)) * 100).quantize(Decimal('0.1'), ROUND_HALF_UP)}%"


def moment(text: str | None, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    return (
        NONE if text is None else datetime.fromisoformat(text).astimezone(ZoneInfo("UTC")).strftime(pattern)
    )


def headline(shop: Shop) -> dict[str, str]:
    """The figures of REST as the page words them."""
    revenue, items, payments = (shop.total(name) for name in ("revenue", "items", "payments"))
    funnel, active, customers = (shop.total(name) for name in ("funnel", "active", "customers"))
    amounts = ("gross", "cancelled", "refunded", "net", "average_order_value")
    answered = payments["succeeded"] + payments["failed"]
    return {
        **{name: money(revenue[name]) for name in amounts},
        "orders": f"{revenue['orders']:,}",
        "units": f"{items['units']:,}",
        "success_rate": ratio(payments["success_rate"]),
        "payments_aside": f"{payments['succeeded']:,} of {answered:,} attempts",
        "sessions": f"{active['sessions']:,}",
        "visitors": f"{active['visitors']:,}",
        "new_customers": f"{customers['new_customers']:,}",
        "conversion": ratio(funnel["conversion"]),
    }


def shown(tab: Tab, names) -> dict[str, str]:
    return {name: tab.value(name).removeprefix("− ") for name in names}


def minutes(shop: Shop) -> dict[str, list[str]]:
    """The last hour, as REST says it, newest first."""
    rows = shop.get("/v1/metrics/revenue?grain=minute")["rows"]
    return {
        moment(r["start"], "%H:%M"): [money(r["gross"]), money(r["net"]), f"{r['orders']:,}"] for r in rows
    }


def divided(
    rows: list[dict], name: str, many: str, amount: str, label=lambda value: value
) -> list[list[str]]:
    """A metric divided by something, as REST says it: the largest parts, and all others in one."""
    parts = rows if len(rows) <= SHOWN else rows[: SHOWN - 1]
    found = [[label(r[name]), f"{r[many]:,}", money(r[amount])] for r in parts]
    if left := rows[len(parts) :]:
        found.append(
            [
                "All others",
                f"{sum(r[many] for r in left):,}",
                money(str(sum(Decimal(r[amount]) for r in left))),
            ]
        )
    return found


def test_the_headline_is_what_rest_says(page, shop):
    expected = headline(shop)
    assert NONE not in expected.values(), "a shop that shows nothing proves nothing"
    assert shown(page, expected) == expected


def test_funnel_products_categories_and_countries_are_what_rest_says(page, shop):
    funnel = shop.total("funnel")
    stages = ("product_view", "add_to_cart", "checkout", "purchase")
    assert page.rows("#funnel") == [
        [s.replace("_", " ").capitalize(), f"{funnel[s]:,}", ratio(funnel[s] / funnel["product_view"])]
        for s in stages
    ]
    top = shop.get(f"/v1/metrics/items/top?by=product_id&order=revenue&n={SHOWN}")["rows"]
    products = shop.folded.redis.hgetall(shop.folded.keys.dimension("products"))
    names = {key.decode(): orjson.loads(row)[0] for key, row in products.items()}
    assert page.rows("#products") == [
        [names.get(r["product_id"], r["product_id"]), f"{r['units']:,}", money(r["revenue"])] for r in top
    ]
    categories = shop.get("/v1/metrics/items/top?by=category&order=revenue&n=1000")["rows"]
    assert page.rows("#categories") == divided(
        categories, "category", "units", "revenue", lambda name: name[:1].upper() + name[1:].replace("_", " ")
    )
    countries = shop.get("/v1/metrics/revenue/top?by=shipping_country&order=gross&n=1000")["rows"]
    assert len(countries) > SHOWN
    label = "new Intl.DisplayNames(['en'], {type: 'region'}).of('%s')"
    assert page.rows("#countries") == divided(
        countries,
        "shipping_country",
        "orders",
        "gross",
        lambda code: page.js(label % code) if code else "Unknown",
    )


def test_the_last_hour_is_what_rest_says(page, shop):
    page.js("document.querySelector('#minutes-details > summary').click()")
    page.wait("document.querySelectorAll('#minutes-rows tr').length === 60")
    known = minutes(shop)
    rows = page.rows("#minutes-rows")
    assert {row[0]: row[1:] for row in rows if row[3] != "0"} == known
    assert all(row[1:] == ["$0.00", "$0.00", "0"] for row in rows if row[0] not in known)


def test_a_clock_that_is_ahead_moves_neither_the_last_hour_nor_what_is_said_of_it(page, shop):
    """An event of tomorrow, taken now: the hour is the one that the service sends, and ends now."""
    page.js("document.querySelector('#minutes-details').open = true")
    script = """import('/static/minutes.js').then(({ MinuteChart }) => {
      new MinuteChart().show({
        currency: 'USD', time_zone: 'UTC', as_of: { event_time: '2026-03-03T11:00:00.000000Z' },
        freshness: { newest_record_time: '2026-03-02T12:00:30.000000Z' },
        revenue_by_minute: [{ start: '2026-03-02T12:00:00Z', gross: '9.50', net: '9.50', orders: 1 }],
      });
      return [...document.querySelectorAll('#minutes-rows tr')].map((row) =>
        [...row.children].map((cell) => cell.textContent.trim()));
    })"""
    assert ["12:00", "$9.50", "$9.50", "1"] in page.js(script)
    said = page.js("import('/static/format.js').then(({ since }) => [-82800000, -500, 61000].map(since))")
    assert said == ["23 h in the future", "0.0 s ago", "61 s ago"]


def test_records_dead_letters_and_lag_are_what_rest_says(page, shop):
    counted = {r["topic"]: r for r in shop.get("/v1/metrics/events?grain=all&by=topic")["rows"]}
    waiting = shop.get("/v1/lag")["by_topic"]
    rows = {row[0]: row[1:] for row in page.rows("#topics")}
    assert set(rows) == set(waiting) >= set(counted)
    for topic, row in rows.items():
        about = counted.get(topic, {"records": 0, "refused": 0, "error_rate": None})
        expected = [
            f"{about['records']:,}",
            f"{about['refused']:,}",
            ratio(about["error_rate"]),
            f"{waiting[topic]:,}",
        ]
        assert row[:4] == expected, topic
    assert sum(r["refused"] for r in counted.values()) > 0
    assert page.value("dead_letters") == f"{sum(r['refused'] for r in counted.values()):,}"
    newest = {topic: int(at) for topic, at in shop.folded.newest.items() if topic}
    assert {topic: row[4] for topic, row in rows.items() if row[4] != NONE} == {
        topic: datetime.fromtimestamp(at // 1_000_000, ZoneInfo("UTC")).strftime("%Y-%m-%d %H:%M:%S")
        for topic, at in newest.items()
    }


def test_freshness_lag_and_as_of_are_what_rest_says(page, shop):
    freshness, lag = shop.get("/v1/freshness"), shop.get("/v1/lag")
    exactness = shop.get("/v1/exactness")
    assert lag["records_behind"] == 0
    assert page.value("lag") == "0 records"
    assert page.value("freshness") == "nothing waits"
    assert page.value("event_time") == moment(freshness["newest_event_time"])
    counts = exactness["counts"]
    assert page.value("exactness") == f"{exactness['offsets']:,} = " + " + ".join(
        f"{counts[name]:,} {name}" for name in ("changed", "repeat", "superseded", "refused", "empty")
    )
    as_of = exactness["as_of"]
    assert page.value("as_of") == f"{as_of['generation']}, position {as_of['position']:,}"
    assert page.text("#exact-word") == "exact"


def test_money_is_in_the_shops_currency_and_times_in_its_zone(chromium, shop):
    settings = shop.settings.replace(shop_currency="EUR", shop_timezone="Asia/Kolkata")
    with serving(settings) as api, chromium.tab() as tab:
        api.wait_ready()
        tab.open(api.url + "/")
        wait_live(tab)
        assert tab.value("net") == money(shop.total("revenue")["net"]).replace("$", "€")
        assert (tab.value("currency"), tab.value("time_zone")) == ("EUR", "Asia/Kolkata")
        newest = datetime.fromisoformat(shop.get("/v1/freshness")["newest_event_time"])
        there = newest.astimezone(ZoneInfo("Asia/Kolkata"))
        assert tab.value("event_time") == there.strftime("%Y-%m-%d %H:%M:%S")
        tab.js("document.querySelector('#minutes-details').open = true")
        tab.wait("document.querySelectorAll('#minutes-rows tr').length === 60")
        assert tab.rows("#minutes-rows")[0][0] == there.strftime("%H:%M")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.00", "$0.00"),
        ("0.05", "$0.05"),
        ("-3.10", "−$3.10"),
        ("1234.50", "$1,234.50"),
        ("123456789012345678.91", "$123,456,789,012,345,678.91"),  # no float holds this
    ],
)
def test_money_is_shown_to_the_cent_however_much_it_is(page, text, said):
    assert page.js(f"import('/static/format.js').then(({{ money }}) => money('{text}', 'USD'))") == said


def test_a_commit_shows_without_a_reload(page, shop, rest):
    page.js("void (window.here = true)")
    before = page.value("as_of")
    shop.apply(next(rest))
    page.wait(f"document.querySelector('[data-value=as_of]').textContent !== '{before}'", 2)
    expected = headline(shop)
    wait_for(lambda: shown(page, expected) == expected, 2, "the newest figures")
    assert page.js("window.here") is True
    assert page.js("performance.getEntriesByType('navigation').length") == 1


def test_a_late_event_moves_an_earlier_minute(page, shop):
    """Half an hour after its minute: that bar grows, in the picture and in the table, and no other."""
    page.js("document.querySelector('#minutes-details').open = true")
    page.wait("document.querySelectorAll('#minutes-rows tr').length === 60")
    newest = shop.folded.newest[""] // 1_000_000
    late = newest - newest % 60 - 30 * 60
    before, drawn = page.rows("#minutes-rows"), columns(page)
    index = 59 - 30
    assert before[30][0] == moment(datetime.fromtimestamp(late, ZoneInfo("UTC")).isoformat(), "%H:%M")
    # Not the highest one afterwards, so that the scale stays.
    highest = max(Decimal(row[1].replace(",", "").removeprefix("$")) for row in before)
    own = Decimal(before[30][1].replace(",", "").removeprefix("$"))
    added = ((highest - own) / 2).quantize(Decimal("0.01"))
    assert added > 0
    shop.apply([shop.order(int(added * 100), late + 7)])
    expected = [before[30][0], money(str(own + added))]
    wait_for(lambda: page.rows("#minutes-rows")[30][:2] == expected, 2, "the earlier minute's new sum")
    after = page.rows("#minutes-rows")
    assert int(after[30][3]) == int(before[30][3]) + 1
    assert after[:30] + after[31:] == before[:30] + before[31:]
    moved = wait_for(lambda: [n for n, (a, b) in enumerate(zip(drawn, columns(page), strict=True)) if a != b])
    assert moved == [index]


def columns(tab: Tab) -> list[int]:
    """How many pixels each minute's bar of the chart has, from the oldest to the newest."""
    return tab.js(
        """(() => {
          const box = document.querySelector('#minutes-revenue');
          const canvas = box.querySelector('canvas');
          const over = box.querySelector('.u-over').getBoundingClientRect();
          const scale = canvas.width / canvas.getBoundingClientRect().width;
          const left = over.left - canvas.getBoundingClientRect().left;
          const colour = getComputedStyle(document.querySelector('#swatch-net')).backgroundColor;
          const [r, g, b] = colour.match(/\\d+/g).map(Number);
          const copy = new OffscreenCanvas(canvas.width, canvas.height);
          const context = copy.getContext('2d', {willReadFrequently: true});
          context.drawImage(canvas, 0, 0);
          return Array.from({length: 60}, (_, n) => {
            const x = Math.round((left + over.width * (n + 0.5) / 60) * scale);
            const {data} = context.getImageData(x, 0, 1, canvas.height);
            let found = 0;
            for (let i = 0; i < data.length; i += 4) {
              if (Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 12) found += 1;
            }
            return found;
          });
        })()"""
    )
