"""The keys of a site at central: passed on, checked, never made.

A replacement is signed by the site's keys before it (`trust.site_keys`); central stores the chain
and shows it to devices, which check it again. A central that was taken over can hold it back, and
nothing else. Where all keys are lost a person names new ones here and at every device: central
believes them for what it stores and for devices that enrol from then on, and no other device does.
"""

from typing import Final

import msgspec

from vedette.central import audit
from vedette.central.enrolment import check_site_keys, get_site
from vedette.central.store.db import Tx
from vedette.errors import BadSignature, ConfigError, RollbackAttempt
from vedette.trust.keys import PublicKey
from vedette.trust.site_keys import MAX_CHAIN, KeySet, claimed, step
from vedette.wire import codec
from vedette.wire.messages import HealthReport
from vedette.wire.signed import Signed, SiteKeyChain

_signed: Final = msgspec.json.Decoder(Signed)


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a site, and the documents that led to them.

    Attributes:
        policy_version: Of the policy stored here. Signed by keys that are replaced it holds only
            where a device has it already: the next one, by the new keys, needs a higher version.
        devices: Of which version the keys are that each device said last to have pinned; 0: it has
            not said.
    """

    site: str
    version: int
    threshold: int
    keys: list[str]
    documents: list[Signed] = []
    policy_version: int = 0
    devices: dict[str, int] = {}


async def chain(tx: Tx, site: str) -> list[Signed]:
    """Return the newest replacements of a site's keys, oldest first."""
    rows = await tx.tuples("site_key_documents_all", site=site, limit=MAX_CHAIN)
    return [_signed.decode(bytes(row[0])) for row in rows]


async def keys_of(tx: Tx, site: str) -> Keys:
    """Return the keys of a site.

    Raises:
        ConfigError: No such site.
    """
    return await _keys(tx, site, await chain(tx, site))


async def put_chain(
    tx: Tx, site: str, sent: SiteKeyChain, *, central: PublicKey, actor: str, now_ms: int
) -> Keys:
    """Store the documents in `sent` that are new here; the caller tells the site's devices.

    What is stored already may stand before them, so that a chain can be sent whole and again.

    Raises:
        ConfigError: No such site, or it never had a key that could sign.
        BadSignature: Too few of the keys before, or of the new ones, signed it.
        NotAllowed: For another site, or a version is left out.
        RollbackAttempt: Not newer, and not what is stored under that version.
        MalformedReport: No such document.
    """
    await tx.value("site_hold_keys", site=site)
    row = await get_site(tx, site)
    if not row.site_keys:
        raise ConfigError(
            f"{site} has no keys that could hand over to others",
            operator_hint=f"name its first ones: vedette central site keys {site} --recover",
        )
    if len(sent.documents) > MAX_CHAIN:
        raise BadSignature(f"{len(sent.documents)} documents; at most {MAX_CHAIN}")
    stored = await chain(tx, site)
    known = {document.payload for document in stored}
    held = KeySet(
        version=row.site_keys_version,
        keys=tuple(PublicKey.from_text(key) for key in row.site_keys),
        threshold=row.site_threshold,
    )
    before = held
    for document in sent.documents:
        if document.payload in known:
            continue
        _refuse_fork(held, document)
        held = step(held, document, site)
        if central in held.keys:
            raise BadSignature("central's own key is among the new ones: powers must be separate")
        await tx.run(
            "site_key_document_put",
            site=site,
            version=held.version,
            document=msgspec.json.encode(document),
            now_ms=now_ms,
        )
        stored.append(document)
    if held != before:
        await _store(tx, site, held, action="site.keys", before=before, actor=actor, now_ms=now_ms)
    return await _keys(tx, site, stored[-MAX_CHAIN:])


async def recover(
    tx: Tx,
    site: str,
    keys: list[str],
    threshold: int,
    *,
    central: PublicKey,
    actor: str,
    now_ms: int,
) -> Keys:
    """Have these keys as the site's because all others are lost; every device needs a person.

    Raises:
        ConfigError: No such site, no keys, or a threshold that cannot be.
    """
    await tx.value("site_hold_keys", site=site)
    row = await get_site(tx, site)
    check_site_keys(keys, threshold)
    if not keys or central.text in keys:
        raise ConfigError(
            "name the site's new keys with --key; central's own is none of them",
            operator_hint="make one, on another machine: vedette site key new.key",
        )
    before = KeySet(
        version=row.site_keys_version,
        keys=tuple(PublicKey.from_text(key) for key in row.site_keys),
        threshold=row.site_threshold,
    )
    wanted = KeySet.of(keys, threshold, before.version + 1)
    await tx.run("site_key_documents_forget", site=site)
    await _store(
        tx, site, wanted, action="site.keys.recover", before=before, actor=actor, now_ms=now_ms
    )
    return await keys_of(tx, site)


async def _store(
    tx: Tx, site: str, wanted: KeySet, *, action: str, before: KeySet, actor: str, now_ms: int
) -> None:
    await tx.run(
        "site_keys_set",
        site=site,
        site_keys=[key.text for key in wanted.keys],
        site_threshold=wanted.threshold,
        version=wanted.version,
    )
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action=action,
        target=site,
        detail={
            "version": wanted.version,
            "threshold": wanted.threshold,
            "keyids": [key.keyid for key in wanted.keys],
            "before": [key.keyid for key in before.keys],
        },
    )


def _refuse_fork(held: KeySet, document: Signed) -> None:
    """Raise `RollbackAttempt` where this is another text of a version that is stored."""
    said = claimed(document)
    if said.version <= held.version:
        raise RollbackAttempt(
            f"site keys version {said.version}; version {held.version} is stored",
            operator_hint=f"sign version {held.version + 1}: `vedette site replace-keys --from` the"
            " chain that `vedette central site keys SITE --output FILE` writes, or --version",
        )


async def _keys(tx: Tx, site: str, documents: list[Signed]) -> Keys:
    row = await get_site(tx, site)
    reports = await tx.tuples("site_healths", site=site)
    return Keys(
        site=row.site,
        version=row.site_keys_version,
        threshold=row.site_threshold,
        keys=row.site_keys,
        documents=documents,
        policy_version=row.policy_version,
        devices={str(device): _pinned(health) for device, health in reports},
    )


def _pinned(health: object) -> int:
    if not isinstance(health, bytes):
        return 0
    return codec.decode(health, HealthReport).site_keys_version
