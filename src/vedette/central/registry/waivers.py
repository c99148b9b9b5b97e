"""Waivers: somebody signed that a gate shall not hold back a version, for a reason, until a day.

A waiver is a document (DSSE) by a key that an administrator named here. It is kept whole and
verified again each time it is looked at, so that taking a signer away takes their waivers away. The
rule: a waiver changes no verdict of a gate; it stands beside it, with who, why and until when. It
does not let anything out either: what devices install is approved by the offline keys.
"""

import hashlib
from typing import Final

import msgspec

from vedette.central import audit
from vedette.central.registry.store import get_model, get_version
from vedette.central.store.db import Tx
from vedette.errors import ConfigError, Expired, NotAllowed, TrustError, WireError
from vedette.trust import dsse
from vedette.trust.keys import PublicKey, SigningKey
from vedette.wire.evaluation import WAIVER_TYPE, Waiver, is_digest
from vedette.wire.signed import Signed

MAX_SIGNERS: Final = 50
MAX_WAIVERS: Final = 100
MAX_DAYS: Final = 90
"""A waiver is for the time until the matter is mended, not instead of mending it."""
_DAY_MS: Final = 86_400_000


class SignerRow(msgspec.Struct, frozen=True, kw_only=True):
    """Who may sign waivers."""

    keyid: str
    key: str
    name: str
    added_ms: int
    added_by: str


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    waiver: str
    digest: str
    received_ms: int
    actor: str
    document: bytes
    taken_ms: int | None
    taken_by: str | None


class WaiverView(msgspec.Struct, frozen=True, kw_only=True):
    """A waiver, and whether it stands.

    Attributes:
        stands: Signed by a signer of today, not taken back, not over.
        why_not: In words where it does not.
        signers: Names of those whose signature holds.
    """

    waiver: str
    gates: list[str]
    reason: str
    by: str
    issued_ms: int
    expires_ms: int
    received_ms: int
    received_from: str
    signers: list[str]
    stands: bool
    why_not: str = ""


def sign(waiver: Waiver, key: SigningKey) -> Signed:
    """Return the document."""
    return dsse.sign_struct(waiver, WAIVER_TYPE, [key])


def covers(waiver: WaiverView, gate: str) -> bool:
    """True where a standing waiver names this gate; a `*` at the end stands for the rest."""
    return waiver.stands and any(
        gate == named or (named.endswith("*") and gate.startswith(named[:-1]))
        for named in waiver.gates
    )


async def signers(tx: Tx) -> list[SignerRow]:
    """Return who may sign waivers, by name."""
    return await tx.all("model_signers_all", SignerRow)


async def add_signer(tx: Tx, key: str, name: str, *, actor: str, now_ms: int) -> SignerRow:
    """Have waivers by this key count.

    Raises:
        BadSignature: Not a key.
        ConfigError: A name that is none, or too many signers.
    """
    public = PublicKey.from_text(key)
    if not name.strip() or len(name) > 128 or not name.isprintable():
        raise ConfigError("a signer has a name of 1 to 128 printable characters")
    known = await signers(tx)
    if len(known) >= MAX_SIGNERS and public.keyid not in {row.keyid for row in known}:
        raise ConfigError(f"at most {MAX_SIGNERS} signers")
    await tx.run(
        "model_signer_put",
        keyid=public.keyid,
        key=public.text,
        name=name,
        now_ms=now_ms,
        actor=actor,
    )
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action="model.signer",
        target=public.keyid,
        detail={"name": name, "key": public.text},
    )
    return next(row for row in await signers(tx) if row.keyid == public.keyid)


async def drop_signer(tx: Tx, keyid: str, *, actor: str, now_ms: int) -> bool:
    """Return whether there was such a signer; what only they signed stands no more."""
    gone = await tx.run("model_signer_drop", keyid=keyid[:64].replace("\0", "")) > 0
    if gone:
        await audit.write(
            tx, at_ms=now_ms, actor=actor, action="model.signer_removed", target=keyid[:64]
        )
    return gone


async def add(tx: Tx, digest: str, signed: Signed, *, actor: str, now_ms: int) -> WaiverView:
    """Store a waiver of a version; the caller judges anew.

    Raises:
        NoSuchModel: The version is not registered.
        BadSignature: Nobody signed it who may.
        NotAllowed: Of another version, for too long, or it says more than it may.
        Expired: It is over already.
        MalformedReport: Signed, but no waiver.
    """
    version = await get_version(tx, digest)
    await get_model(tx, version.model, hold=True)
    waiver = _open(signed, await signers(tx))
    if waiver.digest != digest:
        raise NotAllowed(f"this waiver is of {waiver.digest[:80]!r}, not of {digest}")
    if waiver.expires_ms <= now_ms:
        raise Expired("this waiver is over already", operator_hint="sign a new one")
    if waiver.expires_ms - waiver.issued_ms > MAX_DAYS * _DAY_MS:
        raise NotAllowed(f"a waiver is for at most {MAX_DAYS} days")
    if waiver.issued_ms > now_ms + _DAY_MS:
        raise NotAllowed("this waiver is dated in the future")
    held = await _rows(tx, digest)
    name = hashlib.sha256(signed.payload.encode()).hexdigest()
    if len(held) >= MAX_WAIVERS and name not in {row.waiver for row in held}:
        raise ConfigError(f"at most {MAX_WAIVERS} waivers of a version")
    stored = await tx.run(
        "model_waiver_put",
        waiver=name,
        digest=digest,
        now_ms=now_ms,
        actor=actor,
        document=msgspec.json.encode(signed),
    )
    if stored:
        await audit.write(
            tx,
            at_ms=now_ms,
            actor=actor,
            action="model.waive",
            target=f"{version.model}/{version.version}",
            detail={
                "digest": digest,
                "waiver": name,
                "gates": waiver.gates,
                "reason": waiver.reason,
                "by": waiver.by,
                "expires_ms": waiver.expires_ms,
            },
        )
    return next(view for view in await of(tx, digest, now_ms) if view.waiver == name)


async def take_back(tx: Tx, digest: str, waiver: str, *, actor: str, now_ms: int) -> bool:
    """Return whether a standing waiver was taken back; the caller judges anew."""
    version = await get_version(tx, digest)
    await get_model(tx, version.model, hold=True)
    taken = await tx.run(
        "model_waiver_take",
        waiver=waiver[:64].replace("\0", ""),
        digest=digest,
        now_ms=now_ms,
        actor=actor,
    )
    if taken:
        await audit.write(
            tx,
            at_ms=now_ms,
            actor=actor,
            action="model.waiver_taken_back",
            target=f"{version.model}/{version.version}",
            detail={"digest": digest, "waiver": waiver[:64]},
        )
    return taken > 0


async def of(tx: Tx, digest: str, now_ms: int) -> list[WaiverView]:
    """Return the waivers of a version, each verified anew, oldest first."""
    known = await signers(tx)
    return [_view(row, known, now_ms) for row in await _rows(tx, digest)]


async def _rows(tx: Tx, digest: str) -> list[_Row]:
    return await tx.all("model_waivers_of", _Row, digest=digest)


def _open(signed: Signed, known: list[SignerRow]) -> Waiver:
    if not known:
        raise NotAllowed(
            "nobody may sign waivers here",
            operator_hint="an administrator names one: vedette central models signer add",
        )
    keys = [PublicKey.from_text(row.key) for row in known]
    waiver = dsse.open_struct(signed, Waiver, keys, payload_type=WAIVER_TYPE)
    if not is_digest(waiver.digest):
        raise NotAllowed("a waiver names the digest of a bundle")
    return waiver


def _view(row: _Row, known: list[SignerRow], now_ms: int) -> WaiverView:
    signed = msgspec.json.decode(row.document, type=Signed)
    claimed = msgspec.json.decode(dsse.from_text(signed.payload), type=Waiver)
    names = [one.name for one in known if _signed_by(signed, one)]
    why_not = ""
    if row.taken_ms is not None:
        why_not = f"taken back by {row.taken_by}"
    elif not names:
        why_not = "who signed it may not any more"
    elif claimed.expires_ms <= now_ms:
        why_not = "it is over"
    return WaiverView(
        waiver=row.waiver,
        gates=claimed.gates,
        reason=claimed.reason,
        by=claimed.by,
        issued_ms=claimed.issued_ms,
        expires_ms=claimed.expires_ms,
        received_ms=row.received_ms,
        received_from=row.actor,
        signers=names,
        stands=not why_not,
        why_not=why_not,
    )


def _signed_by(signed: Signed, one: SignerRow) -> bool:
    try:
        dsse.verify(signed, [PublicKey.from_text(one.key)], payload_type=WAIVER_TYPE)
    except (TrustError, WireError):
        return False
    return True
