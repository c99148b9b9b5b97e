"""From RTP payloads to NAL units, written one behind the other into the picture they belong to.

Here: single units, aggregates and fragments of H.264 and H.265. Not here: where a picture ends
(`rtsp.units`). Pure. The rules: one copy per byte; a fragment whose beginning is not there is
dropped; a picture has a largest size, whatever is sent.

Source: RFC 6184 (5.4 to 5.8), RFC 7798 (4.4), ITU-T H.264 (7.3.2.3, 7.3.3, D.1.8),
ITU-T H.265 (7.3.6.1, table 7-1).
"""

from typing import Final, Protocol

from vedette.edge.capture.nal import START

MAX_UNIT_BYTES: Final = 16 * 1024 * 1024
_SEI_RECOVERY_POINT: Final = 6


class Draft:
    """The picture that is being received.

    Attributes:
        data: Annex-B.
        has_slice: False while only parameter sets and the like are there.
        fragment: A fragmented unit is open: its next part may be put behind.
        after_gap: Packets were lost since the last slice.
        damaged: Something of this picture is missing.
        continues: A slice came that does not begin its picture, with none before it.
        sps: The last sequence parameter set that was sent whole; kept from picture to picture.
    """

    def __init__(self) -> None:
        self.sps = b""
        self.after_gap = False
        self.reset()

    def reset(self) -> None:
        """Begin the next picture."""
        self.data = bytearray()
        self.has_slice = self.keyframe = self.damaged = self.fragment = self.continues = False

    def put(self, head: bytes, body: memoryview) -> None:
        """Begin a unit: start code, header bytes, what follows them."""
        if len(self.data) + len(body) > MAX_UNIT_BYTES:
            self.overflow()
            return
        self.data += START
        self.data += head
        self.data += body

    def go_on(self, body: memoryview) -> None:
        """Put the next part of a fragmented unit behind the one before."""
        if not self.fragment:
            self.damaged = True
        elif len(self.data) + len(body) > MAX_UNIT_BYTES:
            self.overflow()
        else:
            self.data += body

    def slice(self, *, begins: bool, keyframe: bool) -> None:
        """Note a slice; `begins` where it is the first of its picture."""
        if not begins and not self.has_slice:
            self.continues = True
            self.damaged = self.damaged or self.after_gap
        self.after_gap = False
        self.has_slice = True
        self.keyframe = self.keyframe or keyframe

    def overflow(self) -> None:
        """Give up a picture that no camera sends; what is left of it is damaged."""
        self.reset()
        self.damaged = True


class Payload(Protocol):
    """One codec's way into RTP."""

    def add(self, draft: Draft, payload: memoryview) -> None:
        """Put what the payload holds into the draft; what makes no sense marks it as damaged."""
        ...


class H264:
    """RFC 6184, packetization modes 0 and 1."""

    def add(self, draft: Draft, payload: memoryview) -> None:
        """Put what the payload holds into the draft."""
        kind = payload[0] & 31
        if kind == 28 and len(payload) > 2:
            self._fragment(draft, payload)
        elif 1 <= kind <= 23:
            draft.fragment = False
            _h264_whole(draft, payload)
        elif kind == 24:
            draft.fragment = False
            _aggregate(draft, payload, 1, _h264_whole)
        elif kind in (25, 26, 27, 28, 29):  # interleaved, or too short; other numbers are reserved
            draft.damaged = True

    def _fragment(self, draft: Draft, payload: memoryview) -> None:
        flags = payload[1]
        if flags & 0x80:
            kind = flags & 31
            if not 1 <= kind <= 23:
                draft.damaged, draft.fragment = True, False
                return
            draft.put(bytes(((payload[0] & 0xE0) | kind,)), payload[2:])
            draft.fragment = True
            if kind in (1, 2, 5):
                draft.slice(begins=payload[2] > 127, keyframe=kind == 5)
        else:
            draft.go_on(payload[2:])
        if flags & 0x40:
            draft.fragment = False


class Hevc:
    """RFC 7798, without decoding order numbers."""

    def add(self, draft: Draft, payload: memoryview) -> None:
        """Put what the payload holds into the draft."""
        if len(payload) < 3:
            draft.damaged = True
            return
        kind = (payload[0] >> 1) & 63
        if kind == 49 and len(payload) > 3:
            self._fragment(draft, payload)
        elif kind < 48:
            draft.fragment = False
            _hevc_whole(draft, payload)
        elif kind == 48:
            draft.fragment = False
            _aggregate(draft, payload, 2, _hevc_whole)
        elif kind in (49, 50):  # too short, or a container that nobody uses; the rest is reserved
            draft.damaged = True

    def _fragment(self, draft: Draft, payload: memoryview) -> None:
        flags = payload[2]
        if flags & 0x80:
            kind = flags & 63
            if kind >= 48:
                draft.damaged, draft.fragment = True, False
                return
            draft.put(bytes(((payload[0] & 0x81) | (kind << 1), payload[1])), payload[3:])
            draft.fragment = True
            if kind < 32:
                draft.slice(begins=payload[3] > 127, keyframe=16 <= kind <= 23)
        else:
            draft.go_on(payload[3:])
        if flags & 0x40:
            draft.fragment = False


def _h264_whole(draft: Draft, unit: memoryview) -> None:
    kind = unit[0] & 31
    if kind in (1, 2, 5):
        draft.slice(begins=len(unit) > 1 and unit[1] > 127, keyframe=kind == 5)
    elif kind == 7:
        draft.sps = bytes(unit)
    elif kind == 6 and _is_recovery_point(unit):
        draft.keyframe = True
    elif not 1 <= kind <= 23:
        draft.damaged = True
        return
    draft.put(b"", unit)


def _hevc_whole(draft: Draft, unit: memoryview) -> None:
    kind = (unit[0] >> 1) & 63
    if kind >= 48:
        draft.damaged = True
        return
    if kind < 32:
        draft.slice(begins=len(unit) > 2 and unit[2] > 127, keyframe=16 <= kind <= 23)
    elif kind == 33:
        draft.sps = bytes(unit)
    draft.put(b"", unit)


class _Whole(Protocol):
    def __call__(self, draft: Draft, unit: memoryview, /) -> None: ...


def _aggregate(draft: Draft, payload: memoryview, at: int, whole: _Whole) -> None:
    """Take several units with 16 bits of length each, up to the first length that is a lie."""
    end = len(payload)
    while at < end:
        if at + 2 > end:
            draft.damaged = True
            return
        size = (payload[at] << 8) | payload[at + 1]
        at += 2
        if size == 0 or at + size > end:
            draft.damaged = True
            return
        whole(draft, payload[at : at + size])
        at += size


def _is_recovery_point(unit: memoryview) -> bool:
    """True where an SEI unit says that decoding may begin here; FFmpeg calls that a keyframe."""
    at, end = 1, min(len(unit), 256)
    while at + 2 < end:
        kind = size = 0
        while at < end and unit[at] == 255:
            kind += 255
            at += 1
        if at >= end:
            return False
        kind += unit[at]
        at += 1
        while at < end and unit[at] == 255:
            size += 255
            at += 1
        if at >= end:
            return False
        size += unit[at]
        at += 1
        if kind == _SEI_RECOVERY_POINT:
            return True
        at += size
    return False


PAYLOADS: Final[dict[str, type[H264] | type[Hevc]]] = {"h264": H264, "hevc": Hevc}
