"""The picture that goes with a disagreement, as far as the site lets it go.

Here: what is cut out, what is covered and how small it is made. Not here: whether the site lets any
leave (`desk`). The rules:

- Never more than the surroundings of what the two models differ about, and never more bytes than a
  message has room for.
- Where the policy wants clips blurred, people are covered as there, except the boxes in question:
  those are what a person shall judge. Where nobody looked for people in the whole picture,
  everything else is covered.
"""

from collections.abc import Sequence
from typing import Final

import cv2

from vedette.edge.evidence.blur import covered
from vedette.errors import EvidenceError
from vedette.vision.picture import Picture
from vedette.vision.pixelation import Area
from vedette.wire.updates import MAX_PICTURE_BYTES

Window = tuple[int, int, int, int]

LONGEST_PX: Final = 640
LEAST_SHARE: Final = 0.35
"""Of the picture's sides: without surroundings nobody can judge."""

_MARGIN: Final = 0.5
_COVER_MARGIN: Final = 0.15
_TRIES: Final = 8
_QUALITIES: Final = (82, 65, 45, 30)


def review_picture(
    picture: Picture,
    subjects: Sequence[Area],
    people: Sequence[Area] | None,
    *,
    blurred: bool,
) -> tuple[bytes, Window]:
    """Return a JPEG of at most `MAX_PICTURE_BYTES`, and where it was cut out.

    Args:
        picture: The whole.
        subjects: Boxes in question, in its pixels.
        people: Everybody else; None: nobody knows where people are.
        blurred: Whether people are to be covered.

    Raises:
        EvidenceError: It cannot be made small enough, or not be encoded.
    """
    shown = _covered(picture, subjects, people) if blurred else picture
    window = around(subjects, picture.size)
    part = shown.part(window)
    scale = min(1.0, LONGEST_PX / max(part.size))
    for _ in range(_TRIES):
        width, height = (max(2, round(side * scale)) for side in part.size)
        for quality in _QUALITIES:
            data = _jpeg(part, (width, height), quality)
            if len(data) <= MAX_PICTURE_BYTES:
                return data, window
        scale /= 1.5
    raise EvidenceError("the picture cannot be made small enough")


def around(subjects: Sequence[Area], size_px: tuple[int, int]) -> Window:
    """Return the part of a picture that holds the boxes and their surroundings, at even pixels."""
    width, height = size_px
    inside = [_clipped(box, size_px) for box in subjects] or [(0.0, 0.0, width, height)]
    left, top = min(b[0] for b in inside), min(b[1] for b in inside)
    right, bottom = max(b[2] for b in inside), max(b[3] for b in inside)
    x0, x1 = _span(left, right, width)
    y0, y1 = _span(top, bottom, height)
    return x0, y0, x1, y1


def _span(low: float, high: float, side: int) -> tuple[int, int]:
    """Return an even start and an end that hold `low` to `high` with margin, within 0 to `side`."""
    wanted = min(float(side), max((high - low) * (1 + 2 * _MARGIN), side * LEAST_SHARE))
    start = min(max(0.0, (low + high - wanted) / 2), side - wanted)
    first = min(int(start), side - 1) // 2 * 2
    return first, min(side, max(first + 2, round(start + wanted)))


def _covered(picture: Picture, subjects: Sequence[Area], people: Sequence[Area] | None) -> Picture:
    if people is not None:
        return covered(picture, [_grown(area) for area in people])
    plain = covered(picture, None)
    for area in subjects:
        _copy(picture, plain, _clipped(area, picture.size))
    return plain


def _copy(source: Picture, target: Picture, area: Area) -> None:
    """Show one area again."""
    x0, y0 = (int(value) // 2 * 2 for value in area[:2])
    x1, y1 = (int(value) for value in area[2:])
    for plane, original, half in zip(
        (target.y, target.u, target.v), (source.y, source.u, source.v), (1, 2, 2), strict=True
    ):
        down, across = slice(y0 // half, y1 // half), slice(x0 // half, x1 // half)
        plane[down, across] = original[down, across]


def _grown(area: Area) -> Area:
    x = max(8.0, _COVER_MARGIN * (area[2] - area[0]))
    y = max(8.0, _COVER_MARGIN * (area[3] - area[1]))
    return area[0] - x, area[1] - y, area[2] + x, area[3] + y


def _clipped(area: Area, size_px: tuple[int, int]) -> Area:
    width, height = size_px
    x0, x1 = (min(max(value, 0.0), float(width)) for value in area[::2])
    y0, y1 = (min(max(value, 0.0), float(height)) for value in area[1::2])
    return x0, y0, x1, y1


def _jpeg(part: Picture, size_px: tuple[int, int], quality: int) -> bytes:
    try:
        done, encoded = cv2.imencode(
            ".jpg", part.to_bgr(size_px), [cv2.IMWRITE_JPEG_QUALITY, quality]
        )
    except cv2.error as problem:
        raise EvidenceError("the picture could not be encoded") from problem
    if not done:
        raise EvidenceError("the picture could not be encoded")
    return encoded.tobytes()
