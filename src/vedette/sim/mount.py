"""One simulated camera: a live film that all its viewers share, and the ways it can misbehave.

Here live pacing and faults; what comes next is decided in `sim.reel`, the protocol is in
`sim.rtsp`.
"""

import asyncio
import enum
import secrets
from collections.abc import Callable, Mapping
from typing import Final

from vedette.clock import Clock
from vedette.sim.clip import Clip
from vedette.sim.reel import Outgoing, Reel
from vedette.sim.rtp import (
    CLOCK_HZ,
    PAYLOAD_TYPE,
    interleaved,
    packetise,
    rtp_packet,
    sender_report,
)

BURST_S: Final = 0.45
LOST_EVERY: Final = 25
MAX_UNSENT_BYTES: Final = 4 * 1024 * 1024
REPORT_EVERY_S: Final = 5.0
_LATE_S: Final = 2.0


class Fault(enum.StrEnum):
    """How a camera misbehaves, until told otherwise."""

    NONE = "none"
    GONE = "gone"  # viewers are dropped mid-stream and every request meets a reset
    SILENT = "silent"  # accepts connections and never answers; viewers get nothing more
    STALL = "stall"  # answers requests, keeps the connection, sends no pictures
    BURST = "burst"  # pictures leave together every 450 ms
    FROZEN = "frozen"  # the same picture again and again, with running timestamps
    CORRUPT = "corrupt"  # slices with flipped bits
    LOSS = "loss"  # every 25th RTP packet never arrives
    NOT_FOUND = "not_found"
    UNAUTHORISED = "unauthorised"


class Viewer:
    """One playing client. Thread: the server's loop."""

    def __init__(self, writer: asyncio.StreamWriter, channels: tuple[int, int]) -> None:
        self._writer = writer
        self._data, self._control = channels
        self._skipping = False

    def send(self, packets: list[bytes], *, keyframe: bool) -> None:
        """Send pictures; a client that does not read loses whole pictures up to a keyframe."""
        transport = self._writer.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self._skipping = True
        elif keyframe:
            self._skipping = False
        if not self._skipping:
            self._writer.write(b"".join(interleaved(self._data, packet) for packet in packets))

    def send_control(self, packet: bytes) -> None:
        """Send one RTCP packet."""
        if not self._writer.transport.is_closing():
            self._writer.write(interleaved(self._control, packet))

    def abort(self) -> None:
        """Reset the connection."""
        self._writer.transport.abort()


class Mount:
    """One camera of the server. Thread: any; changes take effect in the server's loop."""

    def __init__(
        self,
        name: str,
        clips: Mapping[str, Clip],
        shown: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.name = name
        self.clip = clips[shown]
        self.fault = Fault.NONE
        self.ssrc = secrets.randbits(32)
        self.seq = secrets.randbits(16)
        self.rtp_base = secrets.randbits(32)
        self.sent_frames = 0
        self._octets = 0
        self._packets = 0
        self._last_rtp = self.rtp_base
        self._reel = Reel(clips, shown)
        self._viewers: set[Viewer] = set()
        self._group: list[bytes] = []  # packets since the last keyframe, for whoever joins now
        self._group_start = (self.seq, self.rtp_base)
        self._loop = loop

    @property
    def viewers(self) -> int:
        """How many clients are being sent to."""
        return len(self._viewers)

    def set_fault(self, fault: Fault) -> None:
        """Misbehave from now on; `Fault.NONE` heals."""
        self._in_loop(self._set_fault, fault)

    def show(self, clip: str) -> None:
        """Send another clip from now on: a covered lens, another resolution, a long GOP."""
        self._in_loop(self._reel.show, clip)

    def replace(self, clip: str) -> None:
        """Become a camera with another clip, of another codec too: viewers have to come again."""
        self._in_loop(self._replace, clip)

    def jump_back(self, by_s: float) -> None:
        """Let the timestamps fall back by `by_s` once."""
        self._in_loop(self._reel.jump_back, by_s)

    def vanish(self) -> None:
        """Drop every viewer now, mid-stream; they may come back at once."""
        self._in_loop(self._drop_viewers)

    def _in_loop(self, call: Callable[..., None], *args: object) -> None:
        async def run() -> None:
            call(*args)

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout=5.0)

    def _replace(self, clip: str) -> None:
        self._reel.show(clip)
        self.clip = self._reel.clip
        self._group = []
        self._drop_viewers()

    def _set_fault(self, fault: Fault) -> None:
        self.fault = fault
        if fault in (Fault.GONE, Fault.NOT_FOUND, Fault.UNAUTHORISED):
            self._drop_viewers()

    def _drop_viewers(self) -> None:
        for viewer in list(self._viewers):
            viewer.abort()

    def describe(self) -> bytes:
        """Return the session description."""
        lines = [
            "v=0",
            "o=- 0 0 IN IP4 127.0.0.1",
            f"s={self.name}",
            "c=IN IP4 0.0.0.0",
            "t=0 0",
            "a=control:*",
            f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
            f"a=rtpmap:{PAYLOAD_TYPE} {self.clip.rtp_name()}/{CLOCK_HZ}",
            f"a=fmtp:{PAYLOAD_TYPE} {self.clip.parameters()}",
            "a=control:track1",
        ]
        return ("\r\n".join(lines) + "\r\n").encode()

    def join(self, viewer: Viewer) -> tuple[int, int]:
        """Add a viewer; return the sequence number and timestamp that its first packet has."""
        self._viewers.add(viewer)
        return self._group_start

    def leave(self, viewer: Viewer) -> None:
        """Forget a viewer."""
        self._viewers.discard(viewer)

    def group_so_far(self) -> list[bytes]:
        """Return the packets since the last keyframe."""
        return list(self._group)

    async def produce(self, clock: Clock) -> None:
        """Send pictures in real time until cancelled."""
        loop = self._loop
        started_s = loop.time()
        next_report_s = started_s
        held: list[bytes] = []
        flush_s = 0.0
        while True:
            out = self._reel.next(
                frozen=self.fault is Fault.FROZEN, corrupt=self.fault is Fault.CORRUPT
            )
            due_s = started_s + out.due_ticks / CLOCK_HZ
            if loop.time() - due_s > _LATE_S:  # the machine slept: go on from now, do not race
                started_s += loop.time() - due_s
            else:
                await asyncio.sleep(max(0.0, due_s - loop.time()))
            packets = self._packets_of(out)
            if self.fault in (Fault.STALL, Fault.SILENT):
                held.clear()
                continue
            if self.fault is Fault.BURST:
                held += packets
                if loop.time() < flush_s:
                    continue
                flush_s = loop.time() + BURST_S
                packets, held = held, []
            for viewer in list(self._viewers):
                viewer.send(packets, keyframe=out.keyframe)
            self.sent_frames += 1
            if loop.time() >= next_report_s:
                next_report_s = loop.time() + REPORT_EVERY_S
                self._report(clock)

    def _packets_of(self, out: Outgoing) -> list[bytes]:
        stamp = (self.rtp_base + out.rtp_ticks) & 0xFFFFFFFF
        if out.keyframe:
            self._group = []
            self._group_start = (self.seq & 0xFFFF, stamp)
        packets: list[bytes] = []
        for payload in packetise(out.nals, codec=self.clip.codec):
            packet = rtp_packet(payload, seq=self.seq, timestamp=stamp, ssrc=self.ssrc)
            self.seq += 1
            if self.fault is Fault.LOSS and self.seq % LOST_EVERY == 0:
                continue
            packets.append(packet)
            self._octets += len(payload.data)
        self._packets += len(packets)
        self._last_rtp = stamp
        self._group += packets
        return packets

    def _report(self, clock: Clock) -> None:
        report = sender_report(
            ssrc=self.ssrc,
            unix_s=clock.now_at().timestamp(),
            timestamp=self._last_rtp,
            packets=self._packets,
            octets=self._octets,
        )
        for viewer in list(self._viewers):
            viewer.send_control(report)
