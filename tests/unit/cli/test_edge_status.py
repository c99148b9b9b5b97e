"""What `vedette edge status` tells a person who stands before a camera that is down."""

from pathlib import Path

from click.testing import CliRunner

from vedette.cli.edge import command
from vedette.edge.agent import write_status
from vedette.wire.messages import CameraHealth, HealthReport, PipelineHealth, State

CONFIG = (
    "state_dir: ./state\nmodels_dir: ./m\ncameras: [{id: door, source: file:x.mp4, model: x}]\n"
)


def test_a_camera_that_is_down_says_why(tmp_path: Path) -> None:
    """The reason and the signs stand there as text, whatever marks a camera puts into them."""
    (tmp_path / "edge.yaml").write_text(CONFIG)
    (tmp_path / "state").mkdir()
    cameras = [
        CameraHealth(camera="door", state=State.DOWN, since_ms=1, detail="401: [b]password[/b]"),
        CameraHealth(camera="till", state=State.TAMPERED, since_ms=1, signs=["ImageTooDark"]),
        CameraHealth(camera="yard", state=State.OK, since_ms=1),
    ]
    pipeline = PipelineHealth(running=True, cameras=cameras)
    report = HealthReport(at_ms=1, period_s=30, version="x", pipeline=pipeline)
    write_status(tmp_path / "state", report)
    told = CliRunner().invoke(command, ["status", "--config", str(tmp_path / "edge.yaml")])
    assert "door down: 401: [b]password[/b]" in told.output
    assert "till tampered: ImageTooDark" in told.output
    assert "yard ok:" not in told.output
