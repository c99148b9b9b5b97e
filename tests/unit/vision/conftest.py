"""Footage for the tests of pixels, decoded once and shared read-only."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from vedette.vision.picture import Picture


def pictures(path: Path, *, every: int = 1, limit: int = 10_000) -> Iterator[Picture]:
    """Yield every n-th picture of a clip, at most `limit`."""
    with av.open(str(path)) as container:
        given = 0
        for number, frame in enumerate(container.decode(video=0)):
            if number % every:
                continue
            if given == limit:
                return
            given += 1
            flat = np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)
            height, width = frame.height, frame.width
            chroma = flat[height:].reshape(2, height // 2, width // 2)
            yield Picture(flat[:height], chroma[0], chroma[1])


@pytest.fixture(scope="session")
def vtest(testdata: Path) -> list[Picture]:
    """Return every tenth picture (one a second) of the pedestrians clip, 80 in all."""
    return list(pictures(testdata / "video" / "vtest.mp4", every=10))
