"""Doing what `plan` decided, below a root: `/`, or the root of an image that is being made.

Every path of an image goes through `inside`: a link in it never leads to this machine's own files.
"""

import contextlib
import grp
import os
import pwd
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vedette.edge.install.inside import entry, inside
from vedette.edge.install.plan import (
    SERVICE,
    WRITTEN,
    Facts,
    MakeFolder,
    MakeUser,
    Step,
    Systemctl,
    WriteFile,
)
from vedette.edge.settings import EdgeConfig
from vedette.errors import ConfigError

_PASSWD: Final = Path("/etc/passwd")
_TOOL_S: Final = 120.0
_MAX_FILE_BYTES: Final = 1024 * 1024


def look(config: EdgeConfig, user: str, root: Path) -> Facts:
    """Return how the machine below `root` is."""
    files = {path: _read(inside(root, path)) for path in WRITTEN}
    folders = {
        path: (_owner(inside(root, path), root), inside(root, path).stat().st_mode & 0o777)
        for path in (config.state_dir, config.models_dir)
        if inside(root, path).is_dir()
    }
    running = root == Path("/") and Path("/run/systemd/system").is_dir()
    return Facts(
        files={path: text for path, (there, text) in files.items() if there},
        folders=folders,
        has_user=_has_user(user, root),
        groups=tuple(name for name in ("video", "render") if _has_group(name)),
        running=running,
        enabled=running and _says("is-enabled"),
        active=running and _says("is-active"),
    )


def carry_out(step: Step, root: Path) -> None:
    """Do one step.

    Raises:
        ConfigError: It cannot be done, with what the machine said.
    """
    try:
        if isinstance(step, MakeUser):
            _make_user(step.name, root)
        elif isinstance(step, MakeFolder):
            _make_folder(step, root)
        elif isinstance(step, WriteFile):
            _write(step, root)
        else:
            _systemctl(step)
    except PermissionError as error:
        raise ConfigError(
            f"cannot {step.words()}: {error.strerror}", operator_hint="run it with sudo"
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot {step.words()}: {error.strerror}") from error


def remove(path: Path, root: Path) -> None:
    """Have no such file.

    Raises:
        ConfigError: It cannot be removed.
    """
    try:
        entry(root, path).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot remove {path}: {error.strerror}", operator_hint="run it with sudo"
        ) from error


def _read(path: Path) -> tuple[bool, str | None]:
    """Return (there, text); the text is None where it cannot be read as such."""
    try:
        with path.open("rb") as file:
            return True, file.read(_MAX_FILE_BYTES).decode()
    except FileNotFoundError:
        return False, None
    except (OSError, UnicodeDecodeError):
        return True, None


def _owner(path: Path, root: Path) -> str:
    """Return the name of the owner, among the accounts of `root`."""
    uid = path.stat().st_uid
    if root == Path("/"):
        with contextlib.suppress(KeyError):
            return pwd.getpwuid(uid).pw_name
    else:
        for name, number, _ in _accounts(root):
            if number == uid:
                return name
    return str(uid)


def _accounts(root: Path) -> list[tuple[str, int, int]]:
    """Return name, uid and gid of the accounts of an image; lines that are none are left out."""
    _, text = _read(inside(root, _PASSWD))
    fields = [line.split(":") for line in (text or "").splitlines()]
    return [
        (row[0], int(row[2]), int(row[3]))
        for row in fields
        if len(row) > 3 and row[2].isdigit() and row[3].isdigit()
    ]


def _ids(user: str, root: Path) -> tuple[int, int]:
    """Return uid and gid of an account of `root`: an image has numbers of its own.

    Raises:
        ConfigError: There is no such account.
    """
    if root == Path("/"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(user)
            return entry.pw_uid, entry.pw_gid
    for name, uid, gid in _accounts(root):
        if name == user:
            return uid, gid
    raise ConfigError(f"there is no account {user} in {root / 'etc/passwd'}")


def _has_user(user: str, root: Path) -> bool:
    if root == Path("/"):
        with contextlib.suppress(KeyError):
            pwd.getpwnam(user)
            return True
        return False
    _, text = _read(inside(root, _PASSWD))
    return any(line.startswith(f"{user}:") for line in (text or "").splitlines())


def _has_group(name: str) -> bool:
    with contextlib.suppress(KeyError):
        grp.getgrnam(name)
        return True
    return False


def _make_user(name: str, root: Path) -> None:
    where = [] if root == Path("/") else ["--root", str(root)]
    hint = "run it with sudo" if root == Path("/") or os.geteuid() != 0 else (
        "--root is the root of a whole system, with its etc/passwd and etc/group"
    )  # fmt: skip
    _run(["useradd", *where, "--system", "--user-group", "--no-create-home",
          "--shell", "/usr/sbin/nologin", "--home-dir", "/nonexistent", name], hint)  # fmt: skip


def _make_folder(step: MakeFolder, root: Path) -> None:
    if root == Path("/") and os.geteuid() == 0:
        held = _open_folder(step.path)
    else:
        path = inside(root, step.path)
        path.mkdir(parents=True, exist_ok=True)
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(held, step.mode)
        if os.geteuid() == 0:
            uid, gid = _ids(step.owner, root)
            for _, folders, names, below in os.fwalk(".", dir_fd=held, follow_symlinks=False):
                os.fchown(below, uid, gid)
                for name in (*folders, *names):
                    os.chown(name, uid, gid, dir_fd=below, follow_symlinks=False)
    finally:
        os.close(held)


def _open_folder(path: Path) -> int:
    """Return the folder held open, made where it was not; a link is followed only below root's.

    Why: the account that the service runs as owns some of these folders. Whoever took it over must
    not lead an installation, which is root's, to another place by a link.

    Raises:
        ConfigError: A link that somebody else than root could have put there.
    """
    held = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in path.relative_to("/").parts:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        status = os.fstat(held)
        is_roots = status.st_uid == 0 and not status.st_mode & 0o022
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=held)
            below = os.open(name, flags | (0 if is_roots else os.O_NOFOLLOW), dir_fd=held)
        except NotADirectoryError as error:
            raise ConfigError(
                f"{path}: {name} is a link or a file where only root may have put one",
                operator_hint="find out who put it there before anything is installed again",
            ) from error
        finally:
            os.close(held)
        held = below
    return held


def _write(step: WriteFile, root: Path) -> None:
    """Have the file whole or not at all; nobody else can read it before it has its mode."""
    path = entry(root, step.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(step.text)
        file.flush()
        os.fsync(file.fileno())
    if step.group and os.geteuid() == 0:
        os.chown(scratch, 0, _ids(step.group, root)[1])
    scratch.chmod(step.mode)
    scratch.replace(path)


def _systemctl(step: Systemctl) -> None:
    _run(["systemctl", *step.arguments])


def _says(question: str) -> bool:
    """Return systemd's answer about our service."""
    asked = ["systemctl", question, "--quiet", SERVICE]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(asked, check=False, timeout=_TOOL_S).returncode == 0
    return False


def _run(command: Sequence[str], hint: str = "run it with sudo") -> None:
    """Run a tool of the system.

    Raises:
        ConfigError: It is not there, failed, or took too long; with its words.
    """
    try:
        done = subprocess.run(  # fixed programs, no shell
            command, capture_output=True, text=True, timeout=_TOOL_S, check=False
        )
    except FileNotFoundError as error:
        raise ConfigError(f"this machine has no {command[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{command[0]} did not end within {_TOOL_S:.0f} s") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[:500]
        raise ConfigError(f"{' '.join(command)}: {said}", operator_hint=hint)
