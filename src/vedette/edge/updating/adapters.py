"""How a machine's own update tool is spoken to: RAUC, Mender, apt, or commands of the operator.

Each is a handful of argument lists, never a shell, bounded in time and output. What they do needs
the machine's root: they run behind the door (`edge.updating.door`), the agent itself runs none of
them but `examine`. The rule: each call may be made again after a power cut in the middle of it.

    rauc      writes the other slot; the boot loader counts attempts and falls back by itself
    mender    the same, with `mender-update` in its standalone mode
    apt       packages, `edge.updating.packages`; no slots: it goes back by installing the old ones
    command   whatever the operator wrote into edge.yaml

Source: rauc(1), RAUC's documentation "Using RAUC"; `mender-update --help` (exit statuses: 2 nothing
in progress, 4 installed and a reboot is needed).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from vedette.edge.settings import SystemCommands, SystemSettings
from vedette.edge.updating import tool
from vedette.edge.updating.packages import Apt
from vedette.errors import ConfigError

ASK_S: Final = 60.0
_MENDER_NOTHING: Final = 2
_MENDER_REBOOT: Final = 4


class Adapter(Protocol):
    """One tool. A failure is raised as a `ConfigError` with the tool's own words."""

    def examine(self, file: Path) -> None:
        """Refuse a file that is not for this tool and machine, as far as can be seen; unprivileged."""  # noqa: E501
        ...

    def install(self, file: Path, kept: Path) -> bool:
        """Have it installed; return whether the machine must boot for it to run.

        Args:
            file: In a folder that only root writes.
            kept: Such a folder, for what going back will need.
        """
        ...

    def running(self) -> str:
        """Return a name of what runs, that differs between old and new; empty: no such name."""
        ...

    def keep(self) -> None:
        """Make final what runs."""
        ...

    def take_back(self, was: str, kept: Path) -> bool:
        """Have what ran as `running` said `was` run again; return whether that needs a boot."""
        ...


def adapter_of(settings: SystemSettings) -> Adapter | None:
    """Return the adapter that the device's own configuration names."""
    match settings.adapter:
        case "rauc":
            return Rauc(limit_s=settings.limit_s)
        case "mender":
            return Mender(limit_s=settings.limit_s)
        case "apt":
            return Apt(limit_s=settings.limit_s)
        case "command":
            return Command(settings.commands, limit_s=settings.limit_s)
        case _:
            return None


def say(argv: Sequence[str], limit_s: float, *, fine: Sequence[int] = (0,)) -> tool.Ended:
    """Run a tool; what it said.

    Raises:
        ConfigError: Its status is none of `fine`.
    """
    ended = tool.call(argv, limit_s=limit_s)
    if ended.status not in fine:
        raise ConfigError(
            f"{' '.join(argv)[:200]}: {ended.why()}",
            operator_hint=f"run it by hand on the device: {argv[0]}",
        )
    return ended


class Rauc:
    """RAUC: bundles signed for this machine's keyring, two slots, a boot loader that counts."""

    def __init__(self, *, limit_s: float = 3600.0, rauc: Sequence[str] = ("rauc",)) -> None:
        """Take the command; options such as another configuration come after it."""
        self._limit_s: Final = limit_s
        self._rauc: Final = list(rauc)

    def examine(self, file: Path) -> None:
        """Refuse a bundle without a valid signature, or for other hardware.

        Raises:
            ConfigError: Either, with RAUC's words.
        """
        self._json("info", "--output-format=json", str(file))

    def install(self, file: Path, kept: Path) -> bool:  # noqa: ARG002
        """Write the other slot, and have it started at the next boot.

        Raises:
            ConfigError: RAUC refused.
        """
        say([*self._rauc, "install", str(file)], self._limit_s)
        return True

    def running(self) -> str:
        """Return the slot that was booted.

        Raises:
            ConfigError: RAUC cannot tell.
        """
        booted = self._json("status", "--output-format=json").get("booted")
        if not isinstance(booted, str) or not booted:
            raise ConfigError(
                "RAUC does not know which slot was booted",
                operator_hint="its system.conf, or the kernel's rauc.slot=, does not say it",
            )
        return booted

    def keep(self) -> None:
        """Tell the boot loader that the booted slot is good.

        Raises:
            ConfigError: RAUC refused.
        """
        say([*self._rauc, "status", "mark-good", "booted"], ASK_S)

    def take_back(self, was: str, kept: Path) -> bool:  # noqa: ARG002
        """Have the boot loader start the slot of before.

        Raises:
            ConfigError: RAUC refused.
        """
        is_new = self.running() != was
        bad, good = ("booted", "other") if is_new else ("other", "booted")
        say([*self._rauc, "status", "mark-bad", bad], ASK_S)
        say([*self._rauc, "status", "mark-active", good], ASK_S)
        return is_new

    def _json(self, *arguments: str) -> dict[str, Any]:
        said = say([*self._rauc, *arguments], ASK_S).said
        for line in reversed(said.splitlines()):  # warnings of GLib may stand before it
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                return found
        raise ConfigError(f"rauc {arguments[0]} gave no JSON", operator_hint="update RAUC to 1.5")


class Mender:
    """Mender's client in standalone mode; artefacts are verified by its own key, if it has one."""

    def __init__(self, *, limit_s: float = 3600.0, mender: str = "mender-update") -> None:
        """Take the command."""
        self._limit_s: Final = limit_s
        self._mender: Final = mender

    def examine(self, file: Path) -> None:
        """Refuse what does not begin as a Mender artefact does: a tar whose first file is `version`.

        Raises:
            ConfigError: It does not.
        """  # noqa: E501
        with file.open("rb") as opened:
            if opened.read(8) != b"version\0":
                raise ConfigError("no Mender artefact", operator_hint="assign a .mender file")

    def install(self, file: Path, kept: Path) -> bool:  # noqa: ARG002
        """Write the other root file system.

        Raises:
            ConfigError: Mender refused.
        """
        argv = [self._mender, "install", "--reboot-exit-code", str(file)]
        return say(argv, self._limit_s, fine=(0, _MENDER_REBOOT)).status == _MENDER_REBOOT

    def running(self) -> str:
        """Return the artefact's name as the running system says it.

        Raises:
            ConfigError: Mender cannot tell.
        """
        return say([self._mender, "show-artifact"], ASK_S).said.strip()[-200:]

    def keep(self) -> None:
        """Commit; committed before is fine.

        Raises:
            ConfigError: Mender refused.
        """
        say([self._mender, "commit"], ASK_S, fine=(0, _MENDER_NOTHING))

    def take_back(self, was: str, kept: Path) -> bool:  # noqa: ARG002
        """Roll back; nothing in progress is fine.

        Raises:
            ConfigError: Mender refused.
        """
        is_new = self.running() != was
        say([self._mender, "rollback"], self._limit_s, fine=(0, _MENDER_NOTHING))
        return is_new


class Command:
    """Commands that the operator wrote into the device's own edge.yaml."""

    def __init__(self, commands: SystemCommands, *, limit_s: float = 3600.0) -> None:
        """Take them.

        Raises:
            ConfigError: The two that are needed are missing.
        """
        if not commands.install or not commands.take_back:
            raise ConfigError(
                "system.commands needs `install` and `take_back`",
                operator_hint="write both as lists: [program, argument, {file}]",
            )
        self._commands: Final = commands
        self._limit_s: Final = limit_s

    def examine(self, file: Path) -> None:
        """Refuse what the operator's own check refuses.

        Raises:
            ConfigError: With its words.
        """
        if self._commands.examine:
            self._say(self._commands.examine, file)

    def install(self, file: Path, kept: Path) -> bool:  # noqa: ARG002
        """Run `install`.

        Raises:
            ConfigError: It failed.
        """
        self._say(self._commands.install, file)
        return self._commands.needs_boot

    def running(self) -> str:
        """Return what `running` says.

        Raises:
            ConfigError: It failed.
        """
        asked = self._commands.running
        return self._say(asked, None).said.strip()[-200:] if asked else ""

    def keep(self) -> None:
        """Run `keep`.

        Raises:
            ConfigError: It failed.
        """
        if self._commands.keep:
            self._say(self._commands.keep, None)

    def take_back(self, was: str, kept: Path) -> bool:  # noqa: ARG002
        """Run `take_back`; what runs already needs no boot.

        Raises:
            ConfigError: It failed.
        """
        running = self.running()
        self._say(self._commands.take_back, None)
        return self._commands.needs_boot and not (running and running == was)

    def _say(self, argv: Sequence[str], file: Path | None) -> tool.Ended:
        words = [str(file) if file and word == "{file}" else word for word in argv]
        return say(words, self._limit_s)
