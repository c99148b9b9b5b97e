"""What the doctor thinks of what it saw; looking itself is in the integration tests."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from vedette.clock import ManualClock, wall_ms
from vedette.edge.doctor import Finding, Sighting, Verdict, worst
from vedette.edge.doctor.camera import judge_stream
from vedette.edge.doctor.machine import disk, judge_health, judge_room, judge_wall_clock
from vedette.edge.doctor.models import demand, judge_load, judge_speed, model_findings
from vedette.edge.models import LoadedModel, Models
from vedette.edge.settings import Camera, EdgeConfig, EvidenceSettings, Tier
from vedette.edge.timekeeper import BUILD_AT
from vedette.errors import RunFailed
from vedette.inference.model import Model
from vedette.wire.messages import SystemHealth

CAMERA = Camera(id="door", source="rtsp://u:secret@192.0.2.7/1", max_fps=5)
GOOD = Sighting(
    codec="h264",
    picture_px=(1280, 720),
    pictures=30,
    rate_fps=5.0,
    keyframe_s=2.0,
    kbit_s=1_000.0,
    first_picture_s=0.4,
)


def verdicts(found: list[Finding]) -> dict[str, Verdict]:
    """Return the verdict per check."""
    return {finding.check: finding.verdict for finding in found}


def test_a_good_stream_is_fine_in_every_point() -> None:
    """Nothing is warned of where nothing is wrong."""
    found = judge_stream(CAMERA, EvidenceSettings(), GOOD)
    assert verdicts(found) == {"picture": Verdict.OK, "keyframes": Verdict.OK}


def test_no_picture_fails_and_the_password_is_not_told() -> None:
    """The reason stands in the finding; credentials never do."""
    (finding,) = judge_stream(CAMERA, EvidenceSettings(), Sighting(problem="connection refused"))
    assert finding.verdict is Verdict.FAILED
    assert "connection refused" in finding.detail
    assert "secret" not in finding.detail


@pytest.mark.parametrize(
    ("changes", "check", "verdict"),
    [
        ({"rate_fps": 2.0}, "rate", Verdict.WARNING),
        ({"rate_fps": 30.0}, "rate", Verdict.WARNING),
        ({"rate_fps": None}, "rate", Verdict.UNKNOWN),
        ({"keyframe_s": 18.0}, "keyframes", Verdict.WARNING),
        ({"keyframe_s": None}, "keyframes", Verdict.UNKNOWN),
        ({"kbit_s": 40_000.0}, "clips", Verdict.WARNING),
        ({"codec": "vp9"}, "codec", Verdict.WARNING),
        ({"undecodable": 3}, "decoding", Verdict.WARNING),
        ({"first_picture_s": 9.0}, "start", Verdict.WARNING),
    ],
)
def test_each_fault_of_a_stream_is_named(
    changes: dict[str, Any], check: str, verdict: Verdict
) -> None:
    """One fault, one finding of its own, with advice where a person can do something."""
    fields = {name: getattr(GOOD, name) for name in GOOD.__dataclass_fields__}
    found = judge_stream(CAMERA, EvidenceSettings(), Sighting(**(fields | changes)))
    assert verdicts(found)[check] is verdict
    named = next(finding for finding in found if finding.check == check)
    assert verdict is Verdict.UNKNOWN or named.advice


def test_a_second_stream_for_clips_frees_the_first_from_their_demands() -> None:
    """With `evidence_source` the analysed stream's keyframes and bits do not matter for clips."""
    camera = msgspec.structs.replace(CAMERA, evidence_source="rtsp://192.0.2.7/main")
    fields: dict[str, Any] = {name: getattr(GOOD, name) for name in GOOD.__dataclass_fields__}
    changes: dict[str, Any] = {"keyframe_s": 18.0, "kbit_s": 90_000.0}
    poor = Sighting(**(fields | changes))
    assert set(verdicts(judge_stream(camera, EvidenceSettings(), poor))) == {"picture"}


def test_the_worst_verdict_counts_and_nothing_checked_is_unknown() -> None:
    """Unknown is not fine, but less than a warning."""
    one = Finding(about="x", check="y", verdict=Verdict.OK)
    unknown = msgspec.structs.replace(one, verdict=Verdict.UNKNOWN)
    failed = msgspec.structs.replace(one, verdict=Verdict.FAILED)
    assert worst([]) is Verdict.UNKNOWN
    assert worst([one, unknown]) is Verdict.UNKNOWN
    assert worst([one, failed, unknown]) is Verdict.FAILED


def test_a_clock_of_1970_fails() -> None:
    """No clock was right before the program was built."""
    assert judge_wall_clock(0).verdict is Verdict.FAILED
    assert judge_wall_clock(wall_ms(BUILD_AT)).verdict is Verdict.OK


def test_a_disk_that_cannot_be_written_fails_with_its_reason(tmp_path: Path) -> None:
    """A state directory that is a file stands for every disk that refuses."""
    blocked = tmp_path / "state"
    blocked.write_text("not a folder")
    config = EdgeConfig(state_dir=blocked, models_dir=tmp_path)
    (finding,) = disk(config, ManualClock())
    assert finding.verdict is Verdict.FAILED
    assert finding.advice


def test_a_good_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """What the doctor wrote to try the disk is gone afterwards."""
    found = disk(EdgeConfig(state_dir=tmp_path, models_dir=tmp_path), ManualClock())
    assert verdicts(found)["disk speed"] is Verdict.OK
    assert list(tmp_path.iterdir()) == []


def test_room_is_judged_against_what_may_fill_it(tmp_path: Path) -> None:
    """Spool and evidence may grow to their limits: that much must be free."""
    config = EdgeConfig(state_dir=tmp_path, models_dir=tmp_path)
    wanted = round((config.spool.quota_mb + config.evidence.keep_mb) * 1024 * 1024)
    assert judge_room(config, wanted).verdict is Verdict.OK
    assert judge_room(config, wanted - 1024 * 1024).verdict is Verdict.WARNING


def test_heat_and_throttling_are_told_and_their_absence_is_unknown() -> None:
    """A machine without sensors is not cool; it cannot tell."""
    blind = verdicts(judge_health(SystemHealth(), 4_000))
    assert blind["heat"] is blind["throttling"] is Verdict.UNKNOWN
    hot = SystemHealth(temperatures_c={"cpu": 91.0}, throttle_flags=["under-voltage"])
    found = verdicts(judge_health(hot, 100))
    assert found.pop("board") is Verdict.OK
    assert set(found.values()) == {Verdict.WARNING}


def test_the_load_is_what_all_cameras_may_ask_for_at_once(tmp_path: Path) -> None:
    """Realtime cameras count with their rate, batch cameras with their period."""
    realtime = Camera(id="a", source="x", max_fps=5)
    batch = Camera(id="b", source="x", tier=Tier.BATCH, batch_every_s=10)
    absent = Camera(id="c", max_fps=30)
    assert demand([realtime, batch, absent]) == pytest.approx(5.1)
    assert judge_load(0.5).verdict is Verdict.OK
    assert judge_load(0.9).verdict is Verdict.WARNING
    assert judge_speed("m", 120.0, 100.0).verdict is Verdict.WARNING
    assert judge_speed("m", 20.0, None).verdict is Verdict.UNKNOWN


def test_a_model_that_fails_under_all_workers_fails_and_breaks_nothing(
    tmp_path: Path, walkers: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It loads, but no run of several at once comes back: a finding with the reason."""

    def refuse(*_: object) -> None:
        raise RunFailed("out of memory")

    monkeypatch.setattr(walkers, "detect", refuse)
    camera = Camera(id="door", source="x", model="walkers")
    config = EdgeConfig(state_dir=tmp_path, models_dir=tmp_path, cameras=[camera])
    models = Models.of(config, ManualClock())
    models.loaded["walkers"] = LoadedModel(walkers, 0.1, golden_ok=True)
    found = {f.check: f for f in model_findings(config, models, ManualClock())}
    assert found["speed"].verdict is Verdict.FAILED
    assert "out of memory" in found["speed"].detail
    assert "load" not in found
