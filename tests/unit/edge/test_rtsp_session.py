"""The conversation with cameras and with what only looks like one, over real sockets."""

import contextlib
import hashlib
import random
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.clock import NS_PER_S, SystemClock
from vedette.edge.capture.packets import StreamInfo
from vedette.edge.capture.rtsp import CameraSource, address, description
from vedette.edge.capture.rtsp.refusal import NotOurs
from vedette.edge.capture.rtsp.session import Session
from vedette.edge.capture.rtsp.stream import CameraStream
from vedette.edge.capture.rtsp.wire import Wire
from vedette.edge.capture.seam import Loss, SourceLost
from vedette.edge.capture.still import new_context

URL = "rtsp://ann:hunter2@camera.example/live?channel=1"
SDP = (
    "v=0\r\ns=x\r\na=control:*\r\n"
    "m=audio 0 RTP/AVP 0\r\na=control:sound\r\n"
    "m=video 0 RTP/AVP 26 96\r\na=rtpmap:96 H264/90000\r\n"
    "a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0IACpY1QKD/,aM48gA==\r\n"
    "a=control:trackID=2\r\n"
)
CLOCK = SystemClock()


def answer(sequence: int, *fields: str, status: int = 200, body: str = "") -> bytes:
    """Return one answer."""
    lines = [f"RTSP/1.0 {status} Said", f"CSeq: {sequence}", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def frame(channel: int, payload: bytes) -> bytes:
    """Return an interleaved frame."""
    return b"$" + bytes((channel,)) + len(payload).to_bytes(2, "big") + payload


def picture(sequence: int, *, key: bool = True) -> bytes:
    """Return a frame whose RTP packet is a whole picture."""
    head = struct.pack("!BBHII", 0x80, 0xE0, sequence, 18_000 * sequence, 7)
    return frame(0, head + (b"\x65\x88" if key else b"\x41\x9a") + b"picture")


SETUP = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
HELLO = (
    answer(1, "Public: OPTIONS, GET_PARAMETER")
    + answer(2, "Content-Type: application/sdp", body=SDP)
    + answer(3, SETUP, "Session: abc;timeout=60")
    + answer(4, "Session: abc")
)


class Camera:
    """The other end of a socket: says what it was told to, whatever it is asked."""

    def __init__(self, said: bytes, *, open_s: float = 1.0, url: str = URL) -> None:
        ours, self.end = socket.socketpair()
        self.end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.end.settimeout(5)
        self.end.sendall(said)
        self.end.shutdown(socket.SHUT_WR)
        deadline_ns = CLOCK.mono_ns() + round(open_s * NS_PER_S)
        self.session = Session(Wire(ours, CLOCK), address.read(url), CLOCK, deadline_ns)

    def stream(self) -> CameraStream:
        """Go up to PLAY."""
        assert self.session.describe() == ""
        self.session.play()
        return CameraStream(self.session, CLOCK, 1.0)

    def asked(self) -> str:
        """Return everything that was asked."""
        self.session.close()
        asked = b""
        while part := self.end.recv(65_536):
            asked += part
        return asked.decode()

    def close(self) -> None:
        """Hang up at both ends."""
        self.session.close()
        self.end.close()


Make = Callable[..., Camera]


@pytest.fixture
def camera() -> Iterator[Make]:
    """Make cameras that are closed at the end."""
    made: list[Camera] = []

    def make(said: bytes, **options: float) -> Camera:
        made.append(Camera(said, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def pictures(
    stream: CameraStream, then: Callable[[], None] = lambda: None
) -> tuple[list[av.Packet], SourceLost]:
    """Return what comes until the end, and the end; `then` is done after each picture."""
    found: list[av.Packet] = []
    packets = stream.packets()
    while True:
        try:
            found.append(next(packets))
        except SourceLost as lost:
            return found, lost
        then()


def test_the_video_is_set_up_and_played_beside_a_track_of_sound(camera: Make) -> None:
    """Addresses as cameras mean them, the password in none of them, goodbye at the end."""
    one = camera(HELLO + picture(1) + picture(2, key=False))
    stream = one.stream()
    assert stream.info.codec == "h264"
    found, lost = pictures(stream)
    assert [(p.pts, p.dts, p.is_keyframe) for p in found] == [(0, 0, True), (18_000, 18_000, False)]
    assert lost.reason is Loss.CLOSED
    asked = one.asked()
    uri = "rtsp://camera.example/live?channel=1"
    assert re.findall(r"^([A-Z]+) (\S+) RTSP/1.0\r$", asked, re.MULTILINE) == [
        ("OPTIONS", uri),
        ("DESCRIBE", uri),
        ("SETUP", f"{uri}/trackID=2"),
        ("PLAY", uri),
        ("TEARDOWN", uri),
    ]
    assert asked.count("Session: abc\r\n") == 2
    assert "hunter2" not in asked


def test_pictures_before_the_answer_to_play_are_not_lost(camera: Make) -> None:
    """Some cameras send at once and answer after it."""
    begin = HELLO.index(b"RTSP/1.0 200 Said\r\nCSeq: 4")
    one = camera(HELLO[:begin] + picture(1) + HELLO[begin:] + picture(2))
    found, _ = pictures(one.stream())
    assert len(found) == 2


def test_answers_requests_and_spilled_bytes_between_pictures_are_passed_over(camera: Make) -> None:
    """Other channels, a late answer, a request of the server, noise: the pictures go on."""
    between = (
        frame(1, b"\x80\xc8report") + answer(9) + b"OPTIONS * RTSP/1.0\r\nCSeq: 5\r\n\r\n"
        b"\x00\x01spilled\xff" + frame(0, b"short") + b"\r\n"
    )
    one = camera(HELLO + picture(1) + between + picture(2))
    found, lost = pictures(one.stream())
    assert [bytes(p) for p in found] == [b"\x00\x00\x00\x01\x65\x88picture"] * 2
    assert lost.reason is Loss.CLOSED
    assert "RTSP/1.0 501" in one.asked()


def test_every_picture_of_a_long_stream_is_whole() -> None:
    """More than the buffer holds, in pieces that end anywhere: nothing is lost or mixed up."""
    ours, end = socket.socketpair()
    rng = random.Random(3)
    wanted = [b"\x65\x88" + rng.randbytes(rng.randrange(1, 60_000)) for _ in range(60)]
    heads = [struct.pack("!BBHII", 0x80, 0xE0, n, 3600 * n, 7) for n in range(60)]
    said = HELLO + b"".join(frame(0, h + u) for h, u in zip(heads, wanted, strict=True))

    def say() -> None:
        with end:
            for at in range(0, len(said), 3_333):
                end.sendall(said[at : at + 3_333])
            end.shutdown(socket.SHUT_WR)
            while end.recv(4096):
                pass

    speaker = threading.Thread(target=say)
    speaker.start()
    deadline_ns = CLOCK.mono_ns() + 5 * NS_PER_S
    session = Session(Wire(ours, CLOCK), address.read(URL), CLOCK, deadline_ns)
    assert session.describe() == ""
    session.play()
    found, lost = pictures(CameraStream(session, CLOCK, 5.0))
    session.close()
    speaker.join(5)
    assert [bytes(packet)[4:] for packet in found] == wanted
    assert lost.reason is Loss.CLOSED


def test_lost_packets_make_the_packet_corrupt(camera: Make) -> None:
    """The decoder's side learns which picture is not whole."""
    head = struct.pack("!BBHII", 0x80, 0x60, 2, 0, 7)
    part = frame(0, head + b"\x7c\x85\x88begin")
    tail = frame(0, struct.pack("!BBHII", 0x80, 0xE0, 4, 0, 7) + b"\x7c\x45end")
    one = camera(HELLO + part + tail + picture(5))
    found, _ = pictures(one.stream())
    assert [packet.is_corrupt for packet in found] == [True, False]
    assert b"end" not in bytes(found[0])


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_a_password_is_said_as_a_digest_and_counted(camera: Make, algorithm: str) -> None:
    """Each request answers the challenge for itself: method, address, count."""
    ask = (
        'WWW-Authenticate: Digest realm="cam", nonce="n1", qop="auth,auth-int", '
        f"algorithm={algorithm}"
    )
    said = (
        answer(1)
        + answer(2, ask, 'WWW-Authenticate: Basic realm="cam"', status=401)
        + answer(3, body=SDP)
        + answer(4, SETUP, "Session: abc")
        + answer(5)
    )
    one = camera(said)
    one.stream()
    asked = one.asked()
    assert "Basic" not in asked
    assert "hunter2" not in asked
    digest = hashlib.md5 if algorithm == "MD5" else hashlib.sha256
    counts: list[str] = []
    for method, uri, line in re.findall(
        r"^([A-Z_]+) (\S+) RTSP/1.0\r\n(?:.+\r\n)*?Authorization: Digest (.*)\r\n",
        asked,
        re.MULTILINE,
    ):
        said_fields = dict(re.findall(r'(\w+)="?([^",]+)"?', line))
        one_hash = digest(b"ann:cam:hunter2").hexdigest()
        two_hash = digest(f"{method}:{uri}".encode()).hexdigest()
        parts = [one_hash, "n1", said_fields["nc"], said_fields["cnonce"], "auth", two_hash]
        assert said_fields["response"] == digest(":".join(parts).encode()).hexdigest()
        counts.append(said_fields["nc"])
    assert counts == ["00000001", "00000002", "00000003", "00000004"]


def test_a_wrong_password_is_asked_for_once(camera: Make) -> None:
    """The same challenge again is a refusal, not a reason to try for ever."""
    ask = 'WWW-Authenticate: Basic realm="cam"'
    one = camera(answer(1) + answer(2, ask, status=401) + answer(3, ask, status=401) * 9)
    with pytest.raises(SourceLost) as caught:
        one.stream()
    assert caught.value.reason is Loss.UNAUTHORISED
    assert one.asked().count("DESCRIBE") == 2


def test_the_session_is_kept_alive_before_the_server_forgets_it(camera: Make) -> None:
    """At half the server's time limit, in the session, as the server says it can."""
    one = camera(HELLO.replace(b"timeout=60", b"timeout=1"))
    stream = one.stream()
    first_due_ns = one.session.due_ns
    assert first_due_ns - CLOCK.mono_ns() <= NS_PER_S
    one.session._due_ns = CLOCK.mono_ns()
    one.session.keep_alive()
    assert one.session.due_ns > CLOCK.mono_ns()
    one.session.keep_alive()
    stream.close()
    asked = one.asked()
    assert asked.count("GET_PARAMETER rtsp://camera.example/live?channel=1 RTSP/1.0") == 1
    assert asked.count("Session: abc\r\n") == 3


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Loss.GARBAGE),
        (b"RTSP/1.0 200 OK\r\n" + b"X: y\r\n" * 9000, Loss.GARBAGE),
        (b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 99999999\r\n\r\n", Loss.GARBAGE),
        (b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: -1\r\n\r\n", Loss.GARBAGE),
        (b"RTSP/1.0 2x0 OK\r\nCSeq: 1\r\n\r\n", Loss.GARBAGE),
        (answer(7) * 100, Loss.GARBAGE),
        (frame(0, b"x" * 60) * 5000, Loss.GARBAGE),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 5\r\n\r\n" * 60, Loss.GARBAGE),
        (answer(1) + answer(2, body="v=0\r\nm=audio 0 RTP/AVP 0\r\n"), Loss.NO_VIDEO),
        (answer(1) + answer(2, body="<html>"), Loss.GARBAGE),
        (answer(1) + answer(2, status=404), Loss.NOT_FOUND),
        (answer(1) + answer(2, status=503), Loss.FAILED),
        (answer(1) + answer(2, body=SDP) + answer(3, status=453), Loss.FAILED),
        (answer(1) + answer(2, body=SDP) + answer(3, SETUP, "Session: a\x01b"), Loss.GARBAGE),
        (
            answer(1) + answer(2, body=SDP.replace("trackID=2", "rtsp://x/\x7f e")),
            Loss.GARBAGE,
        ),
        (b"", Loss.CLOSED),
        (HELLO[:60], Loss.CLOSED),
    ],
)
def test_what_is_no_camera_is_said_in_words(camera: Make, said: bytes, reason: Loss) -> None:
    """Every lie ends at a limit, with a reason, and without the password."""
    with pytest.raises(SourceLost) as caught:
        camera(said).stream()
    assert caught.value.reason is reason
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        answer(1) + answer(2, body=SDP) + answer(3, status=461),
        answer(1) + answer(2, body=SDP) + answer(3, "Transport: RTP/AVP;unicast;client_port=1-2"),
        answer(1) + answer(2, body=SDP.replace("H264", "VP8")),
        answer(1) + answer(2, body=SDP.replace("RTP/AVP 26", "RTP/SAVP 26")),
        answer(1) + answer(2, body=SDP.replace("mode=1", "mode=2")),
    ],
)
def test_what_only_ffmpeg_can_is_left_to_it(camera: Make, said: bytes) -> None:
    """Another transport, codec, encryption, order."""
    with pytest.raises(NotOurs):
        camera(said).stream()


@given(st.binary(max_size=400), st.integers(0, 4))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_raise_nothing_but_a_loss(noise: bytes, after: int) -> None:
    """Noise at any point of the conversation."""
    starts = [match.start() for match in re.finditer(b"RTSP/1.0 200", HELLO)]
    starts.append(len(HELLO))
    one = Camera(HELLO[: starts[after]] + noise)
    try:
        pictures(one.stream())
    except SourceLost:
        pass
    finally:
        one.close()


@given(st.lists(st.binary(max_size=60), max_size=20), st.integers(0, 3))
@settings(max_examples=100)
def test_random_frames_raise_nothing_but_a_loss(payloads: list[bytes], skip: int) -> None:
    """Interleaved frames of noise, some with a correct head of RTP."""
    said = HELLO
    for number, payload in enumerate(payloads):
        head = struct.pack("!BBHII", 0x80, 0xE0, number * (skip + 1), number, 7)
        said += frame(number % 3, head + payload if number % 2 else payload)
    one = Camera(said)
    try:
        _, lost = pictures(one.stream())
        assert lost.reason in (Loss.CLOSED, Loss.GARBAGE)
    finally:
        one.close()


@given(st.text(max_size=400) | st.binary(max_size=300).map(lambda b: b.decode("latin-1")))
def test_random_descriptions_raise_nothing_but_a_loss(text: str) -> None:
    """Alone and as the tail of a proper one."""
    for whole in (text, SDP + text, "m=video 0 RTP/AVP 96\r\na=" + text):
        try:
            description.read(whole.encode("utf-8", "replace"))
        except SourceLost:
            continue


@pytest.mark.parametrize(
    ("line", "fps"),
    [("framerate:25", 25.0), ("x-framerate: 12.5", 12.5), ("framerate:0", None),
     ("framerate:1e9", None), ("framerate:-5", None), ("framerate:٢٥", None)],
)  # fmt: skip
def test_the_announced_rate_is_taken_where_a_camera_can_have_it(line: str, fps: float) -> None:
    """As the description says it; nonsense is no rate."""
    _, track = description.read((SDP + f"a={line}\r\n").encode())
    assert track.fps == fps


def test_a_silent_camera_ends_the_wait_whatever_drips_in() -> None:
    """Reports alone are no pictures: the deadline of the next picture holds."""
    ours, end = socket.socketpair()
    end.sendall(HELLO + picture(1))
    deadline_ns = CLOCK.mono_ns() + NS_PER_S
    session = Session(Wire(ours, CLOCK), address.read(URL), CLOCK, deadline_ns)
    assert session.describe() == ""
    session.play()
    stream = CameraStream(session, CLOCK, 0.2)
    found, lost = pictures(stream, lambda: end.sendall(frame(1, b"report") * 50))
    assert lost.reason is Loss.TIMEOUT
    assert len(found) == 1
    session.close()
    end.close()


@pytest.mark.parametrize(
    ("start", "location", "leads"),
    [
        ("rtsp://a:b@one/x", "rtsp://one/y", ("rtsp", "one", 554, ("a", "b"))),
        ("rtsp://a:b@one/x", "rtsp://two/y", ("rtsp", "two", 554, None)),
        ("rtsp://a:b@one/x", "rtsp://one:555/y", ("rtsp", "one", 555, None)),
        ("rtsp://a:b@one/x", "rtsps://one/y", ("rtsps", "one", 322, None)),
        ("rtsps://a:b@one/x", "rtsp://one/y", None),
        ("rtsp://a:b@one/x", "http://one/y", None),
        ("rtsp://a:b@one/x", "file:///etc/passwd", None),
        ("rtsp://a:b@one/x", "", None),
        ("rtsp://a:b@one/x", "rtsp://[::1/y", None),
    ],
)
def test_a_redirect_leads_to_rtsp_only_and_the_password_stays(
    start: str, location: str, leads: tuple[object, ...] | None
) -> None:
    """Never down from encryption, never to files, never with the password to another server."""
    if leads is None:
        with pytest.raises(SourceLost) as caught:
            address.follow(address.read(start), location)
        assert caught.value.reason is Loss.MOVED
        return
    found = address.follow(address.read(start), location)
    assert (found.scheme, found.host, found.port, found.login) == leads


@pytest.mark.parametrize(
    ("base", "control", "found"),
    [
        ("rtsp://c/a", "*", "rtsp://c/a"),
        ("rtsp://c/a", "t1", "rtsp://c/a/t1"),
        ("rtsp://c/a/", "t1", "rtsp://c/a/t1"),
        ("rtsp://c/a?x=1&y=0", "trackID=3", "rtsp://c/a?x=1&y=0/trackID=3"),
        ("rtsp://c/a/b", "/t1", "rtsp://c/t1"),
        ("rtsp://c/a", "rtsp://u:p@d/t1", "rtsp://d/t1"),
    ],
)
def test_tracks_are_found_as_cameras_mean_them(base: str, control: str, found: str) -> None:
    """Relative, absolute, with a query."""
    assert address.resolve(base, control) == found


class Other:
    """A second client that notes how often it was asked."""

    name = "other"
    live = True
    asked = 0
    info = StreamInfo("vp8", b"")
    codec_context = new_context("mjpeg")

    def open(self) -> "Other":
        """Open."""
        self.asked += 1
        return self

    def packets(self) -> Iterator[av.Packet]:
        """Give nothing."""
        yield from ()

    def close(self) -> None:
        """Nothing to close."""


def _listen(said: bytes, connections: int) -> tuple[str, threading.Thread]:
    """Return the address of a camera that says so to so many clients, and its thread."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server:
            for _ in range(connections):
                guest, _ = server.accept()
                with guest, contextlib.suppress(ConnectionError):
                    guest.settimeout(5)
                    guest.sendall(said)
                    while guest.recv(4096):
                        pass

    thread = threading.Thread(target=serve)
    thread.start()
    return f"rtsp://127.0.0.1:{server.getsockname()[1]}/x", thread


def test_the_other_client_takes_over_for_a_codec_that_is_not_ours() -> None:
    """At once, and for as long as it can open the camera."""
    body = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"
    url, thread = _listen(answer(1) + answer(2, body=body), 1)
    other = Other()
    source = CameraSource(url, 2.0, 1.0, CLOCK, other=other)
    assert source.open() is other
    thread.join(5)
    assert source.open() is other


def test_the_other_client_has_one_turn_after_what_was_not_understood() -> None:
    """Garbage once must not cost the camera its own client for ever."""
    url, thread = _listen(b"\x00" * 60, 2)
    other = Other()
    source = CameraSource(url, 2.0, 1.0, CLOCK, other=other)
    for _ in range(2):
        with pytest.raises(SourceLost):
            source.open()
        assert source.open() is other
    thread.join(5)
    assert other.asked == 2


@pytest.mark.parametrize("then", [b"", b"\x00" * 200, frame(0, b"noise") + b"!" * 2_000_000])
def test_the_other_client_has_a_turn_after_a_session_without_pictures(
    then: bytes,
) -> None:
    """PLAY was answered, but what came was nothing, or nothing that is RTP."""
    url, thread = _listen(HELLO + then, 1)
    other = Other()
    source = CameraSource(url, 2.0, 0.1, CLOCK, other=other)
    stream = source.open()
    with pytest.raises(SourceLost):
        next(iter(stream.packets()))
    stream.close()
    thread.join(5)
    assert source.open() is other
    assert other.asked == 1


def test_a_wrong_password_or_another_refusal_is_no_matter_for_the_other_client() -> None:
    """What one client is refused the other would be too: it is never asked."""
    url, thread = _listen(answer(1) + answer(2, status=404), 2)
    other = Other()
    source = CameraSource(url, 2.0, 1.0, CLOCK, other=other)
    for _ in range(2):
        with pytest.raises(SourceLost):
            source.open()
    thread.join(5)
    assert other.asked == 0
