"""The own RTSP client against servers that are not ours, and over TLS."""

import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vedette.clock import SystemClock
from vedette.edge.capture import CaptureSettings, Loss, RtspClient
from vedette.edge.capture.seam import SourceLost
from vedette.edge.capture.source import OpenStream, make_source
from vedette.ids import CameraId
from vedette.sim import footage
from vedette.sim.clip import load_clip
from vedette.sim.rtsp import RtspServer

_SYSTEM_PYTHON = "/usr/bin/python3"  # GStreamer's bindings are the system's
_SERVER = """
import sys
import gi
for name in ("Gst", "GstRtsp", "GstRtspServer"):
    gi.require_version(name, "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service("0")
auth = GstRtspServer.RTSPAuth.new()
auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
token = GstRtspServer.RTSPToken.new()
token.set_string("media.factory.role", "user")
auth.add_digest("ann", "hunter2", token)
server.set_auth(auth)
role = GstRtspServer.RTSPPermissions.new()
role.add_permission_for_role("user", "media.factory.access", True)
role.add_permission_for_role("user", "media.factory.construct", True)
factory = GstRtspServer.RTSPMediaFactory.new()
factory.set_launch(sys.argv[1])
factory.set_shared(True)
factory.set_permissions(role)
server.get_mount_points().add_factory("/door", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""


def _works() -> bool:
    """True where GStreamer's RTSP server and an encoder are installed."""
    tool = shutil.which("gst-inspect-1.0")
    if tool is None or not Path(_SYSTEM_PYTHON).exists():
        return False
    ask = 'import gi; gi.require_version("GstRtspServer", "1.0")'
    return all(
        subprocess.run(command, check=False, capture_output=True, timeout=30).returncode == 0
        for command in (
            [tool, "--exists", "openh264enc"],
            [tool, "--exists", "rtph264pay"],
            [_SYSTEM_PYTHON, "-c", ask],
        )
    )


needs_server = pytest.mark.skipif(
    not _works(),
    reason="GStreamer's RTSP server is not installed (Debian: gir1.2-gst-rtsp-server-1.0)",
)


Serve = Callable[[str], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start GStreamer's server with a pipeline's tail; return the camera's address."""
    running: list[subprocess.Popen[str]] = []

    def start(tail: str) -> str:
        head = "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=20/1"
        process = subprocess.Popen(
            [_SYSTEM_PYTHON, "-c", _SERVER, f"( {head} ! {tail} )"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None
        return f"rtsp://ann:hunter2@127.0.0.1:{int(process.stdout.readline())}/door"

    yield start
    for process in running:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def pictures(stream: OpenStream, packets: int) -> list[int]:
    """Return the times of the pictures that so many packets give."""
    found: list[int] = []
    source = iter(stream.packets())
    for _ in range(packets):
        found += [video.pts or 0 for video in stream.codec_context.decode(next(source))]
    return found


@needs_server
@pytest.mark.parametrize(
    "tail",
    [
        "openh264enc gop-size=5 ! rtph264pay name=pay0 pt=96",
        (
            "openh264enc gop-size=5 slice-mode=n-slices num-slices=3 ! "
            "rtph264pay name=pay0 pt=97 mtu=300 aggregate-mode=max-stap config-interval=-1"
        ),
    ],
)
def test_gstreamers_server_is_read_picture_by_picture(serve: Serve, tail: str) -> None:
    """Digest, fragments, aggregates, slices: from a keyframe on each packet is a picture."""
    settings = CaptureSettings(
        camera=CameraId("door"), source=serve(tail), rtsp_client=RtspClient.VEDETTE
    )
    stream = make_source(settings, SystemClock()).open()
    try:
        assert len(pictures(stream, 20)) >= 14
        times = pictures(stream, 10)
    finally:
        stream.close()
    assert stream.info.codec == "h264"
    assert (stream.info.width, stream.info.height) == (320, 180)
    assert len(times) == 10, "a packet that is no whole picture, or one that is held back"
    assert times == sorted(set(times))


@needs_server
def test_a_wrong_password_is_refused_by_gstreamers_server(serve: Serve) -> None:
    """The same words as for any other camera."""
    source = serve("openh264enc ! rtph264pay name=pay0 pt=96").replace("hunter2", "wrong")
    settings = CaptureSettings(camera=CameraId("door"), source=source)
    with pytest.raises(SourceLost) as caught:
        make_source(settings, SystemClock()).open()
    assert caught.value.reason is Loss.UNAUTHORISED


@pytest.mark.parametrize("trusted", [True, False])
def test_the_certificate_of_an_encrypted_camera_is_checked(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trusted: bool
) -> None:
    """One that nobody vouches for is refused before anything is asked; a known one is fine."""
    footage.render(tmp_path / "clip.mp4", seconds=1.0, fps=20)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with RtspServer(SystemClock(), users={"ann": "hunter2"}, tls=tls) as server:
        server.add("door", {"normal": load_clip(tmp_path / "clip.mp4")})
        assert server.url("door").startswith("rtsps://")
        settings = CaptureSettings(camera=CameraId("door"), source=server.url("door"))
        source = make_source(settings, SystemClock())
        if trusted:
            stream = source.open()
            assert len(pictures(stream, 10)) == 10
            stream.close()
        else:
            with pytest.raises(SourceLost) as caught:
                source.open()
            assert caught.value.reason is Loss.UNTRUSTED
