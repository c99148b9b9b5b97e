"""The loop of one capture thread: open, read, decode, hand over, and again, forever.

Here: one generation of one camera's thread. Not here: finding out that it hangs (`supervisor`) and
what the camera's state is (`feed`). The rule: before every call that may hang in native code the
thread says so by a heartbeat, and once it learns that it was given up it touches nothing any more.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import av

from vedette.clock import NS_PER_S, Clock, wall_ms
from vedette.edge.capture import nal
from vedette.edge.capture.decode import Decoded, Decoder
from vedette.edge.capture.feed import CameraFeed, Phase
from vedette.edge.capture.packets import RAW_CODECS, EncodedPacket, StreamInfo
from vedette.edge.capture.seam import Loss, SourceLost
from vedette.edge.capture.settings import CaptureSettings, Decode, Pace
from vedette.edge.capture.source import OpenStream, Source
from vedette.edge.capture.timeline import MIN_STEP_S, FileTimeline, LiveTimeline, RateLimit
from vedette.edge.frame import Frame, stated_rotation
from vedette.errors import DecodeFailed
from vedette.wire.streams import CAMERA_DOWN_AFTER_S

_LOG = logging.getLogger(__name__)

BACKOFF_FIRST_S: Final = 0.5
BACKOFF_CAP_S: Final = 30.0
_HEALTHY_AFTER_S: Final = 30.0
_MAX_PACKET_BYTES: Final = 16 * 1024 * 1024


def backoff_s(failures: int, rng: random.Random) -> float:
    """Return how long to wait after the n-th failure in a row: doubling, capped, half random."""
    whole = min(BACKOFF_CAP_S, BACKOFF_FIRST_S * 2 ** min(failures - 1, 10))
    return whole * (0.5 + rng.random() / 2)


def _can_be_seen(frame: Frame) -> bool:
    """Convert a picture that is not I420 already, here where its failure can be counted."""
    if frame.is_direct:
        return True
    try:
        return frame.picture.width > 0
    except DecodeFailed:
        return False


class _GivenUp(Exception):
    """This thread no longer speaks for its camera: no error, the way out of it."""


class CaptureThread:
    """One generation: runs until stopped, given up, or a file's end. Thread: its own."""

    def __init__(
        self,
        settings: CaptureSettings,
        source: Source,
        feed: CameraFeed,
        clock: Clock,
        *,
        rng: random.Random,
        decode: Callable[[], Decode],
    ) -> None:
        self._settings = settings
        self._source = source
        self._feed = feed
        self._clock = clock
        self._rng = rng
        self._decode = decode
        self._stop = threading.Event()
        self._generation = feed.new_generation()
        self._opened_at: datetime = clock.now_at()
        self._opened_s = clock.mono_ns() / NS_PER_S
        self._line: LiveTimeline | FileTimeline = (
            LiveTimeline() if source.live else FileTimeline(self._opened_s)
        )
        self._limit = RateLimit(settings.max_fps)
        self._info = StreamInfo("", b"")
        self._announced = self._info  # as the stream said it last
        self._prefix = 0
        self._spoken: tuple[bytes, ...] = ()
        self._size: tuple[int, int] | None = None
        self._cut = True  # the next frame does not continue the one before
        self._shown_s = float("-inf")
        self._delivered = 0
        self._last_picture_ns = 0
        self._thread = threading.Thread(
            target=self._run, name=f"capture-{settings.camera}-{self._generation}", daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ask_stop(self) -> None:
        """Make the thread end at its next step; a native call that hangs does not notice."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; True where it came."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """True until the thread has ended."""
        return self._thread.is_alive()

    # ------------------------------------------------------------------------------- the loop

    def _run(self) -> None:
        failures = 0
        try:
            while not self._stop.is_set():
                began_ns = self._clock.mono_ns()
                try:
                    self._one_connection()
                except SourceLost as lost:
                    if not self._source.live and self._delivered:
                        self._finish(complete=False, detail=str(lost))
                        return
                    worked_s = (self._clock.mono_ns() - began_ns) / NS_PER_S
                    failures = 1 if worked_s > _HEALTHY_AFTER_S else failures + 1
                    self._lost(lost, failures)
                else:
                    if not self._settings.loop or self._stop.is_set():
                        self._finish(complete=not self._stop.is_set())
                        return
        except _GivenUp:
            return

    def _lost(self, lost: SourceLost, failures: int) -> None:
        wait_s = backoff_s(failures, self._rng)
        if failures == 1 or failures & (failures - 1) == 0:  # 1, 2, 4, 8 …: repeats are summarised
            _LOG.warning(
                "camera %s: %s",
                self._settings.camera,
                lost,
                extra={
                    "event": "capture.stream_lost",
                    "camera": self._settings.camera,
                    "source": self._source.name,
                    "reason": str(lost.reason),
                    "failures": failures,
                    "retry_in_s": round(wait_s, 1),
                },
            )
        self._beat(Phase.WAITING)
        self._feed.lost(self._generation, lost)
        self._clock.wait(self._stop, wait_s)

    def _finish(self, *, complete: bool, detail: str = "") -> None:
        self._beat(Phase.FINISHED)
        if self._stop.is_set():
            return  # stopped by us: not the file's end
        _LOG.info(
            "camera %s: file read to its end",
            self._settings.camera,
            extra={
                "event": "capture.file_ended",
                "camera": self._settings.camera,
                "frames": self._delivered,
                "complete": complete,
                "detail": detail,
            },
        )
        self._feed.ended(self._generation, complete=complete, detail=detail)

    def _one_connection(self) -> None:
        self._beat(Phase.OPENING)
        stream = self._source.open()
        try:
            self._feed.opened(self._generation, stream.info)
            self._begin(stream)
            self._read(stream)
        finally:
            stream.close()

    def _begin(self, stream: OpenStream) -> None:
        if isinstance(self._line, FileTimeline):
            self._line.start_run()
        else:
            self._line.restart()
        self._announce(stream.info)
        self._spoken = nal.picture_parameters(
            stream.info.codec, nal.from_extradata(stream.info.codec, stream.info.extradata)
        )
        self._prefix = nal.prefix_bytes(stream.info.codec, stream.info.extradata)
        self._cut = True
        self._last_picture_ns = self._clock.mono_ns()

    def _announce(self, info: StreamInfo) -> None:
        """Take new parameters for the packets from here on."""
        turn = self._settings.rotate_deg
        self._announced = info
        self._info = replace(info, rotation_deg=info.rotation_deg if turn is None else turn)

    def _read(self, stream: OpenStream) -> None:
        decoder = Decoder(stream.codec_context, self._decode(), live=self._source.live)
        started = False
        pictures = 0
        packet: EncodedPacket | None = None
        self._beat(Phase.READING)
        for raw in stream.packets():
            if self._stop.is_set():
                return
            if not raw.size or raw.size > _MAX_PACKET_BYTES:
                if raw.size:
                    self._feed.undecodable(self._generation, 1)
                self._beat(Phase.READING)
                continue
            if stream.info is not self._announced:
                self._announce(stream.info)
            packet = self._place(raw)
            started = started or packet.keyframe
            if started:
                packet = self._paced(packet)
                self._beat(Phase.DELIVERING)
                pictures += self._take(decoder, raw, packet)
            self._beat(Phase.READING)
        if packet is not None and started and self._decode() is not Decode.NOTHING:
            self._beat(Phase.DECODING)
            pictures += self._deliver(decoder, decoder.flush(packet))
        if pictures == 0 and not self._stop.is_set():
            raise SourceLost(
                Loss.UNDECODABLE, operator_hint="the file holds no picture that can be decoded"
            )

    def _take(self, decoder: Decoder, raw: av.Packet, packet: EncodedPacket) -> int:
        """Pass one packet on and hand its pictures over; return how many it made."""
        mode = self._decode()
        if mode is Decode.NOTHING:
            self._feed.packet(self._generation, packet, is_skipped=True)
            self._feed.kept(self._generation, packet, self._at(packet.t_s))
            return 1
        decoder.set_mode(mode)
        self._feed.packet(self._generation, packet, is_skipped=not decoder.wants(packet.keyframe))
        self._beat(Phase.DECODING)
        pictures = self._deliver(decoder, decoder.decode(raw, packet))
        self._give_up_undecodable(decoder)
        return pictures

    def _deliver(self, decoder: Decoder, decoded: Iterator[Decoded]) -> int:
        pictures = 0
        for one in decoded:
            pictures += 1
            decoder.undecodable += not self._hand_over(one)
        self._feed.undecodable(self._generation, decoder.undecodable)
        decoder.undecodable = 0
        return pictures

    def _hand_over(self, one: Decoded) -> bool:
        """Note the picture, and hand it over where it is due; False where it cannot be used."""
        frame = self._frame(one, number=-1)
        size = (frame.width, frame.height)
        if size != self._size:
            self._cut, self._size = True, size
        self._last_picture_ns = self._clock.mono_ns()
        self._feed.picture(self._generation, frame, one.packet.info.codec)
        if not self._limit.is_due(frame.t_s):
            return True
        if not _can_be_seen(frame):
            return False
        number = self._feed.number_next(self._generation)
        if number is None:
            raise _GivenUp
        frame.number = number
        frame.discontinuity, self._cut = self._cut, False
        self._delivered += 1
        self._beat(Phase.DELIVERING)
        self._feed.frame(self._generation, frame)
        self._beat(Phase.DECODING)
        return True

    def _frame(self, one: Decoded, number: int) -> Frame:
        packet, video = one.packet, one.video
        pts, base = video.pts, video.time_base
        turn = self._settings.rotate_deg
        turn = stated_rotation(video) if turn is None else turn
        size = (video.width, video.height) if turn % 180 == 0 else (video.height, video.width)
        # Pictures that were reordered take their time from packets placed one by one: where the
        # timeline was set anew between them, the order of pictures wins.
        self._shown_s = t_s = max(packet.t_s, self._shown_s + MIN_STEP_S)
        return Frame(
            camera=self._settings.camera,
            number=number,
            captured_mono_ns=packet.received_mono_ns,
            captured_at=self._at(t_s),
            t_s=t_s,
            pts_s=float(pts * base) if pts is not None and base is not None else None,
            keyframe=video.key_frame,
            discontinuity=False,
            width=size[0],
            height=size[1],
            video=video,
            rotation_deg=turn,
        )

    # ------------------------------------------------------------------------------- times

    def _place(self, raw: av.Packet) -> EncodedPacket:
        """Return the packet with its times on the camera's timeline, in its own memory."""
        now_ns = self._clock.mono_ns()
        base = raw.time_base
        dts = raw.dts if raw.dts is not None else raw.pts
        dts_s = float(dts * base) if dts is not None and base else None
        placed = self._line.place(dts_s, now_ns / NS_PER_S)
        self._cut = self._cut or placed.jumped
        shown_s = 0.0
        if raw.pts is not None and raw.dts is not None and base:
            # A reordering further than this is no reordering but a broken timestamp.
            shown_s = min(max(float((raw.pts - raw.dts) * base), 0.0), 5.0)
        data = bytes(raw)
        keyframe = raw.is_keyframe or self._info.codec in RAW_CODECS  # drivers do not flag them
        t_s = placed.t_s + shown_s
        return EncodedPacket(
            data=data,
            t_s=t_s,
            dts_s=placed.t_s,
            keyframe=keyframe,
            received_mono_ns=now_ns,
            at_ms=wall_ms(self._at(t_s)),
            info=self._info_for(keyframe, data),
        )

    def _info_for(self, keyframe: bool, data: bytes) -> StreamInfo:
        """Return the stream's parameters, new ones where this keyframe brings others in-band."""
        info = self._info
        if not keyframe:
            return info
        sets = nal.in_band(info.codec, data, self._prefix)
        spoken = nal.picture_parameters(info.codec, sets)
        if not spoken or spoken == self._spoken:
            return info
        changed = bool(self._spoken)
        self._spoken = spoken
        self._info = StreamInfo(
            info.codec, nal.to_annexb(iter(sets)), rotation_deg=info.rotation_deg
        )
        if changed:
            _LOG.info(
                "camera %s: the stream's parameters changed",
                self._settings.camera,
                extra={"event": "capture.stream_changed", "camera": self._settings.camera},
            )
        return self._info

    def _at(self, t_s: float) -> datetime:
        """Return the wall time of a point of the timeline."""
        if self._source.live:
            behind_s = self._clock.mono_ns() / NS_PER_S - t_s
            return self._clock.now_at() - timedelta(seconds=max(behind_s, 0.0))
        return self._opened_at + timedelta(seconds=t_s - self._opened_s)

    def _paced(self, packet: EncodedPacket) -> EncodedPacket:
        """Return a file's packet once it would have come from a camera, received at that time."""
        if self._source.live or self._settings.pace is Pace.AS_FAST_AS_POSSIBLE:
            return packet
        early_s = packet.dts_s - self._clock.mono_ns() / NS_PER_S
        if early_s > 0:
            self._beat(Phase.WAITING)
            self._clock.wait(self._stop, early_s)
        return replace(packet, received_mono_ns=self._clock.mono_ns())

    # ------------------------------------------------------------------------------- health

    def _beat(self, phase: Phase) -> None:
        if not self._feed.beat(self._generation, phase):
            raise _GivenUp

    def _give_up_undecodable(self, decoder: Decoder) -> None:
        """Reconnect where packets come, keyframes among them, but no picture for too long."""
        if not self._source.live or decoder.keyframes_since_picture < 2:
            return
        silent_s = (self._clock.mono_ns() - self._last_picture_ns) / NS_PER_S
        if silent_s > CAMERA_DOWN_AFTER_S:
            raise SourceLost(
                Loss.UNDECODABLE, operator_hint="set the camera to 8-bit H.264 or H.265"
            )
