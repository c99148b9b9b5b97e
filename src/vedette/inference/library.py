"""The models that a machine has: one folder, one bundle per name.

The rule: a name is looked up, never guessed. A broken bundle does not hide the others: `list`
shows it with what is wrong.
"""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vedette.errors import ConfigError, HashMismatch, ModelLoadFailed
from vedette.ids import is_slug
from vedette.inference import bundle as bundles
from vedette.inference.bundle import Bundle

if TYPE_CHECKING:
    from vedette.inference.backends import Runtime

ENVIRONMENT = "VEDETTE_MODELS"
PROVEN = ".proven"


def default_dir() -> Path:
    """Return `VEDETTE_MODELS`, else `models` in the current folder."""
    return Path(os.environ.get(ENVIRONMENT) or "models")


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in the library: a whole bundle, or what is wrong with it."""

    name: str
    bundle: Bundle | None
    problem: str | None


class Library:
    """The bundles below one folder. Thread: any; several processes may read while one writes."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder: Path = folder or default_dir()

    def find(self, name: str) -> Bundle:
        """Return the bundle called `name`, verified.

        Raises:
            ConfigError: There is none of that name.
            ModelLoadFailed: It is broken.
            HashMismatch: A file in it is not the promised one.
        """
        path = self.folder / name
        if not is_slug(name) or not path.is_dir():
            known = self.names()
            close = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            have = ", ".join(known) or "none"
            raise ConfigError(
                f"there is no model {name!r} in {self.folder} (there: {have})",
                operator_hint=f"{hint}`vedette model pull --models-dir {self.folder}` gets the "
                "default model, `vedette model import` takes an ONNX file.",
            )
        return Bundle.open(path)

    def prove(self, bundle: Bundle, runtime: "Runtime" = "onnxruntime") -> None:
        """Return where a process of its own has opened and run this network, now or earlier.

        Raises:
            ModelLoadFailed: The network is broken or harmful: it crashed, hung or took too much.
            HashMismatch: The file changed since the bundle was opened.
            BackendUnavailable: The runtime is not installed.
        """
        from vedette.inference.guard import Proven

        data = bundle.read(bundle.manifest.model)
        Proven(self.folder / PROVEN).ensure(data, runtime, shape=bundle.manifest.preprocess.shape)

    def names(self) -> list[str]:
        """Return the names there are, sorted; not whether they are whole."""
        if not self.folder.is_dir():
            return []
        return sorted(p.name for p in self.folder.iterdir() if p.is_dir() and is_slug(p.name))

    def list(self) -> list[Entry]:
        """Return every bundle, or what is wrong with it, by name."""
        entries = []
        for name in self.names():
            try:
                entries.append(Entry(name, Bundle.open(self.folder / name), None))
            except (ModelLoadFailed, HashMismatch) as error:
                entries.append(Entry(name, None, str(error)))
        return entries

    def add(self, bundle: Bundle) -> Bundle:
        """Copy a bundle (folder or `.vbundle`) here under its own name; return the copy.

        Raises:
            HashMismatch: A file in it changed since it was opened.
            ConfigError: The folder cannot be written.
        """
        return bundles.copy(bundle, self.folder / bundle.manifest.name)
