"""Which evidence is wanted, when it is ready, and what becomes of it.

Here: requests with their pins, the boxes of the last seconds per camera, packaging when the time
after the event has passed. Not here: the folder (`shelf`) and the muxing (`clip`). The rule: every
request ends in exactly one `EvidenceRecord`: complete, refused or failed; and no failure here
touches anything but that record.

Thread: `note` and `request` from any; `work` from one; `blur_one` from another.
"""

import logging
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec

from vedette.clock import NS_PER_S, Clock
from vedette.edge.evidence import facts, package, shelf
from vedette.edge.evidence.blur import blurred_copy
from vedette.edge.evidence.catalog import PackageInfo
from vedette.edge.evidence.examine import MAX_CLIP_BYTES
from vedette.edge.evidence.package import Seen
from vedette.edge.evidence.poster import describe, poster_jpeg
from vedette.edge.evidence.shelf import Shelf
from vedette.edge.evidence.surroundings import Memory
from vedette.edge.ring import PacketRing, Pin
from vedette.edge.settings import EvidenceSettings
from vedette.errors import EvidenceError
from vedette.ids import CameraId, is_slug
from vedette.vision.picture import Picture
from vedette.wire.circumstances import Circumstances
from vedette.wire.messages import Box, EventReport, EvidenceRecord

_LOG = logging.getLogger(__name__)

MAX_PENDING: Final = 32
"""Requests that may wait at once: each pins a ring and, for a moment, a picture."""

_IDLE_S: Final = 3.0
_DELAY_S: Final = 2.0
_OVERDUE_S: Final = 60.0
_EXPIRE_EVERY_S: Final = 600.0
_MAX_FRAMES: Final = 4_000
_MB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """Evidence that a rule asks for.

    Attributes:
        event: What happened; `event.evidence` is the package's id.
        at_t_s: When, as `Frame.t_s` of the frame it was seen in.
        picture: That frame's picture, for the poster.
        priority: 0 alerts, 1 events, 2 nice to have; see `budget.PRIORITY_SHARE`.
        stays_on_site: What the pixel policy says about this clip.
        watches_people: True where the camera looks for people in the whole picture: a blurred
            copy relies on it.
        slack_ms: How far the clip's times may be off those of the frames, where the clip is of
            another stream.
        before_s: Other than the settings' where given.
        after_s: Other than the settings' where given.
        circumstances: By which model, limits and rule it was seen.
    """

    event: EventReport
    at_t_s: float
    picture: Picture | None = field(default=None, repr=False)
    priority: int = 1
    stays_on_site: bool = True
    watches_people: bool = False
    slack_ms: int = 0
    before_s: float | None = None
    after_s: float | None = None
    circumstances: Circumstances | None = None


@dataclass(slots=True)
class _Pending:
    wanted: Wanted
    ring: PacketRing
    pin: Pin
    start_s: float
    end_s: float
    asked_mono_ns: int
    record: EvidenceRecord
    picture: Picture | None
    poster: bytes = b""


class EvidenceStore:
    """The device's evidence."""

    def __init__(
        self,
        root: Path,
        settings: EvidenceSettings,
        clock: Clock,
        *,
        min_free_bytes: int = shelf.MIN_FREE_BYTES,
        memory: Memory | None = None,
    ) -> None:
        """Open the folder; `memory` is asked what happened around an event.

        Raises:
            EvidenceError: It cannot be made or read.
        """
        self._settings = settings
        self._clock = clock
        self._shelf = Shelf(
            root,
            clock,
            daily_bytes=round(settings.daily_mb * _MB),
            keep_bytes=round(settings.keep_mb * _MB),
            min_free_bytes=min_free_bytes,
        )
        self._memory = memory
        self._expire_ns = 0
        self._pending: list[_Pending] = []
        self._seen: dict[CameraId, deque[Seen]] = {}
        self._lock = threading.Lock()

    def make_ring(self) -> PacketRing:
        """Return a ring for one camera, as large as the settings say.

        Never shorter than the time that is kept before an event and the event's own delay.
        """
        ring_s = max(self._settings.ring_s, self._settings.before_s + _DELAY_S)
        opened_s = self._clock.mono_ns() / NS_PER_S
        return PacketRing(ring_s, round(self._settings.ring_mb * _MB), opened_s=opened_s)

    def note(
        self, camera: CameraId, t_s: float, boxes: list[Box], problems: tuple[str, ...] = ()
    ) -> None:
        """Remember what a frame showed, and how good it was, for packages that will cover it."""
        with self._lock:
            seen = self._seen.setdefault(camera, deque(maxlen=_MAX_FRAMES))
            seen.append((t_s, boxes, problems))
            keep_from_s = t_s - self._settings.ring_s - self._settings.after_s - _IDLE_S
            while seen[0][0] < keep_from_s:
                seen.popleft()

    def request(self, wanted: Wanted, ring: PacketRing) -> EvidenceRecord | None:
        """Ask for a package; None where it will come out of `work`, else the refusal.

        Raises:
            ValueError: `event.evidence` is no id.
        """
        event = wanted.event
        if not is_slug(event.evidence):
            raise ValueError(f"{event.evidence!r} is no id for evidence")
        before_s = self._settings.before_s if wanted.before_s is None else wanted.before_s
        after_s = self._settings.after_s if wanted.after_s is None else wanted.after_s
        record = EvidenceRecord(
            evidence=event.evidence,
            event=event.event,
            camera=event.camera,
            wanted_ms=(
                event.at_ms - round(before_s * 1000),
                event.at_ms + round(after_s * 1000),
            ),
            stays_on_site=wanted.stays_on_site,
            picture_px=event.picture_px,
            poster=describe(event.boxes) if wanted.picture else "",
            boxes=event.boxes,
        )
        refusal = self._shelf.refusal(0, wanted.priority)
        pending = _Pending(
            wanted=replace(wanted, picture=None),  # else it would be held until the clip is made
            ring=ring,
            pin=ring.pin(wanted.at_t_s - before_s),
            start_s=wanted.at_t_s - before_s,
            end_s=wanted.at_t_s + after_s,
            asked_mono_ns=self._clock.mono_ns(),
            record=record,
            picture=wanted.picture,
        )
        with self._lock:
            if not refusal and len(self._pending) >= MAX_PENDING:
                refusal = f"{MAX_PENDING} clips are being waited for already"
            if not refusal:
                self._pending.append(pending)
        if refusal:
            pending.pin.release()
            return _closed(record, "refused", refusal)
        self._note_wanted(record)
        return None

    def work(self, *, everything: bool = False) -> list[EvidenceRecord]:
        """Package what is ready and return its records; `everything` at the end, ready or not."""
        with self._lock:
            pending = list(self._pending)
        records: list[EvidenceRecord] = []
        for one in pending:
            self._make_poster(one)
            why = self._why_ready(one) or ("the device stopped" if everything else None)
            if why is not None:
                records.append(self._finish(one, why))
                with self._lock:
                    self._pending.remove(one)
                one.pin.release()
        return records

    def blur_one(self, stop: threading.Event) -> EvidenceRecord | None:
        """Make one blurred copy that is waited for, the newest first; return the record to send.

        None where there is nothing to do, where it was stopped (the next process goes on), or where
        no copy can be made: that is in the log and in the package, and the original is as it was.
        """
        # Not before the original is reported: the later word about a package is the one that holds.
        waiting = [p for p in self._shelf.packages() if p.wants_blur and p.is_reported]
        if not waiting or self._settings.blur == "none":
            return None
        one = max(waiting, key=lambda package: package.mtime_ns)
        end_ns = self._clock.mono_ns() + round(self._settings.blur_max_s * NS_PER_S)

        def should_stop() -> str:
            if stop.is_set():
                return "the device stopped"
            is_over = self._clock.mono_ns() > end_ns
            return "it takes longer than evidence.blur_max_s" if is_over else ""

        try:
            said = facts.read_facts(one.path)
            data = facts.read_limited(one.path / facts.CLIP, MAX_CLIP_BYTES)
            made = blurred_copy(data, said, self._settings.blur, should_stop=should_stop)
            refusal = self._shelf.refusal(sum(map(len, made.files.values())), one.priority)
            if refusal:
                raise EvidenceError(refusal)
            self._shelf.add(one.evidence, made.files)
        except EvidenceError as problem:
            if not stop.is_set():
                self._shelf.settle_blur(one.evidence, str(problem))
                _LOG.warning(
                    "evidence %s has no blurred copy: %s",
                    one.evidence,
                    problem,
                    extra={"event": "evidence.blur_failed", "evidence": one.evidence},
                )
            return None
        self._shelf.settle_blur(one.evidence)
        return msgspec.structs.replace(said.record, blurred=True)

    def tend(self, *, is_clock_believed: bool) -> None:
        """Delete what is older than `evidence.keep_days`, now and then.

        A clock that is known to be wrong deletes nothing.
        """
        now_ns = self._clock.mono_ns()
        if not self._settings.keep_days or not is_clock_believed or now_ns < self._expire_ns:
            return
        self._expire_ns = now_ns + round(_EXPIRE_EVERY_S * NS_PER_S)
        try:
            gone = self._shelf.expire(self._settings.keep_days)
        except EvidenceError as problem:
            _LOG.warning("%s", problem, extra={"event": "evidence.expire_failed"})
            return
        if gone:
            _LOG.info("%d packages were old", gone, extra={"event": "evidence.expired"})

    def leftovers(self) -> list[EvidenceRecord]:
        """Return what a process before this one owes: finished packages, and those it lost."""
        lost = [
            _closed(record, "failed", "the device stopped before the clip was written")
            for record in self._shelf.wanted()
            if record.evidence not in self._waiting()
        ]
        return self._shelf.unreported() + lost

    def mark_reported(self, evidence: str) -> None:
        """Note that the record is safely in the spool."""
        self._shelf.mark_reported(evidence)

    def list_packages(self) -> list[PackageInfo]:
        """Return every package on the device, the oldest first."""
        return self._shelf.packages()

    @property
    def pending(self) -> int:
        """How many requests are waited for."""
        with self._lock:
            return len(self._pending)

    # ---------------------------------------------------------------------------------- inside

    def _waiting(self) -> set[str]:
        with self._lock:
            return {one.record.evidence for one in self._pending}

    def _note_wanted(self, record: EvidenceRecord) -> None:
        try:
            self._shelf.note_wanted(record)
        except EvidenceError as problem:  # then a crash in the next seconds loses the request
            _LOG.warning("%s", problem, extra={"event": "evidence.note_failed"})

    def _why_ready(self, one: _Pending) -> str | None:
        """Return why nothing more is waited for, in words; None while something is."""
        newest = one.ring.newest
        now_ns = self._clock.mono_ns()
        if newest is not None and newest.dts_s > one.end_s:
            return "the pictures of this time were lost"
        if one.ring.is_closed:
            return "the source ended"
        quiet_since_ns = max(newest.received_mono_ns if newest else 0, one.asked_mono_ns)
        if now_ns - quiet_since_ns > _IDLE_S * NS_PER_S:
            # The camera is gone: what is there is all there will be. A file that waits for room
            # in the pipeline is not gone, but then its event is no younger than its packets.
            is_over = now_ns - one.asked_mono_ns > (one.end_s - one.wanted.at_t_s) * NS_PER_S
            return "the camera gave nothing more" if is_over else None
        is_overdue = now_ns - one.asked_mono_ns > _OVERDUE_S * NS_PER_S
        return f"it did not come within {_OVERDUE_S:g} s" if is_overdue else None

    def _make_poster(self, one: _Pending) -> None:
        """Encode the poster at once, so that the decoder's memory is not held for seconds."""
        if one.picture is None:
            return
        picture, one.picture = one.picture, None
        try:
            one.poster = poster_jpeg(picture)
        except EvidenceError as problem:
            one.record = msgspec.structs.replace(one.record, poster="", detail=str(problem))

    def _finish(self, one: _Pending, why_ready: str) -> EvidenceRecord:
        at_s, priority = one.wanted.at_t_s, one.wanted.priority
        cut = one.ring.cut(one.start_s, one.end_s, at_s, end_cause=why_ready)
        refusal = self._shelf.refusal(cut.bytes, priority)
        if refusal:
            return _closed(one.record, "refused", refusal)
        with self._lock:
            seen = list(self._seen.get(CameraId(one.record.camera), ()))
        try:
            made = package.build(
                one.record,
                one.wanted.event,
                cut,
                at_t_s=at_s,
                seen=seen,
                poster=one.poster,
                priority=priority,
                watches_people=one.wanted.watches_people,
                slack_ms=one.wanted.slack_ms,
                circumstances=one.wanted.circumstances,
                surroundings=self._memory.around(one.wanted.event) if self._memory else None,
            )
            marks = [facts.BLUR_WANTED] if self._settings.blur != "none" else []
            self._shelf.write(made.record.evidence, made.files, priority=priority, marks=marks)
        except EvidenceError as problem:
            _LOG.warning(
                "evidence %s: %s",
                one.record.evidence,
                problem,
                extra={"event": "evidence.failed", "camera": one.record.camera},
            )
            return _closed(one.record, "failed", str(problem))
        return made.record


def _closed(record: EvidenceRecord, status: str, detail: str) -> EvidenceRecord:
    return msgspec.structs.replace(record, status=status, detail=detail)
