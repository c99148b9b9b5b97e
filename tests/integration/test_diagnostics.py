"""Diagnostics over the real database and both doors: who may ask, who may answer, who may look."""

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from tests.integration.conftest import FakeDevice, Fleet
from vedette.central import accounts, audit, jobs, own_shapes
from vedette.central.app import Central, build_services
from vedette.central.settings import CentralConfig, Retention
from vedette.central.views import CountRow
from vedette.central.web import build_web
from vedette.clock import ManualClock
from vedette.trust.keys import SigningKey
from vedette.wire import diagnostics as wire
from vedette.wire.signed import CameraSettings, Zone

pytestmark = pytest.mark.anyio

ASKED = "/v1/sites/shop/devices/box/diagnostics"
DOCTOR = msgspec.json.encode(wire.DoctorAnswer(verdict="ok", findings=[]))
LOG = b"line one\nline two\n"


class House(Fleet):
    """A running central with its web part, two devices, and programs that ask."""

    async def program(self, role: str, sites: list[str] | None = None) -> dict[str, str]:
        """Return the headers of a program with this role and scope."""
        name = f"{role}-{len(sites) if sites is not None else 'all'}"
        async with self.db.transaction() as tx:
            await accounts.put_user(tx, name, role, sites, self.now_ms)
            token, _ = await accounts.open_session(tx, name, self.now_ms, life_s=3600, kind="api")
        return {"Authorization": f"Bearer {token}"}

    async def ask(self, headers: dict[str, str], **question: object) -> str:
        """Ask the device `box`; return the request's id."""
        answer = await self.http.post(ASKED, json=question, headers=headers)
        assert answer.status_code == 202, answer.text
        return answer.json()["request"]

    async def actions(self) -> list[tuple[str, str, str]]:
        """Return who did what to what, newest first."""
        return [(e.actor, e.action, e.target) for e in await audit.page(self.db)]


@pytest.fixture
async def house(conninfo: str, anyio_backend: str) -> AsyncIterator[House]:
    """A running central with everything that answers HTTP."""
    clock = ManualClock()
    services = build_services(CentralConfig(), conninfo, SigningKey.generate(), clock)
    central = Central(services, build_web(services))
    transport = httpx.ASGITransport(app=central)
    async with (
        central.running(),
        httpx.AsyncClient(transport=transport, base_url="http://central") as http,
    ):
        yield House(central, http, clock)


async def send(device: FakeDevice, request: str, body: bytes, content_type: str = wire.TEXT) -> int:
    """Have a device answer; return the status."""
    headers = {"Authorization": f"Bearer {device.token}", "Content-Type": content_type}
    answer = await device.http.post(f"/v1/answer/{request}", content=body, headers=headers)
    return answer.status_code


async def test_a_question_goes_to_the_device_and_its_answer_comes_back(house: House) -> None:
    """Asked, seen in the desired state, answered once, read; all of it in the audit log."""
    device = await house.device(name="box")
    operator = await house.program("operator", ["shop"])
    request = await house.ask(operator, kind="log", lines=20)
    assert await house.ask(operator, kind="log", lines=20) == request
    headers = {"Authorization": f"Bearer {device.token}"}
    desired = (await house.http.get("/v1/desired", headers=headers)).json()
    (seen,) = desired["requests"]
    assert (seen["request"], seen["kind"], seen["lines"]) == (request, "log", 20)
    there = f"{ASKED}/{request}"
    assert (await house.http.get(there, headers=operator)).json()["state"] == "waiting"
    assert (await house.http.get(f"{there}/answer", headers=operator)).status_code == 404
    assert await send(device, request, LOG) == 204
    assert (await house.http.get(there, headers=operator)).json()["state"] == "answered"
    answer = await house.http.get(f"{there}/answer", headers=operator)
    assert (answer.content, answer.headers["content-type"]) == (LOG, wire.TEXT)
    assert answer.headers["x-content-type-options"] == "nosniff"
    desired = (await house.http.get("/v1/desired", headers=headers)).json()
    assert desired["requests"] == []
    assert (await house.actions())[:2] == [
        ("operator-1", "diagnostics.look", "box"),
        ("operator-1", "diagnostics.ask", "box"),
    ]


async def test_a_device_answers_only_its_own_questions_once_and_in_time(house: House) -> None:
    """Another's question, the same one twice, one that nobody asked, one that is over."""
    device, other = await house.device(name="box"), await house.device(name="other")
    operator = await house.program("operator")
    request = await house.ask(operator, kind="log")
    assert await send(other, request, LOG) == 403
    assert await send(device, "rq-00000000000000000000", LOG) == 403
    assert await send(device, "%00", LOG) == 403
    assert await send(device, request, b"first\n") == 204
    assert await send(device, request, b"second\n") == 403
    read = await house.http.get(f"{ASKED}/{request}/answer", headers=operator)
    assert read.content == b"first\n"
    late = await house.ask(operator, kind="config")
    house.clock.advance(901)
    await device.sign_in()
    assert await send(device, late, b"{}", wire.JSON) == 403
    operator = await house.program("operator")
    state = await house.http.get(f"{ASKED}/{late}", headers=operator)
    assert state.json()["state"] == "expired"


FORMS = [
    ("log", b"x" * (256 * 1024 + 1), wire.TEXT, 413),
    ("log", b"\xff\xfe", wire.TEXT, 400),
    ("log", b"\x1b[2J", wire.TEXT, 400),
    ("log", b"{}", wire.JSON, 403),
    ("log", b"\xff\xd8\xff", "image/jpeg", 403),
    ("log", b"<script>", "text/html", 403),
    ("doctor", b"[" * 10_000, wire.JSON, 400),
    ("doctor", b'{"verdict": 1}', wire.JSON, 400),
    ("doctor", DOCTOR + b" " * 64 * 1024, wire.JSON, 413),
    ("doctor", b'{"title": "no", "detail": "' + b"x" * 5000 + b'"}', wire.PROBLEM, 413),
    ("doctor", DOCTOR, wire.JSON, 204),
]


async def test_an_answer_has_the_form_of_its_kind(house: House) -> None:
    """Too large, of another kind, not what it says: refused, and the question stays open."""
    device = await house.device(name="box")
    operator = await house.program("operator")
    for kind, body, content_type, status in FORMS:
        request = await house.ask(operator, kind=kind)
        assert await send(device, request, body, content_type) == status, (kind, body[:40])
        state = (await house.http.get(f"{ASKED}/{request}", headers=operator)).json()["state"]
        assert state == ("answered" if status == 204 else "waiting")


async def test_a_log_is_no_picture_and_a_picture_no_log(house: House) -> None:
    """Each way takes its own kinds: pixels cannot come in under another name."""
    device = await house.device(name="box")
    operator = await house.program("operator")
    request = await house.ask(operator, kind="log")
    headers = {"Authorization": f"Bearer {device.token}"}
    jpeg = b"\xff\xd8\xff rest"
    taken = await house.http.post(f"/v1/thumbnail/{request}", content=jpeg, headers=headers)
    assert taken.status_code == 403
    await house.rows(
        "INSERT INTO cameras (device, camera, known_from_ms) VALUES ('box', 'door', 0) RETURNING 1"
    )
    picture = await house.ask(operator, kind="thumbnail", camera="door")
    assert await send(device, picture, LOG) == 403
    taken = await house.http.post(f"/v1/thumbnail/{picture}", content=jpeg, headers=headers)
    assert taken.status_code == 204
    read = await house.http.get(f"{ASKED}/{picture}/answer", headers=operator)
    assert (read.content, read.headers["content-type"]) == (jpeg, "image/jpeg")
    assert (await house.actions())[0][1:] == ("thumbnail.look", "box/door")


async def test_a_device_that_refuses_says_why(house: House) -> None:
    """The words are shown, without what could steer a terminal; there is no answer to read."""
    device = await house.device(name="box")
    operator = await house.program("operator")
    request = await house.ask(operator, kind="doctor")
    refusal = wire.Refusal(title="no", detail="the site's policy\x1b[2J")
    assert await send(device, request, msgspec.json.encode(refusal), wire.PROBLEM) == 204
    state = (await house.http.get(f"{ASKED}/{request}", headers=operator)).json()
    assert (state["state"], state["refused"]) == ("refused", "the site's policy?[2J")
    assert (await house.http.get(f"{ASKED}/{request}/answer", headers=operator)).status_code == 404


async def test_who_may_not_ask_gets_nothing(house: House) -> None:
    """A weaker role, another site's operator, a device of another site's address: all refused."""
    device = await house.device(name="box")
    await house.claim("mall")
    operator = await house.program("operator")
    request = await house.ask(operator, kind="log")
    await send(device, request, LOG)
    before = await house.actions()
    stranger = await house.program("operator", ["mall"])
    for headers, status in ((stranger, 404), (await house.program("reviewer"), 403)):
        for path in ("", f"/{request}", f"/{request}/answer"):
            assert (await house.http.get(ASKED + path, headers=headers)).status_code == status
        asked = await house.http.post(ASKED, json={"kind": "log"}, headers=headers)
        assert asked.status_code == status
    elsewhere = ASKED.replace("shop", "mall")
    for headers in (operator, stranger):
        answer = await house.http.get(f"{elsewhere}/{request}/answer", headers=headers)
        assert answer.status_code == 404
    assert (await house.http.post(ASKED, json={"kind": "log"})).status_code == 401
    assert await house.actions() == before


NO_QUESTIONS = [
    {"kind": "shell"},
    {"kind": "log", "lines": -1},
    {"kind": "log", "lines": 10**6},
    {},
]


async def test_what_no_device_answers_is_not_asked(house: House) -> None:
    """Refused where it is asked, with a reason."""
    await house.device(name="box")
    operator = await house.program("operator")
    for question in NO_QUESTIONS:
        answer = await house.http.post(ASKED, json=question, headers=operator)
        assert answer.status_code == 400
        assert answer.json()["detail"]


async def test_meaningless_bodies_move_only_while_the_line_is_measured(house: House) -> None:
    """Not asked: refused. Asked: at most four megabytes at once, and not for ever."""
    device = await house.device(name="box")
    headers = {"Authorization": f"Bearer {device.token}"}
    assert (await house.http.post("/v1/speed", content=b"x", headers=headers)).status_code == 403
    await house.ask(await house.program("operator"), kind="network")
    answer = await house.http.get("/v1/speed?bytes=1000", headers=headers)
    assert len(answer.content) == 1000
    for bad, status in (("-1", 400), ("9999999", 413), ("x", 400)):
        answer = await house.http.get(f"/v1/speed?bytes={bad}", headers=headers)
        assert answer.status_code == status
    big = bytes(4 * 1024 * 1024 + 1)
    assert (await house.http.post("/v1/speed", content=big, headers=headers)).status_code == 413
    statuses = {
        (await house.http.post("/v1/speed", content=b"x", headers=headers)).status_code
        for _ in range(25)
    }
    assert statuses == {204, 429}


async def test_questions_are_listed_in_pages_and_old_ones_go(house: House) -> None:
    """Newest first, each once; after the days of retention there are none."""
    await house.device(name="box")
    operator = await house.program("operator")
    asked = []
    for n in range(5):
        asked.append(await house.ask(operator, kind="log", lines=n + 1))
        house.clock.advance(1)
    seen: list[str] = []
    cursor = ""
    while True:
        params = {"limit": 2, "cursor": cursor}
        page = (await house.http.get(ASKED, params=params, headers=operator)).json()
        seen += [row["request"] for row in page["diagnostics"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert seen == asked[::-1]
    await jobs.expire(house.db, Retention(), house.now_ms + 8 * 86_400_000)
    assert await house.rows("SELECT 1 FROM requests") == []


async def test_devices_are_listed_by_selection_state_and_version(house: House) -> None:
    """Within the asker's scope, in pages that a forged cursor does not open."""
    for site, name in (("shop", "a"), ("shop", "b"), ("mall", "c")):
        await house.device(site, name)
    viewer, narrow = await house.program("viewer"), await house.program("viewer", ["mall"])

    async def names(headers: dict[str, str], **params: object) -> list[str]:
        answer = await house.http.get("/v1/devices", params=params, headers=headers)
        assert answer.status_code == 200, answer.text
        return [row["device"] for row in answer.json()["devices"]]

    assert await names(viewer) == ["c", "a", "b"]
    assert await names(narrow) == ["c"]
    assert await names(viewer, q="site:shop -device:a") == ["b"]
    assert await names(viewer, state="dark") == []
    assert await names(viewer, version="99") == []
    first = (await house.http.get("/v1/devices", params={"limit": 1}, headers=viewer)).json()
    assert await names(viewer, cursor=first["next_cursor"]) == ["a", "b"]
    assert await names(narrow, cursor=first["next_cursor"]) == []
    for forged in (first["next_cursor"][:-2] + "xx", "x", "é", "A" * 900):
        answer = await house.http.get("/v1/devices", params={"cursor": forged}, headers=viewer)
        assert answer.status_code == 400
    other = {"cursor": first["next_cursor"], "state": "ok"}
    assert (await house.http.get("/v1/devices", params=other, headers=viewer)).status_code == 400


async def test_zones_of_the_devices_own_file_are_known_once_it_told_them(house: House) -> None:
    """Before it is asked by name alone, then with outlines, until central draws its own."""
    device = await house.device(name="box")
    operator = await house.program("operator")
    till = Zone(name="till", polygon=[(0.1, 0.1), (0.5, 0.1), (0.5, 0.5)])
    counts = [
        CountRow(what=name, kind="entered", label="person", value=1) for name in ("till", "x")
    ]
    left, drawn = CameraSettings(camera="hall"), CameraSettings(camera="hall", zones=[], lines=[])

    async def own(settings: CameraSettings) -> own_shapes.OwnShapes:
        async with house.db.transaction() as tx:
            return await own_shapes.read(tx, "box", settings, counts)

    assert await own(left) == own_shapes.OwnShapes(elsewhere=["till", "x"])
    for zones in ([], [till]):
        told = {"cameras": [{"id": "hall", "zones": zones, "lines": []}]}
        body = msgspec.json.encode(wire.ConfigAnswer(config=told, documents=[], origins=[]))
        request = await house.ask(operator, kind="config")
        assert await send(device, request, body, wire.JSON) == 204
        house.clock.advance(1)
    found = await own(left)
    assert (found.zones, found.lines, found.elsewhere) == ([till], [], ["x"])
    assert found.told_ms == house.now_ms - 1000
    assert await own(drawn) == own_shapes.OwnShapes()
