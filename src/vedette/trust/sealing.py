"""Sealing addresses and local channels for a device, so that whoever carries them cannot read them.

What lives here: a device's sealing key, boxes for it, and opening them. What does not: whose key it
is (the owner compares it with the device itself, never with central's word), and the signature
over the policy that carries the box. The rule: a box is bound to site, device and policy version,
so that none can be moved to where its owner did not put it.

HPKE in base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305, as `cryptography` has it.
Source: RFC 9180, 5.1.1 (base mode) and 6.1 (single shot).
"""

import hashlib
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from vedette.errors import BadSignature, ConfigError, NotAllowed, TrustError
from vedette.trust.keys import KEY_BYTES, from_text, to_text, write_private
from vedette.wire.alerts import LocalChannel
from vedette.wire.signed import CameraAddress, SealedAddresses

MAX_BOX_BYTES: Final = 256 * 1024
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_HEAD: Final = "vedette-x25519-private "
_ADDRESSES: Final = "vedette/sealed-addresses/1"
_CHANNELS: Final = "vedette/sealed-channels/1"
_addresses: Final = msgspec.json.Decoder(list[CameraAddress])
_channels: Final = msgspec.json.Decoder(list[LocalChannel])


def keyid_of(public: bytes) -> str:
    """Return what a sealing key is called: as with signing keys, the head of its hash."""
    return hashlib.sha256(public).hexdigest()[:32]


class SealingKey:
    """A device's key for what only it may read. Its `repr` never shows it. Thread: any."""

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key: Final = key
        self.public: Final = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "SealingKey":
        """Return a fresh key from the machine's randomness."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def load_or_make(cls, path: Path) -> "SealingKey":
        """Return the key at `path`; where there is no file, make one and keep it there first.

        Raises:
            TrustError: There is a file but no good key in it, or the disk refuses.
        """
        try:
            if not path.exists():
                made = cls.generate()
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                text = _HEAD + to_text(made._key.private_bytes_raw()) + "\n"  # noqa: SLF001
                write_private(path, text.encode("ascii"))
                return made
            head, _, body = path.read_text(encoding="ascii").strip().rpartition(" ")
            raw = from_text(body)
        except (OSError, UnicodeDecodeError, BadSignature) as error:
            raise TrustError(f"cannot use the sealing key {path}: {error}") from error
        if f"{head} " != _HEAD or len(raw) != KEY_BYTES:
            raise TrustError(
                f"{path} is no sealing key of Vedette",
                operator_hint="remove it: a fresh one is made; then sign the policy again",
            )
        return cls(X25519PrivateKey.from_private_bytes(raw))

    @property
    def text(self) -> str:
        """The public half as it stands in a policy file."""
        return to_text(self.public)

    @property
    def keyid(self) -> str:
        """What this key is called."""
        return keyid_of(self.public)

    def open(self, box: SealedAddresses, *, site: str, version: int) -> list[CameraAddress]:
        """Return what was sealed for this device in this version of this site's policy.

        Raises:
            NotAllowed: Sealed for another key, or another place than this.
            TrustError: Opened, but no addresses.
        """
        data = self._open(box, _info(_ADDRESSES, site, box.device, version))
        try:
            return _addresses.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TrustError("what was sealed are no addresses of cameras") from error

    def open_channels(self, box: SealedAddresses, *, site: str, version: int) -> list[LocalChannel]:
        """Return the local channels that were sealed for this device, as `open`.

        Raises:
            NotAllowed: As `open`.
            TrustError: Opened, but no channels.
        """
        data = self._open(box, _info(_CHANNELS, site, box.device, version))
        try:
            return _channels.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TrustError("what was sealed are no local channels") from error

    def _open(self, box: SealedAddresses, info: bytes) -> bytes:
        if box.keyid != self.keyid:
            raise NotAllowed(
                f"addresses are sealed for key {box.keyid[:32]!r}, this device has {self.keyid}",
                operator_hint="sign the policy again with what `vedette edge sealing-key` prints",
            )
        if len(box.box) > 2 * MAX_BOX_BYTES:
            raise NotAllowed("too large for sealed addresses")
        try:
            return _SUITE.decrypt(from_text(box.box), self._key, info)
        except (InvalidTag, ValueError, BadSignature) as error:
            raise NotAllowed("sealed for another site, device or version, or changed") from error

    def __repr__(self) -> str:
        """Name the key by its public id."""
        return f"SealingKey({self.keyid})"


def seal(
    addresses: list[CameraAddress], *, site: str, device: str, version: int, key: str
) -> SealedAddresses:
    """Return `addresses` so that only the device that has `key` can read them.

    Raises:
        ConfigError: That is no sealing key.
    """
    info = _info(_ADDRESSES, site, device, version)
    return _seal(msgspec.json.encode(addresses), info, device, key)


def seal_channels(
    channels: list[LocalChannel], *, site: str, device: str, version: int, key: str
) -> SealedAddresses:
    """Return `channels` so that only the device that has `key` can read them.

    Raises:
        ConfigError: That is no sealing key.
    """
    info = _info(_CHANNELS, site, device, version)
    return _seal(msgspec.json.encode(channels), info, device, key)


def _seal(data: bytes, info: bytes, device: str, key: str) -> SealedAddresses:
    try:
        raw = from_text(key)
        if len(raw) != KEY_BYTES:
            raise BadSignature(f"{len(raw)} bytes")
        public = X25519PublicKey.from_public_bytes(raw)
        box = _SUITE.encrypt(data, public, info)
    except (BadSignature, ValueError) as error:
        raise ConfigError(
            f"seal_for: {device}: no sealing key: {error}",
            operator_hint="write what `vedette edge sealing-key` prints on that device",
        ) from error
    return SealedAddresses(device=device, keyid=keyid_of(raw), box=to_text(box))


def _info(what: str, site: str, device: str, version: int) -> bytes:
    return msgspec.json.encode([what, site, device, version])
