"""The last seconds of one camera, encoded: what evidence is cut from.

Here: a ring of whole groups of pictures (GOPs), bounded by seconds and by bytes. Not here: muxing
(`edge.evidence.clip`). The rules: what is kept can be decoded from its first packet on; a pin holds
what an open event needs, but never beyond twice the byte bound, for memory that runs out harms
every camera; what is missing is said in words, never papered over.
"""

import threading
from collections import deque
from types import TracebackType
from typing import Final

from vedette.edge import cutting
from vedette.edge.capture.packets import EncodedPacket
from vedette.edge.cutting import Cut, Gop, Past, Span

__all__ = ["PIN_FACTOR", "Cut", "PacketRing", "Pin"]

PIN_FACTOR: Final = 2
"""With pins the ring may hold so many times its byte bound."""

_MAX_OUTAGES: Final = 32
_FOREVER_S: Final = float("inf")


class Pin:
    """Holds everything from `start_s` on until released. Thread: any."""

    def __init__(self, ring: "PacketRing", start_s: float) -> None:
        self.start_s = start_s
        self._ring = ring

    def release(self) -> None:
        """Let the ring trim again; a second call does nothing."""
        self._ring.unpin(self)

    def __enter__(self) -> "Pin":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class PacketRing:
    """The last `max_s` seconds of one camera, at most `max_bytes`. Thread: any."""

    def __init__(self, max_s: float, max_bytes: int, *, opened_s: float | None = None) -> None:
        """Begin empty; `opened_s` is now on the camera's timeline, where somebody knows it."""
        self._max_s = max_s
        self._max_bytes = max_bytes
        self._opened_s = opened_s
        self._first_s: float | None = None
        self._gone_to_s: float | None = None
        self._gone_cause = ""
        self._outages: deque[Span] = deque(maxlen=_MAX_OUTAGES)
        self._gops: deque[Gop] = deque()
        self._bytes = 0
        self._pins: list[Pin] = []
        self._closed = self._is_raw = False
        self._newest: EncodedPacket | None = None
        self._lock = threading.Lock()

    def put(self, packet: EncodedPacket) -> None:
        """Keep a packet; what comes before the first keyframe is of no use and is not kept."""
        with self._lock:
            self._newest = packet
            if packet.keyframe:
                self._gops.append(Gop())
                if self._first_s is None:
                    self._first_s = packet.t_s
            elif not self._continues(packet):
                return
            self._append(packet)
            self._trim(packet.t_s)

    def pin(self, start_s: float) -> Pin:
        """Hold everything from `start_s` on until the pin is released."""
        pin = Pin(self, start_s)
        with self._lock:
            self._pins.append(pin)
        return pin

    def unpin(self, pin: Pin) -> None:
        """Let go of what `pin` held."""
        with self._lock:
            if pin in self._pins:
                self._pins.remove(pin)

    def source_lost(self, at_s: float, cause: str) -> None:
        """Note that no packets come since then, and why; said again, only the cause changes."""
        with self._lock:
            if self._outages and self._outages[-1].end_s == _FOREVER_S:
                at_s = self._outages.pop().start_s
            self._outages.append(Span(at_s, _FOREVER_S, cause))

    def source_back(self, at_s: float) -> None:
        """Note that packets come again."""
        with self._lock:
            if self._outages and self._outages[-1].end_s == _FOREVER_S:
                span = self._outages.pop()
                self._outages.append(Span(span.start_s, max(at_s, span.start_s), span.cause))

    def source_is(self, *, raw: bool) -> None:
        """Note whether the source gives raw pictures, of which there is nothing to keep."""
        with self._lock:
            self._is_raw = raw

    def close(self) -> None:
        """Say that nothing more will come (a file's end): whoever waits need not."""
        with self._lock:
            self._closed = True

    @property
    def is_closed(self) -> bool:
        """True after `close`."""
        with self._lock:
            return self._closed

    @property
    def newest(self) -> EncodedPacket | None:
        """The packet put last; None before the first."""
        with self._lock:
            return self._newest

    @property
    def held_bytes(self) -> int:
        """Bytes of all packets kept."""
        with self._lock:
            return self._bytes

    @property
    def held_s(self) -> float:
        """Seconds from the oldest to the newest packet kept."""
        with self._lock:
            if not self._gops:
                return 0.0
            return self._gops[-1].packets[-1].t_s - self._gops[0].start_s

    def cut(self, start_s: float, end_s: float, at_s: float, *, end_cause: str = "") -> Cut:
        """Return what is there from the last keyframe at or before `start_s` to `end_s`.

        Args:
            start_s: Wanted from here on.
            end_s: Wanted up to here.
            at_s: When the event was; where the stream's parameters changed, this is in the main
                part.
            end_cause: Why nothing more is waited for, where the caller knows.
        """
        with self._lock:
            # Copied under the lock: the last group goes on growing.
            gops = [Gop(list(gop.packets), gop.bytes, gop.is_cut_short) for gop in self._gops]
            past = Past(
                opened_s=self._opened_s,
                first_s=self._first_s,
                gone_to_s=self._gone_to_s,
                gone_cause=self._gone_cause,
                outages=tuple(self._outages),
                end_cause="the source ended" if self._closed else end_cause,
                is_raw=self._is_raw,
            )
        return cutting.cut(gops, past, start_s, end_s, at_s)

    def _continues(self, packet: EncodedPacket) -> bool:
        if not self._gops:
            return False
        gop = self._gops[-1]
        return not gop.is_cut_short and gop.info == packet.info

    def _append(self, packet: EncodedPacket) -> None:
        gop = self._gops[-1]
        size = len(packet.data)
        most = self._max_bytes * (PIN_FACTOR if self._pins else 1)
        if gop.packets and gop.bytes + size > most:
            gop.is_cut_short = True  # its beginning can be decoded, its end alone could not
            return
        gop.packets.append(packet)
        gop.bytes += size
        self._bytes += size

    def _trim(self, now_s: float) -> None:
        held_from_s = min((pin.start_s for pin in self._pins), default=None)
        while len(self._gops) > 1:
            next_s = self._gops[1].start_s
            is_old = next_s <= now_s - self._max_s
            is_over = self._bytes > self._max_bytes
            if not (is_old or is_over):
                return
            is_pinned = held_from_s is not None and next_s > held_from_s
            if is_pinned and self._bytes <= PIN_FACTOR * self._max_bytes:
                return
            self._bytes -= self._gops.popleft().bytes
            self._gone_to_s = next_s
            self._gone_cause = self._bound(is_old=is_old)

    def _bound(self, *, is_old: bool) -> str:
        """Return in words which bound of the ring let a group go."""
        if is_old:
            return f"the ring keeps {self._max_s:g} s (evidence.ring_s)"
        return f"the ring keeps {self._max_bytes / 1024**2:.3g} MB (evidence.ring_mb)"
