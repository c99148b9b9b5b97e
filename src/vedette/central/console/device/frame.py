"""A device's page put together for whoever asks: what its handlers share."""

from typing import Final

from litestar import Response

from vedette.central import desired, diagnosing
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere
from vedette.central.api.telling import of_timeline, timeline_page
from vedette.central.condition import reading
from vedette.central.console.device import present
from vedette.central.console.device.present import May, Shown
from vedette.central.console.page import page, page_of
from vedette.central.console.ranges import RANGES
from vedette.central.console.urls import device_url
from vedette.central.services import Services

ENTRIES: Final = 40
QUESTIONS: Final = 12
DEVICE: Final = "/sites/{site:str}/devices/{device:str}"


def may_of(session: Session) -> May:
    """Return what somebody may do on a device's page."""
    return May(operate=access.may(session, "operator"), administer=access.may(session, "admin"))


async def device_answer(
    request: AnyRequest,
    services: Services,
    session: Session,
    place: tuple[str, str],
    *,
    range_name: str = "",
    kind: str = "",
    before: str = "",
    done: str = "",
    problem: str = "",
) -> Response[str]:
    """Return a device's page; while somebody looks, the device answers faster.

    Raises:
        NotThere: No such device, or out of scope.
    """
    (site, device), now_ms = place, services.now_ms()
    name = range_name if range_name in present.DEVICE_RANGES else present.DEFAULT
    window = (now_ms - RANGES[name][1], now_ms)
    view = await reading.device_view(services.db, place, window, now_ms, session.sites)
    if view is None:
        raise NotThere(detail="there is no such device")
    young_ms = now_ms - view.machine.enrolled_ms
    if not range_name and young_ms < RANGES["1h"][1]:
        name = "1h"
        window = (now_ms - RANGES[name][1], now_ms)
        view = await reading.device_view(services.db, place, window, now_ms, session.sites) or view
    if view.machine.revoked_ms is None:
        await desired.attend(services.db, device, now_ms)
    of = of_timeline(session, site, device, kind[:200])
    entries = await timeline_page(services, of, before[:1000], ENTRIES)
    may = may_of(session)
    asked: list[diagnosing.Diagnostic] = []
    if may.operate:
        async with services.db.transaction() as tx:
            asked = await diagnosing.page(tx, device, None, QUESTIONS, now_ms)
    shown = Shown(
        range_name=name,
        done=done,
        problem=problem,
        may=may,
        timeline=present.timeline_of(entries, device_url(site, device), range_name, kind, before),
        asked=asked,
    )
    html = present.device_html(view, shown, page_of(request, services, session))
    return page(html, 422 if problem else 200)
