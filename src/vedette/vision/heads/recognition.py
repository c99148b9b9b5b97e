"""Which family a model's inputs and outputs look like.

Here: one function per family that proposes a head for shapes and names, and `recognise`, which
collects them. Not here: what only a run can tell (the activation, whether boxes are decoded), which
the import finds out. The rule: everything that fits is proposed; nothing is decided by guessing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from vedette.vision.heads import centernet, fastestdet, grid, nanodet, yolov5
from vedette.vision.heads.spec import HeadSpec

Dimension = int | str | None  # ONNX allows a name or nothing where a size is free
Shapes = Mapping[str, Sequence[Dimension]]
Size = tuple[int, int]

COCO_CLASSES: Final = 80
MAX_CLASSES: Final = 100_000
MAX_QUERIES: Final = 2000
NMS_DONE: Final = 1.0
# Strides of the pyramids that YOLO models are made with: plain, with a large and a small level.
_PYRAMIDS: Final = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))


def recognise(inputs: Shapes, outputs: Shapes, *, classes: int | None = None) -> list[HeadSpec]:
    """Return every head that these shapes and names can be; the activation is not known yet.

    Args:
        inputs: Shape per input name, (1, 3, h, w) or (1, h, w, 3); the one picture.
        outputs: Shape per output name; a free length is None or a name.
        classes: How many labels the user has: heads with another number are left out, and it is
            the number for those whose shapes do not say it (80 where it is None).
    """
    size = input_px(inputs)
    if size is None:
        return []
    found: list[HeadSpec] = []
    for propose in _FAMILIES:
        found += [head for head in propose(size, outputs, classes) if head not in found]
    return [head for head in found if classes is None or head.classes == classes]


def input_px(inputs: Shapes) -> Size | None:
    """Return width and height of the one picture that goes in, or None where that is not fixed."""
    if len(inputs) != 1:
        return None
    sides = tuple(next(iter(inputs.values())))[1:]
    match sides:
        case (3, int(height), int(width)) | (int(height), int(width), 3) if height > 0 < width:
            return width, height
        case _:
            return None


def _one(outputs: Shapes) -> tuple[str, tuple[Dimension, ...]] | None:
    """Return name and shape of the only output, without its batch; None where there are more."""
    if len(outputs) != 1:
        return None
    name, shape = next(iter(outputs.items()))
    return (name, tuple(shape)[1:]) if len(shape) > 1 else None


def _head(kind: str, classes: int, outputs: dict[str, str], **more: object) -> list[HeadSpec]:
    if not 1 <= classes <= MAX_CLASSES:
        return []
    return [HeadSpec(kind=kind, classes=classes, outputs=outputs, **more)]  # pyright: ignore[reportArgumentType]


def _rows(size: Size, outputs: Shapes, _: int | None) -> list[HeadSpec]:
    """Return the heads with one row per place: YOLOX, YOLOv5, YOLOv8 turned over, NanoDet."""
    match _one(outputs):
        case name, (int(n), int(wide)):
            pass
        case _:
            return []
    found: list[HeadSpec] = []
    role = {"predictions": name}
    if n == grid.count(size, grid.STRIDES):
        found += _head("yolox", wide - 5, role, strides=grid.STRIDES)
        found += _head("yolov5", wide - 5, role)
    if n in {3 * grid.count(size, strides) for strides in _PYRAMIDS}:
        found += _head("yolov5", wide - 5, role)
    if n in {grid.count(size, strides) for strides in _PYRAMIDS}:
        found += _head("yolov8", wide - 4, role)
    for strides, offset in ((nanodet.STRIDES, 0.0), (nanodet.STRIDES[:3], 0.5)):
        if n == grid.count(size, strides):
            found += _head("nanodet", wide - 32, role, strides=strides, cell_offset=offset)
    return found


def _columns(size: Size, outputs: Shapes, _: int | None) -> list[HeadSpec]:
    """Return YOLOv8 where the only output has one column per place of a known pyramid."""
    match _one(outputs):
        case name, (int(wide), int(n)) if n in {grid.count(size, s) for s in _PYRAMIDS}:
            return _head("yolov8", wide - 4, {"predictions": name})
        case _:
            return []


def _raw_grids(size: Size, outputs: Shapes, _: int | None) -> list[HeadSpec]:
    """Return YOLOv5 before decoding, where three outputs are its grids."""
    names: dict[str, str] = {}
    widths: set[int] = set()
    for name, shape in outputs.items():
        match tuple(shape)[1:]:
            case (3, int(lines), int(columns), int(wide)):
                pass
            case (int(channels), int(lines), int(columns)) if channels % 3 == 0:
                wide = channels // 3
            case _:
                return []
        for number, stride in enumerate(grid.STRIDES):
            if (columns, lines) == (-(-size[0] // stride), -(-size[1] // stride)):
                names[f"level{number}"] = name
        widths.add(wide)
    if len(outputs) != 3 or len(names) != 3 or len(widths) != 1:
        return []
    return _head(
        "yolov5_raw",
        widths.pop() - 5,
        dict(sorted(names.items())),
        strides=grid.STRIDES,
        anchors=yolov5.ANCHORS,
    )


def _end_to_end(size: Size, outputs: Shapes, classes: int | None) -> list[HeadSpec]:
    """Return six columns per object; nothing says how many classes there are."""
    match _one(outputs):
        case name, (int() | str() | None as n, 6) if n not in {
            m * grid.count(size, strides) for m in (1, 3) for strides in _PYRAMIDS
        }:
            role = {"predictions": name}
            return _head("end_to_end", classes or COCO_CLASSES, role, iou=NMS_DONE)
        case _:
            return []


def _fastestdet(size: Size, outputs: Shapes, _: int | None) -> list[HeadSpec]:
    cells = tuple(-(-side // fastestdet.STRIDE) for side in size[::-1])
    match _one(outputs):
        case name, (int(wide), int(lines), int(columns)) if (lines, columns) == cells:
            strides = (fastestdet.STRIDE,)
            return _head("fastestdet", wide - 5, {"predictions": name}, strides=strides)
        case _:
            return []


def _centernet(size: Size, outputs: Shapes, _: int | None) -> list[HeadSpec]:
    """Return the head where one output has four channels and the other one per class."""
    cells = (size[1] // centernet.STRIDE, size[0] // centernet.STRIDE)
    channels: dict[str, int] = {}
    for name, shape in outputs.items():
        match tuple(shape)[1:]:
            case (int(lines), int(columns), int(depth)) if (lines, columns) == cells:
                channels[name] = depth
            case _:
                return []
    return [
        head
        for boxes, heatmap in _pairs(channels)
        if channels[boxes] == 4
        for head in _head(
            "centernet",
            channels[heatmap],
            {"heatmap": heatmap, "boxes": boxes},
            strides=(centernet.STRIDE,),
        )
    ]


def _pairs(names: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return both orders of two names; with any other number, none."""
    match list(names):
        case [first, second]:
            return [(first, second), (second, first)]
        case _:
            return []


def _priors(_: Size, outputs: Shapes, __: int | None) -> list[HeadSpec]:
    """Return SSD and DETR: a box and one score per class for each of n places."""
    wanted = {name: tuple(shape) for name, shape in outputs.items()}
    priors = next((name for name in wanted if "prior" in name or "anchor" in name), None)
    pair = {name: shape for name, shape in wanted.items() if name != priors}
    found: list[HeadSpec] = []
    for boxes, scores in _pairs(pair):
        if len(pair[boxes]) != 3 or len(pair[scores]) != 3:
            continue
        n, four, wide = pair[boxes][1], pair[boxes][2], pair[scores][2]
        if (
            four != 4
            or n != pair[scores][1]
            or not isinstance(wide, int)
            or _is_boxes(scores, boxes)
        ):
            continue
        if priors is None and isinstance(n, int) and n <= MAX_QUERIES:
            found += _head("detr", wide, {"logits": scores, "boxes": boxes}, iou=NMS_DONE)
        roles = {"boxes": boxes, "scores": scores} | ({"priors": priors} if priors else {})
        if not isinstance(n, int) or n > MAX_QUERIES // 2 or priors:
            found += _head("ssd", wide - 1, roles, background="first", unit="fraction")
            found += _head("ssd", wide, roles, unit="fraction")
    return found


def _is_boxes(name: str, other: str) -> bool:
    """Return whether of two outputs of the same shape `name` is the one with the boxes."""
    words = ("box", "loc", "dets")
    return any(w in name.lower() for w in words) and not any(w in other.lower() for w in words)


def _queries(size: Size, outputs: Shapes, _: int | None) -> list[HeadSpec]:
    """Return DETR with boxes and scores in one output, as Ultralytics exports RT-DETR."""
    match _one(outputs):
        case name, (int(n), int(wide)) if wide > 6 and _is_queries(n, size):
            return _head("detr", wide - 4, {"predictions": name}, iou=NMS_DONE)
        case _:
            return []


def _is_queries(n: int, size: Size) -> bool:
    """Return whether a network may well have n queries: a round number, and no count of cells."""
    cells = {m * grid.count(size, strides) for m in (1, 3) for strides in _PYRAMIDS}
    return 100 <= n <= MAX_QUERIES and n % 50 == 0 and n not in cells


_ROLES: Final = {
    "boxes": ("detection_boxes", "det_boxes", "boxes", "bboxes", "dets"),
    "scores": ("detection_scores", "det_scores", "scores"),
    "labels": ("detection_classes", "det_classes", "labels", "classes", "class_ids"),
    "count": ("num_detections", "num_dets", "num"),
}


def _decoded(_: Size, outputs: Shapes, classes: int | None) -> list[HeadSpec]:
    """Return finished detections, which names tell and shapes confirm."""
    match list(outputs.items()):
        case [(name, (1, 1, _, 7))]:
            roles = {"detections": name}
            number = classes or COCO_CLASSES
            return _head("decoded", number, roles, iou=NMS_DONE, unit="fraction")
        case _:
            pass
    roles: dict[str, str] = {}
    for name in outputs:
        plain = name.split(":")[0].lower()
        role = next((role for role, names in _ROLES.items() if plain in names), None)
        if role is not None:
            roles.setdefault(role, name)
    if not {"boxes", "labels"} <= roles.keys():
        return []
    deep = len(outputs[roles["boxes"]])
    wide = outputs[roles["boxes"]][-1] if deep in {2, 3} else None
    if wide != (4 if "scores" in roles else 5) or len(outputs[roles["labels"]]) != deep - 1:
        return []
    if "detection_boxes" in roles["boxes"]:
        tensorflow = {"boxes": "yxyx", "unit": "fraction", "background": "first"}
        return _head("decoded", classes or COCO_CLASSES, roles, iou=NMS_DONE, **tensorflow)
    return _head("decoded", classes or COCO_CLASSES, roles, iou=NMS_DONE)


_FAMILIES: Final[tuple[Callable[[Size, Shapes, int | None], list[HeadSpec]], ...]] = (
    _rows,
    _columns,
    _raw_grids,
    _end_to_end,
    _fastestdet,
    _centernet,
    _queries,
    _priors,
    _decoded,
)
