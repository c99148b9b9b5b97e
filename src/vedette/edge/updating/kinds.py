"""What every kind of artefact brings with it: how it is prepared, made active, watched, taken back.

The updater knows when; an `Installer` knows how. The rule: every method may be called again after
a power cut at any moment in it, by a process that remembers nothing, and then does what is left.
"""

from pathlib import Path
from typing import Protocol

import msgspec

from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Artefact


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """Something that lies prepared on this device.

    Attributes:
        folder: What `prepare` filled; it stays until neither running nor previous.
        sha256: Of the file that was downloaded.
        approved_ms: When the approval was issued that allowed it; the floor for the next one.
    """

    kind: ArtefactKind
    slot: str
    digest: str
    folder: str
    sha256: str = ""
    name: str = ""
    version: str = ""
    approved_ms: int = 0


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How it is with a slot now.

    Attributes:
        running: Digest of what runs, as the process that runs it says; empty: nothing says so now.
        problem: What is wrong, or what is waited for; in words.
        failed: What was activated last must be taken back now; `problem` says why.
        proven: Since it was activated it did what it is for: only then is it confirmed.
    """

    running: str = ""
    problem: str = ""
    failed: bool = False
    proven: bool = False
    load_s: float | None = None
    golden_ok: bool | None = None


class Installer(Protocol):
    """One kind of artefact. Thread: one at a time, the updater's.

    A failure is raised as a `VedetteError`. With `retry` LATER or NOW it is tried again, with
    NEVER the artefact is refused (before activation) or taken back (after).

    Attributes:
        kind: Which.
        activation_s: The wanted digest must run within this after `activate`, or it is taken back.
        keeps_file: The downloaded file stays as long as it runs and there is room: the next one
            may come as a difference to it.
    """

    kind: ArtefactKind
    activation_s: float
    keeps_file: bool

    def slots(self) -> list[str]:
        """Return the slots of this kind that this device has."""
        ...

    def space_bytes(self, artefact: Artefact) -> int:
        """Return what `prepare` will take of the disk beside the file, at most."""
        ...

    def prepare(self, slot: str, artefact: Artefact, file: Path, folder: Path) -> None:
        """Have in `folder` all that `activate` needs, proven here and on the disk (fsync).

        What runs is not touched. The file has the hash and length that were promised; its content
        may be hostile all the same. What is in `folder` from an attempt that was cut off has been
        removed before.
        """
        ...

    def activate(self, wanted: Installed, before: Installed | None) -> None:
        """Begin to run `wanted`; return without waiting for it. Called again after each start.

        Args:
            wanted: Prepared.
            before: What runs confirmed, None: what the device came with.
        """
        ...

    def standing(self, slot: str) -> Standing:
        """Return how it is with a slot, since `activate` where it was called; quick."""
        ...

    def settle(self, wanted: Installed, before: Installed | None) -> None:
        """Make final what was confirmed: nothing here goes back to `before` by itself any more.

        Also called at each start for what is confirmed.
        """
        ...

    def in_use(self) -> list[str]:
        """Return folders that what runs may read, beside those of this device's journal."""
        ...

    def revert(self, slot: str, tried: Installed, before: Installed | None) -> None:
        """Have `before` run again; needs no network."""
        ...
