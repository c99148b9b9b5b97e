"""The registry in a real browser: empty, then a version that fails, is withdrawn and comes back."""

import hashlib

import msgspec
import pytest
from conftest import Window
from playwright.sync_api import expect

from vedette.wire.evaluation import (
    CameraDay,
    Confused,
    DataSet,
    EvaluationRecord,
    HardwareTimes,
    StepTime,
    Tally,
    manifest_digest,
)

pytestmark = pytest.mark.browser

MANIFEST = {
    "format": 1, "name": "door-watch", "version": "1.4.0", "model": "model.onnx",
    "files": {"model.onnx": {"sha256": "0" * 64, "bytes": 3_700_000}}, "labels": ["person"],
    "preprocess": {"size": [416, 416]}, "head": {"kind": "yolox", "classes": 1},
}  # fmt: skip


def record(digest: str) -> EvaluationRecord:
    """Forty camera-days with a quarter of the persons missed, and times of one machine."""
    step = StepTime(runs=100, p50_ms=30, p95_ms=40, p99_ms=50, p95_low_ms=35, p95_high_ms=48)
    return EvaluationRecord(
        digest=digest, at_ms=1,
        data=DataSet(name="doors", sha256=hashlib.sha256(b"d").hexdigest(), pictures=400),
        days=[CameraDay(site="north", camera=f"door-{n}", day="2026-05-17", pictures=10,
                        tallies={"person": Tally(30, 1, 10)}) for n in range(40)],
        confusion=[Confused("person", "person", 1200), Confused("", "person", 40),
                   Confused("person", "", 400)],
        hardware=[HardwareTimes(hardware="Jetson", steps={"inference": step}, load_s=2.0,
                                golden_ok=True)],
    )  # fmt: skip


def test_a_version_is_looked_at_withdrawn_and_allowed_again(window: Window) -> None:
    """Never an empty page; gates in words and drawn; by keyboard alone; on a phone."""
    page = window.open("/models")
    expect(page.locator("main")).to_contain_text("No model is registered yet")
    csrf = page.locator("meta[name=csrf]").get_attribute("content") or ""
    digest = manifest_digest(msgspec.json.encode(MANIFEST))
    ask, headers = page.context.request, {"X-CSRF-Token": csrf}
    made = ask.post(
        f"{window.url}/v1/models/versions", data={"manifest": MANIFEST}, headers=headers
    )
    assert made.status == 201, made.text()
    sent = ask.post(
        f"{window.url}/v1/models/door-watch/versions/{digest}/evaluations",
        data=msgspec.to_builtins(record(digest)), headers=headers,
    )  # fmt: skip
    assert sent.status == 201, sent.text()

    window.open("/models")
    page.get_by_role("link", name="1.4.0").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("door-watch 1.4.0")
    row = page.get_by_role("row").filter(has_text="at most").filter(has_text="0.900")
    expect(row).to_contain_text("fail")
    expect(row.locator("svg.interval")).to_be_visible()
    expect(page.locator(".confusion")).to_contain_text("1,200")
    window.picture("model-version")

    page.get_by_role("button", name="Withdraw this version").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Withdrawn")
    page.get_by_role("button", name="Allow it again").click()
    expect(page.get_by_role("status")).to_contain_text("may be used again")

    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("/models", "/models/door-watch", f"/models/door-watch/{digest}"):
        window.open(path)
        assert window.overflow_px() == 0, path
    assert window.complaints == []
    assert window.foreign == []
