"""A loaded model bundle: pictures in, detections out, and how long each step took.

What lives here: the joint between bundle, preprocessing, backend and head. What does not: any of
those four. The rule: everything that can be wrong with a bundle shows when it is loaded, on a grey
picture, and not on the first frame of a camera.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from vedette.clock import NS_PER_MS, Clock, SystemClock
from vedette.errors import BadModelOutput, ModelLoadFailed
from vedette.inference import golden, onnx_file
from vedette.inference.backends import Backend, Runtime, Tensor, TensorInfo, open_backend
from vedette.inference.bundle import Bundle
from vedette.inference.golden import GoldenResult
from vedette.inference.manifest import GoldenFrame, Manifest
from vedette.inference.providers import ProviderOptions
from vedette.vision.detections import Detections
from vedette.vision.heads import HeadSpec, decode
from vedette.vision.picture import Picture
from vedette.vision.preprocess import Transform, prepare
from vedette.vision.tasks import Answer, Classes, Floats, Reader, Strangeness

MAX_BATCH: Final = 64
_GREY: Final = 114
_NOTHING_ELSE: Final = Answer()
_ALIKE: Final = 0.02
"""How far a picture's outputs may be away in company from what they are alone, of their span."""


@dataclass(frozen=True, slots=True)
class Result:
    """What was found in one picture, and the milliseconds of each step.

    Attributes:
        detections: Objects; none for a model of another task.
        classes: How sure it is of each class of the whole picture, where the task asks that.
        embedding: float32, (d,), not normalised, where the task asks that.
        anomaly: How unlike the normal ones the picture is, where the task asks that.
    """

    detections: Detections
    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float
    classes: Classes | None = None
    embedding: Floats | None = None
    anomaly: Strangeness | None = None


class Model:
    """One bundle on one backend. Thread: any number may call `detect` at once."""

    def __init__(self, bundle: Bundle, backend: Backend, *, clock: Clock | None = None) -> None:
        """Join them and try them out.

        Raises:
            ModelLoadFailed: The network does not take or give what the manifest says.
        """
        self.manifest: Manifest = bundle.manifest
        self.name: str = bundle.manifest.name
        self.digest: str = bundle.digest
        self.labels: list[str] = bundle.manifest.labels
        self.threshold: float = bundle.manifest.threshold
        self._bundle = bundle
        self._backend = backend
        self._clock = clock or SystemClock()
        self._input, self._batch = _only_input(bundle.manifest, backend.inputs)
        self._batch_lock = threading.Lock()
        self._batch_sizes: range | None = None
        # Confidence from which a detection counts, float32, (k,), by class.
        self.thresholds: Floats = np.array(
            [self.manifest.thresholds.get(label, self.threshold) for label in self.labels],
            np.float32,
        )
        self._head, self._reader = _how_to_read(bundle)
        self._try_out()

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        *,
        threads: int = 1,
        providers: list[str] | None = None,
        clock: Clock | None = None,
        runtime: Runtime = "onnxruntime",
        workers: int = 1,
        options: ProviderOptions | None = None,
        cache_dir: Path | None = None,
    ) -> "Model":
        """Return the model, loaded and run once.

        Args:
            bundle: Opened, so verified.
            threads: Intra-op threads per run; 1 where several workers share the model.
            providers: `cpu`, `cuda`, `tensorrt`, `openvino`, `coreml`; best first.
            clock: For the timings.
            runtime: What runs the network.
            workers: Callers that will run it at once; OpenVINO has to know.
            options: Of the providers.
            cache_dir: Where the runtime keeps what it compiles; nowhere if None.

        Raises:
            ModelLoadFailed: The ONNX file is broken or does not fit the manifest.
            HashMismatch: A file changed since the bundle was opened.
            BackendUnavailable: The runtime or the provider is not here.
        """
        data = bundle.read(bundle.manifest.model)
        onnx_file.look(data)
        backend = open_backend(
            data,
            runtime=runtime,
            threads=threads,
            workers=workers,
            providers=providers,
            options=options,
            cache_dir=cache_dir,
        )
        return cls(bundle, backend, clock=clock)

    @property
    def backend(self) -> Backend:
        """Return what runs the network."""
        return self._backend

    @property
    def batch_sizes(self) -> range:
        """Return how many pictures one run may take together.

        One fixed number where the network has it fixed. Where it is free, two pictures are run
        together the first time that this is asked: only if each then has the answer that it has
        alone are it 1 to `MAX_BATCH`, else just 1.

        Thread: any; the first waits for that run.
        """
        with self._batch_lock:
            if self._batch_sizes is None:
                self._batch_sizes = self._prove_batches()
            return self._batch_sizes

    def detect(self, picture: Picture, threshold: float | None = None) -> Result:
        """Return what is in `picture`, boxes in its pixels, with timings.

        Args:
            picture: Of any size.
            threshold: Instead of all of the bundle's own.

        Raises:
            BadModelOutput: NaN, infinity, a wrong shape; as `RunFailed`, a run that failed.
        """
        return self._run([picture], threshold)[0]

    def detect_batch(
        self, pictures: Sequence[Picture], threshold: float | None = None
    ) -> list[Result]:
        """Return what is in each picture, from one run; `inference_ms` is each one's share.

        Args:
            pictures: As many as one of `batch_sizes`; of any sizes.
            threshold: Instead of all of the bundle's own.

        Raises:
            ValueError: A number of pictures that is not among `batch_sizes`.
            BadModelOutput: As `detect`, for any of them.
        """
        if len(pictures) != 1 and len(pictures) not in self.batch_sizes:
            raise ValueError(f"{len(pictures)} pictures at once; {self.name} takes {self._sizes()}")
        return self._run(pictures, threshold)

    def raw(self, picture: Picture) -> tuple[dict[str, Tensor], Transform]:
        """Return the network's outputs as they are, and where the picture lay in its input."""
        tensor, transform = prepare(picture, self.manifest.preprocess)
        return self._outputs([tensor])[0], transform

    def _run(self, pictures: Sequence[Picture], threshold: float | None) -> list[Result]:
        """Return the results of one run."""
        marks = [self._clock.mono_ns()]
        inputs: list[tuple[Tensor, Transform]] = []
        for picture in pictures:
            inputs.append(prepare(picture, self.manifest.preprocess))
            marks.append(self._clock.mono_ns())
        outputs = self._outputs([tensor for tensor, _ in inputs])
        ran = self._clock.mono_ns()
        share_ms = (ran - marks[-1]) / NS_PER_MS / len(pictures)
        results: list[Result] = []
        for index, (own, (tensor, transform)) in enumerate(zip(outputs, inputs, strict=True)):
            started = self._clock.mono_ns() if index else ran
            detections, answer = self._decode(own, tensor, transform, threshold)
            done = self._clock.mono_ns()
            results.append(
                Result(
                    detections,
                    preprocess_ms=(marks[index + 1] - marks[index]) / NS_PER_MS,
                    inference_ms=share_ms,
                    postprocess_ms=(done - started) / NS_PER_MS,
                    classes=answer.classes,
                    embedding=answer.embedding,
                    anomaly=answer.anomaly,
                )
            )
        return results

    def _outputs(self, tensors: list[Tensor]) -> list[dict[str, Tensor]]:
        """Return each picture's outputs from one run; a fixed batch is filled up with the last."""
        count = len(tensors)
        wanted = max(count, self._batch or 0)
        if wanted == 1:
            return [self._backend.run({self._input: tensors[0]})]
        filled = [*tensors, *[tensors[-1]] * (wanted - count)]
        outputs = self._backend.run({self._input: np.concatenate(filled)})
        for name, value in outputs.items():
            if value.ndim == 0 or len(value) != wanted:
                raise BadModelOutput(
                    f"output {name} has shape {value.shape} for {wanted} pictures at once",
                    operator_hint="Run this model with one picture at a time: "
                    "`pipeline.batch_sizes: [1]`.",
                )
        return [{name: v[n : n + 1] for name, v in outputs.items()} for n in range(count)]

    def _prove_batches(self) -> range:
        """Return the batch sizes, after trying two together where the network leaves it open."""
        if self._batch is not None:
            return range(self._batch, self._batch + 1)
        width, height = self.manifest.preprocess.size
        grey = np.full((height, width, 3), _GREY, np.uint8)
        slopes = np.zeros_like(grey)  # red rises to the right, blue downwards
        slopes[..., 2] = np.linspace(0, _GREY, width)
        slopes[..., 0] = np.linspace(0, _GREY, height)[:, None]
        tensors = [
            prepare(Picture.from_bgr(bgr), self.manifest.preprocess)[0] for bgr in (grey, slopes)
        ]
        try:
            together = self._outputs(tensors)
            alone = [self._outputs([tensor])[0] for tensor in tensors]
        except BadModelOutput:
            return range(1, 2)
        same = all(_alike(a, b) for a, b in zip(together, alone, strict=True))
        return range(1, MAX_BATCH + 1) if same else range(1, 2)

    def _sizes(self) -> str:
        sizes = self.batch_sizes
        return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"

    def check_golden(self) -> GoldenResult:
        """Return whether the golden frames have, here, the answers that they had elsewhere.

        Raises:
            ModelLoadFailed: A golden frame cannot be decoded.
            HashMismatch: A golden frame changed since the bundle was opened.
        """
        worst, failures = 0.0, []
        for frame in self.manifest.golden:
            picture = golden.decode_picture(self._bundle.read(frame.picture), frame.picture)
            try:
                outputs, found, answer = self._look(picture, None)
            except BadModelOutput as error:
                failures.append(f"{frame.picture}: {error}")
                continue
            deviation, wrong = golden.compare_outputs(frame, outputs)
            worst = max(worst, deviation)
            failures += wrong
            failures += golden.compare_boxes(frame, found, self.labels, self.thresholds)
            failures += golden.compare_scores(frame, answer, self.labels)
        return GoldenResult(not failures, len(self.manifest.golden), worst, tuple(failures))

    def expect_golden(self, picture: str, pixels: Picture) -> GoldenFrame:
        """Return the golden frame that this model's answers to `pixels` make.

        Args:
            picture: Name of the file in the bundle.
            pixels: What is in it.

        Raises:
            BadModelOutput: As `detect`.
        """
        outputs, found, answer = self._look(pixels, None)
        return golden.expect(picture, outputs, found, self.labels, answer=answer)

    def _look(
        self, picture: Picture, threshold: float | None
    ) -> tuple[dict[str, Tensor], Detections, Answer]:
        """Return the outputs for one picture, and what they say."""
        tensor, transform = prepare(picture, self.manifest.preprocess)
        outputs = self._outputs([tensor])[0]
        return outputs, *self._decode(outputs, tensor, transform, threshold)

    def _decode(
        self,
        outputs: dict[str, Tensor],
        tensor: Tensor,
        transform: Transform,
        threshold: float | None,
    ) -> tuple[Detections, Answer]:
        """Return detections above the one threshold given, or above each label's own.

        Where the model is for another task there are none, but its answer.
        """
        if self._reader is not None:
            return Detections.empty(), self._reader.read(outputs, tensor, transform)
        assert self._head is not None
        if threshold is not None or not self.manifest.thresholds:
            cut = self.threshold if threshold is None else threshold
            return decode(self._head, outputs, transform, cut), _NOTHING_ELSE
        found = decode(self._head, outputs, transform, float(self.thresholds.min()))
        return found.where(found.confidence >= self.thresholds[found.class_id]), _NOTHING_ELSE

    def _try_out(self) -> None:
        """Run once on grey: shapes and names are proven, and the first frame is not the slowest."""
        width, height = self.manifest.preprocess.size
        grey = Picture.from_gray(np.full((height, width), _GREY, np.uint8))
        try:
            self._look(grey, None)
        except BadModelOutput as error:
            raise ModelLoadFailed(
                f"{self.name} does not do what its manifest says: {error}",
                operator_hint="`vedette model inspect` shows the outputs and the head that is to "
                "read them. If you imported the model, check --head and --labels.",
            ) from error


def _how_to_read(bundle: Bundle) -> tuple[HeadSpec | None, Reader | None]:
    """Return the head for boxes, or the reader of another task.

    Raises:
        ModelLoadFailed: Labels, head or reference vectors do not fit one another.
    """
    said = bundle.manifest
    if said.task is not msgspec.UNSET:
        return None, Reader(said.task, len(said.labels), said.preprocess, bundle.read)
    if said.head is None or said.head.classes != len(said.labels):
        classes = said.head.classes if said.head else 0
        raise ModelLoadFailed(
            f"{said.name}: the head has {classes} classes, but there are {len(said.labels)} labels",
            operator_hint="Give the file with the labels this model was trained with.",
        )
    return said.head, None


def _alike(found: dict[str, Tensor], alone: dict[str, Tensor]) -> bool:
    """Return whether both are the same answer, up to a runtime's other order of adding."""
    for name, expected in alone.items():
        if found[name].shape != expected.shape:
            return False
        wanted = np.asarray(expected, np.float64)
        away = np.abs(np.asarray(found[name], np.float64) - wanted)
        if wanted.size and not away.max() <= _ALIKE * max(float(np.ptp(wanted)), 1e-6):
            return False
    return True


def _only_input(manifest: Manifest, inputs: tuple[TensorInfo, ...]) -> tuple[str, int | None]:
    """Return the name of the one input and its batch size, None where free.

    The rest of it is compared with the manifest.

    Raises:
        ModelLoadFailed: Another number of inputs, another shape or element type.
    """
    wanted, dtype = manifest.preprocess.shape, manifest.preprocess.dtype
    if len(inputs) != 1:
        names = ", ".join(info.name for info in inputs)
        raise ModelLoadFailed(
            f"{manifest.name} has {len(inputs)} inputs ({names}); one picture is supported",
            operator_hint="Export the model with everything else fixed as constants.",
        )
    found = inputs[0]
    fits = len(found.shape) == len(wanted) and all(
        side in {None, want} for side, want in zip(found.shape[1:], wanted[1:], strict=True)
    )
    batch = found.shape[0] if found.shape else None
    fits = fits and (batch is None or 1 <= batch <= MAX_BATCH)
    if not fits or found.dtype != dtype:
        raise ModelLoadFailed(
            f"{manifest.name} takes {found.dtype} {list(found.shape)}, but its manifest says "
            f"{dtype} {list(wanted)}",
            operator_hint="The manifest belongs to another model; make the bundle again.",
        )
    return found.name, batch
