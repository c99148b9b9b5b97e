"""What a camera's pictures go through now: a model, and how that camera reads its answers.

Here: the two of them and what changes from one to the next. Not here: when (`swapping`), running
(`stages`) and what is counted (`analysis`). The rules:

- A picture is stamped with what serves its camera when it gets its ticket. Tickets are in order, so
  one camera's results change from one model to the next once, and never back.
- `Reading` holds no model: a camera from which nothing comes any more keeps none in memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vedette.edge.scenes import SceneWatch
from vedette.edge.settings import Camera
from vedette.inference.manifest import Manifest
from vedette.inference.model import Model

LOW_CONFIDENCE: Final = 0.1
PEOPLE: Final = frozenset({"person", "people", "pedestrian", "human"})
"""Classes that are people, as detectors call them."""

GONE: Final = -1
"""Instead of the id of a class that the next model does not know."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """How one camera reads the answers of one model.

    Attributes:
        digest: Of the bundle, for events and sums.
        labels: The model's classes by id.
        thresholds: float32, (k,), 0 to 1: confidence from which a detection counts, by class.
        wanted: bool, (k,): classes that the camera looks for.
        watches_people: Whether everybody in the picture is looked for: blurring relies on it.
        scene: Where the model answers for whole pictures and gives no boxes.
        model: Name and version of the model; empty where nobody said.
    """

    digest: str
    labels: tuple[str, ...]
    thresholds: npt.NDArray[np.float32]
    wanted: npt.NDArray[np.bool_]
    watches_people: bool = False
    scene: SceneWatch | None = None
    model: tuple[str, str] = ("", "")

    @classmethod
    def of(
        cls,
        camera: Camera,
        labels: Sequence[str],
        *,
        digest: str,
        threshold: float | npt.NDArray[np.floating],
        watches_people: bool = False,
        scene: SceneWatch | None = None,
        model: tuple[str, str] = ("", ""),
    ) -> "Reading":
        """Return a camera's reading of a model with these classes.

        Args:
            camera: Its settings.
            labels: By class id.
            digest: The model's.
            threshold: One for all, or float32, (k,), each label's own.
            watches_people: See the attribute.
            scene: See the attribute.
            model: See the attribute.
        """
        return cls(
            digest=digest,
            labels=tuple(labels),
            thresholds=np.full(len(labels), threshold, np.float32),
            wanted=np.array(
                [not camera.labels or label in camera.labels for label in labels], np.bool_
            ),
            watches_people=watches_people,
            scene=scene,
            model=model,
        )

    @property
    def ask_threshold(self) -> float:
        """What the model is asked for: below all that counts, so that tracks can go on."""
        asked = self.thresholds[self.wanted]
        return min(LOW_CONFIDENCE, float(asked.min(initial=1.0)) / 2)

    def ids_in(self, later: "Reading") -> npt.NDArray[np.int32]:
        """Return each class's id in a later reading, int32, (k,); `GONE` where it has none.

        Classes are the same by name, and only between models that both give boxes.
        """
        if self.scene is not None or later.scene is not None:
            return np.full(len(self.labels), GONE, np.int32)
        known = {label: index for index, label in enumerate(later.labels) if later.wanted[index]}
        return np.array([known.get(label, GONE) for label in self.labels], np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A model and one camera's reading of it.

    Attributes:
        batch_sizes: Pictures of this model that may go through one call.
    """

    model: Model
    reading: Reading
    batch_sizes: tuple[int, ...] = (1,)


class Serving:
    """What serves one camera. Thread: any; replaced whole.

    Args:
        now: What serves it at first.
        make: Returns what a model would be for this camera; raises `ConfigError` where the camera
            looks for a class that the model does not know.
        read: Returns how this camera would read the answers of a model that runs elsewhere, by its
            manifest and digest; raises likewise.
    """

    def __init__(
        self,
        now: Served,
        make: Callable[[Model], Served] | None = None,
        read: Callable[[Manifest, str], Reading] | None = None,
    ) -> None:
        self.now = now
        self._make = make
        self._read = read

    def of(self, model: Model) -> Served:
        """Return what this camera would make of another model.

        Raises:
            ConfigError: The camera looks for a class that it does not know.
        """
        return self._make(model) if self._make else Served(model, self.now.reading)

    def reading(self, said: Manifest, digest: str) -> Reading:
        """Return how this camera would read another model's answers.

        Raises:
            ConfigError: The camera looks for a class that it does not know.
        """
        return self._read(said, digest) if self._read else self.now.reading
