"""What answers for a device's page.

The rule: what may not be done is not offered, and refused where it is posted; every change and
question stands in the audit log before anything is sent.
"""

from typing import Annotated, Final

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from vedette.central import desired, tree
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, TheServices, TheSession
from vedette.central.api.reading import require_camera
from vedette.central.console.device import acting, asking
from vedette.central.console.device.frame import DEVICE, device_answer
from vedette.central.console.doors import Form, sentence
from vedette.central.console.page import see_other
from vedette.central.console.site.labels import label_changes
from vedette.central.console.urls import device_url
from vedette.central.tree import Place
from vedette.errors import ConfigError


@get(DEVICE, include_in_schema=False)
async def device_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    range_name: Annotated[str, QueryParameter(name="range")] = "",
    kind: FromQuery[str] = "",
    before: FromQuery[str] = "",
    done: FromQuery[str] = "",
) -> Response[str]:
    """Show one device."""
    return await device_answer(
        request,
        services,
        session,
        (site, device),
        range_name=range_name,
        kind=kind,
        before=before,
        done=done,
    )


@post(f"{DEVICE}/pictures/{{camera:str}}", include_in_schema=False, status_code=200)
async def ask_picture(
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
) -> Response[str]:
    """Ask for a privacy-safe picture of one camera and go back to the device."""
    access.require(session, "operator")
    await require_camera(services, session, (site, device, camera))
    await desired.ask_thumbnail(
        services.db,
        services.bulletin,
        device,
        camera,
        actor=session.username,
        now_ms=services.now_ms(),
    )
    return see_other(f"{device_url(site, device)}?done=picture")


@post(f"{DEVICE}/labels", include_in_schema=False, status_code=200)
async def change_labels(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    data: Form,
) -> Response[str]:
    """Have these labels on a device and no others."""
    place = Place(site=site, device=device)
    try:
        async with services.db.transaction() as tx:
            await asking.require_device(tx, session, site, device)
            changes = label_changes(await tree.labels(tx, place), data.get("labels", ""))
            if changes:
                await tree.change_labels(
                    tx, place, changes, actor=session.username, now_ms=services.now_ms()
                )
    except ConfigError as error:
        return await device_answer(
            request, services, session, (site, device), problem=sentence(error)
        )
    return see_other(f"{device_url(site, device)}?done=labels")


OWN: Final = [device_page, ask_picture, change_labels, *asking.OWN, *acting.OWN]
