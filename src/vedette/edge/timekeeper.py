"""What time it is, as far as this device can know.

A device may wake in 1970, or have its clock set by a stranger. There is a floor that time is never
before: the latest of this program's build, the last time that was trusted (kept on disk), and the
last time that central signed. Central's time is learnt from an answer over the device's own nonce,
signed by the key pinned at enrolment; nobody between can replay or move it. From there on the
monotonic clock carries it, and the wall clock is believed only while it agrees.

    trusted    the wall clock agrees with signed time carried by the monotonic clock
    floor      nothing signed in this boot, but the wall clock is not before the floor
    untrusted  the wall clock is known to be wrong; only the monotonic one counts

This module sets no clock; whoever sends and receives is `edge.uplink`.
"""

import logging
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from vedette.clock import NS_PER_MS, Clock, wall_ms
from vedette.edge.spool import ClockNote
from vedette.errors import BadSignature, Expired, NotAllowed, RollbackAttempt
from vedette.trust import dsse
from vedette.trust.keys import PublicKey, to_text, write_private
from vedette.wire.enrol import TimeRequest, TimeStatement
from vedette.wire.envelope import ClockState
from vedette.wire.signed import TIME_TYPE, Signed

log = logging.getLogger(__name__)

BUILD_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""No clock of a device that runs this program was right before."""

PERSIST_MS: Final = 3_600_000
RECHECK_MS: Final = 6 * 3_600_000
MAX_ROUND_TRIP_MS: Final = 10_000
"""A slower answer says too little about now."""

AGREE_MS: Final = 2_000
DRIFT_PER_MS: Final = 200e-6
"""Worst crystal, 200 ppm: the carried time is that uncertain after a while."""

MAX_AHEAD_MS: Final = 3_600_000
"""Signed time further ahead of what was carried is not believed at once: central's own clock may
be wrong, or its key in wrong hands, and a floor that was raised never comes down."""

AHEAD_FOR_MS: Final = 24 * 3_600_000
LATEST_AT: Final = BUILD_AT.replace(year=BUILD_AT.year + 30)
"""No device runs this program that long."""

STEP_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Anchor:
    """Signed time: it was `true_ms`, give or take `error_ms`, when monotonic time was `mono_ms`."""

    true_ms: int
    mono_ms: int
    error_ms: int


class _Kept(msgspec.Struct, frozen=True):
    """What outlives the process; the anchor is good for the rest of its boot."""

    trusted_ms: int
    boot_id: str = ""
    anchor: _Anchor | None = None


class Timekeeper:
    """Judges the wall clock. Thread: one at a time (the uplink's)."""

    def __init__(
        self, clock: Clock, path: Path, boot_id: str, *, build_at: datetime = BUILD_AT
    ) -> None:
        """Take the floor from `path` (usually `state_dir/time.json`); it need not exist."""
        self._clock: Final = clock
        self._path: Final = path
        self._boot_id: Final = boot_id
        kept = _read(path)
        self._floor_ms = max(wall_ms(build_at), kept.trusted_ms)
        self._persisted_ms = self._floor_ms
        self._anchor = kept.anchor if kept.boot_id == boot_id else None
        self._nonce: tuple[str, int] | None = None
        self._offset_ms = self._wall_ms() - self._mono_ms()
        self._stepped = False
        self._ahead_since_ms: int | None = None
        self.state = ClockState.FLOOR
        self.check()

    @property
    def floor_ms(self) -> int:
        """Time is not before this."""
        return self._floor_ms

    @property
    def wants_time(self) -> bool:
        """True where central should be asked: not yet in this boot, long ago, or after a step."""
        if self._anchor is None or self._stepped:
            return True
        return self._mono_ms() - self._anchor.mono_ms > RECHECK_MS

    @property
    def is_anchored(self) -> bool:
        """True where central signed the time in this boot: `now_ms` is right, whatever the wall."""
        return self._anchor is not None

    @property
    def now_ms(self) -> int:
        """The best estimate of the time; never before the floor."""
        if self._anchor is not None:
            return max(
                self._anchor.true_ms + self._mono_ms() - self._anchor.mono_ms, self._floor_ms
            )
        return max(self._wall_ms(), self._floor_ms)

    @property
    def note(self) -> ClockNote:
        """What the spool labels messages by."""
        return ClockNote(self._boot_id, self.state, self._offset_ms)

    def check(self) -> ClockState:
        """Judge the wall clock anew, notice steps, and persist trusted time each hour."""
        wall, mono = self._wall_ms(), self._mono_ms()
        step_ms = wall - mono - self._offset_ms
        self._offset_ms = wall - mono
        if abs(step_ms) > STEP_MS:
            self._stepped = True
            log.warning(
                "the wall clock was stepped",
                extra={"event": "timekeeper.stepped", "step_ms": step_ms},
            )
        self.state = self._judge(wall, mono)
        if self._anchor is not None and self.now_ms - self._persisted_ms >= PERSIST_MS:
            self._persist()
        return self.state

    def ask(self) -> TimeRequest:
        """Return a request over a fresh nonce; only its own answer will be believed."""
        nonce = to_text(secrets.token_bytes(32))
        self._nonce = (nonce, self._mono_ms())
        return TimeRequest(nonce=nonce)

    def learn(self, signed: Signed, central_key: PublicKey) -> ClockState:
        """Believe a signed time.

        Raises:
            BadSignature: Not by the pinned key, or over another nonce (a replay).
            Expired: The answer took too long to mean anything.
            RollbackAttempt: Before the floor: central's own clock is wrong, or an attack.
            NotAllowed: So far ahead that it must be said for a day before it is believed.
        """
        asked, self._nonce = self._nonce, None
        mono = self._mono_ms()
        said = dsse.open_struct(signed, TimeStatement, [central_key], payload_type=TIME_TYPE)
        if asked is None or not secrets.compare_digest(asked[0].encode(), said.nonce.encode()):
            raise BadSignature("a statement of time over a nonce that is not ours")
        round_trip_ms = mono - asked[1]
        if not 0 <= round_trip_ms <= MAX_ROUND_TRIP_MS:
            raise Expired(f"a statement of time after {round_trip_ms} ms says too little")
        if said.time_ms + round_trip_ms < self._floor_ms:
            raise RollbackAttempt(
                "central states a time before what this device knows has passed",
                operator_hint="set central's clock right",
            )
        self._refuse_far_ahead(said.time_ms, mono)
        self._anchor = _Anchor(said.time_ms + round_trip_ms // 2, mono, round_trip_ms // 2 + 1)
        self._stepped = False
        self._floor_ms = max(self._floor_ms, said.time_ms)
        self._persist()
        return self.check()

    def _refuse_far_ahead(self, said_ms: int, mono: int) -> None:
        """Raise `NotAllowed` where central states a time far beyond what this boot carried.

        A machine that slept has a wall clock that says the same: two that agree are believed.
        """
        if said_ms > wall_ms(LATEST_AT):
            raise NotAllowed(
                "central states a time that no device will see",
                operator_hint="set central's clock right",
            )
        agrees = abs(said_ms - self._wall_ms()) <= MAX_ROUND_TRIP_MS + AGREE_MS
        if self._anchor is None or agrees or said_ms - self.now_ms <= MAX_AHEAD_MS:
            self._ahead_since_ms = None
            return
        if self._ahead_since_ms is None:
            self._ahead_since_ms = mono
        if mono - self._ahead_since_ms < AHEAD_FOR_MS:
            raise NotAllowed(
                "central states a time far ahead of what has passed here; not believed for a day",
                operator_hint="set central's clock right; if it is right, restart this device",
            )

    def _judge(self, wall: int, mono: int) -> ClockState:
        if self._anchor is None:
            return ClockState.FLOOR if wall >= self._floor_ms else ClockState.UNTRUSTED
        age_ms = mono - self._anchor.mono_ms
        away_ms = abs(wall - (self._anchor.true_ms + age_ms))
        allowed = AGREE_MS + self._anchor.error_ms + age_ms * DRIFT_PER_MS
        if away_ms > allowed or wall < self._floor_ms:
            return ClockState.UNTRUSTED
        return ClockState.TRUSTED

    def _persist(self) -> None:
        """Keep the time; a disk that refuses costs a later floor, not the run."""
        now = self.now_ms
        self._persisted_ms = now
        self._floor_ms = max(self._floor_ms, now)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_private(self._path, msgspec.json.encode(_Kept(now, self._boot_id, self._anchor)))
        except OSError as error:
            log.warning(
                "trusted time was not kept",
                extra={"event": "timekeeper.not_kept", "reason": str(error)},
            )

    def _wall_ms(self) -> int:
        return wall_ms(self._clock.now_at())

    def _mono_ms(self) -> int:
        return self._clock.mono_ns() // NS_PER_MS


def _read(path: Path) -> _Kept:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError):
        return _Kept(0)
