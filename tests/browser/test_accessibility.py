"""axe-core over every page of `/-/patterns`: nothing serious, at desk and phone width, both themes.

Each page is loaded once, at a desk in the light theme, and judged by every rule; then it is made
narrow and dark, and judged by the rules that looks can change. Needs no central and no database. A
page of a screen is checked as soon as its specimens are there.
"""

from collections.abc import Iterator

import pattern_site
import pytest
from accessibility import OF_LOOKS, serious_findings
from playwright.sync_api import Browser, Page

from vedette.central.console import assets
from vedette.central.console.patterns import NAMES
from vedette.errors import VedetteError

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """A window at desk width in the light theme."""
    try:
        assets.fetch_libraries()
    except VedetteError as error:
        pytest.skip(f"htmx and uPlot could not be fetched: {error}")
    context = pattern_site.context(browser, width=1280, dark=False)
    yield context.new_page()
    context.close()


def put_on_a_phone(page: Page) -> None:
    """Make the page that is shown narrow and dark."""
    page.set_viewport_size({"width": 390, "height": 900})
    page.emulate_media(color_scheme="dark")


@pytest.mark.parametrize("name", ["", *NAMES])
def test_axe_finds_nothing_serious(page: Page, name: str) -> None:
    """Names, roles, labels, contrast, order of headings: of each page in each of its states."""
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")
    page.goto(f"{pattern_site.ORIGIN}/-/patterns/{name}")
    page.wait_for_load_state("load")
    findings = serious_findings(page)
    assert not findings, "\n".join(findings)
    put_on_a_phone(page)
    findings = serious_findings(page, OF_LOOKS)
    assert not findings, "on a phone, dark: " + "\n".join(findings)


def test_axe_would_find_a_picture_without_words(page: Page) -> None:
    """The check itself can fail: a field without a label and grey on grey are found."""
    page.goto(f"{pattern_site.ORIGIN}/-/patterns/error")
    page.evaluate(
        "document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=x><input>')"
    )
    found = " ".join(serious_findings(page))
    assert "image-alt" in found
    assert "label" in found


def test_axe_would_find_what_only_the_dark_theme_hides(page: Page) -> None:
    """Nor is the second look blind: dark on dark is found where light was on it before."""
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")
    page.goto(f"{pattern_site.ORIGIN}/-/patterns/error")
    page.evaluate(
        "document.querySelector('main').insertAdjacentHTML('beforeend', '<p id=black>words</p>');"
        "document.querySelector('#black').style.color = '#222'"
    )
    assert serious_findings(page) == []
    put_on_a_phone(page)
    assert "#black" in " ".join(serious_findings(page, OF_LOOKS))
