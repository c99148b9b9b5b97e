"""How often and in which forms the operator API may be asked, and who leaves before they asked."""

import logging
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx
import pytest

from vedette.central import accounts
from vedette.central.app import Central, build_services
from vedette.central.settings import CentralConfig, Limits
from vedette.central.web import build_web
from vedette.clock import ManualClock
from vedette.trust.keys import SigningKey

pytestmark = pytest.mark.anyio


class House:
    """A central whose users have 8 requests a minute, and strangers 3."""

    def __init__(self, central: Central, http: httpx.AsyncClient, clock: ManualClock) -> None:
        self.central = central
        self.http = http
        self.clock = clock

    async def token(self, name: str) -> dict[str, str]:
        """Return the headers of another token of an administrator."""
        services = self.central.services
        async with services.db.transaction() as tx:
            await accounts.put_user(tx, name, "admin", None, services.now_ms())
            token, _ = await accounts.open_session(
                tx, name, services.now_ms(), life_s=3600, kind="api"
            )
        return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def house(conninfo: str, anyio_backend: str) -> AsyncIterator[House]:
    """Central with small limits."""
    clock = ManualClock()
    limits = Limits(requests_per_minute=8, refused_per_minute=3)
    services = build_services(CentralConfig(limits=limits), conninfo, SigningKey.generate(), clock)
    central = Central(services, build_web(services))
    async with (
        central.running(),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=central), base_url="http://central"
        ) as http,
    ):
        yield House(central, http, clock)


async def test_a_token_a_user_and_a_stranger_have_their_shares(house: House) -> None:
    """Two at once per token, four per user, others untouched; it says when to come back."""
    first, second, third = [await house.token("ada") for _ in range(3)]
    answers = [await house.http.get("/v1/sites", headers=first) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit-remaining"] == "1"
    assert answers[2].headers["content-type"] == "application/problem+json"
    wait_s = int(answers[2].headers["retry-after"])
    for _ in range(2):
        assert (await house.http.get("/v1/sites", headers=second)).status_code == 200
    assert (await house.http.get("/v1/sites", headers=third)).status_code == 429
    other = await house.token("bob")
    assert (await house.http.get("/v1/sites", headers=other)).status_code == 200
    house.clock.advance(wait_s)
    assert (await house.http.get("/v1/sites", headers=first)).status_code == 200
    statuses = [(await house.http.get("/v1/sites")).status_code for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]


async def test_other_forms_and_methods_are_problems(house: House) -> None:
    """405 with what is allowed, 406, 413 and 415, each as a problem."""
    cases: list[tuple[str, str, dict[str, Any], int]] = [
        ("PATCH", "/v1/sites", {"json": {}}, 405),
        ("GET", "/v1/sites", {"headers": {"Accept": "image/png"}}, 406),
        ("POST", "/v1/sites", {"content": b'{"site": "' + b"x" * 2**20 + b'"}'}, 413),
        ("POST", "/v1/sites", {"data": {"site": "a"}}, 415),
    ]
    for number, (method, path, more, status) in enumerate(cases):
        headers = await house.token(f"user-{number}")
        if status == 413:
            headers["Content-Type"] = "application/json"
        headers |= more.pop("headers", {})
        answer = await house.http.request(method, path, headers=headers, **more)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_client_that_leaves_is_no_failure_of_ours(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a body, then nobody: not a 500, and no error in the log."""
    headers = {"Content-Type": "application/json", "Content-Length": "100"}
    headers |= await house.token("ada")
    sent: list[MutableMapping[str, Any]] = []
    parts = [
        {"type": "http.request", "body": b'{"si', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> MutableMapping[str, Any]:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/sites", "raw_path": b"/v1/sites",
        "query_string": b"", "client": ("127.0.0.1", 1), "server": ("central", 80),
        "scheme": "http", "http_version": "1.1", "root_path": "",
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
    }  # fmt: skip
    with caplog.at_level(logging.ERROR):
        await house.central(scope, receive, send)
    assert sent[0]["status"] == 400
    assert not caplog.records
