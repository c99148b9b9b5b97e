"""Exports over the real database: told once, as CloudEvents, with links that lead to one file."""

import asyncio
import contextlib
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import msgspec
import pytest
from click.testing import CliRunner, Result
from standardwebhooks import Webhook as Verifier

from tests.cloud_event_rules import check_cloud_event
from tests.integration.alerting_receivers import Receiver, receiving
from tests.integration.conftest import FakeDevice
from tests.integration.test_clips import (
    EVENT,
    PACKAGE,
    THERE,
    House,
    bearer,
    facts,
    named,
    open_request,
    report,
    send,
    signed,
    video,
)
from vedette.central import enrolment, jobs
from vedette.central.app import Central, build_services
from vedette.central.clips import keeping
from vedette.central.exporting import feeding, store
from vedette.central.exporting.facts import Export
from vedette.central.exporting.folder import Filling
from vedette.central.settings import Alerts, CentralConfig, Limits, Retention
from vedette.central.store.db import Tx
from vedette.central.web import build_web
from vedette.cli.main import cli
from vedette.clock import ManualClock, SystemClock
from vedette.edge.evidence import copies
from vedette.edge.evidence.facts import read_facts
from vedette.edge.evidence.holds import Holds
from vedette.edge.evidence.origin import given_keys, origins
from vedette.edge.holding import HoldKeeper
from vedette.edge.settings import EvidenceSettings
from vedette.errors import ConfigError, ConflictError
from vedette.trust.keys import SigningKey
from vedette.wire import codec
from vedette.wire.enrol import Request
from vedette.wire.messages import EvidenceRecord

pytestmark = pytest.mark.anyio
__all__ = ["video"]

MES = "/v1/exports/mes"
REFUSED = "this link is not good, or not any more: ask whoever sent it for a new one"
HOLD = f"/v1/events/{EVENT}/hold"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Another system that takes webhooks."""
    async with receiving() as made:
        yield made


@pytest.fixture
async def house(
    conninfo: str, anyio_backend: str, tmp_path: Path, receiver: Receiver
) -> AsyncIterator[House]:
    """A running central that may reach the receiver."""
    clock = ManualClock(SystemClock().now_at())  # receivers look at theirs
    alerts = Alerts(allow_private=["127.0.0.0/8"], ports=[receiver.port])
    config = CentralConfig(
        state_dir=str(tmp_path),
        alerts=alerts,
        public_url="https://vedette.example/",
        limits=Limits(refused_per_minute=50),
    )
    services = build_services(config, conninfo, SigningKey.generate(), clock)
    central = Central(services, build_web(services))
    transport = httpx.ASGITransport(app=central)
    async with (
        central.running(),
        httpx.AsyncClient(transport=transport, base_url="http://central") as http,
    ):
        yield House(central, http, clock)


async def export(house: House, receiver: Receiver, **more: Any) -> tuple[dict[str, str], str]:
    """Have a webhook and an export to it; return an administrator's headers and the secret."""
    admin = await house.program("admin")
    hook = {"type": "webhook", "url": f"http://127.0.0.1:{receiver.port}/mes"}
    answer = await house.http.post(
        "/v1/channels", headers=admin, json={"channel": "mes-hook", "settings": hook}
    )
    assert answer.status_code == 201, answer.text
    made = await house.http.put(MES, headers=admin, json={"channel": "mes-hook"} | more)
    assert made.status_code == 200, made.text
    return admin, answer.json()["secret"]


async def test_an_event_and_its_clip_arrive_as_cloud_events(
    house: House, receiver: Receiver, video: bytes
) -> None:
    """Signed, once each; the clip is fetched from the device, its files come by their links."""
    admin, secret = await export(house, receiver, fetch=True)
    device = await house.box()
    await receiver.wait_for(2)
    await feeding.turn(house.services, house.now_ms)
    request = await open_request(device)
    files = {"clip.mp4": video, "evidence.json": facts(house.now_ms)}
    await send(device, request["request"], files)
    await feeding.turn(house.services, house.now_ms)
    await receiver.wait_for(3)
    told = {}
    for got in receiver.got:
        assert got.headers["content-type"].startswith("application/cloudevents+json")
        said = Verifier(secret).verify(got.body, got.headers)
        check_cloud_event(said)
        told[said["type"]] = said
    assert set(told) == {
        "vedette.event.zone_entered.v1",
        "vedette.evidence.recorded.v1",
        "vedette.evidence.available.v1",
    }
    assert len({said["id"] for said in told.values()}) == 3
    assert {said["source"] for said in told.values()} == {"/sites/shop/devices/box/cameras/door"}
    clip = told["vedette.evidence.available.v1"]
    assert clip["subject"] == "till"
    assert clip["data"]["event"]["event"] == EVENT
    for file in clip["data"]["clip"]["files"]:
        assert file["url"].startswith("https://vedette.example/links/box/evd-one/")
        there = file["url"].removeprefix("https://vedette.example")
        answer = await house.http.get(there)
        assert answer.status_code == 200, answer.text
        assert answer.content == files[file["name"]]
        assert named(file["name"], answer.content).sha256 == file["sha256"]
        assert answer.headers["content-type"].split(";")[0] == file["media"]
        assert answer.headers["cache-control"] == "no-store"
        part = await house.http.get(there, headers={"Range": "bytes=1-4"})
        assert (part.status_code, part.content) == (206, files[file["name"]][1:5])
    looks = [a for a in await house.actions() if a[0] == "link of mes"]
    assert looks == [("link of mes", "clip.download")] * 2
    await _attack(house, there)
    off = {"channel": "mes-hook", "enabled": False}
    assert (await house.http.put(MES, headers=admin, json=off)).status_code == 200
    assert (await house.http.get(there)).status_code == 404  # it ends with its export
    on = off | {"enabled": True}
    assert (await house.http.put(MES, headers=admin, json=on)).status_code == 200
    assert (await house.http.get(there)).status_code == 200
    tried = (await house.http.post(f"{MES}/try", headers=admin)).json()
    assert (tried["recent"], tried["event"]) == (1, EVENT)
    assert tried["delivery"]["row"]["state"] == "sent"
    assert len(receiver.got) == 4
    house.clock.advance(73 * 3600)
    late = await house.http.get(there)
    assert (late.status_code, late.json()["detail"]) == (403, REFUSED)


async def _attack(house: House, there: str) -> None:
    """Try everything near a good link: all of it is refused in the same words."""
    path, _, query = there.partition("?")
    asked = {name: value for name, (value,) in parse_qs(query).items()}
    folder = path.rpartition("/")[0]
    altered = [
        {**asked, "until": str(int(asked["until"]) + 1)},
        {**asked, "until": "9" * 15},
        {**asked, "until": "-1"},
        {**asked, "until": "\u0661" * 13},
        {**asked, "for": "other"},
        {**asked, "for": ""},
        {**asked, "signature": asked["signature"][::-1]},
        {**asked, "signature": asked["signature"] + "A"},
        {**asked, "signature": ""},
        {**asked, "signature": "\ud55c" * 40},
        {},
    ]
    tries = [(path, one) for one in altered]
    tries += [(f"{folder}/{name}", asked) for name in ("clip.mp4", "all.zip", "..%5cclip.mp4", "x")]
    tries += [("/links/box/evd-two/clip.mp4", asked), ("/links/bax/evd-one/clip.mp4", asked)]
    before = await house.actions()
    for where, how in tries:
        if (where, how) == (path, asked):
            continue
        answer = await house.http.get(where, params=how)
        assert (answer.status_code, answer.json()["detail"]) == (403, REFUSED), (where, how)
    assert await house.actions() == before
    for _ in range(40):
        answer = await house.http.get(path)
    assert answer.status_code == 429
    assert (await house.http.get(there)).status_code == 200  # who has a good one is not slowed
    house.clock.advance(120)


class Line:
    """A device's line to central: what it answers is kept until it is sent."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, str, bytes]] = []

    def answer(self, request: str, content_type: str, body: bytes) -> None:
        """Take one."""
        self.answers.append((request, content_type, body))


async def _do_as_asked(device: FakeDevice, kept: Holds) -> str:
    """Have the device's own code do what central asks of holds; return what it was, and why."""
    asked = await open_request(device)
    line = Line()
    keeper = HoldKeeper(kept, line)
    keeper.take(msgspec.convert(asked, Request))
    keeper.step()
    ((request, content_type, body),) = line.answers
    headers = bearer(device) | {"Content-Type": content_type}
    answer = await device.http.post(f"/v1/answer/{request}", content=body, headers=headers)
    assert answer.status_code == 204, answer.text
    return f"{asked['kind']}: {asked['reason']}"


async def test_what_is_held_stays_here_and_on_the_device_until_it_is_released(
    house: House, tmp_path: Path, video: bytes, monkeypatch: pytest.MonkeyPatch, conninfo: str
) -> None:
    """Retention passes it over, dropping it is refused; an archive has it; then it goes its way."""
    device = await house.box()
    admin, operator = await house.program("admin"), await house.program("operator", ["shop"])
    viewer, other = await house.program("viewer", ["shop"]), await house.program("operator", [])
    await house.ask(operator)
    await send(
        device, (await open_request(device))["request"],
        signed(device.key, {"clip.mp4": video, "evidence.json": facts(house.now_ms)}),
    )  # fmt: skip
    http = house.http
    why = {"reason": "claim 2026-114"}
    assert (await http.put(HOLD, headers=viewer, json=why)).status_code == 403
    assert (await http.put(HOLD, headers=other, json=why)).status_code == 404
    for wrong in ("", " ", "a\x00b", "x" * 201):
        assert (await http.put(HOLD, headers=operator, json={"reason": wrong})).is_client_error
    assert (await http.get(HOLD, headers=viewer)).status_code == 404
    held = (await http.put(HOLD, headers=operator, json=why)).json()
    assert (held["reason"], held["held_by"], held["on_device"]) == (
        "claim 2026-114", "operator-1", "asked",
    )  # fmt: skip
    there = tmp_path / "device" / "evidence"
    (there / ".wanted").mkdir(parents=True)
    (there / ".wanted" / PACKAGE).touch()
    kept = Holds(there, EvidenceSettings(), house.clock)
    assert await _do_as_asked(device, kept) == "hold: claim 2026-114"
    assert kept.is_held(PACKAGE)
    (listed,) = (await http.get("/v1/holds", headers=viewer)).json()["holds"]
    assert (listed["event"], listed["on_device"]) == (EVENT, "held")
    refused = await http.delete(THERE, headers=operator)
    assert refused.status_code == 403
    assert "held" in refused.json()["detail"]

    await _years_pass(house, device)
    operator, admin = await house.program("operator", ["shop"]), await house.program("admin")
    assert (await house.state(operator))["state"] == "here"
    assert (await http.get(f"{THERE}/clip.mp4", headers=operator)).content == video
    await _archived(house, operator, video, tmp_path / "unpacked")
    async with house.db.transaction() as tx:
        await tx.connection.execute(
            b"INSERT INTO alert_channels (channel, kind, body, changed_by, changed_ms)"
            b" VALUES ('hook', 'webhook', %s, '', 0), ('post', 'mail', '', '', 0)",
            (msgspec.json.encode({"type": "webhook", "url": "https://192.0.2.1/"}),),
        )
    await asyncio.to_thread(_typed, house, conninfo, monkeypatch, tmp_path)

    assert (await http.delete(HOLD, headers=operator)).status_code == 403
    over = {"reason": "settled"}
    assert (await http.delete(HOLD, headers=admin, params=over)).status_code == 204
    assert await _do_as_asked(device, kept) == "release: settled"
    assert not kept.is_held(PACKAGE)
    assert (await http.get(HOLD, headers=admin)).status_code == 404
    await _years_pass(house, device)
    operator = await house.program("operator", ["shop"])
    assert (await http.get(THERE, headers=operator)).status_code == 404
    said = [a for a in await house.actions() if a[1].startswith("evidence.")]
    assert said == [("admin-all", "evidence.release"), ("operator-1", "evidence.hold")]


async def _years_pass(house: House, device: FakeDevice) -> None:
    """Have everything dropped whose time is over in eleven years: tokens too."""
    later_ms = house.now_ms + 4000 * 86_400_000
    await jobs.expire(house.db, Retention(), later_ms)
    await keeping.sweep(house.db, house.services.blobs, later_ms)
    assert (await device.sign_in()).status_code == 200


async def _archived(house: House, operator: dict[str, str], video: bytes, unpacked: Path) -> None:
    """One package is inside, which verifies; an event whose clip is not here is said to be out."""
    at_ms = house.now_ms - 4000
    second = await house.device("shop", name="box-2")
    away = msgspec.structs.replace(report(at_ms), event="ev-two", evidence="evd-two")
    await second.up(second.envelope("event.v1", away))
    asked = {"from_ms": at_ms - 60_000, "to_ms": at_ms + 60_000, "site": "shop"}
    http = house.http
    plan = (await http.get("/v1/archive/plan", headers=operator, params=asked)).json()
    assert (plan["packages"], plan["left_out"]) == (1, {"nobody asked the device for it": 1})
    packed = await http.get("/v1/archive", headers=operator, params=asked)
    assert packed.status_code == 200, packed.text
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        assert archive.testzip() is None
        content = {name: archive.read(name) for name in archive.namelist()}
        archive.extractall(unpacked)
    with copies.opened(unpacked / "packages") as (folder,):
        key = (await http.get("/v1/devices/box/keys", headers=operator)).json()["keys"][0]["key"]
        (origin,) = origins(folder, read_facts(folder), given_keys([key]))
    assert origin.problems == ()
    manifest = msgspec.json.decode(content["manifest.json"])
    (one,), (out,) = manifest["packages"], manifest["left_out"]
    assert (one["event"], one["held"], one["form"]) == (EVENT, True, "clip")
    assert (out["event"], out["why"]) == ("ev-two", "nobody asked the device for it")
    assert one["signed"]
    assert content[f"packages/{one['folder']}/clip.mp4"] == video
    check_cloud_event(msgspec.json.decode(content[f"events/{one['folder']}.json"]))
    sums = dict(reversed(line.split("  ")) for line in content["SHA256SUMS"].decode().splitlines())
    assert sums.keys() == content.keys() - {"SHA256SUMS"}
    assert all(hashlib.sha256(content[name]).hexdigest() == said for name, said in sums.items())
    path = house.services.blobs.path(hashlib.sha256(video).hexdigest())
    path.rename(path.with_suffix(".away"))  # lost on the disk between two backups
    without = await http.get("/v1/archive", headers=operator, params=asked)
    path.with_suffix(".away").rename(path)
    with zipfile.ZipFile(io.BytesIO(without.content)) as archive:
        said = msgspec.json.decode(archive.read("manifest.json"))
    assert [one["why"] for one in said["left_out"]] == [
        "nobody asked the device for it",
        "its files are not here any more",
    ]
    for headers, status in (
        (await house.program("viewer", ["shop"]), 403),
        (await house.program("operator", ["elsewhere", "x"]), 404),
    ):
        assert (await http.get("/v1/archive", headers=headers, params=asked)).status_code == status
    for wrong in ({"to_ms": 0}, {"from_ms": -1}, {"to_ms": 2**80}):
        answer = await http.get("/v1/archive", headers=operator, params=asked | wrong)
        assert answer.status_code in {400, 422}, wrong
    looked = [a for a in await house.actions() if a[1] in {"clip.download", "archive.download"}]
    assert looked[1:3] == [("operator-1", "archive.download"), ("operator-1", "clip.download")]


def _typed(house: House, conninfo: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same at central's terminal; a disk that refuses leaves no part of a file."""
    monkeypatch.setenv("VEDETTE_DATABASE_URL", conninfo)
    at = datetime.fromtimestamp(house.now_ms / 1000, UTC)
    hour = timedelta(hours=1)
    window = ("--from", f"{at - hour:%Y-%m-%dT%H:%M}", "--to", f"{at + hour:%Y-%m-%dT%H:%M}")

    def call(*words: str) -> Result:
        return CliRunner().invoke(cli, ["central", "--state", str(tmp_path), *words])

    shown = call("holds")
    assert "claim 2026-114" in shown.output, shown.output
    out = tmp_path / "out" / "week.zip"
    refused = call("archive", *window, "-o", str(out))
    assert isinstance(refused.exception, ConfigError)
    out.parent.mkdir()
    done = call("archive", *window, "-o", str(out), "--json")
    assert done.exit_code == 0, done.output
    assert msgspec.json.decode(done.output)["packages"] == 1
    assert [path.name for path in out.parent.iterdir()] == ["week.zip"]
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
    assert call("archive", *window, "--site", "nowhere").exit_code == 1
    week = str(tmp_path / "out" / "week")
    into = ("archive", *window, "--folder", week)
    assert isinstance(call(*into, "-o", str(out)).exception, ConfigError)
    assert call(*into, "--site", "nowhere").exit_code == 1

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Filling, "_copy", stop)
        stopped = call(*into)
    assert stopped.exit_code != 0
    assert f"0 of 1 packages are whole in {week}; the same command goes on" in stopped.output
    assert isinstance(call(*into, "--site", "shop").exception, ConfigError)  # begun for others
    done = call(*into, "--json")
    assert f"goes on with {week}: events from {at - hour:%Y-%m-%d %H:%M}" in done.stderr
    said = msgspec.json.decode(done.stdout)
    assert (said["packages"], said["folder"], said["there_before_bytes"]) == (1, week, 0)
    for line in (Path(week) / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((Path(week) / name).read_bytes()).hexdigest() == digest
    assert isinstance(call(*into).exception, ConfigError)  # whole already

    words = ("put", "mes", "hook", "--kind", "line_crossed", "--site", "shop", "--fetch", "--json")
    made = call("exports", *words)
    assert made.exit_code == 0, made.output
    assert "set public_url" in msgspec.json.decode(made.output)["trouble"]
    nowhere = ("put", "erp", "hook", "--folder", "/plants")
    for wrong in (("put", "erp", "post"), ("put", "erp", "none"), ("put", "Ä", "hook"), nowhere):
        assert isinstance(call("exports", *wrong).exception, ConfigError), wrong
    off = call("exports", "put", "erp", "none", "--off", "--json")
    assert not msgspec.json.decode(off.output)["enabled"]
    assert call("exports", "remove", "erp").exit_code == 0
    assert "line_crossed" in call("exports", "list").output
    assert "asked for" in call("exports", "show", "mes").output
    assert isinstance(call("exports", "try", "mes").exception, ConflictError)  # no such event
    assert call("exports", "remove", "mes").exit_code == 0
    assert isinstance(call("exports", "show", "mes").exception, ConfigError)
    assert isinstance(call("release", "ev-none").exception, ConfigError)
    again = call("hold", EVENT, "--reason", "another", "--json")
    assert msgspec.json.decode(again.output)["reason"] == "claim 2026-114"  # the first stands


async def test_what_was_decided_and_not_committed_is_decided_again_and_nothing_is_sent_twice(
    conninfo: str, anyio_backend: str, tmp_path: Path
) -> None:
    """Turns that break off at each of their steps, then two at once: each thing is put once.

    And the clips that are wanted are asked for as fast as the device may be asked, none forgotten.
    """
    clock = ManualClock()
    config = CentralConfig(state_dir=str(tmp_path))
    services = build_services(config, conninfo, SigningKey.generate(), clock)
    await services.db.open()
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        await enrolment.add_site(tx, "shop", actor="t", now_ms=now_ms)
        await tx.connection.execute(
            b"INSERT INTO devices (device, site, public_key, enrolled_ms)"
            b" VALUES ('box', 'shop', 'key', 0)"
        )
        await tx.connection.execute(
            b"INSERT INTO alert_channels (channel, kind, body, changed_by, changed_ms)"
            b" VALUES ('hook', 'webhook', %s, '', 0)",
            (msgspec.json.encode({"type": "webhook", "url": "https://192.0.2.1/"}),),
        )
        for name, more in (("mes", {"fetch": True}), ("erp", {"tell": ["evidence"]})):
            export = msgspec.convert({"export": name, "channel": "hook", **more}, Export)
            await store.put(tx, export, enabled=True, by="t", now_ms=now_ms)
        for number in range(10):
            await _happen(tx, number, now_ms)

    async def count(query: str) -> int:
        async with services.db.transaction() as tx:
            return (await (await tx.connection.execute(query.encode())).fetchone())[0]

    for steps in range(0, 60, 4):
        task = asyncio.create_task(feeding.turn(services, now_ms))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await asyncio.gather(*(feeding.turn(services, now_ms) for _ in range(3)))
    assert await count("SELECT count(*) FROM deliveries") == 10 + 10 + 10
    assert await count("SELECT count(DISTINCT key) FROM deliveries") == 30
    asked = "SELECT count(*) FROM clips WHERE state = 'asked'"
    assert await count(asked) == feeding.MOST_OPEN
    async with services.db.transaction() as tx:
        await tx.connection.execute(b"UPDATE clips SET state = 'refused' WHERE state = 'asked'")
    await feeding.turn(services, now_ms)
    assert await count("SELECT count(*) FROM clips") == 10
    assert await count("SELECT count(*) FROM export_inbox") == 0
    await services.db.close()


async def _happen(tx: Tx, number: int, now_ms: int) -> None:
    """Have an event with evidence come in; its evidence is known before the event is."""
    event, evidence = f"ev-{number}", f"evd-{number}"
    record = EvidenceRecord(
        evidence=evidence, event=event, camera="door", wanted_ms=(now_ms - 1000, now_ms)
    )
    said = msgspec.structs.replace(report(now_ms), event=event, evidence=evidence)
    await tx.run(
        "evidence_add", device="box", evidence=evidence, event=event, camera="door",
        status="complete", stays=False, received_ms=now_ms, epoch=1, seq=number + 1,
        body=codec.encode(record),
    )  # fmt: skip
    await tx.run(
        "event_add", device="box", event=event, site="shop", camera="door", kind="zone_entered",
        at_ms=now_ms, received_ms=now_ms, late=False, dated=True, label="", where_name="till",
        evidence=evidence, body=codec.encode(said),
    )  # fmt: skip
