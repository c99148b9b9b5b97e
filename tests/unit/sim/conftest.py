"""Small rendered clips, made once for a test run."""

from pathlib import Path

import pytest

from vedette.sim import footage
from vedette.sim.clip import Clip, load_clip
from vedette.sim.scene import covered


@pytest.fixture(scope="session")
def clip_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a rendered street, 320×180 at 10 fps, a keyframe each second."""
    path = tmp_path_factory.mktemp("clips") / "street.mp4"
    footage.render(path, seconds=2.0)
    return path


@pytest.fixture(scope="session")
def clip(clip_path: Path) -> Clip:
    """The same, loaded."""
    return load_clip(clip_path)


@pytest.fixture(scope="session")
def dark_clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """One second through tape, of another size."""
    path = tmp_path_factory.mktemp("clips") / "dark.mp4"
    footage.encode(path, (covered((160, 96), n / 10) for n in range(10)))
    return load_clip(path)
