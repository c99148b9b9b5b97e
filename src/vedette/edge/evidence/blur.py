"""A second copy of a clip in which nobody can be recognised.

Here: decoding, covering (`cover`, `vision.pixelation`) and encoding again. Not here: when, and in
which thread (`store`, `pipeline_main`). The rules: only covered pictures ever reach the encoder;
what cannot be decoded is left out, never passed on; a copy that takes too long is not made at all,
and the original is never touched. The still picture is one of those covered pictures, the very one
that the encoder got; it is never made of anything else.

Encoded as VP9 in MP4, by libvpx (BSD); browsers play it. The GPL encoders in PyAV's wheels are not
used. See docs/decisions/0016.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256
from typing import Final, cast

import av
import av.error
import cv2
import msgspec
import numpy as np
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from vedette.edge.evidence.cover import Cover
from vedette.edge.evidence.facts import (
    BLURRED_CLIP,
    BLURRED_FACTS,
    BLURRED_POSTER,
    BlurredFacts,
    BlurredPoster,
    ClipFile,
    Facts,
)
from vedette.edge.evidence.poster import poster_jpeg, poster_px
from vedette.edge.frame import planes, stated_rotation, turned
from vedette.errors import DecodeFailed, EvidenceError
from vedette.vision import pixelation
from vedette.vision.picture import Picture
from vedette.wire.evidence import MAX_POSTER_BYTES
from vedette.wire.messages import EventKind

CODEC: Final = "libvpx-vp9"
_BASE: Final = Fraction(1, 90_000)
_OPTIONS: Final = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
_BITS_PER_PIXEL: Final = 0.08
_FPS_ASSUMED: Final = 20.0
_FULL_RANGE: Final = 2  # AVCOL_RANGE_JPEG
_ROUNDED_MS: Final = 2  # the window's start and the picture's time in it are rounded one by one


@dataclass(frozen=True, slots=True)
class BlurredCopy:
    """A blurred copy before it is written: the files in the order of writing, and its facts."""

    files: Mapping[str, bytes]
    facts: BlurredFacts


@dataclass(slots=True)
class _Job:
    """One clip on its way, and what was done so far; `still` is covered, like all that is kept."""

    entry: ClipFile
    event_ms: int
    cover: Cover | None
    should_stop: Callable[[], str]
    whole_ms: list[tuple[int, int]] = field(default_factory=list)
    cells_px: set[int] = field(default_factory=set)
    times_ms: list[int] = field(default_factory=list)
    size_px: tuple[int, int] = (0, 0)
    still: tuple[int, Picture] | None = None


def blurred_copy(
    data: bytes, said: Facts, mode: str, *, should_stop: Callable[[], str]
) -> BlurredCopy:
    """Return the blurred copy of a package's main clip, and what was done to make it.

    Where no still picture can be encoded the copy comes without one.

    Args:
        data: The clip.
        said: The package's facts: boxes and times.
        mode: `people`: where they may be; or `picture`: everything.
        should_stop: Asked before each picture; what it returns is why to stop, empty to go on.

    Raises:
        EvidenceError: Stopped, nothing to decode, a picture cannot be covered, or the encoder
            refuses.
    """
    entry = next((one for one in said.clips if one.sha256 == said.record.sha256), None)
    if entry is None:
        raise EvidenceError("a package of an older version cannot be blurred")
    watched = said.watches_people and said.event.kind is not EventKind.TAMPER
    slack_s = said.slack_ms / 1000
    cover = Cover(said.frames, watched=watched, slack_s=slack_s) if mode == "people" else None
    done, out = _Job(entry, said.event.at_ms, cover, should_stop), io.BytesIO()
    try:
        with (
            cast("InputContainer", av.open(io.BytesIO(data), "r", format="mp4")) as clip,
            cast("OutputContainer", av.open(out, "w", format="mp4")) as made,
        ):
            _copy(clip, made, done)
    except (av.error.FFmpegError, cv2.error, ValueError, OSError) as problem:
        raise EvidenceError(f"the clip could not be encoded again: {problem}") from problem
    copy = out.getvalue()
    jpeg, poster = _poster(done)
    facts = BlurredFacts(
        evidence=said.record.evidence,
        made_from=entry.sha256,
        clip=ClipFile(
            file=BLURRED_CLIP,
            sha256=sha256(copy).hexdigest(),
            bytes=len(copy),
            codec="vp9",
            picture_px=done.size_px,
            window_ms=(done.times_ms[0], done.times_ms[-1]),
            packets=len(done.times_ms),
        ),
        mode=mode,
        whole_ms=done.whole_ms,
        cells_px=sorted(done.cells_px),
        poster=poster,
    )
    stills = {BLURRED_POSTER: jpeg} if poster else {}
    # The facts are last: what they speak of is there before them.
    return BlurredCopy(
        {BLURRED_CLIP: copy, **stills, BLURRED_FACTS: msgspec.json.encode(facts)}, facts
    )


def covered(
    picture: Picture, areas: list[pixelation.Area] | None, cells: set[int] | None = None
) -> Picture:
    """Return the picture with the areas (None: all of it) made into squares.

    Args:
        picture: As it is shown.
        areas: In its pixels.
        cells: Gets the sides of the squares that were used.
    """
    if areas is None:
        cell = pixelation.whole_cell_px(picture.size)
        marked = [((0.0, 0.0, float(picture.width), float(picture.height)), cell)]
    else:
        near = (_near(area, picture.size) for area in areas)
        marked = [(area, pixelation.cell_px(area)) for area in near]
    if cells is not None:
        cells.update(cell for _, cell in marked)
    return pixelation.pixelated(picture, marked)


def _near(area: pixelation.Area, size_px: tuple[int, int]) -> pixelation.Area:
    """Return what of the area lies within a picture's size around the picture.

    It covers the same, but however far an area reaches, squares stay of a size that memory has.
    """
    width, height = size_px
    x0, x1 = (min(max(value, -width), 2.0 * width) for value in area[::2])
    y0, y1 = (min(max(value, -height), 2.0 * height) for value in area[1::2])
    return x0, y0, x1, y1


def _copy(clip: InputContainer, made: OutputContainer, done: _Job) -> None:
    stream: VideoStream | None = None
    for picture, at_s, is_as_stated in _pictures(clip, done.entry.rotation_deg):
        if why := done.should_stop():
            raise EvidenceError(why)
        at_ms = done.entry.window_ms[0] + round(at_s * 1000)
        # What says of itself that it stands otherwise was analysed so: boxes lie elsewhere.
        areas = done.cover.areas(at_ms) if done.cover and is_as_stated else None
        shown = covered(picture, areas, done.cells_px)
        if stream is None:
            done.size_px = shown.size
            stream = _open(made, shown.size)
        elif shown.size != done.size_px:
            raise EvidenceError("the picture changes its size within the clip")
        if areas is None:
            _note_whole(done, at_ms)
        _note_still(done, at_ms, shown)
        done.times_ms.append(at_ms)
        frame = _frame(shown)
        frame.pts, frame.time_base = round(at_s / _BASE), _BASE
        made.mux(stream.encode(frame))
    if stream is None:
        raise EvidenceError("no picture of the clip can be decoded")
    made.mux(stream.encode(None))


def _pictures(clip: InputContainer, rotation_deg: int) -> Iterator[tuple[Picture, float, bool]]:
    """Give each picture as it is shown, its time since the first, and whether it is so turned."""
    stream = clip.streams.video[0]
    stream.codec_context.thread_count = 1
    first_s: float | None = None
    last_s = -1.0
    for packet in clip.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue  # a damaged picture, as cameras send them: left out
        for frame in frames:
            if not isinstance(frame, av.VideoFrame) or frame.time is None:
                continue
            first_s = frame.time if first_s is None else first_s
            at_s = frame.time - first_s
            if at_s <= last_s:
                continue
            last_s = at_s
            try:
                is_as_stated = stated_rotation(frame) == rotation_deg
                yield turned(planes(frame), rotation_deg), at_s, is_as_stated
            except DecodeFailed:
                continue


def _note_still(done: _Job, at_ms: int, shown: Picture) -> None:
    """Keep the covered picture of the event, or the next after it; until it comes, the first."""
    moment_ms = done.event_ms - _ROUNDED_MS
    if done.still is None or done.still[0] < moment_ms <= at_ms:
        done.still = at_ms, shown


def _poster(done: _Job) -> tuple[bytes, BlurredPoster | None]:
    """Return the still picture as JPEG and what is said of it; nothing where it is not possible."""
    if done.still is None:
        return b"", None
    at_ms, shown = done.still
    try:
        jpeg = poster_jpeg(shown)
    except EvidenceError:
        return b"", None  # the video alone is as good as it was before there were stills
    if len(jpeg) > MAX_POSTER_BYTES:
        return b"", None
    poster = BlurredPoster(
        file=BLURRED_POSTER,
        sha256=sha256(jpeg).hexdigest(),
        bytes=len(jpeg),
        picture_px=poster_px(shown.size),
        at_ms=at_ms,
    )
    return jpeg, poster


def _note_whole(done: _Job, at_ms: int) -> None:
    """Add this picture to the stretches that are covered whole."""
    continues = done.whole_ms and done.times_ms and done.whole_ms[-1][1] == done.times_ms[-1]
    if continues:
        done.whole_ms[-1] = (done.whole_ms[-1][0], at_ms)
    else:
        done.whole_ms.append((at_ms, at_ms))


def _open(made: OutputContainer, size_px: tuple[int, int]) -> VideoStream:
    stream = made.add_stream(CODEC, rate=round(_FPS_ASSUMED), options=dict(_OPTIONS))
    stream.width, stream.height = size_px
    stream.pix_fmt = "yuv420p"
    stream.bit_rate = max(200_000, round(size_px[0] * size_px[1] * _FPS_ASSUMED * _BITS_PER_PIXEL))
    stream.codec_context.time_base = _BASE
    stream.codec_context.thread_count = 1
    return stream


def _frame(picture: Picture) -> av.VideoFrame:
    """Return a frame of FFmpeg's with the picture's planes; rows are padded as it wants them."""
    frame = av.VideoFrame(picture.width, picture.height, "yuv420p")
    for plane, values in zip(frame.planes, (picture.y, picture.u, picture.v), strict=True):
        padded = np.zeros((plane.buffer_size // plane.line_size, plane.line_size), np.uint8)
        padded[: values.shape[0], : values.shape[1]] = values
        plane.update(padded.tobytes())
    if picture.full_range:
        frame.color_range = _FULL_RANGE
    return frame
