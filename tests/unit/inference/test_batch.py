"""Several pictures in one run: the same answers, the right sizes, honest times."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vedette.clock import ManualClock
from vedette.errors import BadModelOutput
from vedette.inference import bundle as bundles
from vedette.inference.manifest import Manifest
from vedette.inference.model import MAX_BATCH, Model
from vedette.vision.detections import Detections
from vedette.vision.picture import Picture

Load = Callable[..., Model]


@pytest.fixture
def load(
    tmp_path: Path, manifest: Callable[..., Manifest], onnx_bytes: Callable[..., bytes]
) -> Load:
    """Load a tiny network made as asked."""

    def make(**changes: object) -> Model:
        data = onnx_bytes(**changes)
        return Model.load(bundles.write(tmp_path / "made", manifest(), {"model.onnx": data}))

    return make


def _pictures(count: int) -> list[Picture]:
    """Return pictures that differ, also in size: the n-th has n red blocks."""
    made = []
    for n in range(count):
        bgr = np.zeros((128, 128 + 64 * (n % 2), 3), np.uint8)
        for block in range(n):
            bgr[16:32, 16 + 32 * block : 32 + 32 * block, 2] = 255
        made.append(Picture.from_bgr(bgr))
    return made


def _same(a: Detections, b: Detections) -> bool:
    return np.allclose(a.boxes_xyxy, b.boxes_xyxy) and np.allclose(a.confidence, b.confidence)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_pictures_in_one_run_have_the_answers_that_they_have_alone(load: Load, count: int):
    """A free batch dimension takes any number; each picture's boxes are in its own pixels."""
    model = load(batch="n")
    pictures = _pictures(count)
    together = model.detect_batch(pictures, 0.5)
    assert len(together) == count
    assert [len(r.detections) > 0 for r in together] == [n > 0 for n in range(count)]
    for picture, result in zip(pictures, together, strict=True):
        assert _same(result.detections, model.detect(picture, 0.5).detections)
    assert (model.batch_sizes[0], model.batch_sizes[-1]) == (1, MAX_BATCH)


def test_a_fixed_batch_is_filled_up_for_one_picture(load: Load):
    """A network that always takes three answers for one and for three, and for no other number."""
    model = load(batch=3)
    assert list(model.batch_sizes) == [3]
    pictures = _pictures(3)
    together = model.detect_batch(pictures, 0.5)
    alone = model.detect(pictures[2], 0.5)
    assert len(alone.detections) > 0
    assert _same(together[2].detections, alone.detections)
    with pytest.raises(ValueError, match=r"2 pictures at once; tiny takes 3"):
        model.detect_batch(pictures[:2])


def test_a_network_for_one_picture_takes_one(load: Load):
    """Where the batch is fixed at one there is no other size, nor an empty one."""
    model = load()
    assert list(model.batch_sizes) == [1]
    assert len(model.detect_batch(_pictures(1))) == 1
    for count in (0, 2):
        with pytest.raises(ValueError, match="pictures at once"):
            model.detect_batch(_pictures(count))


def test_pictures_that_change_each_other_are_never_run_together(load: Load):
    """A network that mixes its batch is found out by a trial, whatever its shapes say."""
    assert list(load(batch="n", mixes=True).batch_sizes) == [1]


def test_a_run_is_shared_by_its_pictures(load: Load):
    """Inference time is divided; preparing and reading are each picture's own."""
    model = load(batch="n")
    clock = ManualClock()
    model._clock = clock
    model._batch_sizes = range(1, 5)
    run = model.backend.run

    def slow(feeds):
        clock.advance(0.030)
        return run(feeds)

    model.backend.run = slow
    found = model.detect_batch(_pictures(3))
    assert [round(r.inference_ms, 6) for r in found] == [10.0] * 3
    assert {r.preprocess_ms for r in found} == {0.0}


def test_one_poisoned_picture_is_bad_output_for_its_run(load: Load):
    """NaN of one picture is not given out as an answer of the others."""
    model = load(batch="n", poison=True)
    bright = Picture.from_gray(np.full((64, 64), 255, np.uint8))
    with pytest.raises(BadModelOutput):
        model.detect_batch([*_pictures(2), bright])
