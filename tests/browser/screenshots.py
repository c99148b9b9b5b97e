"""Take pictures of every pattern page at two widths and two themes, into a folder git ignores.

    python tests/browser/screenshots.py [NAME ...]

Without names all pages are taken. Prints whatever the browser's console said.
"""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parent))

from pattern_site import ORIGIN, context, launch

from vedette.central.console import assets
from vedette.central.console.patterns import NAMES

OUT = Path(__file__).resolve().parents[2] / "build" / "screenshots"


def main(names: list[str]) -> int:
    """Take the pictures; return 1 where the browser complained about anything."""
    assets.fetch_libraries()
    OUT.mkdir(parents=True, exist_ok=True)
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = launch(playwright, "/usr/bin/chromium")
        for dark in (False, True):
            for width in (1280, 390):
                window = context(browser, width=width, dark=dark)
                page = window.new_page()
                page.on("console", lambda said: complaints.append(f"{said.type}: {said.text}"))
                page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
                for name in names or ["", *NAMES]:
                    page.goto(f"{ORIGIN}/-/patterns/{name}")
                    page.wait_for_load_state("load")
                    theme = "dark" if dark else "light"
                    page.screenshot(
                        path=OUT / f"{name or 'patterns'}-{width}-{theme}.png",
                        full_page=name != "fleet-wide",
                    )
                    wide = page.evaluate("document.documentElement.scrollWidth")
                    if wide > width:
                        complaints.append(f"{name or 'patterns'} is {wide} wide at {width}")
                window.close()
        browser.close()
    for line in dict.fromkeys(complaints):
        print(line)
    print(f"pictures are in {OUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
