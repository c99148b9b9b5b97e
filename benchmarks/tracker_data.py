"""The scenes on which trackers are compared: real ones with labels, simulated ones with truth."""

import os
from dataclasses import dataclass
from pathlib import Path

import motmetrics
import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime

from vedette.sim import crowd
from vedette.vision.detections import Detections
from vedette.vision.heads import HeadSpec, decode
from vedette.vision.picture import Picture
from vedette.vision.preprocess import Preprocess, prepare

Floats = npt.NDArray[np.float64]
Found = dict[int, Detections]

HERE = Path(__file__).resolve().parent
TESTDATA = Path(os.environ.get("VEDETTE_TESTDATA", HERE.parents[1] / "shared" / "testdata"))
SHIPPED = Path(motmetrics.__file__).parent / "data"
TUD = ("TUD-Campus", "TUD-Stadtmitte")
TUD_FPS, VTEST_FPS = 25.0, 10.0
VTEST_FRAMES = 400
REAL_RATES, CROWD_RATES = (1, 2, 3, 6), (1, 3, 8, 15)
YOLOX = (Preprocess(size=(416, 416), color="BGR"), HeadSpec(kind="yolox", classes=80), 0)


@dataclass(frozen=True)
class Scene:
    """Sequences that are judged together, and at every how many looks."""

    name: str
    sequences: list[list[crowd.Look]]
    rates: tuple[int, ...]


def scenes(detections: Path | None, bundle: Path | None, *, seeds: int) -> list[Scene]:
    """Return every scene that can be had here; what is left out is said."""
    found = [Scene("TUD, shipped boxes", _tud(SHIPPED, "test.txt"), (1,))]
    if detections:
        found.append(Scene("TUD, Faster R-CNN", _tud(detections, "det.txt"), REAL_RATES))
    else:
        print("left out: TUD with detections (--detections DIR holding <sequence>/det.txt)")
    labels = TESTDATA / "video" / "vtest-gt-frames-1-400.txt"
    if labels.is_file():
        found += _vtest(labels, detections, bundle)
    else:
        print("left out: vtest, no test material")
    for name, place in crowd.PLACES.items():
        places = [msgspec.structs.replace(place, seed=place.seed + 100 * n) for n in range(seeds)]
        found.append(Scene(f"crowd: {name}", [crowd.watch(p) for p in places], CROWD_RATES))
    return found


def read_mot(path: Path) -> dict[int, Floats]:
    """Return rows (id, x1, y1, x2, y2, score) by frame number of a MOT text file."""
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    rows[:, 4:6] += rows[:, 2:4]
    return {int(f): rows[rows[:, 0] == f, 1:7] for f in np.unique(rows[:, 0])}


def as_detections(rows: Floats) -> Detections:
    """Return one frame's rows as detections of persons; a score of -1 counts as sure."""
    score = np.where(rows[:, 5] < 0, 1.0, np.minimum(rows[:, 5], 1.0))
    n = len(rows)
    return Detections(
        rows[:, 1:5].astype(np.float32),
        score.astype(np.float32),
        np.zeros(n, np.int32),
        np.zeros(n, np.float32),
    )


def _found(path: Path) -> Found:
    return {f: as_detections(rows) for f, rows in read_mot(path).items()}


def _looks(truth: dict[int, Floats], found: Found, fps: float) -> list[crowd.Look]:
    nobody = np.zeros((0, 6))
    looks = []
    for frame in range(min(truth), max(truth) + 1):
        true = truth.get(frame, nobody)
        seen = found.get(frame, Detections.empty())
        looks.append(crowd.Look(frame / fps, true[:, 0].astype(np.int64), true[:, 1:5], seen))
    return looks


def _tud(folder: Path, name: str) -> list[list[crowd.Look]]:
    return [
        _looks(read_mot(SHIPPED / sequence / "gt.txt"), _found(folder / sequence / name), TUD_FPS)
        for sequence in TUD
    ]


def _vtest(labels: Path, detections: Path | None, bundle: Path | None) -> list[Scene]:
    truth = read_mot(labels)
    sources = {"YOLOX-nano": _see(TESTDATA / "models" / "yolox_nano.onnx", *YOLOX)}
    if bundle:
        card = msgspec.json.decode((bundle / "bundle.json").read_bytes())
        spec = msgspec.convert(card["preprocess"], Preprocess)
        head = msgspec.convert(card["head"], HeadSpec)
        person = card["labels"].index("person")
        sources["CenterNet"] = _see(bundle / "model.onnx", spec, head, person)
    else:
        print("left out: vtest with CenterNet (--bundle DIR)")
    published = detections / "PETS09-S2L1" / "det.txt" if detections else None
    if published and published.is_file():
        sources["Faster R-CNN"] = _found(published)
    return [
        Scene(f"vtest, {name}", [_looks(truth, found, VTEST_FPS)], REAL_RATES)
        for name, found in sources.items()
    ]


def _see(model: Path, spec: Preprocess, head: HeadSpec, person: int) -> Found:
    """Return what a model finds in frames 1 to 400, persons only, from confidence 0.1."""
    import av

    session = onnxruntime.InferenceSession(model)
    name = session.get_inputs()[0].name
    outputs = [output.name for output in session.get_outputs()]
    found: Found = {}
    with av.open(str(TESTDATA / "video" / "vtest.mp4")) as video:
        for number, frame in enumerate(video.decode(video=0), start=1):
            if number > VTEST_FRAMES:
                break
            bgr = frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
            tensor, transform = prepare(Picture.from_bgr(bgr), spec)
            answers = session.run(outputs, {name: tensor})
            values = {n: np.asarray(a) for n, a in zip(outputs, answers, strict=True)}
            seen = decode(head, values, transform, 0.1)
            found[number] = seen.where(seen.class_id == person)
    return found
