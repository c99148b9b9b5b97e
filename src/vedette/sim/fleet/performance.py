"""What it is like to run a model: the numbers that a simulated device reports with it. Pure.

The incumbent's are those of `yolox_nano` in float32. The bad one's are those of the same network
carelessly quantized, no convolution kept in float: it finds a fifth less, is as sure of it, and
takes 2.6 times as long (`benchmarks/bench_worse.py`). The slow one takes that time and finds all
the same. The good one is a little faster, loses a little and finds a little more. The rule: nothing
here is told to central but through reports.
"""

import enum
import random
from functools import cache
from typing import Final

import msgspec

from vedette.stats.sketch import ExpHistogram, LinearBins
from vedette.wire.messages import Bins, Histogram

_STOCK: Final = 12
_SAMPLES: Final = 240
_BINS: Final = 50
_SPREAD: Final = 0.22


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """A model on this fleet's hardware.

    Attributes:
        inference_ms: Median of one run; the stages around it cost `OTHER_MS`.
        confidence: Mean of what it finds, 0 to 1.
        detections: In a minute of one camera.
        silent_share: Of camera-minutes that bring pictures and no result.
        load_s: Loading and golden frames.
        finds: Beside the incumbent: of what that one finds, this part, 0 to 1.
        gains: Beside the incumbent: of what that one misses, this part, 0 to 1.
    """

    name: str
    digest: str
    inference_ms: float
    confidence: float
    detections: int = 200
    silent_share: float = 0.0
    load_s: float = 1.9
    golden_ok: bool = True
    finds: float = 1.0
    gains: float = 0.0


class Candidate(enum.StrEnum):
    """What is rolled out."""

    GOOD = "good"
    BAD = "bad"  # finds a fifth less, and is slow
    SLOW = "slow"  # is only slow


OTHER_MS: Final = 20.0

WORSE: Final = {"people": 0.797, "confidence_mean": 1.022, "cpu_ms_median": 2.595}
"""Of the bad model, as parts of the incumbent's."""

_CPU_MS: Final = 46.9
_CONFIDENCE: Final = 0.74


def incumbent(digest: str) -> Performance:
    """Return what runs before."""
    return Performance(
        name="yolox-nano@1.1.4", digest=digest, inference_ms=_CPU_MS, confidence=_CONFIDENCE
    )


def candidate(digest: str, what: Candidate) -> Performance:
    """Return what is rolled out."""
    if what is Candidate.GOOD:
        return Performance(
            name="yolox-nano@1.2.0",
            digest=digest,
            inference_ms=_CPU_MS * 0.94,
            confidence=_CONFIDENCE + 0.005,
            finds=0.97,
            gains=0.2,
        )
    slow = Performance(
        name="yolox-nano-int8@1.2.0",
        digest=digest,
        inference_ms=_CPU_MS * WORSE["cpu_ms_median"],
        confidence=_CONFIDENCE,
        load_s=3.8,
        finds=0.98,
        gains=0.1,
    )
    if what is Candidate.SLOW:
        return slow
    return msgspec.structs.replace(
        slow,
        confidence=_CONFIDENCE * WORSE["confidence_mean"],
        detections=round(200 * WORSE["people"]),
        finds=WORSE["people"],
        gains=0.02,
    )


@cache
def stage_ms(median_ms: float) -> tuple[Histogram, ...]:
    """Return a stock of a minute's latencies around a median."""
    rng = random.Random(median_ms)  # noqa: S311 - load, not secrets
    made: list[Histogram] = []
    for _ in range(_STOCK):
        sketch = ExpHistogram()
        sketch.add_many(rng.lognormvariate(0, _SPREAD) * median_ms for _ in range(_SAMPLES))
        made.append(sketch.to_wire())
    return tuple(made)


@cache
def confidences(mean: float) -> tuple[Bins, ...]:
    """Return a stock of a minute's confidences around a mean."""
    rng = random.Random(mean)  # noqa: S311 - load, not secrets
    made: list[Bins] = []
    for _ in range(_STOCK):
        bins = LinearBins(_BINS)
        bins.add_many(rng.betavariate(12 * mean, 12 * (1 - mean)) for _ in range(_SAMPLES))
        made.append(bins.to_wire())
    return tuple(made)
