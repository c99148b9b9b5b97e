"""What should run on a device, and what operators ask of it.

Settings are signed by central's online key when an operator changes them. A site's policy is signed
by the site and only stored here, after its signatures were checked: central cannot write one.
"""

import hashlib
from typing import Final

import msgspec

from vedette.central import audit, site_keys
from vedette.central.bulletin import Bulletin
from vedette.central.enrolment import get_site
from vedette.central.store.db import Database, Tx
from vedette.errors import ConfigError, NotAllowed, RollbackAttempt
from vedette.ids import new_id
from vedette.trust.dsse import open_struct, sign_struct
from vedette.trust.keys import PublicKey, SigningKey, from_text
from vedette.wire import codec
from vedette.wire.enrol import Desired, Request
from vedette.wire.messages import HealthReport
from vedette.wire.signed import (
    POLICY_TYPE,
    SETTINGS_TYPE,
    CameraSettings,
    DeviceSettings,
    Signed,
    SiteKeyChain,
    SitePolicy,
)

REQUEST_S: Final = 600
ATTEND_S: Final = 60
MAX_THUMBNAIL_BYTES: Final = 128 * 1024
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
    parts: list[object] = [facts.settings_version, facts.policy_version, open_ids]
    if facts.site_keys_version > 1:
        parts.append({"site_keys": facts.site_keys_version})
    if facts.rotate_asked_ms is not None:
        parts.append(facts.rotate_asked_ms)
    text = msgspec.json.encode(parts)
    etag = hashlib.sha256(text).hexdigest()[:16]
    await tx.run("desired_etag_set", device=device, etag=etag)
    return etag


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
    if facts.settings is None:
        return None
    signed = _signed.decode(facts.settings)
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


async def change_settings(
    db: Database,
    bulletin: Bulletin,
    key: SigningKey,
    device: str,
    *,
    cameras: list[CameraSettings],
    report_period_s: float | None = None,
    aggregate_period_s: float | None = None,
    actor: str,
    now_ms: int,
) -> DeviceSettings:
    """Sign and store the next version of a device's settings, with its entry in the audit log.

    The version passes the one that the device reports, not only the stored one: a central that
    was restored from a backup would otherwise sign versions that the device has seen and refuses.
    """
    async with db.transaction() as tx:
        facts = await _facts(tx, "device_settings_lock", device)
        held = _held_version(await tx.value("device_last_health", device=device))
        settings = DeviceSettings(
            device=device,
            version=max(facts.settings_version, held) + 1,
            issued_ms=now_ms,
            cameras=cameras,
            report_period_s=report_period_s,
            aggregate_period_s=aggregate_period_s,
        )
        signed = sign_struct(settings, SETTINGS_TYPE, [key])
        await tx.run(
            "device_settings_set",
            device=device,
            settings=msgspec.json.encode(signed),
            version=settings.version,
        )
        await refresh(tx, device, now_ms)
        await audit.write(
            tx,
            at_ms=now_ms,
            actor=actor,
            action="settings.change",
            target=device,
            detail={"version": settings.version},
        )
    bulletin.publish(f"desired:{device}", f"device:{device}")
    return settings


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
    db: Database, bulletin: Bulletin, device: str, camera: str, *, actor: str, now_ms: int
) -> str:
    """Ask a device for a privacy-safe picture; return the request's id (an open one is reused).

    Raises:
        ConfigError: The device never spoke of this camera.
    """
    async with db.transaction() as tx:
        if await tx.value("camera_exists", device=device, camera=camera) is None:
            raise ConfigError(f"device {device} has no camera {camera}")
        of = {"device": device, "camera": camera, "kind": "thumbnail"}
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
            action="thumbnail.ask",
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
