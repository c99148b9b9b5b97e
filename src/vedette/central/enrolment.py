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
from vedette.central.selection import check_folder
from vedette.central.store.db import Database, Tx
from vedette.central.tree import SitePlace
from vedette.clock import Clock, wall_ms
from vedette.errors import BadSignature, ConfigError, ConflictError, NotAllowed
from vedette.ids import is_slug
from vedette.trust.assertion import verify_assertion
from vedette.trust.keys import PublicKey, check_possession
from vedette.wire.enrol import EnrolAnswer, EnrolRequest, Nonce, TokenAnswer

CLAIM_S: Final = 24 * 3600
NONCE_S: Final = 120
_CACHE_MS: Final = 15_000
_MAX_CACHED: Final = 10_000


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A site; `policy` is a `Signed` document as JSON."""

    site: str
    name: str
    time_zone: str
    site_keys: list[str]
    site_threshold: int
    policy: bytes | None
    policy_version: int


class _Claimed(msgspec.Struct, frozen=True, kw_only=True):
    site: str
    device: str


class _Token(msgspec.Struct, frozen=True, kw_only=True):
    device: str
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
        raise ConfigError(f"{site!r} cannot name a site", operator_hint="use a-z 0-9 . _ -")
    check_folder(folder)
    zone_of(time_zone)
    keys = site_keys or []
    for key in keys:
        PublicKey.from_text(key)
    if keys and not 1 <= site_threshold <= len(keys):
        raise ConfigError("a threshold is at least 1 and at most the number of keys")
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
    tx: Tx, site: str, *, device: str | None = None, actor: str, now_ms: int, life_s: int = CLAIM_S
) -> str:
    """Return a claim token for one new device of `site`.

    Raises:
        ConfigError: No such site, or a device name that cannot be.
        ConflictError: The device name is taken.
    """
    await get_site(tx, site)
    if device is not None and not is_slug(device):
        raise ConfigError(f"{device!r} cannot name a device", operator_hint="use a-z 0-9 . _ -")
    if device is not None and await tx.value("device_taken", device=device):
        raise ConflictError(
            f"the device name {device} is taken",
            operator_hint="choose another one: what the old device sent stays under its name",
        )
    token = f"vc-{secrets.token_urlsafe(24)}"
    await tx.run(
        "claim_put",
        token_hash=secret_hash(token),
        site=site,
        device=device,
        now_ms=now_ms,
        expires_ms=now_ms + life_s * 1000,
    )
    await audit.write(
        tx, at_ms=now_ms, actor=actor, action="claim.make", target=site, detail={"device": device}
    )
    return token


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
    added = await tx.run(
        "device_add",
        device=claim.device,
        site=claim.site,
        public_key=public.text,
        hardware=_printable(request.hardware, 200),
        version=_printable(request.version, 64),
        now_ms=now_ms,
    )
    if not added:
        raise ConflictError(
            "this key or this name is enrolled already",
            operator_hint="make a fresh key on the device, or a claim token with another name",
        )
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=f"device:{claim.device}",
        action="device.enrol",
        target=claim.site,
        detail={"keyid": public.keyid},
    )
    return claim


def _printable(text: str, limit: int) -> str:
    return "".join(char for char in text if char.isprintable())[:limit]


async def revoke(tx: Tx, device: str, *, actor: str, now_ms: int) -> None:
    """Take nothing from this device any more; what it sent stays.

    Raises:
        ConfigError: No such device, or revoked already.
    """
    if not await tx.run("device_revoke", device=device, now_ms=now_ms):
        raise ConfigError(f"no device named {device!r} that could be revoked")
    await audit.write(tx, at_ms=now_ms, actor=actor, action="device.revoke", target=device)


async def make_nonce(tx: Tx, now_ms: int) -> Nonce:
    """Return a nonce that can be used once, soon."""
    nonce = secrets.token_urlsafe(24)
    await tx.run("nonce_put", nonce_hash=secret_hash(nonce), expires_ms=now_ms + NONCE_S * 1000)
    return Nonce(nonce=nonce, expires_in_s=float(NONCE_S))


async def make_token(
    tx: Tx, assertion: str, *, device: str, audience: str, life_s: int, now_ms: int
) -> TokenAnswer:
    """Return an access token for the device that signed `assertion` over our nonce.

    `device` is the name in the assertion, not yet believed: it chooses the key.

    Raises:
        BadSignature: Not signed by that device for us, or the nonce was used or is too old.
    """
    key = await tx.value("device_key", device=device[:128].replace("\0", ""))
    public = PublicKey.from_text(str(key)) if key else None
    verified = verify_assertion(
        assertion, key_of=lambda name: public if name == device else None, audience=audience
    )
    spent = await tx.value("nonce_take", nonce_hash=secret_hash(verified.nonce), now_ms=now_ms)
    if spent is None:
        raise BadSignature("the nonce was used, is too old or is not ours")
    token = secrets.token_urlsafe(32)
    await tx.run(
        "token_put",
        token_hash=secret_hash(token),
        device=verified.device,
        expires_ms=now_ms + life_s * 1000,
    )
    return TokenAnswer(access_token=token, expires_in=life_s)


class Tokens:
    """Which device a bearer token belongs to; remembered for seconds, so revoking takes seconds."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._cache: dict[bytes, tuple[str, int]] = {}

    async def device_of(self, token: str) -> str:
        """Return the device.

        Raises:
            BadSignature: No such token, or its time is over.
        """
        now_ms = wall_ms(self._clock.now_at())
        hashed = secret_hash(token)
        cached = self._cache.get(hashed)
        if cached and cached[1] > now_ms:
            return cached[0]
        self._cache.pop(hashed, None)
        if not token:
            raise BadSignature("no bearer token")
        async with self._db.transaction() as tx:
            found = await tx.one("token_find", _Token, token_hash=hashed, now_ms=now_ms)
        if found is None:
            raise BadSignature("the access token is unknown or its time is over")
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[hashed] = (found.device, min(now_ms + _CACHE_MS, found.expires_ms))
        return found.device
