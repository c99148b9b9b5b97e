"""What shapes cannot tell about a model, read off one run on the rendered scene.

Here: which of several families it is, whether scores need an activation, whether boxes are decoded
and in which unit. The rule: a question that the run does not answer is asked, never guessed.
"""

from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from vedette.errors import BadModelOutput, ModelLoadFailed
from vedette.vision.heads import HeadSpec, decode, grid
from vedette.vision.heads.spec import SCORE_SLACK
from vedette.vision.preprocess import Transform

Outputs = dict[str, npt.NDArray[Any]]

# Rows that are decoded have centres spread over the input; offsets from cells stay near zero.
_DECODED_PART: Final = 0.2
# A fraction of the input may reach a little over its edge, a pixel is far above one.
_LARGEST_FRACTION: Final = 3.0


def is_decoded(head: HeadSpec, outputs: Outputs, input_px: tuple[int, int]) -> bool:
    """Return whether the rows of YOLOX or YOLOv5 hold boxes in pixels already."""
    rows = np.asarray(outputs[head.outputs["predictions"]], np.float32)[0]
    centre = np.abs(rows[:, :2]).mean(axis=0)
    return bool((centre > _DECODED_PART * np.array(input_px)).all())


def is_decoded_yolox(head: HeadSpec, outputs: Outputs, input_px: tuple[int, int]) -> bool:
    """Return whether decoded rows are those of YOLOX, whose places have no anchors.

    YOLOv6 has as many rows, but no objectness: its export fills that column with ones.
    """
    rows = np.asarray(outputs[head.outputs["predictions"]], np.float32)[0]
    return len(rows) == grid.count(input_px, grid.STRIDES) and not bool((rows[:, 4] == 1).all())


def narrowed(heads: list[HeadSpec], outputs: Outputs, input_px: tuple[int, int]) -> list[HeadSpec]:
    """Return those of `heads` that the run does not rule out."""
    kept = []
    for head in heads:
        rows = head.outputs.get("predictions", "")
        if head.kind in {"yolox", "yolov5"} and rows in outputs:
            on_grid = outputs[rows].shape[1] == grid.count(input_px, grid.STRIDES)
            if on_grid and is_decoded(head, outputs, input_px) != (head.kind == "yolov5"):
                continue
        kept.append(head)
    return kept


def settled(head: HeadSpec, outputs: Outputs, transform: Transform) -> HeadSpec:
    """Return the head with the activation and the unit of boxes that the run shows.

    Raises:
        ModelLoadFailed: The outputs cannot be read this way at all.
    """
    head = msgspec.structs.replace(head, activation=_activation(head, outputs))
    head = _with_boxes(head, outputs)
    try:
        decode(head, outputs, transform, 0.5)
    except BadModelOutput as error:
        raise ModelLoadFailed(
            f"read as {head.kind}, the network does not answer sensibly: {error}",
            operator_hint="Name the family with --head, or give the labels it was trained with.",
        ) from error
    return head


def _activation(head: HeadSpec, outputs: Outputs) -> str:
    """Return what turns the scores into probabilities."""
    scores = _scores(head, outputs)
    if scores is None or not scores.size:
        return "none"
    if scores.min() >= -SCORE_SLACK and scores.max() <= 1 + SCORE_SLACK:
        return "none"
    if head.background == "none":
        return "sigmoid"
    return "softmax"


def _scores(head: HeadSpec, outputs: Outputs) -> npt.NDArray[np.float32] | None:
    """Return the scores of a run, or None where the family fixes what they are."""
    named = {role: np.asarray(outputs[name]) for role, name in head.outputs.items()}
    match head.kind:
        case "yolox" | "yolov5":
            found = named["predictions"][..., 4:]
        case "yolov5_raw":
            # Channels first or last, the box is a part of what was activated or was not.
            found = np.concatenate([value.ravel() for value in named.values()])
        case "yolov8":
            rows = named["predictions"]
            found = rows[:, 4:] if rows.shape[1] == 4 + head.classes else rows[..., 4:]
        case "nanodet":
            found = named["predictions"][..., : head.classes]
        case "centernet":
            found = named["heatmap"]
        case "ssd":
            found = named["scores"]
        case "detr":
            both = named.get("predictions")
            found = named["logits"] if both is None else both[..., 4:]
        case _:
            return None
    return np.asarray(found, np.float32)


def _with_boxes(head: HeadSpec, outputs: Outputs) -> HeadSpec:
    """Return the head with the unit of its boxes, where the family leaves it open.

    Raises:
        ModelLoadFailed: They are offsets from prior boxes that nobody gave.
    """
    role = {"ssd": "boxes", "decoded": "boxes", "end_to_end": "predictions"}.get(head.kind)
    if role is None or role not in head.outputs or "priors" in head.outputs:
        return head
    boxes = np.asarray(outputs[head.outputs[role]], np.float32).reshape(
        -1, outputs[head.outputs[role]].shape[-1]
    )[:, :4]
    if head.kind == "ssd" and len(boxes):
        ordered = (boxes[:, 2] >= boxes[:, 0]) & (boxes[:, 3] >= boxes[:, 1])
        if ordered.mean() < 0.9:
            raise ModelLoadFailed(
                f"{head.outputs[role]} holds no boxes but offsets from prior boxes",
                operator_hint="Give the prior boxes with --priors FILE: centre x, centre y, width, "
                "height in fractions of the input, one prior box a line, or (n, 4) as .npy.",
            )
    largest = float(np.abs(boxes).max()) if boxes.size else 0.0
    if largest == 0:
        return head  # it found nothing here: the family's habit stands
    unit = "pixels" if largest > _LARGEST_FRACTION else "fraction"
    return msgspec.structs.replace(head, unit=unit)
