"""The pipeline process as a list: what a frame passes, thread by thread.

    capture thread (one per camera)   edge.capture  → Lane.look: quality, tamper, gate → Intake
    worker threads (one per core)     Intake → inference.Model.detect → Lane.finish: tracking,
                                      zones, events, aggregates → spool
    reporter thread                   slices, health windows, heartbeat, silent cameras,
                                      thumbnails, finished evidence

Start reads from top to bottom in `start`; stopping is the reverse. Nothing here knows what a
picture shows, and nothing but a worker's model call is slow.
"""

import threading
from collections.abc import Mapping

from vedette.clock import NS_PER_S, Clock
from vedette.edge.buckets import Buckets
from vedette.edge.capture import (
    CameraDown,
    CameraSays,
    CameraUp,
    CaptureSupervisor,
    Decode,
    EncodedPacket,
    EvidenceStream,
)
from vedette.edge.capture.packets import RAW_CODECS
from vedette.edge.decoding import DecodePolicy
from vedette.edge.frame import Frame
from vedette.edge.intake import Intake, Terms
from vedette.edge.lane import CameraLane
from vedette.edge.stages import CameraPlan, Tap, Work, work
from vedette.ids import CameraId
from vedette.inference.model import Model
from vedette.wire.messages import Drop

_JOIN_S = 5.0


class Pipeline:
    """Cameras to lanes, by threads; implements `capture.Sink`.

    Args:
        plans: The cameras.
        workers: Inference threads over shared sessions.
        deadline_ms: Age at which a live frame is dropped, where its camera has no own budget.
        clock: Time.
        tap: Sees what was analysed, where nobody waits.
    """

    def __init__(
        self,
        plans: list[CameraPlan],
        *,
        workers: int,
        deadline_ms: float,
        clock: Clock,
        tap: Tap | None = None,
    ) -> None:
        self._clock = clock
        self._plans: Mapping[CameraId, CameraPlan] = {p.capture.camera: p for p in plans}
        self.capture = CaptureSupervisor(self, clock)
        buckets = {p.lane.model: Buckets(p.serving.now.batch_sizes) for p in plans if p.batches}
        self._buckets = buckets
        self._intake: Intake[Work] = Intake(
            {plan.capture.camera: terms(plan, deadline_ms) for plan in plans},
            mono_ns=clock.mono_ns,
            on_stale=self._stale,
            workers=workers,
            buckets=buckets,
        )
        self._decoding = {
            plan.capture.camera: DecodePolicy(
                may_idle=plan.idle_keyframes,
                is_sampled=plan.idle_keyframes and plan.batch_every_s is not None,
            )
            for plan in plans
        }
        self._workers = [
            threading.Thread(
                target=work,
                args=(self._intake, self._plans, buckets, tap),
                name=f"worker-{n}",
                daemon=True,
            )
            for n in range(workers)
        ]

    def start(self) -> None:
        """Start the workers, then the cameras; returns at once, whether any camera answers."""
        for worker in self._workers:
            worker.start()
        for plan in self._plans.values():
            self.capture.add(plan.capture)
        self.capture.start()

    def stop(self) -> None:
        """Stop the cameras, finish what is being worked on, count the rest as dropped."""
        waiting = self._intake.close()
        self.capture.stop()
        for camera, item in waiting:
            self._plans[CameraId(camera)].lane.finish(item.ticket, item.frame, Drop.SHUTDOWN)
        for worker in self._workers:
            worker.join(_JOIN_S)

    def depth(self, camera: str) -> int:
        """Return frames of one camera between capture and tracking."""
        return self._intake.depth(camera)

    def serve(self, slot: str, model: Model) -> None:
        """Analyse from the next picture on with `model`; those on their way go through the old one.

        All cameras of the slot, or none.

        Raises:
            ConfigError: A camera looks for a class that the model does not know.
        """
        mine = [plan for plan in self._plans.values() if plan.lane.model == slot]
        ready = [plan.serving.of(model) for plan in mine]
        for plan, served in zip(mine, ready, strict=True):
            plan.serving.now = served
        if slot in self._buckets:
            self._buckets[slot].change(ready[0].batch_sizes)

    # -- capture.Sink

    def on_packet(self, camera: CameraId, packet: EncodedPacket) -> None:
        """Keep the packet for evidence, and see what it says of the stream."""
        plan = self._plans[camera]
        plan.ring.put(packet)
        if plan.live and not plan.capture.evidence_source:  # else it is of the other stream
            self._decoding[camera].packet(
                t_s=packet.t_s, keyframe=packet.keyframe, size_bytes=len(packet.data)
            )

    def on_frame(self, frame: Frame) -> None:
        """Judge the picture; put it into its camera's slot where it is to be analysed."""
        plan = self._plans[frame.camera]
        lane = plan.lane
        served = plan.serving.now
        ticket = lane.look(frame)
        if plan.live:
            self._choose_decoding(frame, lane)
        if ticket is None:
            return
        item = Work(ticket, frame, served)
        if not self._intake.offer(frame.camera, item, frame.captured_mono_ns):
            lane.finish(ticket, frame, Drop.SHUTDOWN)

    def _choose_decoding(self, frame: Frame, lane: CameraLane) -> None:
        """Decode from the next packet on what is worth it now."""
        policy, now_ns = self._decoding[frame.camera], self._clock.mono_ns()
        before = policy.mode
        mode = policy.frame(
            now_s=now_ns / NS_PER_S,
            t_s=frame.t_s,
            age_s=(now_ns - frame.captured_mono_ns) / NS_PER_S,
            moves=lane.moves,
        )
        lane.decode = mode.value
        if mode is not before:
            self.capture.set_decode(frame.camera, mode)

    def on_undecodable(self, camera: CameraId, count: int) -> None:
        """Count them."""
        self._plans[camera].lane.undecodable(count)

    def on_state(self, state: CameraSays) -> None:
        """Tell the lane; tell the ring of its own stream, so that clips can say why they lack."""
        plan = self._plans[state.camera]
        has_own = bool(plan.capture.evidence_source)
        if isinstance(state, EvidenceStream):
            if state.up:
                plan.ring.source_back(state.t_s)
            else:
                plan.ring.source_lost(state.t_s, f"the stream for clips is down: {state.detail}")
        elif isinstance(state, CameraDown) and not has_own:
            plan.ring.source_lost(state.t_s, f"the camera was lost ({state.reason})")
        elif isinstance(state, CameraUp) and not has_own:
            plan.ring.source_back(state.t_s)
            plan.ring.source_is(raw=state.codec in RAW_CODECS)
        if isinstance(state, CameraUp) and plan.live:
            self._decoding[state.camera].restart()
            self.capture.set_decode(state.camera, Decode.ALL)
        plan.lane.says(state)

    def _stale(self, camera: str, item: Work) -> None:
        self._plans[CameraId(camera)].lane.finish(item.ticket, item.frame, Drop.STALE)


def terms(plan: CameraPlan, deadline_ms: float) -> Terms:
    """Return what the scheduler has to know of a camera."""
    return Terms(
        live=plan.live,
        budget_ms=plan.budget_ms or deadline_ms,
        every_s=plan.batch_every_s,
        group=plan.lane.model,
        most=64 if plan.batch_every_s is None else 1,
    )
