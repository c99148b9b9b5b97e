"""Secrets of channels, sealed under a key that the database does not have.

The keys lie in `keys/alerts.key` in the state directory, one a line, the newest first: the first
seals, all open. A seal is bound to its channel's name and kind, so that it opens nowhere else.
The rule: a seal is opened where it is used and nowhere else; nothing that is opened is kept.

ChaCha20-Poly1305 (RFC 8439) with a random nonce: at most 2³² seals under one key, far from it here.
Thread: any.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from vedette.central.alerting.channels.facts import Kind, Secret
from vedette.errors import BadSignature, TrustError
from vedette.trust.keys import from_text, to_text, write_private

KEYS: Final = "keys/alerts.key"
_HEAD: Final = "vedette-channel-secrets "
_FORM: Final = b"1"
_NAME_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32


class Seal:
    """Seals and opens; reads the keys when they are needed. Its `repr` shows none."""

    def __init__(self, state: Path) -> None:
        """Prepare; the file is made with the first secret."""
        self.path: Final = state / KEYS

    def close(self, channel: str, kind: Kind, secret: Secret) -> bytes | None:
        """Return a secret sealed under the newest key; None where there is nothing in it.

        Raises:
            TrustError: The keys cannot be read or kept.
        """
        if secret == Secret():
            return None
        key = (self._keys() or [self._make()])[0]
        nonce = os.urandom(_NONCE_BYTES)
        head = _FORM + _name(key) + nonce
        sealed = ChaCha20Poly1305(key).encrypt(
            nonce, msgspec.json.encode(secret), _bound(channel, kind)
        )
        return head + sealed

    def open(self, channel: str, kind: Kind, sealed: bytes | None) -> Secret:
        """Return what was sealed for this channel; nothing where nothing was.

        Raises:
            TrustError: The key is not here, or it was sealed for another channel, or changed.
        """
        if sealed is None:
            return Secret()
        name = sealed[1 : 1 + _NAME_BYTES]
        nonce = sealed[1 + _NAME_BYTES : 1 + _NAME_BYTES + _NONCE_BYTES]
        key = next((key for key in self._keys() if _name(key) == name), None)
        if key is None or sealed[:1] != _FORM:
            raise TrustError(
                f"the secret of channel {channel} is sealed under a key that is not in {self.path}",
                operator_hint="bring that file back, or set the channel's secret again",
            )
        try:
            data = ChaCha20Poly1305(key).decrypt(
                nonce, sealed[1 + _NAME_BYTES + _NONCE_BYTES :], _bound(channel, kind)
            )
            return msgspec.json.decode(data, type=Secret)
        except (InvalidTag, ValueError) as error:
            raise TrustError(
                f"the secret of channel {channel} was changed or is of another channel",
                operator_hint="set the channel's secret again",
            ) from error

    def renew(self) -> None:
        """Have a new key that seals from now on; the ones before still open.

        Raises:
            TrustError: The keys cannot be read or kept.
        """
        self._keep([os.urandom(_KEY_BYTES), *self._keys()])

    def drop_old(self) -> None:
        """Have the newest key only: everything was sealed anew under it.

        Raises:
            TrustError: The keys cannot be read or kept.
        """
        self._keep(self._keys()[:1])

    def _make(self) -> bytes:
        self._keep([os.urandom(_KEY_BYTES)])
        return self._keys()[0]

    def _keep(self, keys: list[bytes]) -> None:
        text = "".join(f"{_HEAD}{to_text(key)}\n" for key in keys)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self.path, text.encode("ascii"))
        except OSError as error:
            raise TrustError(f"cannot keep {self.path}: {error.strerror or error}") from error

    def _keys(self) -> list[bytes]:
        try:
            lines = self.path.read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise TrustError(f"cannot read {self.path}") from error
        keys: list[bytes] = []
        for line in lines:
            head, _, body = line.strip().rpartition(" ")
            try:
                raw = from_text(body)
            except BadSignature as error:
                raise _broken(self.path) from error
            if f"{head} " != _HEAD or len(raw) != _KEY_BYTES:
                raise _broken(self.path)
            keys.append(raw)
        return keys

    def __repr__(self) -> str:
        """Name the file."""
        return f"Seal({self.path})"


def _name(key: bytes) -> bytes:
    """Return what a key is called within a seal."""
    return hashlib.sha256(b"vedette/channel-secrets/name" + key).digest()[:_NAME_BYTES]


def _bound(channel: str, kind: Kind) -> bytes:
    return f"vedette/channel-secret/1|{kind}|{channel}".encode()


def _broken(path: Path) -> TrustError:
    return TrustError(
        f"{path} holds no keys of channels' secrets",
        operator_hint="bring it back from where it was kept; or move it away and set each secret",
    )
