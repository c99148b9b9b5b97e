"""Zones of the device's own file in the zone editor: seen, taken over, never moved by accident."""

from collections.abc import Iterator

import pattern_site
import pytest
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """The editor of a camera on which only the device's own file has zones."""
    context = pattern_site.context(browser, width=1280, dark=False)
    made = context.new_page()
    made.goto(f"{pattern_site.ORIGIN}/-/patterns/camera-zones-own")
    yield made
    context.close()


def test_own_zones_are_drawn_and_are_nobodys_to_move(page: Page) -> None:
    """Dashed, with names and a word on where they come from; nothing of them is selected."""
    expect(page.locator(".zed-scene .own-zone")).to_have_count(2)
    expect(page.locator(".zed-scene .own-line")).to_have_count(1)
    expect(page.locator(".own-note")).to_contain_text("from its configuration file")
    expect(page.locator(".zed-corner")).to_have_count(0)
    expect(page.get_by_role("button", name="Save")).to_be_disabled()


def test_own_zones_can_be_taken_over_and_given_back(page: Page) -> None:
    """One button copies them into the editor; what is saved would be theirs; Undo takes it back."""
    begin = page.get_by_role("button", name="Begin with the device's own")
    begin.click()
    expect(page.locator(".zed-pills button")).to_have_text(["▱ entrance", "▱ tills", "→ doorway"])
    expect(page.locator(".zed-corner")).to_have_count(4)
    expect(page.get_by_role("button", name="Save")).to_be_enabled()
    expect(begin).to_be_hidden()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".zed-pills button")).to_have_count(0)
    expect(begin).to_be_visible()
