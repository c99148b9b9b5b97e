"""How well picture quality, tampering and orientation are judged, and what judging costs.

Run: python benchmarks/bench_quality.py [--models DIR --model NAME]. Real clips come from the folder
in VEDETTE_TESTDATA (or shared/testdata beside the checkout); a rendered street is always there.
Pictures are degraded on purpose, so that what is wrong with each is known. Writes
benchmarks/results/quality.json.

How to read it: pictures of one clip are alike, so the intervals (Clopper-Pearson, 95 %) say how
much was looked at and not how other cameras will do. Between "bad" and "fine" lie degradations on
which people disagree; they are left out.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from vedette.edge.doctor.orientation import PICTURES, suggest
from vedette.inference.library import Library
from vedette.inference.model import Model
from vedette.sim.scene import Scene
from vedette.stats.intervals import clopper_pearson
from vedette.vision.picture import Picture, Plane, shrink
from vedette.vision.quality import assess
from vedette.vision.tamper import TamperWatch

ROOT = Path(__file__).parent.parent
CLIPS = ("vtest", "bottle-detection", "car-detection")
PER_CLIP = 20
FIXED = ("vtest", "bottle-detection", "drawn")
"""Clips of a camera that hangs still and is not mostly hidden, for what needs a reference."""
SECONDS = 20
ROUNDS = 300

Degrade = Callable[[Plane], Plane]
rng = np.random.default_rng(19)


def clips() -> dict[str, list[Picture]]:
    """Return up to eighty pictures of each clip, evenly spread."""
    found: dict[str, list[Picture]] = {}
    beside = ROOT.parent / "shared" / "testdata"
    folder = Path(os.environ.get("VEDETTE_TESTDATA", beside)) / "video"
    for name in CLIPS:
        path = folder / f"{name}.mp4"
        if path.is_file():
            found[name] = list(_pictures(path, 80))
    scene = Scene((960, 540), people=8)
    smooth = [cv2.GaussianBlur(scene.picture(n * 0.4), (0, 0), 1.0) for n in range(80)]
    found["drawn"] = [Picture.from_bgr(np.asarray(one, np.uint8)) for one in smooth]
    return found


def _pictures(path: Path, wanted: int) -> Iterator[Picture]:
    with av.open(str(path)) as container:
        every = max(1, container.streams.video[0].frames // wanted)
        for number, frame in enumerate(container.decode(video=0)):
            if number % every == 0 and number // every < wanted:
                flat = np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)
                height, width = frame.height, frame.width
                chroma = flat[height:].reshape(2, height // 2, width // 2)
                yield Picture(flat[:height], chroma[0], chroma[1])


# --------------------------------------------------------------------------- degradations


def _stretched(luma: Plane, black: float, white: float) -> Plane:
    wide = (luma.astype(np.float32) - black) * (219 / max(1.0, white - black)) + 16
    return np.clip(wide, 16, 235).astype(np.uint8)


def _scaled(luma: Plane, gain: float, around: float = 16) -> Plane:
    return np.clip((luma.astype(np.float32) - around) * gain + around, 16, 235).astype(np.uint8)


def _blurred(luma: Plane, part: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(luma, (0, 0), luma.shape[1] * part), np.uint8)


def _noisy(luma: Plane, sigma: float) -> Plane:
    return np.clip(luma + rng.normal(0, sigma, luma.shape), 0, 255).round().astype(np.uint8)


def _jpeg(luma: Plane, quality: int) -> Plane:
    _, data = cv2.imencode(".jpg", luma, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def _small(luma: Plane, width: int) -> Plane:
    return shrink(luma, width, round(luma.shape[0] * width / luma.shape[1]))


BAD: dict[str, dict[str, Degrade]] = {
    "ImageTooDark": {"light x 0.08": lambda y: _scaled(y, 0.08)},
    "ImageTooBright": {"light x 6": lambda y: _scaled(y, 6)},
    "ImageTooBlurry": {"Gaussian blur, width / 64": lambda y: _blurred(y, 1 / 64)},
    "LowContrast": {"contrast x 0.1": lambda y: _scaled(y, 0.1, 120)},
    "ShadowsClipped": {
        "darkest 30 % cut off": lambda y: _stretched(y, float(np.percentile(y, 30)), 235)
    },
    "HighlightsClipped": {
        "brightest 30 % cut off": lambda y: _stretched(y, 16, float(np.percentile(y, 70)))
    },
    "ImageTooNoisy": {
        "Gaussian noise 8": lambda y: _noisy(y, 8),
        "Gaussian noise 16": lambda y: _noisy(y, 16),
    },
    "CompressionArtefacts": {
        "JPEG quality 10": lambda y: _jpeg(y, 10),
        "JPEG quality 5": lambda y: _jpeg(y, 5),
    },
    "LowResolution": {"240 px wide": lambda y: _small(y, 240)},
}
FINE: dict[str, Degrade] = {
    "as it came": lambda y: y,
    "light x 0.6": lambda y: _scaled(y, 0.6),
    "Gaussian blur, width / 400": lambda y: _blurred(y, 1 / 400),
    "contrast x 0.6": lambda y: _scaled(y, 0.6, 120),
    "darkest 4 % cut off": lambda y: _stretched(y, float(np.percentile(y, 4)), 235),
    "brightest 4 % cut off": lambda y: _stretched(y, 16, float(np.percentile(y, 96))),
    "Gaussian noise 2": lambda y: _noisy(y, 2),
    "JPEG quality 75": lambda y: _jpeg(y, 75),
    "480 px wide": lambda y: _small(y, 480),
}


def share(right: int, trials: int) -> dict[str, object]:
    """Return a share with its interval."""
    bounds = clopper_pearson(right, trials)
    return {
        "right": right,
        "of": trials,
        "share": round(right / trials, 3) if trials else None,
        "interval": [round(end, 3) for end in bounds] if bounds else None,
    }


def judge_quality(footage: dict[str, list[Picture]]) -> dict[str, object]:
    """Return precision and recall of each verdict, and false alarms per fine degradation."""
    planes = [
        np.ascontiguousarray(picture.y)
        for pictures in footage.values()
        for picture in pictures[:: max(1, len(pictures) // PER_CLIP)][:PER_CLIP]
    ]

    def problems(luma: Plane) -> set[str]:
        return set(assess(luma, picture_px=(luma.shape[1], luma.shape[0])).problems)

    hits = dict.fromkeys(BAD, 0)
    trials = dict.fromkeys(BAD, 0)
    false = dict.fromkeys(BAD, 0)
    for name, ways in BAD.items():
        for degrade in ways.values():
            for plane in planes:
                hits[name] += name in problems(degrade(plane))
                trials[name] += 1
    alarms: dict[str, object] = {}
    for way, degrade in FINE.items():
        named = [problems(degrade(plane)) for plane in planes]
        for name in BAD:
            false[name] += sum(name in found for found in named)
        alarms[way] = share(sum(bool(found) for found in named), len(named))
    verdicts = {}
    for name, ways in BAD.items():
        verdicts[name] = {
            "ways": list(ways),
            "recall": share(hits[name], trials[name]),
            "precision": share(hits[name], hits[name] + false[name]),
        }
        print(f"  {name:22} {verdicts[name]['recall']}  {verdicts[name]['precision']}")
    for way, found in alarms.items():
        print(f"  fine: {way:28} any verdict {found}")
    return {"pictures": len(planes), "verdicts": verdicts, "false alarms": alarms}


# --------------------------------------------------------------------------- moved cameras


def _view(luma: Plane, right: float, down: float) -> Plane:
    """Return three quarters of a picture, as a camera sees it that is turned within it."""
    height, width = luma.shape
    wide, high = width * 3 // 4, height * 3 // 4
    left = (width - wide) // 2 + round(right * wide)
    top = (height - high) // 2 + round(down * high)
    part = np.ascontiguousarray(luma[top : top + high, left : left + wide])
    return shrink(part, 160, round(160 * high / wide))


def _infrared(luma: Plane, noise: float) -> Plane:
    height, width = luma.shape
    down, across = np.mgrid[0:height, 0:width]
    far = np.hypot((across - width / 2) / (width / 2), (down - height / 2) / (height / 2))
    light = ((luma.astype(np.float64) - 16) / 219).clip(0, 1) ** 0.6 * np.exp(-((far / 0.9) ** 2))
    return np.clip(light * 150 + 16 + rng.normal(0, noise, luma.shape), 0, 255).astype(np.uint8)


def _clock(luma: Plane) -> Plane:
    """Return a picture into which the camera wrote time and name."""
    written = luma.copy()
    width, height = luma.shape[1], luma.shape[0]
    font = cv2.FONT_HERSHEY_SIMPLEX
    time_text = f"2026-11-21 15:{rng.integers(10, 60)}"
    cv2.putText(written, time_text, (4, 10), font, 0.35, (235,), 1)
    cv2.putText(written, "CAM 1", (width - 45, height - 4), font, 0.35, (235,), 1)
    return written


def _raised(watch: TamperWatch, planes: list[Plane]) -> bool:
    """Return whether the scene is called another within `SECONDS`."""
    verdicts = [watch.update(plane, float(n)) for n, plane in enumerate(planes[:SECONDS])]
    return any("GlobalSceneChange" in verdict.signs for verdict in verdicts)


def judge_moves(footage: dict[str, list[Picture]]) -> dict[str, object]:
    """Return how often a shift is told from the pinned scene, and how often light is taken for one.

    Each trial begins at another picture of the clip, with a watch that knows the pinned scene only.
    """
    moved: dict[str, list[bool]] = {}
    for name in FIXED:
        lumas = [np.ascontiguousarray(picture.y) for picture in footage.get(name, [])]
        if not lumas:
            continue
        pinned = np.median([_view(y, 0, 0) for y in lumas[::5]], axis=0).astype(np.uint8)

        def trial(what: str, change: Callable[[Plane], Plane], lumas=lumas, pinned=pinned) -> None:  # noqa: ANN001
            for start in (0, 15, 30, 45):
                planes = [change(y) for y in lumas[start : start + SECONDS]]
                moved.setdefault(what, []).append(_raised(TamperWatch(pinned=pinned), planes))

        for part in (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.08, 0.12):
            for right, down in ((part, 0.0), (-part, 0.0), (0.0, part), (0.0, -part)):
                what = f"moved by {100 * part:.0f} %" if part else "not moved"
                trial(what, lambda y, r=right, d=down: _view(y, r, d))
        for noise in (2.0, 6.0):
            trial(f"infrared, noise {noise:g}", lambda y, s=noise: _infrared(_view(y, 0, 0), s))
            trial(
                f"infrared, noise {noise:g}, moved by 5 %",
                lambda y, s=noise: _infrared(_view(y, 0.05, 0), s),
            )
        clock = np.median([_clock(_view(y, 0, 0)) for y in lumas[::5]], axis=0).astype(np.uint8)
        trial("clock in the picture", lambda y: _clock(_view(y, 0, 0)), pinned=clock)
        trial(
            "clock in the picture, moved by 5 %", lambda y: _clock(_view(y, 0.05, 0)), pinned=clock
        )
        trial("light x 0.3", lambda y: _scaled(_view(y, 0, 0), 0.3))
        trial("upside down", lambda y: np.ascontiguousarray(_view(y, 0, 0)[::-1, ::-1]))
        for other in FIXED:
            if other != name and other in footage:
                size = (pinned.shape[1], pinned.shape[0])
                shown = [shrink(picture.y, *size) for picture in footage[other]]
                for start in (0, 15, 30, 45):
                    flag = _raised(TamperWatch(pinned=pinned), shown[start : start + SECONDS])
                    moved.setdefault("another scene", []).append(flag)
    found = {what: share(sum(flags), len(flags)) for what, flags in moved.items()}
    for what, row in found.items():
        print(f"  {what:40} called another scene {row}")
    return found


# --------------------------------------------------------------------------- orientation, cost


def judge_orientations(footage: dict[str, list[Picture]], model: Model) -> dict[str, object]:
    """Return how often the turn is right, unknown or wrong, by groups of six pictures.

    That a picture is turned before only permutes the four sums: groups are trials, turns are not.
    """
    found: dict[str, object] = {}
    for name, pictures in footage.items():
        if name == "drawn":
            continue
        groups = [pictures[n : n + PICTURES] for n in range(0, len(pictures), PICTURES)]
        whole = [group for group in groups if len(group) == PICTURES][:10]
        said = [suggest(lambda p: model.detect(p).detections, g).rotation_deg for g in whole]
        unknown, right = said.count(None), said.count(0)
        wrong = share(len(said) - unknown - right, len(said))
        found[name] = {"right": right, "unknown": unknown, "wrong": wrong, "groups": len(said)}
        print(f"  {name:20} {found[name]}")
    return found


def cost(footage: dict[str, list[Picture]]) -> dict[str, object]:
    """Return CPU milliseconds of this thread per picture that is judged."""
    name = next(iter(footage))
    pictures = footage[name][:40]
    smalls = [picture.small_luma() for picture in pictures]
    pinned = np.median(smalls, axis=0).astype(np.uint8)
    plain, with_pin = TamperWatch(), TamperWatch(pinned=pinned)
    calls: dict[str, Callable[[int], object]] = {
        "small luma plane": lambda n: pictures[n % 40].small_luma(),
        "quality, of the small plane": lambda n: assess(smalls[n % 40]),
        "quality, with noise and blocks": lambda n: assess(smalls[n % 40], full=pictures[n % 40].y),
        "tampering": lambda n: plain.update(smalls[n % 40], float(n), hour=n // 9 % 24),
        "tampering, with a pinned scene": lambda n: with_pin.update(
            smalls[n % 40], float(n), hour=n // 9 % 24
        ),
    }
    samples: dict[str, list[float]] = {what: [] for what in calls}
    for n in range(ROUNDS):
        for what, call in calls.items():
            began_ns = time.thread_time_ns()
            call(n)
            samples[what].append((time.thread_time_ns() - began_ns) / 1e6)
    found: dict[str, object] = {"clip": name, "size": list(pictures[0].size)}
    for what, times in samples.items():
        found[what] = {f"p{q}_ms": round(float(np.percentile(times, q)), 3) for q in (50, 95, 99)}
        print(f"  {what:34} {found[what]}")
    return found


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--model", action="append", help="may be repeated; centernet")
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    footage = clips()
    machine = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "clips": list(footage),
    }
    print(machine)
    result: dict[str, object] = {"machine": machine}
    result["cost"] = cost(footage)
    result["quality"] = judge_quality(footage)
    result["moved"] = judge_moves(footage)
    turns: dict[str, object] = {}
    for name in chosen.model or ["centernet"]:
        if (chosen.models / name).is_dir():
            print(f"  {name}")
            model = Model.load(Library(chosen.models).find(name), threads=1)
            turns[name] = judge_orientations(footage, model)
    result["orientation"] = turns
    target = Path(__file__).parent / "results" / "quality.json"
    target.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
