"""Write reference pictures of every console page into docs/pictures/console, and the page of them.

    python tools/console_pictures.py [NAME ...]

Each file shows one page of `/-/patterns` at two widths and two themes, side by side: 1280 and 390
pixels, light and dark. Pages come from templates and made-up views, so no server and no database
is needed; Chromium is. WebP keeps them small. Run it after changing how a page looks, and look.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from playwright.sync_api import Page, sync_playwright

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from pattern_site import ORIGIN, context, launch  # noqa: E402 - found by the line above

from vedette.central.console import assets  # noqa: E402
from vedette.central.console.patterns import NAMES  # noqa: E402

OUT: Final = ROOT / "docs" / "pictures" / "console"
INDEX: Final = ROOT / "docs" / "console-pictures.md"
MAX_HEIGHT_PX: Final = 1800
QUALITY: Final = 38
SCALE: Final = 0.6
"""Small enough to be kept for every state of every page, large enough to see what is wrong."""

_GROUND: Final = 128
_GAP_PX: Final = 12
_VIEWS: Final = ((1280, False), (1280, True), (390, False), (390, True))


def shot(page: Page, name: str) -> np.ndarray:
    """Return a page as uint8 BGR (h, w, 3), its first `MAX_HEIGHT_PX` rows at most."""
    width = (page.viewport_size or {"width": 1280})["width"]
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{ORIGIN}/-/patterns/{name}")
    page.wait_for_load_state("load")
    page.evaluate("document.fonts.ready")
    high = int(page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size({"width": width, "height": min(max(high, 300), MAX_HEIGHT_PX)})
    found = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return found


def sheet(parts: list[np.ndarray]) -> np.ndarray:
    """Return pictures side by side on grey."""
    high = max(part.shape[0] for part in parts)
    made: list[np.ndarray] = []
    for part in parts:
        ground = np.full((high, part.shape[1] + _GAP_PX, 3), _GROUND, np.uint8)
        ground[: part.shape[0], : part.shape[1]] = part
        made.append(ground)
    return np.hstack(made)


def index(names: list[str]) -> str:
    """Return the page that shows them all."""
    lines = [
        "# How the console looks",
        "",
        "Every page in every state, wide and narrow, light and dark, from made-up data. Written by",
        "`make pictures`; what a page is for stands in [the console](console.md).",
    ]
    for name in names:
        lines += ["", f"## {name}", "", f"![{name}](pictures/console/{name}.webp)"]
    return "\n".join(lines) + "\n"


def main(wanted: list[str]) -> int:
    """Write the pictures; return 0."""
    assets.fetch_libraries()
    OUT.mkdir(parents=True, exist_ok=True)
    names = wanted or list(NAMES)
    chromium = os.environ.get("VEDETTE_CHROMIUM") or shutil.which("chromium")
    if not chromium:
        print("no Chromium: apt-get install chromium, or set VEDETTE_CHROMIUM", file=sys.stderr)
        return 2
    with sync_playwright() as playwright:
        browser = launch(playwright, chromium)
        windows = [context(browser, width=width, dark=dark).new_page() for width, dark in _VIEWS]
        for name in names:
            parts = [shot(window, name) for window in windows]
            whole = cv2.resize(sheet(parts), None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_AREA)
            options = [int(cv2.IMWRITE_WEBP_QUALITY), QUALITY]
            cv2.imwrite(str(OUT / f"{name}.webp"), whole, options)
            print(name, flush=True)
        browser.close()
    if not wanted:
        for old in OUT.glob("*.webp"):
            if old.stem not in names:
                old.unlink()
        INDEX.write_text(index(names))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
