"""What came of commissioning cameras, through the operator API."""

from typing import Final

from litestar import Response, get
from litestar.params import FromPath

from vedette.central import commissioned
from vedette.central.api.access import AnyRequest, TheServices, TheSession
from vedette.central.api.paging import Cursor, Cursors, Limit, cut, paged
from vedette.central.api.reading import require_camera
from vedette.central.commissioned import Commissioning


@get(
    "/sites/{site:str}/devices/{device:str}/cameras/{camera:str}/commissionings",
    summary="Who commissioned a camera, what they confirmed, and how well it did",
)
async def read_commissionings(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[list[Commissioning]]:
    """Return the newest 20, the newest first; empty where nobody ever did."""
    await require_camera(services, session, (site, device, camera))
    async with services.db.transaction() as tx:
        found = await commissioned.of_camera(tx, device, camera)
    cursors = Cursors(services, "commissionings", device, camera)
    page, further = cut(found, lambda row: (-row.at_ms,), cursors, cursor, limit)
    return paged(request, page, further)


ROUTES: Final = [read_commissionings]
