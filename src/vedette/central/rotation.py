"""Which key speaks for a device: access tokens, and the change from one key to the next.

What lives here: assertions become tokens, announced keys become the key. What does not: enrolment
and revocation (`central.enrolment`). The rule: from the moment in which a device announces its next
key until that key is first used both may speak, so that no answer that is lost and no crash on
either side locks the device out; from its first use on the old key never speaks again. While two
copies of a device may be alive nothing of that goes on: whichever came first would keep the name.
"""

import logging
import secrets
from typing import Final

import msgspec

from vedette.central import audit, desired
from vedette.central.enrolment import secret_hash
from vedette.central.ingest.clones import Lives, is_suspected
from vedette.central.store.db import Tx
from vedette.errors import (
    BadSignature,
    ConfigError,
    ConflictError,
    NotAllowed,
    Retry,
    VedetteError,
)
from vedette.trust.assertion import Assertion, signer_of, verify_assertion
from vedette.trust.keys import SIGNATURE_BYTES, PublicKey, from_text
from vedette.wire.enrol import RotateAnswer, RotateRequest, TokenAnswer

_log = logging.getLogger(__name__)
_AT_ONCE: Final = 200


class _Keys(msgspec.Struct, frozen=True, kw_only=True):
    public_key: str
    next_key: str | None
    generation: int
    quarantined_ms: int | None
    lives: bytes | None

    def is_doubtful(self, now_ms: int) -> bool:
        """True while it is not certain that one machine alone has the key."""
        lives = msgspec.msgpack.decode(self.lives, type=Lives) if self.lives else Lives()
        return self.quarantined_ms is not None or is_suspected(lives, now_ms)


class Undecided(VedetteError):
    """Not now: it may be two machines that ask with one key."""

    retry = Retry.LATER


async def make_token(
    tx: Tx, assertion: str, *, device: str, audience: str, life_s: int, now_ms: int
) -> TokenAnswer:
    """Return an access token for the device that signed `assertion` over our nonce.

    `device` is the name in the assertion, not yet believed: it chooses the key.

    Raises:
        BadSignature: Not signed by that device for us, or the nonce was used or is too old.
    """
    keys = await _keys(tx, device)
    wants_next = bool(keys and keys.next_key) and _is_by(assertion, keys.next_key if keys else "")
    chosen = (keys.next_key if wants_next else keys.public_key) if keys else None
    verified = await _verify(tx, assertion, chosen, device=device, audience=audience, now_ms=now_ms)
    if keys is None or verified.next_key:
        raise BadSignature("an assertion that announces a key is no request for a token")
    generation = keys.generation
    if wants_next and not keys.is_doubtful(now_ms):
        generation = await _promote(tx, verified.device, keys, now_ms)
    token = secrets.token_urlsafe(32)
    await tx.run(
        "token_put",
        token_hash=secret_hash(token),
        device=verified.device,
        generation=generation,
        expires_ms=now_ms + life_s * 1000,
    )
    return TokenAnswer(access_token=token, expires_in=life_s)


async def announce(
    tx: Tx, request: RotateRequest, *, device: str, audience: str, now_ms: int
) -> RotateAnswer:
    """Have the key that `device` names accepted beside its present one; the same again is the same.

    Raises:
        BadSignature: Not signed by both keys, for us, over a nonce of ours.
        NotAllowed: The device is in quarantine: nobody knows which of its copies asks.
        Undecided: It may have to go there within minutes; it asks again.
        ConflictError: That key is or was a device's.
    """
    keys = await _keys(tx, device)
    verified = await _verify(
        tx,
        request.assertion,
        keys.public_key if keys else None,
        device=device,
        audience=audience,
        now_ms=now_ms,
    )
    following = PublicKey.from_text(verified.next_key)
    if len(request.proof) > 2 * SIGNATURE_BYTES:
        raise BadSignature("too long for a proof of possession")
    following.verify(from_text(request.proof), request.assertion.encode())
    if keys is None or keys.quarantined_ms is not None:
        raise NotAllowed(
            "this device is in quarantine",
            operator_hint="an operator has to release or re-enrol it",
        )
    if keys.is_doubtful(now_ms):
        raise Undecided("two copies of this device may be alive; ask again in some minutes")
    if keys.next_key != following.text:
        if await tx.value("key_is_used", public_key=following.text):
            raise ConflictError("this key is or was a device's", operator_hint="make a fresh one")
        await tx.run(
            "next_key_set", device=verified.device, public_key=following.text, now_ms=now_ms
        )
        await audit.write(
            tx,
            at_ms=now_ms,
            actor=f"device:{verified.device}",
            action="key.announce",
            target=verified.device,
            detail={"keyid": following.keyid},
        )
    return RotateAnswer(keyid=following.keyid)


async def ask_rotation(tx: Tx, device: str, *, actor: str, now_ms: int) -> None:
    """Have the device make itself another key at its next contact.

    Raises:
        ConfigError: No such device, or it was revoked.
        ConflictError: It is in quarantine: the copy that answered first would keep the name.
    """
    if not await tx.run("rotate_ask", device=device, now_ms=now_ms):
        keys = await _keys(tx, device)
        if keys is not None and keys.quarantined_ms is not None:
            raise ConflictError(
                f"{device} is in quarantine: whichever copy answered first would keep its name",
                operator_hint="judge it first: release it, or re-enrol it, which ends both keys",
            )
        raise ConfigError(f"no device named {device!r} that could change its key")
    await desired.refresh(tx, device, now_ms)
    await audit.write(tx, at_ms=now_ms, actor=actor, action="key.demand", target=device)


async def ask_old_keys(tx: Tx, max_age_days: int, now_ms: int) -> list[str]:
    """Ask devices whose key is older than `max_age_days` for another; return which, a few at once.

    0 days: keys may get as old as they like.
    """
    if not max_age_days:
        return []
    before_ms = now_ms - max_age_days * 86_400_000
    due = await tx.tuples("rotate_due", before_ms=before_ms, limit=_AT_ONCE)
    for (device,) in due:
        await ask_rotation(tx, device, actor="central", now_ms=now_ms)
    return [device for (device,) in due]


async def _keys(tx: Tx, device: str) -> _Keys | None:
    return await tx.one("device_keys", _Keys, device=device[:128].replace("\0", ""))


def _is_by(assertion: str, key: str | None) -> bool:
    return bool(key) and signer_of(assertion) == PublicKey.from_text(key or "").keyid


async def _verify(
    tx: Tx, assertion: str, key: str | None, *, device: str, audience: str, now_ms: int
) -> Assertion:
    """Return what `assertion` says, signed by `key`, after its nonce was used up."""
    public = PublicKey.from_text(key) if key else None
    verified = verify_assertion(
        assertion, key_of=lambda name: public if name == device else None, audience=audience
    )
    spent = await tx.value("nonce_take", nonce_hash=secret_hash(verified.nonce), now_ms=now_ms)
    if spent is None:
        raise BadSignature("the nonce was used, is too old or is not ours")
    return verified


async def _promote(tx: Tx, device: str, keys: _Keys, now_ms: int) -> int:
    """Make the announced key the only one; return the generation that tokens get from now on."""
    await tx.run(
        "key_retire", public_key=keys.public_key, device=device, now_ms=now_ms, why="rotated"
    )
    generation = int(str(await tx.value("next_key_promote", device=device, now_ms=now_ms)))
    await desired.refresh(tx, device, now_ms)
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=f"device:{device}",
        action="key.rotate",
        target=device,
        detail={"keyid": PublicKey.from_text(keys.next_key or "").keyid},
    )
    _log.info(
        "a device speaks with its next key",
        extra={"event": "device.key_rotated", "device": device},
    )
    return generation
