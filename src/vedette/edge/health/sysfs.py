"""Reading `/sys` and `/proc` below a root, when nothing in them may be trusted.

Tests put a recorded tree where the root is. Only regular files (and, where asked, character
devices) are read, never more than a bound, and never one whose opening would wait: a pipe left in
the way is not waited for. A read that the kernel itself holds up cannot be bounded here; that is
why `edge.health.system` reads boards in a thread of its own.
"""

import contextlib
import itertools
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 4096
MAX_ENTRIES: Final = 512


class Tree:
    """The files below a root. Thread: any."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root: Final = root

    def head(self, path: str | Path, limit: int = MAX_BYTES) -> bytes:
        """Return the beginning of a file, or nothing where it cannot be read."""
        try:
            fd = os.open(self.root / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except (OSError, ValueError):
            return b""
        try:
            return os.read(fd, limit) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
        except OSError:
            return b""
        finally:
            os.close(fd)

    def whole(self, path: str | Path, limit: int) -> bytes:
        """Return up to `limit` bytes of a file that comes in several reads, as `/proc` gives it."""
        try:
            fd = os.open(self.root / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except (OSError, ValueError):
            return b""
        found = bytearray()
        try:
            mode = os.fstat(fd).st_mode
            while len(found) < limit and (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):
                part = os.read(fd, 8192)
                if not part:
                    break
                found += part
        except OSError:
            pass  # `/dev/kmsg` ends so when nothing more is there; what came before counts
        finally:
            os.close(fd)
        return bytes(found[:limit])

    def text(self, path: str | Path) -> str:
        """Return a small file's text without space and NUL around it, or nothing."""
        return self.head(path).decode("utf-8", "replace").strip(" \t\r\n\0")

    def number(self, path: str | Path) -> float | None:
        """Return the first number of a small file; None where there is no finite one."""
        return to_number(self.text(path))

    def whole_number(self, path: str | Path) -> int | None:
        """Return a small file's whole number, decimal or 0x…; None where there is none."""
        words = self.text(path).split()
        try:
            return int(words[0], 0) if words else None
        except ValueError:
            return None

    def hex_number(self, path: str | Path) -> int | None:
        """Return a small file's hexadecimal number, with or without 0x."""
        words = self.text(path).split()
        try:
            return int(words[0], 16) if words else None
        except ValueError:
            return None

    def exists(self, path: str | Path) -> bool:
        """Return whether there is such a file or folder."""
        with contextlib.suppress(OSError, ValueError):
            return (self.root / path).exists()
        return False

    def glob(self, pattern: str, limit: int = MAX_ENTRIES) -> list[Path]:
        """Return what matches, by name, at most `limit` of it; it does not descend by itself."""
        return sorted(itertools.islice(self._matches(pattern), limit), key=_natural)

    def _matches(self, pattern: str) -> Iterator[Path]:
        with contextlib.suppress(OSError):  # a folder that cannot be listed has nothing in it
            yield from self.root.glob(pattern)


def to_number(text: str) -> float | None:
    """Return the first word as a finite number, or None."""
    words = text.split(None, 1)
    try:
        value = float(words[0]) if words else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def scaled(value: float | None, divisor: float) -> float | None:
    """Return a reading in another unit; None stays None."""
    return None if value is None else value / divisor


def _natural(path: Path) -> tuple[object, ...]:
    """Sort hwmon10 behind hwmon2."""
    parts = ["".join(group) for _, group in itertools.groupby(str(path), str.isdigit)]
    return tuple((int(p), "") if p.isdecimal() else (-1, p) for p in parts)
