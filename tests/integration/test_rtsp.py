"""Our RTSP cameras, read by FFmpeg over real sockets, in health and in sickness."""

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import av
import pytest

from vedette.clock import SystemClock
from vedette.sim import footage
from vedette.sim.clip import Clip, load_clip
from vedette.sim.mount import Fault, Mount
from vedette.sim.rtsp import RtspServer
from vedette.sim.scene import covered

OPTIONS = {"rtsp_transport": "tcp", "analyzeduration": "200000", "probesize": "32768"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Two seconds of a rendered street, 320×180 at 10 fps, a keyframe each second."""
    path = tmp_path_factory.mktemp("clips") / "street.mp4"
    footage.render(path, seconds=2.0, fps=20)
    return load_clip(path)


@pytest.fixture(scope="module")
def dark(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """One second through tape, of another size."""
    path = tmp_path_factory.mktemp("clips") / "dark.mp4"
    footage.encode(path, (covered((160, 96), n / 20) for n in range(20)), fps=20)
    return load_clip(path)


@pytest.fixture
def server(clip: Clip, dark: Clip) -> Iterator[tuple[RtspServer, Mount]]:
    """One server with one camera."""
    with RtspServer(SystemClock()) as running:
        yield running, running.add("door", {"normal": clip, "dark": dark})


def _open(url: str, read_s: float = 20.0):
    return av.open(url, options=OPTIONS, timeout=(20.0, read_s))


def test_ffmpeg_reads_pictures_through_the_end_of_the_clip(
    server: tuple[RtspServer, Mount],
) -> None:
    """60 pictures of a 40-picture clip: it loops, and times go on without a step."""
    running, _ = server
    with _open(running.url("door")) as stream:
        times = []
        for frame in stream.decode(video=0):
            assert (frame.width, frame.height) == (320, 180)
            if frame.time is not None:
                times.append(frame.time)
            if len(times) >= 60:
                break
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert max(steps) < 0.06
    assert min(steps) > 0.04


def test_viewers_share_one_film_and_leave_nothing_behind(
    server: tuple[RtspServer, Mount],
) -> None:
    """Two viewers at once; when they close, the camera has none."""
    running, mount = server
    with _open(running.url("door")) as one, _open(running.url("door")) as other:
        next(one.decode(video=0))
        next(other.decode(video=0))
        assert mount.viewers == 2
    deadline = time.monotonic() + 20
    gone = threading.Event()
    while mount.viewers and time.monotonic() < deadline:
        gone.wait(0.02)
    assert mount.viewers == 0


def test_a_change_of_resolution_reaches_the_decoder(server: tuple[RtspServer, Mount]) -> None:
    """New parameter sets come in-band with the first keyframe."""
    running, mount = server
    with _open(running.url("door")) as stream:
        sizes = []
        for frame in stream.decode(video=0):
            sizes.append((frame.width, frame.height))
            if len(sizes) == 5:
                mount.show("dark")
            if len(sizes) > 5 and frame.width == 160:
                break
    assert sizes[0] == (320, 180)
    assert sizes[-1] == (160, 96)


def test_a_frozen_camera_sends_the_same_picture_with_running_times(
    server: tuple[RtspServer, Mount],
) -> None:
    """Frozen pictures decode, are equal, and their times grow."""
    running, mount = server
    mount.set_fault(Fault.FROZEN)
    with _open(running.url("door")) as stream:
        frames = []
        for frame in stream.decode(video=0):
            frames.append(frame)
            if len(frames) == 12:
                break
    last = frames[-4:]
    assert len({bytes(frame.planes[0]) for frame in last}) == 1
    times = [frame.time for frame in last if frame.time is not None]
    assert times == sorted(set(times))


def test_timestamps_jump_back(server: tuple[RtspServer, Mount]) -> None:
    """Somewhere in the stream a packet's time is before the one sent earlier."""
    running, mount = server
    with _open(running.url("door")) as stream:
        stamps: list[int] = []
        for packet in stream.demux(video=0):
            if packet.pts is not None:
                stamps.append(packet.pts)
            if len(stamps) == 5:
                mount.jump_back(3.0)
            if len(stamps) > 12:
                break
    assert any(later < earlier for earlier, later in pairwise(stamps))


@pytest.mark.parametrize("fault", [Fault.GONE, Fault.NOT_FOUND, Fault.UNAUTHORISED])
def test_a_refusing_camera_is_an_error_at_once(
    server: tuple[RtspServer, Mount], fault: Fault
) -> None:
    """Reset, 404 and 401 all end the attempt with an error."""
    running, mount = server
    mount.set_fault(fault)
    with pytest.raises(av.FFmpegError):
        _open(running.url("door"))


def test_a_silent_camera_holds_the_caller_until_its_timeout(
    server: tuple[RtspServer, Mount],
) -> None:
    """It accepts the connection and says nothing: only the reader's own timeout helps."""
    running, mount = server
    mount.set_fault(Fault.SILENT)
    with pytest.raises(av.FFmpegError):
        av.open(running.url("door"), options=OPTIONS, timeout=0.5)


@pytest.mark.parametrize("fault", [Fault.STALL, Fault.SILENT])
def test_a_stalled_camera_keeps_the_connection_without_pictures(
    server: tuple[RtspServer, Mount], fault: Fault
) -> None:
    """The read times out while the camera still counts its viewer."""
    running, mount = server
    with _open(running.url("door"), read_s=1.0) as stream:
        packets = stream.demux(video=0)
        next(packets)
        mount.set_fault(fault)
        with pytest.raises(av.FFmpegError):
            deque(islice(packets, 200), maxlen=0)
        assert mount.viewers == 1


def test_a_vanishing_camera_ends_the_stream(server: tuple[RtspServer, Mount]) -> None:
    """The connection is reset mid-stream, and a new one works."""
    running, mount = server
    with _open(running.url("door")) as stream:
        packets = stream.demux(video=0)
        next(packets)
        mount.vanish()
        ended = False
        try:
            for _ in range(200):
                if next(packets).size == 0:
                    ended = True
                    break
        except (av.FFmpegError, StopIteration):
            ended = True
        assert ended
    with _open(running.url("door")) as stream:
        next(stream.decode(video=0))


def test_damaged_slices_do_not_end_the_stream(server: tuple[RtspServer, Mount]) -> None:
    """Packets keep coming while their content is broken, and pictures return afterwards."""
    running, mount = server
    with _open(running.url("door")) as stream:
        packets = stream.demux(video=0)
        next(packets)
        mount.set_fault(Fault.CORRUPT)
        for _ in range(20):
            assert next(packets).size
        mount.set_fault(Fault.NONE)
        good = None
        for packet in packets:
            if packet.is_keyframe:
                good = packet.decode()
                break
        assert good is not None


def test_bursts_arrive_together(server: tuple[RtspServer, Mount]) -> None:
    """At 20 fps and one burst per 450 ms, most pictures follow the one before at once."""
    running, mount = server
    with _open(running.url("door")) as stream:
        packets = stream.demux(video=0)
        next(packets)
        mount.set_fault(Fault.BURST)
        for _ in range(20):
            next(packets)
        gaps = []
        last = time.monotonic()
        for _ in range(27):
            next(packets)
            now = time.monotonic()
            gaps.append(now - last)
            last = now
    assert sum(gap < 0.02 for gap in gaps) > 15


@pytest.mark.parametrize("scheme", ["basic", "digest"])
def test_credentials_open_the_camera_and_wrong_ones_do_not(clip: Clip, scheme: str) -> None:
    """FFmpeg answers the challenge of either scheme."""
    with RtspServer(SystemClock(), users={"guard": "s3cret"}, auth=scheme) as running:
        running.add("door", {"normal": clip})
        with _open(running.url("door")) as stream:
            next(stream.decode(video=0))
        with pytest.raises(av.FFmpegError):
            _open(running.url("door").replace("s3cret", "wrong"))


@pytest.mark.parametrize(
    "attack",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"OPTIONS " + b"x" * 5000 + b" RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\n" + b"".join(b"A%d: 1\r\n" % n for n in range(100)) + b"\r\n",
        b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999999\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\nno colon\r\n\r\n",
        bytes(range(256)) * 200,
    ],
    ids=["http", "long line", "many headers", "huge body", "bad header", "noise"],
)
def test_hostile_requests_are_refused_and_the_server_lives(
    server: tuple[RtspServer, Mount], attack: bytes
) -> None:
    """Each gets 400 or a closed connection; the next viewer is served."""
    running, _ = server
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client:
        client.sendall(attack)
        try:
            reply = client.recv(4096)
            while client.recv(4096):
                pass
        except ConnectionResetError:
            reply = b""
        assert reply == b"" or b"400" in reply.split(b"\r\n")[0]
    with _open(running.url("door")) as stream:
        next(stream.decode(video=0))


def _ask(client: socket.socket, text: str) -> str:
    client.sendall((text.replace("\n", "\r\n") + "\r\n\r\n").encode())
    return client.recv(4096).decode(errors="replace")


def test_playing_needs_a_session_and_tcp(server: tuple[RtspServer, Mount]) -> None:
    """PLAY without SETUP is 454, UDP is 461, an unknown method 405, another version 505."""
    running, _ = server
    url = running.url("door")
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client:
        assert " 454 " in _ask(client, f"PLAY {url} RTSP/1.0\nCSeq: 1")
        udp = "Transport: RTP/AVP;unicast;client_port=5000-5001"
        assert " 461 " in _ask(client, f"SETUP {url}/track1 RTSP/1.0\nCSeq: 2\n{udp}")
        tcp = "Transport: RTP/AVP/TCP;unicast;interleaved=4-5"
        reply = _ask(client, f"SETUP {url}/track1 RTSP/1.0\nCSeq: 3\n{tcp}")
        assert "interleaved=4-5" in reply
        session = reply.split("Session: ")[1].split(";")[0]
        assert " 405 " in _ask(client, f"RECORD {url} RTSP/1.0\nCSeq: 4\nSession: {session}")
        assert " 505 " in _ask(client, f"OPTIONS {url} RTSP/2.0\nCSeq: 5")


def test_a_client_that_says_nothing_is_dropped(clip: Clip) -> None:
    """A session without requests or receiver reports ends after its timeout."""
    with RtspServer(SystemClock(), session_timeout_s=0.3) as running:
        running.add("door", {"normal": clip})
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client:
            assert client.recv(1) == b""


def test_gstreamer_reads_it_too(server: tuple[RtspServer, Mount], tmp_path: Path) -> None:
    """A second implementation of the protocol, where it is installed."""
    import shutil
    import subprocess

    tool = shutil.which("gst-launch-1.0")
    if tool is None:
        pytest.skip("gst-launch-1.0 is not installed (Debian: gstreamer1.0-tools, -plugins-good)")
    running, _ = server
    out = tmp_path / "out.h264"
    source = f"rtspsrc location={running.url('door')} protocols=tcp latency=0"
    chain = f"{source} ! rtph264depay ! identity eos-after=60 ! filesink location={out}"
    subprocess.run([tool, "-q", *chain.split()], timeout=30, check=True, capture_output=True)
    assert out.stat().st_size > 1000
