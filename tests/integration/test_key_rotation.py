"""A device changes its key, over a real central: no fault at any step locks it out.

The device's own client speaks to the application; a thread stands for the device's process.
"""

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import FakeDevice, Fleet
from vedette.central import desired, enrolment, quarantine, rotation
from vedette.edge.central_client import CentralClient, _refusal
from vedette.edge.enrolment import Identity
from vedette.edge.keyring import Keyring
from vedette.edge.settings import CentralLink
from vedette.errors import CentralUnreachable, ConflictError, NotAllowed
from vedette.ids import DeviceId, SiteId
from vedette.trust.assertion import make_assertion
from vedette.trust.keys import SigningKey, to_text
from vedette.wire import codec
from vedette.wire.envelope import Batch

pytestmark = pytest.mark.anyio


class Killed(BaseException):
    """The process is gone."""


class Fault:
    """Strikes at the n-th place where something can go wrong; at none where that is None."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.passed = at, 0

    def here(self, error: BaseException) -> None:
        """Something may go wrong here."""
        self.passed += 1
        if self.passed - 1 == self.at:
            raise error


class FragileKeyring(Keyring):
    """The real one, killed before or after any change of its files."""

    def __init__(self, folder: Path, fault: Fault) -> None:
        super().__init__(folder)
        self._fault = fault

    def make_next(self) -> SigningKey:
        """As it is."""
        self._fault.here(Killed())
        key = super().make_next()
        self._fault.here(Killed())
        return key

    def _move(self, source: Path, target: Path) -> None:
        self._fault.here(Killed())
        super()._move(source, target)
        self._fault.here(Killed())


class LoopbackClient(CentralClient):
    """The device's client with the application instead of a network; requests and answers drown."""

    def __init__(
        self,
        fleet: Fleet,
        loop: asyncio.AbstractEventLoop,
        fault: Fault,
        identity: Identity,
        keyring: Keyring,
    ) -> None:
        link = CentralLink(url="http://127.0.0.1:1")
        super().__init__(link, fleet.clock, identity=identity, keyring=keyring)
        self._http, self._loop, self._fault = fleet.http, loop, fault

    def _send(self, method, path, body, headers, *, extra_wait_s=0.0):
        self._fault.here(CentralUnreachable("the request was lost"))
        answer: httpx.Response = asyncio.run_coroutine_threadsafe(
            self._http.request(method, path, content=body, headers=headers), self._loop
        ).result(30)
        self._fault.here(CentralUnreachable("the answer was lost"))
        if answer.status_code >= 300:
            raise _refusal(answer.status_code, "", path, answer.content)
        return answer.status_code, answer.content


class Box:
    """A device's state directory, and its process as often as it is started."""

    def __init__(self, fleet: Fleet, device: FakeDevice, folder: Path) -> None:
        self.fleet, self.folder = fleet, folder
        self.loop = asyncio.get_running_loop()
        self.identity = Identity(
            device=DeviceId(device.device),
            site=SiteId("shop"),
            central_key=device.central.text,
            site_keys=[],
        )
        device.key.save(folder / "device.key")

    def client(self, fault: Fault) -> LoopbackClient:
        """A process that was just started."""
        keyring = FragileKeyring(self.folder, fault)
        return LoopbackClient(self.fleet, self.loop, fault, self.identity, keyring)

    async def rotate(self, fault: Fault) -> str:
        """Change the key."""
        return await asyncio.to_thread(self.client(fault).rotate_key)

    async def speak(self) -> None:
        """Send a batch from a process that was just started."""
        batch = Batch(device=self.identity.device, boot_id="b", sent_mono_ms=1, sent_wall_ms=1)
        await asyncio.to_thread(self.client(Fault()).up, batch)

    @property
    def key(self) -> SigningKey:
        """The key that speaks."""
        return SigningKey.load(self.folder / "device.key")


@pytest.fixture
async def box(fleet: Fleet, tmp_path: Path) -> Box:
    """An enrolled device with its files."""
    return Box(fleet, await fleet.device(name="box"), tmp_path)


async def accepts(fleet: Fleet, device: str, key: SigningKey) -> bool:
    """Whether this key gets a token."""
    other = fleet.stranger()
    other.device, other.key = device, key
    return (await other.sign_in()).status_code == 200


async def test_a_fault_at_any_step_never_locks_the_device_out(fleet: Fleet, box: Box) -> None:
    """Lost requests, lost answers, a kill at each step: it speaks on, and the change is made."""
    whole = Fault()
    await box.rotate(whole)
    assert whole.passed >= 14
    for step in range(whole.passed):
        before = box.key
        with pytest.raises((CentralUnreachable, Killed)):
            await box.rotate(Fault(step))
        await box.speak()
        await box.rotate(Fault())
        await box.speak()
        assert box.key.public != before.public
        assert not (box.folder / "next.key").exists()
        assert not await accepts(fleet, "box", before)
        fleet.clock.advance(10)


async def test_a_central_that_was_put_back_knows_the_key_before(fleet: Fleet, box: Box) -> None:
    """It has the old key only; the device falls back to it, and changes again."""
    old = box.key
    kept = await fleet.rows("SELECT public_key, generation FROM devices")
    await box.rotate(Fault())
    async with fleet.db.transaction() as tx:  # the database as it was
        await tx.connection.execute(b"UPDATE devices SET public_key = %s, generation = %s", kept[0])
        await tx.connection.execute(b"DELETE FROM retired_keys")
        await tx.connection.execute(b"DELETE FROM access_tokens")
    await box.speak()
    assert box.key.public == old.public
    await box.rotate(Fault())
    await box.speak()
    assert box.key.public != old.public


async def test_a_batch_under_way_while_the_key_changes_is_asked_for_another_token(
    fleet: Fleet,
) -> None:
    """A device that is told it may not speak is silent for minutes, and would be called dark."""
    device = await fleet.device(name="box")
    await device.up()  # central remembers the token
    async with fleet.db.transaction() as tx:
        await tx.connection.execute(b"UPDATE devices SET generation = generation + 1")
    assert (await device.post(codec.encode_batch(device.batch()))).status_code == 401
    assert (await device.sign_in()).status_code == 200
    await device.up()


async def test_an_operator_can_demand_another_key(fleet: Fleet, box: Box) -> None:
    """The demand stands in the desired state until the next key has spoken."""
    client = box.client(Fault())
    assert (await asyncio.to_thread(client.desired, "")).rotate_key is False
    async with fleet.db.transaction() as tx:
        await rotation.ask_rotation(tx, "box", actor="alice", now_ms=fleet.now_ms)
    assert (await asyncio.to_thread(client.desired, "")).rotate_key is True
    await box.rotate(Fault())
    assert (await asyncio.to_thread(client.desired, "")).rotate_key is False
    actions = [row[0] for row in await fleet.rows("SELECT action FROM audit_log ORDER BY number")]
    assert actions[-3:] == ["key.demand", "key.announce", "key.rotate"]


async def test_keys_that_are_too_old_are_asked_for_another(fleet: Fleet, box: Box) -> None:
    """At the age that central's configuration names; never where it is 0."""
    fleet.clock.advance(400 * 86_400)
    async with fleet.db.transaction() as tx:
        assert await rotation.ask_old_keys(tx, 0, fleet.now_ms) == []
        assert await rotation.ask_old_keys(tx, 365, fleet.now_ms) == [box.identity.device]
        assert await rotation.ask_old_keys(tx, 365, fleet.now_ms) == []


async def test_nobody_announces_a_key_that_is_not_theirs(fleet: Fleet) -> None:
    """Without the next key's own signature, or with a key that another device has."""
    device, other = await fleet.device(), await fleet.device()
    stranger = SigningKey.generate()

    async def announce(following: SigningKey, prover: SigningKey, by: SigningKey) -> int:
        nonce = (await fleet.http.post("/v1/nonce")).json()["nonce"]
        assertion = make_assertion(
            by,
            device=device.device,
            audience=device.central.keyid,
            nonce=nonce,
            now_s=0,
            next_key=following.public,
        )
        body = {"assertion": assertion, "proof": to_text(prover.sign(assertion.encode()))}
        return (await fleet.http.post("/v1/rotate", json=body)).status_code

    following = SigningKey.generate()
    assert await announce(following, stranger, device.key) == 401
    assert await announce(following, following, stranger) == 401
    assert await announce(other.key, other.key, device.key) == 409
    assert await announce(following, following, device.key) == 200
    assert await announce(following, following, device.key) == 200  # its answer was lost


async def test_a_revoked_device_is_refused_at_once_everywhere(fleet: Fleet) -> None:
    """Its token was remembered a moment ago, and still nothing is taken or told."""
    device = await fleet.device(name="box")
    await device.up()
    async with fleet.db.transaction() as tx:
        await enrolment.revoke(tx, "box", reason="stolen", actor="alice", now_ms=fleet.now_ms)
    headers = {"Authorization": f"Bearer {device.token}"}
    assert (await fleet.http.get("/v1/desired", headers=headers)).status_code == 401
    picture = await fleet.http.post("/v1/thumbnail/x", content=b"\xff\xd8\xff", headers=headers)
    assert picture.status_code == 401
    assert (await device.post(codec.encode_batch(device.batch()))).status_code == 401
    assert (await device.sign_in()).status_code == 401
    detail = await fleet.rows("SELECT convert_from(detail, 'UTF8') FROM audit_log")
    assert any("stolen" in row[0] for row in detail)


async def test_a_name_is_taken_over_with_its_history_and_the_old_key_is_dead(fleet: Fleet) -> None:
    """`claim --replace`: numbers begin above all that were given; no former key comes back."""
    first = await fleet.device(name="box")
    await first.up()
    async with fleet.db.transaction() as tx:
        token = await enrolment.re_enrol(
            tx, "box", reason="cloned", actor="alice", now_ms=fleet.now_ms
        )
    assert not await accepts(fleet, "box", first.key)
    again = await first.enrol(token)  # with the key that it had
    assert again.status_code == 409
    second = fleet.stranger()
    answer = await second.enrol(token)
    assert answer.status_code == 200
    assert answer.json()["device"] == "box"
    assert answer.json()["min_epoch"] >= 1
    assert (await second.enrol(token)).json() == answer.json()  # its answer was lost
    assert (await second.sign_in()).status_code == 200
    await second.up()
    assert not await accepts(fleet, "box", first.key)
    with pytest.raises(AssertionError):
        await first.up()
    assert (await first.enrol(await fleet.claim(device="other"))).status_code == 409


async def test_claims_are_listed_and_withdrawn(fleet: Fleet) -> None:
    """Who made which, and none is good after it was withdrawn."""
    token = await fleet.claim(device="box")
    async with fleet.db.transaction() as tx:
        (claim,) = await enrolment.list_claims(tx, fleet.now_ms)
        assert (claim.site, claim.device, claim.made_by) == ("shop", "box", "test")
        await enrolment.withdraw_claim(tx, claim.claim, actor="alice", now_ms=fleet.now_ms)
        assert await enrolment.list_claims(tx, fleet.now_ms) == []
    assert (await fleet.stranger().enrol(token)).status_code == 403


async def test_a_device_in_quarantine_changes_no_key(fleet: Fleet, box: Box) -> None:
    """Nobody knows which of its copies asks."""
    async with fleet.db.transaction() as tx:
        evidence = b'{"why":"two","since_ms":1,"noticed_ms":2,"copies":[]}'
        await tx.run("device_quarantine", device="box", now_ms=fleet.now_ms, evidence=evidence)
    with pytest.raises(NotAllowed, match="quarantine"):
        await box.rotate(Fault())
    await box.speak()
    assert [suspect.device for suspect in await quarantine.suspects(fleet.db)] == ["box"]


async def quarantine_box(fleet: Fleet) -> None:
    """Put the device there, as its watch does."""
    async with fleet.db.transaction() as tx:
        evidence = b'{"why":"two","since_ms":1,"noticed_ms":2,"copies":[]}'
        await tx.run("device_quarantine", device="box", now_ms=fleet.now_ms, evidence=evidence)
        await desired.refresh(tx, "box", fleet.now_ms)


async def test_another_key_is_not_demanded_of_a_device_in_quarantine(
    fleet: Fleet, box: Box
) -> None:
    """Whichever copy came first would keep the name; an earlier demand waits for the judgement."""
    client = box.client(Fault())
    async with fleet.db.transaction() as tx:
        await rotation.ask_rotation(tx, "box", actor="alice", now_ms=fleet.now_ms)
    await quarantine_box(fleet)
    assert (await asyncio.to_thread(client.desired, "")).rotate_key is False
    fleet.clock.advance(400 * 86_400)
    async with fleet.db.transaction() as tx:
        with pytest.raises(ConflictError, match="quarantine"):
            await rotation.ask_rotation(tx, "box", actor="alice", now_ms=fleet.now_ms)
        assert await rotation.ask_old_keys(tx, 365, fleet.now_ms) == []
    before = await fleet.rows("SELECT desired_etag FROM devices")
    await quarantine.release(fleet.db, "box", actor="alice", now_ms=fleet.now_ms)
    assert await fleet.rows("SELECT desired_etag FROM devices") != before
    assert (await asyncio.to_thread(client.desired, "")).rotate_key is True


async def test_a_change_of_keys_that_was_begun_is_held_in_quarantine(
    fleet: Fleet, box: Box
) -> None:
    """One copy announced its key before: until somebody judged, neither locks the other out."""
    old, following = box.key, SigningKey.generate()
    other = fleet.stranger()
    other.device, other.key = "box", following
    nonce = (await fleet.http.post("/v1/nonce")).json()["nonce"]
    assertion = make_assertion(
        old,
        device="box",
        audience=box.identity.central.keyid,
        nonce=nonce,
        now_s=0,
        next_key=following.public,
    )
    body = {"assertion": assertion, "proof": to_text(following.sign(assertion.encode()))}
    assert (await fleet.http.post("/v1/rotate", json=body)).status_code == 200
    await quarantine_box(fleet)
    for _ in range(2):
        assert await accepts(fleet, "box", following)
        assert await accepts(fleet, "box", old)
    await quarantine.release(fleet.db, "box", actor="alice", now_ms=fleet.now_ms)
    assert await accepts(fleet, "box", following)
    assert not await accepts(fleet, "box", old)


async def test_a_suspected_device_changes_no_key_until_the_doubt_has_passed(
    fleet: Fleet, box: Box
) -> None:
    """One turn of an old boot: perhaps an echo, perhaps a copy. It asks again and is heard then."""
    device = fleet.stranger()
    device.device, device.key = "box", box.key
    await device.sign_in()
    for boot in ("boot-1", "boot-2", "boot-1"):
        device.boot = boot
        await device.up()
        fleet.clock.advance(30)
    with pytest.raises(CentralUnreachable):
        await box.rotate(Fault())
    assert box.key.public == device.key.public
    fleet.clock.advance(1_900)
    await box.rotate(Fault())
    await box.speak()
    assert box.key.public != device.key.public
