"""From packets to the pictures that are due.

Here: feeding the decoder, skipping what is not wanted, and giving each picture the times of its own
packet. Not here: planes (made lazily by `Frame`) and what happens after. The rule: references are
always decoded, or a picture would show what never was; what is skipped is only what no other
picture needs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import av
import av.error
from av.video.codeccontext import VideoCodecContext

from vedette.edge.capture.packets import EncodedPacket
from vedette.edge.capture.settings import Decode
from vedette.edge.capture.still import Stills

_MAX_PENDING: Final = 64  # pictures inside the decoder; H.264 and H.265 reorder at most 16


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture and the packet that it came in."""

    video: av.VideoFrame
    packet: EncodedPacket


class Decoder:
    """The decoder of one open stream. Thread: one."""

    def __init__(
        self, context: VideoCodecContext | Stills, mode: Decode, *, live: bool = False
    ) -> None:
        """Begin; of a live source a packet that says it is damaged makes no picture to look at."""
        self._context = context
        self._live = live
        self._damaged: set[int] = set()  # presentation times
        self._pending: dict[int, EncodedPacket] = {}
        self._mode = mode
        self._waits_for_keyframe = True
        self.undecodable = 0
        self.keyframes_since_picture = 0
        self._apply()

    def set_mode(self, mode: Decode) -> None:
        """Decode by `mode` from the next packet on, or, where some were left out, keyframe."""
        if mode is self._mode:
            return
        self._mode = mode
        self._apply()

    def wants(self, keyframe: bool) -> bool:
        """True where the mode does not leave such a packet out."""
        return keyframe or self._mode is not Decode.KEYFRAMES

    def decode(self, raw: av.Packet, packet: EncodedPacket) -> Iterator[Decoded]:
        """Yield the pictures that come out after putting in this packet."""
        if packet.keyframe:
            self._waits_for_keyframe = False
        elif self._waits_for_keyframe or not self.wants(packet.keyframe):
            self._waits_for_keyframe = True
            return
        self.keyframes_since_picture += packet.keyframe
        if raw.pts is not None:
            self._pending[raw.pts] = packet
            if raw.is_corrupt and self._live:
                self._damaged.add(raw.pts)
            while len(self._pending) > _MAX_PENDING:
                oldest = next(iter(self._pending))
                del self._pending[oldest]
                self._damaged.discard(oldest)
        yield from self._run(raw, packet)

    def flush(self, last: EncodedPacket) -> Iterator[Decoded]:
        """Yield the pictures that are still inside; the stream has ended with `last`."""
        if not self._waits_for_keyframe:
            yield from self._run(None, last)

    def _run(self, raw: av.Packet | None, packet: EncodedPacket) -> Iterator[Decoded]:
        try:
            frames = self._context.decode(raw)
        except (av.error.FFmpegError, OSError, ValueError):
            self.undecodable += 1
            return
        for video in frames:
            own = self._pending.pop(video.pts, packet) if video.pts is not None else packet
            if video.is_corrupt or video.width == 0 or video.height == 0:
                self.undecodable += 1
                continue
            if self._damaged and video.pts in self._damaged:
                # Decoded for those that refer to it; what was never received is not shown.
                self._damaged.discard(video.pts)
                self.undecodable += 1
                continue
            self.keyframes_since_picture = 0
            yield Decoded(video, own)

    def _apply(self) -> None:
        # `NOTHING` never comes here: its packets are not fed at all.
        self._context.skip_frame = "NONREF" if self._mode is Decode.NONREF else "DEFAULT"
