"""Central in one file, and back: a consistent dump beside a running central, and its key.

    backup.json      what this is: versions, when, and the hash of each part
    online.key       central's own key, by which devices know it
    releases-….key   its two keys of the repository of updates, where it has them
    database.dump    pg_dump's custom format
    releases/<hash>  files of the repository, where they are asked for

The database's own password is not in it: another machine makes its own. The rule: a backup is whole
or not there; a restore happens in one transaction, so that it is done or nothing has changed. The
file can impersonate central: it is written with mode 0600 and should be kept like a key.

Thread: the caller's; it blocks for as long as the database is large.
"""

import contextlib
import hashlib
import os
import pwd
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from vedette import __version__
from vedette.central.store import cluster, migrate
from vedette.central.store.account import Account
from vedette.errors import ConfigError, StoreError

MANIFEST: Final = "backup.json"
KEY: Final = "online.key"
DUMP: Final = "database.dump"
RELEASE_KEYS: Final = ("releases-snapshot.key", "releases-timestamp.key")
FILES: Final = "releases/"
FORMAT: Final = 2
APPLICATION: Final = "vedette-central"
"""How a running central is called among the database's connections (`store.db`)."""

_SMALL_BYTES: Final = 64 * 1024
_MANIFEST_BYTES: Final = 8 * 1024 * 1024
_CHUNK_BYTES: Final = 1024 * 1024
_FILE: Final = re.compile(r"releases/[0-9a-f]{64}")
_LOCK_WAIT: Final = "10s"
_EMPTY_IT: Final = f"""
BEGIN;
SET LOCAL lock_timeout = '{_LOCK_WAIT}';
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
"""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself.

    Attributes:
        sha256: Of each other part, by name, in hexadecimal.
        migrations: Those that the database had run.
    """

    format: int
    version: str
    made_ms: int
    migrations: list[str]
    sha256: dict[str, str]


def make(
    conninfo: str,
    key: bytes,
    target: Path,
    *,
    made_ms: int,
    release_keys: Mapping[str, bytes] | None = None,
    files: Callable[[], Mapping[str, Path]] = dict,
) -> Manifest:
    """Have everything that central knows at this moment in `target`.

    Args:
        conninfo: Of its database.
        key: Its own.
        target: The file, which is not there yet.
        made_ms: Now.
        release_keys: By names out of `RELEASE_KEYS`.
        files: Gives where files of the repository lie, by hash; asked once the dump is made, so
            that what it names is here.

    Raises:
        ConfigError: The file is there already, or cannot be written.
        StoreError: The database refuses.
    """
    if target.exists():
        raise ConfigError(f"{target} is there already", operator_hint="choose another name")
    try:
        with tempfile.TemporaryDirectory(prefix=".vedette-backup-", dir=target.parent) as scratch:
            folder = Path(scratch)
            applied = _applied(conninfo)
            _dump(conninfo, folder / DUMP)
            small = {KEY: key, **(release_keys or {})}
            for name, data in small.items():
                (folder / name).write_bytes(data)
            kept = {f"{FILES}{sha256}": path for sha256, path in files().items()}
            manifest = Manifest(
                format=FORMAT,
                version=__version__,
                made_ms=made_ms,
                migrations=applied,
                sha256={name: _hash(folder / name) for name in (*small, DUMP)}
                | {name: name.removeprefix(FILES) for name in kept},
            )
            (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
            whole = folder / "whole.tar"
            _pack(folder, _parts(manifest), kept, whole)
            whole.replace(target)
    except OSError as error:
        raise ConfigError(
            f"cannot write {target}: {error.strerror or error}",
            operator_hint="choose a folder with room, that this account may write",
        ) from error
    return manifest


@contextlib.contextmanager
def opened(source: Path) -> Iterator[tuple[Manifest, Path]]:
    """Give what a backup says of itself and a folder with its parts, checked, for a while.

    Raises:
        ConfigError: Not a backup, damaged, or from a newer version.
    """
    with tempfile.TemporaryDirectory(prefix="vedette-restore-") as scratch:
        folder = Path(scratch)
        try:
            manifest = _unpack(source, folder)
        except (OSError, tarfile.TarError, EOFError, msgspec.DecodeError) as error:
            raise _broken(source, str(error)) from error
        for name in _parts(manifest)[1:]:
            if manifest.sha256.get(name) != _hash(folder / name):
                raise _broken(source, f"{name} is not what was written")
        newer = set(manifest.migrations) - {name for name, _ in migrate.files()}
        if manifest.format > FORMAT or newer:
            raise ConfigError(
                f"{source} was written by version {manifest.version}, newer than this one",
                operator_hint=f"restore it with version {manifest.version}",
            )
        yield manifest, folder


def restore(conninfo: str, folder: Path) -> None:
    """Have exactly what the dump in `folder` holds in the database, or what was there before.

    Raises:
        StoreError: The database refuses; nothing has changed.
    """
    tools = _tools()
    line, environment = _connect_line(conninfo, str(tools / "psql"))
    line += ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", os.devnull]
    script = [str(tools / "pg_restore"), "--schema=public", "--no-owner", "--no-privileges"]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            [*script, "-f", "-", str(folder / DUMP)],
            stdout=subprocess.PIPE,
            stderr=said,
            env=cluster.environment(),
        ) as reading,
        subprocess.Popen(line, stdin=subprocess.PIPE, stderr=said, env=environment) as writing,
    ):
        assert reading.stdout is not None
        assert writing.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            writing.stdin.write(_EMPTY_IT.encode())
            while chunk := reading.stdout.read(_CHUNK_BYTES):
                writing.stdin.write(chunk)
            # The end of the script alone says nothing: a reader that died ends it as well.
            if reading.wait() == 0:
                writing.stdin.write(b"\nCOMMIT;\n")
        with contextlib.suppress(BrokenPipeError):
            writing.stdin.close()
        reading.stdout.close()
        if reading.wait() or writing.wait():
            said.seek(0)
            text = said.read()[-2000:].decode(errors="replace").strip()
            raise StoreError(
                f"the backup was not restored and nothing has changed: {text}",
                operator_hint="stop every program that uses this database, then try again",
            )


def in_use(conninfo: str) -> list[str]:
    """Return in words why this database should not be replaced without being asked twice.

    Raises:
        ConfigError: A central is connected to it: that must be stopped first.
        StoreError: The database does not answer.
    """
    try:
        with psycopg.connect(conninfo, connect_timeout=10) as db:
            connected = db.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = %s",
                (APPLICATION,),
            ).fetchone()
            if connected and connected[0]:
                raise ConfigError(
                    "a central is connected to this database",
                    operator_hint="stop it first: vedette central restore replaces everything",
                )
            found: list[str] = []
            for table in ("sites", "devices", "users", "reports"):
                known = db.execute("SELECT to_regclass(%s)", (f"public.{table}",)).fetchone()
                if known is None or known[0] is None:
                    continue
                counted = db.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
                if counted and counted[0]:
                    found.append(f"{counted[0]} {table}")
            return found
    except psycopg.Error as error:
        raise StoreError(f"the database does not answer: {error}") from error


# ----------------------------------------------------------------------------------- the parts


def _applied(conninfo: str) -> list[str]:
    try:
        with psycopg.connect(conninfo, connect_timeout=10) as db:
            rows = db.execute("SELECT name FROM schema_versions ORDER BY name").fetchall()
    except psycopg.Error as error:
        raise StoreError(f"the database does not answer: {error}") from error
    return [str(row[0]) for row in rows]


def _dump(conninfo: str, path: Path) -> None:
    line, environment = _connect_line(conninfo, str(_tools() / "pg_dump"))
    path.touch(mode=0o600)
    done = subprocess.run(
        [*line, "--format=custom", "--no-owner", "--no-privileges", f"--file={path}"],
        env=environment,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        text = done.stderr.decode(errors="replace")[-2000:].strip()
        raise StoreError(f"the database cannot be dumped: {text}")


def _tools() -> Path:
    """Return the folder of the programs that come with the embedded PostgreSQL."""
    ours = Account(pwd.getpwuid(os.geteuid()).pw_name, os.geteuid(), os.getegid())
    return cluster.find_install(Path(), ours) / "bin"


def _connect_line(conninfo: str, program: str) -> tuple[list[str], dict[str, str]]:
    """Return a command line and its environment: a password stands in no list of processes."""
    parts = conninfo_to_dict(conninfo)
    password = parts.pop("password", None)
    environment = cluster.environment()
    if password:
        environment["PGPASSWORD"] = str(password)
    else:  # an operator's own ways to give one
        environment |= {k: v for k, v in os.environ.items() if k in {"PGPASSFILE", "HOME"}}
    return [program, "--no-password", f"--dbname={make_conninfo('', **parts)}"], environment


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def release_files(manifest: Manifest, folder: Path) -> list[tuple[str, Path]]:
    """Return the files of the repository in an opened backup: hash, and where it lies."""
    return [
        (name.removeprefix(FILES), folder / name)
        for name in _parts(manifest)
        if name.startswith(FILES)
    ]


def _parts(manifest: Manifest) -> list[str]:
    """Return the names of all parts, in the order in which they stand in the archive."""
    keys = [name for name in RELEASE_KEYS if name in manifest.sha256]
    files = sorted(
        name
        for name, sha256 in manifest.sha256.items()
        if _FILE.fullmatch(name) and name == f"{FILES}{sha256}"
    )
    return [MANIFEST, KEY, *keys, DUMP, *files]


def _pack(folder: Path, parts: Sequence[str], elsewhere: Mapping[str, Path], target: Path) -> None:
    with (
        os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as packed,
    ):
        for name in parts:
            path = elsewhere.get(name, folder / name)
            facts = packed.gettarinfo(path, arcname=name)
            facts.mode, facts.uid, facts.gid, facts.uname, facts.gname = 0o600, 0, 0, "", ""
            with path.open("rb") as part:
                packed.addfile(facts, part)
        packed.close()
        file.flush()
        os.fsync(file.fileno())


def _unpack(source: Path, folder: Path) -> Manifest:
    """Write the parts, by our names and never by the archive's; a surplus part is a refusal."""
    with tarfile.open(source, mode="r:") as packed:
        _unpack_part(source, packed, MANIFEST, folder, _MANIFEST_BYTES)
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
        parts = _parts(manifest)
        if set(manifest.sha256) - set(parts):
            raise _broken(source, "it names parts that no backup has")
        (folder / FILES).mkdir()
        for name in parts[1:]:
            is_large = name == DUMP or name.startswith(FILES)
            _unpack_part(source, packed, name, folder, None if is_large else _SMALL_BYTES)
        if packed.next() is not None:
            raise _broken(source, "there is more in it than a backup has")
    return manifest


def _unpack_part(
    source: Path, packed: tarfile.TarFile, name: str, folder: Path, most: int | None
) -> None:
    member = packed.next()
    if member is None or member.name != name or not member.isfile():
        raise _broken(source, f"{name} is missing")
    if most is not None and member.size > most:
        raise _broken(source, f"{name} is too large")
    part = packed.extractfile(member)
    assert part is not None
    with (folder / name).open("wb") as file:
        _copy(part, file)


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    while chunk := source.read(_CHUNK_BYTES):
        target.write(chunk)


def _broken(source: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{source} is not a whole backup: {why}",
        operator_hint="take a file that vedette central backup wrote, and compare its size",
    )
