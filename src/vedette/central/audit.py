"""The audit log: every change and every look at pixels, each entry hashed over the one before.

Whoever can write the database can rewrite the whole chain; nobody can take one entry out of the
middle unseen. `check` finds the first broken link.
"""

import hashlib

import msgspec

from vedette.central.store.db import Database, Tx

_GENESIS = bytes(32)
_PAGE = 1000


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry; `detail` is JSON."""

    number: int
    at_ms: int
    actor: str
    action: str
    target: str
    detail: bytes
    prev_hash: bytes
    hash: bytes


class _Head(msgspec.Struct, frozen=True):
    number: int
    hash: bytes


def link(
    prev_hash: bytes,
    *,
    number: int,
    at_ms: int,
    actor: str,
    action: str,
    target: str,
    detail: bytes,
) -> bytes:
    """Return the hash of one entry over everything in it and over the entry before."""
    text = msgspec.json.encode([number, at_ms, actor, action, target, detail.decode()])
    return hashlib.sha256(prev_hash + text).digest()


async def write(
    tx: Tx,
    *,
    at_ms: int,
    actor: str,
    action: str,
    target: str = "",
    detail: dict[str, object] | None = None,
) -> None:
    """Add one entry in the caller's transaction: change and record stand or fall together."""
    await tx.value("audit_lock")
    head = await tx.one("audit_head", _Head)
    number, prev_hash = (head.number + 1, head.hash) if head else (1, _GENESIS)
    encoded = msgspec.json.encode(detail or {})
    await tx.run(
        "audit_put",
        number=number,
        at_ms=at_ms,
        actor=actor,
        action=action,
        target=target,
        detail=encoded,
        prev_hash=prev_hash,
        hash=link(
            prev_hash,
            number=number,
            at_ms=at_ms,
            actor=actor,
            action=action,
            target=target,
            detail=encoded,
        ),
    )


async def page(db: Database, below: int | None = None, limit: int = 100) -> list[Entry]:
    """Return entries below number `below` (None: the newest), newest first."""
    async with db.transaction() as tx:
        return await tx.all("audit_page", Entry, below=below or 2**62, limit=limit)


async def check(db: Database) -> int | None:
    """Return the number of the first entry that does not follow the one before; None: whole."""
    prev_hash, number = _GENESIS, 0
    async with db.transaction() as tx:
        while True:
            entries = await tx.all("audit_from", Entry, first=number + 1, limit=_PAGE)
            for entry in entries:
                number += 1
                expected = link(
                    prev_hash,
                    number=number,
                    at_ms=entry.at_ms,
                    actor=entry.actor,
                    action=entry.action,
                    target=entry.target,
                    detail=entry.detail,
                )
                if (entry.number, entry.prev_hash, entry.hash) != (number, prev_hash, expected):
                    return number
                prev_hash = entry.hash
            if len(entries) < _PAGE:
                return None
