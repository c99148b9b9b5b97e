"""Clips over the real database and both doors: asked for, sent in parts, looked at; and attacks."""

import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import httpx
import msgspec
import pytest

from tests.integration.conftest import FakeDevice, Fleet
from vedette.central import accounts, audit, events
from vedette.central.app import Central, build_services
from vedette.central.clips import keeping
from vedette.central.console.events import present
from vedette.central.settings import CentralConfig, Retention
from vedette.central.web import build_web
from vedette.clock import ManualClock
from vedette.edge.evidence import copies
from vedette.edge.evidence.facts import read_facts
from vedette.edge.evidence.origin import keys_in, origins
from vedette.sim import footage
from vedette.trust.evidence import sign_package
from vedette.trust.keys import SigningKey
from vedette.wire.diagnostics import PROBLEM
from vedette.wire.evidence import (
    SIGNATURE,
    BlobFile,
    Facts,
    FrameBoxes,
    Offer,
    Statement,
    content_range,
)
from vedette.wire.holds import HoldAnswer
from vedette.wire.messages import Box, EventKind, EventReport, EvidenceRecord

pytestmark = pytest.mark.anyio

EVENT = "ev-one"
PACKAGE = "evd-one"
THERE = f"/v1/events/{EVENT}/clip"
BOX = Box(xyxy=(1, 2, 30, 40), label="person", confidence=0.9, track=1)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two seconds of a rendered street."""
    path = tmp_path_factory.mktemp("clip") / "street.mp4"
    footage.render(path, seconds=2.0, fps=10, size_px=(160, 96))
    return path.read_bytes()


def facts(at_ms: int) -> bytes:
    """Return what a device writes beside its clip."""
    record = EvidenceRecord(
        evidence=PACKAGE,
        event=EVENT,
        camera="door",
        wanted_ms=(at_ms - 1000, at_ms + 1000),
        actual_ms=(at_ms - 1000, at_ms + 900),
        picture_px=(160, 96),
        stays_on_site=False,
    )
    frames = [FrameBoxes(at_ms=at_ms, boxes=[BOX])]
    return msgspec.json.encode(Facts(record=record, event=report(at_ms), frames=frames))


def report(at_ms: int) -> EventReport:
    """Return an event with evidence."""
    return EventReport(
        event=EVENT,
        camera="door",
        kind=EventKind.ZONE_ENTERED,
        at_ms=at_ms,
        where="till",
        boxes=[BOX],
        picture_px=(160, 96),
        evidence=PACKAGE,
    )


def named(name: str, data: bytes) -> BlobFile:
    """Return what is announced of a file."""
    return BlobFile(name=name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


class House(Fleet):
    """A running central with its web part, and a device with an event that has a clip."""

    async def program(self, role: str, sites: list[str] | None = None) -> dict[str, str]:
        """Return the headers of a program with this role and scope."""
        name = f"{role}-{len(sites) if sites is not None else 'all'}"
        async with self.db.transaction() as tx:
            await accounts.put_user(tx, name, role, sites, self.now_ms)
            token, _ = await accounts.open_session(tx, name, self.now_ms, life_s=3600, kind="api")
        return {"Authorization": f"Bearer {token}"}

    async def box(self, name: str = "box", site: str = "shop") -> FakeDevice:
        """Return a device that told of the event and of its clip."""
        device = await self.device(site, name=name)
        at_ms = self.now_ms - 5000
        record = EvidenceRecord(
            evidence=PACKAGE,
            event=EVENT,
            camera="door",
            wanted_ms=(at_ms - 1000, at_ms + 1000),
            stays_on_site=False,
        )
        await device.up(
            device.envelope("event.v1", report(at_ms)), device.envelope("evidence.v1", record)
        )
        return device

    async def ask(self, headers: dict[str, str]) -> dict[str, Any]:
        """Ask for the clip."""
        answer = await self.http.post(THERE, headers=headers)
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def state(self, headers: dict[str, str]) -> dict[str, Any]:
        """Return how far the clip is."""
        return (await self.http.get(THERE, headers=headers)).json()

    async def actions(self) -> list[tuple[str, str]]:
        """Return who did what, newest first."""
        return [(e.actor, e.action) for e in await audit.page(self.db)]


@pytest.fixture
async def house(conninfo: str, anyio_backend: str, tmp_path: Path) -> AsyncIterator[House]:
    """A running central with everything that answers HTTP, and room for one megabyte of clips."""
    clock = ManualClock()
    config = CentralConfig(state_dir=str(tmp_path), retention=Retention(clips_mb=1))
    services = build_services(config, conninfo, SigningKey.generate(), clock)
    central = Central(services, build_web(services))
    transport = httpx.ASGITransport(app=central)
    async with (
        central.running(),
        httpx.AsyncClient(transport=transport, base_url="http://central") as http,
    ):
        yield House(central, http, clock)


def bearer(device: FakeDevice) -> dict[str, str]:
    """Return what a device shows."""
    return {"Authorization": f"Bearer {device.token}"}


async def open_request(device: FakeDevice) -> dict[str, Any]:
    """Return the one thing that a device is asked for."""
    seen = (await device.http.get("/v1/desired", headers=bearer(device))).json()
    (request,) = seen["requests"]
    return request


async def offer(
    device: FakeDevice, request: str, files: list[BlobFile], form: str = "clip"
) -> httpx.Response:
    """Announce files."""
    body = msgspec.json.encode(Offer(evidence=PACKAGE, form=form, files=files))
    there = f"/v1/evidence/{request}"
    return await device.http.post(there, content=body, headers=bearer(device))


async def put(
    device: FakeDevice, file: BlobFile, start: int, part: bytes, **headers: str
) -> httpx.Response:
    """Send a part."""
    said = {"Content-Range": content_range(start, len(part), file.bytes), **bearer(device)}
    there = f"/v1/blobs/{file.sha256}"
    return await device.http.put(there, content=part, headers=said | headers)


async def send(
    device: FakeDevice, request: str, named_files: dict[str, bytes], form: str = "clip"
) -> None:
    """Send a whole clip, each file in two parts."""
    files = [named(name, data) for name, data in named_files.items()]
    answer = await offer(device, request, files, form)
    assert answer.status_code == 200, answer.text
    for file in files:
        data, half = named_files[file.name], file.bytes // 2
        assert (await put(device, file, 0, data[:half])).json() == {"have": half, "done": False}
        assert (await put(device, file, half, data[half:])).status_code == 200


async def test_a_clip_is_asked_for_sent_and_looked_at(house: House, video: bytes) -> None:
    """Through both doors; it plays, in ranges and whole, and every look is in the audit log."""
    device = await house.box()
    operator = await house.program("operator", ["shop"])
    assert (await house.state(operator))["state"] == "none"
    assert (await house.ask(operator))["state"] == "asked"
    assert (await house.ask(operator))["state"] == "asked"
    request = await open_request(device)
    assert (request["kind"], request["evidence"]) == ("evidence", PACKAGE)
    said = facts(house.now_ms)
    await send(device, request["request"], {"clip.mp4": video, "evidence.json": said})
    seen = await house.state(await house.program("viewer", ["shop"]))
    assert (seen["state"], seen["form"], seen["come_bytes"]) == ("here", "clip", seen["bytes"])
    assert (await house.http.get("/v1/desired", headers=bearer(device))).json()["requests"] == []
    whole = await house.http.get(f"{THERE}/clip.mp4", headers=operator)
    assert whole.content == video
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-disposition"].startswith("attachment")
    with av.open(io.BytesIO(whole.content)) as container:
        assert len(list(container.decode(video=0))) == 20
    part = await house.http.get(f"{THERE}/clip.mp4", headers=operator | {"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, video[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(video)}"
    packed = await house.http.get(f"{THERE}/all.zip", headers=operator)
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        content = {name.rpartition("/")[2]: archive.read(name) for name in archive.namelist()}
    assert content["clip.mp4"] == video
    assert content["evidence.json"] == said
    assert hashlib.sha256(video).hexdigest() in content["SHA256SUMS"].decode()
    downloads = [a for a in await house.actions() if a[1].startswith("clip.")]
    assert downloads == [("operator-1", "clip.download")] * 2 + [("operator-1", "clip.ask")]


async def test_a_device_that_lets_nothing_leave_is_quoted(house: House) -> None:
    """The site's word stands on the event; nothing came, and it can be asked again."""
    device = await house.box()
    operator = await house.program("operator")
    await house.ask(operator)
    request = (await open_request(device))["request"]
    why = msgspec.json.encode({"title": "no", "detail": "it stays on the site\x1b[2J"})
    headers = bearer(device) | {"Content-Type": PROBLEM}
    there = f"/v1/evidence/{request}"
    assert (await house.http.post(there, content=why, headers=headers)).status_code == 204
    seen = await house.state(operator)
    assert (seen["state"], seen["said"]) == ("refused", "it stays on the site?[2J")
    assert (await house.http.get(f"{THERE}/clip.mp4", headers=operator)).status_code == 404
    assert (await house.http.post(there, content=why, headers=headers)).status_code == 403
    assert (await house.ask(operator))["state"] == "asked"


async def began(house: House, video: bytes) -> tuple[FakeDevice, dict[str, str], BlobFile, str]:
    """Return a device that announced its clip, an operator, the video and the request."""
    device = await house.box()
    operator = await house.program("operator")
    await house.ask(operator)
    request = (await open_request(device))["request"]
    file = named("clip.mp4", video)
    assert (await offer(device, request, [file])).status_code == 200
    return device, operator, file, request


async def test_parts_follow_one_another_and_go_on_after_a_stop(house: House, video: bytes) -> None:
    """Gaps, overlaps, more than announced, a false length: refused, and nothing is lost by it."""
    device, operator, file, request = await began(house, video)
    whole = f"bytes 0-{file.bytes - 1}/{file.bytes}"
    assert (await put(device, file, 0, video[:1000])).json()["have"] == 1000
    refused = {
        "a gap": await put(device, file, 2000, video[2000:3000]),
        "an overlap": await put(device, file, 500, video[500:1500]),
        "the same again": await put(device, file, 0, video[:1000]),
        "longer than announced": await put(device, file, 1000, video[1000:] + b"x"),
        "another length": await put(
            device, file, 1000, video[1000:1100], **{"Content-Range": "bytes 1000-1099/99999"}
        ),
        "fewer than it says": await put(device, file, 1000, b"x", **{"Content-Range": whole}),
        "no range": await put(device, file, 1000, b"x", **{"Content-Range": "all of it"}),
        "nothing": await put(device, file, 1000, b"", **{"Content-Range": whole}),
        "a huge part": await put(
            device, file, 1000, bytes(600_000), **{"Content-Range": "bytes 1000-600999/999999"}
        ),
    }
    assert {why: a.status_code for why, a in refused.items()} == {
        "a gap": 409,
        "an overlap": 409,
        "the same again": 409,
        "longer than announced": 400,
        "another length": 413,
        "fewer than it says": 400,
        "no range": 400,
        "nothing": 400,
        "a huge part": 413,
    }
    again = await offer(device, request, [file])
    assert again.json() == {"have": {file.sha256: 1000}, "done": False}
    assert (await house.state(operator))["come_bytes"] == 1000
    assert (await put(device, file, 1000, video[1000:])).json() == {
        "have": file.bytes,
        "done": True,
    }
    assert (await house.state(operator))["state"] == "here"


async def test_what_comes_is_what_was_announced_or_nothing(house: House, video: bytes) -> None:
    """A wrong hash, a page or a picture as a video: the clip failed, and no file of it stays."""
    device, operator, file, request = await began(house, video)
    forged = video[:-1] + bytes([video[-1] ^ 1])
    await put(device, file, 0, forged[:1000])
    assert (await put(device, file, 1000, forged[1000:])).status_code == 400
    state = await house.state(operator)
    assert state["state"] == "failed"
    assert "not what was announced" in state["said"]
    for content in (b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html><script>1</script>"):
        await house.ask(operator)
        request = (await open_request(device))["request"]
        page = named("clip.mp4", content)
        assert (await offer(device, request, [page])).status_code == 200
        assert (await put(device, page, 0, content)).status_code == 400
        assert (await house.state(operator))["said"] == "what came as a video is none"
    await house.ask(operator)
    request = (await open_request(device))["request"]
    text = named("evidence.json", b"[" * 5000)
    assert (await offer(device, request, [file, text])).status_code == 200
    assert (await put(device, text, 0, b"[" * 5000)).status_code == 400
    assert (await house.http.get(f"{THERE}/clip.mp4", headers=operator)).status_code == 404


def signed(key: SigningKey, named_files: dict[str, bytes], **changes: Any) -> dict[str, bytes]:
    """Return files with a device's signature over them, as it states it."""
    statement = Statement(
        evidence=PACKAGE,
        event=EVENT,
        camera="door",
        site="shop",
        device="box",
        form="clip",
        at_ms=0,
        signed_ms=0,
        clock="trusted",
        files=[named(name, data) for name, data in named_files.items()],
    )
    statement = msgspec.structs.replace(statement, **changes)
    return named_files | {SIGNATURE: sign_package(statement, key)}


async def test_what_a_device_signed_is_kept_and_verifies_anywhere(
    house: House, video: bytes, tmp_path: Path
) -> None:
    """Said as signed; its zip proves by the keys that central lists, former ones too."""
    device = await house.box()
    operator = await house.program("operator", ["shop"])
    await house.ask(operator)
    request = (await open_request(device))["request"]
    what = {"clip.mp4": video, "evidence.json": facts(house.now_ms)}
    await send(device, request, signed(device.key, what))
    assert (await house.state(operator))["signed"]
    packed = await house.http.get(f"{THERE}/all.zip", headers=operator)
    (tmp_path / "clip.zip").write_bytes(packed.content)
    viewer = await house.program("viewer", ["shop"])
    keys = await house.http.get("/v1/devices/box/keys", headers=viewer)
    (tmp_path / "keys.json").write_bytes(keys.content)
    with copies.opened(tmp_path / "clip.zip") as (folder,):
        said = read_facts(folder)
        (origin,) = origins(folder, said, keys_in(tmp_path / "keys.json"))
    assert origin.problems == ()
    assert origin.whose == "it speaks for the device"
    stranger = await house.program("viewer", ["mall"])
    for headers, name in ((stranger, "box"), (viewer, "nobody"), (viewer, "%00")):
        answer = await house.http.get(f"/v1/devices/{name}/keys", headers=headers)
        assert answer.status_code == 404


async def test_a_signature_that_is_not_the_devices_is_refused(house: House, video: bytes) -> None:
    """Another key, package, form, device, camera or file; none at all is kept, and said."""
    device = await house.box()
    operator = await house.program("operator")
    what = {"clip.mp4": video, "evidence.json": facts(house.now_ms)}
    forged: dict[str, dict[str, bytes]] = {
        "never spoke for": signed(SigningKey.generate(), what),
        "it is of 'evd-two'": signed(device.key, what, evidence="evd-two"),
        "as blurred": signed(device.key, what, form="blurred"),
        "it is of": signed(device.key, what, camera="yard"),
        "'box-2' made it": signed(device.key, what, device="box-2"),
        "is not the one that was signed": signed(
            device.key, what, files=[named("clip.mp4", b"x"), named("evidence.json", b"{}")]
        ),
        "was not signed": signed(device.key, what, files=[named("clip.mp4", video)]),
    }
    for why, content in forged.items():
        await house.ask(operator)
        request = (await open_request(device))["request"]
        files = [named(name, data) for name, data in content.items()]
        answer = await offer(device, request, files)
        for file in files:  # what came before under the same name is here already
            if answer.status_code == 200 and answer.json()["have"][file.sha256] == 0:
                last = await put(device, file, 0, content[file.name])
        assert last.status_code == 400, why
        state = await house.state(operator)
        assert state["state"] == "failed"
        assert why in state["said"], state["said"]
        assert (await house.http.get(f"{THERE}/clip.mp4", headers=operator)).status_code == 404
    await house.ask(operator)
    await send(device, (await open_request(device))["request"], what)
    state = await house.state(operator)
    assert (state["state"], state["signed"]) == ("here", False)


async def test_a_device_answers_how_a_held_package_stands(house: House) -> None:
    """Taken once, from the device that was asked, in its form; never asked as a diagnostic."""
    device = await house.box()
    other = await house.device("mall", name="other")
    async with house.db.transaction() as tx:
        asked = {"request": "rq-hold", "device": "box", "camera": "", "asked_by": "ada"}
        asked |= {"now_ms": house.now_ms, "expires_ms": house.now_ms + 60_000}
        await tx.run("request_put", kind="hold", **asked)
    body = HoldAnswer(evidence=PACKAGE, held=True, bytes=1, held_bytes=1, limit_bytes=9)
    there, kind = "/v1/answer/rq-hold", {"Content-Type": "application/json"}

    async def say(who: FakeDevice, content: bytes) -> int:
        said = await who.http.post(there, content=content, headers=bearer(who) | kind)
        return said.status_code

    assert await say(other, msgspec.json.encode(body)) == 403
    assert await say(device, b'{"held": "perhaps"}') == 400
    assert await say(device, b" " * 5_000) == 413
    assert await say(device, msgspec.json.encode(body)) == 204
    assert await say(device, msgspec.json.encode(body)) == 403
    admin = await house.program("admin")
    place = "/v1/sites/shop/devices/box/diagnostics"
    listed = await house.http.get(place, headers=admin)
    assert listed.json()["diagnostics"] == []
    refused = await house.http.post(place, json={"kind": "hold"}, headers=admin)
    assert refused.status_code == 400


OFFERS = [
    [("../../etc/passwd", "ab" * 32, 10)],
    [("clip.mp4", "../../../../etc/passwd", 10)],
    [("clip.mp4", "AB" * 32, 10)],
    [("clip.mp4", "ab" * 32, 0)],
    [("clip.mp4", "ab" * 32, 10**12)],
    [("clip.html", "ab" * 32, 10)],
    [("evidence.json", "ab" * 32, 10)],
    [("clip.mp4", "ab" * 32, 10), ("clip.mp4", "cd" * 32, 10)],
    [("clip.mp4", "ab" * 32, 10), ("poster.jpg", "ab" * 32, 11)],
    [("clip.mp4", "ab" * 32, 10)] * 20,
    [],
]


async def test_an_offer_names_what_a_clip_has_and_no_more(house: House, tmp_path: Path) -> None:
    """Paths, other names, petabytes: refused before a byte; nothing is made on the disk."""
    device = await house.box()
    await house.ask(await house.program("operator"))
    request = (await open_request(device))["request"]
    for files in OFFERS:
        made = [BlobFile(name=n, sha256=h, bytes=b) for n, h, b in files]
        assert (await offer(device, request, made)).status_code in {400, 413}, files
    assert (await offer(device, request, [named("clip.mp4", b"x")], "raw")).status_code == 400
    for path in ("../../x", "%2e%2e", "ab" * 32, "ab" * 32 + "/x", "\u0661" * 64):
        headers = bearer(device) | {"Content-Range": "bytes 0-0/1"}
        answer = await house.http.put(f"/v1/blobs/{path}", content=b"x", headers=headers)
        assert answer.status_code in {403, 404, 405}, path
    assert not (tmp_path / "blobs").exists()


async def test_nobody_gets_or_fills_the_clip_of_another(house: House, video: bytes) -> None:
    """Another device's request and hash; a hash alone shows nobody what another device sent."""
    device, operator, file, request = await began(house, video)
    other = await house.device("mall", name="other")
    assert (await offer(other, request, [file])).status_code == 403
    assert (await put(other, file, 0, video)).status_code == 403
    assert (await put(device, file, 0, video)).json()["done"]
    at_ms = house.now_ms - 5000
    theirs = msgspec.structs.replace(report(at_ms), event="ev-two")
    await other.up(other.envelope("event.v1", theirs))
    theirs_at = "/v1/events/ev-two/clip"
    assert (await house.http.post(theirs_at, headers=operator)).status_code == 202
    stolen = await offer(other, (await open_request(other))["request"], [file])
    assert stolen.json() == {"have": {file.sha256: 0}, "done": False}
    assert (await house.http.get(f"{theirs_at}/clip.mp4", headers=operator)).status_code == 404
    before = await house.actions()
    stranger = await house.program("operator", ["mall"])
    assert (await house.http.get(THERE, headers=stranger)).status_code == 404
    assert (await house.http.post(THERE, headers=stranger)).status_code == 404
    for name in ("clip.mp4", "all.zip", "evidence.json", "..%2f..%2fonline.key"):
        answer = await house.http.get(f"{THERE}/{name}", headers=stranger)
        assert answer.status_code == 404
    viewer = await house.program("viewer")
    assert (await house.http.post(THERE, headers=viewer)).status_code == 403
    assert (await house.http.delete(THERE, headers=viewer)).status_code == 403
    assert await house.actions() == before


async def test_what_is_full_takes_nothing_and_gets_room_again(house: House, video: bytes) -> None:
    """The bound counts what is announced; a copy that is deleted makes room, file and all."""
    device, operator, file, request = await began(house, video)
    await put(device, file, 0, video)
    big = BlobFile(name="clip.mp4", sha256="cd" * 32, bytes=1024 * 1024)
    second = msgspec.structs.replace(
        report(house.now_ms - 4000), event="ev-two", evidence="evd-two"
    )
    await device.up(device.envelope("event.v1", second))
    await house.http.post("/v1/events/ev-two/clip", headers=operator)
    request = (await open_request(device))["request"]
    body = msgspec.json.encode(Offer(evidence="evd-two", form="clip", files=[big]))
    there = f"/v1/evidence/{request}"
    full = await house.http.post(there, content=body, headers=bearer(device))
    assert full.status_code == 413
    state = (await house.http.get("/v1/events/ev-two/clip", headers=operator)).json()
    assert state["state"] == "failed"
    assert "retention.clips_mb" in state["said"]
    blobs = house.services.blobs
    assert blobs.has(file.sha256)
    assert (await house.http.delete(THERE, headers=operator)).status_code == 204
    later_ms = round(blobs.path(file.sha256).stat().st_mtime * 1000) + 700_000
    assert await keeping.sweep(house.db, blobs, later_ms) == 1
    assert not blobs.has(file.sha256)
    assert (await house.state(operator))["state"] == "none"


async def test_events_are_filtered_by_zone_evidence_and_lateness(
    house: House, video: bytes
) -> None:
    """As JSON and over pages; what was fetched says so; what belongs together is found."""
    device, operator, file, _ = await began(house, video)
    at_ms = house.now_ms - 5000
    others = [
        msgspec.structs.replace(
            report(at_ms - n * 1000), event=f"ev-{n}", evidence="", where="door"
        )
        for n in range(3)
    ]
    aisle = msgspec.structs.replace(others[0], event="ev-aisle", camera="aisle")
    await device.up(*(device.envelope("event.v1", body) for body in [*others, aisle]))

    async def found(**params: str) -> list[str]:
        answer = await house.http.get("/v1/events", params=params, headers=operator)
        assert answer.status_code == 200, answer.text
        return [row["event"] for row in answer.json()["events"]]

    assert await found(where="till") == [EVENT]
    assert await found(evidence="on_site") == [EVENT]
    assert await found(evidence="here") == []
    assert await found(late="true") == []
    assert len(await found(evidence="none")) == 4
    assert (await put(device, file, 0, video)).json()["done"]
    assert await found(evidence="here") == await found(evidence="any") == [EVENT]
    assert await found(evidence="on_site") == []
    bad = await house.http.get("/v1/events", params={"evidence": "x"}, headers=operator)
    assert bad.status_code == 400
    row = await events.event(house.db, EVENT, None)
    assert row is not None
    near = await events.related(house.db, row, None)
    assert [r.event for r in near.camera] == ["ev-0", "ev-1", "ev-2"]
    assert [r.event for r in near.site] == ["ev-aisle"]
    every = await events.every(house.db, events.EventFilters(where="door"), ["shop"])
    text = present.csv_text(every)
    assert [line.split(",")[0] for line in text.splitlines()[1:]] == [r.event for r in every]
    assert len(every) == 4
    assert await events.every(house.db, events.EventFilters(), ["mall"]) == []
