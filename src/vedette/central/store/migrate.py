"""Migrations: files `NNNN_name.pre.sql` (before the new code runs) and `.post.sql` (after).

Each runs once, in its own transaction, in order, under one advisory lock, so that several
starting processes do not race. A file that already ran must not change: its hash is kept.
"""

import hashlib
import logging
import re
from importlib import resources
from typing import Final

import psycopg

from vedette.errors import ConfigError, StoreError

_log = logging.getLogger(__name__)

_FILE: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.(pre|post)\.sql")
_LOCK_KEY: Final = 0x7665_6465_7474_6501  # "vedette", 1
_TABLE: Final = b"""
CREATE TABLE IF NOT EXISTS schema_versions (
    name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
"""


def files() -> list[tuple[str, str]]:
    """Return `(name, sql)` of every migration in the order in which they run."""
    folder = resources.files("vedette.central.store") / "migrations"
    found: list[tuple[int, int, str, str]] = []
    for file in folder.iterdir():
        match = _FILE.fullmatch(file.name)
        if match:
            phase = ("pre", "post").index(match[3])
            found.append((phase, int(match[1]), file.name, file.read_text(encoding="utf-8")))
    return [(name, text) for _, _, name, text in sorted(found)]


async def migrate(conninfo: str) -> list[str]:
    """Bring the database to this version of the code; return the names of what ran.

    Raises:
        ConfigError: A migration that already ran has changed, or the database is newer.
        StoreError: The database failed.
    """
    ran: list[str] = []
    try:
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
            await connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK_KEY,))
            await connection.execute(_TABLE)
            cursor = await connection.execute("SELECT name, sha256 FROM schema_versions")
            applied = {str(name): str(sha256) for name, sha256 in await cursor.fetchall()}
            known = files()
            _refuse_newer(set(applied) - {name for name, _ in known})
            for name, text in known:
                sha256 = hashlib.sha256(text.encode()).hexdigest()
                if name in applied:
                    _refuse_changed(name, applied[name], sha256)
                    continue
                async with connection.transaction():
                    await connection.execute(text.encode())
                    await connection.execute(
                        "INSERT INTO schema_versions (name, sha256) VALUES (%s, %s)", (name, sha256)
                    )
                ran.append(name)
                _log.info("migration applied", extra={"event": "store.migrated", "name_": name})
    except psycopg.Error as error:
        raise StoreError(
            f"migration failed: {str(error).strip()}",
            operator_hint="check VEDETTE_DATABASE_URL, and that its account owns the database",
        ) from error
    return ran


def _refuse_newer(unknown: set[str]) -> None:
    if unknown:
        raise ConfigError(
            f"the database was written by a newer version: {', '.join(sorted(unknown))}",
            operator_hint="run the newer version, or restore a backup from before the upgrade",
        )


def _refuse_changed(name: str, applied: str, sha256: str) -> None:
    if applied != sha256:
        raise ConfigError(
            f"migration {name} changed after it ran",
            operator_hint="this database was made by another build, between releases: go on with"
            " that build, or begin a new state directory (whoever develops: add a migration"
            " instead of editing one)",
        )
