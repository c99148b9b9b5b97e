"""What answers for retention and for central's own health. Administrators of the whole fleet."""

import asyncio
import shutil
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from litestar import Response, get

from vedette import __version__
from vedette.central import upkeep
from vedette.central.api.access import AnyRequest, TheServices, TheSession
from vedette.central.console.page import page
from vedette.central.console.settings import asking, present_upkeep
from vedette.central.services import Services
from vedette.central.upkeep import Machine
from vedette.clock import NS_PER_S

_LOOPBACK: Final = ("127.", "localhost", "::1")


@get("/settings/retention", include_in_schema=False)
async def retention_page(
    request: AnyRequest, services: TheServices, session: TheSession
) -> Response[str]:
    """Show what is kept for how long, how large it is now, and how it grows."""
    asking.require_whole_admin(session)
    async with services.db.transaction() as tx:
        kept = await upkeep.kept(tx, services.config.retention, services.now_ms())
        partitions = await upkeep.partitions(tx)
    frame = asking.frame_of(request, services, session)
    return page(present_upkeep.retention_html(frame, kept, partitions, file="central.yaml"))


@get("/settings/health", include_in_schema=False)
async def health_page(
    request: AnyRequest, services: TheServices, session: TheSession
) -> Response[str]:
    """Show how central is and what is wrong with it."""
    asking.require_whole_admin(session)
    known = await machine(services)
    async with services.db.transaction() as tx:
        now = await upkeep.condition(tx, known, services.now_ms())
    frame = asking.frame_of(request, services, session)
    return page(present_upkeep.health_html(frame, now))


async def machine(services: Services) -> Machine:
    """Return what this process knows without its database."""
    free = await asyncio.to_thread(_free, services.config.state)
    ingest = services.meters.ingest()
    began_ns = services.began_mono_ns
    url = urlsplit(services.config.url)
    host = url.hostname or ""
    return Machine(
        version=__version__,
        uptime_s=None if began_ns is None else (services.clock.mono_ns() - began_ns) / NS_PER_S,
        taken=ingest.taken,
        waiting=ingest.waiting,
        disk_free=free[0] / free[1] if free and free[1] else None,
        disk_free_bytes=free[0] if free else None,
        clock_held_ms=services.clock.held_by_ms,
        is_open=url.scheme != "https" and not host.startswith(_LOOPBACK),
    )


def _free(folder: Path) -> tuple[int, int] | None:
    """Return free and all bytes of a folder's disk; None where it cannot be known."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free, usage.total


OWN: Final[list[Any]] = [retention_page, health_page]
