"""The kind `app`: the program itself, installed beside the one that runs and switched by a link.

An artefact becomes a virtual environment in the folder that the updater gave, offline and with
every hash checked, by the interpreter and the pip of the program that the device was installed
with. Activating puts it on trial, moves the link and asks the agent to end: the service manager
starts `edge.install.launch`, which starts the new one. From there on two of them watch: the new
program, which says that it works, and the launcher, which needs no word of it to go back.

    agent          prepare → trial.json → link → ends
    launcher       counts the start → guard → becomes the new agent
    new agent      healthy.json (in time) → proven → settle: the trial is over
    launcher       too many starts, or not healthy in time → link back → verdict.json
    old agent      reads the verdict → reverted

The rule: a program is judged by what it did since it was started, by itself (a report, a pipeline
that beats) and with central, if central answered before the switch.
"""

import contextlib
import fcntl
import os
import platform
import secrets
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from vedette import __version__
from vedette.clock import NS_PER_S, Clock
from vedette.edge.install import launch
from vedette.edge.updating import app_file, archive, proof, tool
from vedette.edge.updating.app_file import AppManifest
from vedette.edge.updating.kinds import Installed, Standing
from vedette.edge.updating.tool import NotNow
from vedette.errors import ConfigError
from vedette.wire.messages import HealthReport
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Artefact

SLOT: Final = "app"
FOLDER: Final = "program"
VENV: Final = "venv"
_PARTS: Final = "parts"
_LOCK: Final = "prepare.lock"

ACTIVATION_S: Final = 900.0
"""The old program ends, the new one is started up to three times: each within this in all."""

_VENV_S: Final = 120.0
_PIP_S: Final = 1800.0
_CHECK_S: Final = 120.0
_LOCK_S: Final = 5.0
_ROOM: Final = 5  # unpacked wheels, installed files and their compiled form, per byte of wheel

At = Callable[[str], None]
"""Told of each step that was done; a test cuts the power there."""


class Program:
    """Where this process was started from, as the launcher said in its environment.

    Attributes:
        folder: Links and trial.
        base: The `vedette` command that the device was installed with.
        own: The environment that this process runs in.
    """

    def __init__(self, folder: Path, base: Path, own: Path) -> None:
        """Take the three paths."""
        self.folder: Final = folder
        self.base: Final = base
        self.own: Final = own

    @classmethod
    def here(cls) -> "Program | None":
        """Return it; None where no launcher started this process: then nothing can be switched."""
        folder = os.environ.get(launch.FOLDER_VARIABLE, "")
        base = os.environ.get(launch.BASE_VARIABLE, "")
        if not folder or not base:
            return None
        return cls(Path(folder), Path(base), Path(sys.prefix))

    @property
    def python(self) -> Path:
        """The interpreter of the installation, which no update touches."""
        return self.base.parent / "python"

    def running(self) -> str:
        """Return the digest of the artefact that this process was installed from."""
        marker = launch.read(self.own / launch.INSTALLED)
        if marker is None and not self._is_base():
            return ""
        return str(marker.get("digest", "")) if marker else f"installation:{__version__}"

    def _is_base(self) -> bool:
        return self.own.resolve() == self.base.parent.parent.resolve()


class AppInstaller:
    """Installs programs. Thread: the updater's."""

    kind: ArtefactKind = ArtefactKind.APP
    activation_s: float = ACTIVATION_S
    keeps_file: bool = True

    def __init__(
        self,
        program: Program,
        effective: Path,
        clock: Clock,
        *,
        report: Callable[[], HealthReport | None],
        leave: Callable[[str], None],
        healthy_s: float = launch.HEALTHY_S,
        at: At = lambda _: None,
    ) -> None:
        """Take over what is there.

        Args:
            program: Where we run.
            effective: The configuration that a new program must be able to read.
            clock: Measures how long central has been silent.
            report: The last health report that this process made; None: it made none yet.
            leave: Ends this process in order; the service manager starts the launcher.
            healthy_s: A new program has to say within this that it works.
            at: Told of each step.
        """
        self._program: Final = program
        self._folder: Final = program.folder
        self._effective: Final = effective
        self._clock: Final = clock
        self._report: Final = report
        self._leave: Final = leave
        self._healthy_s: Final = healthy_s
        self._at: Final = at
        self._began_ns: Final = clock.mono_ns()
        self._is_leaving = False
        with contextlib.suppress(OSError):  # said at the first installation
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def slots(self) -> list[str]:
        """Return the one slot."""
        return [SLOT]

    def space_bytes(self, artefact: Artefact) -> int:
        """Return what an environment made of it takes, at most."""
        return artefact.bytes * _ROOM

    def in_use(self) -> list[str]:
        """Return the folders that the launcher may start something from."""
        links = [launch.named(self._folder, link) for link in (launch.CURRENT, launch.PREVIOUS)]
        return [str(Path(path).parent) for path in (*links, str(self._program.own)) if path]

    # ----------------------------------------------------------------------------- beside it

    def prepare(self, slot: str, artefact: Artefact, file: Path, folder: Path) -> None:  # noqa: ARG002
        """Have a whole, proven environment in `folder`.

        Raises:
            ConfigError: It is no program for this device, pip refused it, or its checks failed.
            NotNow: The disk refused, or an earlier installation still writes.
        """
        manifest = app_file.read(file)
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        why = app_file.why_not(manifest, app_file.state_format(), python, platform.machine())
        if why:
            raise ConfigError(
                f"{manifest.name} {manifest.version}: {why}",
                operator_hint="assign an artefact built for this device and the version it runs",
            )
        try:
            with self._alone() as held:
                self._install(manifest, artefact, file, folder, held)
        except OSError as error:
            raise NotNow(
                f"{folder} cannot be filled: {error.strerror}", operator_hint="make room on disk"
            ) from error

    def _install(
        self, manifest: AppManifest, artefact: Artefact, file: Path, folder: Path, held: int
    ) -> None:
        parts, venv = folder / _PARTS, folder / VENV
        archive.unpack(file, parts)
        self._at("unpacked")
        python = str(self._program.python)
        self._call([python, "-I", "-m", "venv", "--without-pip", str(venv)], _VENV_S, parts, held)
        self._at("environment made")
        self._call(_pip(python, venv, parts), _PIP_S, parts, held)
        self._at("installed")
        for check in manifest.checks:
            words = [str(self._effective) if word == "{config}" else word for word in check]
            self._call([str(venv / "bin" / words[0]), *words[1:]], _CHECK_S, parts, held)
        self._at("checked")
        shutil.rmtree(parts)
        os.sync()  # pip syncs nothing; a marker must not outlive what it vouches for
        self._at("synced")
        launch.write(
            venv / launch.INSTALLED,
            {"digest": artefact.digest, "name": manifest.name, "version": manifest.version},
        )
        self._at("marked")

    def _call(self, argv: list[str], limit_s: float, scratch: Path, held: int) -> None:
        extra = {"PIP_CONFIG_FILE": os.devnull, "TMPDIR": str(scratch), "HOME": str(scratch)}
        ended = tool.call(argv, limit_s=limit_s, extra=extra, folder=scratch, holds=held)
        if ended.status != 0:
            raise ConfigError(
                f"{' '.join(Path(word).name for word in argv[:6])}: {ended.why()}",
                operator_hint="build the artefact with every wheel that the program needs",
            )

    @contextmanager
    def _alone(self) -> Iterator[int]:
        """Hold the lock that pip inherits: one of a dead agent may still be writing."""
        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            end_ns = self._clock.mono_ns() + round(_LOCK_S * NS_PER_S)
            while not _locked(descriptor):
                if self._clock.mono_ns() >= end_ns:
                    raise NotNow("an earlier installation of a program is still writing")
                self._clock.wait(threading.Event(), 0.1)
            yield descriptor
        finally:
            os.close(descriptor)

    # ----------------------------------------------------------------------------- in its place

    def activate(self, wanted: Installed, before: Installed | None) -> None:
        """Have it on trial, and this process end where it is another one.

        Raises:
            ConfigError: The environment is not whole.
            NotNow: The disk refused; nothing was switched.
        """
        if self._is_leaving or self._program.running() == wanted.digest:
            return
        verdict = launch.read(self._folder / launch.VERDICT)
        if verdict and (verdict.get("digest"), verdict.get("outcome")) == (
            wanted.digest,
            "reverted",
        ):
            return  # `standing` says so; trying again is another attempt, after `revert`
        to = _environment(wanted)
        if not launch.is_whole(to):
            raise ConfigError(
                f"the environment of {wanted.digest[:19]} is not whole",
                operator_hint="assign it again: it is then downloaded and installed anew",
            )
        try:
            self._put_on_trial(wanted, to, before)
        except OSError as error:
            raise NotNow(f"the program was not switched: {error.strerror}") from error
        self._go(f"the program changes to {wanted.version or wanted.digest[:19]}")

    def _put_on_trial(self, wanted: Installed, to: str, before: Installed | None) -> None:
        trial = launch.read(self._folder / launch.TRIAL)
        if not trial or trial.get("digest") != wanted.digest:
            launch.remove(self._folder / launch.VERDICT)
            self._at("verdict forgotten")
            launch.write(
                self._folder / launch.TRIAL,
                {
                    "id": secrets.token_hex(8),
                    "digest": wanted.digest,
                    "to": to,
                    "before": _environment(before),
                    "starts": 0,
                    "most_starts": launch.MOST_STARTS,
                    "healthy_s": self._healthy_s,
                    **proof.before(self._report()),
                },
            )
            self._at("on trial")
        launch.switch(self._folder, to)
        self._at("switched")

    def standing(self, slot: str) -> Standing:  # noqa: ARG002
        """Return how it is; says to the launcher that this program works, where it does."""
        running = self._program.running()
        verdict = launch.read(self._folder / launch.VERDICT)
        if verdict and verdict.get("outcome") == "reverted":
            return Standing(running=running, failed=True, problem=str(verdict.get("reason", "")))
        trial = launch.read(self._folder / launch.TRIAL)
        if not trial:
            return Standing(running=running, proven=True)
        if trial.get("digest") != running:
            return Standing(running=running, problem="waits for the restart")
        return self._on_trial(running, trial)

    def _on_trial(self, running: str, trial: dict[str, Any]) -> Standing:
        silent_s = (self._clock.mono_ns() - self._began_ns) / NS_PER_S
        found = proof.look(self._report(), trial, silent_s)
        if found.is_well:
            said = launch.read(self._folder / launch.HEALTHY)
            if not said or said.get("id") != trial.get("id"):
                try:
                    launch.write(self._folder / launch.HEALTHY, {"id": trial.get("id")})
                except OSError as error:
                    return Standing(running=running, problem=f"the disk refuses: {error.strerror}")
        return Standing(
            running=running, proven=found.proven, failed=found.failed, problem=found.problem
        )

    def settle(self, wanted: Installed, before: Installed | None) -> None:
        """End the trial: the launcher goes back to nothing any more.

        Raises:
            NotNow: The disk refused.
        """
        trial = launch.read(self._folder / launch.TRIAL)
        if trial is None or self._program.running() != wanted.digest:
            return
        try:
            launch.switch(self._folder, _environment(before), launch.PREVIOUS)
            self._at("previous named")
            launch.end_trial(self._folder, trial, "confirmed", "")
            self._at("settled")
        except OSError as error:
            raise NotNow(f"the trial was not ended: {error.strerror}") from error

    def revert(self, slot: str, tried: Installed, before: Installed | None) -> None:  # noqa: ARG002
        """Have `before` run again: link first, then the record, then this process ends.

        Raises:
            NotNow: The disk refused.
        """
        back = _environment(before)
        try:
            if launch.named(self._folder) == _environment(tried):
                launch.switch(self._folder, back if launch.is_whole(back) else "")
                self._at("switched back")
            launch.remove(self._folder / launch.TRIAL)
            self._at("trial ended")
            launch.remove(self._folder / launch.VERDICT)
            self._at("verdict forgotten")
        except OSError as error:
            raise NotNow(f"the program was not put back: {error.strerror}") from error
        if self._program.running() == tried.digest:
            self._go("the program goes back to the one before")

    def _go(self, why: str) -> None:
        if not self._is_leaving:
            self._is_leaving = True
            self._leave(why)


# ---------------------------------------------------------------------------------- internals


def _pip(python: str, venv: Path, parts: Path) -> list[str]:
    """Return the command that installs from the parts alone, every hash checked."""
    target = ["--python", str(venv / "bin" / "python")]
    return [python, "-I", "-m", "pip", *target, "install", *app_file.pip_install(parts)]


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _environment(installed: Installed | None) -> str:
    """Return the path of an environment; empty: the program of the installation."""
    return str(Path(installed.folder) / VENV) if installed and installed.folder else ""
