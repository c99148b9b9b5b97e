"""The camera matrix and the inventory that it stands on: what counts for what, and how surely."""

from collections import defaultdict

import pytest

from vedette.central import inventory
from vedette.central.inventory import Item
from vedette.central.matrix import Counts, add_time, kind_at, rates
from vedette.central.views import Segment
from vedette.wire.messages import CameraHealth, State

HOUR_MS = 3_600_000
OLD = Item(device="d", camera="c", since_ms=100, make="Axis", model="P1", firmware="1.0")
NEW = Item(device="d", camera="c", since_ms=500, make="Axis", model="P1", firmware="2.0")


def health(**said: object) -> CameraHealth:
    """Return what a camera says of itself."""
    return CameraHealth(camera="c", state=State.OK, since_ms=0, **{"codec": "h264", **said})


def test_time_counts_for_what_the_camera_was_then():
    """A segment over a firmware change is cut there; time before the first word is the first's."""
    counted = defaultdict(Counts)
    strip = [
        Segment(start_ms=0, end_ms=600),
        Segment(start_ms=600, end_ms=700, cause="CAMERA_DOWN"),
        Segment(start_ms=700, end_ms=800, cause="AWAITING"),
    ]
    add_time(counted, ("d", "c"), strip, [OLD, NEW])
    assert counted["Axis", "P1", "1.0"].observed_ms == 500
    assert counted["Axis", "P1", "2.0"].observed_ms == 100
    assert counted["Axis", "P1", "2.0"].causes_ms == {"CAMERA_DOWN": 100}
    assert kind_at([], 5) == ("", "", "")


def test_too_little_time_gives_no_rate_and_says_so():
    """A day without a failure is no proof of a good camera."""
    row = rates(("Axis", "P1", "1"), Counts(observed_ms=24 * HOUR_MS))
    assert row.failures.per_day is None
    assert row.mtbf_h is None
    assert row.mtbf_low_h is None
    assert row.verdict == "too little to tell: 24.0 of 168 hours observed"


def test_no_failure_is_fewer_than_and_never_zero_for_sure():
    """1,000 hours without a failure: at least 271 hours between two, and no upper bound."""
    row = rates(("Axis", "P1", "1"), Counts(observed_ms=1000 * HOUR_MS))
    assert row.failures.per_day == 0.0
    assert row.failures.high == pytest.approx(3.689 / (1000 / 24), abs=1e-4)
    assert row.mtbf_h is None
    assert row.mtbf_low_h == pytest.approx(1000 / 3.689, abs=0.1)
    assert row.verdict == "no failure seen; at least 271 h between two (95 %)"


def test_rates_stand_beside_their_exposure_and_interval():
    """Ten failures in 1,000 hours: 100 h between two, 54 to 209."""
    counts = Counts(
        observed_ms=1000 * HOUR_MS, causes_ms={"CAMERA_DOWN": 250 * HOUR_MS}, down=7, tampered=3
    )
    row = rates(("", "", ""), counts)
    assert row.accountable_h == 1250
    assert row.mtbf_h == 100
    assert (round(row.mtbf_low_h or 0), round(row.mtbf_high_h or 0)) == (54, 209)
    assert row.gap_share == {"CAMERA_DOWN": 0.2}
    assert (row.down.events, row.tampered.events, row.failures.events) == (7, 3, 10)
    assert row.verdict == ""


def test_silence_is_no_change_and_another_value_is():
    """A camera that does not answer ONVIF after a restart is still the one that it was."""
    first = inventory.read(
        "d", health(make="Axis", firmware="1.0", picture_px=(640, 480)), 10, None
    )
    assert (first.since_ms, first.width_px) == (10, 640)
    silent = inventory.read("d", health(rate_fps=4.9), 20, first)
    assert (silent.since_ms, silent.make, silent.seen_ms) == (10, "Axis", 20)
    updated = inventory.read("d", health(make="Axis", firmware="1.1"), 30, silent)
    assert (updated.since_ms, updated.firmware, updated.width_px) == (30, "1.1", 640)


def test_what_a_camera_says_is_kept_short_and_harmless():
    """Control characters, endless names and impossible numbers go no further."""
    said = health(make="A\x1b[2J" + "x" * 500, picture_px=(-1, 10**9), announced_fps=1e12)
    item = inventory.read("d", said, 10, None)
    assert "\x1b" not in item.make
    assert len(item.make) == 120
    assert (item.width_px, item.height_px, item.announced_fps) == (None, None, None)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("rtsp://10.0.0.9/live", "rtsp"),
        ("/dev/video0", "usb"),
        ("clip.mp4", "file"),
        ("gst:v4l2src", "gst"),
        ("", ""),
    ],
)
def test_how_a_camera_is_reached_is_one_word(source, kind):
    """Of its address without credentials."""
    assert inventory.kind_of(source) == kind
