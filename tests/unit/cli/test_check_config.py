"""`vedette edge check-config` finds what would stop a camera, before anything is started."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from vedette.cli.edge import command
from vedette.errors import ConfigError
from vedette.sim.closed_world import write_bundle

GOOD = """\
state_dir: state
models_dir: models
cameras:
  - {id: door, source: "rtsp://user:hunter2@192.0.2.7/one", model: walkers}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the closed world's model."""
    write_bundle(tmp_path / "models" / "walkers")
    return tmp_path


def check(folder: Path, text: str, *more: str) -> str:
    """Return what the command prints; raise what it raises."""
    (folder / "edge.yaml").write_text(text)
    arguments = ["check-config", "--config", str(folder / "edge.yaml"), *more]
    return CliRunner().invoke(command, arguments, catch_exceptions=False).output


def test_a_good_file_is_fine_and_no_password_is_printed(folder: Path) -> None:
    """In words and in JSON."""
    printed = check(folder, GOOD)
    assert "is fine" in " ".join(printed.split())  # a long path wraps
    document = json.loads(check(folder, GOOD, "--json"))
    assert document["cameras"] == [{"id": "door", "source": "rtsp://192.0.2.7/one"}]
    assert "hunter2" not in printed + json.dumps(document)


def test_a_pipelines_password_is_not_printed_and_it_is_no_missing_file(folder: Path) -> None:
    """Neither in the table nor in a warning; a folder that is not there is one."""
    gst = GOOD.replace("rtsp://user:hunter2@192.0.2.7/one", "gst:rtspsrc user-pw=hunter2 ! x")
    printed = check(folder, gst) + check(folder, gst, "--json")
    assert "hunter2" not in printed
    assert "gst:rtspsrc" in printed
    assert "no file" not in printed
    gone = GOOD.replace("rtsp://user:hunter2@192.0.2.7/one", "watch:/nowhere/to/be")
    assert "there is no file watch:/nowhere/to/be" in check(folder, gone, "--json")


@pytest.mark.parametrize(
    ("source", "is_told"),
    [
        ("gst:videotestsrc ! identity", True),
        ("v4l2:/dev/video0?format=yuyv422", True),
        ("v4l2:/dev/video0?format=mjpeg", False),
        ("rtsp://192.0.2.7/one", False),
    ],
)
def test_evidence_that_a_raw_source_cannot_give_is_a_warning(
    folder: Path, source: str, *, is_told: bool
) -> None:
    """Only where it is asked for, and no second stream gives it."""
    line = "lines: [{name: mid, a: [0.5, 0], b: [0.5, 1], evidence: true}]"
    text = GOOD.replace("rtsp://user:hunter2@192.0.2.7/one", source)
    text = text.replace("model: walkers", f"model: walkers, {line}")

    def told(config: str) -> bool:
        warnings = json.loads(check(folder, config, "--json"))["warnings"]
        return any("mid: evidence is asked for" in warning for warning in warnings)

    assert told(text) is is_told
    assert not told(text.replace("evidence: true", "evidence: false"))
    assert not told(text.replace("model:", "evidence_source: rtsp://192.0.2.7/main, model:"))


def test_a_class_that_the_model_does_not_know_is_refused(folder: Path) -> None:
    """It would leave the camera without a picture looked at."""
    text = GOOD.replace("model: walkers", "model: walkers, labels: [persn]")
    with pytest.raises(ConfigError, match="knows no 'persn'") as caught:
        check(folder, text)
    assert "labels begin with" in (caught.value.operator_hint or "")


def test_an_address_of_no_known_kind_is_refused(folder: Path) -> None:
    """A typing error in the scheme is no camera that is merely away."""
    with pytest.raises(ConfigError, match="rtspp"):
        check(folder, GOOD.replace("rtsp://", "rtspp://"))


def test_a_model_that_is_not_there_is_a_warning_with_the_command(folder: Path) -> None:
    """The device may be prepared before its model is; the command names the right folder."""
    document = json.loads(check(folder, GOOD.replace("walkers", "centernet"), "--json"))
    [warning] = [w for w in document["warnings"] if "centernet" in w]
    assert f"--models-dir {folder / 'models'}" in warning


def test_a_model_of_ones_own_that_is_not_there_cannot_be_pulled(folder: Path) -> None:
    """Only the default one can: for any other the advice is to import its file."""
    document = json.loads(check(folder, GOOD.replace("walkers", "door-classes"), "--json"))
    [warning] = [w for w in document["warnings"] if "door-classes" in w]
    assert "vedette model import FILE --name door-classes --models-dir" in warning
    assert "pull" not in warning
