"""Who may speak, through the operator API: devices' keys, quarantine, claims, tokens, users.

The rule: administrators only, except for one's own tokens and devices' public keys; a device or
claim out of the asker's scope is not there; nothing that is secret is ever listed, and what is made
is shown once.
"""

from typing import Final

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from vedette.central import accounts, audit, enrolment, liveness, quarantine, rotation
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.changing import Claim
from vedette.central.api.paging import Cursor, Cursors, Limit, cut, paged
from vedette.central.api.tagging import tag_of
from vedette.central.clips import proving
from vedette.central.clips.proving import DeviceKeys
from vedette.central.enrolment import Claim as ListedClaim
from vedette.central.quarantine import Judged, Suspect
from vedette.central.scopes import UserScope
from vedette.central.services import Services
from vedette.central.steady import Step
from vedette.central.store.db import Tx

DEVICE: Final = "/devices/{device:str}"


class Reason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why; it stands in the audit log."""

    reason: str = ""


class Judgement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to become of what was set aside.

    Attributes:
        copy: Count only this copy (the beginning of its boot id); empty: all.
        drop: Count nothing, forget it; the quarantine goes on.
    """

    copy: str = ""
    drop: bool = False


class TokenRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session or API token, without the token."""

    token: str
    username: str
    kind: str
    label: str
    created_ms: int
    seen_ms: int
    expires_ms: int


class UserRow(msgspec.Struct, frozen=True, kw_only=True):
    """A user, as others may see them; `etag` for `If-Match` when the scope is changed."""

    username: str
    role: str
    sites: list[str] | None
    folders: list[str]
    disabled: bool
    has_password: bool
    etag: str


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time link with which a user sets a password."""

    url: str
    expires_ms: int


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What stands now."""

    device: str
    state: str


class ClockView(msgspec.Struct, frozen=True, kw_only=True):
    """Central's own clock: how far off the machine's is now, and what happened to it."""

    held_by_ms: int | None
    steps: list[Step]
    next_cursor: str | None


class _Numbered(Step, frozen=True, kw_only=True):
    number: int


async def _require_device(services: Services, session: Session, device: str) -> None:
    """Return where this device is there, in scope, and the asker an administrator."""
    access.require(session, "admin")
    async with services.db.transaction() as tx:
        site = await tx.value("device_site", device=device[:128].replace("\0", ""))
    if site is None or not access.in_scope(session, str(site)):
        raise NotThere(detail="there is no such device")


@get("/quarantine", summary="Devices of which two copies are alive, and what is set aside (admin)")
async def read_quarantine(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[list[Suspect]]:
    """Return why each is in quarantine, and what waits for a judgement."""
    access.require(session, "admin")
    cursors = Cursors(services, "quarantine")
    (after,) = cursors.read(cursor, tuple[str]) or ("",)
    found = await quarantine.suspects(services.db, session.sites, after=after, limit=limit + 1)
    return paged(request, *cursors.ends(found, lambda suspect: (suspect.device,), limit))


@post(f"{DEVICE}/release", status_code=200, summary="Judge what was set aside (admin)")
async def release(
    services: TheServices, session: TheSession, device: FromPath[str], data: JSONBody[Judgement]
) -> Judged:
    """End a quarantine and count what was set aside, of one copy or of all; or drop it."""
    await _require_device(services, session, device)
    by = {"actor": session.username, "now_ms": services.now_ms()}
    if data.drop:
        return await quarantine.drop(services.db, device, **by)
    judged = await quarantine.release(services.db, device, copy=data.copy, **by)
    services.bulletin.publish("fleet", f"device:{device}")
    return judged


@post(f"{DEVICE}/revoke", status_code=200, summary="Take nothing from a device any more (admin)")
async def revoke(
    services: TheServices, session: TheSession, device: FromPath[str], data: JSONBody[Reason]
) -> Standing:
    """Have its key and tokens worth nothing, at once and everywhere."""
    await _require_device(services, session, device)
    async with services.db.transaction() as tx:
        await enrolment.revoke(
            tx, device, reason=data.reason, actor=session.username, now_ms=services.now_ms()
        )
    services.bulletin.publish("fleet", f"device:{device}")
    return Standing(device=device, state="revoked")


@post(f"{DEVICE}/re-enrol", status_code=201, summary="Give a device's name to another key (admin)")
async def re_enrol(
    services: TheServices, session: TheSession, device: FromPath[str], data: JSONBody[Reason]
) -> Claim:
    """Return a claim token that takes over the device's name; its key never speaks again."""
    await _require_device(services, session, device)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        token = await enrolment.re_enrol(
            tx, device, reason=data.reason, actor=session.username, now_ms=now_ms
        )
        site = await tx.value("device_site", device=device)
    services.bulletin.publish("fleet", f"device:{device}")
    return Claim(token=token, site=str(site), expires_ms=now_ms + enrolment.CLAIM_S * 1000)


@get(f"{DEVICE}/keys", summary="Public keys that speak or spoke for a device")
async def read_keys(
    services: TheServices, session: TheSession, device: FromPath[str]
) -> DeviceKeys:
    """Return them, the present one first: what a device signed as evidence verifies with these."""
    async with services.db.transaction() as tx:
        name = device[:128].replace("\0", "")
        site = await tx.value("device_site", device=name)
        if site is None or not access.in_scope(session, str(site)):
            raise NotThere(detail="there is no such device")
        return DeviceKeys(device=name, keys=await proving.keys_of(tx, name))


@post(f"{DEVICE}/rotate-key", status_code=202, summary="Demand another key of a device (admin)")
async def rotate_key(services: TheServices, session: TheSession, device: FromPath[str]) -> Standing:
    """Ask it at its next contact."""
    await _require_device(services, session, device)
    async with services.db.transaction() as tx:
        await rotation.ask_rotation(tx, device, actor=session.username, now_ms=services.now_ms())
    services.bulletin.publish(f"desired:{device}")
    return Standing(device=device, state="asked")


@get("/claims", summary="Claim tokens that are still good (admin)")
async def read_claims(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    used: FromQuery[bool] = False,
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[list[ListedClaim]]:
    """Return them without the tokens; with `used` also those that were used or have expired."""
    access.require(session, "admin")
    cursors = Cursors(services, "claims", used)
    after = cursors.read(cursor, tuple[int, str])
    async with services.db.transaction() as tx:
        found = await enrolment.list_claims(
            tx, services.now_ms(), session.sites, used=used, after=after, limit=limit + 1
        )
    return paged(request, *cursors.ends(found, lambda row: (row.created_ms, row.claim), limit))


@delete("/claims/{claim:str}", summary="Withdraw a claim token (admin)")
async def withdraw_claim(services: TheServices, session: TheSession, claim: FromPath[str]) -> None:
    """Have it worth nothing."""
    access.require(session, "admin")
    async with services.db.transaction() as tx:
        await enrolment.withdraw_claim(
            tx,
            claim[:64].replace("\0", ""),
            actor=session.username,
            now_ms=services.now_ms(),
            scope=session.sites,
        )


@get("/tokens", summary="One's own API tokens and sessions; an administrator's view of all")
async def read_tokens(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[list[TokenRow]]:
    """Return them without the tokens, by user and newest first."""
    everybody = access.may(session, "admin") and session.sites is None
    cursors = Cursors(services, "tokens")
    after = cursors.read(cursor, tuple[str, int, str]) or ("", 0, "")
    async with services.db.transaction() as tx:
        found = await tx.all(
            "sessions_page",
            TokenRow,
            username=None if everybody else session.username,
            now_ms=services.now_ms(),
            after_username=after[0],
            after_ms=after[1],
            after_token=after[2],
            limit=limit + 1,
        )
    return paged(
        request, *cursors.ends(found, lambda row: (row.username, row.created_ms, row.token), limit)
    )


@delete("/tokens/{token:str}", summary="End an API token or session: one's own; all by an admin")
async def end_token(services: TheServices, session: TheSession, token: FromPath[str]) -> None:
    """Have it worth nothing, at once."""
    everybody = access.may(session, "admin") and session.sites is None
    async with services.db.transaction() as tx:
        owner = await tx.value(
            "session_end_named",
            token=token[:64].replace("\0", ""),
            username=None if everybody else session.username,
        )
        if owner is None:
            raise NotThere(detail="there is no such token")
        await audit.write(
            tx,
            at_ms=services.now_ms(),
            actor=session.username,
            action="token.end",
            target=str(owner),
            detail={"token": token[:64]},
        )


def user_tag(user: accounts.User | UserScope) -> str:
    """Return the tag of what a user may do and see."""
    return tag_of(user.role, user.sites, user.folders, user.disabled_ms)


@get("/users", summary="Who may sign in (admin of all sites)")
async def read_users(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[list[UserRow]]:
    """Return every user, disabled ones too."""
    access.require(session, "admin")
    access.require_whole(session)
    async with services.db.transaction() as tx:
        found = await tx.all("users_all", accounts.User)
    cursors = Cursors(services, "users")
    page, further = cut(found, lambda user: (user.username,), cursors, cursor, limit)
    rows = [
        UserRow(
            username=row.username,
            role=row.role,
            sites=row.sites,
            folders=row.folders,
            disabled=row.disabled_ms is not None,
            has_password=bool(row.password_hash),
            etag=user_tag(row),
        )
        for row in page
    ]
    return paged(request, rows, further)


@post("/users/{username:str}/disable", status_code=200, summary="Nobody signs in by this name")
async def disable_user(services: TheServices, session: TheSession, username: FromPath[str]) -> None:
    """End every session and token of a user, and let them sign in no more (admin of all sites)."""
    access.require(session, "admin")
    access.require_whole(session)
    async with services.db.transaction() as tx:
        await accounts.disable_user(tx, username, actor=session.username, now_ms=services.now_ms())


@post("/users/{username:str}/password-link", status_code=201, summary="A link to set a password")
async def password_link(
    services: TheServices, session: TheSession, username: FromPath[str]
) -> Link:
    """Return a one-time link for a user who is there (admin of all sites)."""
    access.require(session, "admin")
    access.require_whole(session)
    async with services.db.transaction() as tx:
        await accounts.require_user(tx, username)
        await audit.write(
            tx,
            at_ms=services.now_ms(),
            actor=session.username,
            action="user.password_link",
            target=username,
        )
        return await _link(tx, services, username)


@get("/sites/{site:str}/darkness", summary="When a site was dark as a whole, newest first")
async def read_darkness(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    cursor: Cursor = "",
    limit: Limit = 200,
) -> Response[list[liveness.SiteTurn]]:
    """Return when all devices of a site fell silent together, and when the first came back."""
    access.require_site(session, site)
    cursors = Cursors(services, "darkness", site)
    after_ms, after_state = cursors.read(cursor, tuple[int, str]) or (2**62, "")
    async with services.db.transaction() as tx:
        found = await tx.all(
            "site_transitions_of",
            liveness.SiteTurn,
            site=site,
            after_ms=after_ms,
            after_state=after_state,
            limit=limit + 1,
        )
    return paged(request, *cursors.ends(found, lambda turn: (turn.at_ms, turn.state), limit))


@get("/clock", summary="Central's own clock, and when it was moved")
async def read_clock(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[ClockView]:
    """Return whether the wall clock is followed now, and what happened to it, newest first."""
    access.require(session, "operator")
    cursors = Cursors(services, "clock")
    (below,) = cursors.read(cursor, tuple[int]) or (2**62,)
    async with services.db.transaction() as tx:
        found = await tx.all("clock_steps_newest", _Numbered, below=below, limit=limit + 1)
    page, further = cursors.ends(found, lambda row: (row.number,), limit)
    steps = [Step(at_ms=row.at_ms, by_ms=row.by_ms, outcome=row.outcome) for row in page]
    view = ClockView(held_by_ms=services.clock.held_by_ms, steps=steps, next_cursor=further)
    return paged(request, view, further)


async def _link(tx: Tx, services: Services, username: str) -> Link:
    now_ms = services.now_ms()
    token = await accounts.make_setup_token(tx, username, now_ms)
    return Link(
        url=f"{services.config.url}/setup/{token}",
        expires_ms=now_ms + accounts.SETUP_LINK_S * 1000,
    )


ROUTES: Final = [
    read_quarantine,
    release,
    revoke,
    re_enrol,
    read_keys,
    rotate_key,
    read_claims,
    withdraw_claim,
    read_tokens,
    end_token,
    read_users,
    disable_user,
    password_link,
    read_darkness,
    read_clock,
]
