"""The audit log: every change and every look at pixels, each entry hashed over the one before.

Whoever can write the database can rewrite the whole chain; nobody can take one entry out of the
middle unseen. `check` finds the first broken link, `follow` goes on from where it last came to.
"""

import hashlib

import msgspec

from vedette.central.store.db import Database, Tx

_GENESIS = bytes(32)
_PAGE = 1000
_WHOLE_AGAIN_MS = 86_400_000


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


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are asked for; what is empty or None asks for nothing in particular.

    Attributes:
        action: What was done, or how it begins: `user.` is everything done to users.
        target: What it was done to, or how that begins.
    """

    actor: str = ""
    action: str = ""
    target: str = ""
    from_ms: int | None = None
    to_ms: int | None = None


async def search(
    tx: Tx, filters: Filters, *, below: int | None = None, limit: int = 100
) -> list[Entry]:
    """Return the entries that the filters leave, below a number (None: the newest) first."""
    return await tx.all(
        "audit_search",
        Entry,
        actor=filters.actor.replace("\0", ""),
        action=filters.action.replace("\0", ""),
        target=filters.target.replace("\0", ""),
        from_ms=filters.from_ms,
        to_ms=filters.to_ms,
        below=below or 2**62,
        limit=limit,
    )


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """How far the chain was followed.

    Attributes:
        number: The last entry that follows from the first one without a break.
        whole_ms: When it was last followed from the beginning.
        checked_ms: When it was last followed from where it had been followed to before.
        broken: The first entry that does not follow; None: there is none up to `number`.
    """

    number: int
    hash: bytes
    whole_ms: int
    checked_ms: int
    broken: int | None


async def last_check(tx: Tx) -> Check | None:
    """Return how far the chain was followed; None: it never was."""
    return await tx.one("audit_check_get", Check)


async def follow(db: Database, now_ms: int, *, whole: bool = False) -> Check:
    """Follow the chain from where it was followed to, or from its beginning, and remember that.

    Once a day it is from the beginning anyway: what was changed further back shows only then.
    A chain that is shorter than it was is broken too: nobody can cut off its end unseen by whoever
    followed it before. Each page is its own transaction, so that nobody waits for this.
    """
    async with db.transaction() as tx:
        known = await last_check(tx)
    anew = whole or known is None or known.broken is not None
    anew = anew or now_ms - (known.whole_ms if known else 0) > _WHOLE_AGAIN_MS
    number, prev_hash = (0, _GENESIS) if anew or known is None else (known.number, known.hash)
    broken = None if anew else await _stands(db, number, prev_hash)
    while broken is None:
        async with db.transaction() as tx:
            entries = await tx.all("audit_from", Entry, first=number + 1, limit=_PAGE)
        for entry in entries:
            if not follows(entry, number, prev_hash):
                broken = number + 1
                break
            number, prev_hash = entry.number, entry.hash
        if len(entries) < _PAGE:
            break
    if broken is None and known and number < known.number:
        broken = number + 1
    found = Check(
        number=number,
        hash=prev_hash,
        whole_ms=now_ms if anew or known is None else known.whole_ms,
        checked_ms=now_ms,
        broken=broken,
    )
    async with db.transaction() as tx:
        await tx.run("audit_check_put", **msgspec.structs.asdict(found))
    return found


def follows(entry: Entry, number: int, prev_hash: bytes) -> bool:
    """True where an entry is what was written after entry `number` with this hash."""
    expected = link(
        prev_hash,
        number=number + 1,
        at_ms=entry.at_ms,
        actor=entry.actor,
        action=entry.action,
        target=entry.target,
        detail=entry.detail,
    )
    return (entry.number, entry.prev_hash, entry.hash) == (number + 1, prev_hash, expected)


async def _stands(db: Database, number: int, hashed: bytes) -> int | None:
    """Return the entry that was the last one when it is not any more what it was; None: it is."""
    if number == 0:
        return None
    async with db.transaction() as tx:
        found = await tx.all("audit_from", Entry, first=number, limit=1)
    return None if found and (found[0].number, found[0].hash) == (number, hashed) else number


async def check(db: Database) -> int | None:
    """Return the number of the first entry that does not follow the one before; None: whole."""
    prev_hash, number = _GENESIS, 0
    async with db.transaction() as tx:
        while True:
            entries = await tx.all("audit_from", Entry, first=number + 1, limit=_PAGE)
            for entry in entries:
                if not follows(entry, number, prev_hash):
                    return number + 1
                number, prev_hash = entry.number, entry.hash
            if len(entries) < _PAGE:
                return None
