"""The network whose cost stands for YOLOv8n's: what it costs and gives."""

import numpy as np
import onnxruntime as ort

from vedette.sim import yolo_shaped


def test_costs_what_the_nano_size_is_said_to_cost():
    """3.2 million parameters and 8.7 GFLOP at 640 × 640, as its authors give them."""
    made = yolo_shaped.build(640)
    assert round(made.parameters / 1e6, 1) == 3.2
    assert round(made.flops / 1e9, 1) == 8.7


def test_gives_boxes_and_scores_of_the_usual_shape_and_range():
    """Any head for (1, 84, anchors) can read it; a few anchors pass a usual threshold."""
    session = ort.InferenceSession(yolo_shaped.build(64).model)
    picture = np.random.default_rng(1).random((1, 3, 64, 64), np.float32)
    (found,) = session.run(None, {yolo_shaped.INPUT: picture})
    found = np.asarray(found)
    assert found.shape == (1, 84, 84)
    assert np.isfinite(found).all()
    assert found[0, 4:].min() >= 0
    assert found[0, 4:].max() <= 1
    assert 0 < (found[0, 4:].max(0) > 0.25).mean() < 0.9
