"""What an administrator does with a device: release it, revoke it, change its key, replace it.

The rule: each is two steps. The first says in words what it does and cannot undo; the second is a
form that is posted. What it did stands in the audit log with the reason.
"""

from typing import Final

from litestar import Response, get, post
from litestar.params import FromPath

from vedette.central import enrolment, quarantine, rotation
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.condition import reading
from vedette.central.console.device import confirming
from vedette.central.console.device.confirming import Confirm
from vedette.central.console.device.frame import DEVICE
from vedette.central.console.doors import Form, sentence
from vedette.central.console.page import page, page_of, see_other
from vedette.central.console.urls import device_url
from vedette.central.quarantine import Suspect
from vedette.central.services import Services
from vedette.errors import ConfigError, ConflictError, NotAllowed


async def _device(
    services: Services, session: Session, site: str, device: str, action: str
) -> tuple[reading.Machine, Suspect | None]:
    access.require(session, "admin")
    if action not in confirming.ACTIONS:
        raise NotThere(detail="there is no such action")
    async with services.db.transaction() as tx:
        found = await reading.machine(tx, site, device, session.sites)
    if found is None:
        raise NotThere(detail="there is no such device")
    suspects = await quarantine.suspects(services.db, [site])
    return found, next((one for one in suspects if one.device == device), None)


@get(f"{DEVICE}/do/{{action:str}}", include_in_schema=False)
async def confirm_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    action: FromPath[str],
) -> Response[str]:
    """Say what an action does, before it is done."""
    machine, suspect = await _device(services, session, site, device, action)
    asked = Confirm(machine=machine, action=action, suspect=suspect)
    return page(confirming.confirm_html(asked, page_of(request, services, session)))


@post(f"{DEVICE}/do/{{action:str}}", include_in_schema=False, status_code=200)
async def act(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    action: FromPath[str],
    data: Form,
) -> Response[str]:
    """Do it, and say what was done."""
    machine, suspect = await _device(services, session, site, device, action)
    asked = Confirm(machine=machine, action=action, suspect=suspect)
    try:
        token = await _do(services, session, asked, data)
    except (ConfigError, ConflictError, NotAllowed) as error:
        asked = Confirm(machine=machine, action=action, suspect=suspect, problem=sentence(error))
        return page(confirming.confirm_html(asked, page_of(request, services, session)), 422)
    services.bulletin.publish("fleet", f"site:{site}", f"device:{device}", f"desired:{device}")
    if token:
        asked = Confirm(machine=machine, action=action, suspect=suspect, token=token)
        return page(confirming.confirm_html(asked, page_of(request, services, session)))
    return see_other(f"{device_url(site, device)}?done={action}")


async def _do(services: Services, session: Session, asked: Confirm, data: dict[str, str]) -> str:
    """Do it; return a claim token where it made one."""
    device, reason = asked.machine.device, data.get("reason", "").strip()[:500]
    by = {"actor": session.username, "now_ms": services.now_ms()}
    if asked.action == "release":
        await quarantine.release(services.db, device, copy=data.get("copy", "")[:128], **by)
    elif asked.action == "drop":
        await quarantine.drop(services.db, device, **by)
    else:
        async with services.db.transaction() as tx:
            if asked.action == "revoke":
                await enrolment.revoke(tx, device, reason=reason, **by)
            elif asked.action == "rotate-key":
                await rotation.ask_rotation(tx, device, **by)
            else:
                return await enrolment.re_enrol(tx, device, reason=reason, **by)
    return ""


OWN: Final = [confirm_page, act]
