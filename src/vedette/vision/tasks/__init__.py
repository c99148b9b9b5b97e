"""Models that answer for the whole picture: what it shows, its vector, how strange it is.

    task             outputs                                     answer
    classification   logits or probabilities (1, c)              classes
    embedding        vector (1, d), prototypes in the bundle     embedding, classes
    anomaly          reconstruction, score, map or vector        anomaly

Here: the table of tasks and `Reader`, which reads the outputs of one model. Not here: detection
(`vision.heads`), running the model (`inference`), and what lasts over several pictures
(`holding`). The rule: outputs that cannot be meant are `BadModelOutput`, never a strange answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from vedette.errors import ModelLoadFailed
from vedette.vision.preprocess import Preprocess, Transform
from vedette.vision.tasks import anomaly, classification, embedding
from vedette.vision.tasks.anomaly import Layout, Strangeness
from vedette.vision.tasks.classification import Classes
from vedette.vision.tasks.spec import (
    Anomaly,
    Classification,
    Embedding,
    Floats,
    Outputs,
    Reference,
    Task,
    encode_reference,
    parse_reference,
    reference_of,
)

__all__ = [
    "Anomaly",
    "Answer",
    "Classes",
    "Classification",
    "Embedding",
    "Floats",
    "Reader",
    "Reference",
    "Strangeness",
    "Task",
    "encode_reference",
    "kind_of",
    "labels_problem",
    "reference_of",
]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What one picture's outputs say; None where the task does not ask."""

    classes: Classes | None = None
    embedding: Floats | None = None
    anomaly: Strangeness | None = None


class Reader:
    """Reads the outputs of one model. Thread: any number at once.

    Args:
        task: What the model is for.
        labels: How many there are.
        preprocess: How its input is made.
        read: Gives a file of the bundle.

    Raises:
        ModelLoadFailed: Labels, prototypes or the reference do not fit.
    """

    def __init__(
        self, task: Task, labels: int, preprocess: Preprocess, read: Callable[[str], bytes]
    ) -> None:
        self.task: Task = task
        self._labels = labels
        self._layout: Layout = preprocess.layout
        self._reference: Floats | None = None
        problem = labels_problem(task, labels)
        if problem:
            raise ModelLoadFailed(
                problem, operator_hint="Give the file with the labels this model was made with."
            )
        reference = reference_of(task)
        if reference is not None and not isinstance(task, Classification):
            rows = parse_reference(read(reference.file), reference, task.dimensions)
            if isinstance(task, Embedding):
                self._reference = embedding.normalised(rows)
            else:
                self._reference = anomaly.fitted(task, rows)

    def read(self, outputs: Outputs, tensor: npt.NDArray[Any], transform: Transform) -> Answer:
        """Return what the outputs say of the picture that `tensor` was made of.

        Raises:
            BadModelOutput: NaN, infinity or a wrong shape.
        """
        match self.task:
            case Classification():
                return Answer(classes=classification.decode(self.task, outputs))
            case Embedding():
                vector = embedding.decode(self.task, outputs)
                if self._reference is None:
                    return Answer(embedding=vector)
                classes = embedding.scenes(self.task, self._reference, self._labels, vector)
                return Answer(classes=classes, embedding=vector)
            case Anomaly():
                strange = anomaly.decode(
                    self.task, self._reference, outputs, tensor, transform, layout=self._layout
                )
                return Answer(anomaly=strange)


def kind_of(task: Task) -> str:
    """Return `classification`, `embedding` or `anomaly`."""
    return type(task).__name__.lower()


def labels_problem(task: Task, labels: int) -> str | None:
    """Return what is wrong with that many labels for this task, None where nothing is."""
    match task:
        case Classification() if task.classes != labels:
            return f"the task has {task.classes} classes, but there are {labels} labels"
        case Embedding(prototypes=None) | Anomaly() if labels:
            return f"{kind_of(task)} without prototypes has no labels, but there are {labels}"
        case Embedding() if task.prototypes and not task.labels_of:
            if task.prototypes.rows != labels:
                return f"{task.prototypes.rows} prototypes, but {labels} labels"
        case Embedding() if task.labels_of and max(task.labels_of) >= labels:
            return f"a prototype is of label {max(task.labels_of)}, but there are {labels}"
        case _:
            pass
    return None
