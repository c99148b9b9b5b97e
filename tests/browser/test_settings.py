"""The settings in a real browser: an administrator's errands, and what a viewer is left with."""

import re

import pytest
from conftest import PASSWORD, Fleet, Window
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.browser

PAGES = ("account", "sessions", "tokens", "users", "users/admin", "sites", "sites/north",
         "folders", "groups", "claims", "health", "retention", "audit")  # fmt: skip


def test_somebody_is_added_comes_in_and_is_thrown_out(window: Window, browser: Browser) -> None:
    """A link shown once, a password, a viewer's two tabs, and the end of the session at once."""
    page = window.open("/settings")
    page.get_by_role("link", name="Users").click()
    page.get_by_label("Name").fill("vic")
    page.get_by_role("textbox", name="Sites").fill("north")
    page.get_by_role("button", name="Add").click()
    link = page.locator(".secret code").inner_text()
    window.picture("settings-link")
    context = browser.new_context()
    theirs = Window(context, window.url)
    seen = theirs.page
    seen.goto(link)
    seen.get_by_label("Password, 10 characters or more").fill(PASSWORD)
    seen.get_by_label("The same again").fill(PASSWORD)
    seen.get_by_role("button", name="Set the password").click()
    seen.get_by_role("link", name="Settings").click()
    expect(seen.get_by_role("navigation", name="Settings").get_by_role("link")).to_have_text(
        ["Account", "Sessions", "API tokens"]
    )
    window.open("/settings/users/vic")
    expect(page.locator("#h-held")).to_be_visible()
    page.get_by_role("button", name="End all sessions").click()
    expect(page.get_by_role("status")).to_contain_text("have ended")
    seen.goto(f"{window.url}/settings/sessions")
    assert "/sign-in" in seen.url
    page.get_by_text("Reset the password…").click()
    page.get_by_role("button", name="Reset it").click()
    expect(page.locator(".secret code")).to_contain_text("/setup/")
    assert window.complaints == []
    context.close()


def test_a_branch_is_prepared_down_to_the_command(window: Window) -> None:
    """Site, hours and claim; the command is there once, the hours are drawn."""
    page = window.open("/settings/sites")
    page.get_by_label("Short name, for ever").fill("lisbon-3")
    page.get_by_label("Time zone").fill("Europe/Lisbon")
    page.get_by_role("button", name="Add").click()
    page.wait_for_url("**/settings/sites/lisbon-3?done=site-added")
    expect(page.locator("[aria-current=step]")).to_contain_text("A key")
    page.get_by_label("in these hours").check()
    page.get_by_role("textbox", name="Monday").fill("09:00-12:00, 13:00-20:00")
    page.get_by_role("button", name="Set the hours").click()
    expect(page.get_by_role("img", name="Monday: 09:00-12:00, 13:00-20:00")).to_be_visible()
    expect(page.locator("#h-ahead")).to_be_visible()
    page = window.open("/settings/claims?site=lisbon-3")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator(".secret code")).to_have_text(
        re.compile(r"vedette edge enrol --config edge\.yaml --token vc-")
    )
    assert window.complaints == []


def test_the_log_is_filtered_by_its_address_and_its_chain_is_whole(window: Window) -> None:
    """Who did what stands in the address; checking from the beginning says how far."""
    page = window.open("/settings/audit")
    page.get_by_label("Did, or begins with").fill("site.")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**what=site.**")
    rows = page.locator("#log tbody tr")
    expect(rows.filter(has_text="site.add")).not_to_have_count(0)
    expect(rows.filter(has_not_text="site.")).to_have_count(0)
    page.get_by_role("button", name="Check from the beginning").click()
    expect(page.locator(".chain")).to_contain_text(re.compile(r"chain whole up to entry \d+"))
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "audit.csv"


def test_no_page_of_the_settings_complains_or_overflows(fleet: Fleet, browser: Browser) -> None:
    """At phone width and at desk width, and without script everything still answers."""
    for width in (390, 1280):
        context = browser.new_context(viewport={"width": width, "height": 844})
        context.add_cookies(fleet.cookies)
        window = Window(context, fleet.site.url)
        for path in PAGES:
            window.open(f"/settings/{path}")
            assert window.overflow_px() <= 0, f"{path} overflows at {width}"
            window.picture(f"settings-{path.replace('/', '-')}-{width}")
        assert window.complaints == []
        assert window.foreign == []
        context.close()
