"""A stand-in for the pipeline process: fills a real spool with plausible messages, fast.

Run as a process (`python -m vedette.sim.producer STATE_DIR`), so that it can be killed like the
real one; the spool, its group commit and its watermarks are the product's. Each camera's time is
observed without a hole for as long as the process lives.
"""

import contextlib
import os
import random
import signal
import threading
from pathlib import Path
from typing import Final

import click

from vedette.clock import Clock, SystemClock, wall_ms
from vedette.edge import heartbeat
from vedette.edge.health.system import boot_id
from vedette.edge.heartbeat import Heartbeat
from vedette.edge.spool import Spool
from vedette.edge.steady import SteadyClock
from vedette.errors import SpoolUnwritable
from vedette.ids import new_id
from vedette.wire.messages import (
    Aggregate,
    Bins,
    Drop,
    EventKind,
    EventReport,
    Frames,
    Histogram,
    LineCounts,
    Span,
)

CAMERAS: Final = ("c1", "c2", "c3")
_MINUTE_MS: Final = 60_000
_EVENT_SHARE: Final = 0.3


class Producer:
    """Makes one aggregate per camera and turn, and now and then an event. Thread: one."""

    def __init__(self, spool: Spool, clock: Clock, seed: int) -> None:
        self._spool = spool
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311 - load, not secrets
        self._until_ms = dict.fromkeys(CAMERAS, wall_ms(clock.now_at()))

    def turn(self) -> None:
        """Account for the time since the last turn."""
        now_ms = wall_ms(self._clock.now_at())
        for camera in CAMERAS:
            start_ms = min(self._until_ms[camera], now_ms)  # the clock may have been set back
            while start_ms < now_ms:
                edge_ms = (start_ms // _MINUTE_MS + 1) * _MINUTE_MS
                end_ms = min(now_ms, edge_ms)
                self._spool.put("aggregate.v1", self._aggregate(camera, start_ms, end_ms))
                start_ms = end_ms
            self._until_ms[camera] = start_ms
            if self._random.random() < _EVENT_SHARE:
                self._spool.put("event.v1", self._event(camera, now_ms))

    def _aggregate(self, camera: str, start_ms: int, end_ms: int) -> Aggregate:
        analysed, gated = self._random.randint(1, 20), self._random.randint(0, 9)
        stale = self._random.randint(0, 3)
        return Aggregate(
            camera=camera,
            start_ms=start_ms,
            end_ms=end_ms,
            spans=[Span(start_ms=start_ms, end_ms=end_ms, rate_fps=10.0)],
            frames=Frames(
                captured=analysed + gated + stale,
                analysed=analysed,
                gated=gated,
                dropped={Drop.STALE: stale},
            ),
            model="none",
            lines={"door": {"person": LineCounts(forward=self._random.randint(0, 2))}},
            stage_ms={"inference": Histogram(offset=140, counts=[analysed], sum=analysed * 21.0)},
            confidence={"person": Bins(counts=[0] * 49 + [analysed])},
            detections={"person": analysed},
        )

    def _event(self, camera: str, now_ms: int) -> EventReport:
        return EventReport(
            event=new_id("ev"),
            camera=camera,
            kind=EventKind.LINE_CROSSED,
            at_ms=now_ms,
            where="door",
            direction="forward",
            label="person",
            confidence=0.9,
        )


@click.command()
@click.argument("state_dir", type=click.Path(path_type=Path, file_okay=False))
@click.option("--every-s", default=0.05, show_default=True, help="Pause between turns.")
@click.option("--quota-mb", default=64.0, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--boot-id", "boot", default="", help="Another boot than this machine's.")
def main(state_dir: Path, every_s: float, quota_mb: float, seed: int, boot: str) -> None:
    """Fill the spool of STATE_DIR until asked to end, or killed."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    clock = SteadyClock(SystemClock())  # as the real pipeline: no jumps within a life
    boot, started_ms = boot or boot_id(), wall_ms(clock.now_at())
    spool = Spool.open(state_dir / "spool", round(quota_mb * 1024 * 1024), clock, boot)
    producer = Producer(spool, clock, seed)
    try:
        while not clock.wait(stop, every_s):
            with contextlib.suppress(SpoolUnwritable):  # what was put waits, within its bound
                producer.turn()
            beat = Heartbeat(
                pid=os.getpid(), boot_id=boot, mono_ns=clock.mono_ns(), started_ms=started_ms
            )
            with contextlib.suppress(OSError):
                heartbeat.write(state_dir, beat)
    finally:
        spool.close()


if __name__ == "__main__":
    main()
