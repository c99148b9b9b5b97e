"""The console in a real browser, against a real central with a real database and real reports."""

import re
from pathlib import Path

import pytest
from conftest import PASSWORD, Fleet, Window
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.browser

PAGES = ["/", "/sites/north/cameras/north-1/door", "/sites/north/cameras/north-1/aisle",
         "/events", "/events/ev-0000", "/events/ev-0001", "/settings/account", "/-/patterns",
         "/no-such-page"]  # fmt: skip


def test_fleet_shows_every_camera_with_its_state_worst_first(window: Window) -> None:
    """The camera that is down comes before the covered one, the one that works comes last."""
    page = window.open("/")
    rows = page.locator(".cam")
    expect(rows).to_have_count(3)
    assert rows.locator(".is").all_inner_texts() == ["down", "tampered", "ok"]
    assert "connection refused" in rows.nth(0).inner_text()
    assert "lens covered" in rows.nth(1).inner_text()
    label = rows.nth(2).locator("svg.strip").get_attribute("aria-label") or ""
    assert re.search(r"observed 2\d h", label)
    assert "pipeline stopped 1 h" in label


def test_a_printed_label_leads_to_its_camera_and_its_device(window: Window) -> None:
    """What `vedette labels` prints on a code opens the page of that thing."""
    page = window.open("/at/north/north-1/door")
    page.wait_for_url("**/sites/north/cameras/north-1/door")
    expect(page.locator("#camera")).to_be_visible()
    page = window.open("/at/north/north-1")
    page.wait_for_url("**/sites/north/devices/north-1")
    expect(page.locator(".cam").first).to_be_visible()


def test_filters_live_in_the_url(window: Window) -> None:
    """A filter that is typed can be sent to a colleague as an address."""
    page = window.open("/")
    page.get_by_label("Site, device or camera").fill("aisle")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**/?q=aisle&state=**")
    expect(page.locator(".cam")).to_have_count(1)
    window.open("/?state=ok")
    expect(page.locator(".cam .name")).to_have_text(re.compile("door"))


def test_a_camera_shows_its_gap_with_cause_and_every_count_with_coverage(window: Window) -> None:
    """Since when, how long and why; and no number without its share of observed time."""
    page = window.open("/sites/north/cameras/north-1/door")
    expect(page.locator("#camera polygon.zone").first).to_be_visible()
    gaps = page.locator("section", has=page.locator("#h-coverage"))
    expect(gaps).to_contain_text("pipeline stopped")
    expect(gaps).to_contain_text("1 h")
    expect(gaps).to_contain_text("killed")
    counts = page.locator("section", has=page.locator("#h-counts")).locator("tbody tr")
    assert counts.count() >= 6
    for text in counts.all_inner_texts():
        assert re.search(r"\d+(\.\d)? %", text), text


def test_charts_draw_and_break_at_the_hole(window: Window) -> None:
    """UPlot is there, draws every series, and the series holds nulls where nothing was seen."""
    page = window.open("/sites/north/cameras/north-1/door")
    expect(page.locator("[data-chart] canvas")).to_have_count(page.locator("[data-chart]").count())
    assert "null" in (page.locator("[data-chart]").first.get_attribute("data-chart") or "")


def test_an_hour_in_which_nothing_was_seen_is_hatched_not_zero(window: Window) -> None:
    """The covered camera's last hour: no data where counts would be, and never 0."""
    page = window.open("/sites/north/cameras/north-1/aisle?range=1h")
    counts = page.locator("section", has=page.locator("#h-counts"))
    expect(counts.locator(".no-data").first).to_be_visible()
    assert not re.search(r"\b0\b", counts.inner_text())
    strip = page.locator("svg.strip.tall")
    assert "tampered" in (strip.get_attribute("aria-label") or "")


def test_an_event_shows_boxes_and_evidence_that_stays_on_site(window: Window) -> None:
    """Hash, windows and shortfall are there; the pixels are not."""
    page = window.open("/events")
    page.get_by_role("link", name=re.compile(r"\d\d:\d\d:\d\d")).first.click()
    page.wait_for_url("**/events/ev-0000")
    expect(page.locator("rect.box.main")).to_have_count(1)
    evidence = page.locator("section", has=page.locator("#h-evidence"))
    for said in ("kept on site", "ab" * 32, "2 s before the event", "812.3 kB"):
        expect(evidence).to_contain_text(said)
    expect(page.locator("img, video")).to_have_count(0)


def test_events_page_through_to_the_oldest_without_losing_or_repeating_one(window: Window) -> None:
    """Seventy events on pages of fifty."""
    page = window.open("/events")
    seen = page.locator("tbody td:first-child a").evaluate_all("a => a.map(x => x.pathname)")
    page.get_by_role("link", name="Older").click()
    page.wait_for_url("**cursor=**")
    seen += page.locator("tbody td:first-child a").evaluate_all("a => a.map(x => x.pathname)")
    assert len(seen) == len(set(seen)) == 70


def test_asking_for_a_picture_and_looking_at_it_are_recorded(window: Window, fleet: Fleet) -> None:
    """From the button to the device and back, with two entries in the audit log."""
    page = window.open("/sites/north/cameras/north-1/door")
    expect(page.get_by_text("no picture asked for yet")).to_be_visible()
    page.get_by_role("button", name="Ask for a new picture").click()
    expect(page.get_by_text("the device answers at its next contact")).to_be_visible()
    fleet.device.answer_requests(SMALL_JPEG)
    image = page.locator("#camera image")
    expect(image).to_have_attribute("href", re.compile("thumbnail"), timeout=15_000)
    window.picture("door-with-picture")
    audit = window.page.request.get(f"{window.url}/v1/audit").json()
    expect(image).to_be_visible()
    window.open("/settings/audit")
    actions = window.page.locator("section", has=page.locator("#h-audit")).inner_text()
    assert "thumbnail.ask" in actions
    assert "thumbnail.look" in actions
    assert audit[0]["actor"] == "admin"


def test_a_page_that_is_open_shows_news_by_itself(window: Window, fleet: Fleet) -> None:
    """A report that arrives changes the page without a reload."""
    page = window.open("/sites/north/cameras/north-1/door")
    expect(page.locator("#live")).to_have_attribute("data-mode", "live", timeout=10_000)
    page.evaluate("window.same = true")
    fleet.device.send_event("ev-fresh", camera="door", where="the new event's zone")
    expect(page.get_by_text("the new event's zone")).to_be_visible(timeout=15_000)
    assert page.evaluate("window.same")
    charts = page.locator("[data-chart]")
    expect(charts.locator("canvas")).to_have_count(charts.count())


def test_keys_and_palette(window: Window) -> None:
    """`?` lists, Ctrl-K finds a camera and goes there, and neither steals typing."""
    page = window.open("/")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Find", exact=True).fill("aisle")
    expect(page.locator(".palette-list .option")).to_have_count(1)
    page.keyboard.press("Enter")
    page.wait_for_url("**/cameras/north-1/aisle")
    window.open("/")
    page.keyboard.press("/")
    page.keyboard.type("e?")
    expect(page.get_by_label("Site, device or camera")).to_have_value("e?")


@pytest.mark.parametrize("path", PAGES)
def test_no_page_complains_overflows_or_asks_another_host(
    fleet: Fleet, browser: Browser, theme: str, path: str
) -> None:
    """At phone width and at desk width, in both themes."""
    for width in (390, 1280):
        context = browser.new_context(
            viewport={"width": width, "height": 844},
            color_scheme="dark" if theme == "dark" else "light",
        )
        context.add_cookies(fleet.cookies)
        window = Window(context, fleet.site.url)
        window.open(path)
        assert window.overflow_px() <= 0, f"{path} overflows at {width}"
        assert window.foreign == []
        window.picture(f"{path.strip('/').replace('/', '-') or 'fleet'}-{width}-{theme}")
        heard = [c for c in window.complaints if "404" not in c]
        assert heard == []
        context.close()


def test_everything_but_charts_works_without_script(fleet: Fleet, browser: Browser) -> None:
    """Fleet, camera, filter and event without a line of our script."""
    context = browser.new_context(java_script_enabled=False)
    context.add_cookies(fleet.cookies)
    window = Window(context, fleet.site.url)
    page = window.open("/")
    page.locator(".cam .name a").last.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("door")
    expect(page.get_by_text("The chart needs script").first).to_be_visible()
    page.get_by_role("link", name="6 h").click()
    expect(page.locator("#h-coverage")).to_be_visible()
    context.close()


def test_signing_in_and_out(fleet: Fleet, browser: Browser) -> None:
    """Wrong first, then right, back to the page that was asked for, then out for good."""
    context = browser.new_context()
    window = Window(context, fleet.site.url)
    page = window.open("/events?kind=dwell")
    assert "/sign-in?next=" in page.url
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("The name or the password is wrong")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/events?kind=dwell")
    cookie = next(c for c in context.cookies() if c["name"] == "vedette")
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    window.open("/settings/account")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    context.add_cookies([cookie])
    window.open("/")
    assert "/sign-in" in page.url
    context.close()


SMALL_JPEG = (Path(__file__).parent / "pixelated.jpg").read_bytes()
