"""Lists of class names that models are commonly trained with, and reading one from a file."""

from pathlib import Path

from vedette.errors import ConfigError
from vedette.inference.manifest import MAX_LABEL_CHARS, MAX_LABELS

# The 80 object classes of COCO, in the order of their ids. Source: Lin et al. 2014, cocodataset.
COCO80: tuple[str, ...] = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat"),
    *("dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack"),
    *("umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball"),
    *("kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket"),
    *("bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair"),
    *("couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse"),
    *("remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink"),
    *("refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier"),
    "toothbrush",
)

# COCO's own ids go to 90 and leave these out; many models have an output for them all the same.
_COCO_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)


def _with_gaps() -> tuple[str, ...]:
    """Return a label for each of COCO's ids 1 to 90, `unused 12` and so on in the gaps."""
    used = iter(COCO80)
    return tuple(f"unused {n}" if n in _COCO_UNUSED else next(used) for n in range(1, 91))


COCO90 = _with_gaps()

NAMED: dict[str, tuple[str, ...]] = {
    "coco80": COCO80,
    "coco90": COCO90,  # ids from 1, as TensorFlow's detection models count
    "coco91": ("background", *COCO90),  # ids from 0: torchvision, RF-DETR
}


def read(name_or_path: str) -> list[str]:
    """Return a named list, or the lines of a text file, one label a line, in the order of ids.

    Raises:
        ConfigError: Neither a known name nor a readable list of distinct labels.
    """
    known = NAMED.get(name_or_path.lower())
    if known is not None:
        return list(known)
    path = Path(name_or_path)
    try:
        # Two bytes more per label than any allowed one needs: longer files are not lists.
        with path.open("rb") as stream:
            text = stream.read(MAX_LABELS * (4 * MAX_LABEL_CHARS + 2)).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"no list of labels called {name_or_path!r}, and no text file of that name: {error}",
            operator_hint=f"Give one of {', '.join(NAMED)}, or a file with one label a line.",
        ) from error
    labels = [line.strip() for line in text.splitlines() if line.strip()]
    if not labels or len(set(labels)) != len(labels):
        raise ConfigError(
            f"{path} holds no labels, or one of them twice",
            operator_hint="Write one label a line, in the order of the model's class ids.",
        )
    return labels
