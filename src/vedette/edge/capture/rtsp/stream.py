"""An open RTSP camera as packets and a decoder.

Here: reading until a picture is whole, its times, and what decodes it. Not here: how the session
came about (`rtsp.session`). The rules: one deadline per picture, whatever else drips in meanwhile;
a picture that lost packets is passed on as corrupt, so that it is decoded for those that refer to
it, but counted and not shown.

Thread: one per open stream.
"""

import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import Final, cast

import av
from av.video.codeccontext import VideoCodecContext

from vedette.clock import NS_PER_S, Clock
from vedette.edge.capture import nal
from vedette.edge.capture.packets import StreamInfo
from vedette.edge.capture.rtsp import parameters
from vedette.edge.capture.rtsp.message import Message
from vedette.edge.capture.rtsp.order import DecodingOrder
from vedette.edge.capture.rtsp.refusal import lost
from vedette.edge.capture.rtsp.session import Session
from vedette.edge.capture.rtsp.units import Unit, Units
from vedette.edge.capture.seam import Loss, SourceLost
from vedette.edge.capture.still import MAX_PIXELS

_LOG = logging.getLogger(__name__)

_NO_SETS: Final = b""


class CameraStream:
    """One playing session. Thread: one."""

    def __init__(self, session: Session, clock: Clock, read_s: float) -> None:
        self.is_doubtful = False  # True once it ended as if it were not understood
        self._pictures = 0
        self._session = session
        self._clock = clock
        self._read_ns = round(read_s * NS_PER_S)
        track = session.track
        self._units = Units(track.codec, track.payload_type)
        self._order = DecodingOrder(track.clock_hz)
        self._base = Fraction(1, track.clock_hz)
        self._sps = _NO_SETS
        self._context: VideoCodecContext | None = None
        width = height = 0
        for sps in nal.picture_parameters(track.codec, track.sets)[:1]:
            width, height = self._learn(sps)
        self.info = StreamInfo(
            track.codec,
            nal.to_annexb(iter(track.sets)),
            width,
            height,
            announced_fps=track.fps,
            server=session.server,
        )

    @property
    def codec_context(self) -> VideoCodecContext:
        """FFmpeg's decoder, which gives a picture out as soon as the stream's order allows."""
        if self._context is None:
            context = cast("VideoCodecContext", av.CodecContext.create(self.info.codec, "r"))
            context.thread_count = 1
            context.options = {"max_pixels": str(MAX_PIXELS)}
            if self.info.extradata:
                context.extradata = self.info.extradata
            self._context = context
        return self._context

    def packets(self) -> Iterator[av.Packet]:
        """Yield one packet per picture.

        Raises:
            SourceLost: The camera hung up, went silent or sends garbage; always in the end.
        """
        for early in self._session.early:
            self._units.feed(memoryview(early))
        self._session.early.clear()
        try:
            while True:
                self._wait()
                yield from self._ready()
        except SourceLost as end:
            self._units.flush()
            yield from self._ready()
            silent = end.reason is Loss.TIMEOUT and not self._pictures
            self.is_doubtful = silent or end.reason is Loss.GARBAGE
            raise

    def close(self) -> None:
        """End the session."""
        if self._units.lost_packets or not self._units.by_marker:
            _LOG.info(
                "RTP packets were lost, or marker bits set where no picture ends",
                extra={
                    "event": "capture.rtp_loss",
                    "source": self._session.address.uri,
                    "lost_packets": self._units.lost_packets,
                    "marker_trusted": self._units.by_marker,
                },
            )
        self._session.close()

    def _wait(self) -> None:
        """Return once a picture is whole, or raise `SourceLost`."""
        wire, units, session = self._session.wire, self._units, self._session
        deadline_ns = self._clock.mono_ns() + self._read_ns
        while not units.ready:
            found = wire.take()
            if found is None:
                session.keep_alive()
                until_ns = min(deadline_ns, session.due_ns)
                if not wire.fill(until_ns) and self._clock.mono_ns() >= deadline_ns:
                    raise lost(Loss.TIMEOUT)
            elif isinstance(found, Message):
                session.hear(found)
            elif found[0] == session.channel:
                units.feed(found[1])

    def _ready(self) -> Iterator[av.Packet]:
        ready = self._units.ready
        while ready:
            yield self._packet(ready.popleft())

    def _packet(self, unit: Unit) -> av.Packet:
        if unit.sps and unit.sps is not self._sps:
            if unit.sps != self._sps:
                self._learn(unit.sps)
            self._sps = unit.sps
        self._pictures += 1
        packet = av.Packet(cast("bytes", unit.data))  # any buffer; it is copied
        packet.time_base = self._base
        packet.pts = unit.ticks
        packet.dts = self._order.dts(unit.ticks)
        packet.is_keyframe = unit.keyframe
        packet.is_corrupt = unit.damaged
        return packet

    def _learn(self, sps: bytes) -> tuple[int, int]:
        """Take what a parameter set says of the order of pictures; return their size."""
        self._sps = sps
        said = parameters.read(self._session.track.codec, sps)
        if said is None:
            return 0, 0
        self._order.reorders(said.reorder)
        return said.width, said.height
