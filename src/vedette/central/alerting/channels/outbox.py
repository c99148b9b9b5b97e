"""What is to be sent: rows, written in the transaction that decided them.

What lives here: putting in notices and other things. What does not: sending (`dispatch`). The rule:
a key is sent once, however often it is put; a newer notice takes the place of pages about the same
incident that still wait for the same address.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central.alerting.channels import words
from vedette.central.alerting.facts import Notice
from vedette.central.store.db import Tx
from vedette.errors import ConfigError
from vedette.ids import new_id

KEPT_TRYING_MS: Final = 3 * 86_400_000
MAX_BODY_BYTES: Final = 256 * 1024
NOTICE: Final = 0
OTHER: Final = 5
"""Priorities: people are told before programs are fed."""


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """Something other than a notice to be sent: the same care, another body.

    Attributes:
        key: Unique over everything that is ever sent.
        kind: What it is, in a word; shown in lists.
        media: Media type of `body`, as `application/cloudevents+json`.
        address: On the channel: a topic below the prefix for MQTT; empty: the channel's own.
        subject: In a line, for lists.
        due_ms: Not before; 0: now.
    """

    key: str
    channel: str
    kind: str
    media: str
    body: bytes
    address: str = ""
    subject: str = ""
    due_ms: int = 0
    priority: int = OTHER
    kept_trying_ms: int = KEPT_TRYING_MS


async def put(tx: Tx, notices: Sequence[Notice], now_ms: int) -> int:
    """Have each notice waiting to be sent, once; return how many are new.

    Publish `facts.NOW` on the bulletin after the commit: the dispatcher looks at once.
    """
    new = 0
    for notice in notices:
        added = await tx.run(
            "delivery_put",
            delivery=new_id("dl"),
            key=notice.key,
            channel=notice.channel,
            address=notice.address,
            person=notice.person,
            incident=notice.incident.incident,
            kind=str(notice.kind),
            now_ms=now_ms,
            asked_ms=notice.due_ms,
            due_ms=now_ms,
            body=msgspec.json.encode(notice),
            media="",
            priority=NOTICE,
            until_ms=now_ms + KEPT_TRYING_MS,
            subject=words.subject(notice),
        )
        if added:
            new += 1
            await tx.run("deliveries_replaced", key=notice.key, now_ms=now_ms)
    return new


async def put_parcel(tx: Tx, parcel: Parcel, now_ms: int) -> bool:
    """Have it waiting to be sent, once; False where its key was put before.

    Raises:
        ConfigError: It is too large, or says no media type.
    """
    if len(parcel.body) > MAX_BODY_BYTES or not parcel.media:
        raise ConfigError(
            f"a delivery of {len(parcel.body)} bytes; at most {MAX_BODY_BYTES}, with a media type",
            operator_hint="send a link to what is larger",
        )
    due_ms = parcel.due_ms or now_ms
    return bool(
        await tx.run(
            "delivery_put",
            delivery=new_id("dl"),
            key=parcel.key,
            channel=parcel.channel,
            address=parcel.address,
            person="",
            incident="",
            kind=parcel.kind,
            now_ms=now_ms,
            asked_ms=due_ms,
            due_ms=due_ms,
            body=parcel.body,
            media=parcel.media,
            priority=parcel.priority,
            until_ms=due_ms + parcel.kept_trying_ms,
            subject=parcel.subject,
        )
    )
