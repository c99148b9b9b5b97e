"""What a phone shows first: the whole menu in little room, and rows before filters.

Pages of `/-/patterns`, so no central is needed. Script is off, because none of this may need it,
but for the zone editor.
"""

from collections.abc import Callable, Iterator

import pattern_site
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

pytestmark = pytest.mark.browser

FILTERED = ("fleet", "events", "incidents-empty", "rollouts", "business", "settings-audit")
"""Pages with filters of which none is set."""


@pytest.fixture
def window(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page of `/-/patterns` without script, as wide as a phone or a desk."""
    contexts: list[BrowserContext] = []

    def opened(name: str, width: int, *, script: bool = False) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 844}, java_script_enabled=script
        )
        contexts.append(context)
        context.route("**/*", pattern_site.answer)
        page = context.new_page()
        page.goto(f"{pattern_site.ORIGIN}/-/patterns/{name}")
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", FILTERED)
def test_filters_are_folded_on_a_phone_and_stand_open_at_a_desk(
    window: Callable[..., Page], name: str
) -> None:
    """Rows come first; one touch brings the form; at a desk it is there and nothing to unfold."""
    page = window(name, 390)
    form, fold = page.locator("form.filters").first, page.locator("details.folds:visible").last
    expect(form).to_be_hidden()
    fold.locator("summary").click()
    expect(form).to_be_visible()
    page = window(name, 1280)
    expect(page.locator("form.filters").first).to_be_visible()
    expect(page.locator("details.folds").first).to_be_hidden()


def test_a_filter_that_is_set_is_never_folded_away(window: Callable[..., Page]) -> None:
    """Whoever comes by a link sees what narrows the list."""
    page = window("fleet-filtered", 390)
    expect(page.locator("#filters")).to_be_visible()
    expect(page.locator("#filters select[name=state]")).to_have_value("dark")


def test_the_whole_menu_fits_on_a_phone(window: Callable[..., Page]) -> None:
    """No page of the menu is beyond the edge, and the head leaves room for what matters."""
    page = window("settings-users", 390)
    for link in page.locator(".nav a").all():
        box = link.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["height"] >= 36
    head = page.locator(".top").bounding_box()
    assert head is not None
    assert head["height"] <= 120


@pytest.mark.parametrize("width", [390, 1280])
def test_names_in_the_zone_editor_can_be_read(window: Callable[..., Page], width: int) -> None:
    """They are as large as other text, however wide the picture is drawn."""
    page = window("camera-zones", width, script=True)
    name = page.locator(".zed-scene text").first
    expect(name).to_have_text("entrance")
    size = "e => parseFloat(getComputedStyle(e).fontSize) * e.getScreenCTM().a"
    assert 12 <= name.evaluate(size) <= 16


def test_the_key_to_the_filter_unfolds_it(window: Callable[..., Page]) -> None:
    """In a narrow window with a keyboard, `/` leads to the first field as it does at a desk."""
    page = window("events", 600, script=True)
    site = page.get_by_label("Site", exact=True)
    expect(page.locator("form.filters")).to_be_hidden()
    expect(page.locator("#theme")).to_be_visible()  # the module that knows the keys has run
    page.keyboard.press("/")
    expect(site).to_be_focused()
