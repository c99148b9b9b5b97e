"""A device whose pipeline does not run is never shown as fine."""

import pytest

from vedette.central import rows
from vedette.central.views import CameraRow, DeviceRow
from vedette.wire.messages import CameraHealth, HealthReport, PipelineHealth, State


def report(at_ms: int, *, running: bool) -> HealthReport:
    """Return a health report."""
    pipeline = PipelineHealth(running=running, last_exit="exit status 2")
    return HealthReport(at_ms=at_ms, period_s=30, version="0.1", pipeline=pipeline)


class _Ledger:
    """A ledger that knows nothing."""

    def segments(self, *_place: object) -> list[object]:
        return []


def camera_row(device_state: str, health: HealthReport | None, since_ms: int) -> CameraRow:
    """Return a camera of a device in this state."""
    return _rows(device_state, health, since_ms)[0]


def row(device_state: str, health: HealthReport | None, since_ms: int) -> tuple[str, str, str]:
    """Return state and detail of a camera, and the state of its device."""
    made, device = _rows(device_state, health, since_ms)
    return made.state, made.detail, device.state


def _rows(
    device_state: str, health: HealthReport | None, since_ms: int
) -> tuple[CameraRow, DeviceRow]:
    camera = rows.CameraFacts(
        device="d",
        camera="c",
        name="",
        known_from_ms=0,
        state="ok",
        since_ms=since_ms,
        signs=[],
        detail="",
    )
    device = rows.DeviceFacts(
        device="d",
        site="s",
        state=device_state,
        since_ms=None,
        last_contact_ms=None,
        version="",
        hardware="",
        clock_state="trusted",
        health=None,
        drained_to_ms=None,
        settings=None,
        settings_version=0,
        enrolled_ms=0,
    )
    made = rows.camera_row(camera, device, health, _Ledger())  # pyright: ignore[reportArgumentType]
    return made, rows.device_row(device, health, [made])


def test_a_camera_without_a_pipeline_is_down_and_its_device_degraded() -> None:
    """The camera's own last word was ok, but nobody looks through it any more."""
    state, detail, device = row("ok", report(2_000, running=False), since_ms=1_000)
    assert (state, device) == ("down", "degraded")
    assert detail == "the pipeline does not run: exit status 2"


def test_a_camera_that_spoke_after_the_report_is_as_it_says() -> None:
    """The pipeline was started again; the report is older than that."""
    assert row("ok", report(2_000, running=False), since_ms=3_000)[0] == "ok"


@pytest.mark.parametrize("health", [None, report(2_000, running=True)])
def test_a_running_or_unknown_pipeline_changes_nothing(health: HealthReport | None) -> None:
    """Only what was said counts."""
    assert row("ok", health, since_ms=1_000) == ("ok", "", "ok")


def test_a_dark_device_is_dark_first() -> None:
    """Silence outranks what was said before it."""
    state, detail, device = row("dark", report(2_000, running=False), since_ms=1_000)
    assert (state, detail, device) == ("dark", "", "dark")


def test_advice_is_shown_while_the_device_speaks() -> None:
    """What a person should do about the picture comes from the report; of a dark device nothing."""
    said = CameraHealth(camera="c", state=State.OK, since_ms=1, advice=["Clean the lens."])
    health = HealthReport(
        at_ms=2_000,
        period_s=30,
        version="0.1",
        pipeline=PipelineHealth(running=True, cameras=[said]),
    )
    assert camera_row("ok", health, since_ms=1_000).advice == ["Clean the lens."]
    assert camera_row("dark", health, since_ms=1_000).advice == []
