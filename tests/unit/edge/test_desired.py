"""Which signed documents a device follows: every way a signer can overstep."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from vedette.edge.desired import DesiredStore, accept_policy, accept_settings, lay_over
from vedette.edge.enrolment import Identity, sealing_key
from vedette.edge.settings import Camera, EdgeConfig, load
from vedette.errors import BadSignature, ConfigError, MalformedReport, NotAllowed, RollbackAttempt
from vedette.ids import DeviceId, SiteId
from vedette.trust.dsse import sign, sign_struct
from vedette.trust.keys import SigningKey, from_text
from vedette.trust.sealing import SealingKey
from vedette.trust.site_policy import PolicyFile, sign_policy
from vedette.wire.enrol import Desired
from vedette.wire.signed import (
    POLICY_TYPE,
    SETTINGS_TYPE,
    CameraAddress,
    CameraSettings,
    DeviceSettings,
    Line,
    PixelPolicy,
    Signed,
    SitePolicy,
    Zone,
)

CENTRAL, SITE, SITE_2, STRANGER = (SigningKey.generate() for _ in range(4))
IDENTITY = Identity(
    device=DeviceId("box"),
    site=SiteId("shop"),
    central_key=CENTRAL.public.text,
    site_keys=[SITE.public.text, SITE_2.public.text],
    time_zone="Europe/Berlin",
)
ZONE = Zone(name="till", polygon=[(0, 0), (1, 0), (1, 1)])


def settings(version: int = 1, key: SigningKey = CENTRAL, **fields: Any) -> Signed:
    """Return signed settings for this device."""
    said = DeviceSettings(**({"device": "box", "version": version, "issued_ms": 1} | fields))
    return sign_struct(said, SETTINGS_TYPE, [key])


def policy(version: int = 1, *keys: SigningKey, **fields: Any) -> Signed:
    """Return a signed policy for this site."""
    said = SitePolicy(**({"site": "shop", "version": version, "issued_ms": 1} | fields))
    return sign_struct(said, POLICY_TYPE, keys or [SITE])


def config(tmp_path: Path) -> EdgeConfig:
    """Return a configuration with one camera."""
    return EdgeConfig(
        state_dir=tmp_path / "state",
        models_dir=tmp_path / "models",
        cameras=[Camera(id="door", source="rtsp://u:p@192.0.2.1/s", threshold=0.3)],
    )


def store(tmp_path: Path) -> DesiredStore:
    """Return a store over the test's folder."""
    return DesiredStore(tmp_path / "state", config(tmp_path), IDENTITY)


# ------------------------------------------------------------------------------------- deciding


def test_settings_by_anybody_else_are_refused() -> None:
    """A stranger's and even the site's key say nothing about settings."""
    for key in (STRANGER, SITE):
        with pytest.raises(BadSignature):
            accept_settings(settings(key=key), IDENTITY, None)


def test_a_policy_by_central_is_refused() -> None:
    """A stolen central cannot widen what leaves the site."""
    for key in (CENTRAL, STRANGER):
        with pytest.raises(BadSignature):
            accept_policy(policy(1, key, pixels=PixelPolicy(thumbnail_px=1920)), IDENTITY, None)


def test_a_policy_needs_as_many_signers_as_were_pinned() -> None:
    """With a threshold of two, one site key is not enough."""
    two = msgspec.structs.replace(IDENTITY, site_threshold=2)
    with pytest.raises(BadSignature):
        accept_policy(policy(1, SITE), two, None)
    with pytest.raises(BadSignature):
        accept_policy(policy(1, SITE, CENTRAL), two, None)
    assert accept_policy(policy(1, SITE, SITE_2), two, None).version == 1


def test_a_document_for_somebody_else_is_refused() -> None:
    """Another device's settings and another site's policy, both well signed."""
    with pytest.raises(NotAllowed):
        accept_settings(settings(device="box-2"), IDENTITY, None)
    with pytest.raises(NotAllowed):
        accept_policy(policy(site="shop-2"), IDENTITY, None)


@pytest.mark.parametrize(
    "extra",
    [
        {"pixels": {"evidence_leaves": True}},
        {"cameras": [{"camera": "door", "source": "rtsp://attacker/"}]},
        {"cameras": [{"camera": "door", "zones": [{"name": "z", "polygon": [], "url": "x"}]}]},
    ],
)
def test_central_may_not_say_more_than_settings(extra: dict[str, Any]) -> None:
    """Pixels and addresses have no place in settings, at any depth."""
    said = {"device": "box", "version": 1, "issued_ms": 1} | extra
    signed = sign(msgspec.json.encode(said), SETTINGS_TYPE, [CENTRAL])
    with pytest.raises(NotAllowed):
        accept_settings(signed, IDENTITY, None)


def test_one_document_is_not_taken_for_the_other() -> None:
    """A policy's bytes labelled as settings, and the reverse."""
    with pytest.raises(NotAllowed):
        accept_settings(policy(1, CENTRAL), IDENTITY, None)
    with pytest.raises(MalformedReport):
        accept_settings(sign(b"[]", SETTINGS_TYPE, [CENTRAL]), IDENTITY, None)


def test_rollback_is_refused() -> None:
    """An older version, or another text of the same version, is a replay or worse."""
    held = accept_settings(settings(5), IDENTITY, None)
    for signed in (settings(4), settings(5, report_period_s=99.0)):
        with pytest.raises(RollbackAttempt):
            accept_settings(signed, IDENTITY, held)
    assert accept_settings(settings(5), IDENTITY, held) == held
    known = accept_policy(policy(2), IDENTITY, None)
    with pytest.raises(RollbackAttempt):
        accept_policy(policy(1), IDENTITY, known)


def test_both_documents_are_laid_over_the_local_file(tmp_path: Path) -> None:
    """The site says where cameras are; central says where to look; nothing else changes."""
    said = DeviceSettings(
        device="box",
        version=3,
        issued_ms=1,
        report_period_s=10.0,
        cameras=[
            CameraSettings(camera="door", zones=[ZONE], threshold=0.6),
            CameraSettings(camera="yard", off_hours=[("22:00", "06:00")]),
            CameraSettings(camera="gone", threshold=0.9),
        ],
    )
    site = SitePolicy(
        site="shop",
        version=7,
        issued_ms=1,
        pixels=PixelPolicy(thumbnails=False),
        cameras=[CameraAddress(camera="yard", source="rtsp://192.0.2.9/s", name="Yard")],
    )
    effective = lay_over(config(tmp_path), said, site, "Europe/Berlin")
    door, yard = effective.config.cameras
    assert (door.source, door.threshold, door.zones) == ("rtsp://u:p@192.0.2.1/s", 0.6, [ZONE])
    assert (yard.source, yard.name, yard.off_hours) == (
        "rtsp://192.0.2.9/s",
        "Yard",
        [("22:00", "06:00")],
    )
    assert effective.config.telemetry.report_period_s == 10.0
    assert effective.config.time_zone == "Europe/Berlin"
    assert not effective.pixels.thumbnails
    assert (effective.settings_version, effective.policy_version) == (3, 7)


@pytest.mark.parametrize(
    "fields",
    [
        {"report_period_s": 100_000.0},
        {"cameras": [CameraSettings(camera="door", threshold=7.0)]},
        {"cameras": [CameraSettings(camera="door", zones=[Zone(name="z", polygon=[(0, 0)])])]},
        {"cameras": [CameraSettings(camera="door", lines=[Line(name="l", a=(0, 0), b=(9, 9))])]},
        {"cameras": [CameraSettings(camera="door", off_hours=[("late", "early")])]},
    ],
)
def test_well_signed_nonsense_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    """Values that the local file could not hold cannot come from central either."""
    said = DeviceSettings(**({"device": "box", "version": 1, "issued_ms": 1} | fields))
    with pytest.raises(ConfigError):
        lay_over(config(tmp_path), said, None)


# --------------------------------------------------------------------------------------- keeping


def test_what_was_accepted_survives_a_restart(tmp_path: Path) -> None:
    """Documents are kept as signed, verified again at start, and give the same configuration."""
    first = store(tmp_path)
    new = Desired(
        etag="e1",
        settings=settings(cameras=[CameraSettings(camera="door", zones=[ZONE])]),
        site_policy=policy(pixels=PixelPolicy(thumbnail_px=16)),
    )
    assert first.apply(new)
    assert not first.apply(new)
    assert first.problems == []
    again = store(tmp_path)
    assert again.effective == first.effective
    assert again.effective.pixels.thumbnail_px == 16
    loaded = load(tmp_path / "state" / "effective.yaml")
    assert loaded == first.effective.config
    assert (tmp_path / "state" / "effective.yaml").stat().st_mode & 0o077 == 0


def test_a_refused_document_is_said_and_changes_nothing(tmp_path: Path) -> None:
    """What ran before goes on; the other document, if good, is still taken."""
    held = store(tmp_path)
    held.apply(Desired(etag="e1", settings=settings(2, report_period_s=20.0)))
    changed = held.apply(
        Desired(
            etag="e2",
            settings=settings(1, report_period_s=99.0),
            site_policy=policy(1, CENTRAL),
        )
    )
    assert not changed
    assert [text.split(" refused")[0] for text in held.problems] == ["site policy", "settings"]
    assert held.effective.config.telemetry.report_period_s == 20.0
    held.apply(
        Desired(etag="e3", settings=settings(3, report_period_s=99.0), site_policy=policy(1, SITE))
    )
    assert held.problems == []
    assert held.effective.config.telemetry.report_period_s == 99.0


def test_rollback_is_refused_after_a_restart_too(tmp_path: Path) -> None:
    """The version that was accepted is known from the kept document."""
    store(tmp_path).apply(Desired(etag="e1", settings=settings(5)))
    again = store(tmp_path)
    again.apply(Desired(etag="e0", settings=settings(4, report_period_s=11.0)))
    assert "version 5 was accepted before" in again.problems[0]


def test_a_document_tampered_with_on_disk_is_not_followed(tmp_path: Path) -> None:
    """Somebody with access to the disk cannot write a policy either."""
    held = store(tmp_path)
    held.apply(Desired(etag="e1", site_policy=policy(pixels=PixelPolicy(thumbnails=False))))
    path = tmp_path / "state" / "policy" / "site_policy.json"
    path.write_bytes(msgspec.json.encode(policy(9, STRANGER)))
    again = store(tmp_path)
    assert again.policy is None
    assert again.problems
    path.write_text("{")
    assert store(tmp_path).problems


def test_without_identity_nothing_is_followed(tmp_path: Path) -> None:
    """A device that pinned no keys believes nobody."""
    held = DesiredStore(tmp_path / "state", config(tmp_path), None)
    assert not held.apply(Desired(etag="e", settings=settings(), site_policy=policy()))
    assert held.effective.config == config(tmp_path)


def sealed_policy(*devices: tuple[str, str], version: int = 3) -> Signed:
    """A policy with the door's address in a box for each of these devices."""
    address = CameraAddress(camera="door", source="rtsp://u:hunter2@192.0.2.9/s", name="Door")
    till = CameraAddress(camera="till", source="rtsp://u:hunter2@192.0.2.10/s")
    said = PolicyFile(site="shop", version=version, cameras=[address, till], seal_for=dict(devices))
    return sign_policy(said, [SITE], now_ms=1)


def test_sealed_addresses_are_opened_by_the_device_they_are_for(tmp_path: Path) -> None:
    """Also after a restart, and what is kept on disk of the policy is what was carried."""
    store = DesiredStore(tmp_path / "state", config(tmp_path), IDENTITY)
    key = sealing_key(tmp_path / "state")
    signed = sealed_policy(("box", key.text), ("other", SealingKey.generate().text))
    assert store.apply(Desired(etag="1", site_policy=signed))
    sources = {camera.id: camera.source for camera in store.effective.config.cameras}
    assert sources == {
        "door": "rtsp://u:hunter2@192.0.2.9/s",
        "till": "rtsp://u:hunter2@192.0.2.10/s",
    }
    assert store.problems == []
    kept = (tmp_path / "state" / "policy" / "site_policy.json").read_text()
    assert "hunter2" not in kept + from_text(msgspec.json.decode(kept)["payload"]).decode()
    again = DesiredStore(tmp_path / "state", config(tmp_path), IDENTITY)
    assert again.effective.config == store.effective.config


def test_a_replaced_device_cannot_open_what_was_sealed_for_the_one_before(tmp_path: Path) -> None:
    """It says so and keeps its own addresses; the rest holds; signed again for it, it can."""
    store = DesiredStore(tmp_path / "state", config(tmp_path), IDENTITY)
    before = SealingKey.generate()
    store.apply(Desired(etag="1", site_policy=sealed_policy(("box", before.text))))
    assert [c.source for c in store.effective.config.cameras] == ["rtsp://u:p@192.0.2.1/s"]
    assert store.effective.policy_version == 3
    assert [before.keyid in text for text in store.problems] == [True]
    mine = sealing_key(tmp_path / "state").text
    signed = sealed_policy(("box", mine), version=4)
    assert store.apply(Desired(etag="2", site_policy=signed))
    assert store.effective.config.cameras[0].source == "rtsp://u:hunter2@192.0.2.9/s"
    assert store.problems == []


def test_a_device_that_nothing_is_sealed_for_says_so(tmp_path: Path) -> None:
    """Left out of `seal_for`, on purpose or not: a problem in its report, not a crash."""
    store = DesiredStore(tmp_path / "state", config(tmp_path), IDENTITY)
    store.apply(Desired(etag="1", site_policy=sealed_policy(("other", SealingKey.generate().text))))
    assert "not for this device" in store.problems[0]
    assert [c.source for c in store.effective.config.cameras] == ["rtsp://u:p@192.0.2.1/s"]
