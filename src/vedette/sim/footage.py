"""Footage for simulated cameras: obtained from Debian or rendered, prepared as H.264, cached.

Real footage is `vtest.avi` (pedestrians from above) out of Debian's package `opencv-doc`, fetched
with the machine's own package client and unpacked without root. Where that is not to be had, the
street of `sim.scene` is rendered instead, and `Footage.origin` says which it was.

Clips are encoded with the H.264 encoder inside PyAV's wheels, libx264, which is under the GPL.
It runs here only, on the machine of whoever simulates cameras, to prepare their test footage;
nothing that a device or central runs ever encodes with it, and no encoded clip is distributed.
"""

import logging
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import msgspec
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vedette.errors import ConfigError
from vedette.sim.scene import Bgr, Scene, covered

log = logging.getLogger(__name__)

PACKAGE: Final = "opencv-doc"
MEMBER: Final = "examples/data/vtest.avi"
DOWNLOAD_TIMEOUT_S: Final = 180
FPS: Final = 10
VERSION: Final = 1
"""Part of every cached name: raise it when the preparation changes."""

Say = Callable[[str], None]


class View(msgspec.Struct, frozen=True):
    """One camera's part of the footage: fractions of the width, and a shift in time."""

    left: float
    right: float
    shift: float


VIEWS: Final = {
    "full": View(0.0, 1.0, 0.0),
    "left": View(0.0, 0.625, 0.33),
    "right": View(0.375, 1.0, 0.66),
}


class Footage(msgspec.Struct, frozen=True, kw_only=True):
    """Prepared clips by view, each with its covered twin of the same size.

    Attributes:
        origin: In words, where the pictures come from.
        real: False where they are rendered.
    """

    origin: str
    real: bool
    clips: dict[str, Path]
    covered: dict[str, Path]


def cache_folder() -> Path:
    """Return where prepared footage is kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "vedette" / "footage"


def prepare(
    folder: Path | None = None,
    *,
    say: Say = log.info,
    download: bool = True,
    drawn_s: float = 60.0,
) -> Footage:
    """Return three views and their covered twins, preparing what the cache lacks.

    Args:
        folder: The cache.
        say: Told what takes long.
        download: Use real footage, fetched where the cache lacks it; else draw the street.
        drawn_s: Length of the street where it is drawn.

    Raises:
        ConfigError: The cache folder cannot be written.
    """
    folder = folder or cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot keep footage in {folder}: {error}", operator_hint="set XDG_CACHE_HOME"
        ) from error
    film = obtain_vtest(folder, say=say) if download else None
    kind = "vtest" if film else f"scene-{drawn_s:g}s"
    clips: dict[str, Path] = {}
    twins: dict[str, Path] = {}
    for name, view in VIEWS.items():
        clips[name] = folder / f"{kind}-{name}-v{VERSION}.mp4"
        if not clips[name].is_file():
            say(f"preparing the {name} view as H.264 ...")
            pictures = _film(film, view) if film else _street(view, drawn_s)
            encode(clips[name], pictures, fps=FPS, gop_s=1.0)
        size_px = picture_size(clips[name])
        twins[name] = folder / f"covered-{size_px[0]}x{size_px[1]}-v{VERSION}.mp4"
        if not twins[name].is_file():
            dark = (covered(size_px, n / FPS) for n in range(8 * FPS))
            encode(twins[name], dark, fps=FPS, gop_s=1.0)
    origin = (
        "vtest.avi from Debian's opencv-doc package (real pedestrians)"
        if film
        else "a rendered street with drawn people (no real footage to be had here)"
    )
    return Footage(origin=origin, real=film is not None, clips=clips, covered=twins)


def obtain_vtest(folder: Path, *, say: Say = log.info) -> Path | None:
    """Return `vtest.avi`, from the cache or the Debian package; None where neither is to be had."""
    kept = folder / "vtest.avi"
    if kept.is_file():
        return kept
    installed = Path("/usr/share/doc") / PACKAGE / MEMBER
    if installed.is_file():
        return installed
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        say("no Debian package client here; the street will be rendered")
        return None
    say(f"fetching {PACKAGE} from Debian for its real footage (about 96 MB, once) ...")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        try:
            subprocess.run(
                ["apt-get", "download", "-qq", PACKAGE],
                cwd=scratch,
                check=True,
                capture_output=True,
                timeout=DOWNLOAD_TIMEOUT_S,
            )
            package = next(Path(scratch).glob(f"{PACKAGE}_*.deb"))
            unpacked = _extract(package, Path(scratch))
            os.replace(unpacked, kept)  # noqa: PTH105 - atomic within the cache folder
        except (OSError, StopIteration, KeyError, tarfile.TarError) as error:
            say(f"could not unpack {PACKAGE} ({error}); the street will be rendered")
            return None
        except subprocess.SubprocessError as error:
            say(f"could not fetch {PACKAGE} ({error}); the street will be rendered")
            return None
    return kept


def _extract(package: Path, into: Path) -> Path:
    """Return the one wanted member of a Debian package; nothing else is written.

    Raises:
        KeyError: The package does not hold it.
    """
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        try:
            with tarfile.open(fileobj=reader.stdout, mode="r|") as members:
                for member in members:
                    if member.name.endswith(MEMBER) and member.isfile():
                        content = members.extractfile(member)
                        assert content is not None
                        out = into / "vtest.avi"
                        with out.open("wb") as file:
                            shutil.copyfileobj(content, file)
                        return out
        finally:
            reader.kill()
    raise KeyError(MEMBER)


def picture_size(clip: Path) -> tuple[int, int]:
    """Return width and height of a video file.

    Raises:
        ConfigError: Not readable.
    """
    try:
        with av.open(str(clip)) as container:
            context = container.streams.video[0].codec_context
            return context.width, context.height
    except (FFmpegError, IndexError) as error:
        raise ConfigError(f"cannot read a video from {clip.name}: {error}") from error


def encode(
    path: Path,
    pictures: Iterable[Bgr],
    *,
    fps: int = FPS,
    gop_s: float = 1.0,
    codec: str = "h264",
    b_frames: int = 0,
) -> None:
    """Write pictures (BGR, uint8, all of one even size) as H.264 (or `hevc`) in MP4.

    The file appears whole or not at all.
    """
    half_made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with av.open(str(half_made), "w", format="mp4") as container:
            group = max(1, round(gop_s * fps))
            _encode_into(container, pictures, fps, group, codec=codec, b_frames=b_frames)
        os.replace(half_made, path)  # noqa: PTH105 - atomic
    finally:
        half_made.unlink(missing_ok=True)


def _encode_into(
    container: OutputContainer,
    pictures: Iterable[Bgr],
    fps: int,
    group: int,
    *,
    codec: str,
    b_frames: int,
) -> None:
    options: dict[str, object]
    fixed = f"keyint={group}:min-keyint={group}"
    if codec == "hevc":
        options = {"preset": "ultrafast", "crf": "28", "x265-params": f"{fixed}:log-level=none"}
    else:
        options = {"preset": "veryfast", "crf": "23", "sc_threshold": "0", "x264-params": fixed}
    stream: VideoStream | None = None
    for number, picture in enumerate(pictures):
        if stream is None:
            stream = container.add_stream("libx265" if codec == "hevc" else "libx264", rate=fps)
            stream.height, stream.width = picture.shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.codec_context.gop_size = group
            stream.codec_context.max_b_frames = b_frames
            stream.options = options
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")
        frame.pts = number
        frame.time_base = Fraction(1, fps)
        container.mux(stream.encode(frame))
    if stream is None:
        raise ConfigError("no pictures to encode")
    container.mux(stream.encode())


def render(
    path: Path,
    *,
    seconds: float = 4.0,
    size_px: tuple[int, int] = (320, 180),
    fps: int = FPS,
    gop_s: float = 1.0,
    seed: int = 7,
    people: int = 4,
) -> Scene:
    """Write a short rendered clip and return the scene, whose truth for picture n is at n / fps."""
    scene = Scene(size_px, people=people, period_s=max(seconds, 4.0), seed=seed)
    encode(
        path, (scene.picture(n / fps) for n in range(round(seconds * fps))), fps=fps, gop_s=gop_s
    )
    return scene


def _film(film: Path, view: View) -> Iterator[Bgr]:
    with av.open(str(film)) as container:
        count = sum(1 for packet in container.demux(video=0) if packet.size)
    skip = round(count * view.shift)
    for first, last in ((skip, count), (0, skip)):
        with av.open(str(film)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number >= last:
                    break
                if number >= first:
                    yield _crop(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8), view)


def _street(view: View, length_s: float) -> Iterator[Bgr]:
    scene = Scene((768, 576), people=14, period_s=length_s)
    for number in range(round(scene.period_s * FPS)):
        t_s = number / FPS + view.shift * scene.period_s
        yield _crop(scene.picture(t_s), view)


def _crop(picture: Bgr, view: View) -> Bgr:
    width = picture.shape[1]
    return picture[:, round(width * view.left) & ~1 : round(width * view.right) & ~1]
