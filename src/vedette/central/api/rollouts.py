"""Rollouts through the operator API: looking at them, making, approving and ordering.

The rule: somebody sees a rollout where they see every site that it means, and acts on those alone.
Making and ordering take the role operator, approving admin; who made one does not approve it. What
is changed can be held against `If-Match`: two people who stop and extend the same thing at once
must not overlook each other.
"""

from typing import Annotated, Final, Literal

import msgspec
from litestar import Response, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from vedette.central import tree
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.changing import Refused
from vedette.central.api.paging import Cursor, Cursors, Limit, paged
from vedette.central.api.tagging import IfMatch, require_match, tag_of, tagged
from vedette.central.rollouts import forecast, jobs, looking, ordering, returning, store
from vedette.central.rollouts.facts import Asked, Order, Plan, RolloutState
from vedette.central.rollouts.looking import HistoryRow
from vedette.central.rollouts.store import Row
from vedette.central.rollouts.views import DeviceView, GateView, RolloutRow, RolloutView
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.ids import is_slug

ROLLOUT: Final = "/rollouts/{rollout:str}"


class NewOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall happen; `hours` are of extend, `devices` of pin, exclude, include and trust."""

    order: Literal[
        "start", "pause", "resume", "stop", "roll_back", "supersede", "extend", "accept",
        "pin", "exclude", "include", "trust",
    ]  # fmt: skip
    why: Annotated[str, msgspec.Meta(max_length=ordering.MAX_NOTE_CHARS)] = ""
    hours: float = 0.0
    devices: list[str] = []


class RolloutsPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of rollouts, newest first; `next_cursor` asks for the next, null on the last."""

    rollouts: list[RolloutRow]
    next_cursor: str | None


class DevicesPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a rollout's devices by name; `next_cursor` asks for the next."""

    devices: list[DeviceView]
    next_cursor: str | None


class HistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of what happened, newest first; `next_cursor` asks for the next."""

    history: list[HistoryRow]
    next_cursor: str | None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rollout is, and the order that waits for the next turn; empty: none.

    Attributes:
        warnings: Of an approval: what somebody should do before it begins, as about ways back.
    """

    rollout: str
    state: RolloutState
    version: int
    asked: str = ""
    warnings: list[str] = []


@get("/rollouts", summary="Rollouts of your sites, newest first")
async def read_rollouts(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    in_state: Annotated[
        str, QueryParameter(name="state", description="Only those in this state")
    ] = "",
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[RolloutsPage]:
    """Return where each is, with its devices counted by state."""
    if in_state and in_state not in set(RolloutState):
        raise access.HTTPException(
            detail=f"state is one of {', '.join(RolloutState)}", status_code=400
        )
    cursors = Cursors(services, "rollouts", in_state)
    after = cursors.read(cursor, tuple[int, str])
    async with services.db.transaction() as tx:
        rows = await looking.page(tx, session.sites, state=in_state, after=after, limit=limit + 1)
    page, further = cursors.ends(rows, lambda row: (row.made_ms, row.plan.rollout), limit)
    return paged(request, RolloutsPage(rollouts=page, next_cursor=further), further)


@post("/rollouts", status_code=201, summary="Make a rollout; nothing begins yet (operator)")
async def make_rollout(
    services: TheServices, session: TheSession, data: JSONBody[ordering.NewRollout]
) -> Standing:
    """Store it. It begins when its gates passed, it is approved, and somebody starts it."""
    access.require(session, "operator")
    if data.rollout:
        access.require_whole(session)
    plan = ordering.plan_of(data)
    _complain(plan)
    async with services.db.transaction() as tx:
        await _require_sites(tx, session, plan.sites)
        row = await ordering.make(
            tx, plan, actor=session.username, note=data.note, now_ms=services.now_ms()
        )
        await ordering.wake(tx, plan.rollout)
    _wake(services, plan.rollout)
    return _standing(row)


@post("/rollouts/plan", status_code=200, summary="What a rollout would do, and when (operator)")
async def plan_rollout(
    services: TheServices, session: TheSession, data: JSONBody[ordering.NewRollout]
) -> forecast.Forecast:
    """Return stages with devices and dates, if all goes well. Nothing is stored."""
    access.require(session, "operator")
    plan = ordering.plan_of(data)
    _complain(plan)
    async with services.db.transaction() as tx:
        await _require_sites(tx, session, plan.sites)
        return await forecast.forecast(tx, plan, services.now_ms())


@get(ROLLOUT, summary="One rollout, its stages, gates and newest history")
async def read_rollout(
    request: AnyRequest, services: TheServices, session: TheSession, rollout: FromPath[str]
) -> Response[RolloutView]:
    """Return it with its first 500 devices; the others are under `/devices`."""
    async with services.db.transaction() as tx:
        row = await _seen(tx, session, rollout)
        found = await looking.one(tx, rollout, session.sites, now_ms=services.now_ms())
    assert found is not None, "it was just seen"
    return tagged(request, found, tag_of(row.version))


@get(f"{ROLLOUT}/devices", summary="Devices of a rollout, by name")
async def read_rollout_devices(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    rollout: FromPath[str],
    in_state: Annotated[
        str,
        QueryParameter(
            name="state", description="Only those in this state; `none`: nothing assigned"
        ),
    ] = "",
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[DevicesPage]:
    """Return where each device is, what runs, and why it does not get on."""
    cursors = Cursors(services, "rollout-devices", rollout, in_state)
    after = cursors.read(cursor, tuple[str]) or ("",)
    async with services.db.transaction() as tx:
        row = await _seen(tx, session, rollout)
        rows = await looking.devices(
            tx, row, after=after[0], state=in_state[:64].replace("\0", ""), limit=limit + 1
        )
    page, further = cursors.ends(rows, lambda one: (one.device,), limit)
    return paged(request, DevicesPage(devices=page, next_cursor=further), further)


@get(f"{ROLLOUT}/gates", summary="What the gates of every stage said last, with their evidence")
async def read_rollout_gates(
    request: AnyRequest, services: TheServices, session: TheSession, rollout: FromPath[str]
) -> Response[dict[str, list[GateView]]]:
    """Return gates by stage, from "0" on."""
    async with services.db.transaction() as tx:
        row = await _seen(tx, session, rollout)
        rows = await store.gate_rows(tx, row.rollout)
    found: dict[str, list[GateView]] = {}
    for one in rows:
        found.setdefault(str(one.stage), []).append(looking.gate_view(one))
    return tagged(request, found)


@get(f"{ROLLOUT}/history", summary="What happened to a rollout and its devices, newest first")
async def read_rollout_history(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    rollout: FromPath[str],
    device: Annotated[
        str, QueryParameter(description="Only of this device; `*`: of all and of the rollout")
    ] = "",
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[HistoryPage]:
    """Return every transition with who and why; without `device`, those of the rollout itself."""
    cursors = Cursors(services, "rollout-history", rollout, device)
    after = cursors.read(cursor, tuple[int])
    async with services.db.transaction() as tx:
        await _seen(tx, session, rollout)
        rows = await looking.history(
            tx,
            rollout,
            device=None if device == "*" else device[:64].replace("\0", ""),
            below=after[0] if after else 2**62,
            limit=limit + 1,
        )
    page, further = cursors.ends(rows, lambda one: (one.number,), limit)
    return paged(request, HistoryPage(history=page, next_cursor=further), further)


@put(f"{ROLLOUT}/approval", summary="Approve a rollout at central (admin; not who made it)")
async def approve_rollout(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    rollout: FromPath[str],
    if_match: IfMatch = None,
) -> Response[Standing]:
    """Approve what stands now. The approval of the offline keys is needed beside it."""
    access.require(session, "admin")
    async with services.db.transaction() as tx:
        await _seen(tx, session, rollout)
        row = await ordering.approve(
            tx,
            rollout,
            actor=session.username,
            two_people=services.config.rollouts.two_people,
            now_ms=services.now_ms(),
            check=lambda found: require_match(if_match, tag_of(found.version)),
        )
        await ordering.wake(tx, rollout)
        warnings = await returning.warnings(tx, row.asked, services.now_ms())
    _wake(services, rollout)
    standing = msgspec.structs.replace(_standing(row), warnings=warnings)
    return tagged(request, standing, tag_of(row.version))


@post(f"{ROLLOUT}/orders", status_code=202, summary="Start, pause, stop, roll back … (operator)")
async def order_rollout(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    rollout: FromPath[str],
    data: JSONBody[NewOrder],
    if_match: IfMatch = None,
) -> Response[Standing]:
    """Store the order and wake the turn that carries it out: within seconds."""
    access.require(session, "operator")
    async with services.db.transaction() as tx:
        await _seen(tx, session, rollout)
        row = await _ordered(tx, services, session, rollout, data, if_match)
        await ordering.wake(tx, rollout)
    _wake(services, rollout)
    return tagged(request, _standing(row), tag_of(row.version))


async def _ordered(  # noqa: PLR0917 - who orders what of which, over which version
    tx: Tx,
    services: Services,
    session: Session,
    rollout: str,
    data: NewOrder,
    if_match: str | None,
) -> Row:
    def check(row: Row) -> None:
        require_match(if_match, tag_of(row.version))

    now_ms = services.now_ms()
    if data.order in set(Order):
        asked = Asked(
            order=Order(data.order), at_ms=now_ms, by=session.username, why=data.why,
            hours=data.hours,
        )  # fmt: skip
        return await ordering.order(tx, rollout, asked, now_ms=now_ms, check=check)
    if not data.devices or not all(map(is_slug, data.devices)):
        raise Refused(detail="devices: name at least one, as the list of devices does")
    return await ordering.choose(
        tx,
        rollout,
        data.devices,
        data.order,
        actor=session.username,
        why=data.why,
        now_ms=now_ms,
        check=check,
    )


def _complain(plan: Plan) -> None:
    wrong = ordering.complaints(plan)
    if wrong:
        raise Refused(detail=wrong[0], extra=[{"detail": text} for text in wrong])


async def _require_sites(tx: Tx, session: Session, sites: list[str]) -> None:
    """Return where every site is there and in scope; `*` takes the whole fleet."""
    if sites == [ordering.EVERYWHERE]:
        access.require_whole(session)
        return
    known = {place.site for place in await tree.sites(tx, session.sites)}
    missing = sorted(set(sites) - known)
    if missing:
        raise NotThere(detail=f"there is no site {missing[0][:64]!r} in your scope")


async def _seen(tx: Tx, session: Session, rollout: str) -> Row:
    """Return a rollout that the asker may see.

    Raises:
        NotThere: There is none; that there is one of other sites is not said.
    """
    found = await looking.in_scope(tx, rollout, session.sites) if is_slug(rollout) else None
    if found is None:
        raise NotThere(detail="there is no such rollout")
    return found


def _standing(row: Row) -> Standing:
    orders = row.where.orders
    return Standing(
        rollout=row.rollout,
        state=row.at,
        version=row.version,
        asked=str(orders[0].order) if orders else "",
    )


def _wake(services: Services, rollout: str) -> None:
    services.bulletin.publish(jobs.NOW, jobs.ORDERED, f"rollout:{rollout}")


ROUTES: Final = [
    read_rollouts,
    make_rollout,
    plan_rollout,
    read_rollout,
    read_rollout_devices,
    read_rollout_gates,
    read_rollout_history,
    approve_rollout,
    order_rollout,
]
