"""A model swapped under three cameras of five pictures a second; and what a candidate costs.

Real time, real files as live cameras, one pipeline. First how long apart results are in peace, then
while another model is loaded, asked its golden frames and swapped in, there and back; frames are
counted from the sums. Then the same with a candidate in shadow on every fifth picture, with and
without in turns, so that a busy machine disturbs both alike.

    python benchmarks/bench_swap.py MODELS_DIR NAME_A NAME_B

Without arguments two networks of the closed world. Writes benchmarks/results/swap.json.
"""

import itertools
import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vedette.clock import SystemClock
from vedette.edge import slots
from vedette.edge.frame import Frame
from vedette.edge.settings import Camera, EdgeConfig, Gate, PipelineSettings, Telemetry
from vedette.edge.shadow.desk import ShadowDesk
from vedette.edge.slots import Filled, Shadowed, Slots
from vedette.inference.bundle import Bundle
from vedette.sim import footage
from vedette.sim.closed_world import Quirk, World, back_and_forth, write_bundle
from vedette.sim.pipeline_rig import PipelineRig
from vedette.vision.tracking import Tracks
from vedette.wire.messages import Aggregate, Drop, EventReport
from vedette.wire.signed import PixelPolicy
from vedette.wire.updates import ShadowPlan, ShadowReport

CAMERAS = ("door", "yard", "till")
FPS = 5
PEACE_S = 10.0
TURN_S = 10.0
TURNS = 2


class Pace:
    """When results came, and how old their pictures were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seen: list[tuple[str, int, float]] = []

    def __call__(self, frame: Frame, tracks: Tracks, events: Sequence[EventReport]) -> None:
        """Note one result."""
        del tracks, events
        now_ns = time.monotonic_ns()
        with self._lock:
            self.seen.append((frame.camera, now_ns, (now_ns - frame.captured_mono_ns) / 1e6))

    def between(self, start_ns: int, end_ns: int) -> dict[str, float]:
        """Return gaps and ages, ms, of what came in a stretch of time."""
        with self._lock:
            rows = [row for row in self.seen if start_ns <= row[1] <= end_ns]
        gaps: list[float] = []
        for camera in CAMERAS:
            times = [at for name, at, _ in rows if name == camera]
            gaps += [(b - a) / 1e6 for a, b in itertools.pairwise(times)]
        ages = [age for _, _, age in rows]
        return {
            "results": len(rows),
            "gap_p50_ms": float(np.percentile(gaps, 50)),
            "gap_max_ms": max(gaps),
            "age_p50_ms": float(np.percentile(ages, 50)),
            "age_p95_ms": float(np.percentile(ages, 95)),
        }


def bundles_of(arguments: Sequence[str], folder: Path) -> tuple[Path, Bundle, Bundle]:
    """Return the models' folder and both bundles."""
    if len(arguments) == 3:
        models = Path(arguments[0])
        return models, Bundle.open(models / arguments[1]), Bundle.open(models / arguments[2])
    models = folder / "models"
    return models, write_bundle(models / "a"), write_bundle(models / "b", Quirk.NAN)


def main() -> None:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models, a, b = bundles_of(sys.argv[1:], folder)
        world = World([back_and_forth(1, y=0.8, start_s=0.0, legs=4, leg_s=2.0)])
        footage.encode(folder / "loop.mp4", world.pictures(8, FPS), fps=FPS, gop_s=1.0)
        found = measure(folder, models, a, b)
    found["machine"] = {
        "cpu": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load_1m": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "models": [f"{one.manifest.name} {one.manifest.version}" for one in (a, b)],
    }
    print(json.dumps(found, indent=2))
    target = Path(__file__).parent / "results" / "swap.json"
    target.write_text(json.dumps(found, indent=2) + "\n")


def measure(folder: Path, models: Path, a: Bundle, b: Bundle) -> dict[str, object]:
    """Return everything that is measured."""
    config = EdgeConfig(
        state_dir=folder / "state",
        models_dir=models,
        cameras=[
            Camera(
                id=name,
                source=str(folder / "loop.mp4"),
                loop=True,
                model=a.path.name,
                max_fps=FPS,
                gate=Gate(enabled=False),
            )
            for name in CAMERAS
        ],
        pipeline=PipelineSettings(workers=2),
        telemetry=Telemetry(aggregate_period_s=5, report_period_s=5),
    )
    pace, wait = Pace(), threading.Event()
    with PipelineRig(config, SystemClock(), observer=pace) as rig:
        wait.wait(3.0)
        start = time.monotonic_ns()
        wait.wait(PEACE_S)
        peace = pace.between(start, time.monotonic_ns())
        swaps = [swap(rig, config, pace, one) for one in (b, None)]
        shadow = shadowed(rig, pace, b)
    frames = [m.frames for m in rig.messages(Aggregate)]
    dropped: dict[str, int] = {}
    for one in frames:
        for cause, count in one.dropped.items():
            dropped[str(cause)] = dropped.get(str(cause), 0) + count
    return {
        "peace": peace,
        "there": swaps[0],
        "back": swaps[1],
        "shadow": shadow,
        "frames": {
            "captured": sum(one.captured for one in frames),
            "analysed": sum(one.analysed for one in frames),
            "dropped": dropped,
            "failed": dropped.get(str(Drop.BACKEND), 0) + dropped.get(str(Drop.BAD_OUTPUT), 0),
        },
    }


def swap(rig: PipelineRig, config: EdgeConfig, pace: Pace, to: Bundle | None) -> dict[str, object]:
    """Return how results came while the slot was filled anew."""
    filled = {}
    if to is not None:
        filled[config.cameras[0].model] = Filled(digest=to.digest, path=str(to.path))
    slots.write(config.state_dir, Slots(filled=filled))
    start = time.monotonic_ns()
    loader = threading.Thread(target=rig.swapper.look)
    loader.start()
    loader.join()
    took_s = (time.monotonic_ns() - start) / 1e9
    threading.Event().wait(2.0)
    (said,) = rig.swapper.running()
    assert not said.problem, said.problem
    seen = pace.between(start - 1_000_000_000, time.monotonic_ns())
    return {"load_and_golden_s": said.load_s, "noticed_to_swapped_s": round(took_s, 2), **seen}


def shadowed(rig: PipelineRig, pace: Pace, b: Bundle) -> dict[str, object]:
    """Return ages of results with and without a candidate, in turns."""
    said: list[ShadowReport] = []
    desk = ShadowDesk(
        rig.models,
        rig.clock,
        emit=lambda message: said.append(message) if isinstance(message, ShadowReport) else None,
        pixels=PixelPolicy(),
    )
    rig.pipeline.tap.to = desk
    stop = threading.Event()
    thread = threading.Thread(target=desk.run, args=(stop,))
    thread.start()
    slot = rig.lanes[0].model
    what = Shadowed(
        rollout="bench", digest=b.digest, path=str(b.path), plan=ShadowPlan(every_s=1.0)
    )
    rows: dict[str, list[dict[str, float]]] = {"without": [], "with": []}
    for _ in range(TURNS):
        for name, row in rows.items():
            desk.follow({slot: what} if name == "with" else {})
            while name == "with" and not desk.says(slot)[0]:
                threading.Event().wait(0.2)
            start = time.monotonic_ns()
            threading.Event().wait(TURN_S)
            row.append(pace.between(start, time.monotonic_ns()))
    stop.set()
    thread.join()
    merged = {
        name: {key: round(float(np.mean([row[key] for row in many])), 2) for key in many[0]}
        for name, many in rows.items()
    }
    return {
        **merged,
        "compared": sum(one.frames for one in said),
        "shed": sum(one.shed for one in said),
        "failed": sum(one.failed for one in said),
        "age_p95_ratio": round(merged["with"]["age_p95_ms"] / merged["without"]["age_p95_ms"], 3),
    }


if __name__ == "__main__":
    main()
