"""`vedette edge commission --page` on a phone: a real process, a real stream, a real browser."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from accessibility import serious_findings
from playwright.sync_api import Browser, Page, expect

from vedette.edge.commission import load
from vedette.sim import footage
from vedette.sim.closed_world import World, back_and_forth, write_bundle

pytestmark = pytest.mark.browser


class Served(NamedTuple):
    """The page's address, its PIN, and where the device keeps things."""

    url: str
    pin: str
    state: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A device with a camera that shows somebody walking."""
    folder = tmp_path_factory.mktemp("closet")
    write_bundle(folder / "models" / "walkers")
    world = World([back_and_forth(1, y=0.8, start_s=0.0, legs=8, leg_s=0.5)])
    footage.encode(folder / "clip.mp4", world.pictures(4, 10), fps=10, gop_s=1.0)
    config = folder / "edge.yaml"
    zone = "{name: entrance, polygon: [[0.1,0.5],[0.5,0.45],[0.55,0.95],[0.1,0.9]]}"
    config.write_text(
        f"state_dir: {folder / 'state'}\nmodels_dir: {folder / 'models'}\ncameras:\n"
        f"  - {{id: door, name: Front door, source: '{folder / 'clip.mp4'}', loop: true, "
        f"model: walkers, zones: [{zone}]}}\n"
    )
    steps = [word for step in ("view", "focus", "zones", "sample") for word in ("--step", step)]
    process = subprocess.Popen(
        [sys.executable, "-m", "vedette.cli.main", "edge", "commission", "--config", str(config),
         "--page", "--listen", "127.0.0.1:0", "--clear-view", "--samples", "1", *steps],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        url, pin = re.search(r"http://\S+/", said), re.search(r"PIN (\d{3}) (\d{3})", said)
        assert url is not None, said
        assert pin is not None, said
        yield Served(url[0], pin[1] + pin[2], folder / "state")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


def _press(page: Page, name: str) -> None:
    button = page.get_by_role("button", name=name, exact=True)
    button.wait_for(timeout=40_000)
    button.click()


def test_an_installer_goes_through_the_steps_on_a_phone(served: Served, browser: Browser) -> None:
    """PIN, view, live focus, zones, a sample: stored as it was answered, clearly seen on wish."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(served.url)
    page.get_by_label("Six digits").fill(served.pin)
    _press(page, "Continue")
    assert serious_findings(page) == []
    page.get_by_label("Who does it").fill("Ann")
    _press(page, "Begin with Front door")
    expect(page.get_by_text("Is this the view that was agreed?")).to_be_visible(timeout=40_000)
    assert page.locator("#view").get_attribute("data-kind") == "safe"
    assert serious_findings(page) == []
    page.get_by_role("link", name="Show it clearly").click()
    assert page.locator("#view").get_attribute("data-kind") == "clear"
    _press(page, "Yes")
    page.get_by_role("button", name="Done").wait_for(timeout=40_000)
    first = page.locator("#view").get_attribute("src")
    expect(page.locator("#view")).not_to_have_attribute("src", first or "", timeout=40_000)
    expect(page.locator("#words")).to_contain_text("sharpness")
    _press(page, "Done")
    page.get_by_text("Is the picture sharp where it matters?").wait_for(timeout=40_000)
    _press(page, "Yes")
    page.get_by_text("Is every zone and line where it should be?").wait_for(timeout=40_000)
    _press(page, "No")
    page.get_by_text("How many are wrong?").wait_for(timeout=40_000)
    page.get_by_label("A number").fill("0")
    _press(page, "That many")
    page.get_by_text("How many are missing?").wait_for(timeout=40_000)
    page.get_by_label("A number").fill("0")
    _press(page, "That many")
    expect(page.get_by_text("door is stored")).to_be_visible(timeout=40_000)
    wide = page.evaluate("document.documentElement.scrollWidth")
    context.close()
    assert wide <= 390
    record = load(served.state, "door")
    assert record is not None
    assert (record.by, record.confirmed, record.refused) == (
        "Ann", ["view", "focus", "sample"], ["zones"],
    )  # fmt: skip
    assert record.sample is not None
    assert record.sample.pictures == 1
