"""Detections: validated once, selected by mask."""

import numpy as np
import pytest

from vedette.vision.detections import Detections


def _three() -> Detections:
    return Detections(
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.array([0.9, 0.5, 0.7], np.float32),
        np.array([0, 1, 0], np.int32),
        np.array([0.1, 1.0, 0.8], np.float32),
    )


def test_a_mask_or_an_index_selects_whole_detections() -> None:
    """Every array is cut alike."""
    found = _three()
    kept = found.where(found.class_id == 0)
    assert kept.confidence.tolist() == pytest.approx([0.9, 0.7])
    assert kept.boxes_xyxy[:, 0].tolist() == [0, 8]
    assert [row[2] for row in found.where(np.array([1, 0]))] == [1, 0]
    assert len(Detections.empty()) == 0


@pytest.mark.parametrize("field", ["boxes_xyxy", "confidence", "class_id", "entropy"])
def test_a_wrong_length_or_element_type_is_refused(field: str) -> None:
    """Each field is checked for its own shape and dtype."""
    good = _three()
    names = ("boxes_xyxy", "confidence", "class_id", "entropy")
    arrays = {name: getattr(good, name) for name in names}
    with pytest.raises(ValueError, match=r"expected"):
        Detections(**{**arrays, field: arrays[field].astype(np.float64)})
    if field != "boxes_xyxy":
        with pytest.raises(ValueError, match=field):
            Detections(**{**arrays, field: arrays[field][:2]})
