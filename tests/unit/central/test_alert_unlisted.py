"""Which cameras a device has no more, by its newest report; clocks of devices may be wrong."""

import msgspec
import pytest

from vedette.central.alerting.unlisted import is_gone
from vedette.wire.messages import CameraHealth, HealthReport, PipelineHealth, State

NOW = 1_772_438_400_000
HOUR = 3_600_000


def told(*cameras: str, at: int = NOW, began: int | None = NOW - HOUR, runs: bool = True) -> bytes:
    """Return a report of a pipeline that has these cameras."""
    listed = [CameraHealth(camera=name, state=State.OK, since_ms=0) for name in cameras]
    of = PipelineHealth(running=runs, since_ms=began, cameras=listed)
    return msgspec.msgpack.encode(HealthReport(at_ms=at, period_s=30, version="1", pipeline=of))


@pytest.mark.parametrize(
    ("report", "since_ms", "expected"),
    [
        pytest.param(told("b"), NOW - 2 * HOUR, True, id="taken away before it began anew"),
        pytest.param(told("a", "b"), NOW - 2 * HOUR, False, id="it is there"),
        pytest.param(told("b"), NOW - HOUR + 900, False, id="it told at the beginning: cannot run"),
        pytest.param(told("b"), NOW - HOUR - 900, False, id="it may have told at the beginning"),
        pytest.param(told(), NOW - 2 * HOUR, False, id="none is listed yet"),
        pytest.param(told("b", runs=False), NOW - 2 * HOUR, False, id="nothing runs"),
        pytest.param(told("b", began=None), NOW - 2 * HOUR, False, id="of an older release"),
        pytest.param(told("b", at=NOW - HOUR), NOW - 2 * HOUR, False, id="the report is old"),
        pytest.param(
            told("b", at=NOW + 9 * HOUR, began=NOW + 8 * HOUR), NOW - 2 * HOUR, True,
            id="its clock is fast",
        ),
        pytest.param(
            told("b", began=NOW + HOUR), NOW - 2 * HOUR, False, id="its clock was set back"
        ),
        pytest.param(b"\xc1", NOW - 2 * HOUR, False, id="of a release yet to come"),
    ],
)  # fmt: skip
def test_a_camera_is_gone_only_where_nothing_else_explains_it(
    report: bytes, since_ms: int, expected: bool
) -> None:
    """Whoever cannot be sure leaves the trouble as it stands."""
    assert is_gone("a", since_ms, report, NOW) is expected
