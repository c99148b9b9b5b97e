"""From configuration to cameras that run: models, lanes, evidence and the ways between them.

Here: what is joined to what. Not here: threads (`edge.pipeline`) and time (`edge.reporter`).
"""

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import numpy as np

from vedette.clock import Clock, wall_ms
from vedette.edge.address import is_live
from vedette.edge.analysis import Analysis
from vedette.edge.capture import CaptureSettings, Pace, RtspClient
from vedette.edge.evidence.desk import EvidenceDesk
from vedette.edge.evidence.store import EvidenceStore
from vedette.edge.lane import CameraLane, Observer
from vedette.edge.lookout import Lookout
from vedette.edge.models import Models
from vedette.edge.patience import patience_s, silent_s
from vedette.edge.pinned import PinnedScene
from vedette.edge.ring import PacketRing
from vedette.edge.scenes import SceneWatch
from vedette.edge.serving import PEOPLE, Reading, Served, Serving
from vedette.edge.settings import Camera, EdgeConfig, Tier, check_labels, minute_of_day
from vedette.edge.spans import MAX_SILENCE_MS
from vedette.edge.stages import CameraPlan
from vedette.errors import ConfigError, InferenceError, TrustError, VedetteError
from vedette.ids import CameraId
from vedette.inference.manifest import Manifest
from vedette.inference.model import Model
from vedette.vision.motion import MotionGate, MotionSettings
from vedette.vision.regions import Regions
from vedette.vision.tamper import TamperSettings, TamperWatch
from vedette.wire.messages import (
    CameraState,
    Cause,
    EvidenceRecord,
    State,
)

_LOG = logging.getLogger(__name__)

CAMERA_REFUSED: Final = "pipeline.camera_refused"
"""The log's word for a camera that cannot run."""


STREAMS_APART_MS: Final = 500
"""Two streams of one camera are placed in time by the arrival of each; so far they may differ."""

Emit = Callable[[msgspec.Struct], None]


class Assembly:
    """Builds the cameras of one configuration.

    Args:
        config: The device's configuration as it is in effect.
        models: Where models come from.
        clock: The pipeline's steady clock.
        emit: Takes every message for the spool.
        evidence: Takes requests for clips; None where none are kept.
        pinned: Judge cameras by the scene that was pinned before.
    """

    def __init__(
        self,
        config: EdgeConfig,
        models: Models,
        clock: Clock,
        *,
        emit: Emit,
        evidence: EvidenceStore | None,
        pinned: bool = True,
    ) -> None:
        self._config = config
        self._pinned = pinned
        self._models = models
        self._clock = clock
        self._emit = emit
        self._evidence = evidence
        self.refused: set[str] = set()
        """Slots of cameras that cannot run."""

    def plans(
        self, *, pace: Pace = Pace.REAL_TIME, observer: Observer | None = None
    ) -> list[CameraPlan]:
        """Return every camera that can run; one mistake stops one camera, not its neighbours.

        Raises:
            ConfigError, InferenceError: No camera at all can run; what is wrong with the first.
        """
        plans: list[CameraPlan] = []
        wrong: list[VedetteError] = []
        for camera in self._config.cameras:
            if not camera.source:
                _LOG.warning(
                    "camera %s has no source yet",
                    camera.id,
                    extra={"event": "pipeline.no_source", "camera": camera.id},
                )
                continue
            try:
                plans.append(self._plan(camera, pace, observer))
            except (ConfigError, InferenceError, TrustError) as error:
                wrong.append(error)
                self._refuse(camera, error)
        if wrong and not plans:
            raise wrong[0]
        return plans

    def _refuse(self, camera: Camera, error: VedetteError) -> None:
        """Say that a camera cannot run and why, in the log and to central."""
        self.refused.add(camera.model)
        _LOG.error(
            "camera %s cannot run: %s. %s",
            camera.id,
            error,
            error.operator_hint or "",
            extra={"event": CAMERA_REFUSED, "camera": camera.id},
        )
        now_ms = wall_ms(self._clock.now_at())
        self._emit(
            CameraState(
                camera=camera.id,
                at_ms=now_ms,
                noticed_ms=now_ms,
                state=State.DOWN,
                cause=Cause.PIPELINE_STOPPED,
                detail=str(error)[:500],
            )
        )

    def _plan(self, camera: Camera, pace: Pace, observer: Observer | None) -> CameraPlan:
        model = self._models.get(camera.model)
        serve = partial(self._served, camera)
        served = serve(model)
        ring = self._evidence.make_ring() if self._evidence else PacketRing(0.0, 0)
        gate, regions = camera.gate, Regions(camera.regions)
        every_s = camera.batch_every_s if camera.tier is Tier.BATCH else None
        lookout = Lookout(
            MotionGate(
                MotionSettings(
                    full_scan_s=gate.full_scan_s, min_changed_fraction=gate.min_changed_fraction
                ),
                regions,
            )
            if gate.enabled and every_s is None
            else None,
            every_s=every_s,
            tamper=TamperWatch(TamperSettings(gap_s=patience_s(camera, TamperSettings().gap_s))),
            pinned=PinnedScene(self._config.state_dir, camera.id) if self._pinned else None,
        )
        desk = EvidenceDesk(
            self._evidence,
            ring,
            self._emit,
            camera=camera,
            reading=served.reading,
            lookout=lookout,
            slack_ms=STREAMS_APART_MS if camera.evidence_source else 0,
        )
        live = is_live(camera.source) or (camera.loop and pace is Pace.REAL_TIME)
        deadline_ms = camera.budget_ms or self._config.pipeline.deadline_ms
        analysis = Analysis(
            camera,
            served.reading,
            clock=self._clock,
            want_evidence=desk.want,
            quality=lookout.cut_quality,
            note_boxes=desk.note,
            budget_ms=deadline_ms if live and every_s is None else None,
            note_reading=desk.follow,
        )
        lane = CameraLane(
            camera.id,
            lookout,
            analysis,
            model=camera.model,
            tier=camera.tier.value,
            emit=self._emit,
            start_ms=wall_ms(self._clock.now_at()),
            silence_ms=round(patience_s(camera, MAX_SILENCE_MS / 1000) * 1000),
            is_off=off_hours(camera.off_hours, self._config.time_zone),
            observer=observer,
        )
        return CameraPlan(
            capture=CaptureSettings(
                camera=CameraId(camera.id),
                source=camera.source,
                evidence_source=camera.evidence_source if self._evidence else "",
                rotate_deg=None if camera.rotate == "auto" else int(camera.rotate),
                # Tampering and a camera that is gone are looked for each second in any tier.
                max_fps=camera.max_fps if every_s is None else max(1.0, 1.0 / every_s),
                loop=camera.loop,
                pace=pace,
                rtsp_client=RtspClient(camera.rtsp_client),
                onvif_port=camera.onvif_port,
                silent_s=silent_s(camera),
            ),
            lane=lane,
            serving=Serving(served, serve, partial(self._read, camera)),
            ring=ring,
            live=live,
            regions=regions,
            budget_ms=camera.budget_ms,
            batch_every_s=every_s,
            batches=self._may_batch,
            idle_keyframes=live
            and ((camera.idle_keyframes and gate.enabled) or every_s is not None),
        )

    def _served(self, camera: Camera, model: Model) -> Served:
        """Return a model as one camera uses it.

        Raises:
            ConfigError: The camera looks for a class that the model does not know.
        """
        reading = self._read(camera, model.manifest, model.digest)
        return Served(model, reading, self._batch_sizes(model))

    def _read(self, camera: Camera, said: Manifest, digest: str) -> Reading:
        """Return how one camera reads the answers of a model.

        Raises:
            ConfigError: The camera looks for a class that the model does not know.
        """
        check_labels(camera, said.name, said.labels)
        own = camera.threshold  # overrules the model's, of every label
        each = np.array([said.thresholds.get(label, said.threshold) for label in said.labels])
        return Reading.of(
            camera,
            said.labels,
            digest=digest,
            threshold=each if own is None else own,
            watches_people=watches_people(camera, said),
            scene=self._scene(camera, said, said.threshold if own is None else own),
            model=(said.name, said.version),
        )

    @property
    def _may_batch(self) -> bool:
        """Whether several pictures may go through one call: not on a CPU, where one is best."""
        pipeline = self._config.pipeline
        return max(pipeline.batch_sizes, default=1) > 1 and pipeline.providers[:1] != ["cpu"]

    def _batch_sizes(self, model: Model) -> tuple[int, ...]:
        """Return how many pictures may go through one call."""
        wanted = self._config.pipeline.batch_sizes
        if not self._may_batch:
            return (1,)
        return tuple(size for size in wanted if size in model.batch_sizes) or (1,)

    @staticmethod
    def _scene(camera: Camera, model: Manifest, threshold: float) -> SceneWatch | None:
        """Return what watches whole pictures, None for a detector."""
        if model.purpose == "detection":
            return None
        if camera.zones or camera.lines:
            _LOG.warning(
                "camera %s has zones or lines, but its model %s gives no boxes: they stay unused",
                camera.id,
                model.name,
                extra={"event": "pipeline.zones_unused", "camera": camera.id},
            )
        return SceneWatch(camera, model, threshold)


def watches_people(camera: Camera, model: Manifest) -> bool:
    """Return whether everybody in the picture is looked for: a blurred clip relies on it.

    A model of whole pictures may know the word, but not where anybody is.
    """
    wanted = set(camera.labels or model.labels) & set(model.labels)
    return model.purpose == "detection" and bool(wanted & PEOPLE) and not camera.regions


def off_hours(spans: Iterable[tuple[str, str]], time_zone: str) -> Callable[[int], bool]:
    """Return whether a wall time (ms) lies in one of the local spans, which may cross midnight.

    Raises:
        ConfigError: No such time zone or time of day.
    """
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(
            f"no time zone {time_zone!r}", operator_hint="write it as Europe/Berlin"
        ) from error
    minutes = [(minute_of_day(start), minute_of_day(end)) for start, end in spans]
    if not minutes:
        return lambda _ms: False

    def is_off(at_ms: int) -> bool:
        local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
        now = local.hour * 60 + local.minute
        return any(
            start <= now < end if start <= end else now >= start or now < end
            for start, end in minutes
        )

    return is_off


def report(
    store: EvidenceStore,
    records: Iterable[EvidenceRecord],
    keep: Callable[[EvidenceRecord], bool],
) -> None:
    """Hand finished evidence to the spool, then note on the shelf what is durable there.

    What could not be made durable is handed over again by the next process (`leftovers`): central
    may hear of a package twice, never not at all.
    """
    for record in records:
        if keep(record):
            store.mark_reported(record.evidence)
