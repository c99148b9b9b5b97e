"""The page about the business in a real browser, over what a device reported for a day."""

import pytest
from conftest import Window
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_question_that_cannot_be_is_said_and_nothing_is_counted_as_zero(window: Window) -> None:
    """No such field: in words. Long before anything was known: nothing counts, and no 0."""
    page = window.open("/business")
    page.get_by_label("Where: a site's name, or a selection").fill("sitte:north")
    page.get_by_label("What").select_option("forward")
    with page.expect_response("**/business?*") as answered:
        page.get_by_role("button", name="Show").click()
    assert answered.value.status == 422
    expect(page.get_by_role("alert")).to_contain_text("sitte")
    window.open("/business?from=2024-01-02&to=2024-01-02&of=North+store")
    expect(page.locator("main")).to_contain_text("Nothing counts visits here")
    expect(page.locator("#total")).to_have_count(0)


@pytest.mark.parametrize("path", ["/business?figure=forward", "/business?of=site:nowhere"])
def test_the_page_fits_a_phone_and_needs_no_script(window: Window, path: str) -> None:
    """At 390 pixels nothing is cut off; the bars are there without script."""
    window.page.set_viewport_size({"width": 390, "height": 844})
    window.open(path)
    assert window.overflow_px() == 0
    window.picture(f"business-{len(path)}-390")
