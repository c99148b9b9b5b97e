"""What has to change so that this machine runs a device for good. Pure: facts in, steps out.

A step names what is to be true afterwards. What is true already is not a step, so a second run has
none and a run after an upgrade has only what the upgrade changed.
"""

import re
from pathlib import Path
from typing import Final

import msgspec

from vedette.edge.install import unit
from vedette.edge.settings import EdgeConfig
from vedette.errors import ConfigError

UNIT: Final = Path("/etc/systemd/system/vedette-edge.service")
WATCHDOG: Final = Path("/etc/systemd/system.conf.d/10-vedette-watchdog.conf")
CONFIG: Final = Path("/etc/vedette/edge.yaml")
SERVICE: Final = "vedette-edge.service"
LAUNCHER: Final = Path("/usr/local/lib/vedette/launch.py")
DOOR: Final = Path("/etc/systemd/system/vedette-system.service")
DOOR_PATH: Final = Path("/etc/systemd/system/vedette-system.path")
TUF_ROOT: Final = Path("/etc/vedette/tuf-root.json")
WRITTEN: Final = (CONFIG, UNIT, WATCHDOG, LAUNCHER, DOOR, DOOR_PATH, TUF_ROOT)
"""Every file that an installation may write."""

_HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - what the unit hides
_LEAST_DEPTH: Final = 3  # as /srv/vedette
_SHARED: Final = frozenset(
    Path(name)
    for name in ("/var/lib", "/var/cache", "/var/log", "/usr/lib", "/usr/local", "/opt/bin")
)
_ACCOUNT: Final = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_SPECIAL: Final = '\n\r"'


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """How the machine is.

    Attributes:
        files: Text of those files that are there, by path; None: there, but not readable text.
        folders: Owner and mode of those folders that are there.
        has_user: True where the account exists.
        groups: Groups of the machine that a device can use.
        running: True where systemd is this machine's service manager now.
        enabled, active: Of the service, where it runs.
    """

    files: dict[Path, str | None] = {}
    folders: dict[Path, tuple[str, int]] = {}
    has_user: bool = False
    groups: tuple[str, ...] = ()
    running: bool = True
    enabled: bool = False
    active: bool = False


class MakeUser(msgspec.Struct, frozen=True, tag="user"):
    """An account without a shell, a password or a home."""

    name: str

    def words(self) -> str:
        """Return the step as a sentence."""
        return f"make the account {self.name}"


class MakeFolder(msgspec.Struct, frozen=True, tag="folder"):
    """A folder of this owner and mode; what lies in it is given to the owner, too."""

    path: Path
    owner: str
    mode: int

    def words(self) -> str:
        """Return the step as a sentence."""
        return f"have {self.path} belong to {self.owner} ({self.mode:o})"


class WriteFile(msgspec.Struct, frozen=True, tag="file"):
    """A file with this text; `group` may read it where `mode` says so."""

    path: Path
    text: str
    mode: int
    group: str = ""
    is_secret: bool = False

    def words(self) -> str:
        """Return the step as a sentence."""
        return f"write {self.path}"


class Systemctl(msgspec.Struct, frozen=True, tag="systemctl"):
    """One call of systemctl."""

    arguments: tuple[str, ...]

    def words(self) -> str:
        """Return the step as a sentence."""
        return f"systemctl {' '.join(self.arguments)}"


Step = MakeUser | MakeFolder | WriteFile | Systemctl


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator wants.

    Attributes:
        config: As read from `config_text`, paths absolute.
        config_text: The file that was given; it becomes `/etc/vedette/edge.yaml`.
        config_at: Where it lay: relative paths in it speak of that folder.
        program: The `vedette` command that the service runs.
        start: Start it now and at every boot.
        python: The interpreter beside `program`; None: the program is started without a launcher,
            and cannot be updated.
        has_pip: The environment of `program` can install others: updates of the program need that.
        launcher_text: What `launch.py` holds.
        tuf_root: Root metadata that this device pinned; empty: it has none yet.
    """

    config: EdgeConfig
    config_text: str
    config_at: Path
    program: Path
    user: str = "vedette"
    hardware_watchdog: bool = False
    start: bool = True
    python: Path | None = None
    has_pip: bool = True
    launcher_text: str = ""
    tuf_root: str = ""


def decide(wish: Wish, facts: Facts) -> list[Step]:
    """Return the steps, in order; empty where everything is as wished.

    Raises:
        ConfigError: The service could not work like this; says what to put where.
    """
    _refuse(wish)
    steps: list[Step] = []
    if not facts.has_user:
        steps.append(MakeUser(wish.user))
    writes = tuple(dict.fromkeys((wish.config.state_dir, wish.config.models_dir)))
    steps += [
        MakeFolder(path, wish.user, 0o700)
        for path in writes
        if facts.folders.get(path) != (wish.user, 0o700)
    ]
    groups = tuple(name for name in ("video", "render") if name in facts.groups)
    files = [
        WriteFile(CONFIG, wish.config_text, 0o640, group=wish.user, is_secret=True),
        WriteFile(
            UNIT,
            unit.service(
                program=wish.program,
                config=CONFIG,
                user=wish.user,
                writes=writes,
                groups=groups,
                launcher=_launcher(wish),
            ),
            0o644,
        ),
    ]
    if wish.python is not None:
        files.insert(0, WriteFile(LAUNCHER, wish.launcher_text, 0o644))
    files += _door(wish)
    if wish.hardware_watchdog:
        files.append(WriteFile(WATCHDOG, unit.hardware_watchdog(), 0o644))
    changed = [file for file in files if facts.files.get(file.path) != file.text]
    steps += changed
    return steps + _service_steps(wish, facts, changed)


def shortcomings(wish: Wish) -> list[str]:
    """Return what rollouts will not be able to update on this device, and what to do about it."""
    said: list[str] = []
    if wish.config.central is None:
        return said
    if wish.python is None:
        said.append(
            f"rollouts cannot update the program: {wish.program} lies in no virtual environment of"
            " its own (python3 -m venv /opt/vedette)"
        )
    elif not wish.has_pip:
        said.append(
            f"rollouts cannot update the program: the environment of {wish.program} has no pip"
            f" ({wish.python} -m ensurepip)"
        )
    adapter = wish.config.system.adapter
    if adapter in {"apt", "command"} and not wish.tuf_root:
        said.append(
            f"rollouts cannot update the system by {adapter}: this device trusts no repository yet;"
            " enrol it or `vedette edge trust-root`, and install again"
        )
    return said


def _launcher(wish: Wish) -> tuple[Path, ...]:
    if wish.python is None:
        return ()
    return wish.python, LAUNCHER, wish.config.state_dir / "program"


def _door(wish: Wish) -> list[WriteFile]:
    """Return what root's half of the door needs, where this device updates its system."""
    if wish.config.system.adapter == "none":
        return []
    request = wish.config.state_dir / "system" / "request.json"
    files = [
        WriteFile(DOOR, unit.door(program=wish.program, config=CONFIG), 0o644),
        WriteFile(DOOR_PATH, unit.door_path(request=request), 0o644),
    ]
    if wish.tuf_root:
        files.append(WriteFile(TUF_ROOT, wish.tuf_root, 0o644))
    return files


def _service_steps(wish: Wish, facts: Facts, changed: list[WriteFile]) -> list[Step]:
    """Return what systemd has to be told, where it runs here."""
    steps: list[Step] = []
    if not facts.running:
        return steps
    if any(file.path in {UNIT, WATCHDOG, DOOR, DOOR_PATH} for file in changed):
        steps.append(Systemctl(("daemon-reload",)))
    if any(file.path == DOOR_PATH for file in changed):
        steps.append(Systemctl(("enable", "--now", DOOR_PATH.name)))
    changed = [file for file in changed if file.path not in {DOOR, DOOR_PATH, TUF_ROOT}]
    if wish.start and not facts.enabled:
        steps.append(Systemctl(("enable", SERVICE)))
    if wish.start and not facts.active:
        steps.append(Systemctl(("start", SERVICE)))
    elif wish.start and changed:  # only then: a restart is a gap of seconds
        steps.append(Systemctl(("restart", SERVICE)))
    return steps


def decide_removal(facts: Facts) -> list[Step | Path]:
    """Return steps and files to remove: the service goes, everything recorded stays."""
    found: list[Step | Path] = []
    if facts.running and UNIT in facts.files:
        found.append(Systemctl(("disable", "--now", SERVICE)))
    if facts.running and DOOR_PATH in facts.files:
        found.append(Systemctl(("disable", "--now", DOOR_PATH.name)))
    units = (UNIT, WATCHDOG, LAUNCHER, DOOR, DOOR_PATH)
    found += [path for path in units if path in facts.files]
    if facts.running and found:
        found.append(Systemctl(("daemon-reload",)))
    return found


def _refuse(wish: Wish) -> None:
    """Raise `ConfigError` for what the unit could not run."""
    if not _ACCOUNT.fullmatch(wish.user):
        raise ConfigError(
            f"{wish.user[:40]!r} cannot name an account",
            operator_hint="a-z 0-9 _ - and a letter first, 31 at most",
        )
    for what, path in (("the program", wish.program), *_paths(wish.config)):
        text = str(path)
        if any(c in text for c in _SPECIAL):
            raise ConfigError(f"{what} has a line break or a quote in its path: {text!r}")
        hidden = next((top for top in _HIDDEN if path.is_relative_to(top)), None)
        if hidden is not None:
            raise ConfigError(
                f"{what} lies in {hidden}, which the service cannot see: {path}",
                operator_hint="install the program below /opt/vedette and keep state_dir and "
                "models_dir below /var/lib/vedette",
            )
    for what, path in _paths(wish.config):
        if len(path.parts) < _LEAST_DEPTH or path in _SHARED:
            raise ConfigError(
                f"{what} is {path}, which is not Vedette's alone",
                operator_hint="give it a folder of its own, such as /var/lib/vedette",
            )
    if wish.config_at != CONFIG and _has_relative_paths(wish):
        raise ConfigError(
            "edge.yaml has relative paths, which mean another place once it lies in /etc/vedette",
            operator_hint="write state_dir, models_dir, files and token files as absolute paths",
        )


def _paths(config: EdgeConfig) -> list[tuple[str, Path]]:
    return [("state_dir", config.state_dir), ("models_dir", config.models_dir)]


def _has_relative_paths(wish: Wish) -> bool:
    """True where the same text read at `/etc/vedette` would name other files."""
    base = wish.config_at.parent
    return any(
        path.is_relative_to(base) and str(path) not in wish.config_text
        for _, path in _paths(wish.config)
    )
