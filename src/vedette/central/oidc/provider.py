"""Speaking to the OpenID provider: discovery, keys, codes for tokens. Limited in size and time.

The rule: only https, but for a provider on this very machine; no redirect is followed, no proxy of
the environment is asked; what is sent and what comes back is never logged.

Source: OpenID Connect Discovery 1.0; RFC 6749, sections 2.3.1 and 4.1.3; RFC 7636 (PKCE).
Thread: one event loop.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from vedette.central.settings import Oidc
from vedette.clock import NS_PER_S, Clock
from vedette.errors import BadSignature, ConfigError, UplinkError

T = TypeVar("T")

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
                     "ES512", "EdDSA", "Ed25519")  # fmt: skip
"""Signatures by a private key. `none`, and `HS…` with a public key as the secret, are not here."""

MAX_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100
TIMEOUT_S: Final = 10.0
KEEP_NS: Final = 3600 * NS_PER_S
AGAIN_NS: Final = 60 * NS_PER_S
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class ProviderFailed(UplinkError):
    """The provider does not answer, or not as the standard says."""


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider says of itself; only what is used here."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    code_challenge_methods_supported: tuple[str, ...] = ()
    authorization_response_iss_parameter_supported: bool = False


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What a code was changed into."""

    id_token: str
    access_token: str = ""


def check_url(url: str, what: str) -> str:
    """Return an address that may be asked.

    Raises:
        ConfigError: It is no https, and not of this machine, or holds what it should not.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_here = parts.scheme == "http" and host in _LOOPBACK
    if not host or parts.username or parts.fragment or not (parts.scheme == "https" or is_here):
        raise ConfigError(
            f"oidc: the {what} must be an https address: {url[:100]!r}",
            operator_hint="plain http is for a provider on this machine only",
        )
    return url


def client_secret(config: Oidc) -> str:
    """Return the client's secret; empty for a public client.

    Raises:
        ConfigError: The file cannot be read.
    """
    given = os.environ.get("VEDETTE_OIDC_CLIENT_SECRET", "")
    if given or not config.client_secret_file:
        return given.strip()
    try:
        return Path(config.client_secret_file).read_text(encoding="utf-8")[:4096].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"oidc.client_secret_file cannot be read: {config.client_secret_file}"
        ) from error


class Provider:
    """One provider, its metadata and its keys, remembered for an hour."""

    def __init__(self, config: Oidc, clock: Clock) -> None:
        """Prepare; nothing is asked yet."""
        check_url(config.issuer, "issuer")
        if not config.client_id:
            raise ConfigError("oidc.client_id is empty", operator_hint="the provider gave you one")
        self.config: Final = config
        self._clock = clock
        self._metadata: tuple[Metadata, int] | None = None
        self._keys: tuple[KeySet, int] | None = None
        self._lock = asyncio.Lock()

    async def metadata(self) -> Metadata:
        """Return what the provider says of itself.

        Raises:
            ProviderFailed: It does not answer, or speaks of another issuer.
        """
        async with self._lock:
            now_ns = self._clock.mono_ns()
            if self._metadata and now_ns - self._metadata[1] < KEEP_NS:
                return self._metadata[0]
            there = f"{self.config.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = _decoded(await _ask("GET", there), Metadata, "metadata")
            if found.issuer != self.config.issuer:
                raise ProviderFailed(
                    "the provider's metadata is of another issuer",
                    operator_hint=f"set oidc.issuer to exactly what it says: {found.issuer[:200]}",
                )
            for what in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                check_url(getattr(found, what), what)
            if found.userinfo_endpoint:
                check_url(found.userinfo_endpoint, "userinfo_endpoint")
            self._metadata = (found, now_ns)
            return found

    async def exchange(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """Return the tokens that a code stands for.

        Raises:
            ProviderFailed: The provider refuses, or does not answer.
        """
        metadata = await self.metadata()
        secret = await asyncio.to_thread(client_secret, self.config)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        auth: tuple[str, str] | None = None
        methods = metadata.token_endpoint_auth_methods_supported
        if secret and ("client_secret_basic" in methods or "client_secret_post" not in methods):
            auth = (quote(self.config.client_id, safe=""), quote(secret, safe=""))
        else:
            form |= {"client_id": self.config.client_id}
            form |= {"client_secret": secret} if secret else {}
        body = await _ask("POST", metadata.token_endpoint, form=form, auth=auth)
        return _decoded(body, Tokens, "tokens")

    async def verified(self, id_token: str) -> Mapping[str, object]:
        """Return the claims of an ID token that the provider signed.

        Raises:
            BadSignature: It did not, or by no algorithm that is taken here.
            ProviderFailed: Its keys cannot be had.
        """
        if len(id_token) > MAX_BYTES // 4:
            raise BadSignature("the ID token is too long")
        known = self._keys
        keys = await self._fresh_keys(KEEP_NS)
        try:
            return jwt.decode(id_token, keys, algorithms=ALGORITHMS).claims
        except (JoseError, ValueError) as error:
            was_fresh = known is not self._keys
            if was_fresh:
                raise BadSignature("the ID token is not signed by the provider") from error
        # The provider may have changed its keys since; asked again at most once a minute.
        keys = await self._fresh_keys(AGAIN_NS)
        try:
            return jwt.decode(id_token, keys, algorithms=ALGORITHMS).claims
        except (JoseError, ValueError) as error:
            raise BadSignature("the ID token is not signed by the provider") from error

    async def userinfo(self, access_token: str, subject: str) -> Mapping[str, object]:
        """Return what else the provider says of somebody; nothing where it says nothing.

        Raises:
            BadSignature: It speaks of somebody else.
            ProviderFailed: It does not answer.
        """
        metadata = await self.metadata()
        if not metadata.userinfo_endpoint or not access_token:
            return {}
        headers = {"Authorization": f"Bearer {access_token}"}
        body = await _ask("GET", metadata.userinfo_endpoint, headers=headers)
        found = _decoded(body, dict[str, object], "userinfo")
        if found.get("sub") != subject:
            raise BadSignature("the provider's userinfo is of somebody else")
        return found

    async def _fresh_keys(self, keep_ns: int) -> KeySet:
        metadata = await self.metadata()
        async with self._lock:
            now_ns = self._clock.mono_ns()
            if self._keys and now_ns - self._keys[1] < keep_ns:
                return self._keys[0]
            found = _decoded(await _ask("GET", metadata.jwks_uri), dict[str, object], "keys")
            rows = found.get("keys")
            if not isinstance(rows, list) or not 0 < len(rows) <= MAX_KEYS:
                raise ProviderFailed("the provider shows no keys, or too many")
            good = [row for row in rows if isinstance(row, dict) and _can_sign(row)]
            try:
                keys = KeySet.import_key_set({"keys": good})
            except (JoseError, ValueError, TypeError, KeyError) as error:
                raise ProviderFailed("the provider's keys cannot be read") from error
            self._keys = (keys, now_ns)
            return keys


def _can_sign(row: Mapping[str, object]) -> bool:
    """True for a public key that may sign; symmetric ones are not taken."""
    return row.get("kty") in {"RSA", "EC", "OKP"} and row.get("use", "sig") == "sig"


def _decoded(body: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise ProviderFailed(f"the provider's {what} cannot be read") from error


async def _ask(
    method: str,
    url: str,
    *,
    form: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    auth: tuple[str, str] | None = None,
) -> bytes:
    """Return the body of a good answer, at most `MAX_BYTES` within `TIMEOUT_S`."""
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=TIMEOUT_S) as client,
            client.stream(
                method,
                url,
                data=form,
                headers={"Accept": "application/json", **(headers or {})},
                auth=auth,
            ) as answer,
        ):
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ProviderFailed("the provider's answer is too large")
    except (httpx.HTTPError, TimeoutError) as error:
        raise ProviderFailed(
            "the OpenID provider does not answer",
            operator_hint="is oidc.issuer right, and can central reach it?",
        ) from error
    if answer.status_code != 200:
        raise ProviderFailed(f"the OpenID provider answered {answer.status_code}")
    return bytes(body)
