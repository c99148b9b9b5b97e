"""Who may speak: sites, claim tokens, enrolment, nonces and access tokens.

Tokens are random; only their SHA-256 is stored. A claim token works once, within its life and for
its site, and the device proves that it holds the private half of the key that it presents.
"""

import hashlib
import secrets
from typing import Final

import msgspec

from vedette.central import audit
from vedette.central.hours import zone_of
from vedette.central.releases.keeping import newest_root
from vedette.central.selection import check_folder
from vedette.central.store.db import Tx
from vedette.central.tree import SitePlace
from vedette.errors import BadSignature, ConfigError, ConflictError, NotAllowed
from vedette.ids import is_slug
from vedette.trust.keys import PublicKey, check_possession
from vedette.trust.site_keys import KeySet
from vedette.wire.enrol import EnrolAnswer, EnrolRequest, Nonce

CLAIM_S: Final = 24 * 3600
NONCE_S: Final = 120


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A site; `policy` is a `Signed` document as JSON."""

    site: str
    name: str
    time_zone: str
    site_keys: list[str]
    site_threshold: int
    site_keys_version: int
    policy: bytes | None
    policy_version: int


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A claim token, without what it takes to use it."""

    claim: str
    site: str
    device: str | None
    replaces: bool
    made_by: str
    created_ms: int
    expires_ms: int
    used_ms: int | None
    used_by: str | None


class _Claimed(msgspec.Struct, frozen=True, kw_only=True):
    site: str
    device: str
    min_epoch: int = 0
    replaces: bool = False


class _Named(msgspec.Struct, frozen=True, kw_only=True):
    device: str
    site: str
    public_key: str
    generation: int
    revoked_ms: int | None


class Bearer(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds an access token, and under which generation of the device's key."""

    device: str
    generation: int
    expires_ms: int


def secret_hash(secret: str) -> bytes:
    """Return what is stored of a token or nonce."""
    return hashlib.sha256(secret.encode()).digest()


async def add_site(
    tx: Tx,
    site: str,
    *,
    name: str = "",
    folder: str = "",
    time_zone: str = "UTC",
    site_keys: list[str] | None = None,
    site_threshold: int = 1,
    actor: str,
    now_ms: int,
) -> bool:
    """Have a site; False where it was there already (nothing is changed then).

    Raises:
        ConfigError: A name, folder, time zone or key that cannot be.
    """
    if not is_slug(site):
        raise ConfigError(
            f"{site[:64]!r} cannot name a site",
            operator_hint="use a-z 0-9 . _ -, at most 64 of them",
        )
    check_folder(folder)
    zone_of(time_zone)
    keys = site_keys or []
    check_site_keys(keys, site_threshold)
    added = await tx.run(
        "site_add",
        site=site,
        name=name or site,
        folder=folder,
        time_zone=time_zone,
        site_keys=keys,
        site_threshold=site_threshold,
        now_ms=now_ms,
    )
    if added:
        await audit.write(tx, at_ms=now_ms, actor=actor, action="site.add", target=site)
    return bool(added)


def check_site_keys(keys: list[str], threshold: int) -> None:
    """Return where these can be a site's keys; none at all are allowed.

    Raises:
        ConfigError: They cannot.
    """
    try:
        if keys:
            KeySet.of(keys, threshold)
    except BadSignature as error:
        raise ConfigError(
            str(error), operator_hint="give the public halves that `vedette site key` prints"
        ) from error


async def differences(
    tx: Tx,
    site: str,
    *,
    name: str,
    folder: str,
    time_zone: str,
    site_keys: list[str],
    site_threshold: int,
) -> list[str]:
    """Return in words how a site that is there differs from the one asked for; defaults ask not."""
    have = await get_site(tx, site)
    place = await tx.one("site_hold", SitePlace, site=site)
    found: list[str] = []
    if site_keys and sorted(site_keys) != sorted(have.site_keys):
        ids = [PublicKey.from_text(key).keyid for key in have.site_keys]
        found.append(f"its keys are {', '.join(ids) or 'none'}")
    if site_keys and site_threshold != have.site_threshold:
        found.append(f"its threshold is {have.site_threshold}")
    if name and name != have.name:
        found.append(f"its name is {have.name}")
    if time_zone not in {"UTC", have.time_zone}:
        found.append(f"its time zone is {have.time_zone}")
    if folder and place and folder != place.folder:
        found.append(f"its folder is {place.folder or 'the top'}")
    return found


async def get_site(tx: Tx, site: str) -> Site:
    """Return a site.

    Raises:
        ConfigError: No such site.
    """
    found = await tx.one("site_get", Site, site=site)
    if found is None:
        raise ConfigError(
            f"no site is named {site!r}", operator_hint=f"vedette central site add {site}"
        )
    return found


async def make_claim(
    tx: Tx,
    site: str,
    *,
    device: str | None = None,
    replace: bool = False,
    actor: str,
    now_ms: int,
    life_s: int = CLAIM_S,
) -> str:
    """Return a claim token for one device of `site`.

    With `replace` it lets a machine with a fresh key take over the name `device` and its history;
    from that moment the key that spoke for it is worth nothing, for ever.

    Raises:
        ConfigError: No such site, a device name that cannot be, or none to be replaced.
        ConflictError: The device name is taken, and it is not to be replaced.
    """
    await get_site(tx, site)
    if device is not None and not is_slug(device):
        raise ConfigError(
            f"{device[:64]!r} cannot name a device",
            operator_hint="use a-z 0-9 . _ -, at most 64 of them",
        )
    if device is not None and not replace and await tx.value("device_taken", device=device):
        raise ConflictError(
            f"the device name {device} is taken",
            operator_hint="choose another one, or take it over with --replace: then the key that"
            " speaks for it now never does again",
        )
    if replace:
        found = await tx.one("device_hold_name", _Named, device=device) if device else None
        if found is None or found.site != site:
            raise ConfigError(
                f"there is no device {device!r} at {site} whose name could be taken over",
                operator_hint="name one: vedette central devices list",
            )
    token = f"vc-{secrets.token_urlsafe(24)}"
    await tx.run(
        "claim_put",
        token_hash=secret_hash(token),
        site=site,
        device=device,
        replaces=replace,
        actor=actor,
        now_ms=now_ms,
        expires_ms=now_ms + life_s * 1000,
    )
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action="claim.make",
        target=site,
        detail={"device": device, "replace": replace, "claim": secret_hash(token)[:8].hex()},
    )
    return token


async def list_claims(
    tx: Tx,
    now_ms: int,
    scope: list[str] | None = None,
    *,
    used: bool = False,
    after: tuple[int, str] | None = None,
    limit: int | None = None,
) -> list[Claim]:
    """Return the claim tokens that can still be used; with `used` also those that were.

    They come newest first, `limit` of them after the one that was made then and has that name.
    """
    after_ms, after_claim = after or (2**62, "")
    return await tx.all(
        "claims_all",
        Claim,
        now_ms=now_ms,
        scope=scope,
        all=used,
        after_ms=after_ms,
        after_claim=after_claim,
        limit=limit,
    )


async def withdraw_claim(
    tx: Tx, claim: str, *, actor: str, now_ms: int, scope: list[str] | None = None
) -> None:
    """Have this claim token worth nothing.

    Raises:
        ConfigError: No such token, or it was used or withdrawn already.
    """
    site = await tx.value("claim_withdraw", claim=claim, now_ms=now_ms, scope=scope)
    if site is None:
        raise ConfigError(
            f"no claim {claim!r} that could be withdrawn",
            operator_hint="list them: vedette central claims; used ones are devices: revoke those",
        )
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action="claim.withdraw",
        target=str(site),
        detail={"claim": claim},
    )


async def enrol(
    tx: Tx, request: EnrolRequest, *, central_key: PublicKey, now_ms: int
) -> EnrolAnswer:
    """Return who the device is from now on; the same again where its first answer was lost.

    Raises:
        BadSignature: It does not hold the key that it presents.
        NotAllowed: The claim token does not hold.
        ConflictError: The key or the name belongs to a device already.
    """
    public = PublicKey.from_text(request.public_key)
    check_possession(public, request.claim_token[:256], request.proof)
    token_hash = secret_hash(request.claim_token)
    known = await tx.one(
        "claim_of", _Claimed, token_hash=token_hash, public_key=public.text, now_ms=now_ms
    )
    if known is None:
        known = await _take_claim(tx, request, public, token_hash, now_ms)
    site = await get_site(tx, known.site)
    return EnrolAnswer(
        device=known.device,
        site=site.site,
        central_key=central_key.text,
        site_keys=site.site_keys,
        site_threshold=site.site_threshold,
        time_zone=site.time_zone,
        min_epoch=known.min_epoch,
        site_keys_version=site.site_keys_version,
        tuf_root=await newest_root(tx),
    )


async def _take_claim(
    tx: Tx, request: EnrolRequest, public: PublicKey, token_hash: bytes, now_ms: int
) -> _Claimed:
    fresh = f"dev-{secrets.token_hex(4)}"
    claim = await tx.one("claim_take", _Claimed, token_hash=token_hash, device=fresh, now_ms=now_ms)
    if claim is None:
        raise NotAllowed(
            "this claim token was used, has expired or never was",
            operator_hint="make a new one: vedette central claim --site SITE",
        )
    if await tx.value("key_is_used", public_key=public.text):
        raise ConflictError(
            "this key is or was a device's",
            operator_hint="make a fresh one on the device: vedette edge enrol --replace",
        )
    facts = {
        "device": claim.device,
        "public_key": public.text,
        "hardware": _printable(request.hardware, 200),
        "version": _printable(request.version, 64),
        "now_ms": now_ms,
    }
    if claim.replaces:
        claim = await _replace(tx, claim, facts, now_ms)
    elif not await tx.run("device_add", site=claim.site, **facts):
        raise ConflictError(
            "this name is enrolled already",
            operator_hint="make a claim with another name, or with --replace to take it over",
        )
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=f"device:{claim.device}",
        action="device.replace" if claim.replaces else "device.enrol",
        target=claim.site,
        detail={"keyid": public.keyid},
    )
    return claim


async def _replace(tx: Tx, claim: _Claimed, facts: dict[str, object], now_ms: int) -> _Claimed:
    """Give a device's name to another key; the one before is retired for ever."""
    before = await tx.one("device_hold_name", _Named, device=claim.device)
    if before is None or before.site != claim.site:
        raise NotAllowed("the device whose name was to be taken over is not there any more")
    await tx.run(
        "key_retire",
        public_key=before.public_key,
        device=claim.device,
        now_ms=now_ms,
        why="replaced",
    )
    min_epoch = await tx.value("device_replace", **facts)
    return msgspec.structs.replace(claim, min_epoch=int(str(min_epoch)))


def _printable(text: str, limit: int) -> str:
    return "".join(char for char in text if char.isprintable())[:limit]


async def revoke(tx: Tx, device: str, *, reason: str = "", actor: str, now_ms: int) -> None:
    """Take nothing from this device any more; what it sent stays.

    It holds at once and in every process: tokens are gone, and whoever still remembers one looks
    the device up again before anything is done for it.

    Raises:
        ConfigError: No such device, or revoked already.
    """
    said = _printable(reason, 500)
    if not await tx.run("device_revoke", device=device, reason=said, now_ms=now_ms):
        raise ConfigError(f"no device named {device!r} that could be revoked")
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action="device.revoke",
        target=device,
        detail={"reason": said},
    )


async def make_nonce(tx: Tx, now_ms: int) -> Nonce:
    """Return a nonce that can be used once, soon."""
    nonce = secrets.token_urlsafe(24)
    await tx.run("nonce_put", nonce_hash=secret_hash(nonce), expires_ms=now_ms + NONCE_S * 1000)
    return Nonce(nonce=nonce, expires_in_s=float(NONCE_S))


async def re_enrol(
    tx: Tx, device: str, *, reason: str, actor: str, now_ms: int, life_s: int = CLAIM_S
) -> str:
    """Return a claim token that takes over this device's name; its key is worth nothing from now.

    Raises:
        ConfigError: No such device.
    """
    found = await tx.one("device_hold_name", _Named, device=device)
    if found is None:
        raise ConfigError(f"there is no device {device!r}")
    if found.revoked_ms is None:
        await revoke(tx, device, reason=reason, actor=actor, now_ms=now_ms)
    return await make_claim(
        tx, found.site, device=device, replace=True, actor=actor, now_ms=now_ms, life_s=life_s
    )


async def require_speaker(tx: Tx, holder: Bearer) -> None:
    """Return where the holder of a token that was found a moment ago still may speak.

    Raises:
        BadSignature: Its device was revoked, or another key speaks for it now.
    """
    of = {"device": holder.device, "generation": holder.generation}
    if await tx.value("device_speaks", **of) is None:
        raise BadSignature("the access token is not good any more")
