"""One camera between capture and spool: order, accounting, state and what was observed.

Frames come from the camera's capture thread (`look`), go to any worker, and come back in any order
(`finish`); here they are put into order again, because tracking needs time to run forwards. What
a picture shows is the business of `edge.lookout` (before inference) and `edge.analysis` (after).

Thread: `look` from the capture thread, `finish` from workers, `cut` and `health` from the reporter;
one lock per lane, and messages are handed out after it is released.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from vedette.clock import wall_ms
from vedette.edge.accounting import Account, Outcome, Ticket, since
from vedette.edge.analysis import Analysis
from vedette.edge.capture import CameraDown, CameraSays, CameraUp, EvidenceStream, SourceEnded
from vedette.edge.frame import Frame
from vedette.edge.identity import Identity, by_server
from vedette.edge.lookout import Look, Lookout
from vedette.edge.serving import Reading
from vedette.edge.spans import MAX_SILENCE_MS, SpanBuilder
from vedette.inference.model import Result
from vedette.vision.aggregates import minute_slices
from vedette.vision.tracking import Tracks
from vedette.wire.messages import (
    Aggregate,
    CameraHealth,
    CameraState,
    Cause,
    CoverageReport,
    Drop,
    EventReport,
    Frames,
    Span,
    State,
)

TAMPERING: Final = frozenset(
    {"Covered", "GlobalSceneChange", "ImageTooDark", "ImageTooBright", "FrozenPicture"}
)
"""Signs under which nothing was observed; others (a blurred picture) only degrade what was."""

EVIDENCE_DOWN: Final = "EvidenceStreamDown"
"""Sign of a camera that is analysed while its second stream, for clips, gives nothing."""

MAX_STATED_JUMP_MS: Final = 600_000
"""A clock that was set forward by more was no clock: a device that woke in 1970, say."""


MAX_SLICE_MS: Final = 120_000
"""No slice that is being built is older than this, where no clock was set."""


@dataclass(frozen=True, slots=True)
class _Done:
    """What became of one frame; see `CameraLane.finish`."""

    ticket: Ticket
    frame: Frame | None
    outcome: Outcome
    result: Result | None
    reading: Reading | None


class Observer(Protocol):
    """Whoever wants to see each frame with its tracks: `vedette watch`."""

    def __call__(self, frame: Frame, tracks: Tracks, events: Sequence[EventReport]) -> None:
        """Take one frame, in order; `tracks` are the held ones where it was gated."""
        ...


class CameraLane:
    """One camera's life on the device.

    Args:
        name: The camera.
        lookout: What it judges a picture by, before inference.
        analysis: What it makes of detections.
        model: Name of the model that its pictures go through.
        tier: How fast its pictures become results, for the health report.
        emit: Takes a message for the spool; an event first gets its evidence there.
        start_ms: Wall time from which this lane answers for the camera.
        silence_ms: Longest time between two looks that is no gap.
        is_off: True for a wall time (ms) at which nothing shall be analysed.
        observer: Sees every frame that was looked at.
    """

    def __init__(
        self,
        name: str,
        lookout: Lookout,
        analysis: Analysis,
        *,
        model: str,
        tier: str = "",
        emit: Callable[[msgspec.Struct], None],
        start_ms: int,
        silence_ms: int = MAX_SILENCE_MS,
        is_off: Callable[[int], bool] = lambda _ms: False,
        observer: Observer | None = None,
    ) -> None:
        self.name = name
        self.model = model
        self.tier = tier
        self.decode = ""  # which pictures are decoded, for the health report
        self.moves = True  # in the last picture: for the capture thread that brought it
        self._lookout = lookout
        self._analysis = analysis
        self._emit = emit
        self._is_off = is_off
        self._observer = observer
        self._account = Account()
        self._lock = threading.Lock()
        self._ready: dict[int, _Done] = {}
        self._cuts: list[Aggregate | CoverageReport] = []  # at swaps, not handed out yet
        self._next = 1
        self._silence_ms = silence_ms
        self._spans = SpanBuilder(start_ms, silence_ms=silence_ms)
        self._spans.open_gap(Cause.CAMERA_DOWN, start_ms, "no picture yet")
        self._state = State.STARTING
        self._cause: Cause | None = Cause.CAMERA_DOWN
        self._since_ms = start_ms
        self._down, self._off, self._settled = True, False, False
        self._down_detail = self._told_detail = "no picture yet"
        self._signs: tuple[str, ...] = ()
        self._told_signs: list[str] = []
        self._signs_detail, self._is_slight = "", False
        self._evidence_down = ""  # why the stream for clips is not there
        self._last_frame_ms: int | None = None
        self._picture_px: tuple[int, int] | None = None
        self._codec = self._source = self._server = ""
        self._announced_fps: float | None = None
        self._identity = Identity()
        self._reconnects = -1
        self._told_reconnects = 0
        self._was_cut = False
        self._cut_frames = self._health_frames = Frames()
        self._health_ms = start_ms

    # -- from capture

    def look(self, frame: Frame) -> Ticket | None:
        """Judge one picture; return its ticket where it is to be analysed, None where gated."""
        ticket = self._account.admit()
        with contextlib.ExitStack() as undo:
            # A ticket that nobody settles would hold back every frame behind it, for good.
            undo.callback(self.finish, ticket, frame, Drop.BACKEND)
            look = self._look(frame)
            undo.pop_all()
        if look.analyse:
            return ticket
        if look.is_passed:
            self._pass_over(ticket, frame)
        else:
            self.finish(ticket, frame, "gated")
        return None

    def _look(self, frame: Frame) -> Look:
        """Judge one picture and move to the state that follows."""
        at_ms = wall_ms(frame.captured_at)
        if self._is_off(at_ms):
            self.moves = False
            self._change(at_ms, off=True)
            return Look(analyse=False)
        if self._was_cut:  # what was passed over did not continue what came before it
            frame.discontinuity = True
        self._lookout.absorb(self._analysis.take_settled())
        look = self._lookout.look(frame, tracked=self._analysis.is_tracking)
        self._settled = self._settled or look.settled
        since_ms = look.since_ms or at_ms
        self._change(at_ms, off=False, signs=look.signs, since_ms=since_ms, look=look)
        self.moves = look.moves
        if not look.is_passed:
            self._was_cut = False
        return look

    def _pass_over(self, ticket: Ticket, frame: Frame) -> None:
        """Book a picture that the tier batch leaves out: judged, but no look at who is there."""
        with self._lock:
            self._last_frame_ms = wall_ms(frame.captured_at)
            self._picture_px = (frame.width, frame.height)
            self._was_cut = self._was_cut or frame.discontinuity
        self.finish(ticket, None, "gated")

    def undecodable(self, count: int) -> None:
        """Count packets of which no picture could be made."""
        for _ in range(count):
            self.finish(self._account.admit(), None, Drop.UNDECODABLE)

    def says(self, state: CameraSays) -> None:
        """Take what capture says of the camera: up, down or at its end."""
        at_ms = wall_ms(state.at)
        if isinstance(state, EvidenceStream):
            self._change(at_ms, evidence_down="" if state.up else state.detail or "down")
        elif isinstance(state, CameraUp):
            self._codec, self._source = state.codec, state.source
            self._announced_fps, self._server = state.announced_fps, state.server
            self._reconnects += 1
            self._change(at_ms, down=False)
        elif isinstance(state, CameraDown):
            detail, reason = state.detail, str(state.reason)
            if not detail.startswith(reason):
                detail = f"{reason}: {detail}" if detail else reason
            noticed_ms = wall_ms(state.noticed_at)
            self._change(at_ms, down=True, detail=detail[:500], noticed_ms=noticed_ms)
        elif isinstance(state, SourceEnded):
            self._change(at_ms, down=True, detail=f"the file ended. {state.detail}".strip())

    @property
    def ups(self) -> int:
        """How often pictures began to come."""
        return self._reconnects + 1

    def identify(self, identity: Identity) -> None:
        """Take what the camera itself says that it is. Thread: any."""
        with self._lock:
            self._identity = identity

    # -- from workers

    def finish(
        self,
        ticket: Ticket,
        frame: Frame | None,
        outcome: Outcome,
        result: Result | None = None,
        reading: Reading | None = None,
    ) -> None:
        """Take what became of a frame; frames before it are waited for, those after it follow.

        Args:
            ticket: The frame's place in the order.
            frame: None where there is no picture of it.
            outcome: Analysed, gated or dropped.
            result: What the model saw.
            reading: How the answers of that model are read; None: as those before.
        """
        with self._lock:
            self._ready[ticket.number] = _Done(ticket, frame, outcome, result, reading)
        self._apply_ready()

    def _apply_ready(self) -> None:
        """Apply what is ready, in order; a frame that fails holds back nothing and nobody."""
        messages: list[msgspec.Struct] = []
        failed = True
        try:
            with self._lock:
                while (ready := self._ready.pop(self._next, None)) is not None:
                    self._next += 1
                    messages += self._apply(ready)
            failed = False
        finally:
            for message in messages:
                self._emit(message)
            if failed:
                self._apply_ready()

    def _apply(self, done: "_Done") -> list[EventReport]:
        """Book one frame, in order; return the events that it caused."""
        frame, outcome, result = done.frame, done.outcome, done.result
        if frame is not None and result is not None and done.reading is not None:
            self._follow(done.reading, frame)
        self._account.settle(done.ticket, outcome)
        if outcome is Drop.STALE:
            self._analysis.note_stale()
        if frame is not None and frame.discontinuity:  # also of one that was dropped: the next
            self._analysis.interrupt(frame.t_s)  # one continues it, and not what came before
        if frame is None or isinstance(outcome, Drop):
            return []
        at_ms = wall_ms(frame.captured_at)
        self._last_frame_ms = at_ms
        self._picture_px = (frame.width, frame.height)
        if self._state in {State.TAMPERED, State.OFF}:
            self._spans.look(at_ms)
            return []
        if result is None:
            tracks, events = self._analysis.hold(frame)
        else:
            tracks, events = self._analysis.advance(frame, result)
        self._spans.look(at_ms)  # only now: where the analysis fails nothing was observed
        if self._observer:
            self._observer(frame, tracks, events)
        return events

    def _follow(self, reading: Reading, frame: Frame) -> None:
        """Where another model saw this frame than those before: end the slice, and go on as it."""
        if reading is self._analysis.reading:
            return
        self._analysis.part(reading)
        start_ms, at_ms = self._spans.start_ms, wall_ms(frame.captured_at)
        is_usual = start_ms < at_ms <= start_ms + MAX_SLICE_MS  # else a clock was set just now
        self._cuts += self._cut(at_ms if is_usual else start_ms + 1, frame.t_s)
        self._analysis.follow(reading, frame.t_s)

    # -- state

    def _change(
        self,
        at_ms: int,
        *,
        down: bool | None = None,
        detail: str = "",
        off: bool | None = None,
        signs: tuple[str, ...] | None = None,
        since_ms: int | None = None,
        noticed_ms: int | None = None,
        evidence_down: str | None = None,
        look: Look | None = None,
    ) -> None:
        """Move to the state that follows from what is known now, and say so where it changed."""
        with self._lock:
            if down is not None:
                self._down, self._down_detail = down, detail
                if down:
                    self._signs = ()
                    self._lookout.interrupt()
            if off is not None:
                self._off = off
            if signs is not None:
                self._signs = signs
            if look is not None:
                self._signs_detail, self._is_slight = look.detail, look.is_slight
            if evidence_down is not None:
                self._evidence_down = evidence_down[:500]
            state, cause = self._judge()
            when_ms = (
                since_ms if signs and since_ms is not None and state is not State.OFF else at_ms
            )
            changed = self._enter(state, cause, when_ms, noticed_ms or at_ms)
        if changed:
            self._emit(changed)

    def _judge(self) -> tuple[State, Cause | None]:
        """Return state and cause by what is worst."""
        if self._down:
            return State.DOWN, Cause.CAMERA_DOWN
        if self._off:
            return State.OFF, Cause.SCHEDULED_OFF
        if TAMPERING.intersection(self._signs) and not self._is_slight:
            return State.TAMPERED, Cause.TAMPERED
        if self._signs or self._evidence_down:
            return State.DEGRADED, None
        return (State.OK if self._settled else State.STARTING), None

    def _enter(
        self, state: State, cause: Cause | None, at_ms: int, noticed_ms: int
    ) -> CameraState | None:
        """Book the gap that begins or ends; return the message where state or reason is another."""
        detail = self._down_detail if state is State.DOWN else ", ".join(self._signs)
        if self._signs and self._signs_detail and state is not State.DOWN:
            detail = f"{detail}: {self._signs_detail}"
        signs = list(self._signs)
        if self._evidence_down and state is State.DEGRADED:
            signs.append(EVIDENCE_DOWN)
            detail = f"{detail}, no clips: {self._evidence_down}".lstrip(", ")
        began_ms = at_ms
        if state is self._state and cause is self._cause:
            began_ms = self._since_ms
            if state is State.DOWN and detail != self._told_detail:
                at_ms = began_ms  # still down since then, but for another reason
            elif state is not State.DEGRADED or signs == self._told_signs:
                return None
        self._told_detail, self._told_signs = detail, signs
        if cause is not self._cause:
            if self._cause:
                self._spans.close_gap(self._cause, at_ms)
            if cause:
                self._spans.open_gap(cause, at_ms, detail)
                self._analysis.interrupt(None)
        self._state, self._cause, self._since_ms = state, cause, began_ms
        return CameraState(
            camera=self.name,
            at_ms=at_ms,
            noticed_ms=max(noticed_ms, at_ms),
            state=state,
            cause=cause,
            signs=signs,
            detail=detail,
        )

    # -- from the reporter

    def cut(self, end_ms: int) -> list[Aggregate | CoverageReport]:
        """End the slice; return its aggregate and corrections to earlier ones.

        A slice never crosses a minute's edge: where the reporter comes late there are several,
        and what was counted stands in the first.
        """
        with self._lock:
            before, self._cuts = self._cuts, []
            return before + self._cut(end_ms)

    def _cut(self, end_ms: int, t_s: float | None = None) -> list[Aggregate | CoverageReport]:
        cuts: list[Aggregate | CoverageReport] = []
        for start_ms, edge_ms in minute_slices(self._spans.start_ms, end_ms):
            spans, corrections = self._spans.cut(edge_ms)
            frames = self._account.frames()
            window, self._cut_frames = since(frames, self._cut_frames), frames
            cuts.append(self._analysis.cut(start_ms, edge_ms, spans, window, t_s=t_s))
            if corrections:
                cuts.append(CoverageReport(camera=self.name, spans=corrections))
        return cuts

    def covered(self, end_ms: int) -> list[Span]:
        """Return what was observed of the slice that is being built, up to `end_ms`."""
        with self._lock:
            return self._spans.peek(end_ms)

    @property
    def start_ms(self) -> int:
        """Start of the slice that is being built."""
        with self._lock:
            return self._spans.start_ms

    def clock_stepped(self, to_ms: int) -> None:
        """Begin anew at `to_ms`, after the slice before the step was cut.

        What the wall clock jumped over a little was never lived through, and is stated as such.
        After a far jump nothing is: then the time before it was wrong and central moves it.
        """
        with self._lock:
            before_ms = self._spans.start_ms
            jumped = 0 < to_ms - before_ms <= MAX_STATED_JUMP_MS
            since_ms = before_ms if jumped else to_ms
            self._spans = SpanBuilder(since_ms, silence_ms=self._silence_ms)
            if jumped:
                self._spans.open_gap(Cause.CLOCK_UNTRUSTED, before_ms, "the clock was set")
                self._spans.close_gap(Cause.CLOCK_UNTRUSTED, to_ms)
            if self._cause:
                self._spans.open_gap(self._cause, to_ms, self._down_detail)
            self._analysis.interrupt(None)

    def health(self, now_ms: int, queue_depth: int) -> CameraHealth:
        """End the health window; return how the camera was in it."""
        with self._lock:
            frames = self._account.frames()
            window, self._health_frames = since(frames, self._health_frames), frames
            span_s = max(0.001, (now_ms - self._health_ms) / 1000)
            self._health_ms = now_ms
            looked = window.analysed + window.gated
            said = self._identity if self._identity != Identity() else by_server(self._server)
            total = max(0, self._reconnects)
            again, self._told_reconnects = total - self._told_reconnects, total
            return CameraHealth(
                camera=self.name,
                state=self._state,
                since_ms=self._since_ms,
                frames=window,
                rate_fps=round(looked / span_s, 3) if not self._down else None,
                queue_depth=queue_depth,
                stage_ms=self._analysis.stages(),
                reconnects=again,
                last_frame_ms=self._last_frame_ms,
                source=self._source,
                codec=self._codec,
                picture_px=self._picture_px,
                quality=self._lookout.quality(),
                advice=self._lookout.advice(),
                scene=self._lookout.scene(),
                tier=self.tier,
                decode=self.decode,
                make=said.make,
                model=said.model,
                firmware=said.firmware,
                serial=said.serial,
                announced_fps=self._announced_fps,
                detail=self._told_detail,
                signs=list(self._told_signs),
            )

    def snapshot(self) -> CameraHealth:
        """Return the camera's state without ending the health window."""
        with self._lock:
            return CameraHealth(
                camera=self.name,
                state=self._state,
                since_ms=self._since_ms,
                last_frame_ms=self._last_frame_ms,
                source=self._source,
                detail=self._told_detail,
                signs=list(self._told_signs),
            )

    def reference(self, width_px: int) -> bytes | None:
        """Return the pinned scene as coarse as a thumbnail; None where none was pinned."""
        return self._lookout.reference(width_px)

    def thumbnail(self, width_px: int) -> bytes | None:
        """Return a privacy-safe JPEG, or None until enough was seen of the background."""
        return self._lookout.thumbnail(width_px)
