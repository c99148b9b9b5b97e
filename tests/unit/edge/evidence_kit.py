"""What the tests of evidence share: packets on a timeline, events, a store's settings."""

import io
from datetime import timedelta
from pathlib import Path

import av
import msgspec
import numpy as np

from vedette.clock import ManualClock, wall_ms
from vedette.edge.capture import EncodedPacket, StreamInfo
from vedette.edge.evidence.store import EvidenceStore, Wanted
from vedette.edge.ring import PacketRing
from vedette.edge.settings import EvidenceSettings
from vedette.ids import CameraId, new_id
from vedette.vision.picture import Picture
from vedette.wire.messages import Box, EventKind, EventReport

DOOR = CameraId("door")
FPS = 10
BOX = Box(xyxy=(1, 2, 30, 40), label="person", confidence=0.9, track=1)


def packets_of(path: Path, start_s: float = 1000.0, fmt: str | None = None) -> list[EncodedPacket]:
    """Return a file's packets on a timeline that begins at `start_s`."""
    packets: list[EncodedPacket] = []
    with av.open(str(path), "r", format=fmt) as container:
        stream = container.streams.video[0]
        info = StreamInfo(stream.codec_context.name, stream.codec_context.extradata or b"")
        for number, raw in enumerate(container.demux(stream)):
            if not raw.size:
                continue
            base = float(raw.time_base)
            dts = raw.dts * base if raw.dts is not None else number / FPS
            pts = raw.pts * base if raw.pts is not None else dts
            packets.append(
                EncodedPacket(
                    data=bytes(raw),
                    t_s=start_s + pts,
                    dts_s=start_s + dts,
                    keyframe=raw.is_keyframe,
                    received_mono_ns=round((start_s + dts) * 1e9),
                    at_ms=round((start_s + pts) * 1000),
                    info=info,
                )
            )
    return packets


def settings(**changes: float | str) -> EvidenceSettings:
    """Return settings with two seconds around an event."""
    values = {"before_s": 2.0, "after_s": 2.0, "ring_s": 30.0, **changes}
    return msgspec.convert(values, EvidenceSettings)


def event(clock: ManualClock, at_t_s: float = 1005.0) -> Wanted:
    """Return evidence wanted for something that happened at `at_t_s`."""
    at = clock.now_at() + timedelta(seconds=at_t_s - 1000.0)
    report = EventReport(
        event=new_id("ev"),
        camera=DOOR,
        kind=EventKind.LINE_CROSSED,
        at_ms=wall_ms(at),
        boxes=[BOX],
        evidence=new_id("evd"),
    )
    return Wanted(event=report, at_t_s=at_t_s, picture=grey())


def grey() -> Picture:
    """Return a grey picture of 64x48."""
    return Picture.from_gray(np.full((48, 64), 128, np.uint8))


def full_ring(store: EvidenceStore, packets: list[EncodedPacket]) -> PacketRing:
    """Return a ring that holds all packets and waits for no more."""
    ring = store.make_ring()
    for packet in packets:
        ring.put(packet)
    return ring


def decoded(data: bytes) -> list[av.VideoFrame]:
    """Return every picture of a clip."""
    with av.open(io.BytesIO(data), "r") as container:
        return list(container.decode(video=0))
