"""One camera's pages in a real browser: from the worst camera to a zone that its device runs."""

import itertools
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml
from conftest import PASSWORD, Fleet, Window
from playwright.sync_api import Browser, Page, expect

from vedette.central.api.geometry import area, complaints, crossing
from vedette.central.settings_words import changes
from vedette.clock import SystemClock
from vedette.edge.central_client import CentralClient
from vedette.edge.enrolment import enrol
from vedette.edge.settings import CentralLink
from vedette.edge.supervisor import end_orphan
from vedette.wire import diagnostics as wire
from vedette.wire.signed import CameraSettings, Line, Zone

pytestmark = pytest.mark.browser

DOOR = "/sites/north/cameras/north-1/door"


HERE = Path(__file__).parent
AGENT = """
import signal, sys
from pathlib import Path
from vedette.clock import SystemClock
from vedette.edge import settings
from vedette.edge.agent import Agent
from vedette.edge.health.system import SystemProbe, boot_id

tree = settings.load(Path(sys.argv[1]))
agent = Agent(
    tree, SystemClock(), boot_id=boot_id(), probe=SystemProbe(tree.state_dir),
    pipeline=lambda effective: [sys.executable, sys.argv[2], str(effective), sys.argv[3]],
)
signal.signal(signal.SIGTERM, lambda *_: agent.stop())
agent.run()
"""


@pytest.fixture
def yard(fleet: Fleet, browser: Browser, tmp_path: Path) -> Iterator[Path]:
    """The state of an enrolled device whose real agent runs; its pipeline makes up its pictures."""
    context = browser.new_context()
    context.add_cookies(fleet.cookies)
    page = context.new_page()
    page.goto(f"{fleet.site.url}/")
    headers = {"X-CSRF-Token": page.locator("meta[name=csrf]").get_attribute("content") or ""}
    ask, url = context.request, fleet.site.url
    assert ask.post(f"{url}/v1/sites", data={"site": "yard"}, headers=headers).status == 201
    claim = {"site": "yard", "device": "yard-1"}
    token = ask.post(f"{url}/v1/claims", data=claim, headers=headers).json()["token"]
    context.close()
    client = CentralClient(CentralLink(url=url), SystemClock())
    enrol(tmp_path / "state", client, token, version="0.1.0")
    client.close()
    config = {
        "state_dir": "state",
        "models_dir": "models",
        "central": {"url": url},
        "cameras": [{"id": name, "source": "none.mp4"} for name in ("lane", "gate")],
        "telemetry": {"report_period_s": 1, "aggregate_period_s": 1},
    }
    (tmp_path / "edge.yaml").write_text(yaml.safe_dump(config))
    script = [str(HERE / "covered_pipeline.py"), str(HERE / "pixelated.jpg")]
    with (tmp_path / "log").open("wb") as log:
        agent = subprocess.Popen(
            [sys.executable, "-c", AGENT, str(tmp_path / "edge.yaml"), *script],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield tmp_path / "state"
    finally:
        agent.kill()  # asked to end it would first finish its long poll
        agent.wait(timeout=40)
        end_orphan(tmp_path / "state", SystemClock())


def corner(page: Page, number: int) -> str:
    """Return what a corner of the selected shape says of itself."""
    return page.locator(f"[data-corner='{number}']").get_attribute("aria-label") or ""


def test_a_zone_is_moved_by_keys_saved_and_followed(window: Window, fleet: Fleet) -> None:
    """Tab to a corner, arrows, Insert, Delete, Escape, undo; saved; the way to the device shown."""
    page = window.open(f"{DOOR}/zones")
    page.locator("[data-corner='0']").focus()
    assert "10.0 % from the left, 50.0 % from the top" in corner(page, 0)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    assert "10.5 % from the left, 55.0 % from the top" in corner(page, 0)
    page.keyboard.press("Escape")
    assert "10.0 % from the left, 50.0 % from the top" in corner(page, 0)
    page.keyboard.press("Insert")
    expect(page.locator("[data-corner]")).to_have_count(5)
    page.keyboard.press("Delete")
    expect(page.locator("[data-corner]")).to_have_count(4)
    page.keyboard.press("Control+z")
    expect(page.locator("[data-corner]")).to_have_count(5)
    page.keyboard.press("Control+y")
    expect(page.locator("[data-corner]")).to_have_count(4)
    page.locator("[data-corner='1']").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowUp")
    assert "89.5 % from the top" in corner(page, 2)
    page.get_by_label("Long stay after, s").fill("45")
    expect(page.locator(".zed-unsaved summary")).to_have_text("1 unsaved change")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".zed-said")).to_contain_text("signed as version 2")
    way = page.locator(".way")
    expect(way.locator("[data-step='at the device']")).to_contain_text("not yet")
    rows = page.locator("section", has=page.locator("#h-versions")).locator("tbody tr")
    expect(rows.first).to_contain_text("zone entrance: outline moved, long stay off → 45 s")
    expect(rows.first).to_contain_text("admin")
    assert window.complaints == []
    assert window.foreign == []


def test_what_cannot_be_is_said_while_drawing_and_not_saved(window: Window) -> None:
    """Crossing edges, a name twice, a value too large: in the server's words, and Save is off."""
    page = window.open(f"{DOOR}/zones")
    page.get_by_role("button", name="+ Zone").click()
    page.get_by_label("Name").fill("entrance")
    expect(page.locator(".zed-wrong")).to_contain_text("two zones or lines are named 'entrance'")
    page.get_by_label("Name").fill("tills")
    page.get_by_label("Loitering after, s").fill("601")
    expect(page.locator(".zed-wrong")).to_contain_text("loiter_s lies between 0 and 600 seconds")
    page.get_by_label("Loitering after, s").fill("")
    page.locator("[data-corner='0']").focus()
    for _ in range(9):
        page.keyboard.press("Shift+ArrowRight")
    expect(page.locator(".zed-wrong")).to_contain_text("zone tills: its edges")
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    page.reload()
    expect(page.locator(".zed-said")).to_contain_text("unsaved changes from before")
    expect(page.locator(".zed-pills button")).to_have_count(3)
    page.get_by_role("button", name="Discard").click()
    expect(page.locator(".zed-pills button")).to_have_count(2)


def test_two_people_at_once_lose_nothing(fleet: Fleet, browser: Browser) -> None:
    """The second is refused, sees what the first changed, and saves on top of it."""
    windows = []
    for _ in range(2):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.add_cookies(fleet.cookies)
        windows.append(Window(context, fleet.site.url))
    first, second = (one.open(f"{DOOR}/zones") for one in windows)
    second.route("**/events-stream*", lambda route: route.abort())
    second.get_by_role("button", name="doorway").click()
    second.get_by_role("button", name="Turn around").click()
    first.get_by_label("Classes", exact=True).fill("person, bicycle")
    first.get_by_role("button", name="Save", exact=True).click()
    expect(first.locator(".zed-said")).to_contain_text("Saved")
    save = second.get_by_role("button", name="Save", exact=True)
    save.click()
    asked = second.locator(".zed-conflict")
    expect(asked).to_contain_text("admin saved version")
    expect(asked).to_contain_text("zone entrance: classes all → person, bicycle")
    expect(asked).to_contain_text("line doorway: turned around")
    second.get_by_role("button", name="Put mine on top of theirs").click()
    save.click()
    expect(second.locator(".zed-said")).to_contain_text("Saved")
    told = second.request.get(f"{fleet.site.url}{settings_path()}/versions").json()
    assert told["settings"]["zones"][0]["labels"] == ["person", "bicycle"]
    assert told["settings"]["lines"][0]["a"] == [0.9, 0.6]
    newest = second.locator("section", has=second.locator("#h-versions")).locator("tbody tr").first
    expect(newest).to_contain_text("turned around")
    back = second.get_by_role("button", name="Bring back").first
    back.click()
    expect(second.get_by_text("Brought back as a new version")).to_be_visible()
    again = second.request.get(f"{fleet.site.url}{settings_path()}/versions").json()
    assert again["versions"][0]["note"].startswith("brought back from version")
    assert again["settings"]["lines"][0]["a"] == [0.6, 0.3]
    for one in windows:
        one.page.context.close()


def settings_path(site: str = "north", device: str = "north-1", camera: str = "door") -> str:
    """Return where a camera's settings are in the operator API."""
    return f"/v1/sites/{site}/devices/{device}/cameras/{camera}/settings"


def test_zones_are_drawn_by_touch_at_phone_width(fleet: Fleet, browser: Browser) -> None:
    """A finger drags a corner; nothing scrolls sideways; every button is large enough."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    context.add_cookies(fleet.cookies)
    window = Window(context, fleet.site.url)
    page = window.open(f"{DOOR}/zones")
    expect(page.locator("[data-corner]")).to_have_count(4)
    assert window.overflow_px() == 0
    box = page.locator("[data-corner='0'] .zed-dot").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = corner(page, 0)
    touch = context.new_cdp_session(page)
    touch.send("Input.dispatchTouchEvent", touching("touchStart", x, y))
    for step in range(1, 6):
        touch.send("Input.dispatchTouchEvent", touching("touchMove", x + 8 * step, y - 4 * step))
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(page.locator(".zed-unsaved summary")).to_have_text("1 unsaved change")
    assert corner(page, 0) != before
    for pill in page.locator(".zed-pills button").all():
        size = pill.bounding_box()
        assert size
        assert size["height"] >= 44
    assert window.complaints == []
    context.close()


def touching(kind: str, x: float, y: float) -> dict[str, object]:
    """Return one touch event of the browser's protocol."""
    return {"type": kind, "touchPoints": [{"x": x, "y": y}]}


def test_from_the_worst_camera_to_a_zone_that_its_device_runs(
    fleet: Fleet, browser: Browser, yard: Path
) -> None:
    """Sign in, find what is worst, see why, look at it, draw a zone, watch it arrive for real."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    window = Window(context, fleet.site.url)
    page = window.open("/")
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{fleet.site.url}/")
    page = window.open("/?q=yard")
    worst = page.locator(".cam").first
    expect(worst).to_contain_text("lens covered", timeout=60_000)
    worst.locator(".name a").click()
    page.wait_for_url("**/cameras/yard-1/gate*")
    why = page.locator(".found")
    expect(why).to_contain_text("Something covers the lens")
    covered = why.get_by_role("listitem").filter(has_text="Something covers the lens")
    expect(covered.get_by_role("link", name="Its events from then on")).to_be_visible()
    page.get_by_role("button", name="Ask for a new picture").click()
    expect(page.locator("#camera image")).to_have_count(1, timeout=60_000)
    page.get_by_role("link", name="Edit zones and lines").click()
    page.wait_for_url("**/zones")
    page.get_by_role("button", name="+ Zone").click()
    page.keyboard.press("Shift+ArrowLeft")
    page.get_by_label("Name").fill("threshold-stone")
    page.get_by_role("button", name="Save", exact=True).click()
    way = page.locator(".way")
    expect(way.locator("[data-step=signed]")).to_contain_text("version 1")
    expect(way.locator("[data-step='at the device'].is-done")).to_have_count(1, timeout=60_000)
    expect(way.locator("[data-step=running].is-done")).to_have_count(1, timeout=60_000)
    runs = yaml.safe_load((yard / "effective.yaml").read_text())
    gate = next(camera for camera in runs["cameras"] if camera["id"] == "gate")
    (zone,) = gate["zones"]
    told = page.request.get(f"{fleet.site.url}{settings_path('yard', 'yard-1', 'gate')}").json()
    assert told["lines"] is None, "what was not drawn is left to the device"
    assert zone["name"] == "threshold-stone"
    assert zone["polygon"][0] == [0.25, 0.3]
    window.picture("journey-running")
    assert window.complaints == []
    assert window.foreign == []
    context.close()


def test_every_page_of_numbers_carries_its_coverage(fleet: Fleet, browser: Browser) -> None:
    """From an hour to 90 days, at phone width: charts drawn, holes named, nothing complained."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.add_cookies(fleet.cookies)
    window = Window(context, fleet.site.url)
    for path, shown in (
        ("speed?range=6h", "the whole way"),
        ("speed?range=1h", "Lost frames"),
        ("counts?range=6h", "entrance: entered"),
        ("counts?range=90d", "By day"),
        ("picture?range=7d", "Now"),
    ):
        page = window.open(f"{DOOR}/{path}")
        expect(page.locator("#camera")).to_contain_text(shown)
        expect(page.locator(".covered")).to_contain_text("%")
        charts = page.locator("[data-chart]")
        expect(charts.locator("canvas")).to_have_count(charts.count())
        assert window.overflow_px() == 0, path
    page = window.open("/sites/north/cameras/north-1/aisle/counts?range=6h")
    expect(page.locator(".covered")).to_contain_text("tampered")
    page.locator("details summary").click()
    expect(page.locator("details tbody tr").first).to_be_visible()
    expect(page.locator(".columns title", has_text="no data").first).to_contain_text("tampered")
    page = window.open("/sites/north/cameras/north-1/dock")
    expect(page.locator(".found")).to_contain_text("connection refused")
    expect(page.locator(".found")).to_contain_text("restart the camera")
    page.get_by_role("link", name="Its events from then on").click()
    page.wait_for_url("**/events?site=north&device=north-1&camera=dock&from=*")
    assert window.complaints == []
    context.close()


def _polygons(count: int) -> list[list[tuple[float, float]]]:
    """Return polygons on a coarse grid, where corners, edges and folds often meet."""
    chance = random.Random(5)
    return [
        [(chance.randrange(9) / 8, chance.randrange(9) / 8) for _ in range(chance.randrange(3, 8))]
        for _ in range(count)
    ]


def _asked(page: Page, call: str, rows: list[object]) -> list[object]:
    """Return what the editor's own geometry answers for every row."""
    found = page.locator("script[type=module]").first.get_attribute("src") or ""
    module = found.rpartition("/")[0] + "/zones-geometry.js"
    script = f"async (rows) => {{ const g = await import('{module}'); return rows.map({call}); }}"
    return page.evaluate(script, rows)


def test_the_browser_judges_shapes_as_the_server_does(window: Window) -> None:
    """A thousand polygons, and settings wrong in every way: the same, in the same words."""
    page = window.open("/account")
    polygons = _polygons(1200)
    judged = _asked(page, "(p) => [g.crossing(p), g.area(p)]", polygons)
    for polygon, (crossed, size) in zip(polygons, judged, strict=True):
        found = crossing(polygon)
        assert (tuple(crossed) if crossed else None) == found, polygon
        assert size == pytest.approx(area(polygon))
    wrong = [_wrong(polygon, n) for n, polygon in enumerate(polygons[:300])]
    told = _asked(page, "(one) => g.complaints(one)", [_json(one) for one in wrong])
    for one, said in zip(wrong, told, strict=True):
        assert said == complaints(one), one
    pairs = list(itertools.pairwise(wrong))
    rows = [[_json(a), _json(b)] for a, b in pairs]
    for (a, b), said in zip(pairs, _asked(page, "([a, b]) => g.changes(a, b)", rows), strict=True):
        assert said == changes(a, b), (a, b)


def _json(settings: CameraSettings) -> object:
    return msgspec.to_builtins(settings)


def _wrong(polygon: list[tuple[float, float]], n: int) -> CameraSettings:
    """Return settings of which nearly everything may be wrong."""
    names = ["entrance", "Tills!", "it's", "a\"b'c", "", "tills", "back\\slash"]
    moved = [(x * (1.2 if n % 7 == 0 else 1), y) for x, y in polygon]
    zone = Zone(
        name=names[n % 7],
        polygon=moved,
        labels=["person"] * (n % 3),
        dwell_s=[None, 30.0, 0.0, 1.5, 90_000.0][n % 5],
        loiter_s=[None, 601.0, 60.0][n % 3],
        heading_deg=[None, 90.0, 400.0][n % 3],
        heading_tolerance_deg=[45.0, 0.0, 181.0, 30.0][n % 4],
        events=n % 2 == 0,
        shelf=n % 5 == 0,
    )
    line = Line(name=names[(n + 3) % 7], a=moved[0], b=moved[1], confirm_s=[0.0, 61.0, 1.5][n % 3])
    return CameraSettings(
        camera="door",
        zones=[zone, Zone(name="tills", polygon=polygon)] if n % 11 else None,
        lines=[line] if n % 4 else [],
        threshold=[None, 0.4, 1.5, 0.0][n % 4],
        labels=[None, [], ["person", "car"]][n % 3],
        off_hours=[None, [], [("22:00", "06:00")], [("22", "06:00")], [("06:00", "06:00")]][n % 5],
    )


def test_a_device_is_asked_tells_its_zones_and_they_become_settings(
    window: Window, fleet: Fleet
) -> None:
    """At a real central: not known, asked for, drawn as the device told them, taken over, saved."""
    there = "/sites/north/cameras/north-1/aisle/zones"
    page = window.open(there)
    expect(page.locator(".own-zone")).to_have_count(0)
    page.get_by_role("button", name="Ask the device for its own").click()
    page.wait_for_url("**/answers/**")
    shelf = {"name": "shelf", "polygon": [[0.1, 0.1], [0.5, 0.1], [0.5, 0.6]]}
    told = {"cameras": [{"id": "aisle", "zones": [shelf], "lines": []}]}
    body = msgspec.json.encode(wire.ConfigAnswer(config=told, documents=[], origins=[]))
    fleet.device.answer(page.url.rsplit("/", 1)[1], body, wire.JSON)
    window.open(there)
    expect(page.locator(".own-zone title")).to_have_text("zone shelf, the device's own")
    page.get_by_role("button", name="Begin with the device's own").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".way [data-step=signed]")).to_contain_text("version")
    window.open(there)
    expect(page.locator(".own-zone")).to_have_count(0)
    expect(page.locator(".zed-pills button")).to_have_text(["▱ shelf"])
    assert window.complaints == []
