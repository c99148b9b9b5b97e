"""The site's keys that this device pinned, and how others take their place.

Two ways, and no third. Central brings documents that the site's keys before signed: they are
followed step by step (`trust.site_keys`). Or a person at this device says which keys hold from now
on, because the ones before are lost; that stands in the health reports for a day.

The rule: keys change in one atomic write of `identity/identity.json`, which also names the site
policy that was in force then, by its digest. It stays in force until the new keys sign a newer one.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from vedette.clock import from_wall_ms
from vedette.edge.enrolment import Identity, check_identity, keyring, load_identity, save_identity
from vedette.errors import BadSignature, ConfigError, NotAllowed, TrustError
from vedette.trust import dsse
from vedette.trust.keys import from_text
from vedette.trust.site_keys import KeySet, follow
from vedette.wire.signed import POLICY_TYPE, Signed

POLICY_FILE: Final = Path("policy") / "site_policy.json"
SAID_FOR_MS: Final = 24 * 3600 * 1000


def pinned(identity: Identity) -> KeySet:
    """Return the keys that this device believes to be the site's; perhaps none at all."""
    return KeySet(
        version=identity.site_keys_version,
        keys=tuple(identity.site_signers),
        threshold=identity.site_threshold,
    )


def digest_of(policy: Signed) -> str:
    """Return what names this policy in the identity."""
    return hashlib.sha256(policy.payload.encode()).hexdigest()


def take_documents(
    state_dir: Path, identity: Identity, documents: Sequence[Signed], policy: Signed | None
) -> tuple[Identity, Exception | None]:
    """Return who this device is after `documents`, kept on disk, and why not all were followed.

    `policy` is the site policy in force. What another process wrote meanwhile (a person at this
    device) is taken over first.

    Raises:
        OSError: The disk refuses; nothing changed.
        TrustError: The identity on disk is damaged.
    """
    with keyring(state_dir).held():
        identity = newest(state_dir, identity)
        held = pinned(identity)
        reached, problem = follow(held, documents, identity.site)
        if reached == held:
            return identity, problem
        following = _with_keys(identity, reached, digest_of(policy) if policy else "")
        try:
            check_identity(following)
        except TrustError as error:
            return identity, error
        save_identity(state_dir, following)
        return following, problem


def newest(state_dir: Path, identity: Identity) -> Identity:
    """Return this same identity as it is on disk now; as it was where there is another or none.

    Raises:
        TrustError: It is damaged.
    """
    found = load_identity(state_dir)
    same = found is not None and (found.device, found.site) == (identity.device, identity.site)
    return found if found is not None and same else identity


def trust_by_hand(
    state_dir: Path, keys: Sequence[str], threshold: int, version: int | None, *, now_ms: int
) -> Identity:
    """Return the identity with these keys as the site's, because a person here says so.

    `version` is the one that central names; one more than the one before where it is None.

    Raises:
        ConfigError: Not enrolled, the keys are pinned already, or the version goes back.
        BadSignature: No keys, or a threshold that cannot be.
        TrustError: The identity is damaged, or central's key is among the keys.
        OSError: The disk refuses; nothing changed.
    """
    with keyring(state_dir).held():
        identity = load_identity(state_dir)
        if identity is None:
            raise ConfigError("this device is not enrolled", operator_hint="vedette edge enrol")
        held = pinned(identity)
        wanted = KeySet.of(keys, threshold, held.version + 1 if version is None else version)
        if (set(wanted.keys), wanted.threshold) == (set(held.keys), held.threshold):
            raise ConfigError("these keys are pinned already: nothing was changed")
        if wanted.version <= held.version:
            raise ConfigError(
                f"version {wanted.version} is not newer than {held.version}, which is pinned",
                operator_hint="name the version that `vedette central site keys SITE` prints",
            )
        policy = _policy_in_force(state_dir, identity)
        following = msgspec.structs.replace(
            _with_keys(identity, wanted, digest_of(policy) if policy else ""), by_hand_ms=now_ms
        )
        check_identity(following)
        save_identity(state_dir, following)
        return following


def is_kept_over(identity: Identity, policy: Signed) -> bool:
    """True where this policy was in force when the keys were replaced."""
    same = identity.policy_kept != "" and digest_of(policy) == identity.policy_kept
    return same and policy.payload_type == POLICY_TYPE


def _with_keys(identity: Identity, keys: KeySet, policy_kept: str) -> Identity:
    return msgspec.structs.replace(
        identity,
        site_keys=[key.text for key in keys.keys],
        site_threshold=keys.threshold,
        site_keys_version=keys.version,
        policy_kept=policy_kept,
    )


def _policy_in_force(state_dir: Path, identity: Identity) -> Signed | None:
    """Return the kept policy where it holds under the keys so far."""
    try:
        policy = msgspec.json.decode((state_dir / POLICY_FILE).read_bytes(), type=Signed)
        if not is_kept_over(identity, policy):
            dsse.verify(
                policy,
                identity.site_signers,
                payload_type=POLICY_TYPE,
                threshold=identity.site_threshold,
            )
        from_text(policy.payload)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, BadSignature, NotAllowed):
        return None
    return policy


def by_hand_texts(identity: Identity | None, now_ms: int) -> list[str]:
    """Return what a health report says where a person replaced the keys here in the last day."""
    if identity is None or not identity.by_hand_ms or now_ms > identity.by_hand_ms + SAID_FOR_MS:
        return []
    at = from_wall_ms(identity.by_hand_ms).strftime("%Y-%m-%d %H:%M UTC")
    ids = ", ".join(key.keyid for key in identity.site_signers)
    return [f"site keys were replaced by hand on {at}: now {ids}"]
