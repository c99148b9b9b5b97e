"""Signing in by somebody else's OpenID provider: the certified one of npm, where it is there.

npm install oidc-provider@9, in a folder that VEDETTE_OIDC_PROVIDER then names
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from litestar.testing import AsyncTestClient

from vedette.central import accounts, people
from vedette.central.app import build_services
from vedette.central.settings import CentralConfig, Oidc, OidcRole
from vedette.central.web import build_web
from vedette.trust.keys import SigningKey

pytestmark = pytest.mark.anyio

BASE = "http://127.0.0.1:8080"
CALLBACK = f"{BASE}/sign-in/oidc/callback"
SECRET = "only for this test, but with signs: & + %"


@pytest.fixture
def issuer() -> Iterator[str]:
    """The provider as a process; its address."""
    folder, node = os.environ.get("VEDETTE_OIDC_PROVIDER", ""), shutil.which("node")
    if not folder or not node:
        pytest.skip("VEDETTE_OIDC_PROVIDER names no folder with npm's oidc-provider, or no node")
    script = Path(__file__).with_name("oidc_server.mjs")
    command = [node, str(script), folder, CALLBACK, SECRET]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.kill()


def say_yes(url: str) -> str:
    """Return where a browser ends that signs in at the provider and consents."""
    form = {"prompt": "login", "login": "olga", "password": "anything"}
    with httpx.Client(follow_redirects=False, trust_env=False) as browser:
        for _ in range(12):
            answer = browser.get(url)
            while answer.status_code == 200:
                action = re.search(r'action="([^"]+)"', answer.text)
                assert action, answer.text[:500]
                consents = 'value="consent"' in answer.text
                answer = browser.post(
                    urljoin(url, action[1]), data={"prompt": "consent"} if consents else form
                )
            url = urljoin(url, answer.headers["location"])
            if url.startswith(CALLBACK):
                return url
    raise AssertionError("the provider never sent the browser back")


async def test_npm_oidc_provider_lets_somebody_in(conninfo: str, issuer: str) -> None:
    """Discovery, PKCE, its own signature, its groups; and its code is good once only."""
    config = CentralConfig(
        oidc=Oidc(
            issuer=issuer,
            client_id="central",
            roles=[OidcRole(value="shops", role="viewer", sites=["north"])],
        )
    )
    services = build_services(config, conninfo, SigningKey.generate())
    await services.db.open()
    async with services.db.transaction() as tx:
        await accounts.put_user(tx, "admin", "admin", None, round(time.time() * 1000))
        await accounts.set_password(tx, "admin", "nine clever otters")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VEDETTE_OIDC_CLIENT_SECRET", SECRET)
        async with AsyncTestClient(build_web(services), base_url=BASE) as client:
            left = await client.get("/sign-in/oidc?next=/events", follow_redirects=False)
            assert left.status_code == 303, left.text
            back = urlsplit(say_yes(left.headers["location"]))
            entered = await client.get(f"{back.path}?{back.query}", follow_redirects=False)
            assert (entered.status_code, entered.headers["location"]) == (303, "/events")
            assert (await client.get("/v1/fleet")).status_code == 200
            again = await client.get(f"{back.path}?{back.query}", follow_redirects=False)
            assert again.status_code == 403
    async with services.db.transaction() as tx:
        olga = await people.person(tx, "olga", services.now_ms())
    assert (olga.role, olga.sites, olga.issuer) == ("viewer", ["north"], issuer)
    await services.db.close()
