"""Health that is not well, now: what begins to count as trouble, and what is over.

Here: one look for a turn, and one for the process of the jobs. What each source tells is in
`standing`, `reports` and `slow`; what becomes of it in `lasting`. The rule: what is cheap is looked
at in the turn, so that a dark site is known at once; what has to be decoded or computed is looked
at by the jobs, so that it delays no page.
"""

from vedette.central.alerting import documents, lasting, reports, slow, standing, unlisted
from vedette.central.alerting.facts import Book, Signal
from vedette.central.store.db import Database, Tx


async def look(tx: Tx, book: Book, now_ms: int) -> list[Signal]:
    """Return what began to count as trouble and what is over: edges only, each once."""
    await standing.look(tx, book, now_ms)
    return await lasting.due(tx, book, now_ms)


async def observe(db: Database, now_ms: int) -> None:
    """Note what reports tell and what has to be computed; a turn makes signals of it."""
    await reports.look(db, now_ms)
    await slow.look(db, now_ms)
    async with db.transaction() as tx:
        book = await documents.current(tx)
        await standing.lose(tx, book, now_ms)
        last_ms = await standing.looked_ms(tx, unlisted.SOURCE)
    gone = await unlisted.look(db, book, last_ms, now_ms)
    if gone is not None:
        async with db.transaction() as tx:
            await unlisted.keep(tx, gone, book, now_ms)
