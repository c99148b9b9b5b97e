"""Which account PostgreSQL runs as: it refuses root, and must reach its files all the same."""

import logging
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vedette.errors import ConfigError

_log = logging.getLogger(__name__)

_NAMES: Final = ("vedette", "postgres")
_USERADD_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs the database server."""

    name: str
    uid: int
    gid: int

    @property
    def is_current(self) -> bool:
        """True where this process already is that account."""
        return self.uid == os.geteuid()

    @property
    def become_uid(self) -> int | None:
        """What a child process changes to; None where nothing has to change."""
        return None if self.is_current else self.uid

    @property
    def become_gid(self) -> int | None:
        """As `become_uid`, for the group."""
        return None if self.is_current else self.gid

    @property
    def become_groups(self) -> list[int] | None:
        """As `become_uid`: none of root's further groups are kept."""
        return None if self.is_current else []

    def own(self, path: Path) -> None:
        """Give `path` to this account."""
        if not self.is_current:
            os.chown(path, self.uid, self.gid)


def choose() -> Account:
    """Return the current account, or an unprivileged one where this process is root.

    Raises:
        ConfigError: Root, and not even `nobody` exists.
    """
    if os.geteuid() != 0:
        entry = pwd.getpwuid(os.geteuid())
        return Account(entry.pw_name, os.geteuid(), os.getegid())
    for name in _NAMES:
        found = _find(name)
        if found:
            return found
    made = _make("vedette") or _find("nobody")
    if made is None:
        raise ConfigError(
            "the database does not run as root and no other account is there",
            operator_hint="run central as another user, or create one named vedette",
        )
    return made


def _find(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _make(name: str) -> Account | None:
    """Create a system account without a login where this machine lets us."""
    useradd = shutil.which("useradd")
    if useradd is None:
        return None
    line = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
    try:
        subprocess.run(line, check=True, capture_output=True, timeout=_USERADD_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("no account created", extra={"event": "store.no_account", "why": str(error)})
        return None
    return _find(name)


def can_enter(folder: Path, account: Account) -> Path | None:
    """Return None where `account` can reach `folder`, else the first folder that stops it."""
    if account.is_current:
        return None
    resolved = folder.resolve()
    for step in (*reversed(resolved.parents), resolved):
        facts = step.stat()
        if facts.st_uid == account.uid:
            allowed = facts.st_mode & stat.S_IXUSR
        elif facts.st_gid == account.gid:
            allowed = facts.st_mode & stat.S_IXGRP
        else:
            allowed = facts.st_mode & stat.S_IXOTH
        if not allowed:
            return step
    return None
