"""The commissioning page: who gets in, what an answer answers, and what nobody gets to see."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio.from_thread
import cv2
import httpx
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.edge.conftest import make_frame
from vedette.clock import ManualClock
from vedette.edge.commission import CommissionRecord, save
from vedette.edge.commission.page import app as pages
from vedette.edge.commission.page.desk import SAFE_COLUMNS, Abandoned, WebDesk
from vedette.edge.commission.page.floor import CameraLine, Floor
from vedette.edge.commission.page.html import list_page
from vedette.edge.commission.page.serve import address_of
from vedette.edge.commissioned import Telling
from vedette.edge.settings import Camera, EdgeConfig
from vedette.errors import ConfigError, StreamLost
from vedette.wire.messages import CommissionReport

PIN = "271828"
ON_SITE = ("192.168.7.20", 50_000)


class Phone:
    """A browser without script, at an address."""

    def __init__(self, app: object, client: tuple[str, int], host: str) -> None:
        self._made = {
            "transport": httpx.ASGITransport(app, client=client, raise_app_exceptions=False),
            "base_url": f"http://{host}",
        }
        self.cookies: dict[str, str] = {}

    def get(self, path: str) -> httpx.Response:
        """Open a page."""
        return self._send("GET", path)

    def post(self, path: str, **form: object) -> httpx.Response:
        """Press a button; follow where it leads."""
        follow = bool(form.pop("follow_redirects", True))
        return self._send("POST", path, follow_redirects=follow, **form)

    def _send(self, method: str, path: str, **more: object) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(**self._made, cookies=self.cookies) as client:
                answer = await client.request(method, path, **more)
                self.cookies = dict(client.cookies)
                return answer

        with anyio.from_thread.start_blocking_portal() as portal:
            return portal.call(send)


class Site:
    """A page over a session that asks one question, and phones that open it."""

    def __init__(self, folder: Path, *, clear: bool = False) -> None:
        self.clock = ManualClock()
        self.config = EdgeConfig(
            state_dir=folder,
            models_dir=folder,
            cameras=[Camera(id="door", name="<b>Door</b>"), Camera(id="dead")],
        )
        self.answers: list[object] = []
        self.floor = Floor(self.config, self.clock, self._take, clear=clear)
        self.app = pages.build(self.floor, PIN, self.clock, device="closet-1")

    def _take(self, camera: Camera, desk: WebDesk, by: str) -> CommissionRecord:
        if camera.id == "dead":
            raise StreamLost("camera dead: connection refused", operator_hint="look at its cable")
        desk.begin("view", "What the camera sees.")
        self.answers.append(desk.confirm("Is this the view?"))
        self.answers.append(desk.count("3 boxes. How many are wrong?", 3))
        record = CommissionRecord(camera=camera.id, at_ms=1_000, by=by, confirmed=["view"])
        save(self.config.state_dir, record, None)
        return record

    def phone(self, client: tuple[str, int] = ON_SITE, host: str = "192.168.7.2:8090") -> Phone:
        return Phone(self.app, client, host)

    def inside(self) -> Phone:
        phone = self.phone()
        assert phone.post("/pin", data={"pin": PIN}).status_code == 200
        return phone

    def asked(self, number: int) -> None:
        """Wait until this question is open."""
        desk = self.floor.desk
        assert desk is not None
        shown = desk.shown
        while shown.question is None or shown.question.number != number:
            shown = desk.newer(shown.version, 20)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A page that shows nothing clearly."""
    made = Site(tmp_path)
    yield made
    made.floor.stop()


def csrf_of(html: str) -> str:
    """Return the token that the forms of a page carry."""
    found = re.search(r'name="csrf" value="([^"]+)"', html)
    assert found
    return found[1]


def test_a_camera_is_commissioned_from_a_phone(site: Site) -> None:
    """PIN, name, yes, a number: the record has them, and the list says what came of it."""
    phone = site.inside()
    token = csrf_of(phone.get("/").text)
    started = phone.post("/start", data={"csrf": token, "camera": "door", "by": "Ann"})
    assert "1/7 View" in started.text or "awaited" in started.text
    site.asked(1)
    phone.post("/answer", data={"csrf": token, "question": "1", "answer": "yes"})
    site.asked(2)
    desk = site.floor.desk
    assert desk is not None
    phone.post("/answer", data={"csrf": token, "question": "2", "answer": "count", "count": "2"})
    desk.newer(-1, 0)
    while site.floor.desk is not None:
        desk.newer(desk.shown.version, 0.05)
    assert site.answers == [True, 2]
    assert site.floor.done is not None
    assert site.floor.done.by == "Ann"
    html = phone.get("/").text
    assert "door is stored" in html
    assert "<b>Door</b>" not in html


def test_a_camera_that_gives_nothing_is_told_with_what_to_do(site: Site) -> None:
    """Its reason and its hint stand on the list; nothing was stored."""
    phone = site.inside()
    token = csrf_of(phone.get("/").text)
    phone.post("/start", data={"csrf": token, "camera": "dead", "by": ""})
    site.floor.stop()
    html = phone.get("/").text
    assert "connection refused" in html
    assert "look at its cable" in html


def test_an_answer_belongs_to_one_question(site: Site) -> None:
    """Pressed twice, too late, too large or of another kind: it answers nothing."""
    phone = site.inside()
    token = csrf_of(phone.get("/").text)
    phone.post("/start", data={"csrf": token, "camera": "door", "by": ""})
    site.asked(1)
    desk = site.floor.desk
    assert desk is not None
    for number, answer in ((7, True), (0, True), (1, 3)):
        assert not desk.answer(number, answer)
    assert desk.answer(1, False)
    assert not desk.answer(1, True)
    site.asked(2)
    for number, answer in ((1, True), (2, 4), (2, -1), (2, True)):
        assert not desk.answer(number, answer)
    phone.post("/answer", data={"csrf": token, "question": "2", "answer": "count", "count": "٣"})
    assert desk.answer(2, 0)


def test_breaking_off_stores_nothing(site: Site) -> None:
    """The session ends, the list says so, and there is no record."""
    phone = site.inside()
    token = csrf_of(phone.get("/").text)
    phone.post("/start", data={"csrf": token, "camera": "door", "by": ""})
    site.asked(1)
    html = phone.post("/stop", data={"csrf": token}).text
    assert "ended before its last step" in html
    assert not (site.config.state_dir / "commission" / "door").exists()


def test_nobody_gets_in_without_the_pin(site: Site) -> None:
    """No page but the PIN's, no picture, no state, no form."""
    phone = site.phone()
    assert "Six digits" in phone.get("/").text
    assert phone.get("/state").status_code == 401
    assert phone.get("/view.jpg").status_code == 401
    for path in ("/start", "/answer", "/stop", "/leave"):
        assert phone.post(path, data={"csrf": "x"}).status_code == 401
    phone.cookies[pages.COOKIE] = "invented"
    assert phone.get("/view.jpg").status_code == 401


def test_guessing_the_pin_locks_it_for_everybody_for_a_minute(site: Site) -> None:
    """Five wrong ones; then the right one is not taken either, until a minute has passed."""
    for _ in range(pages.MAX_GUESSES):
        assert site.phone().post("/pin", data={"pin": "000000"}).status_code == 403
    locked = site.phone().post("/pin", data={"pin": PIN})
    assert locked.status_code == 403
    assert "Wait a minute" in locked.text
    site.clock.advance(pages.LOCKED_S + 1)
    assert site.phone().post("/pin", data={"pin": PIN}).status_code == 200


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "unix"])
def test_nobody_from_outside_the_site_gets_an_answer(site: Site, address: str) -> None:
    """A forwarded port shows nothing, whatever the PIN."""
    phone = site.phone(client=(address, 1))
    assert phone.post("/pin", data={"pin": PIN}).status_code == 403
    assert "site" in phone.get("/").text


def test_a_page_elsewhere_cannot_use_a_name_of_its_own_or_send_forms(site: Site) -> None:
    """DNS rebinding and forged forms are refused."""
    assert site.phone(host="evil.example").get("/").status_code == 403
    phone = site.inside()
    assert phone.post("/start", data={"camera": "door"}).status_code == 403
    assert phone.post("/start", data={"csrf": "guess", "camera": "door"}).status_code == 403
    assert site.floor.desk is None
    cookie = site.phone().post("/pin", data={"pin": PIN}, follow_redirects=False)
    said = cookie.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said


@pytest.mark.parametrize(
    "body", [b"x" * 5_000, b"\xff\xfe", b"&".join([b"a=1"] * 40), b"pin=" + b"9" * 4_000]
)
def test_forms_that_are_none_are_refused(site: Site, body: bytes) -> None:
    """Too large, not text, too many fields: 403, and never a failure of the server."""
    assert site.phone().post("/pin", content=body).status_code == 403


@pytest.mark.parametrize("path", ["/..%2fapp.py", "/app.py", "/desk.py", "/nothing", "/page.css/x"])
def test_only_style_and_script_are_files(site: Site, path: str) -> None:
    """No other name leads to a file."""
    assert site.inside().get(path).status_code == 404


def test_clear_pictures_are_for_where_they_were_allowed(tmp_path: Path) -> None:
    """Without the option, `kind=clear` is nothing; what is reduced has 96 columns of detail."""
    noise = np.random.default_rng(7).integers(0, 255, (270, 480, 3), dtype=np.uint8)
    frame = make_frame(ManualClock(), noise, 0.0)
    desk = WebDesk(ManualClock(), Camera(id="door"), clear=False)
    desk.show(frame, None, "")
    assert desk.picture(clear=True) == b""
    assert desk.picture(clear=False)
    allowed = WebDesk(ManualClock(), Camera(id="door"), clear=True)
    allowed.show(frame, None, "")
    reduced, clear = allowed.picture(clear=False), allowed.picture(clear=True)
    assert _detail(clear) > 3 * _detail(reduced)
    assert SAFE_COLUMNS == 96
    site = Site(tmp_path)
    page = site.inside()
    assert page.get("/view.jpg?kind=clear").status_code == 404


def _detail(jpeg: bytes) -> float:
    """Return how much neighbouring pixels differ: squares of one colour have little."""
    grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE).astype(np.float64)
    return float((np.abs(np.diff(grey, axis=1)) > 12).mean())


@given(
    text=st.text(max_size=40), state=st.sampled_from(["never", "complete", "incomplete", "changed"])
)
def test_names_never_become_markup(text: str, state: str) -> None:
    """Whatever a camera is called."""
    line = CameraLine(camera="door", name=f"<img src=x onerror=1>{text}", state=state, record=None)
    html = list_page("d", [line], "c", done=None, failed=None, by='"><script>')
    assert "<img src=x" not in html
    assert "<script>" not in html


@pytest.mark.parametrize("text", ["0.0.0.0:http", "example.com:80", "0.0.0.0:70000", ""])
def test_where_to_listen_is_an_address(text: str) -> None:
    """Anything else is said to be none, with an example."""
    with pytest.raises(ConfigError) as found:
        address_of(text)
    assert found.value.operator_hint


def test_a_desk_that_is_left_ends_the_session() -> None:
    """Closed while a question is open: no answer is made up."""
    desk = WebDesk(ManualClock(), Camera(id="door"), clear=False)
    ended: list[type[BaseException]] = []

    def sit() -> None:
        try:
            desk.confirm("Is it?")
        except Abandoned as error:
            ended.append(type(error))

    thread = threading.Thread(target=sit)
    thread.start()
    desk.newer(0, 20)
    desk.close()
    thread.join(20)
    assert ended == [Abandoned]


# ------------------------------------------------------------------------------ telling central


def test_each_record_is_told_once_also_after_a_restart(tmp_path: Path) -> None:
    """A new record is told at the next look; the same one is not, nor after the agent's restart."""
    told: list[CommissionReport] = []
    put = lambda _schema, report: told.append(report)  # noqa: E731
    telling = Telling(tmp_path, put)
    assert telling.tell(["door"]) == 0
    record = CommissionRecord(
        camera="door", at_ms=1_000, by="Ann", confirmed=["view"], skipped=["focus"]
    )
    save(tmp_path, record, None)
    assert telling.tell(["door", "other"]) == 1
    assert telling.tell(["door"]) == 0
    assert Telling(tmp_path, put).tell(["door"]) == 0
    save(tmp_path, msgspec.structs.replace(record, at_ms=2_000), None)
    assert Telling(tmp_path, put).tell(["door"]) == 1
    assert [(one.camera, one.at_ms, one.by) for one in told] == [
        ("door", 1_000, "Ann"),
        ("door", 2_000, "Ann"),
    ]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"format": 9}', b"[]", b"x" * 5_000_000])
def test_a_record_that_cannot_be_read_is_passed_over(tmp_path: Path, data: bytes) -> None:
    """Broken, of another format, or far too large: nothing is told and nothing fails."""
    folder = tmp_path / "commission" / "door"
    folder.mkdir(parents=True)
    (folder / "record.json").write_bytes(data)
    (tmp_path / "commission" / "told.json").write_bytes(data[:100])
    assert Telling(tmp_path, lambda *_: None).tell(["door"]) == 0
