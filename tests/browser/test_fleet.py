"""The fleet page in a real browser: filters, views, grid, palette, and when central is gone."""

import re

import pytest
from accessibility import serious_findings
from conftest import Fleet, Window
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.browser


def filtered(page: Page, **chosen: str) -> None:
    """Choose in the form by the words that stand there, and press Filter."""
    form = page.locator("#filters")
    for label, option in chosen.items():
        form.get_by_label(re.compile(f"^{label}")).select_option(label=option)
    form.get_by_role("button", name="Filter").click()
    page.wait_for_load_state("load")


def test_a_new_user_finds_the_covered_camera_and_since_when(window: Window) -> None:
    """By the words in the form: which camera is covered; the page says since when, and why."""
    page = window.open("/")
    filtered(page, Cause="lens covered")
    expect(page.locator(".cam")).to_have_count(1)
    row = page.locator(".cam")
    expect(row.locator(".name")).to_contain_text("aisle")
    expect(row.locator(".why")).to_contain_text(
        re.compile(r"lens covered.*since .* UTC", re.DOTALL)
    )
    expect(page.locator(".found")).to_contain_text("1 of 3 cameras")
    filtered(page, Since="for more than 24 hours")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    page.get_by_role("link", name="Show all").first.click()
    expect(page.locator(".cam")).to_have_count(3)
    assert window.complaints == []


def test_a_view_is_saved_found_and_deleted(window: Window) -> None:
    """What is shown gets a name; the name stands in the menu and opens the same; then it goes."""
    page = window.open("/?state=down")
    menu = page.locator("#views")
    menu.locator("summary").click()
    menu.get_by_label("Save what is shown now as").fill("All that is down")
    assert serious_findings(page) == []
    menu.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").first).to_contain_text("The view is saved")
    window.open("/")
    menu.locator("summary").click()
    menu.get_by_role("link", name="All that is down").click()
    page.wait_for_url("**/?state=down")
    expect(menu.locator("summary")).to_contain_text("All that is down")
    menu.locator("summary").click()
    menu.get_by_role("button", name="Delete All that is down").click()
    expect(page.get_by_role("status").first).to_contain_text("The view is deleted")
    assert window.complaints == []


def test_a_part_of_the_page_changes_without_a_new_page(window: Window) -> None:
    """Links to the same page in another form keep the page, and the address follows."""
    page = window.open("/?open=north&range=24h")
    page.evaluate("window.same = true")
    page.locator(".fold").click()
    expect(page.locator(".fold")).to_have_count(0)
    assert page.url.endswith("/?range=24h")
    assert page.evaluate("window.same")
    assert "open=" not in (page.locator("#fleet").get_attribute("hx-get") or "")


def test_a_refresh_without_news_brings_nothing_and_says_how_old_the_page_is(window: Window) -> None:
    """The browser says what it has; the server answers 204 with the time; nothing is swapped."""
    page = window.open("/?range=24h")
    panel = page.locator("#fleet")
    with page.expect_response(lambda r: r.request.headers.get("x-have", "") != "") as told:
        page.evaluate("window.htmx.trigger(document.getElementById('fleet'), 'refresh')")
    if told.value.status == 204:  # a strip may have moved by a step just now
        at = told.value.headers["x-as-of"]
        expect(panel.locator(".age time")).to_have_attribute("data-ago", at)
    versions = panel.get_attribute("data-v") or ""
    assert versions in told.value.request.headers["x-have"]


def test_the_grid_has_a_cell_for_each_site_and_leads_there(window: Window) -> None:
    """One cell with shape, name and share observed; a click is the site's page."""
    page = window.open("/?view=grid")
    cell = page.locator("a.cell")
    expect(cell).to_have_count(1)
    expect(cell).to_have_accessible_name(re.compile(r"North store \d+ % observed, down"))
    cell.click()
    page.wait_for_url("**/sites/north")


@pytest.mark.parametrize("path", ["/?view=list", "/?view=grid", "/?cause=throttled-7d"])
def test_no_form_of_the_page_overflows_or_is_hard_to_use(
    fleet: Fleet, browser: Browser, path: str
) -> None:
    """At phone width in the dark and at desk width in the light; axe finds nothing serious."""
    for width, scheme in ((390, "dark"), (1280, "light")):
        context = browser.new_context(
            viewport={"width": width, "height": 844},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        context.add_cookies(fleet.cookies)
        window = Window(context, fleet.site.url)
        page = window.open(path)
        assert window.overflow_px() <= 0
        found = serious_findings(page)
        assert not found, "\n".join(found)
        window.picture(f"fleet-{path.strip('/?=')}-{width}-{scheme}")
        assert window.complaints == []
        context.close()


def test_the_palette_is_a_combobox_that_remembers(window: Window) -> None:
    """Arrows move the active option, focus stays in the field, what was opened stands first."""
    page = window.open("/")
    page.keyboard.press("Control+k")
    field = page.get_by_role("combobox", name="Find", exact=True)
    expect(field).to_be_focused()
    field.fill("north")
    options = page.locator(".palette-list .option")
    expect(options.first).to_contain_text("North store")
    expect(field).to_have_attribute("aria-activedescendant", "palette-0")
    page.keyboard.press("ArrowDown")
    expect(field).to_have_attribute("aria-activedescendant", "palette-1")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    found = serious_findings(page)
    assert not found, "\n".join(found)
    page.keyboard.press("Enter")
    page.wait_for_url("**/sites/north/devices/north-1")
    page.keyboard.press("Control+k")
    expect(options.first).to_contain_text("north-1")
    field.fill("zzzz")
    expect(page.get_by_text("nothing found")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)


def test_what_a_page_can_do_is_in_the_palette_on_that_page(window: Window) -> None:
    """On a camera's page its picture can be asked for; from the fleet page it cannot."""
    page = window.open("/sites/north/cameras/north-1/dock")
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Find", exact=True).fill("picture")
    expect(page.locator(".palette-list .option").first).to_contain_text("Ask for a new picture of")
    window.open("/")
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Find", exact=True).fill("picture")
    expect(page.get_by_text("nothing found")).to_be_visible()


def test_keys_work_on_a_keyboard_with_other_letters_and_leave_text_alone(window: Window) -> None:
    """A Cyrillic layout sends other letters for the same keys; a selection of text is not lost."""
    page = window.open("/")
    send = """([key, code, ctrl]) => document.body.dispatchEvent(new KeyboardEvent("keydown",
        { key, code, ctrlKey: ctrl, bubbles: true, cancelable: true }))"""
    page.evaluate(send, ["л", "KeyK", True])
    expect(page.get_by_role("dialog", name="Find")).to_be_visible()
    page.keyboard.press("Escape")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('h1'))")
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_have_count(0)
    page.evaluate("getSelection().removeAllRanges()")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def test_a_page_asks_by_itself_where_the_stream_fails(window: Window) -> None:
    """No server-sent events: it says so and polls; what it shows stays fresh."""
    page = window.page
    page.clock.install()
    page.route("**/events-stream*", lambda route: route.abort())
    window.open("/?range=24h")
    expect(page.locator("#live")).to_have_attribute("data-mode", "polling")
    with page.expect_response(lambda r: r.request.headers.get("hx-request") == "true") as told:
        page.clock.fast_forward(16_000)
    assert told.value.status in {200, 204}
    expect(page.locator("html.is-lost")).to_have_count(0)


def test_a_stream_that_keeps_failing_does_not_hide_that_central_is_gone(window: Window) -> None:
    """The browser opens the stream anew every moment, in vain; the page finds out all the same."""
    page = window.page
    page.clock.install()
    again = "retry: 100\n\n"
    page.route(
        "**/events-stream*",
        lambda route: route.fulfill(status=200, body=again, content_type="text/event-stream"),
    )
    window.open("/?range=24h")
    page.route("**/*", lambda route: route.abort())
    for _ in range(8):
        with page.expect_request("**/events-stream*"):
            page.clock.fast_forward(5_000)
    expect(page.locator("#live")).to_have_attribute("data-mode", "lost")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator(".live-word")).to_be_visible()


def test_a_page_says_that_central_is_gone_and_asks_more_rarely(window: Window) -> None:
    """Two questions without an answer: it says so and greys its ages; with one it is well again."""
    page = window.page
    page.clock.install()
    window.open("/?range=24h")
    expect(page.locator("#live")).to_have_attribute("data-mode", "live", timeout=15_000)
    page.evaluate("window.same = true")
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if "hx-request" in r.headers else None)
    page.route("**/*", lambda route: route.abort())
    for _ in range(3):
        page.clock.fast_forward(31_000)
        page.wait_for_timeout(50)
    expect(page.locator("#live")).to_have_attribute("data-mode", "lost")
    expect(page.locator("html.is-lost")).to_have_count(1)
    expect(page.locator(".cam")).to_have_count(3)
    page.unroute("**/*")
    page.clock.fast_forward(130_000)
    expect(page.locator("html.is-lost")).to_have_count(0, timeout=15_000)
    assert page.evaluate("window.same")
    assert 2 <= len(asked) <= 8
