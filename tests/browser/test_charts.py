"""Lines of a chart can be told apart, and their unit is there, without pointing at anything."""

from collections.abc import Iterator

import pattern_site
import pytest
from playwright.sync_api import Browser, Page, expect

from vedette.central.console import assets
from vedette.errors import VedetteError

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """How fast a camera is looked at, by stage."""
    try:
        assets.fetch_libraries()
    except VedetteError as error:
        pytest.skip(f"htmx and uPlot could not be fetched: {error}")
    context = pattern_site.context(browser, width=1280, dark=False)
    made = context.new_page()
    made.goto(f"{pattern_site.ORIGIN}/-/patterns/camera-speed")
    yield made
    context.close()


def test_a_chart_says_which_line_is_which_and_in_what(page: Page) -> None:
    """A piece of each line before its name, the budget's too, and the unit; no two look alike."""
    says = page.locator("section", has=page.get_by_role("heading", name="inference"))
    says = says.locator(".chart-says")
    expect(says.locator("span")).to_have_text(["p50", "p95", "budget"])
    expect(says).to_contain_text("ms")
    look = (
        "lines => lines.map(l => l.getAttribute('stroke-dasharray') + getComputedStyle(l).stroke)"
    )
    looks = says.locator(".chart-key line").evaluate_all(look)
    assert len(set(looks)) == 3


def test_a_single_line_is_named_where_the_heading_does_not(page: Page) -> None:
    """Frames lost by one cause alone still say which; frames a second need no name."""
    lost = page.locator("section", has=page.get_by_role("heading", name="Lost frames"))
    expect(lost.locator(".chart-says span")).to_have_text(["overtaken by a newer frame"])
    rate = page.locator("section", has=page.get_by_role("heading", name="Rate"))
    expect(rate.locator(".chart-says")).to_be_attached()
    expect(rate.locator(".chart-says span")).to_have_count(0)
