"""One message on its way into the spool: encoded, dated, and what time it speaks of.

Pure. The rule: everything that eviction or a loss would have to state about a message is worked
out before it is stored, so that a tombstone never needs to decode a body.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from vedette.errors import TooLarge
from vedette.wire import codec, messages, streams
from vedette.wire.envelope import ClockState
from vedette.wire.streams import Stream

ROW_BYTES: Final = 160
"""What a row costs besides its body: columns and two index entries."""

MAX_STEP_MS: Final = 2_000
"""Wall and monotonic time may drift apart by this much before the wall clock was stepped."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message that waits for its commit; it has no sequence number yet.

    Attributes:
        camera: Whose coverage it carries; empty where it carries none.
        start_ms, end_ms: The time it speaks of.
        carries_from_ms: Start of the coverage it carries in full up to `end_ms`, for an aggregate.
    """

    row: Stream
    body: bytes
    t_wall_ms: int
    t_mono_ms: int
    camera: str
    start_ms: int
    end_ms: int
    carries_from_ms: int | None

    @property
    def size(self) -> int:
        """Bytes against the quota."""
        return len(self.body) + ROW_BYTES


@dataclass(frozen=True, slots=True)
class ClockNote:
    """What the agent last found about the wall clock, shared with every process on the spool.

    Attributes:
        boot_id: The boot it holds for; in another boot the clock is unconfirmed again.
        offset_ms: Wall minus monotonic time when it was found: moves when somebody steps the clock.
    """

    boot_id: str = ""
    state: ClockState = ClockState.FLOOR
    offset_ms: int = 0

    def judge(self, boot_id: str, t_wall_ms: int, t_mono_ms: int) -> ClockState:
        """Return how far `t_wall_ms` can be believed, knowing of steps before the agent does."""
        if boot_id != self.boot_id:
            return ClockState.FLOOR
        if abs(t_wall_ms - t_mono_ms - self.offset_ms) > MAX_STEP_MS:
            return ClockState.UNTRUSTED
        return self.state


def make(schema: str, body: msgspec.Struct, t_wall_ms: int, t_mono_ms: int) -> Entry:
    """Return `body` encoded as its row of the stream table wants it.

    Raises:
        UnknownSchema: Not in the table.
        TypeError: Another struct than the row's: a mistake in the program.
        TooLarge: Over the row's limit; it would be refused by central for ever.
    """
    row = streams.stream(schema)
    if not isinstance(body, row.body):
        raise TypeError(f"{schema} carries {row.body.__name__}, not {type(body).__name__}")
    data = codec.encode(body)
    if len(data) > row.max_bytes:
        raise TooLarge(f"{schema} of {len(data)} bytes; at most {row.max_bytes} are allowed")
    camera, start_ms, end_ms = _spoken_of(body, t_wall_ms)
    carries = start_ms if isinstance(body, messages.Aggregate) else None
    return Entry(row, data, t_wall_ms, t_mono_ms, camera, start_ms, end_ms, carries)


def _spoken_of(body: msgspec.Struct, now_ms: int) -> tuple[str, int, int]:
    """Return camera, start and end of the coverage a message carries; `now_ms` twice for none."""
    if isinstance(body, messages.Aggregate):
        return body.camera, body.start_ms, body.end_ms
    if isinstance(body, messages.CoverageReport) and body.spans:
        return (
            body.camera,
            min(span.start_ms for span in body.spans),
            max(span.end_ms for span in body.spans),
        )
    return "", now_ms, now_ms
