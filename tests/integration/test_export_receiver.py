"""The receiver in examples/ against a real central: over sockets, with a device's own package."""

import asyncio
import contextlib
import importlib.util
import json
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import uvicorn
from standardwebhooks import Webhook as Verifier

from tests.integration.test_clips import House, facts, open_request, send, signed, video
from vedette.central.app import Central, build_services
from vedette.central.exporting import feeding
from vedette.central.settings import Alerts, CentralConfig
from vedette.central.web import build_web
from vedette.clock import ManualClock, SystemClock
from vedette.trust.keys import SigningKey

pytestmark = pytest.mark.anyio
__all__ = ["video"]

SECRET = "whsec_" + "QUJD" * 8
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The receiver as whoever downloads it has it."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    spec = importlib.util.spec_from_file_location(
        "receive_evidence_example", EXAMPLES / "receive_evidence.py"
    )
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    yield script
    sys.modules.pop("verify_evidence", None)


@pytest.fixture
async def house(conninfo: str, anyio_backend: str, tmp_path: Path) -> AsyncIterator[House]:
    """A central that is served on a port of this machine."""
    clock = ManualClock(SystemClock().now_at())  # receivers look at theirs
    port = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{port.getsockname()[1]}"
    config = CentralConfig(
        state_dir=str(tmp_path / "central"),
        public_url=url,
        alerts=Alerts(allow_private=["127.0.0.0/8"], ports=list(range(1024, 65536))),
    )
    services = build_services(config, conninfo, SigningKey.generate(), clock)
    central = Central(services, build_web(services))
    server = uvicorn.Server(
        uvicorn.Config(central, log_config=None, lifespan="off", interface="asgi3")
    )
    with contextlib.closing(port):
        async with central.running(), httpx.AsyncClient(base_url=url) as http:
            serving = asyncio.create_task(server.serve(sockets=[port]))
            yield House(central, http, clock)
            server.should_exit = True
            await serving


async def _filed(folder: Path, count: int) -> list[dict[str, object]]:
    """Wait until so many entries have come to their end; return the ledger."""

    def ends() -> int:
        return sum(len(list((folder / name).glob("*.json"))) for name in ("done", "refused"))

    async with asyncio.timeout(30):
        while ends() < count:  # noqa: ASYNC110 - the folder of another thread
            await asyncio.sleep(0.05)
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]


async def test_the_example_verifies_downloads_checks_and_files(
    house: House, tmp_path: Path, example: ModuleType, video: bytes
) -> None:
    """One line an entry, the signed package beside it; forgeries, repeats, strangers: none."""
    admin = await house.program("admin")
    folder = tmp_path / "filed"
    filing = example.Filing(folder, house.services.config.url, [])
    server, end = example.serve(filing, SECRET, ("127.0.0.1", 0))
    try:
        hook = f"http://127.0.0.1:{server.server_address[1]}/hook"
        await _have_export(house, admin, hook)
        device = await house.box()
        (key,) = (await house.http.get("/v1/devices/box/keys", headers=admin)).json()["keys"]
        filing.keys.append(key["key"])
        await house.ask(admin)
        request = (await open_request(device))["request"]
        files = {"clip.mp4": video, "evidence.json": facts(house.now_ms)}
        await send(device, request, signed(device.key, files))
        await feeding.turn(house.services, house.now_ms)
        event, clip = await _filed(folder, 2)
        assert (event["kind"], event["where"], event["station"]) == (
            "zone_entered", "till", "box/door",
        )  # fmt: skip
        assert clip["what"] == "vedette.evidence.available.v1"
        assert (folder / str(clip["package"]) / "clip.mp4").read_bytes() == video
        await _send_more(hook, folder)
    finally:
        end()
    with (folder / "ledger.jsonl").open("ab") as ledger:  # killed in the middle of a line
        ledger.write(b'{"entry": "half')
    began_anew = example.Filing(folder, house.services.config.url, [])
    assert began_anew.lines == {event["entry"], clip["entry"]}
    assert (folder / "ledger.jsonl").read_bytes().endswith(b"}\n")


async def _have_export(house: House, admin: dict[str, str], hook: str) -> None:
    """Have a webhook to the receiver, tested, and an export of events and clips to it."""
    made = {"channel": "mes-hook", "settings": {"type": "webhook", "url": hook}, "secret": SECRET}
    answer = await house.http.post("/v1/channels", headers=admin, json=made)
    assert answer.status_code == 201, answer.text
    tested = await house.http.post("/v1/channels/mes-hook/test", headers=admin, json={})
    assert tested.json()["row"]["state"] == "sent", tested.text
    said = {"channel": "mes-hook", "tell": ["event", "clip"]}
    put = await house.http.put("/v1/exports/mes", headers=admin, json=said)
    assert put.status_code == 200, put.text


async def _send_more(hook: str, folder: Path) -> None:
    """A repeat, a stranger, links elsewhere, other content: none of them is a line."""
    (first,) = (p for p in (folder / "done").glob("*.json") if b"available" in p.read_bytes())
    said = json.loads(first.read_bytes())

    async def post(body: bytes, secret: str = SECRET) -> int:
        now = SystemClock().now_at()
        headers = {
            "webhook-id": "dl-1",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Verifier(secret).sign("dl-1", now, body.decode()),
        }
        async with httpx.AsyncClient() as http:
            try:
                return (await http.post(hook, content=body, headers=headers)).status_code
            except httpx.TransportError:  # it hung up on what it did not read
                return 413

    assert await post(first.read_bytes()) == 204  # the same once more
    other = "whsec_" + "QUJE" * 8
    assert await post(json.dumps(said | {"id": "forged"}).encode(), other) == 401
    assert await post(b" " * 600_000) == 413
    clip = said["data"]["clip"]
    (mp4,) = (one for one in clip["files"] if one["name"] == "clip.mp4")
    for number, change in enumerate(
        (
            {"url": "http://127.0.0.1:1/links/x"},
            {"name": "../clip.mp4"},
            {"sha256": "0" * 64},
            {"bytes": 10},
            {"url": mp4["url"] + "x"},
        )
    ):
        wrong = {**said["data"], "clip": {**clip, "files": [mp4 | change]}}
        body = json.dumps(said | {"id": f"wrong-{number}", "data": wrong})
        assert await post(body.encode()) == 204
    assert len(await _filed(folder, 7)) == 2
    assert len(list((folder / "refused").glob("*.json"))) == 5
