"""What answers for exports.

The rule: every page and form asks the operator API's own functions, so that scope, checks and the
audit log are theirs.
"""

from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery

from vedette.central.accounts import Session
from vedette.central.alerting.channels import looking as channels
from vedette.central.alerting.channels.facts import CLOUD_EVENT, Kind, carries
from vedette.central.alerting.channels.looking import After
from vedette.central.api import access, exporting
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.exporting import ExportToBe
from vedette.central.console.alerts import exports, forms
from vedette.central.console.alerts.exports import export_url
from vedette.central.console.doors import Form, sentence
from vedette.central.console.page import Page, page, page_of, see_other
from vedette.central.exporting import looking, store
from vedette.central.services import Services
from vedette.errors import ConfigError, ConflictError, VedetteError
from vedette.wire.messages import EventKind

EXPORT: Final = "/exports/{export:str}"
_LATELY: Final = 12


@get("/exports", include_in_schema=False)
async def exports_page(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    done: FromQuery[str] = "",
) -> Response[str]:
    """Show which events go to which other system, those in trouble first."""
    return page(await _list(services, session, page_of(request, services, session), done=done))


async def _list(
    services: Services,
    session: Session,
    made: Page,
    *,
    asked: dict[str, str] | None = None,
    done: str = "",
    problem: str = "",
) -> str:
    access.require(session, "operator")
    access.require_whole(session)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        rows = await looking.standings(tx, services.config.url, now_ms)
        among = await channels.channels(tx, now_ms)
        fetches = await looking.fetches(tx)
    carriers = [one for one in among if carries(Kind(one.kind), CLOUD_EVENT)]
    return exports.list_html(
        rows, made, carriers=carriers, fetches=fetches, asked=asked, done=done, problem=problem
    )


@post("/exports", include_in_schema=False, status_code=200)
async def make_export(
    request: AnyRequest, services: TheServices, session: TheSession, data: Form
) -> Response[str]:
    """Have an export; one of that name that is there already stays as it is."""
    access.require(session, "admin")
    access.require_whole(session)
    made = page_of(request, services, session)
    name = data.get("export", "").strip()[:64]
    try:
        to_be = wanted(data)
        async with services.db.transaction() as tx:
            there = {row.export for row in await store.all_of(tx)}
        if name in there:
            raise ConfigError(f"there is an export {name} already", operator_hint="take another")
        await exporting.put_export.fn(services, session, name, to_be)
    except VedetteError as error:
        shown = await _list(services, session, made, asked=data, problem=sentence(error))
        return page(shown, 422)
    return see_other(f"{export_url(name)}?done=made")


def wanted(data: dict[str, str]) -> ExportToBe:
    """Return the export that the form asks for.

    Raises:
        ConfigError: A field says what cannot be.
    """
    kind = data.get("kind", "")
    if kind and kind not in set(EventKind):
        raise ConfigError("there is no such kind of event")
    tell = [one for one in exports.TOLD if data.get(f"tell_{one}") == "yes"]
    if not tell:
        raise ConfigError("it tells of nothing", operator_hint="choose events, evidence or clips")
    found = {
        "channel": data.get("channel", "").strip()[:64],
        "tell": [] if len(tell) == len(exports.TOLD) else tell,
        "kinds": [kind] if kind else [],
        "labels": forms.names(data.get("labels", "")),
        "where": {name: forms.names(data.get(name, "")) for name in ("sites", "folders", "groups")},
        "fetch": data.get("fetch") == "yes",
        "late": data.get("late") == "yes",
        "link_h": forms.number(data.get("link_h") or "0", "hours"),
    }
    try:
        return msgspec.convert(found, ExportToBe)
    except msgspec.ValidationError as error:
        raise ConfigError(f"that cannot be: {error}") from error


@get(EXPORT, include_in_schema=False)
async def export_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    export: FromPath[str],
    done: FromQuery[str] = "",
    recent: FromQuery[int | None] = None,
) -> Response[str]:
    """Show one export and what it had sent lately."""
    made = page_of(request, services, session)
    return page(await _one(services, session, made, export, recent=recent, done=done))


async def _one(
    services: Services,
    session: Session,
    made: Page,
    export: str,
    *,
    recent: int | None = None,
    done: str = "",
    problem: str = "",
) -> str:
    view = await exporting.read_export.fn(services, session, export)
    name = view.settings.export
    async with services.db.transaction() as tx:
        found = await looking.standings(tx, services.config.url, services.now_ms())
        rows = await channels.deliveries(tx, session.sites, After(export=name), _LATELY)
    row = next((one for one in found if one.view.settings.export == name), None)
    if row is None:
        raise NotThere(detail="there is no such export")
    made = msgspec.structs.replace(made, self_url=export_url(name))
    return exports.export_html(row, rows, made, recent=recent, done=done, problem=problem)


@post(f"{EXPORT}/{{action:str}}", include_in_schema=False, status_code=200)
async def change_export(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    export: FromPath[str],
    action: FromPath[str],
) -> Response[str]:
    """Switch an export on or off, try it, send again what was given up, or remove it."""
    done, recent = action, ""
    try:
        if action == "on":
            await exporting.enable_export.fn(services, session, export)
        elif action == "off":
            await exporting.disable_export.fn(services, session, export)
        elif action == "try":
            tried = await exporting.try_export.fn(services, session, export)
            done, recent = "tried", f"&recent={tried.recent}"
        elif action == "replay":
            again = await exporting.replay_export.fn(services, session, export)
            if not again.count:
                raise ConflictError(
                    "nothing is sent again",
                    operator_hint="nothing was given up on a channel that is still there",
                )
            done = "replayed"
        elif action == "remove":
            await exporting.remove_export.fn(services, session, export)
            return see_other("/exports?done=removed")
        else:
            raise NotThere(detail="there is no such action")
    except (ConfigError, ConflictError) as error:
        made = page_of(request, services, session)
        html = await _one(services, session, made, export, problem=sentence(error))
        return page(html, 422)
    return see_other(f"{export_url(export)}?done={done}{recent}")


OWN: Final = [exports_page, make_export, export_page, change_export]
