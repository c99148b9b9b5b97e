"""Whole pictures out of RTP packets.

Here: which packets are one picture, and what is missing. Not here: bytes of heads and payloads
(`rtsp.header`, `rtsp.payload`), times of the pipeline. Pure. The rules: a picture leaves at its
marker bit; a camera that never sets it is served at the next timestamp, and one that sets it in the
middle of pictures loses that trust; what lost packets took a part of is said to be damaged.

Source: RFC 3550 (5.1), RFC 6184 (5.1 on the marker bit), RFC 7798 (4.1).
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from vedette.edge.capture.rtsp.header import Head, Ticks, parse
from vedette.edge.capture.rtsp.payload import MAX_UNIT_BYTES, PAYLOADS, Draft

_MAX_WAITING: Final = 256
_MAX_SETS_BYTES: Final = 256 * 1024  # what may be carried from one picture to the next


@dataclass(frozen=True, slots=True)
class Unit:
    """One coded picture, in Annex-B, in decoding order.

    Attributes:
        ticks: Its RTP timestamp since the first one.
        damaged: Packets of it were lost, or made no sense.
        sps: The sequence parameter set in force; empty where none was sent in-band.
    """

    data: bytearray
    ticks: int
    keyframe: bool
    damaged: bool
    sps: bytes


class Units:
    """The pictures of one stream. Thread: one.

    Attributes:
        ready: Complete ones, to be taken from the left.
        lost_packets: RTP packets that never came.
        by_marker: False once the camera's marker bits cannot be believed.
    """

    def __init__(self, codec: str, payload_type: int) -> None:
        self.ready: deque[Unit] = deque()
        self.lost_packets = 0
        self.by_marker = True
        self._payload = PAYLOADS[codec]()
        self._payload_type = payload_type
        self._draft = Draft()
        self._ticks = Ticks()
        self._now = 0  # ticks of the draft
        self._timestamp: int | None = None
        self._left_ticks: int | None = None  # of the last picture that left by its marker
        self._sequence: int | None = None
        self._source: int | None = None

    def feed(self, packet: memoryview) -> None:
        """Take one RTP packet; pictures that it completes stand in `ready`."""
        head = parse(packet)
        if head is None:
            self._gap()
            return
        if not self._follows(head) or head.payload_type != self._payload_type:
            return
        if head.timestamp != self._timestamp:
            self._leave()
            self._timestamp = head.timestamp
            self._now = self._ticks.unwrap(head.timestamp)
        draft = self._draft
        if len(draft.data) > MAX_UNIT_BYTES:
            draft.overflow()
        self._payload.add(draft, packet[head.begin : head.end])
        if draft.continues and self._left_ticks == self._now and not draft.damaged:
            self.by_marker = False  # its picture left already: the marker was set too early
            draft.damaged = True
        if head.marker and self.by_marker and draft.has_slice:
            self._left_ticks = self._now
            self._leave()

    def flush(self) -> None:
        """Let the last picture go: nothing follows."""
        self._leave()

    def _follows(self, head: Head) -> bool:
        """Note what is missing before this packet; False where it came already."""
        if head.source != self._source:
            if self._source is not None:  # the camera began anew within the connection
                self._gap()
                self._leave()
                self._ticks.forget()
                self._timestamp = None
            self._source = head.source
        elif self._sequence is not None:
            missing = (head.sequence - self._sequence - 1) & 0xFFFF
            if missing == 0xFFFF:
                return False
            if missing:
                self.lost_packets += missing if missing < 0x8000 else 1
                self._gap()
        self._sequence = head.sequence
        return True

    def _gap(self) -> None:
        draft = self._draft
        draft.after_gap, draft.fragment = True, False
        draft.damaged = draft.damaged or bool(draft.data)

    def _leave(self) -> None:
        """Let the draft go, if it is a picture; parameter sets wait for the one they belong to."""
        draft = self._draft
        draft.fragment = False
        if not draft.has_slice:
            if len(draft.data) > _MAX_SETS_BYTES:
                draft.reset()
            return
        if len(self.ready) < _MAX_WAITING:
            self.ready.append(Unit(draft.data, self._now, draft.keyframe, draft.damaged, draft.sps))
        draft.reset()
