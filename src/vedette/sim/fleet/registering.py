"""The registry's part of a simulated rollout: versions of a model, and what their maker measured.

What was measured passes every gate, of each candidate alike: the bad one's maker had other pictures
and another machine than the fleet. The rule: that it is bad has to be found out by the rollout.
"""

import hashlib
from typing import Any, Final

import msgspec

from vedette.central.registry import judging, store
from vedette.central.registry.manifest import Lineage
from vedette.central.store.db import Tx
from vedette.wire.evaluation import (
    CameraDay,
    DataSet,
    EvaluationRecord,
    HardwareTimes,
    StepTime,
    Tally,
    manifest_digest,
)

MODEL: Final = "yolox-nano"
_BY: Final = "sim"
_DAYS: Final = 120
_FOUND: Final = Tally(98, 1, 1)
_QUICK: Final = StepTime(
    runs=400, p50_ms=3.0, p95_ms=4.0, p99_ms=5.0, p95_low_ms=3.5, p95_high_ms=5.0
)


def manifest_of(version: str) -> bytes:
    """Return the manifest of a version of a detector of persons."""
    said: dict[str, Any] = {
        "format": 1,
        "name": MODEL,
        "version": version,
        "model": "model.onnx",
        "files": {
            "model.onnx": {
                "sha256": hashlib.sha256(version.encode()).hexdigest(),
                "bytes": 3_800_000,
            }
        },
        "labels": ["person"],
        "preprocess": {"size": [416, 416], "color": "BGR"},
        "head": {"kind": "yolox", "classes": 1},
        "threshold": 0.4,
        "card": {"summary": "simulated"},
    }
    return msgspec.json.encode(said)


def digest_of(version: str) -> str:
    """Return what a version calls itself."""
    return manifest_digest(manifest_of(version))


def record_of(version: str, now_ms: int) -> EvaluationRecord:
    """Return what its maker measured: camera-days of three sites, and one kind of machine."""
    steps: dict[str, StepTime] = dict.fromkeys(
        ("preprocess", "inference", "postprocess", "model"), _QUICK
    )
    days = [
        CameraDay(
            site=f"maker-{n % 3}",
            camera="door",
            day=f"2026-{n // 28 + 1:02d}-{n % 28 + 1:02d}",
            pictures=100,
            tallies={"person": _FOUND},
        )
        for n in range(_DAYS)
    ]
    return EvaluationRecord(
        digest=digest_of(version),
        at_ms=now_ms,
        by="its maker",
        method="simulated",
        data=DataSet(
            name="doors", sha256=hashlib.sha256(b"doors").hexdigest(), pictures=100 * _DAYS
        ),
        days=days,
        hardware=[HardwareTimes(hardware="maker's", steps=steps, load_s=2.0, golden_ok=True)],
    )


async def register(tx: Tx, version: str, now_ms: int) -> None:
    """Have central know a version, and what its maker measured.

    Raises:
        ConflictError, ConfigError: As `registry.store`.
    """
    row, _ = await store.register(tx, manifest_of(version), Lineage(), actor=_BY, now_ms=now_ms)
    await store.add_evaluation(tx, row.digest, record_of(version, now_ms), actor=_BY, now_ms=now_ms)
    await judging.judge_anew(tx, row.model, now_ms, row.digest)
