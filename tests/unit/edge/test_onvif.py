"""Asking a camera what it is: real sockets, right and wrong logins, and hostile answers."""

import logging
import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.clock import ManualClock, SystemClock
from vedette.edge.identity import Identity, by_server
from vedette.edge.onvif import client, soap
from vedette.edge.onvif.inquiry import Inquirer
from vedette.edge.onvif.soap import NotOnvif
from vedette.sim.onvif import OnvifCamera

LOGIN = ("olga & co", "p<ss word")
ACME = Identity(
    make="ACME", model="Eye 3 & more", firmware="9.80.1", serial="ACCC8E000001"
)  # fmt: skip


def ask(camera: OnvifCamera, login: tuple[str, str] | None = LOGIN) -> Identity:
    """Ask a camera on this machine."""
    return client.ask("127.0.0.1", login, SystemClock(), ports=[camera.port])


def test_a_camera_says_what_it_is_though_its_clock_is_wrong_by_years() -> None:
    """The digest is made for the camera's own time; the password is in no request."""
    with OnvifCamera(login=LOGIN, now=datetime(2019, 7, 1, 23, 59, 58, tzinfo=UTC)) as camera:
        assert ask(camera) == ACME
        assert ask(camera) == ACME, "each question has its own nonce"
    assert not any("p&lt;ss" in body or LOGIN[1] in body for body in camera.seen)
    times = [body for body in camera.seen if "GetSystemDateAndTime" in body]
    assert all("UsernameToken" not in body for body in times)


def test_a_camera_at_the_end_of_time_ends_no_thread() -> None:
    """A second after the last one that there is a date for; the next camera is still asked."""

    class Slow(SystemClock):
        seconds = 0

        def now_at(self) -> datetime:
            self.seconds += 1
            return datetime(2026, 3, 2, 8, 0, self.seconds, tzinfo=UTC)

    end_at = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    with (
        OnvifCamera(login=LOGIN, now=end_at) as camera,
        pytest.raises(NotOnvif, match="no ONVIF service"),
    ):
        client.ask("127.0.0.1", LOGIN, Slow(), ports=[camera.port])


def test_a_camera_without_users_needs_no_login() -> None:
    """No login, no token."""
    with OnvifCamera() as camera:
        assert ask(camera, None) == ACME
    assert all("UsernameToken" not in body for body in camera.seen)


def test_a_wrong_password_is_refused_once_and_not_tried_again() -> None:
    """Two requests, one of them with a token: a camera must not lock the user out."""
    with OnvifCamera(login=LOGIN) as camera:
        with pytest.raises(NotOnvif, match="refuses"):
            ask(camera, (LOGIN[0], "wrong"))
        assert len(camera.seen) == 2


def answer(body: str) -> bytes:
    """Return a body inside an envelope."""
    return f"<e:Envelope xmlns:e='x'><e:Body>{body}</e:Body></e:Envelope>".encode()


BOMB = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>
<GetSystemDateAndTimeResponse>&b;</GetSystemDateAndTimeResponse>"""


@pytest.mark.parametrize(
    ("status", "headers", "body", "says"),
    [
        (200, {}, BOMB, "DTD or an entity"),
        (200, {}, b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "DTD or an entity"),
        (200, {}, b"<a>" * 5000, "no end"),
        (200, {}, b"<a>" + b"<b/>" * 5000 + b"</a>", "no end"),
        (200, {}, b"<a>" + b"x" * 100_000 + b"</a>", "too long"),
        (200, {}, b"<html>router login", "no XML"),
        (200, {}, b"", "no XML"),
        (200, {}, b"\xff\xfe\x00<a/>", "no XML"),
        (200, {}, b"<?xml version='1.0' encoding='x-evil'?><a/>", "no XML"),
        (200, {}, answer("<Hello/>"), "not ONVIF"),
        (302, {"Location": "http://127.0.0.1:1/steal"}, b"", "answers 302"),
        (401, {"WWW-Authenticate": 'Basic realm="x"'}, b"", "refuses user"),
        (404, {}, b"", "answers 404"),
    ],
)
def test_hostile_answers_are_refused(
    status: int, headers: dict[str, str], body: bytes, says: str
) -> None:
    """Nothing is expanded, fetched, followed or kept; the password is not said to Basic."""
    with OnvifCamera(login=LOGIN) as camera:
        camera.answer = status, {**headers, "Content-Length": str(len(body))}, body
        with pytest.raises(NotOnvif, match=says):
            ask(camera)
        assert len(camera.seen) == 1


def test_where_nobody_speaks_http_the_next_port_is_tried() -> None:
    """A closed port and one that hangs up cost no answer."""
    with OnvifCamera() as gone:
        closed = gone.port
    with OnvifCamera() as camera:
        found = client.ask("127.0.0.1", None, SystemClock(), ports=[closed, camera.port])
    assert found == ACME
    with pytest.raises(NotOnvif, match="no ONVIF service"):
        client.ask("127.0.0.1", None, SystemClock(), ports=[closed])


def test_a_body_that_drips_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The camera promises more than it sends: the question ends, and no other waits for it."""
    monkeypatch.setattr(client, "PORT_S", 0.3)
    with OnvifCamera() as camera:
        camera.answer = 200, {"Content-Length": "5000", "Connection": "keep-alive"}, b"<a>"
        with pytest.raises(NotOnvif, match=r"no ONVIF service|no XML"):
            ask(camera)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_refused(body: bytes) -> None:
    """No other error gets out of the reader."""
    for read in (soap.read_time, soap.read_identity):
        with pytest.raises(NotOnvif):
            read(body)


def test_texts_are_short_and_steer_no_terminal() -> None:
    """What a camera calls itself ends in tables and logs."""
    said = answer(
        "<GetDeviceInformationResponse><Manufacturer>" + "A\u202e" * 500 + "</Manufacturer>"
        "</GetDeviceInformationResponse>"
    )
    make = soap.read_identity(said).make
    assert make == "A" * 60


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("Hipcam RealServer/V1.0", Identity(make="Hipcam RealServer", firmware="V1.0")),
        ("GStreamer RTSP server", Identity(make="GStreamer RTSP server")),
        ("Dahua Rtsp Server/2.0 (x)", Identity(make="Dahua Rtsp Server", firmware="2.0")),
        ("", Identity()),
    ],
)
def test_a_servers_name_is_better_than_nothing(server: str, expected: Identity) -> None:
    """Product and version, without comments."""
    assert by_server(server) == expected


class Asked:
    """A camera's plan as far as the inquirer looks at it, and what was asked and told."""

    def __init__(self, source: str, port: int | None = None) -> None:
        self.told: list[Identity] = []
        self.lane = SimpleNamespace(name="door", ups=0, identify=self.told.append)
        self.capture = SimpleNamespace(source=source, onvif_port=port)
        self.calls: list[tuple[Any, ...]] = []
        self.fails = False

    def __call__(self, host: str, login: Any, _clock: Any, *, ports: Any) -> Identity:
        self.calls.append((host, login, tuple(ports)))
        if self.fails:
            raise NotOnvif("it refuses to say")
        return ACME


def test_a_camera_is_asked_once_it_gives_pictures_and_seldom_again() -> None:
    """Not before the first picture, not twice in an hour, after a day in any case."""
    clock, stop = ManualClock(), threading.Event()
    plan = Asked("rtsp://olga:a%40b@192.0.2.7:8554/live")
    asks = Inquirer([plan], clock, plan)  # type: ignore[list-item]
    asks.step(stop)
    assert plan.calls == []
    plan.lane.ups = 1
    for _ in range(3):
        asks.step(stop)
    assert plan.calls == [("192.0.2.7", ("olga", "a@b"), client.PORTS)]
    assert plan.told == [ACME]
    plan.lane.ups = 2
    asks.step(stop)
    assert len(plan.calls) == 1
    clock.advance(3601)
    asks.step(stop)
    assert len(plan.calls) == 2
    clock.advance(3601)
    asks.step(stop)
    assert len(plan.calls) == 2
    clock.advance(86_400)
    asks.step(stop)
    assert len(plan.calls) == 3


def test_a_refusal_is_logged_without_login_or_address(caplog: pytest.LogCaptureFixture) -> None:
    """One line, and the camera is left alone."""
    clock, stop = ManualClock(), threading.Event()
    plan = Asked("rtsp://olga:secret@192.0.2.7/live")
    plan.fails, plan.lane.ups = True, 1
    asks = Inquirer([plan], clock, plan)  # type: ignore[list-item]
    with caplog.at_level(logging.INFO):
        asks.step(stop)
        asks.step(stop)
    assert len(plan.calls) == 1
    assert "secret" not in caplog.text
    assert "192.0.2.7" not in caplog.text
    assert plan.told == []


@pytest.mark.parametrize(
    ("source", "port"), [("clip.mp4", None), ("/dev/video0", None), ("rtsp://192.0.2.7/x", 0)]
)
def test_who_cannot_or_shall_not_be_asked_is_not(source: str, port: int | None) -> None:
    """Files and USB cameras have no service; port 0 says no."""
    plan = Asked(source, port)
    plan.lane.ups = 1
    Inquirer([plan], ManualClock(), plan).step(threading.Event())  # type: ignore[list-item]
    assert plan.calls == []
