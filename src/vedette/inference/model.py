"""A loaded model bundle: pictures in, detections out, and how long each step took.

What lives here: the joint between bundle, preprocessing, backend and head. What does not: any of
those four. The rule: everything that can be wrong with a bundle shows when it is loaded, on a grey
picture, and not on the first frame of a camera.
"""

from dataclasses import dataclass

import numpy as np

from vedette.clock import NS_PER_MS, Clock, SystemClock
from vedette.errors import BadModelOutput, ModelLoadFailed
from vedette.inference import golden, onnx_file
from vedette.inference.backends import Backend, Tensor, TensorInfo
from vedette.inference.bundle import Bundle
from vedette.inference.golden import GoldenResult
from vedette.inference.manifest import Manifest
from vedette.vision.detections import Detections
from vedette.vision.heads import decode
from vedette.vision.picture import Picture
from vedette.vision.preprocess import Transform, prepare

_GREY = 114


@dataclass(frozen=True, slots=True)
class Result:
    """What was found in one picture, and the milliseconds of each step."""

    detections: Detections
    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float


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
        self._input = _only_input(bundle.manifest, backend.inputs)
        self._thresholds = np.array(
            [self.manifest.thresholds.get(label, self.threshold) for label in self.labels],
            np.float32,
        )
        if self.manifest.head.classes != len(self.labels):
            raise ModelLoadFailed(
                f"{self.name}: the head has {self.manifest.head.classes} classes, but there are "
                f"{len(self.labels)} labels",
                operator_hint="Give the file with the labels this model was trained with.",
            )
        self._try_out()

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        *,
        threads: int = 1,
        providers: list[str] | None = None,
        clock: Clock | None = None,
    ) -> "Model":
        """Return the model, loaded and run once.

        Args:
            bundle: Opened, so verified.
            threads: Intra-op threads per run; 1 where several workers share the model.
            providers: `cpu`, `cuda`, `tensorrt`, `openvino`, `coreml`; best first.
            clock: For the timings.

        Raises:
            ModelLoadFailed: The ONNX file is broken or does not fit the manifest.
            HashMismatch: A file changed since the bundle was opened.
            BackendUnavailable: The runtime or the provider is not here.
        """
        # Imported here, so that reading bundles needs no runtime.
        from vedette.inference.backends.onnxruntime import OnnxRuntimeBackend

        data = bundle.read(bundle.manifest.model)
        onnx_file.look(data)
        backend = OnnxRuntimeBackend(data, threads=threads, providers=providers)
        return cls(bundle, backend, clock=clock)

    @property
    def backend(self) -> Backend:
        """Return what runs the network."""
        return self._backend

    def detect(self, picture: Picture, threshold: float | None = None) -> Result:
        """Return what is in `picture`, boxes in its pixels, with timings.

        Args:
            picture: Of any size.
            threshold: Instead of all of the bundle's own.

        Raises:
            BadModelOutput: NaN, infinity, a wrong shape; as `RunFailed`, a run that failed.
        """
        started = self._clock.mono_ns()
        tensor, transform = prepare(picture, self.manifest.preprocess)
        prepared = self._clock.mono_ns()
        outputs = self._backend.run({self._input: tensor})
        ran = self._clock.mono_ns()
        detections = self._decode(outputs, transform, threshold)
        done = self._clock.mono_ns()
        return Result(
            detections,
            preprocess_ms=(prepared - started) / NS_PER_MS,
            inference_ms=(ran - prepared) / NS_PER_MS,
            postprocess_ms=(done - ran) / NS_PER_MS,
        )

    def raw(self, picture: Picture) -> tuple[dict[str, Tensor], Transform]:
        """Return the network's outputs as they are, and where the picture lay in its input."""
        tensor, transform = prepare(picture, self.manifest.preprocess)
        return self._backend.run({self._input: tensor}), transform

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
                outputs, transform = self.raw(picture)
                found = self._decode(outputs, transform, self.threshold)
            except BadModelOutput as error:
                failures.append(f"{frame.picture}: {error}")
                continue
            deviation, wrong = golden.compare_outputs(frame, outputs)
            worst = max(worst, deviation)
            failures += wrong
            failures += golden.compare_boxes(frame, found, self.labels, self.threshold)
        return GoldenResult(not failures, len(self.manifest.golden), worst, tuple(failures))

    def _decode(
        self, outputs: dict[str, Tensor], transform: Transform, threshold: float | None
    ) -> Detections:
        """Return detections above the one threshold given, or above each label's own."""
        if threshold is not None or not self.manifest.thresholds:
            cut = self.threshold if threshold is None else threshold
            return decode(self.manifest.head, outputs, transform, cut)
        found = decode(self.manifest.head, outputs, transform, float(self._thresholds.min()))
        return found.where(found.confidence >= self._thresholds[found.class_id])

    def _try_out(self) -> None:
        """Run once on grey: shapes and names are proven, and the first frame is not the slowest."""
        width, height = self.manifest.preprocess.size
        grey = Picture.from_gray(np.full((height, width), _GREY, np.uint8))
        try:
            outputs, transform = self.raw(grey)
            self._decode(outputs, transform, None)
        except BadModelOutput as error:
            raise ModelLoadFailed(
                f"{self.name} does not do what its manifest says: {error}",
                operator_hint="`vedette model inspect` shows the outputs and the head that is to "
                "read them. If you imported the model, check --head and --labels.",
            ) from error


def _only_input(manifest: Manifest, inputs: tuple[TensorInfo, ...]) -> str:
    """Return the name of the one input, after comparing it with the manifest.

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
        side in {None, want} for side, want in zip(found.shape, wanted, strict=True)
    )
    if not fits or found.dtype != dtype:
        raise ModelLoadFailed(
            f"{manifest.name} takes {found.dtype} {list(found.shape)}, but its manifest says "
            f"{dtype} {list(wanted)}",
            operator_hint="The manifest belongs to another model; make the bundle again.",
        )
    return found.name
