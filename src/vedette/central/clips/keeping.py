"""How long clips stay: files that nobody names any more go.

Rows go with the jobs (`clips_expire`); this is done where the files are. The rule: what is there is
looked at while nothing is announced, so a file that is about to be named is not taken for nobody's.
"""

import asyncio
from typing import Final

from vedette.central.clips.blobs import Blobs
from vedette.central.store.db import Database

SETTLED_S: Final = 600.0
"""Parts younger than this stay, whoever names them."""


async def sweep(db: Database, blobs: Blobs, now_ms: int) -> int:
    """Free the room of clips that did not come, and drop files without a name; return how many."""
    async with db.transaction() as tx:
        await tx.value("clips_lock")
        await tx.run("clips_unasked_files", now_ms=now_ms)
        named = {str(sha256) for (sha256,) in await tx.tuples("clip_blobs")}
        return await asyncio.to_thread(blobs.sweep, named, SETTLED_S, now_s=now_ms / 1000)
