"""The still picture of an event, and the same in words.

Here: encoding, whatever the picture shows. Not here: what may leave (`leaving`). The rule: by
itself only the words go up; the JPEG has nothing in it but the picture.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import cv2

from vedette.errors import EvidenceError
from vedette.vision.picture import Picture
from vedette.wire.messages import Box

MAX_WIDTH_PX: Final = 960
_QUALITY: Final = 80


def poster_jpeg(picture: Picture) -> bytes:
    """Return the picture as JPEG, at most 960 pixels wide.

    Raises:
        EvidenceError: It cannot be encoded.
    """
    try:
        done, encoded = cv2.imencode(
            ".jpg", picture.to_bgr(poster_px(picture.size)), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
        )
    except cv2.error as problem:
        raise EvidenceError("the poster could not be encoded") from problem
    if not done:
        raise EvidenceError("the poster could not be encoded")
    return encoded.tobytes()


def poster_px(size_px: tuple[int, int]) -> tuple[int, int]:
    """Return how large the still of a picture of this size is."""
    width = min(size_px[0], MAX_WIDTH_PX)
    return width, max(1, round(size_px[1] * width / size_px[0]))


def describe(boxes: Sequence[Box]) -> str:
    """Return what is in the poster, such as `2 person, 1 dog`; empty without boxes."""
    counts = Counter(box.label for box in boxes)
    return ", ".join(f"{count} {label}" for label, count in counts.most_common())
