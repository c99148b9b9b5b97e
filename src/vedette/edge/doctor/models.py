"""What the doctor says of the models: are they whole, right on this machine, and fast enough?

The rule: a model is run here, on a grey picture of its own size, as many at once as there will be
workers; a promise of speed from elsewhere is no answer.
"""

import threading
from collections.abc import Sequence
from typing import Final

import numpy as np

from vedette.clock import NS_PER_MS, NS_PER_S, Clock
from vedette.edge.doctor.finding import Finding, Verdict
from vedette.edge.models import Models, worker_count
from vedette.edge.settings import Camera, EdgeConfig, Tier
from vedette.errors import VedetteError
from vedette.inference.model import Model
from vedette.vision.picture import Picture

RUNS: Final = 8
HEADROOM: Final = 0.8
"""More of what the machine can do than this leaves nothing for decoding and everything else."""

_GREY: Final = 114


def model_findings(config: EdgeConfig, models: Models, clock: Clock) -> list[Finding]:
    """Return what is to be said of the models that cameras use, and of their sum."""
    found: list[Finding] = []
    need_s = 0.0
    known = True
    for name in sorted({camera.model for camera in config.cameras}):
        users = [camera for camera in config.cameras if camera.model == name]
        try:
            model = models.get(name)
        except VedetteError as error:
            found.append(
                Finding(
                    about=name,
                    check="model",
                    verdict=Verdict.FAILED,
                    detail=str(error),
                    advice=error.operator_hint or "",
                )
            )
            known = False
            continue
        found.append(_loaded(name, models))
        try:
            each_ms, rate = measure(model, worker_count(config), clock)
        except VedetteError as error:
            detail = f"it fails where all workers run it at once: {error}"
            advice = error.operator_hint or "use another provider or runtime for it"
            found.append(
                Finding(
                    about=name,
                    check="speed",
                    verdict=Verdict.FAILED,
                    detail=detail,
                    advice=advice,
                )
            )
            known = False
            continue
        found.append(judge_speed(name, each_ms, config.pipeline.budget_ms.get("inference")))
        need_s += demand(users) / rate
    if found and known:
        found.append(judge_load(need_s))
    return found


def measure(model: Model, workers: int, clock: Clock) -> tuple[float, float]:
    """Return the median ms of one picture and pictures per second, with all workers running.

    Raises:
        VedetteError: What the first run that failed said.
    """
    width, height = model.manifest.preprocess.size
    picture = Picture.from_gray(np.full((height, width), _GREY, np.uint8))
    took_ms: list[float] = []
    failed: list[VedetteError] = []
    lock = threading.Lock()

    def run() -> None:
        for _ in range(RUNS):
            try:
                result = model.detect(picture)
            except VedetteError as error:
                failed.append(error)
                return
            with lock:
                took_ms.append(result.preprocess_ms + result.inference_ms + result.postprocess_ms)

    threads = [threading.Thread(target=run, name=f"doctor-{n}") for n in range(workers)]
    began_ns = clock.mono_ns()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    wall_s = max((clock.mono_ns() - began_ns) / NS_PER_S, 1 / NS_PER_MS)
    return float(np.median(took_ms)), len(took_ms) / wall_s


def demand(cameras: Sequence[Camera]) -> float:
    """Return pictures per second that must be analysed at most, if everything moves at once."""
    return sum(
        1 / camera.batch_every_s if camera.tier is Tier.BATCH else camera.max_fps
        for camera in cameras
        if camera.source
    )


def judge_speed(name: str, each_ms: float, budget_ms: float | None) -> Finding:
    """Return whether one picture stays within the budget for inference."""
    detail = f"{each_ms:.1f} ms a picture here"
    if budget_ms is None:
        return Finding(about=name, check="speed", verdict=Verdict.UNKNOWN, detail=detail)
    over = each_ms > budget_ms
    return Finding(
        about=name,
        check="speed",
        verdict=Verdict.WARNING if over else Verdict.OK,
        detail=f"{detail}, budget {budget_ms:g} ms",
        advice="use a smaller model or an accelerator" if over else "",
    )


def judge_load(part: float) -> Finding:
    """Return whether the machine keeps up when every camera must be analysed at its full rate."""
    detail = f"{part:.0%} of what inference can do here, if everything moves at once"
    if part <= HEADROOM:
        return Finding(about="machine", check="load", verdict=Verdict.OK, detail=detail)
    return Finding(
        about="machine",
        check="load",
        verdict=Verdict.WARNING,
        detail=f"{detail}; pictures will be dropped as stale, and counted",
        advice="lower max_fps, put cameras into the tier batch, or use a smaller model",
    )


def _loaded(name: str, models: Models) -> Finding:
    entry = models.loaded[name]
    detail = f"loaded in {entry.load_s:.2f} s"
    if entry.golden_ok is None:
        return Finding(
            about=name,
            check="model",
            verdict=Verdict.UNKNOWN,
            detail=f"{detail}; it has no golden frames to prove it here",
            advice="make the bundle again with golden frames",
        )
    if not entry.golden_ok:
        return Finding(
            about=name,
            check="model",
            verdict=Verdict.FAILED,
            detail=f"{detail}, but answers its golden frames differently here",
            advice="use another provider or runtime for it",
        )
    return Finding(
        about=name, check="model", verdict=Verdict.OK, detail=f"{detail}, golden frames agree"
    )
