"""The trackers that are compared, each as a function of detections and time.

Peers come from the package `trackers` where it is installed; it is no dependency of the project.
Each is told the real frame rate. Their thresholds assume a detector of high confidences, so each
stands there twice where that matters: as published, and with the threshold that ours has.
"""

import importlib
import importlib.metadata
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from vedette.vision.detections import Detections
from vedette.vision.geometry import box_overlap
from vedette.vision.tracking import Tracker, TrackerSettings

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Follow = Callable[[Detections, float], tuple[Ids, Floats]]
Make = Callable[[float], Follow]  # of the frame rate

THRESHOLD = 0.4


def vedette(**settings: Any) -> Make:
    """Return our tracker: confirmed tracks where they were observed."""

    def make(_fps: float) -> Follow:
        tracker = Tracker(TrackerSettings(**{"high_confidence": THRESHOLD, **settings}))

        def follow(found: Detections, t_s: float) -> tuple[Ids, Floats]:
            tracks = tracker.update(found, t_s)
            tracks = tracks.where(tracks.confirmed & tracks.observed)
            return tracks.track_id, tracks.boxes_xyxy.astype(np.float64)

        return follow

    return make


def plain(_fps: float) -> Follow:
    """Return a matching of overlaps above 0.3 with the look before, and nothing else."""
    state: dict[str, Any] = {"boxes": np.zeros((0, 4)), "ids": np.zeros(0, np.int64), "next": 1}

    def follow(found: Detections, _t_s: float) -> tuple[Ids, Floats]:
        boxes = found.boxes_xyxy[found.confidence >= THRESHOLD].astype(np.float64)
        overlap = box_overlap(state["boxes"], boxes)
        ids = np.zeros(len(boxes), np.int64)
        for r, c in zip(*linear_sum_assignment(-overlap), strict=True):
            if overlap[r, c] >= 0.3:
                ids[c] = state["ids"][r]
        new = ids == 0
        ids[new] = np.arange(state["next"], state["next"] + new.sum())
        state.update(boxes=boxes, ids=ids, next=state["next"] + int(new.sum()))
        return ids, boxes

    return follow


def peers() -> dict[str, Make]:
    """Return the peers that are installed, by name; says so where there are none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trackers = importlib.import_module("trackers")
    except ImportError:
        print("left out: peers (pip install trackers, in an environment of its own)")
        return {}
    warnings.filterwarnings("ignore", module="trackers")
    warnings.filterwarnings("ignore", module="supervision")
    byte, buffered = trackers.ByteTrackTracker, trackers.CBIoUTracker
    return {
        "C-BIoU": _peer(buffered, None),
        f"C-BIoU at {THRESHOLD}": _peer(buffered, THRESHOLD),
        "ByteTrack": _peer(byte, None),
        f"ByteTrack at {THRESHOLD}": _peer(byte, THRESHOLD),
        f"OC-SORT at {THRESHOLD}": _peer(trackers.OCSORTTracker, THRESHOLD),
        f"SORT at {THRESHOLD}": _peer(trackers.SORTTracker, THRESHOLD),
    }


def version() -> str:
    """Return the version of the package of peers."""
    try:
        return importlib.metadata.version("trackers")
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _peer(kind: Any, threshold: float | None) -> Make:
    known = inspect.signature(kind.__init__).parameters
    names = ("high_conf_det_threshold", "track_activation_threshold")
    settings = {} if threshold is None else {n: threshold for n in names if n in known}

    def make(fps: float) -> Follow:
        import supervision

        tracker = kind(frame_rate=fps, **settings)

        def follow(found: Detections, t_s: float) -> tuple[Ids, Floats]:
            seen = supervision.Detections(
                xyxy=found.boxes_xyxy.copy(),
                confidence=found.confidence.copy(),
                class_id=found.class_id.astype(int),
            )
            tracked = tracker.update(seen, timestamp=t_s)
            if not len(tracked):
                return np.zeros(0, np.int64), np.zeros((0, 4))
            named = tracked.tracker_id >= 0
            return tracked.tracker_id[named].astype(np.int64), tracked.xyxy[named].astype(float)

        return follow

    return make
