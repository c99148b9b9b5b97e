"""Clips are what the cameras need, and the cache is never half full."""

from pathlib import Path

import av
import pytest

from vedette.errors import ConfigError
from vedette.sim import footage
from vedette.sim.clip import load_clip
from vedette.sim.scene import Scene


def test_an_encoded_clip_has_its_keyframes_where_asked(clip_path: Path) -> None:
    """Two seconds at 10 fps with one-second groups: keyframes at 0 and 10, no reordering."""
    clip = load_clip(clip_path)
    assert [n for n, unit in enumerate(clip.units) if unit.keyframe] == [0, 10]
    assert all(unit.send_ticks == unit.pts_ticks for unit in clip.units)
    assert clip.duration_ticks == 2 * 90_000
    assert (clip.width, clip.height) == (320, 180)


def test_a_failed_encoding_leaves_nothing(tmp_path: Path) -> None:
    """A cache entry exists whole or not at all."""
    scene = Scene((64, 48))

    def breaks():
        yield scene.picture(0.0)
        raise KeyError("interrupted")

    with pytest.raises(KeyError):
        footage.encode(tmp_path / "clip.mp4", breaks())
    assert list(tmp_path.iterdir()) == []


def test_other_codecs_and_non_videos_are_refused_with_a_reason(tmp_path: Path) -> None:
    """The reason names the file and what is wrong with it."""
    text = tmp_path / "notes.mp4"
    text.write_text("not a film")
    with pytest.raises(ConfigError, match=r"notes\.mp4"):
        load_clip(text)
    other = tmp_path / "old.avi"
    with av.open(str(other), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frame = av.VideoFrame.from_ndarray(Scene((64, 48)).picture(0.0), format="bgr24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(ConfigError, match=r"mpeg4, not H\.264"):
        load_clip(other)


def test_without_a_network_the_street_is_rendered_and_says_so(tmp_path: Path) -> None:
    """Three views and their covered twins of the same size, and an origin that does not lie."""
    lines: list[str] = []
    made = footage.prepare(tmp_path, say=lines.append, download=False, drawn_s=2.0)
    assert not made.real
    assert "rendered" in made.origin
    assert set(made.clips) == {"full", "left", "right"}
    for name, path in made.clips.items():
        assert footage.picture_size(path) == footage.picture_size(made.covered[name])
    assert footage.prepare(tmp_path, say=lines.append, download=False, drawn_s=2.0) == made
    assert len(lines) == 3
