"""How well and how cheaply picks from shelves are seen: precision, recall and CPU ms per look.

Run: python benchmarks/bench_shelf.py [--scenes N]. Prints machine and versions, writes
benchmarks/results/shelf.json. Three times N rendered scenes (`vedette.sim.shelf_scene`), each with
twelve deeds at 5 looks a second, passed through JPEG: people who take, put, restock, touch and take
nothing, walk by and stand there, bare hands, shadows, and light that flickers and jumps.

- `boxes`: the people's boxes are given, shaken, and left out in 15 % of the looks.
- `no boxes`: nobody is ever detected; movement across the zone's edge has to do.
- `backed`: as `boxes`, and behind every product stands another of its kind, smaller and darker:
  picking it leaves nearly the same picture.

Intervals are Wilson's at 95 %; they hold for such scenes only, and changes within one scene are not
independent. Thresholds were set with scenes 0 to 7 in view; the scenes measured begin at 1000.

`clip` are the places and times told for a real clip of eight bottles taken and put, where it lies
beside the checkout; the eight times were read from its pictures by eye.

Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA
22(158), 1927.
"""

import argparse
import json
import math
import os
import platform
import time
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from vedette.sim.shelf_exam import Marks, examine
from vedette.sim.shelf_scene import ZONE, ShelfScene
from vedette.vision.picture import Picture
from vedette.vision.shelf import ShelfWatch
from vedette.vision.tracking import Tracks
from vedette.wire.messages import EventKind
from vedette.wire.signed import Zone

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "shelf.json"
TESTDATA = Path(os.environ.get("VEDETTE_TESTDATA", HERE.parents[1] / "shared" / "testdata"))
FIRST_SEED: Final = 1000
Z95: Final = 1.959964
CLIP_ZONE: Final = [(0.03, 0.2), (0.97, 0.2), (0.97, 0.95), (0.03, 0.95)]
CLIP: Final = (
    (7.0, EventKind.PICKED, 90),
    (13.5, EventKind.PLACED, 100),
    (17.5, EventKind.PICKED, 100),
    (17.5, EventKind.PICKED, 315),
    (24.5, EventKind.PLACED, 315),
    (28.7, EventKind.PLACED, 80),
    (31.7, EventKind.PICKED, 540),
    (36.5, EventKind.PLACED, 540),
)
"""When, what, and the middle of its place from the left, in pixels."""


def interval(hits: int, of: int) -> list[float]:
    """Return a share and its interval, each rounded: share, low, high."""
    if of == 0:
        return [math.nan, 0.0, 1.0]
    share = hits / of
    centre = (share + Z95 * Z95 / (2 * of)) / (1 + Z95 * Z95 / of)
    half = Z95 / (1 + Z95 * Z95 / of) * math.sqrt(share * (1 - share) / of + (Z95 / of) ** 2 / 4)
    return [round(x, 3) for x in (share, max(0.0, centre - half), min(1.0, centre + half))]


def told(name: str, total: Marks) -> dict[str, Any]:
    """Return and print what one kind of scene came to."""
    found: dict[str, Any] = {
        "changes": total.found + total.missed,
        "found": total.found,
        "false": total.false,
        "hours": round(total.seconds / 3600, 2),
        "precision": interval(total.found, total.found + total.false),
        "recall": interval(total.found, total.found + total.missed),
        "right_of_found": interval(total.right, total.found),
        "unclear": total.unclear,
    }
    print(f"{name:10}", found, flush=True)
    return found


def cost() -> dict[str, float]:
    """Return CPU ms per look: nobody there, at two sizes, and with a person before the shelf."""
    scene, zone = ShelfScene(FIRST_SEED), Zone(name="shelf", polygon=ZONE, shelf=True)
    figures: dict[str, float] = {}
    for name, size in (("idle, 640x360", (640, 360)), ("idle, 1920x1080", (1920, 1080))):
        looks = [Picture.from_bgr(_sized(scene.picture(n / 5), size)) for n in range(15)]
        watch, spent_ms = ShelfWatch([zone], size, ["person"]), []
        for n in range(600):
            before_ns = time.thread_time_ns()
            watch.update(looks[n % len(looks)], Tracks.empty(), n / 5)
            spent_ms.append((time.thread_time_ns() - before_ns) / 1e6)
        figures[name] = round(float(np.median(spent_ms[50:])), 3)
    watch, spent_ms = ShelfWatch([zone], (640, 360), ["person"]), []
    act = next(act for act in scene.acts if act.reaches)
    for n in range(round((act.start_s - 1) * 5), round((act.end_s + 1) * 5)):
        look = Picture.from_bgr(scene.picture(n / 5))
        before_ns = time.thread_time_ns()
        watch.update(look, Tracks.empty(), n / 5)
        spent_ms.append((time.thread_time_ns() - before_ns) / 1e6)
    figures["reach, 640x360"] = round(float(np.mean(spent_ms)), 3)
    print(figures)
    return figures


def _sized(bgr: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(cv2.resize(bgr, size), np.uint8)


def clip() -> dict[str, Any] | None:
    """Return what is told of the bottles at 2, 5 and 10 looks a second; None without the clip."""
    path = TESTDATA / "video" / "bottle-detection.mp4"
    if not path.exists():
        return None
    out: dict[str, Any] = {}
    for fps in (2, 5, 10):
        open_, false, looks = list(CLIP), 0, 0
        film, number = cv2.VideoCapture(str(path)), 0
        rate = film.get(cv2.CAP_PROP_FPS)
        watch = ShelfWatch([Zone(name="s", polygon=CLIP_ZONE, shelf=True)], (640, 360), ["person"])
        while film.grab():
            t_s, number = number / rate, number + 1
            if t_s < looks / fps:
                continue
            looks += 1
            picture = Picture.from_bgr(np.asarray(film.retrieve()[1], np.uint8))
            for one in watch.update(picture, Tracks.empty(), t_s):
                middle = (one.box[0] + one.box[2]) / 2
                fits = [
                    what
                    for what in open_
                    if what[1] is one.kind
                    and abs(what[0] - one.t_s) < 2
                    and abs(what[2] - middle) < 40
                ]
                false += not fits
                if fits:
                    open_.remove(fits[0])
        out[f"{fps} fps"] = {"found": len(CLIP) - len(open_), "of": len(CLIP), "false": false}
    print("clip", out)
    return out


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenes", type=int, default=24)
    scenes = parser.parse_args().scenes
    cv2.setNumThreads(1)
    machine = {
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
    }
    print(machine)
    figures: dict[str, Any] = {"machine": machine, "scenes": scenes, "cpu_ms": cost()}
    figures["clip"] = clip()
    ways: dict[str, dict[str, Any]] = {
        "boxes": {},
        "no boxes": {"with_boxes": False},
        "backed": {"backed": 1.0},
    }
    for name, how in ways.items():
        seeds = range(FIRST_SEED, FIRST_SEED + scenes)
        figures[name] = told(name, sum((examine(seed, **how) for seed in seeds), Marks()))
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
