"""What a model found in one picture, as arrays.

Here: the value and its validation, done once at construction so that later code need not check.
Not here: how outputs of a network become boxes (`vision.heads`) and who is who over time
(`vision.tracking`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_] | npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """n objects found in one picture, in no promised order.

    Attributes:
        boxes_xyxy: float32, (n, 4): left, top, right, bottom in picture pixels, clipped to it.
        confidence: float32, (n,), 0–1.
        class_id: int32, (n,), index into the model's labels.
        entropy: float32, (n,), 0–1: how undecided the model was about this box; 1 at a coin toss.

    Raises:
        ValueError: A dtype or shape is not as said above.
    """

    boxes_xyxy: Floats
    confidence: Floats
    class_id: Ints
    entropy: Floats

    def __post_init__(self) -> None:
        n = len(self.boxes_xyxy)
        for name, array, dtype, shape in (
            ("boxes_xyxy", self.boxes_xyxy, np.float32, (n, 4)),
            ("confidence", self.confidence, np.float32, (n,)),
            ("class_id", self.class_id, np.int32, (n,)),
            ("entropy", self.entropy, np.float32, (n,)),
        ):
            if array.dtype != dtype or array.shape != shape:
                wanted = f"{np.dtype(dtype).name} {shape}"
                raise ValueError(f"{name} is {array.dtype} {array.shape}, expected {wanted}")

    def __len__(self) -> int:
        return len(self.confidence)

    def __iter__(self) -> Iterator[tuple[Floats, float, int, float]]:
        """Yield (box, confidence, class_id, entropy) per detection."""
        for index in range(len(self)):
            yield (
                self.boxes_xyxy[index],
                float(self.confidence[index]),
                int(self.class_id[index]),
                float(self.entropy[index]),
            )

    @classmethod
    def empty(cls) -> "Detections":
        """Return no detections."""
        return cls(
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int32),
            np.zeros(0, np.float32),
        )

    def where(self, mask: Mask) -> "Detections":
        """Return those that a boolean mask (n,) or an index array selects."""
        return Detections(
            self.boxes_xyxy[mask], self.confidence[mask], self.class_id[mask], self.entropy[mask]
        )
