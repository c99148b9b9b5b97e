"""A stolen central against a device: it deletes nothing, widens nothing and stops nothing there."""

import math
from pathlib import Path

import msgspec
import pytest

from vedette.clock import ManualClock
from vedette.edge import requests
from vedette.edge.attendant import Attendant
from vedette.edge.desired import DesiredStore
from vedette.edge.enrolment import Identity
from vedette.edge.settings import Camera, EdgeConfig
from vedette.errors import MalformedReport
from vedette.ids import DeviceId, SiteId
from vedette.trust.dsse import sign_struct
from vedette.trust.keys import SigningKey
from vedette.wire import codec
from vedette.wire.enrol import Desired, Request
from vedette.wire.envelope import LaneAck, UpAnswer
from vedette.wire.signed import (
    POLICY_TYPE,
    SETTINGS_TYPE,
    CameraAddress,
    CameraSettings,
    DeviceSettings,
    PixelPolicy,
    SitePolicy,
)
from vedette.wire.streams import Lane

CENTRAL, SITE = SigningKey.generate(), SigningKey.generate()
IDENTITY = Identity(
    device=DeviceId("box"),
    site=SiteId("shop"),
    central_key=CENTRAL.public.text,
    site_keys=[SITE.public.text],
    time_zone="UTC",
)
NONE_LEAVES = SitePolicy(
    site="shop",
    version=7,
    issued_ms=1,
    pixels=PixelPolicy(thumbnails=False),
    cameras=[CameraAddress(camera="back", source="rtsp://192.0.2.1/s")],
)


class Central:
    """Says one desired state; takes pictures."""

    def __init__(self, state: Desired) -> None:
        self.state = state
        self.pictures: list[str] = []

    def desired(self, etag: str, wait_s: float = 0.0) -> Desired | None:
        """Return the state, always."""
        return self.state

    def thumbnail(self, request: str, jpeg: bytes) -> None:
        """Take a picture."""
        self.pictures.append(request)


def store(state_dir: Path, *cameras: str) -> DesiredStore:
    """Return a store with these cameras in the local file."""
    listed = [Camera(id=name, source="rtsp://192.0.2.1/s") for name in cameras or ("door",)]
    config = EdgeConfig(state_dir=state_dir, models_dir=state_dir / "models", cameras=listed)
    return DesiredStore(state_dir, config, IDENTITY)


def ask(state_dir: Path, desired: Desired) -> DesiredStore:
    """Have an attendant take `desired` as central's answer; return its store."""
    kept = store(state_dir)
    attendant = Attendant(state_dir, kept, Central(desired), ManualClock())
    attendant.look(UpAnswer(desired_etag="new"))
    attendant.step()
    return kept


@pytest.mark.parametrize("name", ["../policy/site_policy", "../identity/identity", "a/../../time"])
def test_a_request_named_like_a_path_deletes_nothing(tmp_path: Path, name: str) -> None:
    """Where no picture may leave, a request is forgotten at once; only inside its own folder."""
    signed = sign_struct(NONE_LEAVES, POLICY_TYPE, [SITE])
    for file in ("identity/identity.json", "time.json", "requests/a/x"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"{}")
    request = Request(request=name, kind="thumbnail", camera="door", expires_ms=2**50)
    ask(tmp_path, Desired(etag="new", site_policy=signed, requests=[request]))
    requests.forget(tmp_path, name)
    assert (tmp_path / "identity/identity.json").exists()
    assert (tmp_path / "time.json").exists()
    assert not store(tmp_path).effective.pixels.thumbnails


def test_a_damaged_policy_lets_no_picture_leave(tmp_path: Path) -> None:
    """The default lets thumbnails leave; a policy that was there and is unreadable does not."""
    ask(tmp_path, Desired(etag="new", site_policy=sign_struct(NONE_LEAVES, POLICY_TYPE, [SITE])))
    (tmp_path / "policy" / "site_policy.json").write_bytes(b"\0")
    kept = store(tmp_path)
    assert kept.problems
    assert not kept.effective.pixels.thumbnails
    settings = DeviceSettings(device="box", version=1, issued_ms=1, report_period_s=9.0)
    kept.apply(Desired(etag="x", settings=sign_struct(settings, SETTINGS_TYPE, [CENTRAL])))
    assert kept.effective.config.telemetry.report_period_s == 9.0
    assert not kept.effective.pixels.thumbnails


def test_a_policy_that_no_longer_fits_the_local_file_still_binds_pixels(tmp_path: Path) -> None:
    """Its cameras cannot be laid over 64 others; what may leave is as it said."""
    ask(tmp_path, Desired(etag="new", site_policy=sign_struct(NONE_LEAVES, POLICY_TYPE, [SITE])))
    kept = store(tmp_path, *(f"c{n}" for n in range(64)))
    assert kept.problems
    assert not kept.effective.pixels.thumbnails


def test_off_hours_in_strange_digits_are_refused(tmp_path: Path) -> None:
    """A digit that is no decimal is no time of day, and no crash."""
    camera = CameraSettings(camera="door", off_hours=[("²2:00", "06:00")])
    settings = DeviceSettings(device="box", version=1, issued_ms=1, cameras=[camera])
    signed = sign_struct(settings, SETTINGS_TYPE, [CENTRAL])
    assert ask(tmp_path, Desired(etag="new", settings=signed)).problems


@pytest.mark.parametrize(
    "answer",
    [
        UpAnswer(retry_after_s=math.nan),
        UpAnswer(retry_after_s=math.inf),
        UpAnswer(server_time_ms=2**63),
        UpAnswer(acks=[LaneAck(epoch=2**63, lane=Lane.LIVE, acked_through=1)]),
        UpAnswer(acks=[LaneAck(epoch=1, lane=Lane.LIVE, acked_through=2**63)]),
        UpAnswer(acks=[LaneAck(epoch=1, lane=Lane.LIVE, acked_through=0, have=[(-(2**63), 1)])]),
    ],
    ids=repr,
)
def test_an_answer_in_impossible_numbers_is_none(answer: UpAnswer) -> None:
    """What neither a clock nor the spool can hold must not end the thread that reports."""
    with pytest.raises(MalformedReport):
        codec.decode_answer(msgspec.msgpack.encode(answer))
