"""From an embedding to the scene whose prototype is nearest.

Source: zero-shot classification by cosine similarity and temperature, Radford et al., "Learning
Transferable Visual Models From Natural Language Supervision" (2021), section 3.1.2.
"""

import numpy as np

from vedette.vision.tasks.classification import Classes, softmax
from vedette.vision.tasks.spec import Embedding, Floats, Outputs, take_vector

_TINY = 1e-12


def decode(spec: Embedding, outputs: Outputs) -> Floats:
    """Return the vector, not normalised: float32, (dimensions,).

    Raises:
        BadModelOutput: NaN, infinity or a wrong shape.
    """
    return take_vector(spec.output, outputs, spec.dimensions)


def normalised(rows: Floats) -> Floats:
    """Return vectors of length one in the same directions; zero stays zero."""
    wide = rows.astype(np.float64)
    length = np.linalg.norm(wide, axis=-1, keepdims=True)
    return (wide / np.maximum(length, _TINY)).astype(np.float32)


def scenes(spec: Embedding, prototypes: Floats, labels: int, vector: Floats) -> Classes:
    """Return how sure it is that `vector` is of each label.

    Args:
        spec: Temperature, and which prototype stands for which label.
        prototypes: float32, (rows, dimensions), of length one.
        labels: How many there are.
        vector: float32, (dimensions,).
    """
    cosine = prototypes @ normalised(vector)
    best = np.full(labels, -2.0, np.float32)  # below any cosine: a label without prototype
    rows = np.array(spec.labels_of, np.intp) if spec.labels_of else np.arange(len(prototypes))
    np.maximum.at(best, rows, cosine)
    nearest = float(np.clip(cosine.max(), -1, 1))
    if nearest < spec.min_similarity:
        return Classes(np.zeros(labels, np.float32), exclusive=True, similarity=nearest)
    probability = softmax((best / spec.temperature).astype(np.float32))
    probability[best < -1.5] = 0
    return Classes(probability, exclusive=True, similarity=nearest)
