"""Vedette: the whole pipeline of a device, every picture analysed.

Quality, tamper signs, tracking, a zone, a line, counts, the packet ring and the durable spool are
all on; only the motion gate is off, because the others have none.
"""

import sys
import tempfile
import threading
from pathlib import Path

from meter import Meter, arguments

from vedette.clock import SystemClock
from vedette.edge.capture import Pace
from vedette.edge.pipeline_main import SWITCH_INTERVAL_S
from vedette.edge.settings import Camera, EdgeConfig, Gate, PipelineSettings
from vedette.inference.providers import OpenVinoRuntime, ProviderOptions
from vedette.sim.pipeline_rig import PipelineRig
from vedette.wire.signed import Line, Zone

if __name__ == "__main__":
    given = arguments()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    meter = Meter()
    bundle = Path(given.model)
    clock = SystemClock()
    ended = threading.Event()

    def observe(frame: object, tracks: object, _events: object) -> None:
        """Count a picture whose tracks are there."""
        late_ns = clock.mono_ns() - frame.captured_mono_ns  # type: ignore[attr-defined]
        meter.tick(len(tracks), late_ns / 1e6 if given.paced_fps else None)  # type: ignore[arg-type]

    with tempfile.TemporaryDirectory() as state:
        camera = Camera(
            id="clip",
            source=given.clip,
            model=bundle.name,
            max_fps=120,
            threshold=0.25,
            gate=Gate(enabled=False),
            zones=[Zone(name="floor", polygon=[(0.1, 0.4), (0.9, 0.4), (0.9, 1.0), (0.1, 1.0)])],
            lines=[Line(name="middle", a=(0.5, 0.0), b=(0.5, 1.0))],
        )
        config = EdgeConfig(
            state_dir=Path(state),
            models_dir=bundle.parent,
            cameras=[camera],
            pipeline=PipelineSettings(
                runtime=given.runtime,
                provider_options=ProviderOptions(
                    openvino_runtime=OpenVinoRuntime(bf16=given.precision == "bf16")
                ),
            ),
        )
        pace = Pace.REAL_TIME if given.paced_fps else Pace.AS_FAST_AS_POSSIBLE
        with PipelineRig(config, clock, observer=observe, pace=pace) as rig:
            rig.read_to_the_end(timeout_s=300)
    meter.report()
