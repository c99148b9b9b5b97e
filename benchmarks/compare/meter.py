"""What every contestant is measured with: the same few lines in each one's own interpreter.

Standard library only, so that it runs in an environment that has nothing of ours. A contestant
calls `tick` for each picture whose result is there, and `report` at the end. The first `WARM`
pictures count for nothing: they load, compile and fill caches.
"""

import argparse
import json
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WARM = 30


def arguments() -> argparse.Namespace:
    """Return what every contestant is given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--clip", required=True)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--track", action="store_true")
    parser.add_argument("--paced-fps", type=float, default=0.0)
    return parser.parse_args()


def cpu_s() -> float:
    """Return CPU seconds of this process and of its children that ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def peak_mb() -> float:
    """Return the largest resident size; `ru_maxrss` would count the parent's before exec."""
    with Path("/proc/self/status").open(encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


@dataclass
class Meter:
    """Counts results; reports one JSON line."""

    results: int = 0
    found: int = 0
    latency_ms: list[float] = field(default_factory=list)
    _wall_s: float = 0.0
    _cpu_s: float = 0.0
    _last: tuple[float, float] = (0.0, 0.0)

    def tick(self, found: int, latency_ms: float | None = None) -> None:
        """Count one picture whose result is there."""
        self.results += 1
        now = time.perf_counter(), cpu_s()
        if self.results == WARM:
            self._wall_s, self._cpu_s = now
        if self.results > WARM:
            self.found += found
            self._last = now
            if latency_ms is not None:
                self.latency_ms.append(latency_ms)

    def report(self, **more: Any) -> None:
        """Print what was measured."""
        pictures = self.results - WARM
        figures = {
            "pictures": pictures,
            "fps": pictures / (self._last[0] - self._wall_s),
            "cpu_ms": (self._last[1] - self._cpu_s) / pictures * 1e3,
            "rss_mb": peak_mb(),
            "found": self.found,
            "latency_ms": sorted(self.latency_ms),
            **more,
        }
        print(json.dumps(figures), flush=True)


class Pace:
    """Waits until a picture would have come from a camera."""

    def __init__(self, fps: float) -> None:
        self._period_s = 1 / fps if fps else 0.0
        self._next_s = time.perf_counter()

    def due(self) -> float:
        """Return once the next picture is due, with the time at which it was."""
        self._next_s += self._period_s
        wait_s = self._next_s - time.perf_counter()
        if self._period_s and wait_s > 0:
            time.sleep(wait_s)
        return self._next_s if self._period_s else time.perf_counter()
