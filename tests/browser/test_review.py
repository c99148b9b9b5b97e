"""Review in a real browser: by keys, blind, on a phone, and back again."""

import cv2
import numpy as np
import pytest
from accessibility import serious_findings
from conftest import Fleet, Window
from playwright.sync_api import Page, expect

from vedette.wire.messages import Box
from vedette.wire.updates import Disagreement, ShadowReport

pytestmark = pytest.mark.browser

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.fixture(scope="module")
def waiting(fleet: Fleet) -> None:
    """Four pictures in which only the model in use sees somebody; one has no picture."""
    street = np.full((240, 320, 3), 120, np.uint8)
    cv2.rectangle(street, (100, 60), (150, 200), (40, 40, 200), cv2.FILLED)
    jpeg = cv2.imencode(".jpg", street)[1].tobytes()
    now_ms = fleet.now_ms
    found = Box(xyxy=(200.0, 160.0, 250.0, 300.0), label="person", confidence=0.9)
    told = [
        Disagreement(
            disagreement=f"dis-{number}",
            rollout="people-2",
            slot="people",
            camera="door",
            at_ms=now_ms - 5_000,
            a=A,
            b=B,
            picture_px=(640, 480),
            boxes_a=[found],
            picture=jpeg if number else b"",
            crop_px=(100, 100, 420, 340) if number else None,
            withheld="" if number else "the site's policy lets no review frames leave",
        )
        for number in range(4)
    ]
    report = ShadowReport(
        rollout="people-2", slot="people", camera="door", a=A, b=B,
        start_ms=now_ms - 300_000, end_ms=now_ms, frames=600, differing=60,
    )  # fmt: skip
    fleet.device.send(
        now_ms,
        ("shadow.v1", now_ms, report),
        *(("disagreement.v1", now_ms, one) for one in told),
    )


def judged(page: Page, count: int) -> None:
    """Wait until the page says how many were judged."""
    expect(page.locator(".review-progress b")).to_have_text(str(count))


@pytest.mark.usefixtures("waiting")
def test_pictures_are_judged_by_keys_and_taken_back(window: Window) -> None:
    """From the list to the first picture, one verdict a key, the last one back, to the end."""
    page = window.open("/review")
    expect(page.locator("main")).to_contain_text("10.0 % differ")
    assert serious_findings(page) == []
    page.get_by_role("link", name="Review", exact=True).last.click()
    expect(page.locator(".review-scene")).to_have_count(2)
    expect(page.locator(".review-scene image").first).to_be_visible()
    assert page.locator(".review-scene .mark").count() == 1, "one side sees nobody"
    assert "incumbent" not in page.content()
    assert serious_findings(page) == []
    window.picture("review")
    page.keyboard.press("b")
    judged(page, 1)
    page.keyboard.press("u")
    judged(page, 0)
    expect(page.get_by_role("status").first).to_contain_text("Taken back")
    for count, key in enumerate(("a", "n", "Space"), 1):
        page.keyboard.press(key)
        judged(page, count)
    expect(page.locator("main")).to_contain_text("No picture: the site's policy")
    page.set_viewport_size({"width": 390, "height": 844})
    assert window.overflow_px() == 0
    page.get_by_role("button", name="Can't tell").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Nothing waits for you")
    assert window.overflow_px() == 0
    assert window.complaints == []
    assert window.foreign == []
