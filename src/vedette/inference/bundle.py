"""Model bundles on disk: one folder, or one `.vbundle` tar, that is opened only if it is whole.

    centernet/
      bundle.json         the manifest: hash and length of every other file, labels, input, head, …
      model.onnx
      golden/scene.png    pictures with known answers

What lives here: opening, verifying, writing, packing. What does not: what the manifest means
(`inference.manifest`) and running it (`inference.model`). The rule: the contents come from
somewhere else, so links, paths, sizes and hashes are checked before a byte is used, and only files
that the manifest names are ever read.
"""

import hashlib
import io
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from vedette.errors import ConfigError, HashMismatch, ModelLoadFailed
from vedette.inference.manifest import (
    MANIFEST_NAME,
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_MANIFEST_BYTES,
    MAX_TOTAL_BYTES,
    FileEntry,
    Manifest,
    check,
    is_safe_path,
    parse,
)
from vedette.wire.evaluation import manifest_digest as digest

SUFFIX = ".vbundle"
_BROKEN_HINT = "Fetch or make the bundle again; do not repair it by hand."


class _Files(Protocol):
    """Where the bytes are."""

    def read(self, path: str, limit: int) -> bytes:
        """Return a whole file of at most `limit` bytes, or raise `ModelLoadFailed`."""
        ...


class _Folder:
    """Files below a folder, never through a symbolic link."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str, limit: int) -> bytes:
        at = self._root
        try:
            for part in path.split("/"):
                at /= part
                if stat.S_ISLNK(at.lstat().st_mode):
                    raise ModelLoadFailed(
                        f"{path} is a symbolic link, which a bundle may not hold",
                        operator_hint=_BROKEN_HINT,
                    )
            found = at.lstat()
            if not stat.S_ISREG(found.st_mode):
                raise ModelLoadFailed(f"{path} is not a plain file", operator_hint=_BROKEN_HINT)
            if found.st_size > limit:
                raise ModelLoadFailed(
                    f"{path} has {found.st_size} bytes, {limit} are allowed",
                    operator_hint=_BROKEN_HINT,
                )
            with at.open("rb") as stream:
                return stream.read(found.st_size + 1)  # a buffer of `limit` would be a gigabyte
        except OSError as error:
            raise ModelLoadFailed(
                f"{path} cannot be read in {self._root}: {error.strerror}",
                operator_hint=_BROKEN_HINT,
            ) from error


class _Archive:
    """Files of an uncompressed tar, taken into memory in one bounded pass."""

    def __init__(self, path: Path) -> None:
        self._files: dict[str, bytes] = {}
        try:
            # "r:" refuses compression: what is written here cannot grow while it is read.
            with path.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
                for member in archive:
                    self._take(archive, member)
        except (tarfile.TarError, EOFError, OSError, UnicodeError) as error:
            raise ModelLoadFailed(
                f"{path.name} cannot be read as a bundle: {error}", operator_hint=_BROKEN_HINT
            ) from error

    def _take(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = member.name
        if member.isdir() and is_safe_path(name):
            return
        if not member.isreg():
            raise ModelLoadFailed(f"{name!r} in the archive is not a plain file")
        if name != MANIFEST_NAME and not is_safe_path(name):
            raise ModelLoadFailed(f"{name!r} in the archive is a path that is not allowed")
        if name in self._files or len(self._files) > MAX_FILES:
            raise ModelLoadFailed(f"{name!r} stands twice in the archive, or it has too many files")
        total = member.size + sum(map(len, self._files.values()))
        if member.size > MAX_FILE_BYTES or total > MAX_TOTAL_BYTES:
            raise ModelLoadFailed(f"{name!r} makes the archive larger than {MAX_TOTAL_BYTES} bytes")
        stream = archive.extractfile(member)
        data = stream.read(member.size) if stream else b""
        if len(data) != member.size:
            raise ModelLoadFailed(f"the archive ends inside {name!r}", operator_hint=_BROKEN_HINT)
        self._files[name] = data

    def read(self, path: str, limit: int) -> bytes:
        data = self._files.get(path)
        if data is None or len(data) > limit:
            raise ModelLoadFailed(
                f"{path} is not in the archive, or has more than {limit} bytes",
                operator_hint=_BROKEN_HINT,
            )
        return data


class Bundle:
    """A bundle whose every file had the promised hash when it was opened. Thread: any.

    Attributes:
        manifest: What it says about itself, checked.
        digest: Its identity: `sha256:` and hex over the canonical manifest.
        path: Where it was opened.
    """

    def __init__(self, path: Path, files: _Files, manifest_bytes: bytes) -> None:
        self.path = path
        self.manifest: Manifest = parse(manifest_bytes)
        self.digest: str = digest(manifest_bytes)
        self.manifest_bytes = manifest_bytes
        self._files = files

    @classmethod
    def open(cls, path: Path) -> "Bundle":
        """Return the bundle at `path`, a folder or a `.vbundle` file, after checking all of it.

        Raises:
            ModelLoadFailed: It is missing, not readable, not a bundle, or holds what it may not.
            HashMismatch: A file is not the one that the manifest promises.
        """
        if not path.exists():
            raise ModelLoadFailed(
                f"there is no bundle at {path}",
                operator_hint="`vedette model list` shows what is here; `vedette model pull` gets "
                "the default model.",
            )
        files: _Files = _Folder(path) if path.is_dir() else _Archive(path)
        bundle = cls(path, files, files.read(MANIFEST_NAME, MAX_MANIFEST_BYTES))
        for name in bundle.manifest.files:
            bundle.read(name)
        return bundle

    def read(self, name: str) -> bytes:
        """Return one file, verified in this very read.

        Raises:
            ModelLoadFailed: It cannot be read, or the manifest does not name it.
            HashMismatch: Its bytes are not the promised ones.
        """
        entry = self.manifest.files.get(name)
        if entry is None:
            raise ModelLoadFailed(f"{name} is not in the manifest of {self.manifest.name}")
        # One byte more than promised may be read, so that a longer file differs in length.
        data = self._files.read(name, MAX_FILE_BYTES)
        if len(data) != entry.bytes or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise HashMismatch(
                f"{name} in {self.path} is not the file that its manifest promises "
                f"({len(data)} bytes, expected {entry.bytes})",
                operator_hint=_BROKEN_HINT,
            )
        return data


def entry(data: bytes) -> FileEntry:
    """Return the hash and length of `data`."""
    return FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def write(target: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle folder whole and return it opened; one that was there is replaced.

    Args:
        target: The folder.
        manifest: Its `files` are ignored and computed from `files`.
        files: Path inside the bundle → bytes.

    Raises:
        ModelLoadFailed: The manifest does not fit the files.
        ConfigError: The folder cannot be written.
    """
    named = {path: entry(data) for path, data in sorted(files.items())}
    manifest = msgspec.structs.replace(manifest, files=named)
    check(manifest)
    text = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1)
    return _write_folder(target, text, files)


def copy(bundle: Bundle, target: Path) -> Bundle:
    """Write the same bundle, with the same digest, as a folder; return it opened.

    Raises:
        HashMismatch: A file changed since `bundle` was opened.
        ConfigError: The folder cannot be written.
    """
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    return _write_folder(target, bundle.manifest_bytes, files)


def _write_folder(target: Path, text: bytes, files: Mapping[str, bytes]) -> Bundle:
    """Write everything beside `target`, then put it in place."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=".new-"))
        try:
            for path, data in {**files, MANIFEST_NAME: text}.items():
                (staging / path).parent.mkdir(parents=True, exist_ok=True)
                (staging / path).write_bytes(data)
            staging.chmod(0o755)
            swap_in(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            f"cannot write the bundle {target}: {error.strerror}",
            operator_hint="Choose a folder that you may write to with --models-dir, and see that "
            "the disk is not full.",
        ) from error
    return Bundle.open(target)


def swap_in(staging: Path, target: Path) -> None:
    """Put a finished folder in the place of `target`; a reader never sees half of either."""
    if not target.exists():
        staging.rename(target)
        return
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=".old-"))
    target.rename(old / target.name)
    staging.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def pack(bundle: Bundle, target: Path) -> None:
    """Write `bundle` as one `.vbundle` file: same bundle, same bytes.

    Raises:
        ConfigError: The file cannot be written.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        with tarfile.open(part, "w:", format=tarfile.USTAR_FORMAT) as archive:
            _append(archive, MANIFEST_NAME, bundle.manifest_bytes)
            for name in sorted(bundle.manifest.files):
                _append(archive, name, bundle.read(name))
        part.replace(target)
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}") from error


def _append(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add one file without date or owner."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = 0o644
    archive.addfile(member, io.BytesIO(data))
