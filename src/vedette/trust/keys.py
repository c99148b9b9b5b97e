"""Ed25519 keys: made, kept, named.

A key on the wire is its 32 raw bytes in base64url without padding; its id is the first 32 hex
digits of SHA-256 over those bytes. A private key lies in a file that only its owner can read, and
is written whole or not at all. What a key may say is not decided here.
"""

import base64
import binascii
import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from vedette.errors import BadSignature, TrustError

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_KEY_FILE_HEAD: Final = "vedette-ed25519-private "


def to_text(data: bytes) -> str:
    """Return `data` in base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_text(text: str) -> bytes:
    """Return the bytes of base64url without padding; exactly one text stands for given bytes.

    Raises:
        BadSignature: Another alphabet, padding, or bits left over.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSignature(f"not base64url: {error}") from error
    if to_text(data) != text:
        raise BadSignature("not canonical base64url without padding")
    return data


class PublicKey:
    """One pinned or presented public key. Equal keys compare equal. Thread: any."""

    __slots__ = ("_key", "keyid", "raw")

    def __init__(self, raw: bytes) -> None:
        """Take the 32 raw bytes.

        Raises:
            BadSignature: Not 32 bytes.
        """
        if len(raw) != KEY_BYTES:
            raise BadSignature(f"an Ed25519 key has {KEY_BYTES} bytes, not {len(raw)}")
        self.raw: Final = raw
        self.keyid: Final = hashlib.sha256(raw).hexdigest()[:32]
        self._key: Final = Ed25519PublicKey.from_public_bytes(raw)

    @classmethod
    def from_text(cls, text: str) -> "PublicKey":
        """Return the key that `text` (43 characters of base64url) stands for.

        Raises:
            BadSignature: Not such a text.
        """
        if len(text) > 2 * KEY_BYTES:
            raise BadSignature("too long for an Ed25519 key")
        return cls(from_text(text))

    @property
    def text(self) -> str:
        """The key as it stands on the wire."""
        return to_text(self.raw)

    @property
    def native(self) -> Ed25519PublicKey:
        """The key as `cryptography` has it."""
        return self._key

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return where `signature` is this key's over `data`.

        Raises:
            BadSignature: It is not.
        """
        try:
            self._key.verify(signature, data)
        except InvalidSignature as error:
            raise BadSignature(f"signature does not verify with key {self.keyid}") from error

    def __eq__(self, other: object) -> bool:
        """Equal where the raw bytes are."""
        return isinstance(other, PublicKey) and other.raw == self.raw

    def __hash__(self) -> int:
        """Hash of the raw bytes."""
        return hash(self.raw)

    def __repr__(self) -> str:
        """Name the key by its id."""
        return f"PublicKey({self.keyid})"


class SigningKey:
    """A private key. Its `repr` never shows it. Thread: any."""

    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key: Final = key
        self.public: Final = PublicKey(key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> "SigningKey":
        """Return a fresh key from the machine's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> "SigningKey":
        """Return the key that `save` wrote.

        Raises:
            TrustError: Not there, readable by others, or not a key.
        """
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            text = path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise TrustError(
                f"cannot read the key file {path}: {error}",
                operator_hint="restore the file from a backup, or make a new key and enrol again",
            ) from error
        if mode & 0o077:
            raise TrustError(
                f"the key file {path} is open to others (mode {mode:04o})",
                operator_hint=f"chmod 600 {path}; replace the key if somebody may have read it",
            )
        head, _, body = text.strip().rpartition(" ")
        try:
            raw = from_text(body)
            if f"{head} " != _KEY_FILE_HEAD or len(raw) != KEY_BYTES:
                raise BadSignature("wrong head or length")
        except BadSignature as error:
            raise TrustError(
                f"{path} is not an Ed25519 key file of Vedette: {error}",
                operator_hint="restore the file from a backup, or make a new key and enrol again",
            ) from error
        return cls(Ed25519PrivateKey.from_private_bytes(raw))

    @classmethod
    def load_or_make(cls, path: Path) -> "SigningKey":
        """Return the key at `path`; where there is no file, make a key and keep it there first.

        Raises:
            TrustError: There is a file but no good key in it; it is never overwritten.
        """
        if path.exists():
            return cls.load(path)
        key = cls.generate()
        key.save(path)
        return key

    def save(self, path: Path) -> None:
        """Have the key at `path`, mode 0600, on disk before this returns, whole or not at all.

        Raises:
            TrustError: The disk refused.
        """
        text = _KEY_FILE_HEAD + to_text(self._key.private_bytes_raw()) + "\n"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, text.encode("ascii"))
        except OSError as error:
            raise TrustError(
                f"cannot write the key file {path}: {error}",
                operator_hint="make the folder writable and free some disk space",
            ) from error

    @property
    def native(self) -> Ed25519PrivateKey:
        """The key as `cryptography` has it."""
        return self._key

    def sign(self, data: bytes) -> bytes:
        """Return the 64 bytes of the signature over `data`."""
        return self._key.sign(data)

    def __repr__(self) -> str:
        """Name the key by its public id."""
        return f"SigningKey({self.public.keyid})"


def write_private(path: Path, data: bytes) -> None:
    """Have `data` at `path` with mode 0600, durable and atomic: a reader sees the old or the new.

    Raises:
        OSError: The disk refused; `path` is as it was.
    """
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def prove_possession(key: SigningKey, claim_token: str) -> str:
    """Return `EnrolRequest.proof`: the signature over `claim_token` + "." + the public key."""
    return to_text(key.sign(f"{claim_token}.{key.public.text}".encode()))


def check_possession(public: PublicKey, claim_token: str, proof: str) -> None:
    """Return where `proof` shows that the private half of `public` made this enrolment request.

    Raises:
        BadSignature: It does not.
    """
    if len(proof) > 2 * SIGNATURE_BYTES:
        raise BadSignature("too long for a proof of possession")
    public.verify(from_text(proof), f"{claim_token}.{public.text}".encode())
