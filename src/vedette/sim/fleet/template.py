"""Batches as bytes with holes: one copy, a few numbers written into it, one compression.

A batch is encoded once with a mark in place of every number that differs from report to report.
Marks are large, so msgpack gives each the same nine bytes (0xcf and eight of big-endian), and the
true number is written over it: smaller numbers in eight bytes are as valid. Encoding four cameras
anew would cost some 200 µs, filling in costs a tenth of that.
"""

import enum
import random
import struct
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import zstandard

from vedette.sim.fleet import content
from vedette.wire import codec
from vedette.wire.envelope import Batch, ClockState, Envelope
from vedette.wire.messages import Span, SpoolHealth, State
from vedette.wire.streams import stream

NAME_CHARS: Final = 12
"""Every device of a load has a name of this length, so that it too can be written over."""

EPOCH: Final = 1
PERIOD_MS: Final = 30_000

_NAME: Final = "@" * NAME_CHARS
_MARK: Final = 0x5A5A_5A5A_0000_0000
_PACK: Final = struct.Struct(">Q").pack


class Hole(enum.IntEnum):
    """What a number is counted from."""

    SEQ = 0
    EPOCH = 1
    WALL = 2
    MINUTE = 3
    MONO = 4


class _Marks:
    """Gives out marks and remembers what each stands for."""

    def __init__(self) -> None:
        self.given: list[tuple[Hole, int]] = []

    def __call__(self, hole: Hole, delta: int = 0) -> int:
        self.given.append((hole, delta))
        return _MARK + len(self.given) - 1


class Template:
    """One batch of a device, to be filled in. Thread: any; `fill` shares nothing.

    Attributes:
        messages: Envelopes in it: so many sequence numbers it takes.
        reports: Periods that it speaks of.
    """

    def __init__(self, batch: Batch, marks: Sequence[tuple[Hole, int]], reports: int) -> None:
        self.messages: Final = len(batch.envelopes)
        self.reports: Final = reports
        self.plain: Final = codec.encode(batch)
        self._name_at: Final = self.plain.index(_NAME.encode())
        places: dict[tuple[Hole, int], list[int]] = {}
        for number, (hole, delta) in enumerate(marks):
            at = self.plain.index(b"\xcf" + _PACK(_MARK + number)) + 1
            places.setdefault((hole, delta), []).append(at)
        self._places: Final = [
            (int(hole), delta, tuple(found)) for (hole, delta), found in places.items()
        ]

    def fill(self, device: bytes, values: Sequence[int]) -> bytes:
        """Return the batch of `device` (`NAME_CHARS` bytes), msgpack; `values` by `Hole`."""
        out = bytearray(self.plain)
        out[self._name_at : self._name_at + NAME_CHARS] = device
        for hole, delta, places in self._places:
            number = _PACK(values[hole] + delta)
            for at in places:
                out[at : at + 8] = number
        return bytes(out)


class Compressor:
    """Makes zstd frames that state their size. Thread: one."""

    def __init__(self, level: int = 1) -> None:
        self.compress: Final = zstandard.ZstdCompressor(level=level).compress


def make(
    rng: random.Random, cameras: int, minutes: Sequence[bool], *, boot_id: str = "load"
) -> Template:
    """Return a batch of one report per entry of `minutes`, `PERIOD_MS` apart, the last one now.

    Where the entry is true, the report carries the aggregates of the minute that ended with it: the
    last such minute starts at `Hole.MINUTE`, earlier ones are a minute earlier each.
    """
    mark = _Marks()
    names = content.camera_names(cameras)
    envelopes: list[Envelope] = []
    seq = 0
    for place, with_minute in enumerate(minutes):
        back_ms = (len(minutes) - 1 - place) * PERIOD_MS
        minute_back_ms = sum(minutes[place + 1 :]) * content.MINUTE_MS
        bodies: list[tuple[str, msgspec.Struct]] = []
        if with_minute:
            bodies += [("aggregate.v1", _minute(rng, mark, name, minute_back_ms)) for name in names]
        bodies.append(("health.v1", _health(rng, mark, names, back_ms, boot_id)))
        for schema, body in bodies:
            envelopes.append(
                Envelope(
                    epoch=mark(Hole.EPOCH),
                    boot_id=boot_id,
                    lane=stream(schema).lane,
                    seq=mark(Hole.SEQ, seq),
                    t_wall_ms=mark(Hole.WALL, -back_ms),
                    t_mono_ms=mark(Hole.MONO, -back_ms),
                    clock_state=ClockState.TRUSTED,
                    schema=schema,
                    body=msgspec.Raw(codec.encode(body)),
                )
            )
            seq += 1
    batch = Batch(
        device=_NAME,
        boot_id=boot_id,
        sent_mono_ms=mark(Hole.MONO),
        sent_wall_ms=mark(Hole.WALL),
        envelopes=envelopes,
    )
    return Template(batch, mark.given, len(minutes))


def _minute(rng: random.Random, mark: _Marks, name: str, back_ms: int) -> msgspec.Struct:
    whole = Span(start_ms=0, end_ms=content.MINUTE_MS, rate_fps=content.RATE_FPS)
    counted = content.aggregate(rng, name, 0, content.MINUTE_MS, [whole])
    start, end = -back_ms, content.MINUTE_MS - back_ms
    span = msgspec.structs.replace(
        whole, start_ms=mark(Hole.MINUTE, start), end_ms=mark(Hole.MINUTE, end)
    )
    return msgspec.structs.replace(
        counted,
        start_ms=mark(Hole.MINUTE, start),
        end_ms=mark(Hole.MINUTE, end),
        spans=[span],
    )


def _health(
    rng: random.Random, mark: _Marks, names: Sequence[str], back_ms: int, boot_id: str
) -> msgspec.Struct:
    cameras = [
        content.camera_health(
            rng,
            name,
            state=State.OK,
            since_ms=mark(Hole.WALL, -back_ms - 7_200_000),
            last_frame_ms=mark(Hole.WALL, -back_ms),
        )
        for name in names
    ]
    return content.health(
        rng,
        at_ms=mark(Hole.WALL, -back_ms),
        boot_id=boot_id,
        uptime_s=1e5,
        cameras=cameras,
        spool=SpoolHealth(depth={"live": 0}, oldest_ms=mark(Hole.WALL, -back_ms)),
        since_ms=mark(Hole.WALL, -back_ms - 7_200_000),
        last_contact_ms=mark(Hole.WALL, -back_ms - PERIOD_MS),
    )


def values(of: Mapping[Hole, int]) -> list[int]:
    """Return numbers in the order that `Template.fill` takes."""
    return [of.get(hole, 0) for hole in Hole]
