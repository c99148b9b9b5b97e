"""Labels as they come out of a printer: a camera reads each code, no text is cut off."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser

from vedette.edge.labels import sheet

pytestmark = pytest.mark.browser

CAMERAS = [("door", "Front door"), ("yard", "Yard, over the loading ramp, second from the left")]


@pytest.mark.parametrize("language", ["de", "fr"])
def test_a_phone_reads_every_code_and_no_words_are_cut(
    browser: Browser, tmp_path: Path, language: str
) -> None:
    """Each label is photographed and its code decoded; its words fit into its 93 × 67 mm."""
    labels = sheet.for_device("lisbon-3", "closet-1", CAMERAS, name="Box in the closet")
    central = "https://vedette.branches.example.com"
    file = tmp_path / "labels.html"
    file.write_text(
        sheet.sheet(labels, language=language, central=central, contact="+351 21 000 0000")
    )
    page = browser.new_page(viewport={"width": 900, "height": 1200}, device_scale_factor=3)
    page.goto(file.as_uri())
    sections = page.locator("section")
    assert sections.count() == len(labels)
    for at, label in enumerate(labels):
        section = sections.nth(at)
        assert section.evaluate("e => e.scrollHeight <= e.clientHeight + 1"), label
        shot = cv2.imdecode(np.frombuffer(section.screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE)
        text, _, _ = cv2.QRCodeDetector().detectAndDecode(shot)
        assert text == sheet.address(central, label.path)
    page.close()
