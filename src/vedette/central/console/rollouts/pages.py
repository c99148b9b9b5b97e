"""What answers for rollouts, their orders, their plan with dates, and for releases and keys.

The rule: an order is two steps. The first says in words what it does; the second is a form that is
posted. Who may give it is what the API says, and the same functions carry it out.
"""

from typing import Annotated, Final

from litestar import Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, QueryParameter

from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.console.doors import Form, sentence
from vedette.central.console.page import page, page_of, see_other
from vedette.central.console.rollouts import keys, present, words
from vedette.central.console.rollouts.present import DeviceQuery, ListQuery, rollout_url
from vedette.central.releases import keeping
from vedette.central.rollouts import approving, forecast, jobs, looking, ordering
from vedette.central.rollouts.facts import Asked, Order, RolloutState
from vedette.central.rollouts.store import Row
from vedette.central.rollouts.views import DeviceView, RolloutView
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.errors import ConfigError, ConflictError, NotAllowed
from vedette.ids import is_slug
from vedette.wire.updates import Approval

MAX_ROLLOUTS: Final = 200
MAX_SEARCHED: Final = 10_000
ROLLOUT: Final = "/rollouts/{rollout:str}"

_BEFORE: Final = {RolloutState.DRAFT, RolloutState.GATED, RolloutState.APPROVED}
_CHOOSABLE: Final = _BEFORE | words.UNDER_WAY

InState = Annotated[str, QueryParameter(name="state")]


async def listed_of(
    in_state: InState = "", kind: FromQuery[str] = "", q: FromQuery[str] = ""
) -> ListQuery:
    """Return what the list's URL asks for, cut to size."""
    return ListQuery(
        state=in_state if in_state in words.ROLLOUTS or in_state == "open" else "",
        kind=kind if kind in words.KINDS else "",
        q=q[:64].replace("\0", ""),
    )


async def devices_of(
    in_state: InState = "", stage: FromQuery[str] = "", q: FromQuery[str] = ""
) -> DeviceQuery:
    """Return what the URL of one rollout asks of its devices, cut to size."""
    known = in_state in words.DEVICES or in_state in {"none", "control"}
    return DeviceQuery(
        state=in_state if known else "",
        stage=stage if stage.isdecimal() and len(stage) < 4 else "",
        q=q[:64].replace("\0", ""),
    )


_LISTED: Final = {"asked": Provide(listed_of)}
_DEVICES: Final = {"asked": Provide(devices_of)}


@get("/rollouts", include_in_schema=False, dependencies=_LISTED)
async def rollouts_page(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    asked: NamedDependency[ListQuery],
) -> Response[str]:
    """Show rollouts, what needs a person first."""
    async with services.db.transaction() as tx:
        rows = await looking.page(tx, session.sites, limit=MAX_ROLLOUTS)
    return page(present.list_html(rows, asked, page_of(request, services, session)))


@get(ROLLOUT, include_in_schema=False, dependencies=_DEVICES)
async def rollout_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    rollout: FromPath[str],
    asked: NamedDependency[DeviceQuery],
    done: FromQuery[str] = "",
) -> Response[str]:
    """Show one rollout: where it is, why, on what evidence, and what can be ordered."""
    async with services.db.transaction() as tx:
        row, view = await _seen(tx, services, session, rollout)
        devices = await _devices(tx, row, asked)
    shown = present.with_devices(view, devices)
    made = page_of(request, services, session)
    return page(present.rollout_html(shown, asked, made, done=done))


@get(f"{ROLLOUT}/plan", include_in_schema=False)
async def plan_page(
    request: AnyRequest, services: TheServices, session: TheSession, rollout: FromPath[str]
) -> Response[str]:
    """Show which devices would be in which stage, and when at the earliest."""
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        row, view = await _seen(tx, services, session, rollout)
        laid_out = await forecast.forecast(tx, row.asked, now_ms)
    return page(present.plan_html(view.row, laid_out, page_of(request, services, session)))


@get(f"{ROLLOUT}/do/{{order:str}}", include_in_schema=False)
async def confirm_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    rollout: FromPath[str],
    order: FromPath[str],
) -> Response[str]:
    """Say what an order does, before it is given."""
    _require(session, order)
    async with services.db.transaction() as tx:
        row, view = await _seen(tx, services, session, rollout)
        devices = await _devices(tx, row, DeviceQuery(q=" "))
    shown = present.with_devices(view, devices)
    return page(present.confirm_html(shown, order, page_of(request, services, session)))


@post(f"{ROLLOUT}/do/{{order:str}}", include_in_schema=False, status_code=200)
async def give_order(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    rollout: FromPath[str],
    order: FromPath[str],
    data: Form,
) -> Response[str]:
    """Give the order, wake the turn that carries it out, and say what was done."""
    _require(session, order)
    async with services.db.transaction() as tx:
        _, view = await _seen(tx, services, session, rollout)
    try:
        async with services.db.transaction() as tx:
            await _give(tx, services, session, rollout, order, data)
    except (ConfigError, ConflictError, NotAllowed) as error:
        made = page_of(request, services, session)
        html = present.confirm_html(view, order, made, problem=sentence(error))
        return page(html, 422)
    services.bulletin.publish(jobs.NOW, jobs.ORDERED, f"rollout:{rollout}")
    return see_other(f"{rollout_url(rollout)}?done={order}")


@get("/keys", include_in_schema=False)
async def keys_page(
    request: AnyRequest, services: TheServices, session: TheSession
) -> Response[str]:
    """Show roles, keys and ends of the repository, and what was approved, where, until when."""
    made = page_of(request, services, session)
    async with services.db.transaction() as tx:
        releases = await keeping.view(tx, made.now_ms)
        files = await keeping.files(tx)
        rows = await looking.page(tx, session.sites, limit=MAX_ROLLOUTS)
        found = await approving.approvals_of(tx, {row.plan.rollout for row in rows})
    approvals = [one for one in found.values() if isinstance(one, Approval)]
    return page(keys.keys_html(keys.view_of(releases, files, approvals), made))


def _require(session: Session, order: str) -> None:
    if order not in words.ORDERS:
        raise NotThere(detail="there is no such order")
    access.require(session, "admin" if order == "approve" else "operator")


async def _seen(
    tx: Tx, services: Services, session: Session, rollout: str
) -> tuple[Row, RolloutView]:
    """Return a rollout that the looker may see, with all that can be ordered.

    Raises:
        NotThere: There is none; that there is one of other sites is not said.
    """
    row = await looking.in_scope(tx, rollout, session.sites) if is_slug(rollout) else None
    view = await looking.one(tx, rollout, session.sites, now_ms=services.now_ms()) if row else None
    if row is None or view is None:
        raise NotThere(detail="there is no such rollout")
    two = services.config.rollouts.two_people
    missing = approving.second_person(row.made_by, row.approved_by, is_needed=two)
    orders = list(view.orders)
    if row.state in _BEFORE and missing:
        orders.append("approve")
    if row.state in _CHOOSABLE:
        orders += ["pin", "exclude", "include", "trust"]
    return row, present.with_orders(view, orders)


async def _devices(tx: Tx, row: Row, asked: DeviceQuery) -> list[DeviceView]:
    """Return devices for the filters, the worst first, as many as a page shows."""
    if asked.q or asked.stage or asked.state == "control":
        return await looking.devices(tx, row, limit=MAX_SEARCHED)
    if asked.state:
        return await looking.devices(tx, row, state=asked.state, limit=present.MAX_DEVICES + 1)
    found: list[DeviceView] = []
    for state in words.DEVICES:
        left = present.MAX_DEVICES + 1 - len(found)
        if state != words.NOTHING_YET and left > 0:
            found += await looking.devices(tx, row, state=state, limit=left)
    return found


async def _give(  # noqa: PLR0917 - who orders what of which
    tx: Tx,
    services: Services,
    session: Session,
    rollout: str,
    order: str,
    data: dict[str, str],
) -> None:
    actor, now_ms = session.username, services.now_ms()
    why = data.get("reason", "").strip()[: ordering.MAX_NOTE_CHARS]
    if order == "approve":
        two = services.config.rollouts.two_people
        await ordering.approve(tx, rollout, actor=actor, two_people=two, now_ms=now_ms)
    elif order in words.CHOICES:
        device = data.get("device", "")[:64]
        if not is_slug(device):
            raise ConfigError("which device?", operator_hint="choose one of the list")
        await ordering.choose(tx, rollout, [device], order, actor=actor, why=why, now_ms=now_ms)
    else:
        asked = Asked(
            order=Order(order), at_ms=now_ms, by=actor, why=why, hours=_hours(data, order)
        )
        await ordering.order(tx, rollout, asked, now_ms=now_ms)
    await ordering.wake(tx, rollout)


def _hours(data: dict[str, str], order: str) -> float:
    if order != "extend":
        return 0.0
    try:
        return float(data.get("hours", "")[:16])
    except ValueError:
        raise ConfigError("by how many hours?", operator_hint="write a number") from None


OWN: Final = [rollouts_page, rollout_page, plan_page, confirm_page, give_order, keys_page]
