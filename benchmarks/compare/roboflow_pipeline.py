"""Roboflow's InferencePipeline with a function of one's own: the way that needs no network."""

import os

os.environ |= {"OFFLINE_MODE": "True", "TELEMETRY_OPT_OUT": "True", "ENABLE_STREAM_API": "False"}

from typing import Any

from inference import InferencePipeline
from meter import Meter, arguments
from plain import boxes, letterbox, runner

if __name__ == "__main__":
    given = arguments()
    meter = Meter()
    run = runner("onnxruntime", given.model)

    def on_frames(frames: list[Any]) -> list[Any]:
        """Return what is in each picture."""
        found = []
        for frame in frames:
            tensor, *where = letterbox(frame.image, given.side)
            found.append(boxes(run(tensor), *where))
        return found

    def on_prediction(found: Any, _frame: Any) -> None:
        """Count it."""
        meter.tick(len(found))

    pipeline = InferencePipeline.init_with_custom_logic(
        video_reference=given.clip, on_video_frame=on_frames, on_prediction=on_prediction
    )
    pipeline.start()
    pipeline.join()
    meter.report()
