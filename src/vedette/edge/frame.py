"""One decoded picture on its way through the pipeline.

Here: the frame that capture hands over and its planes. Not here: decoding (`edge.capture.decode`)
and what is looked for in the picture. The rule: no pixel is touched before somebody asks for
`picture`; a frame that the slot drops costs nothing but its decoding.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, cast

import av
import av.error
import cv2
import numpy as np
import numpy.typing as npt
from av.video.plane import VideoPlane

from vedette.errors import DecodeFailed
from vedette.ids import CameraId
from vedette.vision.picture import Picture

_LIMITED_RANGE: Final = 1  # AVCOL_RANGE_MPEG
_FULL_RANGE: Final = 2  # AVCOL_RANGE_JPEG
_PLANAR: Final = frozenset({"yuv420p", "yuvj420p"})
_TURNS: Final = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}


@dataclass(slots=True, eq=False)
class Frame:
    """A decoded picture with the times it belongs to.

    Attributes:
        camera: Which camera it came from.
        number: Counts the frames of this camera that were handed over, from 0, without gaps.
        captured_mono_ns: Monotonic time at which its last byte was here: latency starts counting.
        captured_at: Wall time that the picture is dated with. For a file read faster than it plays,
            the wall time of opening plus the time played.
        t_s: Seconds on the camera's timeline, with an arbitrary zero (the monotonic clock's): never
            goes back, smoothed by the camera's own timestamps. What trackers take as time, and
            what the packet ring is asked with.
        pts_s: The timestamp as the source said it, in seconds; None where it said none.
        keyframe: True where it was decoded without any other.
        discontinuity: True where it does not continue the frame before: the first after a
            connection, a file's loop, a jump of the source's timestamps, a new picture size.
        width: Pixels, after turning.
        height: Pixels, after turning.
        video: The decoder's frame, as it came: not turned.
        rotation_deg: Clockwise turn that `picture` has had: 0, 90, 180 or 270.
    """

    camera: CameraId
    number: int
    captured_mono_ns: int
    captured_at: datetime
    t_s: float
    pts_s: float | None
    keyframe: bool
    discontinuity: bool
    width: int
    height: int
    video: av.VideoFrame = field(repr=False)
    rotation_deg: int = 0
    _picture: Picture | None = field(default=None, init=False, repr=False)

    @property
    def is_direct(self) -> bool:
        """True where `picture` needs no conversion of pixels and cannot fail."""
        return self.video.format.name in _PLANAR

    @property
    def picture(self) -> Picture:
        """The planes, made when first asked for; views on the decoder's memory where it is I420.

        Thread: any; two threads at once do the same work twice and get equal pictures.

        Raises:
            DecodeFailed: The decoder's pixel format cannot be turned into I420.
        """
        if self._picture is None:
            self._picture = turned(planes(self.video), self.rotation_deg)
        return self._picture


def planes(video: av.VideoFrame) -> Picture:
    """Return the frame as I420 planes without a copy where the decoder made I420 already.

    Raises:
        DecodeFailed: The decoder's pixel format cannot be turned into I420.
    """
    full_range = video.color_range == _FULL_RANGE or video.format.name.startswith("yuvj")
    if video.format.name not in _PLANAR:
        same = _FULL_RANGE if full_range else _LIMITED_RANGE
        try:
            video = video.reformat(format="yuv420p", src_color_range=same, dst_color_range=same)
        except (av.error.FFmpegError, ValueError) as problem:
            raise DecodeFailed(
                f"pixels of format {video.format.name} cannot be converted",
                operator_hint="set the camera to 8-bit H.264 or H.265",
            ) from problem
    half = ((video.height + 1) // 2, (video.width + 1) // 2)
    y, u, v = video.planes
    return Picture(
        y=_view(y, (video.height, video.width)),
        u=_view(u, half),
        v=_view(v, half),
        full_range=full_range,
    )


def turned(picture: Picture, rotation_deg: int) -> Picture:
    """Return the picture turned clockwise by 0, 90, 180 or 270 degrees; 0 is the same object.

    Each plane is turned by itself: half the bytes of a colour picture, and no conversion.
    """
    if rotation_deg == 0:
        return picture
    y, u, v = (
        cv2.rotate(plane, _TURNS[rotation_deg]) for plane in (picture.y, picture.u, picture.v)
    )
    for plane in (y, u, v):
        plane.flags.writeable = False
    return Picture(y=_bytes(y), u=_bytes(u), v=_bytes(v), full_range=picture.full_range)


def stated_rotation(video: av.VideoFrame) -> int:
    """Return the clockwise turn that the frame's display matrix asks for: 0, 90, 180 or 270.

    A mirrored picture (four of EXIF's eight orientations, which cameras do not write) is turned as
    FFmpeg reads it and stays mirrored: PyAV does not give the matrix of a frame with EXIF data.

    Source: FFmpeg's libavutil/display.h; EXIF 2.32, tag 0x0112 (which FFmpeg reads into it).
    """
    counterclockwise = video.rotation
    return round(-counterclockwise / 90) % 4 * 90 if counterclockwise else 0


def _bytes(plane: object) -> npt.NDArray[np.uint8]:
    """Give OpenCV's result the type that it has: uint8, as what went in."""
    return cast("npt.NDArray[np.uint8]", plane)


def _view(plane: VideoPlane, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return a view uint8 (h, w) on a plane; rows keep the decoder's padding as their stride."""
    rows, columns = shape
    # PyAV's planes are buffers, which the typing of Python 3.11 cannot say.
    padded = np.frombuffer(cast("memoryview", plane), np.uint8)[: rows * plane.line_size]
    view = padded.reshape(rows, plane.line_size)[:, :columns]
    view.flags.writeable = False
    return view
