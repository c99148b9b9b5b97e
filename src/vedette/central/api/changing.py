"""What can be changed through the operator API: requests, settings, sites, claims, policies.

The rule: central signs only what `DeviceSettings` can say, every change is one transaction with its
entry in the audit log, and what the site must sign is only stored here.
"""

from typing import Annotated, Final

import msgspec
from litestar import Response, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from vedette.central import camera_settings, desired, enrolment
from vedette.central.accounts import Session
from vedette.central.api import access, geometry
from vedette.central.api.access import AnyRequest, HTTPException, TheServices, TheSession
from vedette.central.api.reading import CAMERA, require_camera
from vedette.central.api.tagging import IfMatch, require_match, tag_of, tagged
from vedette.central.services import Services
from vedette.central.site_keys import Keys, keys_of
from vedette.central.store.db import Tx
from vedette.wire.signed import CameraSettings, DeviceSettings, Line, Signed, SiteKeyChain, Zone


class Refused(HTTPException):
    """Understood, but cannot be; `extra` lists why."""

    status_code = 422


class OutOfDate(HTTPException):
    """Somebody else changed it since it was read."""

    status_code = 409


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request that a device will see at its next contact."""

    request: str


class NewClaim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For which site a claim token is wanted, and the name of the device, where it is known."""

    site: str
    device: str | None = None


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A claim token: shown once, used once, for a day."""

    token: str
    site: str
    expires_ms: int


class NewSite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A site to be had."""

    site: str
    name: str = ""
    folder: str = ""
    time_zone: str = "UTC"
    site_keys: list[str] = []
    site_threshold: int = 1


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What stands now."""

    version: int


class NewSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a camera should look for; a field that is left out or null leaves it to the device."""

    zones: list[Zone] | None = None
    lines: list[Line] | None = None
    threshold: float | None = None
    labels: list[str] | None = None
    off_hours: list[tuple[str, str]] | None = None
    regions: list[list[tuple[float, float]]] | None = None
    note: Annotated[str, msgspec.Meta(max_length=200)] = ""


@post(f"{CAMERA}/thumbnail", status_code=202, summary="Ask for a privacy-safe picture (operator)")
async def ask_thumbnail(
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
) -> Asked:
    """Ask the device; it answers at its next contact, if the site's pixel policy lets it."""
    access.require(session, "operator")
    await require_camera(services, session, (site, device, camera))
    request = await desired.ask_thumbnail(
        services.db,
        services.bulletin,
        device,
        camera,
        actor=session.username,
        now_ms=services.now_ms(),
    )
    return Asked(request=request)


@put(f"{CAMERA}/settings", summary="Set zones, lines and threshold (operator)")
async def put_settings(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
    data: JSONBody[NewSettings],
    if_version: Annotated[
        int | None,
        QueryParameter(
            description="Refuse where this camera was changed since this version of the settings"
        ),
    ] = None,
    if_match: IfMatch = None,
) -> Response[Done]:
    """Sign new settings for the camera's device; it takes them up at its next contact."""
    access.require(session, "operator")
    await require_camera(services, session, (site, device, camera))
    fields = msgspec.structs.asdict(data)
    note = fields.pop("note")
    wanted = CameraSettings(camera=camera, **fields)
    over = Over(if_version=if_version, if_match=if_match)
    version = await save_settings(services, session, device, wanted, over, note)
    return tagged(request, Done(version=version), tag_of(wanted))


class Over(msgspec.Struct, frozen=True, kw_only=True):
    """Over what a change may be saved; None: over anything."""

    if_version: int | None = None
    if_match: str | None = None


async def save_settings(  # noqa: PLR0917 - who saves what, over which version, and why
    services: Services,
    session: Session,
    device: str,
    wanted: CameraSettings,
    over: Over,
    note: str = "",
) -> int:
    """Save one camera's settings; return the version.

    Raises:
        Refused: They cannot be; every reason is said.
        OutOfDate: Somebody else changed this camera since `if_version`; it says who and what.
        ChangedMeanwhile: It is not as `if_match` says.
    """
    wrong = geometry.complaints(wanted)
    if wrong:
        raise Refused(detail=wrong[0], extra=[{"detail": text} for text in wrong])

    async def check(tx: Tx, present: DeviceSettings | None) -> None:
        newest = await camera_settings.newer(tx, present, wanted.camera, over.if_version)
        if newest is not None:
            raise OutOfDate(
                detail=f"{newest.actor or 'somebody'} changed these settings since you read them:"
                f" read them again (version {newest.version})",
                extra=[{"detail": text} for text in newest.changes],
            )
        require_match(over.if_match, tag_of(desired.of_camera(present, wanted.camera)))

    made = await desired.change_camera(
        services.db,
        services.bulletin,
        services.online_key,
        device,
        wanted,
        check=check,
        actor=session.username,
        now_ms=services.now_ms(),
        note=note,
    )
    return made.version


@post("/sites", status_code=201, summary="Have a site (admin)")
async def add_site(services: TheServices, session: TheSession, data: JSONBody[NewSite]) -> NewSite:
    """Have a site; one that is there already is not changed."""
    access.require(session, "admin")
    access.require_site(session, data.site)
    if data.folder:
        access.require_folder(session, data.folder)
    async with services.db.transaction() as tx:
        added = await enrolment.add_site(
            tx,
            data.site,
            name=data.name,
            folder=data.folder,
            time_zone=data.time_zone,
            site_keys=data.site_keys,
            site_threshold=data.site_threshold,
            actor=session.username,
            now_ms=services.now_ms(),
        )
    if not added:
        raise OutOfDate(detail=f"there is a site {data.site} already")
    services.bulletin.publish("fleet", f"site:{data.site}")
    return data


@put("/sites/{site:str}/policy", summary="Store a policy that the site signed (admin)")
async def put_policy(
    services: TheServices, session: TheSession, site: FromPath[str], data: JSONBody[Signed]
) -> Done:
    """Store it where the site's keys signed it and it is newer; central cannot write one."""
    access.require(session, "admin")
    access.require_site(session, site)
    policy = await desired.put_policy(
        services.db,
        services.bulletin,
        site,
        data,
        actor=session.username,
        now_ms=services.now_ms(),
    )
    return Done(version=policy.version)


@put("/sites/{site:str}/keys", summary="Replace a site's keys, as the keys before sign (admin)")
async def put_site_keys(
    services: TheServices, session: TheSession, site: FromPath[str], data: JSONBody[SiteKeyChain]
) -> Keys:
    """Store a chain of replacements; central checks it and cannot write one.

    What is stored already may stand before what is new. Devices follow it step by step, by the keys
    that they pinned.
    """
    access.require(session, "admin")
    access.require_site(session, site)
    return await desired.put_site_keys(
        services.db,
        services.bulletin,
        site,
        data,
        central=services.online_key.public,
        actor=session.username,
        now_ms=services.now_ms(),
    )


@get("/sites/{site:str}/keys", summary="A site's public keys, and the chain that led to them")
async def get_site_keys(services: TheServices, session: TheSession, site: FromPath[str]) -> Keys:
    """Return the keys as they are now and the signed documents, to sign the next one."""
    access.require_site(session, site)
    async with services.db.transaction() as tx:
        return await keys_of(tx, site)


@post("/claims", status_code=201, summary="A claim token for one new device (admin)")
async def make_claim(services: TheServices, session: TheSession, data: JSONBody[NewClaim]) -> Claim:
    """Make a token; only its hash is kept."""
    access.require(session, "admin")
    access.require_site(session, data.site)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        token = await enrolment.make_claim(
            tx, data.site, device=data.device, actor=session.username, now_ms=now_ms
        )
    return Claim(token=token, site=data.site, expires_ms=now_ms + enrolment.CLAIM_S * 1000)


ROUTES: Final = [
    ask_thumbnail,
    put_settings,
    add_site,
    put_policy,
    put_site_keys,
    get_site_keys,
    make_claim,
]
