"""The kind `system`: images and packages of the operating system, installed through the door.

    INSTALL  root installs (minutes)      → BOOT, or RUN where nothing has to boot
    BOOT     in the window: the machine boots; a new boot id, and another slot runs → RUN
             the boot loader came back with the old one → failed
    RUN      on probation: proof as for a program → KEEP when confirmed
    KEEP     root marks it good; until then the boot loader goes back by itself
    BACK     root marks it bad → BACK_BOOT → what was before runs

The agent only records and asks: one file, durable before each step, and each step may be asked for
again. The rule: an image is confirmed by the machine that booted into it, never by the one that
wrote it.
"""

import enum
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from vedette.clock import NS_PER_S, Clock
from vedette.edge.updating import proof
from vedette.edge.updating.adapters import Adapter
from vedette.edge.updating.door import FOLDER, IMAGE, Answer, Ask, Door, Request
from vedette.edge.updating.kinds import Installed, Standing
from vedette.edge.updating.tool import NotNow
from vedette.trust.keys import write_private
from vedette.wire.messages import HealthReport
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Artefact

SLOT: Final = "system"
BOOK: Final = "book.json"
ACTIVATION_S: Final = 4 * 3600.0
CAME_WITH: Final = "installation"


class Phase(enum.StrEnum):
    """How far an image is."""

    INSTALL = "install"
    BOOT = "boot"
    RUN = "run"
    KEEP = "keep"
    BACK = "back"
    BACK_BOOT = "back_boot"


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """An image that is neither kept nor gone.

    Attributes:
        number: Of this attempt: requests of one are never taken for another's.
        boot: Boot id when the machine was to boot.
        was: What ran before, as the adapter names it.
        before: What worked before, for `proof`.
    """

    digest: str
    sha256: str
    target: str
    phase: Phase
    number: int
    boot: str = ""
    was: str = ""
    before: dict[str, Any] = {}
    failed: str = ""


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    running: str = ""
    number: int = 0
    pending: Pending | None = None


class SystemInstaller:
    """Installs systems. Thread: the updater's; `standing` any."""

    kind: ArtefactKind = ArtefactKind.SYSTEM
    activation_s: float = ACTIVATION_S
    keeps_file: bool = True

    def __init__(
        self,
        state_dir: Path,
        adapter: Adapter,
        door: Door,
        clock: Clock,
        *,
        boot_id: str,
        report: Callable[[], HealthReport | None],
        at: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Take over what is recorded.

        Args:
            state_dir: The agent's.
            adapter: Examines files, without root.
            door: Does the rest.
            clock: Measures how long central has been silent.
            boot_id: Of this boot.
            report: The last health report that this process made; None: it made none yet.
            at: Told of each step.
        """
        self._path: Final = state_dir / FOLDER / BOOK
        self._adapter: Final = adapter
        self._door: Final = door
        self._clock: Final = clock
        self._boot_id: Final = boot_id
        self._report: Final = report
        self._at: Final = at
        self._began_ns: Final = clock.mono_ns()
        self._lock: Final = threading.RLock()
        self._book = _read(self._path)

    def slots(self) -> list[str]:
        """Return the one slot."""
        return [SLOT]

    def space_bytes(self, artefact: Artefact) -> int:
        """Return what root's own copy takes."""
        return artefact.bytes

    def in_use(self) -> list[str]:
        """Return nothing: root has a copy of its own."""
        return []

    def prepare(self, slot: str, artefact: Artefact, file: Path, folder: Path) -> None:  # noqa: ARG002
        """Have the image in `folder`, and seen by the tool.

        Raises:
            ConfigError: It is not for this machine's tool.
            NotNow: The disk refused.
        """
        self._adapter.examine(file)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / IMAGE).unlink(missing_ok=True)
            os.link(file, folder / IMAGE)
            write_private(folder / "target", artefact.target.encode())
        except OSError as error:
            raise NotNow(f"{folder} cannot be filled: {error.strerror}") from error
        self._at("prepared")

    def activate(self, wanted: Installed, before: Installed | None) -> None:  # noqa: ARG002
        """Begin to install it; `standing` goes on from there.

        Raises:
            NotNow: The disk refused.
        """
        with self._lock:
            self._activate(wanted)

    def _activate(self, wanted: Installed) -> None:
        pending = self._book.pending
        if pending is not None and pending.phase in {Phase.BACK, Phase.BACK_BOOT}:
            raise NotNow("the system still goes back to the one before")
        if self._book.running == wanted.digest or (pending and pending.digest == wanted.digest):
            return
        target = (Path(wanted.folder) / "target").read_text(encoding="utf-8")
        number = self._book.number + 1
        begun = Pending(
            digest=wanted.digest,
            sha256=wanted.digest.removeprefix("sha256:"),
            target=target,
            phase=Phase.INSTALL,
            number=number,
            before=proof.before(self._report()),
        )
        self._keep(msgspec.structs.replace(self._book, number=number, pending=begun))

    def standing(self, slot: str) -> Standing:  # noqa: ARG002
        """Go one step on where one is due, and return how it is."""
        with self._lock:
            try:
                return self._step()
            except NotNow as error:
                return Standing(running=self._book.running, problem=str(error))

    def _step(self) -> Standing:
        pending = self._book.pending
        if pending is None:
            return Standing(running=self._book.running or CAME_WITH, proven=True)
        if pending.failed:
            return Standing(running=self._book.running, failed=True, problem=pending.failed)
        match pending.phase:
            case Phase.INSTALL:
                return self._installing(pending)
            case Phase.BOOT:
                return self._booting(pending)
            case Phase.RUN:
                return self._on_probation(pending)
            case Phase.KEEP:
                return self._keeping(pending)
            case _:
                return self._going_back(pending)

    def settle(self, wanted: Installed, before: Installed | None) -> None:  # noqa: ARG002
        """Have root mark it good; `standing` asks until that is done.

        Raises:
            NotNow: The disk refused.
        """
        with self._lock:
            pending = self._book.pending
            if pending is not None and (pending.digest, pending.phase) == (
                wanted.digest,
                Phase.RUN,
            ):
                self._turn(pending, Phase.KEEP)

    def revert(self, slot: str, tried: Installed, before: Installed | None) -> None:  # noqa: ARG002
        """Have root go back; `standing` goes on from there.

        Raises:
            NotNow: The disk refused.
        """
        with self._lock:
            pending = self._book.pending
            if pending is None or pending.digest != tried.digest:
                return
            if pending.phase not in {Phase.BACK, Phase.BACK_BOOT}:
                self._turn(msgspec.structs.replace(pending, failed=""), Phase.BACK)
        self.standing(slot)

    # ----------------------------------------------------------------------------- the phases

    def _installing(self, pending: Pending) -> Standing:
        answer = self._ask(pending, "install")
        if answer is None:
            return self._waits("the system is being installed")
        if not answer.ok:
            return self._fail(pending, f"it was not installed: {answer.said}")
        installed = msgspec.structs.replace(pending, was=answer.running, boot=self._boot_id)
        self._turn(installed, Phase.BOOT if answer.boot else Phase.RUN)
        return self._waits("the system was installed")

    def _booting(self, pending: Pending) -> Standing:
        if pending.boot == self._boot_id:
            answer = self._ask(pending, "reboot")
            if answer is not None and not answer.ok:
                return self._fail(pending, f"the machine did not boot: {answer.said}")
            return self._waits("the machine boots")
        answer = self._ask(pending, "look")
        if answer is None:
            return self._waits("which system was booted is being looked at")
        if not answer.ok:
            return self._fail(pending, f"which system was booted is not known: {answer.said}")
        if pending.was and answer.running == pending.was:
            return self._fail(pending, "the boot loader came back with the system of before")
        self._turn(pending, Phase.RUN)
        return self._waits("the new system was booted")

    def _on_probation(self, pending: Pending) -> Standing:
        silent_s = (self._clock.mono_ns() - self._began_ns) / NS_PER_S
        found = proof.look(self._report(), pending.before, silent_s)
        return Standing(
            running=pending.digest,
            proven=found.proven,
            failed=found.failed,
            problem=found.problem,
        )

    def _keeping(self, pending: Pending) -> Standing:
        answer = self._ask(pending, "keep")
        if answer is None or not answer.ok:
            why = f"it is not marked good yet: {answer.said if answer else 'root was asked'}"
            if answer is not None:  # asked anew, under another id
                self._renumber(pending)
            return Standing(running=pending.digest, proven=True, problem=why)
        self._keep(msgspec.structs.replace(self._book, running=pending.digest, pending=None))
        return Standing(running=pending.digest, proven=True)

    def _going_back(self, pending: Pending) -> Standing:
        if pending.phase is Phase.BACK:
            answer = self._ask(pending, "take_back")
            if answer is None:
                return self._waits("going back")
            if not answer.ok:
                self._renumber(pending)
                return self._waits(f"going back failed, and is tried again: {answer.said}")
            if not answer.boot:
                return self._gone()
            at = msgspec.structs.replace(pending, boot=self._boot_id)
            self._turn(at, Phase.BACK_BOOT)
            return self._waits("the machine boots, to go back")
        if pending.boot == self._boot_id:
            self._ask(pending, "reboot")
            return self._waits("the machine boots, to go back")
        return self._gone()

    def _gone(self) -> Standing:
        self._keep(msgspec.structs.replace(self._book, pending=None))
        return Standing(running=self._book.running or CAME_WITH, proven=True)

    # ----------------------------------------------------------------------------- internals

    def _ask(self, pending: Pending, do: Ask) -> Answer | None:
        parts = [pending.sha256[:16], str(pending.number), pending.phase.value, do]
        if do in {"reboot", "look"}:  # of this boot: another one is asked for, or looked at, anew
            parts.append(self._boot_id[:36])
        request = Request(
            id=".".join(parts).lower(),
            do=do,
            sha256=pending.sha256,
            target=pending.target,
            was=pending.was,
        )
        return self._door.ask(request)

    def _turn(self, pending: Pending, phase: Phase) -> None:
        to = msgspec.structs.replace(pending, phase=phase)
        self._keep(msgspec.structs.replace(self._book, pending=to))

    def _renumber(self, pending: Pending) -> None:
        number = self._book.number + 1
        to = msgspec.structs.replace(pending, number=number)
        self._keep(msgspec.structs.replace(self._book, number=number, pending=to))

    def _fail(self, pending: Pending, why: str) -> Standing:
        self._keep(
            msgspec.structs.replace(
                self._book, pending=msgspec.structs.replace(pending, failed=why)
            )
        )
        return Standing(running=self._book.running, failed=True, problem=why)

    def _waits(self, why: str) -> Standing:
        return Standing(problem=why)

    def _keep(self, book: Book) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            write_private(self._path, msgspec.json.encode(book))
        except OSError as error:
            raise NotNow(f"{self._path} was not written: {error.strerror}") from error
        self._book = book
        phase = book.pending.phase.value if book.pending else "settled"
        self._at(f"recorded {phase}")


def _read(path: Path) -> Book:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Book)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return Book()
