"""Signing in by an OpenID provider: a strict one on loopback, and those who abuse it."""

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from litestar.testing import AsyncTestClient

from tests.integration.oidc_provider import CLIENT, SECRET, OidcProvider, by_public_key, unsigned
from vedette.central import accounts, audit, people
from vedette.central.app import build_services
from vedette.central.oidc.provider import AGAIN_NS, Provider
from vedette.central.services import Services
from vedette.central.settings import CentralConfig, Oidc, OidcRole
from vedette.central.web import build_web
from vedette.clock import NS_PER_S, ManualClock
from vedette.errors import ConfigError
from vedette.trust.keys import SigningKey

pytestmark = pytest.mark.anyio

BASE = "http://127.0.0.1:8080"
ROLES = [
    OidcRole(value="ops", role="admin", everything=True),
    OidcRole(value="shops", role="viewer", folders=["europe"], sites=["north"]),
]


class Office:
    """A central that signs in by a provider, and a browser before it."""

    def __init__(self, services: Services, client: AsyncTestClient, provider: OidcProvider) -> None:
        self.services = services
        self.client = client
        self.provider = provider
        self.clock: ManualClock

    async def leave(self, there: str = "/") -> httpx.Response:
        """Press the button at the sign-in."""
        return await self.client.get(
            "/sign-in/oidc", params={"next": there}, follow_redirects=False
        )

    async def come_back(self, url: str) -> httpx.Response:
        """Follow the provider's redirect."""
        parts = urlsplit(url)
        there = f"{parts.path}?{parts.query}"
        return await self.client.get(there, follow_redirects=False)

    async def sign_in(self, there: str = "/") -> httpx.Response:
        """Go through the whole of it."""
        self.client.cookies.delete("vedette")
        left = await self.leave(there)
        assert left.status_code == 303, left.text
        return await self.come_back(self.provider.authorize(left.headers["location"]))

    async def person(self, username: str) -> people.Person:
        """Return one user."""
        async with self.services.db.transaction() as tx:
            return await people.person(tx, username, self.services.now_ms())


@pytest.fixture
async def office(conninfo: str, tmp_path: Path) -> AsyncIterator[Office]:
    """A central over a fresh database, and its provider."""
    clock = ManualClock(datetime(2026, 3, 2, 8, 0, tzinfo=UTC))
    provider = OidcProvider(f"{BASE}/sign-in/oidc/callback", lambda: clock.now_at().timestamp())
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    with provider.running():
        config = CentralConfig(
            oidc=Oidc(
                issuer=provider.issuer,
                client_id=CLIENT,
                client_secret_file=str(secret),
                roles=ROLES,
            )
        )
        services = build_services(config, conninfo, SigningKey.generate(), clock)
        await services.db.open()
        async with services.db.transaction() as tx:
            await accounts.put_user(tx, "admin", "admin", None, services.now_ms())
            await accounts.set_password(tx, "admin", "nine clever otters")
        async with AsyncTestClient(build_web(services), base_url=BASE) as client:
            made = Office(services, client, provider)
            made.clock = clock
            yield made
        await services.db.close()


async def test_whom_the_provider_speaks_of_comes_in_with_the_role_of_their_group(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """Made at the first sign-in, changed at the next; no secret is ever logged or in an address."""
    caplog.set_level(logging.DEBUG)
    page = await office.client.get("/sign-in?next=/events")
    assert "/sign-in/oidc?next=%2Fevents" in page.text
    office.provider.person["groups"] = ["other", "shops"]
    entered = await office.sign_in("/events?kind=dwell")
    assert entered.status_code == 303
    assert entered.headers["location"] == "/events?kind=dwell"
    olga = await office.person("olga")
    assert (olga.role, olga.sites, olga.folders) == ("viewer", ["north"], ["europe"])
    assert olga.issuer == office.provider.issuer
    assert (await office.client.get("/v1/fleet")).status_code == 200
    # The next sign-in sets role and scope anew; her old session has them at once.
    office.provider.person["groups"] = ["ops"]
    await office.sign_in()
    assert (await office.client.get("/v1/users")).status_code == 200
    said = [(e.actor, e.action) for e in await audit.page(office.services.db)]
    assert said.count(("oidc", "user.add")) == 1
    assert said.count(("oidc", "user.scope")) == 2
    assert SECRET not in caplog.text
    assert not any(SECRET in path or "code=" in path for path in office.provider.asked)


async def test_a_provider_that_puts_groups_into_userinfo_is_asked_there(office: Office) -> None:
    """And what it says of somebody else is not believed."""
    office.provider.person = {"sub": "u-1"}
    office.provider.userinfo = {"sub": "u-1", "preferred_username": "olga", "groups": "shops"}
    assert (await office.sign_in()).headers["location"] == "/"
    assert (await office.person("olga")).role == "viewer"
    office.provider.userinfo = {"sub": "u-2", "preferred_username": "olga", "groups": "ops"}
    assert (await office.sign_in()).status_code == 403


NOT_FOR_US: list[dict[str, Any]] = [
    {"nonce": "of another sign-in"}, {"nonce": None}, {"iss": "http://127.0.0.1:1"},
    {"aud": "somebody else"}, {"aud": ["somebody else"]}, {"aud": [CLIENT, "other"]},
    {"azp": "other"}, {"exp": 1_772_438_300}, {"exp": None}, {"exp": "soon"},
    {"iat": 4_000_000_000}, {"iat": None}, {"nbf": 4_000_000_000}, {"sub": ""}, {"sub": 7},
    {"preferred_username": "a b"}, {"preferred_username": "admin"}, {"groups": ["none"]},
]  # fmt: skip


async def test_a_token_that_is_not_for_this_sign_in_lets_nobody_in(office: Office) -> None:
    """Wrong nonce, issuer, audience, time, person, name, role; nobody is made by it."""
    office.provider.person["groups"] = ["ops"]
    for twist in NOT_FOR_US:
        office.provider.twist = twist
        refused = await office.sign_in()
        assert refused.status_code == 403, twist
        assert "did not let you in" in refused.text
        assert "vedette" not in refused.cookies
    said = [entry.action for entry in await audit.page(office.services.db)]
    assert said.count("session.refuse") == len(NOT_FOR_US)
    async with office.services.db.transaction() as tx:
        assert [one.username for one in await people.people(tx, 0)] == ["admin"]
    office.provider.twist = {}
    assert (await office.sign_in()).status_code == 303


async def test_only_the_providers_own_signature_counts(office: Office) -> None:
    """Not `none`, not its public key as a secret, not another key; a new key after a minute."""
    office.provider.person["groups"] = ["ops"]
    assert (await office.sign_in()).status_code == 303
    stranger = ECKey.generate_key("P-256", {"kid": "k1"})
    for signer in (
        unsigned,
        by_public_key(office.provider.key),
        lambda claims: jwt.encode({"alg": "ES256", "kid": "k1"}, claims, stranger),
        lambda _: "no token at all",
    ):
        office.provider.signer = signer
        assert (await office.sign_in()).status_code == 403
    office.provider.signer = None
    office.provider.key = ECKey.generate_key("P-256", {"kid": "k2", "use": "sig"})
    assert (await office.sign_in()).status_code == 403
    office.clock.advance(AGAIN_NS / NS_PER_S + 1)
    assert (await office.sign_in()).status_code == 303


async def test_a_state_is_good_once_in_the_browser_that_began(office: Office) -> None:
    """Replayed, invented, from another browser, too late, by another issuer: nobody comes in."""
    office.provider.person["groups"] = ["ops"]
    left = await office.leave()
    url = office.provider.authorize(left.headers["location"])
    cookie = left.cookies["vedette-oidc"]
    office.client.cookies.clear()
    assert (await office.come_back(url)).status_code == 403
    office.client.cookies.set("vedette-oidc", cookie)
    assert (await office.come_back(url.replace("state=", "state=x"))).status_code == 403
    assert (await office.come_back(url)).status_code == 303
    office.client.cookies.clear()
    office.client.cookies.set("vedette-oidc", cookie)
    assert (await office.come_back(url)).status_code == 403

    async def again(change: tuple[str, str]) -> int:
        left = await office.leave()
        url = office.provider.authorize(left.headers["location"])
        return (await office.come_back(url.replace(*change))).status_code

    assert await again(("iss=http", "iss=https")) == 403
    assert await again(("&iss=", "&other=")) == 403
    assert await again(("code=", "error=access_denied&code=")) == 403
    assert await again(("code=", "code=x")) == 502
    assert await again(("nothing", "changed")) == 303
    left = await office.leave()
    office.clock.advance(660)
    late = office.provider.authorize(left.headers["location"])
    assert (await office.come_back(late)).status_code == 403


async def test_nobody_is_sent_elsewhere_after_signing_in(office: Office) -> None:
    """An address that is not ours leads to the fleet."""
    office.provider.person["groups"] = ["ops"]
    for there in ("//evil.example", "https://evil.example", "/\\evil", "x"):
        assert (await office.sign_in(there)).headers["location"] == "/"


async def test_who_lost_their_group_or_was_disabled_is_out(office: Office) -> None:
    """Their sessions end when the provider says so, and a password is no second way in."""
    office.provider.person["groups"] = ["shops"]
    await office.sign_in()
    token = office.client.cookies["vedette"]
    async with office.services.db.transaction() as tx:
        with pytest.raises(ConfigError, match="identity provider"):
            await accounts.make_setup_token(tx, "olga", office.services.now_ms())
    office.provider.person["groups"] = []
    assert (await office.sign_in()).status_code == 403
    stale = await office.client.get("/v1/fleet", headers={"Cookie": f"vedette={token}"})
    assert stale.status_code == 401
    office.provider.person["groups"] = ["ops"]
    async with office.services.db.transaction() as tx:
        await people.disable(tx, "olga", actor="admin", now_ms=office.services.now_ms())
    assert (await office.sign_in()).status_code == 403


async def test_a_provider_that_misbehaves_is_a_sentence_and_not_a_crash(office: Office) -> None:
    """Another issuer, an endless answer, a redirect, plain http elsewhere, nonsense, silence."""
    provider = office.provider
    huge = b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n\r\n" + b" " * 600_000
    moved = b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    nonsense = b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n[]"
    for raw in (huge, moved, nonsense, b"no http\r\n\r\n", b""):
        provider.answer_instead = {"/.well-known/openid-configuration": raw}
        answer = await office.leave()
        assert answer.status_code == 502
        assert "cannot be reached" in answer.text
    provider.answer_instead = {}
    for twist in (
        {"issuer": "https://other.example"},
        {"token_endpoint": "http://other.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
    ):
        provider.metadata_twist = twist
        assert (await office.leave()).status_code == 502
    assert not any(path == "/token" for path in provider.asked)
    for url in ("http://login.example", "ftp://x", "", "https://a:b@login.example"):
        with pytest.raises(ConfigError):
            Provider(Oidc(issuer=url, client_id="x"), office.clock)


async def test_without_a_provider_there_is_no_such_door(conninfo: str) -> None:
    """Off unless configured: no button, no route that does anything."""
    services = build_services(CentralConfig(), conninfo, SigningKey.generate())
    await services.db.open()
    async with AsyncTestClient(build_web(services), base_url=BASE) as client:
        assert (await client.get("/sign-in/oidc")).status_code == 404
        assert (await client.get("/sign-in/oidc/callback?code=x&state=y")).status_code == 404
        assert "sign-in/oidc" not in (await client.get("/sign-in")).text
    await services.db.close()
