"""Labelled folders read, finds matched with truth, counts that add up; hostile folders refused."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from vedette.errors import ConfigError
from vedette.lab import labelled
from vedette.lab.evaluating import count, tallies
from vedette.lab.labelled import Truth
from vedette.vision.detections import Detections
from vedette.wire.evaluation import Tally

LABELS = ["person", "dog"]


def truth(*objects: tuple[str, tuple[float, float, float, float]], crowd: int = 0) -> Truth:
    """What is in a picture; the last `crowd` boxes hold many."""
    boxes = np.array([box for _, box in objects], np.float32).reshape(-1, 4)
    marks = np.arange(len(objects)) >= len(objects) - crowd
    return Truth("a.png", boxes, tuple(label for label, _ in objects), marks, ("", "", ""))


def found(*finds: tuple[str, float, tuple[float, float, float, float]]) -> Detections:
    """What a model says."""
    return Detections(
        np.array([box for _, _, box in finds], np.float32).reshape(-1, 4),
        np.array([sure for _, sure, _ in finds], np.float32),
        np.array([LABELS.index(label) for label, _, _ in finds], np.int32),
        np.zeros(len(finds), np.float32),
    )


HERE, THERE = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)


def test_one_object_is_found_once() -> None:
    """The surest of two finds is right, the other is wrong; the object elsewhere is missed."""
    cells = count(
        found(("person", 0.6, HERE), ("person", 0.9, HERE)),
        LABELS, truth(("person", HERE), ("person", THERE)), (99, 99), LABELS,
    )  # fmt: skip
    assert tallies(cells) == {"person": Tally(1, 1, 1)}


def test_a_dog_taken_for_a_person_is_both_wrong_and_missed() -> None:
    """One cell of the matrix, one wrong find, one missed object."""
    cells = count(found(("person", 0.9, HERE)), LABELS, truth(("dog", HERE)), (99, 99), LABELS)
    assert dict(cells) == {("dog", "person"): 1}
    assert tallies(cells) == {"dog": Tally(0, 0, 1), "person": Tally(0, 1, 0)}


def test_a_find_in_a_crowd_and_a_class_nobody_labelled_count_for_nothing() -> None:
    """Neither right nor wrong."""
    cells = count(
        found(("person", 0.9, HERE), ("dog", 0.9, THERE)),
        LABELS, truth(("person", HERE), crowd=1), (99, 99), ["person"],
    )  # fmt: skip
    assert not cells


def picture(path: Path) -> None:
    """Write a small black picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((20, 40, 3), np.uint8))


def test_a_folder_of_yolo_text_is_read_with_its_camera_days(tmp_path: Path) -> None:
    """The folders above say site, camera and day; boxes become pixels; alone if asked."""
    at = tmp_path / "shop/door/2026-05-17/1.png"
    picture(at)
    at.with_suffix(".txt").write_text("1 0.5 0.5 0.5 1.0\n")
    (tmp_path / "classes.txt").write_text("person\ndog\n")
    made = labelled.read(tmp_path)
    assert made.pictures[0].key == ("shop", "door", "2026-05-17")
    assert made.pictures[0].labels == ("dog",)
    assert made.pictures[0].in_pixels(40, 20).tolist() == [[10.0, 0.0, 30.0, 20.0]]
    alone = labelled.read(tmp_path, each_alone=True)
    assert alone.pictures[0].key[2] == ""
    assert alone.sha256 != made.sha256


def test_a_coco_file_is_read_and_another_truth_is_another_set(tmp_path: Path) -> None:
    """Site, camera and day from the image; the digest changes with a box."""
    picture(tmp_path / "a.png")
    said = {
        "images": [{"id": 1, "file_name": "a.png", "site": "s", "camera": "c",
                    "date_captured": "2026-05-17 10:00"}],
        "annotations": [{"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 7, "name": "dog"}],
    }  # fmt: skip
    (tmp_path / labelled.ANNOTATIONS).write_text(json.dumps(said))
    first = labelled.read(tmp_path)
    assert first.pictures[0].key == ("s", "c", "2026-05-17")
    assert first.pictures[0].boxes.tolist() == [[1, 2, 4, 6]]
    said["annotations"][0]["bbox"] = [1, 2, 3, 5]
    (tmp_path / labelled.ANNOTATIONS).write_text(json.dumps(said))
    assert labelled.read(tmp_path).sha256 != first.sha256


OUTSIDE = {"images": [{"id": 1, "file_name": "../x"}], "annotations": [], "categories": []}
STRAY = {"images": [], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 1, 1]}],
         "categories": []}  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 100_000, "{}", json.dumps(OUTSIDE), json.dumps(STRAY)]
)
def test_a_coco_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    """Empty, deep, leading out of the folder, boxes of pictures that are not there."""
    (tmp_path / labelled.ANNOTATIONS).write_text(text)
    with pytest.raises(ConfigError):
        labelled.read(tmp_path)


@pytest.mark.parametrize("line", ["9 0.5 0.5 1 1", "x", "0 0.5 nan 1 1", "0 5 5 5 5", "0 0.5"])
def test_a_text_that_holds_no_box_is_refused(tmp_path: Path, line: str) -> None:
    """A class that is not there, no number, outside of the picture."""
    picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text(line)
    (tmp_path / "classes.txt").write_text("person\n")
    with pytest.raises(ConfigError):
        labelled.read(tmp_path)
