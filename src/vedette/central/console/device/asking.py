"""Asking a device how it is, from its page, and reading what it answers.

The rule: it takes the role operator; who asked and each look at an answer stands in the audit log.
A page that waits keeps itself fresh; one that shows an answer does not, for each look is recorded.
"""

from typing import Final

from litestar import Response, get, post
from litestar.params import FromPath

from vedette.central import desired, diagnosing
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.condition import reading
from vedette.central.console.device import answers, present
from vedette.central.console.device.frame import DEVICE, device_answer
from vedette.central.console.doors import Form, sentence
from vedette.central.console.page import page, page_of, see_other
from vedette.central.console.urls import device_url
from vedette.central.diagnosing import Question
from vedette.central.store.db import Tx
from vedette.errors import ConfigError, NotAllowed


async def require_device(tx: Tx, session: Session, site: str, device: str) -> reading.Machine:
    """Return a device that may be asked.

    Raises:
        Forbidden: The asker is no operator.
        NotThere: No such device, out of scope, or revoked.
    """
    access.require(session, "operator")
    found = await reading.machine(tx, site, device, session.sites)
    if found is None or found.revoked_ms is not None:
        raise NotThere(detail="there is no such device")
    return found


@post(f"{DEVICE}/questions", include_in_schema=False, status_code=200)
async def ask(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    data: Form,
) -> Response[str]:
    """Ask, and go to where the answer will be."""
    async with services.db.transaction() as tx:
        await require_device(tx, session, site, device)
    lines = data.get("lines", "")
    question = Question(
        kind=data.get("kind", "")[:40],
        lines=int(lines) if lines.isdecimal() and len(lines) < 6 else 0,
        with_cameras=bool(data.get("with_cameras")),
    )
    try:
        number = await diagnosing.ask(
            services.db,
            services.bulletin,
            device,
            question,
            actor=session.username,
            now_ms=services.now_ms(),
        )
    except (ConfigError, NotAllowed) as error:
        return await device_answer(
            request, services, session, (site, device), problem=sentence(error)
        )
    return see_other(f"{device_url(site, device)}/answers/{number}")


@get(f"{DEVICE}/answers/{{request_id:str}}", include_in_schema=False)
async def answer_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    request_id: FromPath[str],
) -> Response[str]:
    """Show how far a question is, or the answer; the look is recorded."""
    now_ms = services.now_ms()
    body = b""
    async with services.db.transaction() as tx:
        machine = await require_device(tx, session, site, device)
        asked = await diagnosing.one(tx, device, request_id, now_ms)
        if asked is None or asked.kind not in answers.KINDS or asked.camera:
            raise NotThere(detail="there is no such question")
        if asked.state == "answered":
            body = await diagnosing.look(tx, asked, actor=session.username, now_ms=now_ms)
    if asked.state == "waiting":
        await desired.attend(services.db, device, now_ms)
    shown = answers.read(asked.kind, body) if body else None
    return page(present.answer_html(machine, asked, shown, page_of(request, services, session)))


OWN: Final = [ask, answer_page]
