"""Many packages in one download, through the operator API.

The rule: it takes the role operator, holds what the asker may see, and a look at each package
stands in the audit log before the first byte goes.
"""

from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter
from litestar.response import Stream

from vedette.central import audit
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import NotThere, TheServices, TheSession
from vedette.central.exporting import archive
from vedette.central.exporting.archive import Plan, Wish
from vedette.central.services import Services

From = Annotated[int, QueryParameter(description="Events from then on, ms", ge=0, le=2**53)]
To = Annotated[int, QueryParameter(description="Events before then, ms", ge=0, le=2**53)]
AtSite = Annotated[str, QueryParameter(description="Only at this site")]
OfDevice = Annotated[str, QueryParameter(description="Only of this device")]
OfCamera = Annotated[str, QueryParameter(description="Only of this camera")]
OfKind = Annotated[str, QueryParameter(description="Only events of this kind")]
Held = Annotated[bool, QueryParameter(description="Only what is held")]


class ArchivePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive would hold: how much, and how many are left out for which reason."""

    packages: int
    bytes: int
    left_out: dict[str, int]


@get("/archive/plan", summary="What an archive of clips would hold (operator)")
async def read_plan(  # noqa: PLR0917 - each is a filter
    services: TheServices,
    session: TheSession,
    from_ms: From,
    to_ms: To,
    site: AtSite = "",
    device: OfDevice = "",
    camera: OfCamera = "",
    kind: OfKind = "",
    held: Held = False,
) -> ArchivePlan:
    """Return it; nothing is downloaded."""
    wish = Wish(
        from_ms=from_ms, to_ms=to_ms, site=site, device=device, camera=camera, kind=kind, held=held
    )
    chosen = await _plan(services, session, wish)
    return ArchivePlan(
        packages=len(chosen.packages), bytes=chosen.size_bytes, left_out=chosen.reasons()
    )


@get("/archive", summary="The clips of a time that are here, in one zip (operator)")
async def read_archive(  # noqa: PLR0917 - each is a filter
    services: TheServices,
    session: TheSession,
    from_ms: From,
    to_ms: To,
    site: AtSite = "",
    device: OfDevice = "",
    camera: OfCamera = "",
    kind: OfKind = "",
    held: Held = False,
) -> Response[Any]:
    """Return the zip; its `manifest.json` says what is inside and what is not, and why."""
    wish = Wish(
        from_ms=from_ms, to_ms=to_ms, site=site, device=device, camera=camera, kind=kind, held=held
    )
    chosen = await _plan(services, session, wish)
    if not chosen.packages:
        raise NotThere(detail="no clip of such an event is here: ask for the clips first")
    now_ms, actor = services.now_ms(), session.username
    async with services.db.transaction() as tx:
        await archive.look(tx, chosen, actor=actor, now_ms=now_ms)
        await audit.write(
            tx,
            at_ms=now_ms,
            actor=actor,
            action="archive.download",
            detail={"packages": len(chosen.packages), **msgspec.to_builtins(wish)},
        )
    return Stream(
        archive.zipped(services.blobs, chosen, actor=actor, now_ms=now_ms),
        media_type="application/zip",
        headers={
            "Content-Disposition": 'attachment; filename="evidence.zip"',
            "Vedette-Packages": str(len(chosen.packages)),
            "Vedette-Bytes": str(chosen.size_bytes),
        },
    )


async def _plan(services: Services, session: Session, wish: Wish) -> Plan:
    access.require(session, "operator")
    async with services.db.transaction() as tx:
        return await archive.plan(tx, wish, session.sites, services.now_ms())


ROUTES: Final = [read_plan, read_archive]
