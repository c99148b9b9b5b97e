"""A real central with its own PostgreSQL, a device with a day of history, and a browser."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import pattern_site
import urllib3
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from small_device import MINUTE_MS, SmallDevice, minute

from tests import prepared
from vedette.central.console import assets
from vedette.sim.faults import free_port
from vedette.wire.messages import (
    Box,
    CameraHealth,
    CameraState,
    Cause,
    CoverageReport,
    EventKind,
    EventReport,
    EvidenceRecord,
    HealthReport,
    PipelineHealth,
    Span,
    SpoolHealth,
    State,
    SystemHealth,
)

PASSWORD = "nine clever otters"
HOUR_MS = 3_600_000
DRAWN = {
    "zones": [{"name": "entrance", "polygon": [[0.1, 0.5], [0.5, 0.45], [0.55, 0.9], [0.1, 0.9]]}],
    "lines": [{"name": "doorway", "a": [0.6, 0.3], "b": [0.9, 0.6]}],
    "threshold": 0.4,
}


def _chromium() -> str | None:
    return os.environ.get("VEDETTE_CHROMIUM") or shutil.which("chromium")


# Per module and not per session: while Playwright runs, this thread has a running event loop, and
# no test elsewhere could start one of its own.


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; the tests that need it skip loudly without it and fail in CI."""
    found = _chromium()
    if not found:
        reason = "no Chromium: apt-get install chromium, or set VEDETTE_CHROMIUM"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with sync_playwright() as playwright:
        started = pattern_site.launch(playwright, found)
        yield started
        started.close()


class Site(NamedTuple):
    """A running central: where it is, how its first administrator came in, what was made."""

    url: str
    setup_link: str
    state: Path


@pytest.fixture(scope="module")
def configured() -> str:
    """What central.yaml says; a module that needs something else overrides it."""
    return "{}\n"


@pytest.fixture(scope="module")
def central(configured: str) -> Iterator[Site]:
    """`vedette central run` as a process, on loopback, with an empty embedded database."""
    folder = Path(tempfile.mkdtemp(prefix="vedette-browser-"))
    folder.chmod(0o755)
    port = free_port()
    config = folder / "central.yaml"
    config.write_text(configured)
    command = [sys.executable, "-m", "vedette.cli.main", "central", "--config", str(config), "run"]
    prepared.lay_out(folder / "central")
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--state", str(folder / "central"), "--listen", f"127.0.0.1:{port}"],
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        link = _wait_for_link(process, log)
        if assets.missing_libraries():
            reason = "htmx and uPlot could not be fetched: no npm, or no network"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
        yield Site(f"http://127.0.0.1:{port}", link, folder / "central")
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=40)
        process.kill()
        process.wait(timeout=10)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for_link(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the one-time link that central prints once it serves."""
    for _ in range(600):
        found = re.search(r"https?://\S+/setup/\S+", log.read_text())
        if found and _serves(found[0]):
            return found[0]
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)
            break
    raise AssertionError(f"central did not come up:\n{log.read_text()[-3000:]}")


def _serves(link: str) -> bool:
    root = link.split("/setup/", maxsplit=1)[0]
    try:
        return urllib3.request("GET", f"{root}/-/healthz", retries=False, timeout=2).status == 200
    except urllib3.exceptions.HTTPError:
        return False


class Window:
    """A browser window that remembers what went wrong in it."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.url = url
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.page.on("console", lambda m: self._complain(m.type, m.text))
        self.page.on("pageerror", lambda e: self._complain("error", str(e)))
        self.page.on("request", lambda r: self._note(r.url))

    def _complain(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.complaints.append(f"{kind}: {text}")

    def _note(self, url: str) -> None:
        if not url.startswith((self.url, "data:", "about:")):
            self.foreign.append(url)

    def open(self, path: str) -> Page:
        """Open a page of the site and wait until it is whole."""
        self.page.goto(self.url + path)
        self.page.wait_for_load_state("load")
        return self.page

    def picture(self, name: str) -> None:
        """Keep a picture of the page where VEDETTE_SCREENSHOTS names a folder."""
        folder = os.environ.get("VEDETTE_SCREENSHOTS")
        if folder:
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    def overflow_px(self) -> int:
        """Return by how much the page is wider than its window."""
        return self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )


class Fleet(NamedTuple):
    """What the tests find in central, and the way in."""

    site: Site
    cookies: list[dict[str, object]]
    device: SmallDevice
    claim: str
    now_ms: int


@pytest.fixture(scope="module")
def fleet(central: Site, browser: Browser) -> Fleet:
    """An administrator set up on the first-run page, a site, a device with a day of history."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(central.setup_link)
    page.get_by_label("Password, 10 characters or more").fill(PASSWORD)
    page.get_by_label("The same again").fill(PASSWORD)
    page.get_by_role("button", name="Set the password").click()
    page.wait_for_url(f"{central.url}/")
    csrf = page.locator("meta[name=csrf]").get_attribute("content") or ""
    headers = {"X-CSRF-Token": csrf}
    ask = context.request
    site = {"site": "north", "name": "North store", "time_zone": "Europe/Oslo"}
    assert ask.post(f"{central.url}/v1/sites", data=site, headers=headers).status == 201
    made = ask.post(
        f"{central.url}/v1/claims", data={"site": "north", "device": "north-1"}, headers=headers
    )
    assert made.status == 201, made.text()
    claim = made.json()["token"]
    device = SmallDevice(central.url, claim)
    now_ms = round(time.time() * 1000)
    _tell_a_day(device, now_ms)
    there = f"{central.url}/v1/sites/north/devices/north-1/cameras/door/settings"
    assert ask.put(there, data=DRAWN, headers=headers).status == 200
    cookies = context.cookies()
    context.close()
    return Fleet(central, cookies, device, claim, now_ms)


def _tell_a_day(device: SmallDevice, now_ms: int) -> None:
    """Have a camera with two gaps, one that is covered now, one that is down now."""
    first = (now_ms - 23 * HOUR_MS) // MINUTE_MS * MINUTE_MS
    count = (now_ms - first) // MINUTE_MS
    messages = []
    for number in range(count):
        start = first + number * MINUTE_MS
        if not 400 <= number < 460:
            messages.append(minute("door", start, number))
        if number < count - 120:
            messages.append(minute("aisle", start, number))
        if count - 300 < number < count - 45:
            messages.append(minute("dock", start, number))
    down_from, down_to = first + 400 * MINUTE_MS, first + 460 * MINUTE_MS
    gap = Span(start_ms=down_from, end_ms=down_to, cause=Cause.PIPELINE_STOPPED, detail="killed")
    messages.append(("coverage.v1", down_to, CoverageReport(camera="door", spans=[gap])))
    covered_at = first + (count - 120) * MINUTE_MS
    tampered = Span(
        start_ms=covered_at, end_ms=now_ms - 20_000, cause=Cause.TAMPERED, detail="Covered"
    )
    messages.append(("coverage.v1", now_ms, CoverageReport(camera="aisle", spans=[tampered])))
    lost_at = first + (count - 45) * MINUTE_MS
    messages += [
        _state("door", first, State.OK),
        _state("aisle", covered_at, State.TAMPERED, Cause.TAMPERED, ["Covered", "ImageTooDark"]),
        _state("dock", lost_at, State.DOWN, Cause.CAMERA_DOWN, [], "connection refused"),
    ]
    messages += _events(now_ms)
    messages.append(("health.v1", now_ms, _health(now_ms)))
    device.send(now_ms, *messages)


def _state(  # noqa: PLR0917
    camera: str, at_ms: int, state: State, cause: Cause | None = None,
    signs: list[str] | None = None, detail: str = "",
) -> tuple[str, int, CameraState]:  # fmt: skip
    body = CameraState(
        camera=camera, at_ms=at_ms, noticed_ms=at_ms, state=state, cause=cause,
        signs=signs or [], detail=detail,
    )  # fmt: skip
    return "camera_state.v1", at_ms, body


def _events(now_ms: int) -> list[tuple[str, int, object]]:
    made: list[tuple[str, int, object]] = []
    for n in range(70):
        at_ms = now_ms - 40_000 - n * 11 * MINUTE_MS
        body = EventReport(
            event=f"ev-{n:04d}", camera="door", kind=EventKind.LINE_CROSSED, at_ms=at_ms,
            where="doorway", direction="forward", label="person", confidence=0.81, track=n,
            boxes=[Box(xyxy=(210, 130, 322, 430), label="person", confidence=0.81, track=n)],
            picture_px=(768, 576), model="centernet@1", latency_ms=171.0,
            evidence="evd-0" if n == 0 else "",
        )  # fmt: skip
        made.append(("event.v1", at_ms, body))
    record = EvidenceRecord(
        evidence="evd-0", event="ev-0000", camera="door",
        wanted_ms=(now_ms - 44_000, now_ms - 36_000), actual_ms=(now_ms - 42_000, now_ms - 36_000),
        shortfall="the ring held only 2 s before the event", sha256="ab" * 32, bytes=812_345,
        codec="h264", picture_px=(768, 576), poster="one person crossing the line",
    )  # fmt: skip
    made.append(("evidence.v1", now_ms, record))
    return made


def _health(now_ms: int) -> HealthReport:
    cameras = [
        CameraHealth(camera="door", state=State.OK, since_ms=now_ms - HOUR_MS, rate_fps=4.9),
        CameraHealth(camera="aisle", state=State.TAMPERED, since_ms=now_ms - HOUR_MS, rate_fps=5.0),
        CameraHealth(camera="dock", state=State.DOWN, since_ms=now_ms - HOUR_MS),
    ]
    return HealthReport(
        at_ms=now_ms,
        period_s=30,
        version="0.1.0",
        system=SystemHealth(temperatures_c={"cpu": 61.5}, throttle_flags=[]),
        pipeline=PipelineHealth(running=True, cameras=cameras),
        spool=SpoolHealth(depth={"live": 2}),
        config_version="",
    )


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> str:
    """Both themes."""
    return request.param


@pytest.fixture
def window(fleet: Fleet, browser: Browser) -> Iterator[Window]:
    """A window of a signed-in administrator, 1280 wide, light."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.add_cookies(fleet.cookies)
    yield Window(context, fleet.site.url)
    context.close()
