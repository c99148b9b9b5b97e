"""From logits to the classes of a picture."""

from dataclasses import dataclass

import numpy as np

from vedette.vision.heads.spec import bad
from vedette.vision.tasks.spec import Classification, Floats, Outputs, take_vector

_ROUNDING = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """How sure a model is of each class of a picture.

    Attributes:
        probability: float32, (c,), 0–1. All zero where the picture is of none of them.
        exclusive: True where they exclude each other; their sum is then at most one.
        similarity: Cosine to the nearest prototype, where that is what was asked.
    """

    probability: Floats
    exclusive: bool
    similarity: float | None = None

    @property
    def top(self) -> int:
        """The most probable class."""
        return int(self.probability.argmax())

    @property
    def entropy(self) -> float:
        """0–1: how undecided; 1 where every class is as probable as any other.

        Source: Shannon entropy over its largest value; for classes that do not exclude each other
        the mean of each one's own.
        """
        p = np.clip(self.probability.astype(np.float64), 1e-12, 1.0)
        if self.exclusive:
            return float(-(p * np.log(p)).sum() / np.log(max(len(p), 2)))
        q = np.clip(1.0 - p, 1e-12, 1.0)
        return float(-(p * np.log2(p) + q * np.log2(q)).mean())


def decode(spec: Classification, outputs: Outputs) -> Classes:
    """Return the probability of each class.

    Raises:
        BadModelOutput: NaN, infinity, a wrong shape, or probabilities outside 0 to 1.
    """
    scores = take_vector(spec.output, outputs, spec.classes)
    if spec.activation == "softmax":
        return Classes(softmax(scores), exclusive=True)
    if spec.activation == "sigmoid":
        return Classes(sigmoid(scores), exclusive=spec.exclusive)
    low, high = float(scores.min()), float(scores.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise bad(f"probabilities are {low:.3g} to {high:.3g}; are they logits?")
    return Classes(np.clip(scores, 0, 1), exclusive=spec.exclusive)


def softmax(scores: Floats) -> Floats:
    """Return probabilities of logits, float32 (c,); large logits do not overflow."""
    shifted = scores.astype(np.float64) - float(scores.max())
    powers = np.exp(shifted)
    return (powers / powers.sum()).astype(np.float32)


def sigmoid(scores: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), float32; large logits do not overflow."""
    return (0.5 * (1.0 + np.tanh(0.5 * scores.astype(np.float64)))).astype(np.float32)
