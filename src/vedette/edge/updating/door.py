"""The one narrow door between the agent and the machine's root.

The agent runs as an account that may do nothing (`edge.install.unit`). To have a system image
installed it writes a small request; systemd sees the file change and starts `vedette edge
system-door` as root, from the program that the device was installed with, which no update touches.
What comes through the door:

    look · install · keep · take_back · reboot

and nothing else: no command, no path, no option. Which tool is used stands in root's
`/etc/vedette/edge.yaml`. The image is copied into a folder of root's first, and what is verified is
that copy: by the repository's own signatures (`/etc/vedette/tuf-root.json`), or, for RAUC and
Mender, by the tool, whose keyring is root's too. So who took the agent over can have installed what
the signers signed for systems, and nothing else.

    STATE/system/request.json     written by the agent
    /var/lib/vedette-system/      root's: answer.json (readable), image, kept/, tuf/
"""

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

import msgspec

from vedette.edge.install import launch
from vedette.edge.updating import tool
from vedette.edge.updating.adapters import Adapter
from vedette.errors import ConfigError, NotAllowed, TrustError, VedetteError
from vedette.wire.slots import ArtefactKind

REQUEST: Final = "request.json"
ANSWER: Final = "answer.json"
FOLDER: Final = "system"
ROOT_FOLDER: Final = Path("/var/lib/vedette-system")
IMAGE: Final = "image"
_BEGUN: Final = "begun.json"
_MAX_REQUEST_BYTES: Final = 4096
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PIECE: Final = 1024 * 1024
_REBOOT_S: Final = 60.0

Ask = Literal["look", "install", "keep", "take_back", "reboot"]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the agent asks for.

    Attributes:
        id: Of this request; it is carried out once.
        sha256: Of the image, hex; its folder follows from it.
        target: Its name in the repository.
        was: What `running` said before the installation.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_.-]{1,120}$")]
    do: Ask
    sha256: str = ""
    target: Annotated[str, msgspec.Meta(max_length=300)] = ""
    was: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        running: As the adapter says, before an installation and else now.
        boot: The machine has to boot now.
        said: Why it failed.
    """

    id: str
    ok: bool
    running: str = ""
    boot: bool = False
    said: str = ""


class Door(Protocol):
    """The agent's side."""

    def ask(self, request: Request) -> Answer | None:
        """Have something done; return its answer, None while there is none. Asked again and again
        with the same id until there is one.
        """  # noqa: D205
        ...


class FileDoor:
    """Requests and answers as files. Thread: one at a time."""

    def __init__(self, state_dir: Path, root_folder: Path = ROOT_FOLDER) -> None:
        """Prepare."""
        self._request: Final = state_dir / FOLDER / REQUEST
        self._answer: Final = root_folder / ANSWER
        self._id = ""
        self._asked = 0

    def ask(self, request: Request) -> Answer | None:
        """Return the answer to this request, else have it (again) where root looks for it."""
        answer = read_answer(self._answer)
        if answer is not None and answer.id == request.id:
            return answer
        if request.id != self._id:
            self._id, self._asked = request.id, 0
        if self._asked % AGAIN == 0:  # root may have looked away just when it was written
            self._request.parent.mkdir(mode=0o700, exist_ok=True)
            launch.write(self._request, msgspec.to_builtins(request))
        self._asked += 1
        return None


AGAIN: Final = 60
"""Looks between two writings of the same request; the agent looks once a second."""


def read_answer(path: Path) -> Answer | None:
    """Return root's last answer; None where there is none that can be read."""
    try:
        return msgspec.convert(launch.read(path), Answer)
    except msgspec.ValidationError:
        return None


# ------------------------------------------------------------------------------- root's side


class Doorkeeper:
    """Carries out one request. Thread: one; one process on a machine."""

    def __init__(
        self,
        state_dir: Path,
        adapter: Adapter,
        *,
        reboot: list[str],
        verify: Callable[[str, Path], None],
        root_folder: Path = ROOT_FOLDER,
        at: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare; nothing is touched.

        Args:
            state_dir: The agent's: nothing in it is believed.
            adapter: The machine's tool.
            reboot: The command.
            verify: Raises unless this target may be installed, and is this file.
            root_folder: Root's own.
            at: Told of each step; a test cuts the power there.
        """
        self._state_dir: Final = state_dir
        self._adapter: Final = adapter
        self._reboot: Final = reboot
        self._verify: Final = verify
        self._folder: Final = root_folder
        self._at: Final = at

    def serve(self) -> Answer | None:
        """Carry out the request that lies there, once; return the answer, None: there is none new.

        Raises:
            OSError: Root's own folder refuses.
        """
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            request = self._read()
        except VedetteError as error:
            answer = Answer(id="", ok=False, said=str(error)[:500])
            self._tell(answer)
            return answer
        last = read_answer(self._folder / ANSWER)
        if request is None or (last is not None and last.id == request.id):
            return None
        try:
            answer = self._carry_out(request)
        except (VedetteError, OSError) as error:
            answer = Answer(id=request.id, ok=False, said=str(error)[:500])
        self._tell(answer)
        if answer.ok and request.do == "reboot":
            tool.call(self._reboot, limit_s=_REBOOT_S)
        return answer

    def _tell(self, answer: Answer) -> None:
        launch.write(self._folder / ANSWER, msgspec.to_builtins(answer))
        (self._folder / ANSWER).chmod(0o644)
        self._at("answered")

    def _carry_out(self, request: Request) -> Answer:
        adapter = self._adapter
        done = Answer(id=request.id, ok=True)
        match request.do:
            case "look":
                return msgspec.structs.replace(done, running=adapter.running())
            case "install":
                was, boot = self._install(request)
                return msgspec.structs.replace(done, running=was, boot=boot)
            case "keep":
                adapter.keep()
            case "take_back":
                boot = adapter.take_back(request.was, self._kept(request))
                launch.remove(self._kept(request) / _BEGUN)
                self._at("taken back")
                return msgspec.structs.replace(done, boot=boot)
            case "reboot":
                pass  # after the answer: it is not carried out again when the machine is back
        return done

    def _install(self, request: Request) -> tuple[str, bool]:
        """Have the image installed; return what ran before, and whether to boot.

        After a power cut the machine may have booted into it already: then installing it again
        would overwrite the system of before, which is the way back.
        """
        file, kept, running = self._image(request), self._kept(request), self._adapter.running()
        self._at("image verified")
        begun = launch.read(kept / _BEGUN)
        if begun is None:
            launch.write(kept / _BEGUN, {"was": running})
            self._at("begun")
        was = str(begun.get("was", "")) if begun else running
        if was and running != was:
            return was, False
        boot = self._adapter.install(file, kept)
        self._at("installed")
        (self._folder / IMAGE).unlink(missing_ok=True)
        return was, boot

    def _kept(self, request: Request) -> Path:
        """Return root's folder for going back from an image; those of others are removed."""
        folder = self._folder / "kept" / _hex(request)
        if folder.parent.is_dir():
            for other in folder.parent.iterdir():
                if other != folder and request.do == "install":
                    shutil.rmtree(other)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _image(self, request: Request) -> Path:
        """Return root's own copy of the image, verified."""
        sha256 = _hex(request)
        source = self._state_dir / "updates" / "installed" / ArtefactKind.SYSTEM.value
        copy = self._folder / IMAGE
        copy.unlink(missing_ok=True)
        digest = hashlib.sha256()
        with copy.open("xb") as out:
            copy.chmod(0o600)
            for piece in _pieces(source / sha256 / IMAGE):
                digest.update(piece)
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != sha256:
            raise TrustError("the image is not the one that was asked for")
        self._verify(request.target, copy)
        return copy

    def _read(self) -> Request | None:
        path = self._state_dir / FOLDER / REQUEST
        try:
            return msgspec.json.decode(bounded(path, _MAX_REQUEST_BYTES), type=Request)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(f"a request that cannot be read: {error}") from error


def _hex(request: Request) -> str:
    if not _SHA256.fullmatch(request.sha256):
        raise NotAllowed("a request names its image by 64 hexadecimal digits")
    return request.sha256


def open_plain(path: Path) -> int:
    """Return a plain file, opened; never a link, a pipe or a device at its last name.

    Raises:
        NotAllowed: A pipe or a device.
        OSError: A link, or nothing that can be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAllowed(f"{path.name} is no plain file")
    return descriptor


def bounded(path: Path, most: int) -> bytes:
    """Return the bytes of a small plain file.

    Raises:
        NotAllowed: It is none, or larger than `most`.
        OSError: It cannot be read.
    """
    with os.fdopen(open_plain(path), "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise NotAllowed(f"{path.name} has more than {most} bytes")
    return data


def _pieces(path: Path) -> Iterator[bytes]:
    with os.fdopen(open_plain(path), "rb") as file:
        while piece := file.read(_PIECE):
            yield piece
