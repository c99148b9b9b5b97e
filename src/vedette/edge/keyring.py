"""The keys with which this device may speak, and the change from one to the next.

What lives here: which files there are, and what each step of a change does to them. What does not:
asking central (`edge.central_client`). The rule: at every moment one of the keys on disk is the one
that central knows, whatever answer was lost and wherever this process was killed.

    identity/device.key      speaks
    identity/next.key        announced, or about to be; becomes device.key with its first token
    identity/previous.key    spoke before: a central that was put back to then knows only this one

    make next.key -> announce it (old key signs, new key proves) -> first token -> previous, device

A crash before the announcement: `device.key` works, the change begins again with the same next key.
A lost announcement or answer: both work, or the old one does. A crash after the first token and
before the files are moved: `next.key` works, and is moved then.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vedette.errors import TrustError
from vedette.trust.keys import SigningKey


class Keyring:
    """The key files in one folder. Thread and process: any, under `held`."""

    def __init__(self, folder: Path) -> None:
        """Look at `folder`, usually `state_dir / "identity"`."""
        self._folder: Final = folder
        self.path: Final = folder / "device.key"
        self._next: Final = folder / "next.key"
        self._previous: Final = folder / "previous.key"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let nobody else, in any process, change or try keys inside the block.

        The folder itself is locked: a device whose disk takes no writes any more must still speak.

        Raises:
            TrustError: The folder cannot be read.
        """
        try:
            lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise TrustError(
                f"the keys in {self._folder} cannot be read: {error}",
                operator_hint="make the folder readable, or enrol this device",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def speaking(self) -> list[SigningKey]:
        """Return the keys to try, the likeliest first; always read anew from disk.

        Raises:
            TrustError: A key file is damaged.
        """
        paths = (self._next, self.path, self._previous)
        found = [SigningKey.load(path) for path in paths if path.exists()]
        keys = {key.public.keyid: key for key in found}
        if not keys:
            raise TrustError(
                f"there is no key in {self._folder}", operator_hint="enrol this device"
            )
        return list(keys.values())

    def current(self) -> SigningKey:
        """Return the key that speaks.

        Raises:
            TrustError: It is damaged.
        """
        return SigningKey.load(self.path)

    @property
    def is_changing(self) -> bool:
        """True where a next key was made and has not spoken yet."""
        return self._next.exists()

    def make_next(self) -> SigningKey:
        """Return the next key, on disk before this returns; the same until it has spoken.

        Raises:
            TrustError: The disk refuses.
        """
        return SigningKey.load_or_make(self._next)

    def forget_next(self) -> None:
        """Have no next key: central will never take this one."""
        self._next.unlink(missing_ok=True)

    def accepted(self, key: SigningKey) -> None:
        """Take note that central knows this key.

        The next one becomes the one that speaks. Where it is the one before, central was put back
        to then: that one speaks again, and the change to the later one is to be made once more.

        Raises:
            TrustError: The disk refuses; the same key is accepted again later.
        """
        if _is(self._next, key):
            if not _is(self.path, key):
                self.current().save(self._previous)
            self._move(self._next, self.path)
        elif _is(self._previous, key) and not _is(self.path, key):
            self.current().save(self._next)
            key.save(self.path)

    def _move(self, source: Path, target: Path) -> None:
        try:
            source.replace(target)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise TrustError(
                f"the key file {target} cannot be replaced: {error}",
                operator_hint="make the folder writable and free some disk space",
            ) from error


def _is(path: Path, key: SigningKey) -> bool:
    return path.exists() and SigningKey.load(path).public == key.public
