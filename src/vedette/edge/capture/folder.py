"""Pictures in a folder: all there are, once and in order; or those that fall into it, live.

Here: which files are taken and when one is whole. Not here: decoding (`capture.still`). The rules:
only regular files with a picture's ending are looked at; one that cannot be read is counted and
passed over; one that is still being written is waited for; nothing is ever deleted or moved.

Thread: one per open stream.
"""

import os
import re
import stat
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import av

from vedette.clock import NS_PER_S, Clock
from vedette.edge.capture.packets import StreamInfo
from vedette.edge.capture.seam import Loss, SourceLost
from vedette.edge.capture.still import Stills, as_packet, recognise

MAX_PICTURES: Final = 100_000
MAX_PICTURE_BYTES: Final = 16 * 1024 * 1024
ENDINGS: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
_POLL_S: Final = 0.2
_COARSE_NS: Final = 3 * NS_PER_S
"""A folder is listed for so long after each change: file systems tell time in steps of up to two
seconds (FAT), and two pictures of one step leave the same time on their folder."""

_BASE: Final = Fraction(1, 1000)
_UNREADABLE: Final = b"\xff\xd8"
"""Stands for a file that cannot be read: no picture comes of it, so it is counted as such."""

_DIGITS: Final = re.compile(r"(\d+)")
Order = tuple[tuple[int, str], ...]


def order(name: str) -> Order:
    """Return a key by which `9.jpg` stands before `10.jpg`."""
    stem, dot, ending = name.rpartition(".")
    words = [*_DIGITS.split(stem), dot + ending]
    return tuple((int(word[:18]), word) if word.isdecimal() else (-1, word) for word in words)


def picture_names(folder: Path) -> list[str]:
    """Return the names that end like a picture's, in order, hidden ones left out.

    Raises:
        SourceLost: The folder cannot be listed, or holds too many.
    """
    names: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and Path(entry.name).suffix.lower() in ENDINGS:
                    names.append(entry.name)
                if len(names) > MAX_PICTURES:
                    break
    except OSError as problem:
        raise _not_listed(folder, problem) from problem
    if len(names) > MAX_PICTURES:
        raise SourceLost(
            Loss.FAILED,
            f"{folder.name} holds more than {MAX_PICTURES} pictures",
            operator_hint="move old pictures elsewhere, or split the folder",
        )
    return sorted(names, key=order)


class FolderStream:
    """One run through a folder: every picture of now, as if `fps` came in a second."""

    def __init__(self, folder: Path, fps: float) -> None:
        self._folder = folder
        self._step_ms = 1000 / fps
        self._names = picture_names(folder)
        if not self._names:
            raise SourceLost(
                Loss.NO_VIDEO,
                f"{folder.name} holds no picture",
                operator_hint="put .jpg, .png, .webp, .bmp or .tiff files there, or write "
                "watch:folder to wait for them",
            )
        self._stills = Stills()
        self.info = StreamInfo("", b"")

    def packets(self) -> Iterator[av.Packet]:
        """Yield one packet per file."""
        for number, name in enumerate(self._names):
            data = _read(self._folder / name)
            self.info = recognise(data) or self.info
            packet = as_packet(data)
            packet.time_base = _BASE
            packet.pts = packet.dts = round(number * self._step_ms)
            yield packet

    @property
    def codec_context(self) -> Stills:
        """A decoder for each codec among the pictures."""
        return self._stills

    def close(self) -> None:
        """Nothing is held open."""


class WatchedSource:
    """A folder into which something else puts pictures: what is there at the start is the past."""

    live = True

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.name = f"watch:{folder.name}"
        self._folder = folder
        self._clock = clock
        self._seen: set[str] | None = None

    def open(self) -> "WatchedStream":
        """Begin to watch.

        Raises:
            SourceLost: No such folder, or it may not be listed.
        """
        names = picture_names(self._folder)
        if self._seen is None:
            self._seen = set(names)
        return WatchedStream(self._folder, self._seen, self._clock)


class WatchedStream:
    """Yields each new picture once it no longer grows.

    A file is whole when its size and time stood still between two looks, 0.2 s apart. In between
    empty packets are given, which tell the capture thread that nothing hangs.
    """

    def __init__(self, folder: Path, seen: set[str], clock: Clock) -> None:
        self._folder = folder
        self._seen = seen
        self._clock = clock
        self._growing: dict[str, tuple[int, int]] = {}
        self._looked_ns = self._again_ns = -1
        self._never = threading.Event()
        self._stills = Stills()
        self.info = StreamInfo("", b"")

    def packets(self) -> Iterator[av.Packet]:
        """Yield pictures as they come, forever.

        Raises:
            SourceLost: The folder is gone.
        """
        while True:
            for name in self._whole():
                data = _read(self._folder / name)
                self.info = recognise(data) or self.info
                yield as_packet(data)
            self._clock.wait(self._never, _POLL_S)
            yield av.Packet(0)

    @property
    def codec_context(self) -> Stills:
        """A decoder for each codec among the pictures."""
        return self._stills

    def close(self) -> None:
        """Nothing is held open."""

    def _whole(self) -> list[str]:
        """Return the new names whose files did not change since the last look, in order."""
        try:
            changed_ns = self._folder.stat().st_mtime_ns
        except OSError as problem:
            raise _not_listed(self._folder, problem) from problem
        now_ns = self._clock.mono_ns()
        if changed_ns != self._looked_ns:
            self._looked_ns, self._again_ns = changed_ns, now_ns + _COARSE_NS
        if now_ns <= self._again_ns:
            names = picture_names(self._folder)
            self._seen.intersection_update(names)
            self._growing = {
                name: self._growing.get(name, (-1, -1)) for name in names if name not in self._seen
            }
        ready: list[str] = []
        for name, before in list(self._growing.items()):
            now = _size_and_time(self._folder / name)
            if now is None:
                del self._growing[name]  # gone again
            elif now == before and now[0] > 0:
                del self._growing[name]
                self._seen.add(name)
                ready.append(name)
            else:
                self._growing[name] = now
        return ready


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _read(path: Path) -> bytes:
    """Return the file's bytes, or what will be counted as a picture that cannot be read."""
    try:
        # Not blocking: a pipe among the pictures must not stop the folder.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:  # noqa: PTH123 - closes the descriptor
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_PICTURE_BYTES:
                return _UNREADABLE
            return file.read(MAX_PICTURE_BYTES) or _UNREADABLE
    except OSError:
        return _UNREADABLE


def _not_listed(folder: Path, problem: OSError) -> SourceLost:
    if isinstance(problem, PermissionError):
        return SourceLost(
            Loss.DENIED, folder.name, operator_hint="let this program's user read the folder"
        )
    return SourceLost(
        Loss.NO_FILE, folder.name, operator_hint="check the path of the folder in `source`"
    )
