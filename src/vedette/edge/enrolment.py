"""Who this device is, and how it became that.

The key is made on the device and never leaves it. Enrolment spends a claim token once and pins
what central says of itself and of the site: its online key and the site's keys. From then on no
other key is believed, whatever the address answers.

    identity/device.key      the private key, mode 0600
    identity/identity.json   names and pinned keys
"""

from pathlib import Path
from typing import Protocol

import msgspec

from vedette.edge.keyring import Keyring
from vedette.edge.spool import raise_epoch
from vedette.edge.updating.root import pin
from vedette.errors import ConfigError, TrustError
from vedette.ids import DeviceId, SiteId, is_slug
from vedette.trust.keys import PublicKey, SigningKey, prove_possession, write_private
from vedette.trust.sealing import SealingKey
from vedette.trust.site_keys import MAX_VERSION
from vedette.wire.enrol import EnrolAnswer, EnrolRequest

FOLDER = "identity"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """An enrolled device: its name, and the keys that it believes.

    Attributes:
        site_keys_version: Which keys of the site these are; each replacement counts one up.
        policy_kept: SHA-256 of the payload of the site policy that was in force when the keys were
            replaced; its signers are not known any more.
        by_hand_ms: When a person here replaced the site's keys; 0: never.
    """

    device: DeviceId
    site: SiteId
    central_key: str
    site_keys: list[str]
    site_threshold: int = 1
    time_zone: str = "UTC"
    site_keys_version: int = 1
    policy_kept: str = ""
    by_hand_ms: int = 0

    @property
    def central(self) -> PublicKey:
        """The pinned online key of central: signs settings and time, nothing else."""
        return PublicKey.from_text(self.central_key)

    @property
    def site_signers(self) -> list[PublicKey]:
        """The pinned keys of the site: sign the pixel policy and camera addresses."""
        return [PublicKey.from_text(text) for text in self.site_keys]


class Enroller(Protocol):
    """What carries the request to central."""

    def enrol(self, request: EnrolRequest) -> EnrolAnswer:
        """Return central's answer.

        Raises:
            UplinkError: Not reachable, or the claim was refused.
        """
        ...


def keyring(state_dir: Path) -> Keyring:
    """Return the keys of this device."""
    return Keyring(state_dir / FOLDER)


def device_key(state_dir: Path) -> SigningKey:
    """Return this device's key, made and kept where there is none yet.

    Raises:
        TrustError: There is a file that holds no good key; it is never overwritten.
    """
    return SigningKey.load_or_make(state_dir / FOLDER / "device.key")


def sealing_key(state_dir: Path) -> SealingKey:
    """Return the key for what only this device may read, made and kept where there is none yet.

    Raises:
        TrustError: There is a file that holds no good key; it is never overwritten.
    """
    return SealingKey.load_or_make(state_dir / FOLDER / "sealing.key")


def load_identity(state_dir: Path) -> Identity | None:
    """Return who this device is; None where it was not enrolled.

    Raises:
        TrustError: The file is damaged; guessing would mean believing unpinned keys.
    """
    path = state_dir / FOLDER / "identity.json"
    try:
        identity = msgspec.json.decode(path.read_bytes(), type=Identity)
        check_identity(identity)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, TrustError) as error:
        raise TrustError(
            f"cannot read the identity in {path}: {error}",
            operator_hint="restore it from a backup, or remove it and enrol again",
        ) from error
    return identity


def enrol(
    state_dir: Path,
    enroller: Enroller,
    claim_token: str,
    *,
    version: str,
    hardware: str = "",
    replace: bool = False,
) -> Identity:
    """Return the identity that central gave this device, kept before this returns.

    Safe to repeat with the same token where the answer was lost: the key stays the same. With
    `replace` a device that was enrolled before gets a fresh key, and whatever identity the claim
    token gives; what waits in its spool stays, under the numbers that it has.

    Raises:
        ConfigError: Enrolled already.
        UplinkError: Not reachable, or the claim was refused.
        TrustError: Central's answer makes no sense, or the key cannot be kept.
    """
    if not replace and load_identity(state_dir) is not None:
        raise ConfigError(
            "this device is enrolled already",
            operator_hint="where a claim takes its name over: vedette edge enrol --replace",
        )
    fresh = state_dir / FOLDER / "enrolling.key"
    key = SigningKey.load_or_make(fresh) if replace else device_key(state_dir)
    answer = enroller.enrol(
        EnrolRequest(
            claim_token=claim_token,
            public_key=key.public.text,
            proof=prove_possession(key, claim_token),
            hardware=hardware,
            version=version,
        )
    )
    identity = Identity(
        device=DeviceId(answer.device),
        site=SiteId(answer.site),
        central_key=answer.central_key,
        site_keys=answer.site_keys,
        site_threshold=answer.site_threshold,
        time_zone=answer.time_zone,
        site_keys_version=answer.site_keys_version,
    )
    check_identity(identity)
    try:
        if answer.min_epoch:
            raise_epoch(state_dir / "spool", answer.min_epoch)
        if answer.tuf_root:
            pin(state_dir, answer.tuf_root.encode())
        save_identity(state_dir, identity)
        if replace:
            fresh.replace(state_dir / FOLDER / "device.key")
            for name in ("next.key", "previous.key", "sealing.key"):
                (state_dir / FOLDER / name).unlink(missing_ok=True)
    except OSError as error:
        raise TrustError(
            f"the identity cannot be kept: {error}",
            operator_hint="free some disk space and enrol again with the same token",
        ) from error
    return identity


def save_identity(state_dir: Path, identity: Identity) -> None:
    """Have the identity on disk before this returns, whole or as it was.

    Raises:
        OSError: The disk refuses.
    """
    write_private(state_dir / FOLDER / "identity.json", msgspec.json.encode(identity))


def check_identity(identity: Identity) -> None:
    """Return where names and keys make sense.

    Raises:
        TrustError: They do not.
    """
    if not is_slug(identity.device) or not is_slug(identity.site):
        raise TrustError("device and site must be short names")
    keys = {key.keyid for key in identity.site_signers}
    if not 1 <= identity.site_threshold <= max(len(keys), 1):
        raise TrustError(f"{identity.site_threshold} of {len(keys)} site keys can never sign")
    if not 1 <= identity.site_keys_version <= MAX_VERSION:
        raise TrustError(f"site keys are counted from 1 to {MAX_VERSION}")
    if identity.central.keyid in keys:
        raise TrustError("central's key is also a site key: the powers must be separate")
