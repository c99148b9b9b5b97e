"""The operator API held to its own description: what is generated from it never breaks central."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from vedette.central import accounts, enrolment
from vedette.central.app import Central, build_services
from vedette.central.settings import CentralConfig, Limits
from vedette.central.web import build_web
from vedette.clock import SystemClock, wall_ms
from vedette.trust.keys import SigningKey

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
]
EXAMPLES = 2
"""Per operation and kind of data; a longer run is made by hand."""


class Served:
    """A central on a port of this machine, with a site, a device and an administrator's token."""

    def __init__(self, conninfo: str) -> None:
        config = CentralConfig(limits=Limits(requests_per_minute=10**6, refused_per_minute=10**6))
        self.services = build_services(config, conninfo, SigningKey.generate(), SystemClock())
        self.central = Central(self.services, build_web(self.services))
        self.token = ""
        self.ready = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.server = uvicorn.Server(
            uvicorn.Config(self.central, log_config=None, lifespan="off", interface="asgi3")
        )
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        async with self.central.running():
            now_ms = wall_ms(SystemClock().now_at())
            async with self.services.db.transaction() as tx:
                await accounts.put_user(tx, "ada", "admin", None, now_ms)
                self.token, _ = await accounts.open_session(
                    tx, "ada", now_ms, life_s=3600, kind="api"
                )
                await enrolment.add_site(tx, "lisbon", actor="test", now_ms=now_ms)
                await tx.run(
                    "device_add", device="lisbon-1", site="lisbon", public_key="a key",
                    hardware="", version="", now_ms=now_ms,
                )  # fmt: skip
                known = {"devices": ["lisbon-1"], "cameras": ["door"], "from_ms": [now_ms]}
                await tx.run("cameras_know", **known)
            self.ready.set()
            await self.server.serve(sockets=[self.socket])


@pytest.fixture
def served(conninfo: str) -> Iterator[Served]:
    """A real central, served over a socket."""
    made = Served(conninfo)
    made.thread.start()
    assert made.ready.wait(40)
    yield made
    made.server.should_exit = True
    made.thread.join(40)


def document(url: str) -> dict:
    """Return the OpenAPI document that a central serves."""
    answer = httpx.get(f"{url}/schema/openapi.json", timeout=20)
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.timeout(300)
def test_what_the_description_allows_and_forbids_breaks_nothing(served: Served) -> None:
    """Good and bad data for every operation: no failure of the server, only what is described."""
    schema = schemathesis.openapi.from_dict(document(served.url))
    schema.config.update(base_url=served.url, headers={})
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 30
    headers = {"Authorization": f"Bearer {served.token}"}
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            cases = operation.as_strategy(generation_mode=mode)
            _ask(cases, headers, CHECKS, EXAMPLES)


@pytest.mark.timeout(300)
def test_no_operation_ignores_who_asks(served: Served) -> None:
    """Asked again without the token and with an invented one, each operation refuses."""
    schema = schemathesis.openapi.from_dict(document(served.url))
    schema.config.update(base_url=served.url, headers={})
    headers = {"Authorization": f"Bearer {served.token}"}
    for found in schema.get_all_operations():
        cases = found.ok().as_strategy(generation_mode=GenerationMode.POSITIVE)
        _ask(cases, headers, [ignored_auth], 1)


def _ask(cases: st.SearchStrategy, headers: dict[str, str], checks: list, examples: int) -> None:
    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def each(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=headers, checks=checks)

    each()
