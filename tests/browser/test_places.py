"""The pages of sites and devices in a browser, over a real central and a device that answers."""

import re

import msgspec
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Fleet, Window
from vedette.central.console.device import specimens
from vedette.wire import diagnostics as wire
from vedette.wire.messages import HealthReport, PipelineHealth, SystemHealth

pytestmark = pytest.mark.browser

DEVICE = "/sites/north/devices/north-1"


def tell(fleet: Fleet, boot: str, *flags: str, ago_s: int) -> None:
    """Have the device report how it was a while ago."""
    at_ms = fleet.now_ms - ago_s * 1000
    report = HealthReport(
        at_ms=at_ms,
        period_s=30,
        version="0.1.0",
        system=SystemHealth(
            boot_id=boot, throttle_flags=list(flags), temperatures_c={"cpu": 71.0},
            reboot_cause="watchdog",
        ),
        pipeline=PipelineHealth(running=True),
    )  # fmt: skip
    fleet.device.send(fleet.now_ms, ("health.v1", at_ms, report))


def test_a_site_says_what_is_wrong_and_leads_to_the_device(window: Window) -> None:
    """From the fleet to the site to the device, by its links; each fault with what to do."""
    page = window.open("/")
    page.get_by_role("link", name="North store").first.click()
    page.wait_for_url("**/sites/north")
    found = page.locator(".findings li")
    expect(found).to_have_count(2)
    expect(found.nth(0)).to_contain_text("restart the camera")
    expect(found.nth(1)).to_contain_text("covers the lens")
    covered = page.locator("section", has=page.locator("#h-covered"))
    expect(covered.locator("tbody tr")).to_have_count(4)
    expect(covered).to_contain_text(re.compile(r"pipeline stopped|camera down"))
    page.get_by_role("heading", name="north-1").get_by_role("link").click()
    page.wait_for_url(f"**{DEVICE}")
    expect(page.locator(".tiers")).to_contain_text("62 °C")
    window.picture("device-real")
    assert window.complaints == []
    assert window.foreign == []


def test_what_happened_can_be_asked_by_kind_and_page(window: Window, fleet: Fleet) -> None:
    """Heat and a start that the device told are in the list, and alone behind their filters."""
    tell(fleet, "one", ago_s=300)
    tell(fleet, "one", "throttled", ago_s=270)
    tell(fleet, "one", ago_s=180)
    tell(fleet, "two", ago_s=120)
    page = window.open(DEVICE)
    held = page.locator("section", has=page.locator("#h-held"))
    expect(held).to_contain_text("1 min 30 s in 1 spell")
    rows = page.locator(".timeline tbody tr")
    expect(page.locator(".timeline")).to_contain_text("its watchdog acted")
    page.get_by_role("link", name="heat and power").click()
    page.wait_for_url("**kind=heat**")
    expect(rows).to_have_count(2)
    assert window.complaints == []


def test_a_network_test_is_asked_for_and_its_answer_appears(window: Window, fleet: Fleet) -> None:
    """The page waits, the device answers, the table is there without a reload; all is recorded."""
    page = window.open(DEVICE)
    page.get_by_role("button", name="Network test").click()
    page.wait_for_url("**/answers/**")
    expect(page.get_by_role("status")).to_contain_text("Waiting for the device")
    request = page.url.rsplit("/", 1)[1]
    fleet.device.answer(request, msgspec.json.encode(specimens.NETWORK), wire.JSON)
    table = page.locator("#answer table")
    expect(table).to_contain_text("no route to host", timeout=20_000)
    expect(page.locator("[data-live]")).to_have_count(0)
    window.open(f"{DEVICE}?kind=operator")
    expect(page.locator(".timeline")).to_contain_text("Read an answer")
    assert window.complaints == []


def test_name_hours_and_labels_are_changed_on_the_page(window: Window) -> None:
    """What is wrong is said and nothing changed; what is right is there afterwards."""
    page = window.open("/sites/north")
    page.get_by_label("Open (empty: always)").fill("mo-su 26:00-27:00")
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_role("alert")).to_contain_text("is no time")
    window.complaints.clear()  # the browser says that the answer was 422
    page.get_by_label("Open (empty: always)").fill("mo-su 00:00-24:00")
    page.get_by_label("Name").fill("North & South <store>")
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("North & South <store>")
    expect(page.locator(".head")).to_contain_text("open")
    page.get_by_label("Labels of this site").fill("tier=gold")
    page.get_by_role("button", name="Save labels").click()
    expect(page.locator("dl.facts")).to_contain_text("gold")
    expect(page.locator(".timeline")).to_contain_text("Labels changed")
    page.get_by_label("Name").fill("North store")
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("North store")
    assert window.complaints == []


def test_an_action_says_what_it_does_before_it_is_done(window: Window) -> None:
    """Asking for another key: a page in between, then the wish stands at the device."""
    page = window.open(DEVICE)
    page.get_by_role("link", name="Ask it for another key").click()
    expect(page.locator("main")).to_contain_text("the old key never speaks again")
    page.get_by_role("button", name="Ask for another key").click()
    page.wait_for_url("**done=rotate-key")
    expect(page.locator("#device")).to_contain_text("another key asked for")
    assert window.complaints == []


def test_an_installer_with_a_phone_and_without_script(fleet: Fleet, browser: Browser) -> None:
    """390 wide, no script: nothing is cut off, targets are large, a picture can be asked for."""
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, java_script_enabled=False
    )
    context.add_cookies(fleet.cookies)
    page = context.new_page()
    for path in ("/at/north/north-1", "/sites/north"):
        page.goto(fleet.site.url + path)
        wide = page.locator("main").evaluate("e => document.documentElement.scrollWidth")
        assert wide == 390, path
    page.goto(fleet.site.url + "/at/north/north-1")
    button = page.get_by_role("button", name="Ask for a picture of dock")
    box = button.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    assert box["y"] < 2 * 844
    button.click()
    expect(page.get_by_role("status")).to_contain_text("it comes with the device's next contact")
    context.close()
