"""Keys of people: in an encrypted file, or in hardware with a file that says where.

    name.key    a private key, encrypted by a passphrase (scrypt, ChaCha20-Poly1305), or the place
                of a key in a PKCS#11 token; read by its owner only
    name.pub    its public half, for whoever makes or changes a repository

The rule: a secret (passphrase or PIN) is asked for when it is needed, through a function that is
given, and neither kept nor logged. Source: RFC 7914 (scrypt), RFC 8439 (AEAD).
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from securesystemslib.exceptions import UnsupportedLibraryError

from vedette.errors import BadSignature, ConfigError, TrustError
from vedette.trust.keys import SigningKey, from_text, to_text, write_private
from vedette.trust.tuf.library import CryptoSigner, HSMSigner, Key, Signer, SSlibKey

Ask = Callable[[str], str]
"""Returns the passphrase or PIN for what it is told."""

MIN_PASSPHRASE_CHARS: Final = 10
_MAX_FILE_BYTES: Final = 16 * 1024
_FORMAT: Final = "vedette-encrypted-key/1"
_HARDWARE: Final = "vedette-hardware-key/1"
_SCRYPT: Final = (2**15, 8, 3)
_MAX_N: Final = 2**20


class _Sealed(msgspec.Struct, frozen=True, tag_field="format", tag=_FORMAT):
    """A private key, encrypted; `public` is authenticated with it."""

    public: dict[str, Any]
    n: int
    r: int
    p: int
    salt: str
    nonce: str
    box: str


class _InHardware(msgspec.Struct, frozen=True, tag_field="format", tag=_HARDWARE):
    """Where a key is: `module` is the path of the token's PKCS#11 library."""

    public: dict[str, Any]
    module: str
    token: str
    id: int


_decode: Final = msgspec.json.Decoder(_Sealed | _InHardware).decode


def make_key(file: Path, passphrase: str, *, n: int = _SCRYPT[0]) -> Key:
    """Have a fresh Ed25519 key in `file`, encrypted, and its public half beside it; return that.

    Raises:
        ConfigError: `file` is there already (no key is ever overwritten), or the passphrase is
            short.
        TrustError: The disk refused.
    """
    if len(passphrase) < MIN_PASSPHRASE_CHARS:
        raise ConfigError(
            f"a passphrase has at least {MIN_PASSPHRASE_CHARS} characters",
            operator_hint="take several words that nobody would put together",
        )
    native = Ed25519PrivateKey.generate()
    public = SSlibKey.from_crypto(native.public_key())
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    told = _public_dict(public)
    key = _derived(passphrase, salt, n, _SCRYPT[1], _SCRYPT[2])
    sealed = _Sealed(
        public=told,
        n=n,
        r=_SCRYPT[1],
        p=_SCRYPT[2],
        salt=to_text(salt),
        nonce=to_text(nonce),
        box=to_text(ChaCha20Poly1305(key).encrypt(nonce, native.private_bytes_raw(), _aad(told))),
    )
    _write_both(file, sealed, told)
    return public


def note_hardware_key(file: Path, *, module: Path, token: str, key_id: int, ask: Ask) -> Key:
    """Have in `file` where a key of a PKCS#11 token is, and its public half beside it; return that.

    Raises:
        ConfigError: The token, its key or its library is not there, or `file` is there already.
    """
    with _token_library(module):
        try:
            _, public = HSMSigner.import_(key_id, token, ask)
        except (ValueError, UnsupportedLibraryError) as error:
            raise _no_token(module, error) from error
        except _hardware_errors() as error:
            raise _no_token(module, error) from error
    told = _public_dict(public)
    _write_both(file, _InHardware(told, str(module), token, key_id), told)
    return public


def read_public(file: Path) -> Key:
    """Return the public key in `file`, a `.pub` file or the key file itself.

    Raises:
        ConfigError: It cannot be read.
        TrustError: No key is in it.
    """
    data = _read(file)
    try:
        found = msgspec.json.decode(data, type=dict[str, Any])
        told = found["public"] if "format" in found else found
        return Key.from_dict(str(told["keyid"]), {k: v for k, v in told.items() if k != "keyid"})
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TrustError(f"{file} holds no public key", operator_hint=_NEW) from error
    except (KeyError, TypeError, ValueError) as error:
        raise TrustError(f"{file} holds no public key", operator_hint=_NEW) from error


def open_key(file: Path, ask: Ask) -> Signer:
    """Return what signs with the key that `file` holds or points to.

    Raises:
        ConfigError: The file or the hardware is not there.
        BadSignature: The passphrase is wrong, or somebody changed the file.
        TrustError: Not a key file, or open to others.
    """
    data = _read(file)
    if file.stat().st_mode & 0o077:
        raise TrustError(
            f"the key file {file} is open to others", operator_hint=f"chmod 600 {file}"
        )
    try:
        kept = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TrustError(f"{file} is no key file: {error}", operator_hint=_NEW) from error
    public = read_public(file)
    if isinstance(kept, _Sealed):
        return _unsealed(file, kept, public, ask)
    return HardwareSigner(file, kept, public, ask)


class HardwareSigner(Signer):
    """Signs inside a PKCS#11 token; the private key never leaves it."""

    def __init__(self, file: Path, kept: _InHardware, public: Key, ask: Ask) -> None:
        if not isinstance(public, SSlibKey):
            raise TrustError(f"{file} holds no public key that a token could have")
        self._module: Final = Path(kept.module)
        self._signer: Final = HSMSigner(
            kept.id, public, lambda _: ask(f"{file} (PIN of {kept.token})"), kept.token
        )

    @property
    def public_key(self) -> Key:
        """The public half."""
        return self._signer.public_key

    def sign(self, payload: bytes) -> Any:
        """Return the token's signature over `payload`.

        Raises:
            ConfigError: The token is not there, or refused the PIN.
        """
        with _token_library(self._module):
            try:
                return self._signer.sign(payload)
            except (ValueError, UnsupportedLibraryError) as error:
                raise _no_token(self._module, error) from error
            except _hardware_errors() as error:
                raise _no_token(self._module, error) from error

    @classmethod
    def from_priv_key_uri(
        cls,
        priv_key_uri: str,
        public_key: Key,
        secrets_handler: Any = None,  # noqa: ARG003
    ) -> Signer:
        """Refuse: keys are opened by their file.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"open {public_key.keyid} by its key file, not by {priv_key_uri}")


def online_signer(key: SigningKey) -> CryptoSigner:
    """Return what signs metadata with a key of the service itself."""
    return CryptoSigner(key.native)


def public_text(key: Key) -> bytes:
    """Return a public key as it stands in a `.pub` file."""
    return msgspec.json.format(msgspec.json.encode(_public_dict(key)), indent=2) + b"\n"


def _unsealed(file: Path, kept: _Sealed, public: Key, ask: Ask) -> CryptoSigner:
    costs_fit = 2**10 <= kept.n <= _MAX_N and not kept.n & (kept.n - 1)
    if not costs_fit or not (1 <= kept.r <= 16 and 1 <= kept.p <= 16):
        raise TrustError(f"{file} asks for impossible work to be opened", operator_hint=_NEW)
    key = _derived(ask(str(file)), from_text(kept.salt), kept.n, kept.r, kept.p)
    try:
        raw = ChaCha20Poly1305(key).decrypt(
            from_text(kept.nonce), from_text(kept.box), _aad(kept.public)
        )
    except (InvalidTag, ValueError) as error:
        raise BadSignature(
            f"the passphrase does not open {file}, or the file was changed",
            operator_hint="try again; there is no way in without the passphrase",
        ) from error
    if not isinstance(public, SSlibKey):
        raise TrustError(f"{file} holds no public key that fits it", operator_hint=_NEW)
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(raw), public)


def _derived(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(passphrase.encode())


def _public_dict(key: Key) -> dict[str, Any]:
    return {"keyid": key.keyid, **key.to_dict()}


def _aad(public: dict[str, Any]) -> bytes:
    return msgspec.json.encode(public, order="sorted")


def _write_both(file: Path, kept: _Sealed | _InHardware, public: dict[str, Any]) -> None:
    beside = file.with_suffix(".pub")
    for path in (file, beside):
        if path.exists():
            raise ConfigError(
                f"{path} is there already", operator_hint="choose another name; keys stay"
            )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_private(file, msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
        write_private(beside, msgspec.json.format(msgspec.json.encode(public), indent=2) + b"\n")
    except OSError as error:
        raise TrustError(f"cannot write {file}: {error.strerror}") from error


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    if len(data) > _MAX_FILE_BYTES:
        raise TrustError(f"{file} is too long for a key", operator_hint=_NEW)
    return data


class _token_library:  # noqa: N801 - reads as a verb where it is used
    """Has the library found by its path, as securesystemslib wants it, inside the block."""

    def __init__(self, module: Path) -> None:
        self._module = module
        self._before: str | None = None

    def __enter__(self) -> None:
        self._before = os.environ.get("PYKCS11LIB")
        os.environ["PYKCS11LIB"] = str(self._module)

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            del os.environ["PYKCS11LIB"]
        else:
            os.environ["PYKCS11LIB"] = self._before


def _hardware_errors() -> tuple[type[Exception], ...]:
    """Return what the PKCS#11 library raises; nothing where it is not installed."""
    try:
        from pkcs11.exceptions import PKCS11Error
    except ImportError:
        return ()
    return (PKCS11Error, RuntimeError)


def _no_token(module: Path, error: Exception) -> ConfigError:
    why = str(error) or type(error).__name__
    return ConfigError(
        f"the token of {module} does not answer: {why}",
        operator_hint="plug it in, check --module, --token and --id, and install vedette[hsm]",
    )


_NEW: Final = "make one with `vedette keys new`, or restore it from a backup"
