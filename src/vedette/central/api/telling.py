"""What happened, and how a device is, through the operator API. Read only.

The rule: a timeline tells everybody in scope what devices and cameras did; what people did, and
who it was, it tells to operators.
"""

from typing import Annotated, Final

import msgspec
from litestar import Response, get
from litestar.params import FromPath, QueryParameter

from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.diagnosing import DEVICE
from vedette.central.api.paging import Cursor, Cursors, Limit, paged
from vedette.central.condition import advice, reading
from vedette.central.condition.advice import Finding
from vedette.central.condition.drain import Drain
from vedette.central.condition.tiers import Tier
from vedette.central.enrolment import get_site
from vedette.central.rollups import DAY_MS, HOUR_MS
from vedette.central.services import Services
from vedette.central.timeline import merging
from vedette.central.timeline import reading as timeline
from vedette.central.timeline.merging import Entry
from vedette.central.timeline.reading import Of
from vedette.central.timeline.spells import Spell
from vedette.ids import is_slug

WEEK_MS: Final = 7 * DAY_MS

Kinds = Annotated[
    str,
    QueryParameter(name="kind", description="Only these, with commas between", max_length=200),
]


class TimelineView(msgspec.Struct, frozen=True, kw_only=True):
    """A page of what happened, newest first; `next_cursor` asks for the next, null on the last."""

    entries: list[Entry]
    next_cursor: str | None


class ConditionView(msgspec.Struct, frozen=True, kw_only=True):
    """How a device is: its parts, what is wrong, how its backlog goes, when it was held back.

    Attributes:
        told_ms: When the report was made that this is read from; null where none ever came.
        held_back: The spells of the last 7 days in which heat or want of power held it back.
    """

    device: str
    site: str
    state: str
    told_ms: int | None
    tiers: list[Tier]
    findings: list[Finding]
    backlog: Drain
    held_back: list[Spell]
    held_back_s: float


def of_timeline(session: Session, site: str, device: str, kinds: str) -> Of:
    """Return what somebody may see of a timeline.

    Raises:
        NotThere: The site is out of scope.
        ConfigError: No such kind.
    """
    access.require_site(session, site)
    if not is_slug(site) or (device and not is_slug(device)):
        raise NotThere(detail="there is no such place")
    return Of(
        site=site,
        device=device,
        kinds=timeline.check_kinds(kinds),
        people=access.may(session, "operator"),
    )


def cursors_of(services: Services, of: Of) -> Cursors:
    """Return the cursors of one timeline with its filter and its reader's rights."""
    return Cursors(services, "timeline", of.site, of.device, sorted(of.kinds), of.people)


async def timeline_page(
    services: Services, of: Of, cursor: str, limit: int
) -> tuple[list[Entry], str | None]:
    """Return a page of a timeline and the cursor of the next."""
    cursors = cursors_of(services, of)
    after = cursors.read(cursor, merging.Place)
    async with services.db.transaction() as tx:
        found = await timeline.page(tx, of, after, limit + 1, services.now_ms())
    return cursors.ends(found, merging.place, limit)


@get(f"{DEVICE}/timeline", summary="Everything that happened to a device, newest first")
async def read_device_timeline(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    kind: Kinds = "",
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[TimelineView]:
    """Return starts, gaps, dark spells, updates, heat, keys and what people did; revoked too."""
    of = of_timeline(session, site, device, kind)
    async with services.db.transaction() as tx:
        if await reading.machine(tx, site, device, session.sites) is None:
            raise NotThere(detail="there is no such device")
    found, further = await timeline_page(services, of, cursor, limit)
    return paged(request, TimelineView(entries=found, next_cursor=further), further)


@get("/sites/{site:str}/timeline", summary="Everything that happened at a site, newest first")
async def read_site_timeline(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    kind: Kinds = "",
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[TimelineView]:
    """Return what happened to all its devices and cameras, and to the site itself."""
    of = of_timeline(session, site, "", kind)
    async with services.db.transaction() as tx:
        await get_site(tx, site)
    found, further = await timeline_page(services, of, cursor, limit)
    return paged(request, TimelineView(entries=found, next_cursor=further), further)


@get(f"{DEVICE}/condition", summary="How a device is, what is wrong, and what to do")
async def read_condition(
    services: TheServices, session: TheSession, site: FromPath[str], device: FromPath[str]
) -> ConditionView:
    """Return its parts as its newest report tells them, and when it was held back in 7 days."""
    access.require_site(session, site)
    now_ms = services.now_ms()
    window = (now_ms - HOUR_MS, now_ms)
    view = await reading.device_view(services.db, (site, device), window, now_ms, session.sites)
    if view is None:
        raise NotThere(detail="there is no such device")
    return ConditionView(
        device=device,
        site=site,
        state=view.row.state,
        told_ms=view.machine.health_at_ms,
        tiers=view.tiers,
        findings=advice.findings_of(view.row),
        backlog=view.drain,
        held_back=view.held_back,
        held_back_s=sum(one.end_ms - one.start_ms for one in view.held_back) / 1000,
    )


ROUTES: Final = [read_device_timeline, read_site_timeline, read_condition]
