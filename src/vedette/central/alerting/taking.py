"""What a link in a notice may do: have its person on the incident, once it is asked to by POST.

What lives here: whether a link still holds, and taking on. What does not: its signature (`links`),
the page. The rules: looking changes nothing; a link never takes an incident from somebody else who
has it, and none made before an incident was over does anything to it afterwards; what is shown of
the incident is the notice as it was sent, and how it stands.
"""

import contextlib
import enum
from typing import Final

import msgspec

from vedette.central.alerting import acting
from vedette.central.alerting.channels.facts import PAGES
from vedette.central.alerting.facts import Incident, IncidentState, Notice
from vedette.central.alerting.links import Named
from vedette.central.store.db import Tx
from vedette.errors import ConflictError

_KINDS: Final = frozenset(map(str, PAGES))
_incident = msgspec.json.Decoder(Incident).decode
_notice = msgspec.json.Decoder(Notice).decode


class Holds(enum.StrEnum):
    """What a link is worth now."""

    OPEN = "open"  # nobody is on it: it can be taken
    YOURS = "yours"  # its person is on it
    TAKEN = "taken"  # somebody else is
    OVER = "over"  # it is over, or was in between
    EXPIRED = "expired"
    VOID = "void"  # no link of ours, or of somebody or something that is no more


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a link names and what it is worth; `notice` None where nothing may be shown.

    Attributes:
        by: Who is on it, where the link's person is told such things.
        since_ms: Since when; of what is over, when that was.
    """

    holds: Holds
    notice: Notice | None = None
    delivery: str = ""
    by: str = ""
    since_ms: int | None = None

    @property
    def incident(self) -> str:
        """The incident's name; empty where nothing may be shown."""
        return self.notice.incident.incident if self.notice else ""


VOID: Final = Standing(holds=Holds.VOID)


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    delivery: str
    incident: str
    person: str
    kind: str
    made_ms: int
    body: bytes
    is_there: bool


async def standing(tx: Tx, named: Named, life_ms: int, now_ms: int) -> Standing:
    """Return what a link is worth at `now_ms`; changes nothing."""
    row = await tx.one(
        "take_link_of", _Row, delivery=named.delivery, made_ms=named.made_ms
    )  # fmt: skip
    if row is None or row.kind not in _KINDS or not row.is_there:
        return VOID
    if not row.made_ms <= now_ms < row.made_ms + life_ms:
        return Standing(holds=Holds.EXPIRED)
    body = await tx.value("take_incident", incident=row.incident)
    if not isinstance(body, bytes):
        return VOID
    return judged(_incident(body), _notice(row.body), row.delivery, row.made_ms)


def judged(incident: Incident, notice: Notice, delivery: str, made_ms: int) -> Standing:
    """Return what a link made then is worth with the incident as it is. Pure."""
    tells = incident.climb.as_was is None or incident.climb.as_was.tell_acknowledged
    shown = Standing(holds=Holds.OPEN, notice=notice, delivery=delivery)
    if incident.state is IncidentState.RESOLVED:
        return msgspec.structs.replace(shown, holds=Holds.OVER, since_ms=incident.resolved_ms)
    if incident.reopened_ms is not None and incident.reopened_ms > made_ms:
        return msgspec.structs.replace(shown, holds=Holds.OVER, since_ms=None)
    if incident.state is not IncidentState.ACKNOWLEDGED:
        return shown
    is_theirs = incident.ack_by == notice.person
    return msgspec.structs.replace(
        shown,
        holds=Holds.YOURS if is_theirs else Holds.TAKEN,
        by=incident.ack_by if is_theirs or tells else "",
        since_ms=incident.ack_ms,
    )


async def take(
    tx: Tx, named: Named, life_ms: int, now_ms: int, *, address: str
) -> Standing:  # fmt: skip
    """Have the link's person on the incident where it holds; return what it is worth then.

    Args:
        tx: The caller's transaction; publish `jobs.NOW` after its commit.
        named: What the link names.
        life_ms: How long a link holds.
        now_ms: Now.
        address: Where the request came from, for the audit log.
    """
    found = await standing(tx, named, life_ms, now_ms)
    if found.holds is not Holds.OPEN or found.notice is None:
        return found
    notice = found.notice

    def check(now: Incident) -> None:
        if judged(now, notice, found.delivery, named.made_ms).holds is not Holds.OPEN:
            raise ConflictError("it changed in between")

    with contextlib.suppress(ConflictError):  # whoever was faster is shown
        await acting.acknowledge(
            tx,
            notice.incident.incident,
            by=notice.person,
            now_ms=now_ms,
            check=check,
            link=acting.ByLink(
                delivery=found.delivery, round=notice.round, step=notice.step, address=address
            ),
        )
    return await standing(tx, named, life_ms, now_ms)
