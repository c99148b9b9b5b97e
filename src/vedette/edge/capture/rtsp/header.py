"""The head of an RTP packet, and the camera's 32-bit clock made endless. Pure.

Source: RFC 3550 (5.1 the fixed header, 5.3.1 the extension).
"""

import struct
from typing import Final, NamedTuple

_FIXED: Final = struct.Struct("!BBHII")
_FIXED_BYTES: Final = 12


class Head(NamedTuple):
    """What stands before the payload; `begin` and `end` are where that lies in the packet."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    source: int
    begin: int
    end: int


def parse(packet: memoryview) -> Head | None:
    """Return the head; None for what is no RTP or lies about its own length."""
    end = len(packet)
    if end < _FIXED_BYTES:
        return None
    first, second, sequence, timestamp, source = _FIXED.unpack_from(packet)
    if first >> 6 != 2:
        return None
    begin = _FIXED_BYTES
    if first & 0x3F:  # sources, extension, padding: rare from cameras
        begin += 4 * (first & 15)
        if first & 0x10:
            if end < begin + 4:
                return None
            begin += 4 + 4 * ((packet[begin + 2] << 8) | packet[begin + 3])
        if first & 0x20:
            padding = packet[end - 1]
            if padding == 0:
                return None
            end -= padding
    if begin >= end:
        return None
    return Head(second & 127, second > 127, sequence, timestamp, source, begin, end)


class Ticks:
    """A clock of 32 bits that wraps, as one that begins at 0 and never does."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._ticks = 0

    def unwrap(self, timestamp: int) -> int:
        """Return the ticks since the first timestamp; they go back where the camera's do."""
        if self._last is not None:
            step = (timestamp - self._last) & 0xFFFFFFFF
            self._ticks += step - (1 << 32) if step >= 1 << 31 else step
        self._last = timestamp
        return self._ticks

    def forget(self) -> None:
        """Go on where we are, whatever timestamp comes next: another sender took over."""
        self._last = None
