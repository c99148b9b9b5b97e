"""A stand-in for the pipeline process under the real agent: one camera is covered, one is well.

Run as `python covered_pipeline.py STATE/effective.yaml PICTURE`. It works by the configuration that
the agent gives it, beats, accounts for its cameras' time, and answers requests for pictures.
"""

import os
import signal
import sys
import threading
from pathlib import Path

from vedette.clock import SystemClock, wall_ms
from vedette.edge import heartbeat, requests, settings
from vedette.edge.health.system import boot_id
from vedette.edge.spool import Spool
from vedette.wire.messages import (
    Aggregate,
    CameraHealth,
    CameraState,
    Cause,
    Frames,
    Span,
    State,
)

EVERY_S = 0.1
MINUTE_MS = 60_000


def main(effective: Path, picture: Path) -> None:
    """Work until asked to end."""
    stop, clock, boot = threading.Event(), SystemClock(), boot_id()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    state, config = effective.parent, settings.load(effective)
    spool = Spool.open(state / "spool", 1 << 26, clock, boot)
    started_ms = start_ms = wall_ms(clock.now_at())
    for camera in config.cameras:
        spool.put("camera_state.v1", _state(camera.id, started_ms))
    while not clock.wait(stop, EVERY_S):
        now_ms = wall_ms(clock.now_at())
        beat = heartbeat.Heartbeat(
            pid=os.getpid(),
            boot_id=boot,
            mono_ns=clock.mono_ns(),
            started_ms=started_ms,
            cameras=[_health(camera.id, started_ms) for camera in config.cameras],
        )
        heartbeat.write(state, beat)
        for wanted in requests.waiting(state):
            requests.answer(state, wanted.request, picture.read_bytes())
        end_ms = min(now_ms, (start_ms // MINUTE_MS + 1) * MINUTE_MS)
        for camera in config.cameras:
            spool.put("aggregate.v1", _slice(camera.id, start_ms, end_ms))
        start_ms = end_ms
    spool.close()


def _is_covered(camera: str) -> bool:
    return camera == "gate"


def _state(camera: str, at_ms: int) -> CameraState:
    covered = _is_covered(camera)
    return CameraState(
        camera=camera,
        at_ms=at_ms,
        noticed_ms=at_ms,
        state=State.TAMPERED if covered else State.OK,
        cause=Cause.TAMPERED if covered else None,
        signs=["Covered"] if covered else [],
    )


def _health(camera: str, since_ms: int) -> CameraHealth:
    state = State.TAMPERED if _is_covered(camera) else State.OK
    return CameraHealth(camera=camera, state=state, since_ms=since_ms, picture_px=(640, 480))


def _slice(camera: str, start_ms: int, end_ms: int) -> Aggregate:
    cause = Cause.TAMPERED if _is_covered(camera) else None
    return Aggregate(
        camera=camera,
        start_ms=start_ms,
        end_ms=end_ms,
        spans=[Span(start_ms=start_ms, end_ms=end_ms, cause=cause)],
        frames=Frames(captured=1, analysed=1),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
