"""Sealed camera addresses through central: stored and carried, and readable by the device alone."""

from pathlib import Path

import msgspec
import pytest

from tests.integration.conftest import Fleet
from vedette.central import desired, enrolment, rows
from vedette.edge.desired import DesiredStore
from vedette.edge.enrolment import Identity, sealing_key
from vedette.edge.settings import EdgeConfig
from vedette.ids import DeviceId, SiteId
from vedette.trust.keys import SigningKey, from_text
from vedette.trust.sealing import SealingKey
from vedette.trust.site_policy import PolicyFile, sign_policy
from vedette.wire.alerts import ChannelKind, LocalAlerts, LocalChannel
from vedette.wire.enrol import Desired
from vedette.wire.signed import CameraAddress, Signed

pytestmark = pytest.mark.anyio

SECRET = "hunter2"


async def test_central_has_only_ciphertext_of_camera_addresses(
    fleet: Fleet, tmp_path: Path
) -> None:
    """Neither its tables nor its answers hold the password; the device it is for runs by it."""
    site_key = SigningKey.generate()
    async with fleet.db.transaction() as tx:
        await enrolment.add_site(
            tx, "shop", site_keys=[site_key.public.text], actor="alice", now_ms=fleet.now_ms
        )
    device = await fleet.device(name="box")
    key = sealing_key(tmp_path)
    channel = LocalChannel(
        channel="plant", kind=ChannelKind.MQTT, url=f"mqtt://box:{SECRET}@broker"
    )
    said = PolicyFile(
        site="shop",
        version=1,
        cameras=[CameraAddress(camera="door", source=f"rtsp://u:{SECRET}@h/s", name="Front door")],
        seal_for={"box": key.text, "other": SealingKey.generate().text},
        alerts=LocalAlerts(channels=[channel]),
    )
    signed = sign_policy(said, [site_key], now_ms=fleet.now_ms)
    services = fleet.services
    by = {"actor": "alice", "now_ms": fleet.now_ms}
    await desired.put_policy(services.db, services.bulletin, "shop", signed, **by)

    tables = await fleet.rows(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    for (table,) in tables:
        for (row,) in await fleet.rows(f"SELECT t::text FROM {table} t"):
            assert SECRET not in row, table
            assert SECRET.encode().hex() not in row, table  # as bytes are shown
    ((stored,),) = await fleet.rows("SELECT policy FROM sites WHERE site = 'shop'")
    kept = msgspec.json.decode(bytes(stored), type=Signed)
    assert SECRET.encode() not in from_text(kept.payload)

    headers = {"Authorization": f"Bearer {device.token}"}
    answer = await fleet.http.get("/v1/desired", headers=headers)
    assert SECRET not in answer.text
    identity = Identity(
        device=DeviceId("box"),
        site=SiteId("shop"),
        central_key=device.central.text,
        site_keys=[site_key.public.text],
    )
    config = EdgeConfig(state_dir=tmp_path, models_dir=tmp_path)
    store = DesiredStore(tmp_path, config, identity)
    assert store.apply(msgspec.json.decode(answer.content, type=Desired))
    (camera,) = store.effective.config.cameras
    assert (camera.source, camera.name) == (f"rtsp://u:{SECRET}@h/s", "Front door")
    assert store.effective.alerts.channels == [channel]
    async with fleet.db.transaction() as tx:
        site = await enrolment.get_site(tx, "shop")
    assert rows.camera_names(site) == {"door": "Front door"}
