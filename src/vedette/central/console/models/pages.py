"""What answers for the registry's pages. Registering, measuring and signing are at the terminal."""

from typing import Annotated, Any, Final

from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, FromQuery

from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.console.models import present
from vedette.central.console.page import page, page_of, see_other
from vedette.central.registry import looking, store, waivers
from vedette.central.registry.judging import judge_anew
from vedette.central.store.db import Tx

SHOWN: Final = 200
_DONE: Final = {
    "withdrawn": "Withdrawn: its gates fail whatever was measured.",
    "registered": "It may be used again.",
    "waiver": "The waiver was taken back.",
}
Form = Annotated[dict[str, Any], Body(media_type=RequestEncodingType.URL_ENCODED)]


@get("/models", include_in_schema=False)
async def models_page(
    request: AnyRequest, services: TheServices, session: TheSession
) -> Response[str]:
    """Show every model with its newest version's verdict."""
    async with services.db.transaction() as tx:
        rows = await looking.models(tx, services.now_ms(), limit=SHOWN + 1)
    made = present.list_html(
        rows[:SHOWN], page_of(request, services, session), cut=len(rows) > SHOWN
    )
    return page(made)


@get("/models/{model:str}", include_in_schema=False)
async def model_page(
    request: AnyRequest, services: TheServices, session: TheSession, model: FromPath[str]
) -> Response[str]:
    """Show a model's versions and what is asked of them."""
    async with services.db.transaction() as tx:
        view = looking.model_view(await store.get_model(tx, model))
        rows = await looking.versions(tx, model, services.now_ms(), limit=SHOWN)
    return page(present.model_html(view, rows, page_of(request, services, session)))


@get("/models/{model:str}/{digest:str}", include_in_schema=False)
async def version_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    model: FromPath[str],
    digest: FromPath[str],
    done: FromQuery[str] = "",
) -> Response[str]:
    """Show a version: gates, confusion, times, lineage, waivers."""
    async with services.db.transaction() as tx:
        await _require(tx, model, digest)
        view = await looking.version(tx, digest, services.now_ms(), session.sites)
    made = present.version_html(view, page_of(request, services, session), done=_DONE.get(done, ""))
    return page(made)


async def _require(tx: Tx, model: str, digest: str) -> store.VersionRow:
    row = await store.get_version(tx, digest)
    if row.model != model:
        raise NotThere(detail="this model has no such version")
    return row


@post("/models/{model:str}/{digest:str}/state", include_in_schema=False)
async def set_state(
    *,
    services: TheServices,
    session: TheSession,
    model: FromPath[str],
    digest: FromPath[str],
    data: Form,
) -> Response[str]:
    """Withdraw a version, or take it back."""
    access.require(session, "admin")
    access.require_whole(session)
    state = "withdrawn" if data.get("state") == "withdrawn" else "registered"
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        await store.get_model(tx, model, hold=True)
        row = await _require(tx, model, digest)
        await store.set_version(
            tx, digest, state, row.origin, actor=session.username, now_ms=now_ms
        )
        await judge_anew(tx, model, now_ms, digest)
    services.bulletin.publish("models")
    return see_other(f"{present.version_url(model, digest)}?done={state}")


@post("/models/{model:str}/{digest:str}/waivers/{waiver:str}/drop", include_in_schema=False)
async def drop_waiver(
    *,
    services: TheServices,
    session: TheSession,
    model: FromPath[str],
    digest: FromPath[str],
    waiver: FromPath[str],
) -> Response[str]:
    """Take a waiver back."""
    access.require(session, "admin")
    access.require_whole(session)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        await _require(tx, model, digest)
        if not await waivers.take_back(tx, digest, waiver, actor=session.username, now_ms=now_ms):
            raise NotThere(detail="no such waiver stands")
        await judge_anew(tx, model, now_ms, digest)
    services.bulletin.publish("models")
    return see_other(f"{present.version_url(model, digest)}?done=waiver")


OWN: Final[list[Any]] = [models_page, model_page, version_page, set_state, drop_waiver]
