"""What cameras are and how often they fail, through the operator API. Read only."""

from typing import Annotated, Final

import msgspec
from litestar import get
from litestar.params import FromPath, FromQuery, QueryParameter

from vedette.central import inventory, matrix, tree
from vedette.central.api.access import TheServices, TheSession
from vedette.central.api.reading import CAMERA, DAY_MS, FromMs, ToMs, require_camera, window
from vedette.central.inventory import Item
from vedette.central.matrix import MatrixRow

DEFAULT_DAYS: Final = 30


class MatrixView(msgspec.Struct, frozen=True, kw_only=True):
    """The camera matrix over a window."""

    from_ms: int
    to_ms: int
    rows: list[MatrixRow]


class InventoryView(msgspec.Struct, frozen=True, kw_only=True):
    """A page of cameras; `next_cursor` asks for the next, null on the last."""

    cameras: list[Item]
    next_cursor: str | None


@get("/cameras", summary="What each camera is: make, model, firmware, codec, size, rate")
async def read_cameras(
    *,
    services: TheServices,
    session: TheSession,
    q: FromQuery[str] = "*",
    cursor: FromQuery[str] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 500,
) -> InventoryView:
    """Return the cameras that a selection means, as they are now."""
    async with services.db.transaction() as tx:
        chosen = await tree.select(tx, q, "camera", session.sites)
        wanted = {(place.device, place.camera) for place in chosen}
        found = await inventory.present(tx, session.sites)
    found = [item for item in found if (item.device, item.camera) in wanted]
    found.sort(key=_name)
    rest = [item for item in found if _name(item) > cursor]
    page = rest[:limit]
    return InventoryView(cameras=page, next_cursor=_name(page[-1]) if len(rest) > limit else None)


def _name(item: Item) -> str:
    return f"{item.site}/{item.device}/{item.camera}"


@get(f"{CAMERA}/inventory", summary="What a camera was over time: when its firmware changed")
async def read_history(
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
) -> list[Item]:
    """Return every change, oldest first."""
    await require_camera(services, session, (site, device, camera))
    async with services.db.transaction() as tx:
        return await inventory.history(tx, [site], device=device, camera=camera)


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
        chosen = await tree.select(tx, q, "camera", session.sites)
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
