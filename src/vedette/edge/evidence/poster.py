"""The still picture of an event, and the same in words.

The rule: the JPEG stays on the device; only the words go up.
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
    width = min(picture.width, MAX_WIDTH_PX)
    height = max(1, round(picture.height * width / picture.width))
    try:
        done, encoded = cv2.imencode(
            ".jpg", picture.to_bgr((width, height)), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
        )
    except cv2.error as problem:
        raise EvidenceError("the poster could not be encoded") from problem
    if not done:
        raise EvidenceError("the poster could not be encoded")
    return encoded.tobytes()


def describe(boxes: Sequence[Box]) -> str:
    """Return what is in the poster, such as `2 person, 1 dog`; empty without boxes."""
    counts = Counter(box.label for box in boxes)
    return ", ".join(f"{count} {label}" for label, count in counts.most_common())
