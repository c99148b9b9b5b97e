"""Train four tiny models of whole pictures in a few seconds, and write their bundles.

    python examples/make_tiny_models.py models
    vedette model inspect door-classes --models-dir models
    vedette model pack door-classes door-classes.vbundle --models-dir models

The world is a drawn doorway: closed, open, or open with a crate in it, under light that changes,
with people who walk by. The models are small on purpose; what matters is how a model of your own
becomes a bundle: a network in ONNX, a manifest that says how to read it, a few measured figures.

    door-classes    classification   random filters and a softmax, trained by gradient descent
    door-scenes     embedding        the same filters, whitened; prototypes of ten pictures each
    door-rebuilt    anomaly          a linear autoencoder (PCA): what it cannot rebuild is strange
    door-far        anomaly          Mahalanobis distance of the features to those of a closed door

Needs the extras `edge` and `lab`.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from vedette.inference.bundle import Bundle
from vedette.inference.manifest import FORMAT, Card, Evaluation, Manifest
from vedette.inference.model import Model
from vedette.lab.assemble import MODEL_FILE, assemble
from vedette.vision.picture import Picture
from vedette.vision.preprocess import Preprocess, prepare
from vedette.vision.tasks import Anomaly, Classification, Embedding, Reference, encode_reference

KINDS = ("closed", "open", "blocked")
PICTURE_PX = (160, 120)
INPUT = Preprocess(size=(64, 48), resize="stretch", scale=1 / 255)
SMALL = Preprocess(size=(32, 24), resize="stretch", scale=1 / 255)
FILTERS, DIMENSIONS, COMPONENTS = 12, 24, 40
FEATURES = FILTERS * 6 * 8
REFERENCE = "reference.f32"
TRAIN, HELD_OUT = 150, 200  # pictures per kind

_GRAIN = np.random.default_rng(3).normal(0, 4, 120 * 160 * 3).astype(np.float32)

Bgr = Any  # uint8, (120, 160, 3)


# ------------------------------------------------------------------------------------- the world


@dataclass(frozen=True)
class Look:
    """How a picture is taken: light, colour of it, a small shake, who stands in front."""

    gain: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shift: tuple[int, int] = (0, 0)
    walker: float | None = None  # where along the width, 0 to 1
    grain: int = 0

    @classmethod
    def of(cls, rng: np.random.Generator) -> "Look":
        """Return a random one; every third picture has somebody in it."""
        blue, green, red = rng.uniform(0.93, 1.07, 3)
        return cls(
            gain=float(rng.uniform(0.65, 1.25)),
            tint=(float(blue), float(green), float(red)),
            shift=(int(rng.integers(-2, 3)), int(rng.integers(-2, 3))),
            walker=float(rng.uniform(0, 1)) if rng.random() < 1 / 3 else None,
            grain=int(rng.integers(_GRAIN.size)),
        )


def draw(kind: str, look: Look, *, opening: float = 1.0, strange: int | None = None) -> Bgr:
    """Return a picture of the doorway, uint8 (120, 160, 3) BGR.

    Args:
        kind: One of `KINDS`.
        look: How it is taken.
        opening: How far an open door is open, 0 to 1.
        strange: A seed; then something lies there that was never seen.
    """
    canvas = np.full((120, 160, 3), (150, 158, 162), np.uint8)
    canvas[92:] = (88, 96, 104)
    for x in range(0, 160, 20):
        cv2.line(canvas, (x, 92), (80 + (x - 80) * 2, 119), (80, 86, 92), 1)
    cv2.rectangle(canvas, (52, 18), (108, 96), (70, 78, 84), 3)  # the frame
    cv2.rectangle(canvas, (55, 21), (105, 96), (58, 92, 140), -1)  # the leaf
    cv2.circle(canvas, (99, 60), 2, (40, 200, 220), -1)
    if kind != "closed":
        edge = 55 + round(50 * opening)
        cv2.rectangle(canvas, (55, 21), (edge, 96), (46, 40, 36), -1)  # the dark room behind
        cv2.line(canvas, (55, 21), (55, 96), (30, 60, 100), 3)
    if kind == "blocked":
        cv2.rectangle(canvas, (62, 66), (100, 102), (70, 130, 175), -1)
        cv2.rectangle(canvas, (62, 66), (100, 102), (40, 80, 120), 2)
        cv2.line(canvas, (62, 84), (100, 84), (40, 80, 120), 2)
    if strange is not None:
        _strange_thing(canvas, np.random.default_rng(strange))
    if look.walker is not None:
        x = round(-10 + 180 * look.walker)
        cv2.ellipse(canvas, (x, 70), (8, 26), 0, 0, 360, (90, 60, 60), -1, cv2.LINE_AA)
        cv2.circle(canvas, (x, 38), 7, (130, 150, 190), -1, cv2.LINE_AA)
    gains = np.float32(look.gain) * np.array(look.tint, np.float32)
    lit = canvas * gains + np.roll(_GRAIN, look.grain)[: canvas.size].reshape(canvas.shape)
    return np.roll(np.clip(lit, 0, 255).astype(np.uint8), look.shift, (1, 0))


def _strange_thing(canvas: Bgr, rng: np.random.Generator) -> None:
    """Put something of any colour, shape and size on the floor or the wall."""
    at = (int(rng.integers(12, 148)), int(rng.integers(20, 108)))
    colour = tuple(int(c) for c in rng.integers(0, 256, 3))
    axes = (int(rng.integers(4, 12)), int(rng.integers(4, 10)))
    if rng.random() < 0.5:
        cv2.ellipse(canvas, at, axes, int(rng.integers(180)), 0, 360, colour, -1, cv2.LINE_AA)
    else:
        corner = (at[0] + 2 * axes[0], at[1] + 2 * axes[1])
        cv2.rectangle(canvas, at, corner, colour, -1)


def pictures(kind: str, count: int, seed: int) -> list[Bgr]:
    """Return pictures of one kind, each taken differently; open doors are open a fifth or more."""
    rng = np.random.default_rng(seed)
    return [draw(kind, Look.of(rng), opening=float(rng.uniform(0.2, 1))) for _ in range(count)]


# ---------------------------------------------------------------------------------- the networks


def network(nodes: list[Any], constants: dict[str, Any], spec: Preprocess, out: list[Any]) -> bytes:
    """Return an ONNX file from `images` to `out`; the number of pictures at once is free."""
    width, height = spec.size
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, height, width])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["n", *out])],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
        producer_name="make_tiny_models",
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def trunk() -> tuple[list[Any], dict[str, Any]]:
    """Return random filters that know no brightness, rectified, averaged: 576 features."""
    filters = np.random.default_rng(5).normal(0, 1, (FILTERS, 3, 5, 5))
    filters -= filters.mean(axis=(2, 3), keepdims=True)
    filters /= np.sqrt((filters**2).sum(axis=(1, 2, 3), keepdims=True))
    nodes = [
        helper.make_node("Conv", ["images", "filters"], ["c"], strides=[2, 2], pads=[2] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("AveragePool", ["r"], ["p"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["p"], ["features"]),
    ]
    return nodes, {"filters": filters.astype(np.float32)}


def run(data: bytes, tensors: Any) -> Any:
    """Return what the network makes of tensors (n, 3, h, w)."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": tensors})[0]


def tensors(shots: list[Bgr], spec: Preprocess) -> Any:
    """Return the inputs of these pictures, made exactly as the device makes them."""
    return np.concatenate([prepare(Picture.from_bgr(bgr), spec)[0] for bgr in shots])


def with_linear(weight: Any, bias: Any) -> bytes:
    """Return the trunk with features @ weight + bias after it."""
    nodes, constants = trunk()
    nodes.append(helper.make_node("Gemm", ["features", "w", "b"], ["answer"]))
    constants |= {"w": weight.astype(np.float32), "b": bias.astype(np.float32)}
    return network(nodes, constants, INPUT, [weight.shape[1]])


def features(shots: list[Bgr]) -> Any:
    """Return what the trunk makes of pictures, float64 (n, 576)."""
    nodes, constants = trunk()
    nodes.append(helper.make_node("Identity", ["features"], ["answer"]))
    data = network(nodes, constants, INPUT, [FEATURES])
    return run(data, tensors(shots, INPUT)).astype(np.float64)


# ------------------------------------------------------------------------------------ four models


def classes(folder: Path) -> Bundle:
    """Train a softmax over the features by gradient descent; write `door-classes`."""
    x = np.concatenate([features(pictures(k, TRAIN, n)) for n, k in enumerate(KINDS)])
    y = np.repeat(np.eye(len(KINDS)), TRAIN, axis=0)
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
    z, weight, bias = (x - mean) / scale, np.zeros((x.shape[1], len(KINDS))), np.zeros(len(KINDS))
    for _ in range(100):
        logits = z @ weight + bias
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        off = p / p.sum(axis=1, keepdims=True) - y
        weight -= 0.05 * (z.T @ off / len(z) + 0.01 * weight)
        bias -= 0.05 * off.mean(axis=0)
    scaled = weight / scale[:, None]
    data = with_linear(scaled, bias - mean @ scaled)
    task = Classification(classes=len(KINDS))
    return _write(folder / "door-classes", data, INPUT, task, labels=KINDS, measure=_accuracy)


def scenes(folder: Path) -> Bundle:
    """Whiten the features without any label; ten pictures of each scene are its prototype."""
    seen = np.concatenate([features(pictures(k, TRAIN, 100 + n)) for n, k in enumerate(KINDS)])
    weight, bias = _whitening(seen, DIMENSIONS)
    ten = [features(pictures(k, 10, 200 + n)) @ weight + bias for n, k in enumerate(KINDS)]
    prototypes = np.stack([_unit(rows).mean(axis=0) for rows in ten])
    task = Embedding(
        dimensions=DIMENSIONS,
        prototypes=Reference(file=REFERENCE, rows=len(KINDS)),
        temperature=0.1,
    )
    return _write(
        folder / "door-scenes",
        with_linear(weight, bias),
        INPUT,
        task,
        labels=KINDS,
        reference=prototypes,
        measure=_accuracy,
    )


def rebuilt(folder: Path) -> Bundle:
    """Keep the main components of normal pictures; write `door-rebuilt`."""
    normal = tensors(pictures("closed", 3 * TRAIN, 300), SMALL).reshape(3 * TRAIN, -1)
    mean = normal.mean(axis=0)
    # There are fewer pictures than pixels: the components come from the pictures' inner products.
    sizes, mix = np.linalg.eigh((normal - mean) @ (normal - mean).T)
    chosen = mix[:, -COMPONENTS:] / np.sqrt(sizes[-COMPONENTS:])
    basis = ((normal - mean).T @ chosen).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["images"], ["x"]),
        helper.make_node("Gemm", ["x", "encode", "shift"], ["code"]),
        helper.make_node("Gemm", ["code", "decode", "mean"], ["again"]),
        helper.make_node("Reshape", ["again", "shape"], ["answer"]),
    ]
    constants = {
        "encode": basis,
        "shift": -mean @ basis,
        "decode": np.ascontiguousarray(basis.T),
        "mean": mean,
        "shape": np.array([-1, 3, 24, 32], np.int64),
    }
    data = network(nodes, constants, SMALL, [3, 24, 32])
    task = Anomaly(method="reconstruction", limit=1.0, cell_px=2, area=0.02)
    return _calibrated(folder / "door-rebuilt", data, SMALL, task)


def far(folder: Path) -> Bundle:
    """Compare the features with their mean and covariance over normal pictures."""
    normal = features(pictures("closed", 3 * TRAIN, 300))
    # W with WᵀW the inverse of the covariance. There are hardly more pictures than features, so
    # the covariance is drawn towards a ball (Ledoit and Wolf, 2004, with a share chosen by hand).
    sizes, axes = np.linalg.eigh(np.cov(normal.T))
    drawn = 0.9 * sizes + 0.1 * sizes.mean()
    nodes, constants = trunk()
    nodes.append(helper.make_node("Identity", ["features"], ["answer"]))
    task = Anomaly(
        method="mahalanobis",
        limit=1.0,
        dimensions=FEATURES,
        reference=Reference(file=REFERENCE, rows=1 + FEATURES),
    )
    rows = np.concatenate([normal.mean(axis=0)[None], axes.T / np.sqrt(drawn)[:, None]])
    data = network(nodes, constants, INPUT, [FEATURES])
    return _calibrated(folder / "door-far", data, INPUT, task, reference=rows)


def _whitening(x: Any, dimensions: int) -> tuple[Any, Any]:
    """Return weight and bias that make features uncorrelated, each of deviation one."""
    mean = x.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(x.T))
    weight = axes[:, -dimensions:] / np.sqrt(variances[-dimensions:])
    return weight, -mean @ weight


def _unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# ---------------------------------------------------------------------------- measure and write


def _write(
    target: Path,
    data: bytes,
    spec: Preprocess,
    task: Any,
    *,
    measure: Any,
    labels: tuple[str, ...] = (),
    reference: Any = None,
) -> Bundle:
    """Write the bundle, measure it on pictures that it was not made from, write that into it."""
    files = {} if reference is None else {REFERENCE: encode_reference(reference)}
    manifest = Manifest(
        format=FORMAT,
        name=target.name,
        version="1",
        model=MODEL_FILE,
        files={},
        labels=list(labels),
        preprocess=spec,
        task=task,
        threshold=0.5,
        card=Card(
            summary="A tiny model of a drawn doorway.",
            license="Apache-2.0",
            source="examples/make_tiny_models.py",
            limits="Knows nothing but drawings.",
        ),
    )
    golden = pictures("open", 1, 999)[0]
    bundle = assemble(target, manifest, data, more=files, scene_bgr=golden)
    manifest = Manifest(**{**_fields(manifest), "evaluation": [measure(Model.load(bundle))]})
    return assemble(target, manifest, data, more=files, scene_bgr=golden)


def _fields(manifest: Manifest) -> dict[str, Any]:
    return {name: getattr(manifest, name) for name in manifest.__struct_fields__}


def _calibrated(
    target: Path, data: bytes, spec: Preprocess, task: Anomaly, reference: Any = None
) -> Bundle:
    """Set the limit so that one normal picture in a hundred is above it; write and measure."""
    rough = _write(target, data, spec, task, reference=reference, measure=_nothing)
    model = Model.load(rough)
    shots = pictures("closed", 2 * HELD_OUT, 400)
    found = [model.detect(Picture.from_bgr(bgr)).anomaly for bgr in shots]
    limit = float(np.quantile([one.distance for one in found if one], 0.99))
    fields = {name: getattr(task, name) for name in task.__struct_fields__}
    task = Anomaly(**{**fields, "limit": limit})
    return _write(target, data, spec, task, reference=reference, measure=_separation)


def _nothing(_model: Model) -> Evaluation:
    return Evaluation(data="", method="", figures={})


def _accuracy(model: Model) -> Evaluation:
    """Return how many of the held-out pictures are told right, with the Wilson interval."""
    right = 0
    for n, kind in enumerate(KINDS):
        for bgr in pictures(kind, HELD_OUT, 1000 + n):
            found = model.detect(Picture.from_bgr(bgr)).classes
            right += found is not None and model.labels[found.top] == kind
    low, high = wilson(right, HELD_OUT * len(KINDS))
    return Evaluation(
        data=f"{HELD_OUT * len(KINDS)} drawn pictures that it was not made from",
        method="part told right, with the Wilson score interval at 95 %",
        figures={"accuracy": right / (HELD_OUT * len(KINDS)), "low": low, "high": high},
    )


def _separation(model: Model) -> Evaluation:
    """Return how often normal pictures are called strange, and strange ones found."""
    rng = np.random.default_rng(2000)
    normal = pictures("closed", HELD_OUT, 2001)
    odd = [draw("closed", Look.of(rng), strange=3000 + n) for n in range(HELD_OUT)]
    scores = [
        [one.score for bgr in shots if (one := model.detect(Picture.from_bgr(bgr)).anomaly)]
        for shots in (normal, odd)
    ]
    alarms, found = (int(sum(score >= 0.5 for score in side)) for side in scores)
    above = np.array(scores[1])[:, None] > np.array(scores[0])[None]
    low, high = wilson(found, HELD_OUT)
    return Evaluation(
        data=f"{HELD_OUT} normal pictures and {HELD_OUT} with a strange thing in them",
        method="at the score 0.5, with the Wilson score interval at 95 %; area under the ROC curve",
        figures={
            "found": found / HELD_OUT,
            "found_low": low,
            "found_high": high,
            "false_alarms": alarms / HELD_OUT,
            "false_alarms_high": wilson(alarms, HELD_OUT)[1],
            "auroc": float(above.mean()),
        },
    )


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
    """
    z = 1.959964
    share, spread = hits / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return round(middle - half, 4), round(middle + half, 4)


MODELS = (classes, scenes, rebuilt, far)


def main(arguments: list[str] | None = None) -> None:
    """Write all four into the folder that was named; say where each is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("models"),
        help="where the bundles go, such as the models_dir of edge.yaml (default: models)",
    )
    folder: Path = parser.parse_args(arguments).folder
    for make in MODELS:
        bundle = make(folder)
        figures = bundle.manifest.evaluation[0].figures
        print(bundle.manifest.name, bundle.manifest.purpose, bundle.digest[:19])
        print("  " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
        print(f"  written to {bundle.path.resolve()}")


if __name__ == "__main__":
    main()
