"""The agent signs what the pipeline packed: a package proves where it came from.

    evidence/.unsigned/<id>      the pipeline's mark: something of this package is to be signed
    <package>/signature.json, blurred-signature.json
    identity/public-keys.json    every key that this device ever signed with, public halves only

The pipeline process, which holds all video and native code, never reads the device's key; the agent
does, and never loads what decodes video. The rules: what is not, to the byte, what its own facts
and checksums say is not signed; nothing is signed twice; a package of a version before signatures
stays without one, because nobody can vouch for it later.

Thread: one (`run`); `problem` any.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from vedette.clock import Clock, wall_ms
from vedette.edge.enrolment import FOLDER as IDENTITY
from vedette.edge.enrolment import device_key, keyring, load_identity
from vedette.edge.evidence import catalog, facts
from vedette.edge.evidence.facts import Facts
from vedette.edge.evidence.shelf import UNSIGNED
from vedette.errors import EvidenceError, TrustError
from vedette.ids import is_slug
from vedette.trust.evidence import sign_package
from vedette.trust.keys import PublicKey, SigningKey, write_private
from vedette.wire.envelope import ClockState
from vedette.wire.evidence import (
    BLURRED,
    CLIP,
    SIGNED_FROM_VERSION,
    BlobFile,
    Statement,
    signature_of,
)

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
KEYS: Final = "public-keys.json"
MAX_KEYS: Final = 1_000
_KEYS_BYTES: Final = 64 * MAX_KEYS


class PackageSigner:
    """Signs packages as they come.

    Args:
        state_dir: The device's.
        clock: Time.
        clock_state: How far the wall clock can be believed now.
    """

    def __init__(
        self,
        state_dir: Path,
        clock: Clock,
        clock_state: Callable[[], ClockState],
    ) -> None:
        self._state_dir: Final = state_dir
        self._root: Final = state_dir / "evidence"
        self._clock: Final = clock
        self._clock_state: Final = clock_state
        self._has_begun = False
        self._told: set[str] = set()
        self.problem = ""

    def run(self, stop: threading.Event) -> None:
        """Sign until `stop`."""
        while not stop.is_set():
            self.step()
            self._clock.wait(stop, EVERY_S)

    def step(self) -> int:
        """Sign what waits; return how many signatures were made."""
        try:
            made = sum(self._sign(name) for name in self._waiting())
        except (EvidenceError, TrustError) as error:
            if str(error) != self.problem:
                log.warning(
                    "evidence waits for its signature",
                    extra={"event": "evidence.unsigned", "reason": str(error)},
                )
            self.problem = str(error)
            return 0
        self.problem = ""
        return made

    # ------------------------------------------------------------------------------- internals

    def _waiting(self) -> list[str]:
        """Return the ids that are marked; at first also those that a power cut left unmarked."""
        if not self._has_begun:
            unsigned = [p.evidence for p in catalog.packages(self._root) if not p.is_signed]
            with facts.translated("evidence cannot be signed"):
                for name in unsigned:
                    (self._root / UNSIGNED).mkdir(mode=0o700, exist_ok=True)
                    (self._root / UNSIGNED / name).touch(mode=0o600)
            self._has_begun = True
        with facts.translated("evidence cannot be read"), contextlib.suppress(FileNotFoundError):
            return sorted(e.name for e in os.scandir(self._root / UNSIGNED) if is_slug(e.name))
        return []

    def _sign(self, evidence: str) -> int:
        """Make the signatures that a package lacks; return how many.

        Raises:
            EvidenceError: The disk refuses a signature.
            TrustError: There is no key that could sign, or the identity is damaged.
        """
        path = catalog.place(self._root, evidence)
        made = 0
        if path is not None:
            for form in (CLIP, BLURRED):
                if not (path / signature_of(form)).exists():
                    made += self._sign_form(path, form)
        with contextlib.suppress(OSError):
            (self._root / UNSIGNED / evidence).unlink(missing_ok=True)
        return made

    def _sign_form(self, path: Path, form: str) -> int:
        try:
            said = facts.read_facts(path)
            if said.version < SIGNED_FROM_VERSION:
                return 0
            files = vouched(path, said, form)
        except EvidenceError as problem:
            if not path.exists():
                return 0  # its room was needed meanwhile
            if path.name not in self._told:
                self._told.add(path.name)
                log.warning(
                    "evidence was changed before it was signed, and stays unsigned",
                    extra={"event": "evidence.not_signed", "reason": str(problem)},
                )
            return 0
        if not files:
            return 0
        key, who = self._key(), load_identity(self._state_dir)
        statement = Statement(
            evidence=path.name,
            event=said.event.event,
            camera=said.event.camera,
            site=who.site if who else "",
            device=who.device if who else "",
            form=form,
            at_ms=said.event.at_ms,
            signed_ms=wall_ms(self._clock.now_at()),
            clock=self._clock_state().value,
            files=files,
        )
        return self._keep(path, form, sign_package(statement, key))

    def _keep(self, path: Path, form: str, data: bytes) -> int:
        scratch = self._root / UNSIGNED / f".{path.name}.{form}"
        try:
            with facts.translated(f"{path.name} could not be signed"):
                scratch.parent.mkdir(mode=0o700, exist_ok=True)
                with scratch.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                try:
                    scratch.rename(path / signature_of(form))
                except FileNotFoundError:
                    return 0  # the package went meanwhile
        finally:
            scratch.unlink(missing_ok=True)
        return 1

    def _key(self) -> SigningKey:
        """Return the key that speaks for this device, its public half noted.

        Raises:
            TrustError: It cannot be read, or not be noted.
        """
        device_key(self._state_dir)  # one that belongs to no central has none yet
        ring = keyring(self._state_dir)
        with ring.held():
            key = ring.current()
        note_key(self._state_dir, key.public)
        return key


def vouched(path: Path, said: Facts, form: str) -> list[BlobFile]:
    """Return the files of a form, each as its own package says; empty where there is none such.

    Raises:
        EvidenceError: A file is not what was written.
    """
    if said.record.evidence != path.name:
        raise EvidenceError(f"{path.name} holds the facts of {said.record.evidence[:64]!r}")
    stated = {entry.file: entry.sha256 for entry in said.clips}
    names: dict[str, str]
    if form == BLURRED:
        if not (path / facts.BLURRED_FACTS).exists():
            return []
        copy = facts.read_blurred(path)
        if copy.made_from != said.record.sha256 or copy.evidence != said.record.evidence:
            raise EvidenceError(f"{path.name}: the blurred copy is of another clip")
        names = {**facts.blurred_files(copy), facts.BLURRED_FACTS: ""}
    else:
        names = {facts.CLIP: said.record.sha256, **stated}
        if (path / facts.POSTER).exists():
            names[facts.POSTER] = ""
    sums = facts.read_sums(path)
    files: list[BlobFile] = []
    for name, value in {**names, facts.FACTS: ""}.items():
        if not facts.is_plain_name(name):
            raise EvidenceError(f"{path.name}: its facts name a file {name[:40]!r}")
        found = facts.digest(path / name)
        if found != (value or sums.get(name, found)):
            raise EvidenceError(f"{path.name}: {name} is not what was written")
        files.append(BlobFile(name=name, sha256=found, bytes=(path / name).stat().st_size))
    return files


class _Keys(msgspec.Struct, frozen=True, kw_only=True):
    keys: list[str] = []


def known_keys(state_dir: Path) -> list[str]:
    """Return the public halves of all keys that this device signed with, the newest last.

    Raises:
        EvidenceError: The file is damaged.
    """
    path = state_dir / IDENTITY / KEYS
    if not path.exists():
        return []
    raw = facts.read_limited(path, _KEYS_BYTES)
    try:
        return msgspec.json.decode(raw, type=_Keys).keys
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise EvidenceError(
            f"{path} is damaged",
            operator_hint="give the device's public key with --key; central knows all of them",
        ) from problem


def note_key(state_dir: Path, key: PublicKey) -> None:
    """Have a key among those that this device signed with, on the disk before it signs.

    Raises:
        TrustError: The disk refuses.
    """
    try:
        keys = known_keys(state_dir)
    except EvidenceError:
        keys = []  # damaged: from now on at least the present key is known again
    if key.text in keys:
        return
    kept = [*keys, key.text][-MAX_KEYS:]
    try:
        write_private(state_dir / IDENTITY / KEYS, msgspec.json.encode(_Keys(keys=kept)))
    except OSError as error:
        raise TrustError(
            f"the list of own keys cannot be kept: {error}",
            operator_hint="make the folder writable and free some disk space",
        ) from error
