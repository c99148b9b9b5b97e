"""From trouble to the person who acts, in a real browser: a real device, a real receiver."""

import re
import time
from collections.abc import Iterator

import msgspec
import pytest
from conftest import Fleet, Window
from playwright.sync_api import Browser, Page, expect
from standardwebhooks import Webhook

from tests.integration.alerting_receivers import Receiver, receiving_apart
from vedette.wire.messages import (
    CameraHealth,
    CameraState,
    Cause,
    HealthReport,
    PipelineHealth,
    State,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]  # a central and a day of history first

LADDER = """\
ladders:
  - ladder: shops
    steps:
      - tell: ["channel:ops"]
      - {after_s: 600, tell: ["oncall:duty"]}
    repeat_s: 3600
    rounds: 2
"""
SCHEDULE = """\
schedules:
  - schedule: duty
    time_zone: Europe/Oslo
    shifts:
      - {people: [admin], start: "2026-03-02T09:00", turn_days: 7}
"""
RULE = """\
rules:
  - rule: lens-covered
    severity: critical
    todo: Look for tape.
    health: {is: tampered, clear_s: 0}
    where: {sites: [north], cameras: [door]}
    ladder: quick
"""
PAGES = (
    "/incidents",
    "/incidents?state=any",
    "/silences",
    "/ladders",
    "/ladders/new",
    "/ladders/quick",
    "/rules",
    "/rules/new",
    "/rules/lens-covered",
    "/oncall",
    "/oncall/new",
    "/channels",
    "/channels/phone",
    "/exports",
    "/deliveries",
    "/settings/account",
)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks on loopback."""
    with receiving_apart() as made:
        yield made


@pytest.fixture(scope="module")
def configured(receiver: Receiver) -> str:
    """Central may reach the receiver; without that, nothing inside the network."""
    return f"alerts: {{allow_private: [127.0.0.1/32], ports: [{receiver.port}]}}\n"


def test_who_is_told_is_written_and_tried_in_the_console(
    window: Window, fleet: Fleet, receiver: Receiver
) -> None:
    """A channel with its test, a schedule with an override, a ladder followed in simulation.

    The test arrives at the receiver, signed with the secret that the page showed once.
    """
    page = window.open("/channels")
    expect(page.get_by_role("heading", name="No channel yet")).to_be_visible()
    secret = _write_channel(page, receiver)
    [got] = receiver.got
    said = Webhook(secret).verify(got.body, got.headers)
    assert isinstance(said, dict)
    _write_export(window)
    _be_reached(window)
    page = window.open("/oncall")
    expect(page.get_by_role("heading", name="No schedule yet")).to_be_visible()
    _write_schedule(window)
    _write_ladder(window)
    window.picture("alerts-ladder")
    assert [one for one in window.complaints if "status of 422" not in one] == []
    assert window.foreign == []


def _write_channel(page: Page, receiver: Receiver) -> str:
    """Have a channel, and a test sent there; return its secret."""
    page.get_by_label("Name", exact=True).fill("ops")
    page.get_by_label("Leads to").fill(f"http://127.0.0.1:{receiver.port}/ops")
    page.get_by_role("button", name="Add it").click()
    shown = page.get_by_role("status").filter(has_text="shown this once")
    secret = shown.locator("code").inner_text()
    expect(page.locator(".head")).to_contain_text("never used")
    page.get_by_role("button", name="Send a test").click()
    expect(page.locator(".head")).to_contain_text("works")
    expect(page.locator(".delivery-list tbody tr")).to_have_count(1)
    assert secret not in page.content()
    return secret


def _write_export(window: Window) -> None:
    """Have an export by that channel, try it, switch it off."""
    page = window.open("/exports")
    expect(page.get_by_role("heading", name="No export yet")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("mes")
    page.get_by_label("Links are good for so many hours").fill("0")
    page.get_by_label("Only this kind of event").select_option(label="going the watched way")
    page.get_by_role("button", name="Add it").click()
    expect(page.locator(".head")).to_contain_text("nothing sent")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator(".flash")).to_contain_text("No event of the last seven days")
    page.get_by_role("button", name="Switch it off").click()
    expect(page.locator(".head")).to_contain_text("off")
    window.picture("alerts-export")


def _be_reached(window: Window) -> None:
    """Say on the account's page how one is reached."""
    page = window.open("/settings/account")
    form = page.locator("section", has=page.locator("#h-reached"))
    form.get_by_role("button", name="Add it").click()
    expect(form.locator("tbody tr")).to_contain_text("ops")


def _write_schedule(window: Window) -> None:
    """Have a schedule, and somebody take over."""
    window.page.get_by_role("link", name="New schedule").click()
    window.page.get_by_label("As YAML").fill(SCHEDULE)
    window.page.get_by_role("button", name="Keep it").click()
    head = window.page.locator(".head")
    expect(head).to_contain_text("admin")
    _ask(window, "POST", "/v1/users", {"username": "berit", "role": "operator", "everything": True})
    page = window.open("/oncall/duty")
    over = page.locator("section", has=page.locator("#h-over"))
    over.get_by_label("Who").select_option("berit")
    over.get_by_label("For hours").fill("12")
    over.get_by_label("Note").fill("a wedding")
    over.get_by_role("button", name="Take over").click()
    expect(head).to_contain_text("berit")
    expect(over.locator("li")).to_contain_text("a wedding")
    expect(page.locator("svg.duty title").first).to_have_text("berit (takes over)")


def _write_ladder(window: Window) -> None:
    """Have a ladder, be told what is wrong with it, follow it; then the one who takes over goes."""
    page = window.open("/ladders")
    expect(page.get_by_role("heading", name="No ladder yet")).to_be_visible()
    page.get_by_role("link", name="New ladder").click()
    page.get_by_label("As YAML").fill(LADDER.replace("oncall:duty", "oncall:nobody"))
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("alert")).to_contain_text("nobody")
    expect(page.get_by_label("As YAML")).to_have_value(re.compile("oncall:nobody"))
    page.get_by_label("As YAML").fill(LADDER)
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("heading", name="shops", level=1)).to_be_visible()
    page.get_by_label("Acknowledged after minutes").fill("15")
    page.get_by_role("button", name="Follow").click()
    steps = page.locator(".follow li")
    expect(steps.first).to_contain_text("told that it began: ops")
    expect(page.locator(".follow")).to_contain_text("berit")
    expect(page.locator(".follow .is-problem").first).to_be_visible()


def _ask(window: Window, method: str, path: str, body: object) -> None:
    csrf = window.page.locator("meta[name=csrf]").get_attribute("content") or ""
    answer = window.page.request.fetch(
        window.url + path, method=method, data=msgspec.to_builtins(body),
        headers={"X-CSRF-Token": csrf},
    )  # fmt: skip
    assert answer.status < 300, answer.text()


def _look(fleet: Fleet, state: State) -> None:
    """Have the device say how the camera at the door is."""
    now_ms = round(time.time() * 1000)
    is_covered = state is State.TAMPERED
    said = CameraState(
        camera="door", at_ms=now_ms, noticed_ms=now_ms, state=state,
        cause=Cause.TAMPERED if is_covered else None, signs=["Covered"] if is_covered else [],
    )  # fmt: skip
    health = HealthReport(
        at_ms=now_ms, period_s=30, version="0.1.0",
        pipeline=PipelineHealth(
            running=True, cameras=[CameraHealth(camera="door", state=state, since_ms=now_ms)]
        ),
    )  # fmt: skip
    fleet.device.send(now_ms, ("camera_state.v1", now_ms, said), ("health.v1", now_ms, health))


def test_quiet_hours_are_set_at_a_phone_without_script(
    fleet: Fleet, window: Window, browser: Browser, receiver: Receiver
) -> None:
    """What cannot be is said at the form, with what was typed; what can be stands in its line."""
    window.open("/settings/account")
    hook = {"type": "webhook", "url": f"http://127.0.0.1:{receiver.port}/night"}
    _ask(window, "POST", "/v1/channels", {"channel": "night", "settings": hook})
    _ask(window, "PUT", "/v1/contacts/admin", {"contacts": [{"channel": "night"}]})
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, java_script_enabled=False
    )
    context.add_cookies(fleet.cookies)
    phone = Window(context, fleet.site.url)
    page = phone.open("/settings/account")
    contact = page.locator(".quiet-hours")
    contact.get_by_text("Quiet hours by night: none").click()
    for typed in ("22-6", "22:00-06:00"):
        contact.get_by_label("By the clock of").fill("Europe/Oslo")
        contact.get_by_role("textbox", name="Saturday").fill(typed)
        wide = page.locator("main").evaluate("e => document.documentElement.scrollWidth")
        assert wide == 390
        contact.get_by_role("button", name="Set the quiet hours").click()
        if typed == "22-6":
            expect(contact.get_by_role("alert")).to_contain_text("sa: '22' is no time")
            expect(contact.get_by_role("textbox", name="Saturday")).to_have_value(typed)
            expect(contact.get_by_label("By the clock of")).to_have_value("Europe/Oslo")
            assert page.url.endswith("#quiet-1")
    expect(page.get_by_role("status")).to_contain_text("You are reached as it stands here")
    expect(contact).to_contain_text("Quiet hours by night: sa 22:00-06:00, Europe/Oslo")
    expect(contact.get_by_role("textbox", name="Saturday")).not_to_be_visible()
    phone.picture("account-quiet-390")
    context.close()
    _ask(window, "DELETE", "/v1/contacts/admin", None)


@pytest.fixture
def guarded(window: Window, receiver: Receiver) -> str:
    """A rule that was tried on history and kept, whose ladder tells two channels; its name."""
    window.open("/settings/account")
    there = f"http://127.0.0.1:{receiver.port}"
    for name in ("phone", "desk"):
        settings = {"type": "webhook", "url": f"{there}/{name}"}
        _ask(window, "POST", "/v1/channels", {"channel": name, "settings": settings})
    steps = [{"tell": ["channel:phone"]}, {"after_s": 1.0, "tell": ["channel:desk"]}]
    _ask(window, "PUT", "/v1/ladders/quick", {"ladder": "quick", "steps": steps})
    page = window.open("/rules/new")
    page.get_by_label("As YAML").fill(RULE)
    page.get_by_role("button", name="Try it on history").click()
    expect(page.locator(".tried")).to_contain_text("nobody was told")
    expect(page.get_by_label("As YAML")).to_have_value(RULE)
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("heading", name="lens-covered", level=1)).to_be_visible()
    expect(page.get_by_role("link", name="quick")).to_be_visible()
    return "lens-covered"


def test_a_covered_lens_becomes_an_incident_that_somebody_sees_through(
    window: Window, fleet: Fleet, guarded: str
) -> None:
    """Seen live, escalated, acknowledged with a note, silenced, over: each step on its timeline."""
    page = window.open("/events")
    page.keyboard.press("i")
    expect(
        page.get_by_role("heading", name="Nothing is wrong that a rule speaks of")
    ).to_be_visible()
    expect(page.locator("#live")).to_have_attribute("data-mode", "live")
    _look(fleet, State.TAMPERED)
    row = page.locator(".incident-list tbody tr")
    expect(row).to_contain_text("Camera tampered with: door", timeout=20_000)
    expect(row).to_contain_text("critical")
    row.get_by_role("link", name="Camera tampered with").click()
    expect(page.get_by_text("Look for tape.")).to_be_visible()
    sent = page.locator(".sent")
    expect(sent).to_contain_text("told that it began: desk", timeout=20_000)
    expect(sent.locator(".is-ok")).to_have_count(2, timeout=20_000)
    window.picture("incident-open")
    page.get_by_placeholder("note (optional)").fill("on my way")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("It is yours")
    line = page.locator(".timeline")
    for said in ("opened", "phone", "desk", "acknowledged", "on my way"):
        expect(line).to_contain_text(said, timeout=20_000)
    page.get_by_role("link", name="Silence …").click()
    form = page.locator("form[action='/silences']")
    expect(form.get_by_label("Rules")).to_have_value(guarded)
    expect(form.get_by_label("Cameras")).to_have_value("door")
    form.get_by_label("Why").fill("the painter is there")
    form.get_by_role("button", name="Keep it quiet").click()
    expect(page.locator(".stack-table tbody tr")).to_contain_text("the painter is there")
    page.go_back()
    page.go_back()
    expect(line).to_contain_text("silenced", timeout=20_000)
    _look(fleet, State.OK)
    expect(page.locator(".head")).to_contain_text("resolved", timeout=20_000)
    expect(line.locator("li").first).to_contain_text("resolved")
    window.picture("incident-over")
    _find_by_keys(page)
    _again_while_it_is_quiet(window, fleet)
    assert window.complaints == []
    assert window.foreign == []
    _on_a_phone(window)


def _again_while_it_is_quiet(window: Window, fleet: Fleet) -> None:
    """Another incident under the silence tells nobody; it is taken on from the list."""
    page = window.open("/incidents")
    _look(fleet, State.TAMPERED)
    row = page.locator(".incident-list tbody tr")
    expect(row).to_contain_text("nobody: silenced", timeout=20_000)
    row.get_by_role("checkbox").check()
    page.get_by_role("button", name="Acknowledge what is chosen").click()
    expect(page.get_by_role("status").first).to_contain_text("Those are yours now")
    expect(row).to_contain_text("admin looks after it")
    window.open("/silences")
    page.get_by_role("button", name="End it: the silence").click()
    expect(page.locator(".silence-list tbody tr")).to_contain_text("over")


def _find_by_keys(page: Page) -> None:
    """The palette leads to what is kept quiet, and to the pages of who is told."""
    for words, heading in (("silences", "Silences"), ("on call", "On call")):
        page.keyboard.press("Control+k")
        page.get_by_role("combobox").fill(words)
        expect(page.locator(".palette-list .option").first).to_contain_text(heading)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible()


def _on_a_phone(window: Window) -> None:
    """No page of alerts scrolls sideways at 390 pixels, full as they are."""
    page = window.page
    page.set_viewport_size({"width": 390, "height": 800})
    window.open("/incidents?state=any")
    one = page.locator(".incident-list .what a").first.get_attribute("href") or ""
    for path in (*PAGES, one, f"{one}/resolve"):
        window.open(path)
        window.picture(f"alerts-phone{path.partition('?')[0].replace('/', '-')}")
        assert window.overflow_px() == 0, path
    assert window.complaints == []
