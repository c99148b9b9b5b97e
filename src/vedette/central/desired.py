"""What should run on a device, and what operators ask of it.

Settings are signed by central's online key when an operator changes them. A site's policy is signed
by the site and only stored here, after its signatures were checked: central cannot write one.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from vedette.central import audit, site_keys
from vedette.central.bulletin import Bulletin
from vedette.central.enrolment import get_site
from vedette.central.store import arrays
from vedette.central.store.db import Database, Tx
from vedette.errors import ConfigError, NotAllowed, RollbackAttempt
from vedette.ids import new_id
from vedette.trust.dsse import MAX_PAYLOAD_BYTES, open_struct, sign_struct
from vedette.trust.keys import PublicKey, SigningKey, from_text
from vedette.wire import codec
from vedette.wire.enrol import Desired, Request
from vedette.wire.messages import HealthReport
from vedette.wire.signed import (
    POLICY_TYPE,
    SETTINGS_TYPE,
    CameraSettings,
    DeviceSettings,
    LineLimits,
    Signed,
    SiteKeyChain,
    SitePolicy,
)

REQUEST_S: Final = 600
MAX_SETTINGS_BYTES: Final = MAX_PAYLOAD_BYTES // 4 * 3
"""Of one device; the rest is for what central adds. Devices refuse larger documents unread."""

ATTEND_S: Final = 60
MAX_THUMBNAIL_BYTES: Final = 128 * 1024
KEPT_VERSIONS: Final = 200
"""Of the settings of one camera; older ones go."""

Check = Callable[[Tx, DeviceSettings | None], Awaitable[None]]
"""Sees what stands while it is held, before it is changed; raises where it may not be."""

_signed = msgspec.json.Decoder(Signed)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """A device's row, as far as its desired state goes."""

    device: str
    site: str
    settings: bytes | None
    settings_version: int
    policy: bytes | None
    policy_version: int
    site_keys_version: int
    desired_etag: str
    rotate_asked_ms: int | None = None
    assignment: bytes | None = None
    assignment_version: int = 0


class Thumbnail(msgspec.Struct, frozen=True, kw_only=True):
    """A privacy-safe picture that a device answered with."""

    request: str
    asked_by: str
    answered_ms: int
    answer: bytes


async def desired(tx: Tx, device: str, now_ms: int) -> Desired:
    """Return the desired state of one device.

    Raises:
        NotAllowed: No such device.
    """
    facts = await _facts(tx, "desired_facts", device)
    return Desired(
        etag=facts.desired_etag,
        settings=_signed.decode(facts.settings) if facts.settings else None,
        site_policy=_signed.decode(facts.policy) if facts.policy else None,
        requests=await tx.all("requests_open", Request, device=device, now_ms=now_ms),
        rotate_key=facts.rotate_asked_ms is not None,
        site_keys=await site_keys.chain(tx, facts.site) if facts.site_keys_version > 1 else [],
        assignment=_signed.decode(facts.assignment) if facts.assignment else None,
    )


async def _facts(tx: Tx, query: str, device: str) -> Facts:
    facts = await tx.one(query, Facts, device=device)
    if facts is None:
        raise NotAllowed("no such device")
    return facts


async def refresh(tx: Tx, device: str, now_ms: int) -> str:
    """Return the tag of the desired state as it is now; the device sees it in its next answer."""
    facts = await _facts(tx, "desired_facts", device)
    open_ids = [
        r.request for r in await tx.all("requests_open", Request, device=device, now_ms=now_ms)
    ]
    etag = _etag(facts, open_ids)
    await tx.run("desired_etag_set", device=device, etag=etag)
    return etag


async def refresh_many(tx: Tx, devices: Sequence[str], now_ms: int) -> None:
    """As `refresh`, of many devices at once."""
    facts = await tx.all("desired_facts_many", Facts, devices=list(devices))
    tags = [(one.device, _etag(one, [])) for one in facts]
    await tx.run("desired_etags_set", **arrays.columns(tags, "device", "etag"))
    for (device,) in await tx.tuples("requests_open_of", devices=list(devices), now_ms=now_ms):
        await refresh(tx, device, now_ms)


def _etag(facts: Facts, open_ids: list[str]) -> str:
    parts: list[object] = [facts.settings_version, facts.policy_version, open_ids]
    if facts.site_keys_version > 1:
        parts.append({"site_keys": facts.site_keys_version})
    if facts.rotate_asked_ms is not None:
        parts.append(facts.rotate_asked_ms)
    if facts.assignment_version:
        parts.append({"assignment": facts.assignment_version})
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


async def refresh_site(tx: Tx, site: str, now_ms: int) -> list[str]:
    """Return the devices of a site, each with the tag of its desired state as it is now."""
    devices = [str(name) for (name,) in await tx.tuples("devices_of_site", site=site)]
    for device in devices:
        await refresh(tx, device, now_ms)
    return devices


async def put_site_keys(
    db: Database,
    bulletin: Bulletin,
    site: str,
    sent: SiteKeyChain,
    *,
    central: PublicKey,
    actor: str,
    now_ms: int,
) -> site_keys.Keys:
    """Store replacements of a site's keys, signed by those before, and tell its devices.

    Raises:
        VedetteError: As `site_keys.put_chain`.
    """
    async with db.transaction() as tx:
        keys = await site_keys.put_chain(
            tx, site, sent, central=central, actor=actor, now_ms=now_ms
        )
        devices = await refresh_site(tx, site, now_ms)
    bulletin.publish(*(f"desired:{device}" for device in devices), f"site:{site}")
    return keys


def current_settings(facts: Facts) -> DeviceSettings | None:
    """Return what central signed last for this device."""
    return signed_settings(facts.settings)


def signed_settings(stored: bytes | None) -> DeviceSettings | None:
    """Return what stored settings say; they were signed here."""
    if stored is None:
        return None
    signed = _signed.decode(stored)
    return msgspec.json.decode(from_text(signed.payload), type=DeviceSettings)


async def settings_of(db: Database, device: str) -> DeviceSettings | None:
    """Return the settings that a device should have; None where there are none yet."""
    async with db.transaction() as tx:
        return await read_settings(tx, device)


async def read_settings(tx: Tx, device: str) -> DeviceSettings | None:
    """As `settings_of`, in a transaction that is open already."""
    return current_settings(await _facts(tx, "desired_facts", device))


def _held_version(health: object) -> int:
    """Return the settings version in a device's latest report; 0 where it has none."""
    if not isinstance(health, bytes):
        return 0
    text = codec.decode(health, HealthReport).config_version
    # A device may say anything: no version may be pushed where no later one fits.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


def of_camera(settings: DeviceSettings | None, camera: str) -> CameraSettings:
    """Return one camera's part of a device's settings."""
    cameras: Sequence[CameraSettings] = settings.cameras if settings else ()
    return next((row for row in cameras if row.camera == camera), CameraSettings(camera=camera))


async def change_camera(
    db: Database,
    bulletin: Bulletin,
    key: SigningKey,
    device: str,
    wanted: CameraSettings,
    *,
    check: Check | None = None,
    actor: str,
    now_ms: int,
    note: str = "",
) -> DeviceSettings:
    """Sign and store a device's next settings, in which only one camera's part is another.

    What stands is held meanwhile, so that of two changes at once neither takes the other's away;
    `check` sees it before. Nothing is signed where nothing would change. What the camera had before
    is kept (`camera_settings.versions`).

    Raises:
        ConfigError: Together with other cameras' it would be more than a device reads.
    """

    def changed(present: DeviceSettings) -> DeviceSettings:
        if present.version and wanted == of_camera(present, wanted.camera):
            return present
        others = [row for row in present.cameras if row.camera != wanted.camera]
        cameras = sorted([*others, wanted], key=lambda row: row.camera)
        return msgspec.structs.replace(present, cameras=cameras)

    how = {"check": check, "actor": actor, "now_ms": now_ms, "note": note}
    return await _change(db, bulletin, key, device, changed, **how)


async def change_line(
    db: Database,
    bulletin: Bulletin,
    key: SigningKey,
    device: str,
    limits: LineLimits | None,
    *,
    check: Callable[[DeviceSettings | None], None] = lambda _: None,
    actor: str,
    now_ms: int,
) -> DeviceSettings:
    """As `change_camera`, of what the backlog may use of the line; None: nothing is said of it."""
    said = msgspec.UNSET if limits is None else limits

    def changed(present: DeviceSettings) -> DeviceSettings:
        return msgspec.structs.replace(present, uplink=said)

    async def checked(_: Tx, present: DeviceSettings | None) -> None:
        check(present)

    how = {"check": checked, "actor": actor, "now_ms": now_ms}
    return await _change(db, bulletin, key, device, changed, **how)


async def _change(
    db: Database,
    bulletin: Bulletin,
    key: SigningKey,
    device: str,
    changed: Callable[[DeviceSettings], DeviceSettings],
    *,
    check: Check | None,
    actor: str,
    now_ms: int,
    note: str = "",
) -> DeviceSettings:
    async with db.transaction() as tx:
        facts = await _facts(tx, "device_settings_lock", device)
        if check is not None:
            await check(tx, current_settings(facts))
        present = _present(facts)
        held = _held_version(await tx.value("device_last_health", device=device))
        wanted = changed(present)
        if present.version and wanted == present and held <= present.version:
            return present
        if len(msgspec.json.encode(wanted)) > MAX_SETTINGS_BYTES:
            raise ConfigError(
                f"the settings of device {device} would have more than {MAX_SETTINGS_BYTES} bytes",
                operator_hint="draw less: fewer zones, corners and labels on its cameras",
            )
        settings = await _sign_next(tx, key, facts, wanted, actor=actor, now_ms=now_ms, note=note)
    bulletin.publish(f"desired:{device}", f"device:{device}")
    return settings


async def tell_zone(
    db: Database, bulletin: Bulletin, key: SigningKey, device: str, *, now_ms: int
) -> bool:
    """Have a device's settings say its site's time zone; False where they do already."""
    async with db.transaction() as tx:
        facts = await _facts(tx, "device_settings_lock", device)
        zone = str(await tx.value("zone_of_site", site=facts.site))
        present = _present(facts)
        if present.time_zone == zone:
            return False
        wanted = msgspec.structs.replace(present, time_zone=zone)
        await _sign_next(tx, key, facts, wanted, actor="central", now_ms=now_ms)
    bulletin.publish(f"desired:{device}", f"device:{device}")
    return True


def _present(facts: Facts) -> DeviceSettings:
    """Return what a device's next settings are made of: the last ones, or none."""
    return current_settings(facts) or DeviceSettings(device=facts.device, version=0, issued_ms=0)


async def _sign_next(
    tx: Tx,
    key: SigningKey,
    facts: Facts,
    wanted: DeviceSettings,
    *,
    actor: str,
    now_ms: int,
    note: str = "",
) -> DeviceSettings:
    """Sign and store `wanted` as the next version of settings that `tx` holds.

    The version passes the one that the device reports, not only the stored one: a central that was
    restored from a backup would otherwise sign versions that the device has seen and refuses.
    """
    device = facts.device
    held = _held_version(await tx.value("device_last_health", device=device))
    settings = msgspec.structs.replace(
        wanted,
        device=device,
        version=max(facts.settings_version, held) + 1,
        issued_ms=now_ms,
    )
    signed = sign_struct(settings, SETTINGS_TYPE, [key])
    await tx.run(
        "device_settings_set",
        device=device,
        settings=msgspec.json.encode(signed),
        version=settings.version,
    )
    before = current_settings(facts)
    parts = [*(before.cameras if before else []), *settings.cameras]
    for camera in sorted({part.camera for part in parts}):
        await _keep_version(tx, camera, before, settings, actor=actor, note=note)
    await refresh(tx, device, now_ms)
    detail: dict[str, object] = {"version": settings.version}
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action="settings.change",
        target=device,
        detail=detail | ({"note": note} if note else {}),
    )
    return settings


async def _keep_version(
    tx: Tx,
    camera: str,
    before: DeviceSettings | None,
    after: DeviceSettings,
    *,
    actor: str,
    note: str,
) -> None:
    """Keep what one camera's part is from now on, beside what it was before."""
    none = CameraSettings(camera=camera)
    old, new = of_camera(before, camera), of_camera(after, camera)
    if old == new:
        return
    of: dict[str, object] = {"device": after.device, "camera": camera}
    rows = [(after, actor, note, new)]
    is_first = await tx.value("camera_settings_newest", **of) is None
    if before is not None and old != none and is_first:
        # From before versions were kept: what it was is known, who made it is not.
        rows.insert(0, (before, "", "", old))
    for settings, who, why, part in rows:
        await tx.run(
            "camera_settings_add",
            **of,
            version=settings.version,
            at_ms=settings.issued_ms,
            actor=who,
            note=why,
            settings=msgspec.json.encode(part),
        )
    await tx.run("camera_settings_trim", **of, keep=KEPT_VERSIONS)


async def put_policy(
    db: Database, bulletin: Bulletin, site: str, signed: Signed, *, actor: str, now_ms: int
) -> SitePolicy:
    """Store a newer policy that the site signed.

    Raises:
        BadSignature: Not signed by enough of the site's keys.
        NotAllowed: Signed for another site.
        RollbackAttempt: Not newer than the one stored.
    """
    async with db.transaction() as tx:
        row = await get_site(tx, site)
        policy = open_struct(
            signed,
            SitePolicy,
            [PublicKey.from_text(key) for key in row.site_keys],
            payload_type=POLICY_TYPE,
            threshold=row.site_threshold,
        )
        if policy.site != site:
            raise NotAllowed(f"this policy is for site {policy.site!r}")
        stored = await tx.run(
            "site_policy_set",
            site=site,
            policy=msgspec.json.encode(signed),
            version=policy.version,
        )
        if not stored:
            raise RollbackAttempt(
                f"version {policy.version} is not newer than {row.policy_version}",
                operator_hint="sign it again with a higher version",
            )
        devices = await refresh_site(tx, site, now_ms)
        await audit.write(
            tx,
            at_ms=now_ms,
            actor=actor,
            action="policy.store",
            target=site,
            detail={"version": policy.version},
        )
    bulletin.publish(*(f"desired:{device}" for device in devices), f"site:{site}")
    return policy


async def ask_thumbnail(
    db: Database,
    bulletin: Bulletin,
    device: str,
    camera: str,
    *,
    actor: str,
    now_ms: int,
    kind: str = "thumbnail",
) -> str:
    """Ask a device for a privacy-safe picture; return the request's id (an open one is reused).

    `kind` is `thumbnail`, how it looks now, or `reference`, the scene that was pinned there.

    Raises:
        ConfigError: The device never spoke of this camera.
    """
    async with db.transaction() as tx:
        if await tx.value("camera_exists", device=device, camera=camera) is None:
            raise ConfigError(f"device {device} has no camera {camera}")
        of = {"device": device, "camera": camera, "kind": kind}
        waiting = await tx.value("request_open_for", **of, now_ms=now_ms)
        if waiting is not None:
            return str(waiting)
        request = new_id("rq")
        await tx.run(
            "request_put",
            **of,
            request=request,
            asked_by=actor,
            now_ms=now_ms,
            expires_ms=now_ms + REQUEST_S * 1000,
        )
        await refresh(tx, device, now_ms)
        await audit.write(
            tx,
            at_ms=now_ms,
            actor=actor,
            action=f"{kind}.ask",
            target=f"{device}/{camera}",
            detail={"request": request},
        )
    bulletin.publish(f"desired:{device}", f"device:{device}")
    return request


async def answer_request(
    db: Database, bulletin: Bulletin, device: str, request: str, picture: bytes, *, now_ms: int
) -> None:
    """Store the picture that `device` was asked for.

    Raises:
        NotAllowed: Nobody asked this device for it, or too long ago, or it is not a JPEG.
    """
    if not picture.startswith(b"\xff\xd8\xff") or len(picture) > MAX_THUMBNAIL_BYTES:
        raise NotAllowed("not a small JPEG")
    async with db.transaction() as tx:
        stored = await tx.run(
            "request_answer", request=request, device=device, answer=picture, now_ms=now_ms
        )
        if not stored:
            raise NotAllowed("nobody is waiting for this picture")
        await tx.run("references_trim", device=device)
        await refresh(tx, device, now_ms)
    bulletin.publish(f"device:{device}", f"desired:{device}")


async def newest_thumbnail(db: Database, device: str, camera: str) -> Thumbnail | None:
    """Return the newest picture of a camera. The caller writes the look into the audit log."""
    async with db.transaction() as tx:
        return await tx.one("thumbnail_newest", Thumbnail, device=device, camera=camera)


async def attend(db: Database, device: str, now_ms: int) -> None:
    """Have the device long-poll for a minute: an operator is looking at it."""
    async with db.transaction() as tx:
        await tx.run("device_attend", device=device, until_ms=now_ms + ATTEND_S * 1000)
