"""An export tried: the newest thing that it asks for, put into the outbox once more.

The rule: it goes under a key of its own, so that it takes nobody's place; the caller waits for what
comes of it.
"""

import msgspec

from vedette.central import audit
from vedette.central.alerting.channels import outbox
from vedette.central.exporting import feeding, packing, store
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.errors import ConflictError
from vedette.ids import new_id


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """What was put: which delivery, of which event, and of how many recent ones."""

    delivery: str
    event: str
    recent: int


async def put_newest(tx: Tx, services: Services, export: str, *, by: str, now_ms: int) -> Put:
    """Have the newest thing that an export asks for waiting to be sent.

    Raises:
        ConfigError: There is no such export.
        ConflictError: There is nothing to send, or nothing to send it on.
    """
    settings = (await store.get(tx, export)).read()
    thing, recent = await feeding.newest(tx, settings, now_ms)
    if thing is None:
        raise ConflictError(
            "no event of the last seven days is one that it asks for",
            operator_hint="look at its kinds, labels and places",
        )
    kind = await store.kind_of(tx, settings.channel)
    parcel = packing.parcel_of(settings, kind, packing.linked(services, settings, thing, now_ms))
    if parcel is None:
        raise ConflictError(
            f"channel {settings.channel} is gone, carries no such thing, or it is too large"
        )
    key = f"try:{export}:{new_id('try')}"
    await outbox.put_parcel(tx, msgspec.structs.replace(parcel, key=key), now_ms)
    await audit.write(tx, at_ms=now_ms, actor=by, action="export.try", target=export)
    name = await tx.value("delivery_of_key", key=key)
    return Put(delivery=str(name), event=thing.event.event, recent=recent)
