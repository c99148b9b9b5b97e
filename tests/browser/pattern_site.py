"""The pages of `/-/patterns` in a browser without any server: requests are answered in process."""

from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Playwright, Route

from vedette.central.console import assets
from vedette.central.console.headers import PAGE_HEADERS
from vedette.central.console.patterns import pattern_html
from vedette.central.console.render import Looker

ORIGIN = "http://localhost:9"
LOOKER = Looker(username="ada", role="admin", csrf="csrf-token")

CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def launch(playwright: Playwright, chromium: str) -> Browser:
    """Start Debian's Chromium, which asks nobody for anything."""
    return playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGS)


def answer(route: Route) -> None:
    """Answer one request from templates and assets; anything else is 404."""
    path = urlsplit(route.request.url).path
    if path == "/events-stream":
        route.fulfill(status=200, body="retry: 60000\n\n", content_type="text/event-stream")
        return
    if path.startswith("/static/"):
        found = assets.asset(path.split("/", 3)[3])
        if found:
            route.fulfill(status=200, body=found[0], content_type=found[1])
            return
    if path.startswith("/-/patterns"):
        name = path.removeprefix("/-/patterns").strip("/")
        part = route.request.headers.get("hx-request") == "true"
        html = pattern_html(name, LOOKER, part=part)
        if html:
            route.fulfill(
                status=200, body=html, content_type="text/html; charset=utf-8", headers=PAGE_HEADERS
            )
            return
    route.fulfill(status=404, body="")


def context(browser: Browser, *, width: int, dark: bool, height: int = 900) -> BrowserContext:
    """Return a browser window whose every request `answer` answers."""
    made = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        device_scale_factor=1,
    )
    made.route("**/*", answer)
    return made
