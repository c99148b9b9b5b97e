"""How each family of models wants to be fed, by the habit of those who train it.

The rule: a convention is a proposal. It stands in the manifest, `vedette model inspect` shows it,
and every part of it can be said by hand at the import.

Source: the preprocessing in each project's own inference code: Megvii YOLOX (`preproc`),
Ultralytics (`LetterBox`), dog-qiuqiu/FastestDet (test.py), RangiLyu/nanodet (configurations),
qfgaohao/pytorch-ssd (`PredictionTransform`), lyuwenyu/RT-DETR, Peterande/D-FINE, Roboflow RF-DETR;
ImageNet statistics as in torchvision.
"""

from typing import Any, Final

import msgspec

from vedette.errors import ConfigError, ModelLoadFailed
from vedette.inference.backends import TensorInfo
from vedette.vision.heads import FAMILIES, HeadSpec
from vedette.vision.preprocess import Preprocess

_UNIT: Final = {"scale": 1 / 255}
_IMAGENET: Final = _UNIT | {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_STRETCH: Final = {"resize": "stretch"}
_LETTERBOX: Final = {"resize": "letterbox", "anchor": "center"}

# What a person may call a family → its kind.
ALIASES: Final = {
    "yolov6": "yolov5",
    "yolov7": "yolov5",
    "yolov9": "yolov8",
    "yolo11": "yolov8",
    "yolo12": "yolov8",
    "yolov10": "end_to_end",
    "yolo26": "end_to_end",
    "nanodet-plus": "nanodet",
    "rt-detr": "detr",
    "d-fine": "detr",
    "rf-detr": "detr",
}
NAMES: Final = (*FAMILIES, *ALIASES)

_CONVENTIONS: Final[dict[str, dict[str, Any]]] = {
    "centernet": _STRETCH,
    "yolox": {"color": "BGR", "resize": "letterbox", "anchor": "top_left"},
    "yolov5": _UNIT | _LETTERBOX,
    "yolov5_raw": _UNIT | _LETTERBOX,
    "yolov8": _UNIT | _LETTERBOX,
    "end_to_end": _UNIT | _LETTERBOX,
    "fastestdet": _UNIT | _STRETCH | {"color": "BGR"},
    "nanodet": _STRETCH
    | {"color": "BGR", "mean": (103.53, 116.28, 123.675), "std": (57.375, 57.12, 58.395)},
    "ssd": _STRETCH | {"mean": (127.0,) * 3, "std": (128.0,) * 3},
    "detr": _UNIT | _STRETCH,
    "rf-detr": _IMAGENET | _STRETCH,
    "decoded": _UNIT | _STRETCH,
}
# Names of outputs by which RF-DETR, which alone of its kin wants ImageNet's statistics, is known.
_RF_DETR: Final = {"logits": "labels", "boxes": "dets"}


def kind_of(said: str) -> str:
    """Return the kind of head that a name means.

    Raises:
        ConfigError: There is no such family.
    """
    kind = ALIASES.get(said.lower(), said.lower())
    if kind not in FAMILIES:
        raise ConfigError(
            f"there is no head {said!r}",
            operator_hint=f"There are: {', '.join(NAMES)}; or give a file with the head as JSON "
            "(docs/models.md).",
        )
    return kind


def habit_of(head: HeadSpec, said: str | None) -> str:
    """Return the convention for a head that the user called `said`, or nothing."""
    if head.kind == "detr" and (said == "rf-detr" or dict(head.outputs) == _RF_DETR):
        return "rf-detr"
    return head.kind


def preprocess(info: TensorInfo, habit: str) -> Preprocess:
    """Return the input by a convention.

    Args:
        info: The picture's input: four sides, three channels first or last.
        habit: A kind of head, or `rf-detr`.

    Raises:
        ModelLoadFailed: The input's type is none that a picture can be made into.
    """
    if info.dtype not in {"float32", "float16", "uint8", "int32"}:
        raise ModelLoadFailed(
            f"the input is {info.dtype}, which no picture can be made into",
            operator_hint="Export the model with a float32, float16, uint8 or int32 input.",
        )
    first = info.shape[1] == 3
    height, width = info.shape[2:4] if first else info.shape[1:3]
    habits = dict(_CONVENTIONS[habit])
    if habit == "decoded" and not first:
        habits["scale"] = 1.0  # TensorFlow's habit: bytes go in, and the network scales them
    if info.dtype in {"uint8", "int32"}:
        habits |= {"scale": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    plain = Preprocess(size=(width or 0, height or 0), layout="NCHW" if first else "NHWC")
    return msgspec.structs.replace(plain, dtype=info.dtype, **habits)


def override(proposed: Preprocess, said: dict[str, Any]) -> Preprocess:
    """Return the input with what the user said by hand in place of the convention.

    Raises:
        ConfigError: Something that no input can have.
    """
    try:
        return msgspec.convert(msgspec.to_builtins(proposed) | said, Preprocess)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the input cannot be as said: {error}") from error
