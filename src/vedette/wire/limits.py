"""How much of anything may cross the network.

Every parser of outside data takes its bounds from here, so that one page answers "how large may
it be?". Counted while receiving, never after.
"""

from typing import Final

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
"""One HTTP request body of `POST /v1/up`, compressed, as received."""

MAX_INFLATED_BYTES: Final = 16 * 1024 * 1024
"""The same after zstd. A bomb is refused before it is unpacked further."""

MAX_DEPTH: Final = 32
"""Nesting of arrays and maps in any message."""

MAX_ENVELOPES: Final = 2_000
"""Envelopes in one batch."""

MAX_BELIEVED: Final = 192
"""Lanes of which one batch asks what central has: those of the last 64 spools."""

MAX_CAMERAS: Final = 64
"""Cameras of one device."""

MAX_NAME_CHARS: Final = 128
MAX_TEXT_CHARS: Final = 2_000

MAX_FUTURE_S: Final = 300.0
"""A trusted device time further than this ahead of central is treated as untrusted."""

MAX_AGE_S: Final = 30 * 86_400.0
"""A report older than this is refused: longer than any spool holds."""

LOITER_WINDOW_S: Final = 600.0
"""Stays of the last so many seconds add up to loitering; `Zone.loiter_s` cannot be more."""

MAX_LINE_WINDOWS: Final = 32
"""Times with another cap on the backlog, of one device."""

MAX_CONFIRM_S: Final = 60.0
"""`Line.confirm_s` at most: what is confirmed later is no news, and its clip has left the ring."""
