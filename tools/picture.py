"""Take the README's picture: the fleet page of a demo that runs, as `docs/pictures/fleet.png`.

    vedette demo --port 8090                                        in one terminal
    python tools/picture.py http://127.0.0.1:8090 PASSWORD          in another, once it has a story

Needs Chromium, as the browser tests do.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

TARGET = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "fleet.png"
MAX_BYTES = 250_000
SIZE = {"width": 1180, "height": 400}


def main(url: str, password: str) -> int:
    """Sign in, open the fleet page, take the picture; 1 where it is too large."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(f"{url}/sign-in")
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", password)
        page.click("button[type=submit]")
        page.goto(url)
        page.wait_for_load_state("load")
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=TARGET, full_page=True)
        browser.close()
    size = TARGET.stat().st_size
    print(f"{TARGET.name}: {size} bytes")
    return 0 if size <= MAX_BYTES else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
