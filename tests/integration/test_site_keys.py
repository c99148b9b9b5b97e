"""A site gets other keys, from the owner's machine over a real central to a device's disk."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from tests.integration.conftest import Fleet
from vedette.central import desired, enrolment, site_keys
from vedette.cli.main import cli
from vedette.edge.desired import DesiredStore
from vedette.edge.enrolment import Identity, save_identity
from vedette.edge.settings import EdgeConfig
from vedette.errors import BadSignature, ConfigError, NotAllowed, RollbackAttempt
from vedette.ids import DeviceId, SiteId
from vedette.trust.dsse import sign_struct
from vedette.trust.keys import SigningKey
from vedette.trust.site_keys import KeySet, make, read_chain
from vedette.wire.enrol import Desired
from vedette.wire.messages import HealthReport
from vedette.wire.signed import POLICY_TYPE, Signed, SiteKeyChain, SitePolicy

pytestmark = pytest.mark.anyio


def typed(*arguments: object) -> str:
    """Run the command line as a person would; return what it printed."""
    result = CliRunner().invoke(cli, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def change(version: int, to: SigningKey, *signers: SigningKey, site: str = "shop") -> Signed:
    """Return a replacement of the site's keys by one other."""
    return make(site, KeySet.of([to.public.text], 1, version), [*signers, to], now_ms=1)


class Box:
    """A device: enrolled over the protocol, with the store that runs on a real one."""

    def __init__(self, fleet: Fleet, state_dir: Path) -> None:
        self.fleet, self.state_dir = fleet, state_dir
        self.device = fleet.stranger()

    async def join(self) -> None:
        """Enrol, and keep what central answered."""
        token = await self.fleet.claim()
        answer = (await self.device.enrol(token)).json()
        await self.device.sign_in()
        self.identity = Identity(
            device=DeviceId(answer["device"]),
            site=SiteId(answer["site"]),
            central_key=answer["central_key"],
            site_keys=answer["site_keys"],
            site_threshold=answer["site_threshold"],
            site_keys_version=answer["site_keys_version"],
        )
        (self.state_dir / "identity").mkdir(parents=True)
        save_identity(self.state_dir, self.identity)
        self.store = DesiredStore(
            self.state_dir,
            EdgeConfig(state_dir=self.state_dir, models_dir=self.state_dir),
            self.identity,
        )

    async def look(self, etag: str = "") -> list[str]:
        """Read the desired state as it is served now; return what was refused."""
        headers = {"Authorization": f"Bearer {self.device.token}", "If-None-Match": f'"{etag}"'}
        answer = await self.device.http.get("/v1/desired", headers=headers)
        if answer.status_code != 304:
            self.store.apply(msgspec.json.decode(answer.content, type=Desired))
        return self.store.problems

    def pins(self) -> tuple[list[str], int]:
        """Return the keys that it believes, and their version."""
        assert self.store.identity is not None
        return self.store.identity.site_keys, self.store.identity.site_keys_version


@pytest.fixture
def old() -> SigningKey:
    """The key that the site has at first."""
    return SigningKey.generate()


@pytest.fixture
async def box(fleet: Fleet, old: SigningKey, tmp_path: Path) -> Box:
    """A device of a site with one key."""
    async with fleet.db.transaction() as tx:
        await enrolment.add_site(
            tx, "shop", site_keys=[old.public.text], actor="test", now_ms=fleet.now_ms
        )
    box = Box(fleet, tmp_path / "box")
    await box.join()
    return box


async def put(fleet: Fleet, *documents: Signed, site: str = "shop") -> site_keys.Keys:
    """Hand a chain to central as an administrator."""
    return await desired.put_site_keys(
        fleet.db,
        fleet.services.bulletin,
        site,
        SiteKeyChain(documents=list(documents)),
        central=fleet.services.online_key.public,
        actor="alice",
        now_ms=fleet.now_ms,
    )


async def test_a_device_follows_the_owner_and_a_new_one_pins_the_newest(
    fleet: Fleet, box: Box, old: SigningKey, tmp_path: Path
) -> None:
    """From the owner's terminal to both devices' pins; the chain can be sent whole again."""
    old.save(tmp_path / "old.key")
    new = SigningKey.load_or_make(tmp_path / "new.key")
    newer = SigningKey.load_or_make(tmp_path / "newer.key")
    chain = tmp_path / "chain.json"
    site = ["--site", "shop", "--old", tmp_path / "old.key", "--new", tmp_path / "new.key"]
    typed("site", "replace-keys", *site, "-o", chain)
    await put(fleet, *read_chain(chain.read_bytes()).documents)
    assert await box.look() == []
    assert box.pins() == ([new.public.text], 2)

    two = ["--new-public", SigningKey.generate().public.text, "--old", tmp_path / "new.key"]
    typed("site", "replace-keys", "--from", chain, "--new", tmp_path / "newer.key", *two)
    shown = typed("site", "show", chain, "--key", old.public.text)
    assert newer.public.text in shown
    for _ in range(2):
        found = await put(fleet, *read_chain(chain.read_bytes()).documents)
        assert (found.version, len(found.keys), len(found.documents)) == (3, 2, 2)
    late = Box(fleet, tmp_path / "late")
    await late.join()
    assert await box.look(box.store.etag) == await late.look() == []
    assert box.pins() == late.pins()
    assert late.pins()[1] == 3
    report = HealthReport(at_ms=0, period_s=30, version="1", site_keys_version=box.pins()[1])
    await box.device.up(box.device.envelope("health.v1", report))
    async with fleet.db.transaction() as tx:
        known = (await site_keys.keys_of(tx, "shop")).devices
    assert known == {box.identity.device: 3, late.identity.device: 0}
    actions = await fleet.rows("SELECT actor, action FROM audit_log WHERE action LIKE 'site.keys%'")
    assert actions == [("alice", "site.keys")] * 2


async def test_a_policy_by_removed_keys_is_refused_by_central_and_device(
    fleet: Fleet, box: Box, old: SigningKey
) -> None:
    """The one in force stays on the device; the next one is by the new keys."""
    new = SigningKey.generate()

    async def put_policy(version: int, key: SigningKey) -> None:
        said = SitePolicy(site="shop", version=version, issued_ms=1)
        signed = sign_struct(said, POLICY_TYPE, [key])
        await desired.put_policy(
            fleet.db, fleet.services.bulletin, "shop", signed, actor="a", now_ms=fleet.now_ms
        )

    await put_policy(4, old)
    await box.look()
    await put(fleet, change(2, new, old))
    assert await box.look() == []
    assert box.store.effective.policy_version == 4
    with pytest.raises(BadSignature):
        await put_policy(5, old)
    await put_policy(5, new)
    assert await box.look() == []
    assert box.store.effective.policy_version == 5


async def test_central_refuses_what_the_site_did_not_say(
    fleet: Fleet, box: Box, old: SigningKey
) -> None:
    """Its own key, a gap, a replay to another site, a fork: nothing is stored, nothing served."""
    central, new = fleet.services.online_key, SigningKey.generate()
    async with fleet.db.transaction() as tx:
        await enrolment.add_site(
            tx, "mall", site_keys=[old.public.text], actor="test", now_ms=fleet.now_ms
        )
        await enrolment.add_site(tx, "bare", actor="test", now_ms=fleet.now_ms)
    to_new = change(2, new, old)
    for site, document, error in (
        ("shop", change(2, new, central), BadSignature),
        ("shop", change(2, central, old), BadSignature),
        ("shop", change(3, new, old), NotAllowed),
        ("mall", to_new, NotAllowed),
        ("bare", to_new, ConfigError),
        ("nowhere", to_new, ConfigError),
    ):
        with pytest.raises(error):
            await put(fleet, document, site=site)
    await put(fleet, to_new)
    with pytest.raises(RollbackAttempt):
        await put(fleet, change(2, SigningKey.generate(), old))
    assert (await put(fleet, to_new)).version == 2
    assert await box.look() == []
    assert box.pins() == ([new.public.text], 2)


async def test_a_stolen_central_cannot_change_what_a_device_pins(
    fleet: Fleet, box: Box, old: SigningKey
) -> None:
    """It writes into its own database what it likes; the device checks every step itself."""
    thief = SigningKey.generate()
    for version, document in enumerate(
        [change(2, thief, fleet.services.online_key), change(2, thief, thief)], start=2
    ):
        async with fleet.db.transaction() as tx:
            await tx.run("site_key_documents_forget", site="shop")
            await tx.run(
                "site_key_document_put",
                site="shop",
                version=2,
                document=msgspec.json.encode(document),
                now_ms=fleet.now_ms,
            )
            await tx.run(
                "site_keys_set",
                site="shop",
                site_keys=[thief.public.text],
                site_threshold=1,
                version=version,
            )
        assert "site keys refused" in (await box.look())[0]
        assert box.pins() == ([old.public.text], 1)


async def test_where_all_keys_are_lost_central_recovers_and_devices_need_a_person(
    fleet: Fleet, box: Box, tmp_path: Path
) -> None:
    """Nothing leads a device to the new keys; one that enrols from then on pins them."""
    new, newer = SigningKey.generate(), SigningKey.generate()
    async with fleet.db.transaction() as tx:
        found = await site_keys.recover(
            tx,
            "shop",
            [new.public.text],
            1,
            central=fleet.services.online_key.public,
            actor="alice",
            now_ms=fleet.now_ms,
        )
        await desired.refresh_site(tx, "shop", fleet.now_ms)
    assert (found.version, found.documents) == (2, [])
    assert await box.look() == []
    assert box.pins()[1] == 1
    late = Box(fleet, tmp_path / "late")
    await late.join()
    assert late.pins() == ([new.public.text], 2)

    (tmp_path / "edge.yaml").write_text(
        f"state_dir: {box.state_dir}\nmodels_dir: {box.state_dir}\n"
    )
    told = typed(
        "edge", "trust-site-key", "--config", tmp_path / "edge.yaml", "--yes",
        "--key", new.public.text, "--version", found.version,
    )  # fmt: skip
    assert new.public.keyid in told
    assert box.identity.site_signers[0].keyid in told
    await put(fleet, change(3, newer, new))
    for device in (box, late):
        assert await device.look() == []
        assert device.pins() == ([newer.public.text], 3)
    actions = await fleet.rows("SELECT action FROM audit_log WHERE action LIKE 'site.keys%'")
    assert actions == [("site.keys.recover",), ("site.keys",)]
