"""The last seconds of one camera, encoded: what evidence is cut from.

Here: a ring of whole groups of pictures (GOPs), bounded by seconds and by bytes. Not here: muxing
(`edge.evidence.clip`). The rules: what is kept can be decoded from its first packet on; a pin holds
what an open event needs, but never beyond twice the byte bound, for memory that runs out harms
every camera; what is missing is said in words, never papered over.
"""

import itertools
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

from vedette.edge.capture.packets import EncodedPacket, StreamInfo

PIN_FACTOR: Final = 2
"""With pins the ring may hold so many times its byte bound."""

_HOLE_S: Final = 2.0
_SLACK_S: Final = 0.5
_MAX_OUTAGES: Final = 16


@dataclass(slots=True)
class _Gop:
    """Packets from one keyframe to before the next."""

    packets: list[EncodedPacket] = field(default_factory=list)
    bytes: int = 0
    is_cut_short: bool = False

    @property
    def start_s(self) -> float:
        return self.packets[0].t_s

    @property
    def info(self) -> StreamInfo:
        return self.packets[0].info


@dataclass(frozen=True, slots=True)
class Cut:
    """What the ring had of a window: packets of one stream in decoding order, the first a keyframe.

    Attributes:
        shortfall: In words, why this is less than was wanted; empty where it is not.
    """

    packets: tuple[EncodedPacket, ...]
    shortfall: str

    @property
    def bytes(self) -> int:
        """Sum of the packets' sizes."""
        return sum(len(packet.data) for packet in self.packets)


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

    def __init__(self, max_s: float, max_bytes: int) -> None:
        self._max_s = max_s
        self._max_bytes = max_bytes
        self._gops: deque[_Gop] = deque()
        self._bytes = 0
        self._pins: list[Pin] = []
        self._closed = False
        self._newest: EncodedPacket | None = None
        self._outages: deque[tuple[float, float | None, str]] = deque(maxlen=_MAX_OUTAGES)
        self._lock = threading.Lock()

    def put(self, packet: EncodedPacket) -> None:
        """Keep a packet; what comes before the first keyframe is of no use and is not kept."""
        with self._lock:
            self._newest = packet
            if packet.keyframe:
                self._gops.append(_Gop())
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

    def close(self) -> None:
        """Say that nothing more will come (a file's end): whoever waits need not."""
        with self._lock:
            self._closed = True

    def source_lost(self, since_s: float, why: str) -> None:
        """Note that no packets come since then, and why: clips of that time will say so."""
        with self._lock:
            self._end_outage(since_s)
            self._outages.append((since_s, None, why))

    def source_back(self, at_s: float) -> None:
        """Note that packets come again."""
        with self._lock:
            self._end_outage(at_s)

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

    def cut(self, start_s: float, end_s: float, at_s: float) -> Cut:
        """Return the packets from the last keyframe at or before `start_s` to `end_s`.

        Only one stream can stand in one clip: where its parameters changed within the window, the
        stream that holds `at_s` (the event) is kept.
        """
        with self._lock:
            gops = list(self._gops)
            outages = [
                why
                for since_s, until_s, why in self._outages
                if since_s < end_s and (until_s is None or until_s > start_s)
            ]
        notes: list[str] = []
        gops = _one_stream(gops, start_s, end_s, at_s, notes)
        first = max((i for i, gop in enumerate(gops) if gop.start_s <= start_s), default=0)
        packets = _up_to(itertools.chain(*(list(gop.packets) for gop in gops[first:])), end_s)
        if not packets:
            return Cut((), "; ".join(["nothing was recorded in this time", *outages]))
        _note_ends(packets, start_s, end_s, notes)
        notes += outages
        if any(gop.is_cut_short for gop in gops[first:]):
            notes.append("a group of pictures larger than the ring is cut short")
        return Cut(packets, "; ".join(notes))

    def _end_outage(self, at_s: float) -> None:
        if self._outages and self._outages[-1][1] is None:
            since_s, _, why = self._outages.pop()
            self._outages.append((since_s, max(at_s, since_s), why))

    def _continues(self, packet: EncodedPacket) -> bool:
        if not self._gops:
            return False
        gop = self._gops[-1]
        return not gop.is_cut_short and gop.info == packet.info

    def _append(self, packet: EncodedPacket) -> None:
        gop = self._gops[-1]
        size = len(packet.data)
        if gop.packets and gop.bytes + size > self._max_bytes:
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


def _up_to(packets: Iterable[EncodedPacket], end_s: float) -> tuple[EncodedPacket, ...]:
    """Return the packets decoded by `end_s`, and those after it that are shown before the last."""
    kept: list[EncodedPacket] = []
    shown_s = end_s
    for packet in packets:
        if packet.dts_s <= end_s:
            shown_s = max(shown_s, packet.t_s)
        elif packet.t_s > shown_s:
            break
        kept.append(packet)
    return tuple(kept)


def _one_stream(
    gops: list[_Gop], start_s: float, end_s: float, at_s: float, notes: list[str]
) -> list[_Gop]:
    """Return the run of equal streams around `at_s`, and note where that shortens the window."""
    if not gops:
        return []
    middle = max((i for i, gop in enumerate(gops) if gop.start_s <= at_s), default=0)
    info = gops[middle].info
    low, high = middle, middle + 1
    while low > 0 and gops[low - 1].info == info:
        low -= 1
    while high < len(gops) and gops[high].info == info:
        high += 1
    before = low > 0 and gops[low].start_s > start_s
    after = high < len(gops) and gops[high].start_s < end_s
    if before or after:
        notes.append("the camera's stream changed its format in this time")
    return gops[low:high]


def _note_ends(
    packets: tuple[EncodedPacket, ...], start_s: float, end_s: float, notes: list[str]
) -> None:
    """Note a late begin, an early end and holes between."""
    times = sorted(packet.t_s for packet in packets)
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    slack_s = _SLACK_S
    if steps:
        slack_s = max(slack_s, min(1.5 * sorted(steps)[len(steps) // 2], _HOLE_S))
    if times[0] > start_s + slack_s:
        notes.append(f"begins {times[0] - start_s:.1f} s late: nothing older was kept")
    if times[-1] < end_s - slack_s:
        notes.append(f"ends {end_s - times[-1]:.1f} s early: no more came")
    missing_s = sum(step for step in steps if step > _HOLE_S)
    if missing_s:
        notes.append(f"{missing_s:.1f} s within are missing: the camera gave nothing")
