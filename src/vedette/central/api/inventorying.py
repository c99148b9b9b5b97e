"""What cameras are and how often they fail, through the operator API. Read only."""

from typing import Final

import msgspec
from litestar import Response, get
from litestar.params import FromPath, FromQuery

from vedette.central import inventory, matrix, tree
from vedette.central.api.access import AnyRequest, TheServices, TheSession
from vedette.central.api.paging import Cursor, Cursors, Limit, cut, paged
from vedette.central.api.reading import CAMERA, DAY_MS, FromMs, ToMs, require_camera, window
from vedette.central.inventory import Item, Present
from vedette.central.matrix import MatrixRow

DEFAULT_DAYS: Final = 30


class MatrixView(msgspec.Struct, frozen=True, kw_only=True):
    """The camera matrix over a window."""

    from_ms: int
    to_ms: int
    rows: list[MatrixRow]


class InventoryView(msgspec.Struct, frozen=True, kw_only=True):
    """A page of cameras; `next_cursor` asks for the next, null on the last."""

    cameras: list[Present]
    next_cursor: str | None


@get("/cameras", summary="What each camera is, how it is now, and why it is not well")
async def read_cameras(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    q: FromQuery[str] = "*",
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[InventoryView]:
    """Return the cameras that a selection means, as they are now."""
    cursors = Cursors(services, "cameras", q)
    after = cursors.read(cursor, inventory.Key) or ("", "", "")
    async with services.db.transaction() as tx:
        chosen = None
        if q != "*":
            places = await tree.select(tx, q, "camera", session.sites)
            chosen = [(place.device, place.camera) for place in places]
        found = await inventory.present(
            tx, session.sites, chosen=chosen, after=after, limit=limit + 1
        )
    page, further = cursors.ends(found, inventory.key_of, limit)
    return paged(request, InventoryView(cameras=page, next_cursor=further), further)


@get(f"{CAMERA}/inventory", summary="What a camera was over time: when its firmware changed")
async def read_history(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[list[Item]]:
    """Return every change, oldest first."""
    await require_camera(services, session, (site, device, camera))
    async with services.db.transaction() as tx:
        found = await inventory.history(tx, [site], device=device, camera=camera)
    cursors = Cursors(services, "inventory", site, device, camera)
    return paged(request, *cut(found, lambda item: (item.since_ms,), cursors, cursor, limit))


@get("/camera-matrix", summary="Failure rates by make, model and firmware, with intervals")
async def read_matrix(
    *,
    services: TheServices,
    session: TheSession,
    q: FromQuery[str] = "*",
    from_ms: FromMs = None,
    to_ms: ToMs = None,
) -> MatrixView:
    """Return the matrix of the cameras that a selection means; 30 days where nothing is asked."""
    now_ms = services.now_ms()
    end_ms = now_ms if to_ms is None else to_ms
    start_ms = max(0, end_ms - DEFAULT_DAYS * DAY_MS) if from_ms is None else from_ms
    start_ms, end_ms = window(start_ms, end_ms, now_ms)
    async with services.db.transaction() as tx:
        chosen = await tree.select(tx, q, "camera", session.sites, past=True)
        rows = await matrix.read(
            tx,
            session.sites,
            from_ms=start_ms,
            to_ms=end_ms,
            now_ms=now_ms,
            chosen={(place.device, place.camera) for place in chosen},
        )
    return MatrixView(from_ms=start_ms, to_ms=end_ms, rows=rows)


ROUTES: Final = [read_cameras, read_history, read_matrix]
