"""How far settings are on their way, and what differs between two versions, in words."""

import msgspec
import pytest

from vedette.central.camera_settings import Version, progress
from vedette.central.rows import DeviceFacts
from vedette.central.settings_words import changes
from vedette.wire.messages import HealthReport, PipelineHealth
from vedette.wire.signed import CameraSettings, Line, Zone

NOW_MS = 1_700_000_000_000
SAVED = Version(
    version=7, at_ms=NOW_MS - 60_000, actor="ada", note="", changes=[],
    settings=CameraSettings(camera="door"),
)  # fmt: skip
SQUARE = [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9)]


def device(state: str = "ok") -> DeviceFacts:
    """Return a device that was heard 12 s ago."""
    return DeviceFacts(
        device="north-1", site="north", state=state, since_ms=None, last_contact_ms=NOW_MS - 12_000,
        version="", hardware="", clock_state="", health=None, drained_to_ms=None, settings=None,
        settings_version=7, enrolled_ms=0,
    )  # fmt: skip


def report(config: str, runs: int | None, **more: object) -> HealthReport:
    """Return what a device says of its settings."""
    pipeline = {"running": True, "settings_version": runs} | more
    return HealthReport(
        at_ms=NOW_MS - 5_000, period_s=30, version="", config_version=config,
        pipeline=msgspec.convert(pipeline, PipelineHealth),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "said", "there", "runs", "words"),
    [
        ("ok", None, "waiting", "waiting", "last heard 12 s ago"),
        ("never", None, "waiting", "waiting", "never heard from"),
        ("dark", report("6", 6), "waiting", "waiting", "when it is back"),
        ("ok", report("7", 6), "done", "waiting", "starts anew"),
        ("ok", report("7", 7), "done", "done", "counts by it"),
        ("ok", report("8", 8), "done", "done", "counts by it"),
        ("ok", report("7", 7, running=False, last_exit="signal 9"), "done", "waiting", "signal 9"),
        ("dark", report("7", 7), "done", "unknown", "now the device is dark"),
        ("ok", report("7", None, since_ms=NOW_MS - 61_000), "done", "waiting", "starts anew"),
        ("ok", report("7", None, since_ms=NOW_MS - 30_000), "done", "done", "counts by it"),
        ("ok", report("sim-1", None), "waiting", "waiting", "next contact"),
    ],
)
def test_nothing_is_called_running_before_the_device_said_so(
    state: str, said: HealthReport | None, there: str, runs: str, words: str
) -> None:
    """Saved and signed are central's own; the rest is what the device reported last."""
    steps = progress(SAVED, device(state), said, NOW_MS)
    assert [step.state for step in steps] == ["done", "done", there, runs]
    assert any(words in step.text for step in steps)


def test_a_refusal_of_the_device_is_shown_in_its_words() -> None:
    """And one that it told before this version was saved is not of this version."""
    refusing = msgspec.structs.replace(report("6", 6), problems=["settings refused: no such class"])
    assert progress(SAVED, device(), refusing, NOW_MS)[2].state == "refused"
    old = msgspec.structs.replace(refusing, at_ms=SAVED.at_ms - 1)
    assert progress(SAVED, device(), old, NOW_MS)[2].state == "waiting"


def test_every_difference_is_said() -> None:
    """Added, taken away, moved, turned, and each parameter with its unit."""
    before = CameraSettings(
        camera="door",
        zones=[Zone(name="a", polygon=SQUARE, dwell_s=30), Zone(name="b", polygon=SQUARE)],
        lines=[Line(name="l", a=(0, 0), b=(1, 1))],
    )
    after = CameraSettings(
        camera="door",
        zones=[
            Zone(name="a", polygon=SQUARE[:3], labels=["person"]),
            Zone(name="c", polygon=SQUARE),
        ],
        lines=[Line(name="l", a=(1, 1), b=(0, 0), confirm_s=1.5)],
        threshold=0.4,
        off_hours=[("22:00", "06:00")],
    )
    assert changes(before, after) == [
        "zone b taken away",
        "zone a: outline moved (4 → 3 corners), classes all → person, long stay 30 s → off",
        "zone c added",
        "line l: turned around, confirmation 0 s → 1.5 s",
        "threshold as the device has it → 0.4",
        "off hours as the device has them → 22:00-06:00",
    ]
    assert changes(after, after) == []
    assert changes(None, CameraSettings(camera="door", zones=[])) == [
        "no zones, whatever the device has"
    ]
    assert changes(before, CameraSettings(camera="door", lines=before.lines)) == [
        "zones are left to the device"
    ]
