"""What one simulated camera sends next: loops, switches of picture and faults of time.

Pure: it is asked for the next access unit and says when that is due; `sim.rtsp` waits and sends.
Due times only grow; the RTP timestamps follow them, except where a fault says otherwise.
"""

from bisect import bisect_right
from collections.abc import Mapping

import msgspec

from vedette.errors import ConfigError
from vedette.sim.clip import AccessUnit, Clip
from vedette.sim.rtp import CLOCK_HZ, hevc_type, nal_type

_FIRST_SLICE_BYTES = 24  # headers that keep a corrupted slice recognisable as one


class Outgoing(msgspec.Struct, frozen=True):
    """One access unit to be sent at `due_ticks` after the camera's start, stamped `rtp_ticks`."""

    nals: list[bytes]
    due_ticks: int
    rtp_ticks: int
    keyframe: bool


class Reel:
    """The endless film of one camera. Thread: the caller's."""

    def __init__(self, clips: Mapping[str, Clip], shown: str) -> None:
        self._clips = dict(clips)
        self.shown = shown
        self._clip = self._named(shown)
        self._at = 0
        self._base = 0  # due_ticks where the clip's zero lies now
        self._last_due = -1
        self._rtp_offset = 0
        self._frozen: AccessUnit | None = None
        self._last_key: AccessUnit = self._clip.units[0]

    def _named(self, name: str) -> Clip:
        try:
            return self._clips[name]
        except KeyError:
            raise ConfigError(
                f"this camera has no clip {name!r}", operator_hint=f"one of {sorted(self._clips)}"
            ) from None

    def show(self, name: str) -> None:
        """Switch to another clip, at its last keyframe before where it would be by now."""
        self._clip = self._named(name)
        self.shown = name
        self._frozen = None
        self._seek()

    @property
    def clip(self) -> Clip:
        """What is shown."""
        return self._clip

    def _seek(self) -> None:
        step = self._clip.frame_ticks()
        due = self._last_due + step if self._last_due >= 0 else 0
        keys = [i for i, unit in enumerate(self._clip.units) if unit.keyframe]
        starts = [self._clip.units[i].send_ticks for i in keys]
        self._at = keys[max(0, bisect_right(starts, due % self._clip.duration_ticks) - 1)]
        self._base = due - self._clip.units[self._at].send_ticks

    def jump_back(self, by_s: float) -> None:
        """Let the RTP timestamps fall back by `by_s`, as a camera does that lost its clock."""
        self._rtp_offset -= round(by_s * CLOCK_HZ)

    def next(self, *, frozen: bool = False, corrupt: bool = False) -> Outgoing:
        """Return the next access unit; `frozen` repeats a keyframe, `corrupt` damages slices."""
        if frozen:
            return self._repeat()
        if self._frozen is not None:
            self._frozen = None
            self._seek()
        unit = self._clip.units[self._at]
        due = self._base + unit.send_ticks
        shown = self._base + unit.pts_ticks + self._rtp_offset
        self._last_due = due
        if unit.keyframe:
            self._last_key = unit
        self._at += 1
        if self._at == len(self._clip.units):
            self._at = 0
            self._base += self._clip.duration_ticks
        nals = [_damage(nal, self._clip.codec) for nal in unit.nals] if corrupt else unit.nals
        return Outgoing(nals, due, shown, unit.keyframe)

    def _repeat(self) -> Outgoing:
        self._frozen = self._frozen or self._last_key
        self._last_due += self._clip.frame_ticks()
        return Outgoing(
            self._frozen.nals, self._last_due, self._last_due + self._rtp_offset, keyframe=True
        )


def _damage(nal: bytes, codec: str) -> bytes:
    """Return a slice with every 97th byte inverted after its header; parameter sets stay whole."""
    is_slice = hevc_type(nal) < 32 if codec == "hevc" else nal_type(nal) <= 5
    if not is_slice or len(nal) <= _FIRST_SLICE_BYTES:
        return nal
    out = bytearray(nal)
    for at in range(_FIRST_SLICE_BYTES, len(out), 97):
        out[at] ^= 0xFF
    return bytes(out)
