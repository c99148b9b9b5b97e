"""The one thing that rollouts ask of the registry: may this version leave DRAFT, and why not.

The rule: whoever is not registered, not measured or not sure is not let through.
"""

from vedette.central.registry.judging import Judgement
from vedette.central.registry.judging import verdict_of as verdict_in
from vedette.central.store.db import Database, Tx
from vedette.stats.gates import Gate, Policy, Verdict

__all__ = ["Gate", "Judgement", "Policy", "Verdict", "verdict_in", "verdict_of"]


async def verdict_of(
    db: Database | Tx, digest: str, now_ms: int, *, incumbent: str | None = None
) -> Judgement:
    """Return the verdict on the bundle with this digest, with its reasons.

    Args:
        db: The database, or the caller's transaction.
        digest: `sha256:…` of the bundle.
        now_ms: Central's time: waivers end.
        incumbent: What it is compared with instead of the model's own; "": with nothing.

    Raises:
        NoSuchModel: It is not registered.
    """
    if isinstance(db, Tx):
        return await verdict_in(db, digest, now_ms, incumbent=incumbent)
    async with db.transaction() as tx:
        return await verdict_in(tx, digest, now_ms, incumbent=incumbent)
