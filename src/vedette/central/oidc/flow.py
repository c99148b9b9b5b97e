"""The two steps of a sign-in by a provider: away with a state, back with a code.

The rule: a state is good once, for ten minutes, in the browser that began; a person is who the
provider says by issuer and subject, never by a name or an address; what they may do is set anew
from the provider's claim at every sign-in.
"""

import base64
import hashlib
import secrets
from typing import Final
from urllib.parse import urlencode

import msgspec

from vedette.central import accounts, audit, people
from vedette.central.oidc import claims
from vedette.central.oidc.claims import Identity
from vedette.central.oidc.provider import Provider
from vedette.central.store.db import Database, Tx
from vedette.errors import BadSignature, ConfigError, NotAllowed

LIFE_S: Final = 600
CALLBACK: Final = "/sign-in/oidc/callback"
ACTOR: Final = "oidc"
_MAX_CODE_CHARS: Final = 2_000


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that began: where the browser is sent, and the cookie that it must bring back."""

    url: str
    cookie: str


class _Pending(msgspec.Struct, frozen=True, kw_only=True):
    issuer: str
    nonce: str
    verifier: str
    next_url: str


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    username: str
    role: str
    sites: list[str] | None
    folders: list[str]
    disabled_ms: int | None


class Back(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider sent the browser back with."""

    state: str = ""
    code: str = ""
    error: str = ""
    issuer: str | None = None
    cookie: str = ""


async def begin(
    db: Database, provider: Provider, *, next_url: str, base_url: str, now_ms: int
) -> Begun:
    """Return where to send a browser that wants to sign in.

    Raises:
        ProviderFailed: The provider does not answer.
    """
    metadata = await provider.metadata()
    state, nonce, verifier, cookie = (secrets.token_urlsafe(32) for _ in range(4))
    async with db.transaction() as tx:
        await tx.run("sign_ins_expire", now_ms=now_ms)
        await tx.run(
            "sign_in_put",
            state_hash=accounts.token_hash(state),
            browser_hash=accounts.token_hash(cookie),
            issuer=provider.config.issuer,
            nonce=nonce,
            verifier=verifier,
            next_url=next_url[:2000],
            expires_ms=now_ms + LIFE_S * 1000,
        )
    query = {
        "response_type": "code",
        "client_id": provider.config.client_id,
        "redirect_uri": base_url + CALLBACK,
        "scope": " ".join(dict.fromkeys(["openid", "profile", *provider.config.scopes])),
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge(verifier),
        "code_challenge_method": "S256",
    }
    there = metadata.authorization_endpoint
    return Begun(url=f"{there}{'&' if '?' in there else '?'}{urlencode(query)}", cookie=cookie)


def challenge(verifier: str) -> str:
    """Return what is shown of a verifier before it is; RFC 7636, section 4.2."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


async def finish(
    db: Database, provider: Provider, back: Back, *, base_url: str, now_ms: int
) -> tuple[str, str]:
    """Return who came back, as a user of ours, and where they wanted to go.

    Raises:
        BadSignature: The state, the code or the token is not of this sign-in.
        NotAllowed: The provider refused, or this person may not in here.
        ProviderFailed: The provider does not answer.
    """
    pending = await _take(db, back, now_ms)
    metadata = await provider.metadata()
    claims.check_response_issuer(
        back.issuer,
        provider.config.issuer,
        required=metadata.authorization_response_iss_parameter_supported,
    )
    if pending.issuer != provider.config.issuer:
        raise BadSignature("this sign-in began at another provider")
    if back.error or not 0 < len(back.code) <= _MAX_CODE_CHARS:
        raise NotAllowed("the provider let nobody in")
    tokens = await provider.exchange(back.code, pending.verifier, base_url + CALLBACK)
    said = await provider.verified(tokens.id_token)
    subject = claims.check_id_token(
        said,
        provider.config.issuer,
        provider.config.client_id,
        pending.nonce,
        now_ms / 1000,
        provider.config.clock_skew_s,
    )
    config = provider.config
    if config.role_claim not in said or config.name_claim not in said:
        said = {**await provider.userinfo(tokens.access_token, subject), **said}
    who = claims.identity(said, subject, config)
    return await admit(db, who, now_ms), pending.next_url


async def _take(db: Database, back: Back, now_ms: int) -> _Pending:
    """Return the sign-in that a state stands for; it is used up, whatever comes of it."""
    async with db.transaction() as tx:
        found = await tx.one(
            "sign_in_take",
            _Pending,
            state_hash=accounts.token_hash(back.state[:200]),
            browser_hash=accounts.token_hash(back.cookie[:200]),
            now_ms=now_ms,
        )
    if found is None or not back.state or not back.cookie:
        raise BadSignature("no sign-in began in this browser with that state")
    return found


# -------------------------------------------------------------------------------------- admitting


async def admit(db: Database, who: Identity, now_ms: int) -> str:
    """Return the name of the user that this is, with the role and scope that follow today.

    Somebody whom no entry of `oidc.roles` speaks of any more loses their open sessions.

    Raises:
        NotAllowed: They are disabled, have no role, or their name is somebody else's.
    """
    async with db.transaction() as tx:
        of = {"issuer": who.issuer, "subject": who.subject}
        known = await tx.one("user_by_subject", _Known, **of)
        if who.wanted is not None and (known is None or known.disabled_ms is None):
            return await _admit(tx, who, who.wanted, known, now_ms)
        if known is not None:
            await tx.run("sessions_end_all_of_user", username=known.username)
    raise NotAllowed("the provider knows this person; nobody gave them a role here")


async def _admit(
    tx: Tx, who: Identity, wanted: people.Wanted, known: _Known | None, now_ms: int
) -> str:
    username = known.username if known else who.username
    if known is None:
        if not await tx.run("user_new", username=username, now_ms=now_ms):
            raise NotAllowed(f"there is another user {username} here already")
        await tx.run("user_set_subject", username=username, issuer=who.issuer, subject=who.subject)
        await audit.write(
            tx,
            at_ms=now_ms,
            actor=ACTOR,
            action="user.add",
            target=username,
            detail={"issuer": who.issuer, "subject": who.subject},
        )
    if known is None or not _same(known, wanted):
        try:
            await people.change(tx, username, wanted, actor=ACTOR, now_ms=now_ms)
        except ConfigError as error:
            raise NotAllowed(f"the role of {username} cannot be set: {error}") from error
    return username


def _same(known: _Known, wanted: people.Wanted) -> bool:
    scope: list[str] | None = None if wanted.everything else sorted(set(wanted.sites))
    folders: list[str] = [] if wanted.everything else sorted(set(wanted.folders))
    return (known.role, known.sites, known.folders) == (wanted.role, scope, folders)
