"""Which configuration the doctor and commissioning work by, and what is said of it."""

from pathlib import Path

import pytest

from vedette.cli.edge_doctor import in_effect
from vedette.edge.desired import FOLDER, DesiredStore
from vedette.edge.settings import Camera, EdgeConfig


def config_with(tmp_path: Path, camera: str) -> EdgeConfig:
    """Return a configuration with one camera."""
    return EdgeConfig(state_dir=tmp_path, models_dir=tmp_path, cameras=[Camera(id=camera)])


def test_a_device_that_accepted_nothing_runs_by_what_is_written(tmp_path: Path) -> None:
    """The agent wrote its effective file once; nothing was laid over it, and it may be old."""
    DesiredStore(tmp_path, config_with(tmp_path, "before"), None).write_effective()
    config, note = in_effect(config_with(tmp_path, "now"))
    assert note.startswith("as written")
    assert [camera.id for camera in config.cameras] == ["now"]


@pytest.mark.parametrize(("name", "words"), [("settings", "settings"), ("site_policy", "policy")])
def test_an_accepted_document_is_told(tmp_path: Path, name: str, words: str) -> None:
    """Only what was accepted is named, and what the agent made of it is used."""
    DesiredStore(tmp_path, config_with(tmp_path, "effective"), None).write_effective()
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / f"{name}.json").write_text("{}")
    config, note = in_effect(config_with(tmp_path, "written"))
    assert words in note
    assert " and " not in note
    assert [camera.id for camera in config.cameras] == ["effective"]
