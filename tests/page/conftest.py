"""One browser and one shop for all tests of the page; a tab per test, which must end without an error."""

from collections.abc import Iterator, Sequence

import pytest

from tests.page.browser import NAMES, Chromium, Tab, chromium_path
from tests.page.kit import Shop, tape
from tests.serving.kit import Verdict

COUNTED = 10_000  # of the tape, before the first test


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    path = chromium_path()
    if path is None:
        pytest.skip(f"the page is tested in a real browser, and this machine has none of {', '.join(NAMES)}")
    browser = Chromium(path, tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def shop(chromium: Chromium, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A shop that has seen an hour and a half. Who stops it, or empties it, brings it back."""
    # Where there is no browser, nothing else is started.
    platform = request.getfixturevalue("platform")
    found = Shop(platform.settings.replace(dataflow_env="page"))
    found.apply(tape()[:COUNTED])
    found.start()
    yield found
    found.close()


@pytest.fixture(scope="session")
def rest(shop: Shop) -> Iterator[Sequence[Verdict]]:
    """Runs of what happened next, to be counted while a page looks on."""
    later = tape()[COUNTED:]
    return iter([later[at : at + 100] for at in range(0, len(later), 100)])


@pytest.fixture
def tab(chromium: Chromium, shop: Shop) -> Iterator[Tab]:
    """An empty tab. At the end no request has left the page's origin, and its console shows no error."""
    with chromium.tab() as found:
        found.resize(1280)
        yield found
        own = (shop.url + "/", "data:", "about:")
        assert [r["url"] for r in found.requests() if not r["url"].startswith(own)] == []
        assert found.errors() == []


@pytest.fixture
def page(tab: Tab, shop: Shop) -> Tab:
    """The page, live."""
    tab.open(shop.url + "/")
    try:
        wait_live(tab)
    except AssertionError as error:
        raise AssertionError(f"{error}: the API says {shop.http.get('/readyz').text}") from None
    return tab


def wait_live(tab: Tab) -> None:
    tab.wait("document.querySelector('#state').textContent === 'live'")
    tab.wait("document.querySelector('[data-value=net]').textContent !== '–'")
