"""What an attacker on the way, or with central in their hands, can make a device believe: nothing.

Named after the attacks in section 1.5.2 of the TUF specification and in the Uptane standard. The
repository is real, with all its keys; what the attacker holds is said in each test.
"""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vedette.clock import ManualClock, wall_ms
from vedette.errors import (
    BadSignature,
    CentralUnreachable,
    Expired,
    HashMismatch,
    MalformedReport,
    NotAllowed,
    RollbackAttempt,
    TooLarge,
    TrustError,
)
from vedette.sim.repository import RepositoryRig, person
from vedette.trust.keys import SigningKey
from vedette.trust.tuf import hosting
from vedette.trust.tuf.approvals import approval_path, covers, read_approval
from vedette.trust.tuf.client import Repository
from vedette.trust.tuf.fetching import Limits
from vedette.trust.tuf.keyfiles import online_signer
from vedette.trust.tuf.library import Metadata, Root, TargetFile, Targets
from vedette.trust.tuf.refusals import NotThere
from vedette.wire.updates import Artefact

MODEL = "models/yolox/1.0.0.vbundle"
BYTES = b"a good model" * 100


class World:
    """A repository with one approved model, and a device that has seen it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.rig = RepositoryRig(folder / "offline", self.clock)
        self.host = self.rig.host
        self.model: Artefact = self.rig.add(MODEL, BYTES)
        self.rig.approve("r1", [self.model], ["berlin-1"])
        self.device = self.client("device")
        self.device.refresh()

    def client(self, name: str, fetch: Any = None, **more: Any) -> Repository:
        """Return a device's client with a folder of its own; the same name, the same folder."""
        more.setdefault("clock", self.clock)
        return Repository(self.folder / name, fetch or self.host.fetch, root=self.rig.root, **more)

    def forge(self, role: str, change: Any, *signers: Any, version: int | None = None) -> str:
        """Have changed metadata of a role in the host's hands, signed by these; return its path."""
        now = self.host.hosted.versions[role]
        metadata = Metadata.from_bytes(self.host.hosted.roles[role])
        change(metadata.signed)
        metadata.signed.version = version or now + 1
        metadata.signatures.clear()
        for signer in signers:
            metadata.sign(signer, append=True)
        data = metadata.to_bytes()
        hosted = self.host.hosted
        self.host.hosted = hosting.Hosted(
            hosted.roots,
            {**hosted.roles, role: data},
            {**hosted.versions, role: metadata.signed.version},
        )
        self.host.files[f"metadata/{metadata.signed.version}.{role}.json"] = data
        self.clock.advance(1)
        self.host.renew()
        return f"metadata/{metadata.signed.version}.{role}.json"

    def online(self) -> list[Any]:
        """Return what signs with the keys that a stolen central has."""
        return [online_signer(self.host.snapshot_key), online_signer(self.host.timestamp_key)]

    def where(self) -> str:
        """Return where the model lies."""
        return self.device.target(MODEL).where


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh one."""
    return World(tmp_path)


def evil(signed: Targets) -> None:
    """Name another file under the model's path."""
    signed.targets[MODEL] = TargetFile(4, {"sha256": "ee" * 32}, MODEL)


def test_arbitrary_software(world: World, tmp_path: Path) -> None:
    """Other bytes under a signed name, of the same length or not, are refused where they come."""
    bad = tmp_path / "bad"
    for data in (b"x" * len(BYTES), BYTES[:-1], BYTES + b"x", b""):
        bad.write_bytes(data)
        world.host.files[world.where()] = data
        with pytest.raises(HashMismatch):
            world.device.verify(MODEL, bad)
        with pytest.raises((HashMismatch, TooLarge)):
            world.device.read(MODEL)
    good = tmp_path / "good"
    good.write_bytes(BYTES)
    assert world.device.verify(MODEL, good).sha256 == world.model.sha256


def test_a_name_that_nobody_signed_is_not_there(world: World) -> None:
    """Neither in a role's folder, nor outside of all, nor by a trick of paths."""
    for path in ("models/x/1", "other/x", f"./{MODEL}", "models/../app/x", "", "a" * 5_000):
        with pytest.raises(NotThere):
            world.device.target(path)


def test_rollback_of_each_role(world: World) -> None:
    """Whatever was signed once and is older now is refused, by a device that has seen newer."""
    before = dict(world.host.files)
    world.clock.advance(60)
    world.rig.add(MODEL, b"a better model")
    world.device.refresh()
    seen = world.device.target(MODEL).sha256
    world.host.files = before
    with pytest.raises(RollbackAttempt):
        world.device.refresh()
    with pytest.raises(RollbackAttempt):
        world.client("device").refresh()  # after a restart too
    assert seen != world.model.sha256


def test_rollback_of_one_role_with_fresh_online_signatures(world: World) -> None:
    """A stolen central that signs today's snapshot of yesterday's models is refused."""
    old = (world.host.hosted.roles["models"], world.host.hosted.versions["models"])
    world.rig.add(MODEL, b"a better model")
    world.device.refresh()
    hosted = world.host.hosted
    world.host.hosted = hosting.Hosted(
        hosted.roots,
        {**hosted.roles, "models": old[0]},
        {**hosted.versions, "models": old[1]},
    )
    world.clock.advance(1)
    world.host.renew()
    with pytest.raises(RollbackAttempt):
        world.device.refresh()


def test_freeze(world: World) -> None:
    """Somebody who withholds everything new is noticed when the timestamp is over."""
    world.clock.advance(hosting.TIMESTAMP_LIFE.total_seconds() - 1)
    world.device.refresh()
    world.clock.advance(2)
    with pytest.raises(Expired):
        world.device.refresh()
    world.host.renew()
    world.device.refresh()


def test_freeze_of_a_device_whose_clock_went_back_to_1970(world: World) -> None:
    """Time is never before the last good refresh, and what was over then is over now."""
    world.clock.advance(hosting.TIMESTAMP_LIFE.total_seconds() - 1)
    old = dict(world.host.files)
    world.host.renew()
    world.device.refresh()
    world.clock.advance(hosting.TIMESTAMP_LIFE.total_seconds() - 1)
    world.host.renew()
    world.device.refresh()
    asleep = ManualClock(datetime(1970, 1, 1, tzinfo=UTC))
    woken = world.client("device", clock=asleep)
    assert woken.now_at() > world.clock.now_at() - timedelta(hours=2)
    fresh = world.client("fresh", clock=world.clock)
    world.host.files = old
    for device in (woken, fresh):
        with pytest.raises((Expired, RollbackAttempt)):
            device.refresh()


def test_a_clock_that_was_wrong_by_years_locks_nobody_out(world: World) -> None:
    """A refresh in 2099 fails, and so leaves no floor; with the right time all is well."""
    future = world.client("device", clock=ManualClock(datetime(2099, 1, 1, tzinfo=UTC)))
    with pytest.raises(Expired):
        future.refresh()
    assert world.client("device").refresh()["root"] == 1


def test_fast_forward_and_recovery(world: World) -> None:
    """Versions at the end of all numbers by stolen online keys: a new root takes them back."""
    host, far = world.host, 2**31 - 1
    snapshot = hosting.sign_snapshot(host.hosted, host.snapshot_key, far - 1, world.clock.now_at())
    host.files[f"metadata/{far}.snapshot.json"] = snapshot
    host.files["metadata/timestamp.json"] = hosting.sign_timestamp(
        snapshot, host.timestamp_key, far - 1, world.clock.now_at()
    )
    assert world.device.refresh()["timestamp"] == far
    del host.files["metadata/timestamp.json"]
    host.renew()
    with pytest.raises(RollbackAttempt):
        world.device.refresh()  # the damage
    for role in ("snapshot", "timestamp"):
        key = SigningKey.generate()
        old = online_signer(getattr(host, f"{role}_key")).public_key.keyid
        setattr(host, f"{role}_key", key)
        world.rig.offline.rekey(
            role, world.clock.now_at(), add=[online_signer(key).public_key], remove=[old]
        )
    world.rig.sign()
    world.rig.publish()
    found = world.device.refresh()
    assert (found["root"], found["timestamp"] < far) == (2, True)


def test_mix_and_match(world: World) -> None:
    """Roles that were never current together are refused, though each was signed once."""
    old = world.host.files["metadata/2.models.json"]
    world.rig.add(MODEL, b"a better model")
    world.host.files["metadata/3.models.json"] = old
    versions = world.device.refresh()
    assert "models" not in versions
    with pytest.raises((TrustError, TooLarge)):
        world.device.target(MODEL)
    assert versions["approvals"] == 2  # the other roles are as good as before


def test_a_bit_that_flips_in_any_metadata_is_noticed(world: World) -> None:
    """Whichever file, on the way or on the host's disk."""
    asked: list[str] = []

    def noting(path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        asked.append(path)
        yield from world.host.fetch(path, offset, max_bytes)

    world.client("noting", noting).refresh()
    assert len(asked) == 1 + 3 + 5  # the next root, which is not there; three roles; the delegated
    for path in asked[1:]:
        data = world.host.files[path]
        broken = bytearray(data)
        broken[len(data) // 2] ^= 1
        world.host.files[path] = bytes(broken)
        device = world.client(path.replace("/", "-"))
        with pytest.raises((TrustError, TooLarge)):
            ask_for_everything(device)
        world.host.files[path] = data


def ask_for_everything(device: Repository) -> None:
    """Have every role looked at."""
    versions = device.refresh()
    missing = {"models", "approvals", "app", "system", "config"} - set(versions)
    for role in sorted(missing):
        device.target(f"{role}/x")


def test_endless_data(world: World) -> None:
    """Of a stream without end no more is taken than such a file may have."""
    taken = 0

    def endless(path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        nonlocal taken
        assert max_bytes <= Limits().targets + 1
        for _ in itertools.count():
            taken += 1000
            yield b"x" * 1000

    with pytest.raises(TooLarge):
        world.client("device", endless).refresh()
    assert taken < Limits().root + 2000

    def padded(path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        yield from world.host.fetch(path, offset, max_bytes)
        if path.startswith("targets/"):
            yield b"x"

    device = world.client("other", padded)
    device.refresh()
    with pytest.raises(TooLarge):
        device.read(MODEL)


def test_slow_retrieval(world: World) -> None:
    """A byte a second ends after a minute, and many slow files after five."""
    dripped = 0

    def drip(path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        nonlocal dripped
        for piece in world.host.fetch(path, offset, max_bytes):
            for byte in piece:
                world.clock.advance(1)
                dripped += 1
                yield bytes([byte])

    with pytest.raises(CentralUnreachable):
        world.client("dripped", drip).refresh()
    assert dripped <= 62

    def lazy(path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        world.clock.advance(50)
        yield from world.host.fetch(path, offset, max_bytes)

    with pytest.raises(CentralUnreachable):
        world.client("lazy", lazy).refresh()


def test_a_role_signs_in_no_other_roles_folder(world: World) -> None:
    """The models' key names an app: the device finds none, and central refuses to host it."""
    path = "app/vedette/9.whl"

    def name_an_app(signed: Targets) -> None:
        signed.targets[path] = TargetFile(4, {"sha256": "ee" * 32}, path)

    world.forge("models", name_an_app, *world.rig.people["models"])
    world.device.refresh()
    with pytest.raises(NotThere):
        world.device.target(path)
    fresh = World(world.folder / "again")
    models = Metadata.from_bytes(fresh.host.hosted.roles["models"])
    name_an_app(models.signed)
    models.signed.version += 1
    models.signatures.clear()
    models.sign(fresh.rig.people["models"][0])
    with pytest.raises(NotAllowed, match="may not sign"):
        fresh.host.take({"3.models.json": models.to_bytes()})


def test_threshold_not_met(world: World) -> None:
    """One of two that are wanted is none; the same one twice is one."""
    one = world.rig.people["approvals"][0]
    path = world.forge("approvals", lambda signed: None, one, one)
    assert "approvals" not in world.device.refresh()
    with pytest.raises(BadSignature):
        world.device.target(approval_path("r1"))
    data = world.host.files[path]
    fresh = World(world.folder / "again")
    with pytest.raises(BadSignature):
        fresh.host.take({"3.approvals.json": data})


def test_a_replayed_approval_that_was_revoked(world: World) -> None:
    """Once taken back it is not there, and the metadata that had it is too old."""
    before = dict(world.host.files)
    world.clock.advance(1)
    world.rig.offline.remove_target(approval_path("r1"), world.clock.now_at())
    world.rig.sign()
    world.rig.publish()
    world.device.refresh()
    with pytest.raises(NotThere):
        world.device.read(approval_path("r1"))
    world.host.files = before
    with pytest.raises(RollbackAttempt):
        world.device.refresh()


def test_an_approval_that_is_over_or_for_another_site(world: World) -> None:
    """As the device reads it from the repository, and judges it."""
    said = read_approval(world.device.read(approval_path("r1")))
    now_ms = wall_ms(world.clock.now_at())
    assert covers(said, world.model, "berlin-1", now_ms) == ""
    assert "site" in covers(said, world.model, "berlin-2", now_ms)
    assert "over" in covers(said, world.model, "berlin-1", now_ms + 31 * 86_400_000)


@pytest.mark.parametrize("role", ["models", "app", "config", "system", "targets"])
def test_a_stolen_central_pushes_no_artefact(world: World, role: str) -> None:
    """Its two keys, and keys of its own, are not those of the role."""
    path = f"{role}/evil" if role != "targets" else MODEL

    def name_it(signed: Targets) -> None:
        signed.targets[path] = TargetFile(4, {"sha256": "ee" * 32}, path)

    world.forge(role, name_it, *world.online(), person())
    if role == "targets":  # everything hangs on it
        with pytest.raises(BadSignature):
            world.device.refresh()
    else:
        assert role not in world.device.refresh()
    with pytest.raises(TrustError):
        world.device.target(path)


def test_a_stolen_central_widens_no_site_set(world: World, tmp_path: Path) -> None:
    """An approval for everywhere, signed by what central has, is believed by nobody."""
    said = read_approval(world.device.read(approval_path("r1")))
    wide = msgspec.json.encode(msgspec.structs.replace(said, sites=["*"]))

    def widen(signed: Targets) -> None:
        path = approval_path("r1")
        signed.targets[path] = TargetFile.from_data(path, wide, ["sha256"])

    world.forge("approvals", widen, *world.online())
    assert "approvals" not in world.device.refresh()
    with pytest.raises(BadSignature):
        world.device.read(approval_path("r1"))


def test_a_stolen_central_makes_no_new_root(world: World) -> None:
    """A root that names the thief's keys, signed by those and by central's, changes nothing."""
    thief = person()
    root = Metadata[Root].from_bytes(world.rig.root)
    root.signed.version = 2
    for role in ("root", "targets"):
        root.signed.roles[role].threshold = 1
        root.signed.add_key(thief.public_key, role)
    root.signatures.clear()
    for signer in (thief, *world.online()):
        root.sign(signer, append=True)
    world.host.files["metadata/2.root.json"] = root.to_bytes()
    with pytest.raises(BadSignature):
        world.device.refresh()
    assert world.client("device").target(MODEL).sha256 == world.model.sha256  # what was, holds
    with pytest.raises(BadSignature):
        World(world.folder / "again").host.take({"2.root.json": root.to_bytes()})


def test_a_lost_root_key_is_replaced_by_the_others(world: World) -> None:
    """Two of three sign a root without the third; the third and the thief of it sign no more."""
    gone, *_ = world.rig.people["root"]
    new = person()
    staged = world.rig.offline.rekey(
        "root",
        world.clock.now_at(),
        add=[new.public_key],
        remove=[gone.public_key.keyid[:16]],
    )
    assert staged == ["root"]
    world.rig.people["root"] = [*world.rig.people["root"][1:], new]
    world.rig.sign()
    world.rig.publish()
    assert world.device.refresh()["root"] == 2
    world.rig.offline.prolong("root", world.clock.now_at())
    with pytest.raises(NotAllowed):
        world.rig.offline.sign(gone, ["root"])


def test_what_is_kept_needs_no_network_until_it_is_over(world: World, tmp_path: Path) -> None:
    """After a restart without a network a finished download is still verified."""

    def nothing(path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        raise CentralUnreachable("no network")
        yield b""

    file = tmp_path / "model"
    file.write_bytes(BYTES)
    assert world.client("device", nothing).verify(MODEL, file).bytes == len(BYTES)
    with pytest.raises(CentralUnreachable):
        world.client("device", nothing).refresh()
    world.clock.advance(hosting.TIMESTAMP_LIFE.total_seconds())
    with pytest.raises(Expired):
        world.client("device", nothing).verify(MODEL, file)


def test_torn_metadata_on_the_disk_is_fetched_again(world: World) -> None:
    """A flat file system loses files; what is signed comes again, and nothing else is believed."""
    for file in sorted((world.folder / "device").rglob("*.json")):
        for torn in (b"", b'{"signed', b"[" * 100_000):
            file.unlink()
            file.write_bytes(torn)
            assert world.client("device").refresh()["models"] == 2


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff\xfe", b"[" * 10_000, b'{"signed":{"_type":"root"}}']
)
def test_nonsense_instead_of_metadata_is_refused_in_words(world: World, data: bytes) -> None:
    """Wherever it comes, as an error of this program."""
    with pytest.raises(TrustError):
        world.client("x").__class__(
            world.folder / "y", world.host.fetch, root=data, clock=world.clock
        )
    world.host.files["metadata/timestamp.json"] = data
    with pytest.raises(TrustError):
        world.device.refresh()
    with pytest.raises(TrustError):
        world.host.take({"2.root.json": data})


def test_the_host_takes_only_what_devices_would(world: World) -> None:
    """Older, changed under its number, foreign, expired or incomplete: each refused with why."""
    hosted = world.host.hosted
    models = hosted.roles["models"]
    with pytest.raises(RollbackAttempt, match="published already"):
        world.host.take({"2.models.json": hosted.roles["config"]})
    world.rig.add(MODEL, b"newer")
    with pytest.raises(RollbackAttempt, match="older"):
        world.host.take({"2.models.json": models})
    with pytest.raises(NotAllowed, match="central itself"):
        world.host.take({"9.snapshot.json": b"{}"})
    for name in ("models.json", "x.models.json", "../1.root.json", "1.a b.json", "0.root.json"):
        with pytest.raises(MalformedReport, match="no name of metadata"):
            world.host.take({name: models})
    with pytest.raises(RollbackAttempt, match="follow"):
        world.host.take({"3.root.json": _renumbered(hosted.roots[1], 3)})
    with pytest.raises(TrustError, match="something else"):
        world.host.take({"9.models.json": models})
    world.clock.advance(200 * 86_400)
    with pytest.raises(Expired, match="expired"):
        world.host.take({})


def test_the_host_takes_no_repository_that_gives_its_roles_to_others(world: World) -> None:
    """Where root names other online keys, or a part is missing, nothing is published."""
    other = World(world.folder / "again")
    with pytest.raises(NotAllowed, match="other keys"):
        hosting.admit(
            hosting.Hosted(), other.rig.offline.files(), world.host.online, world.clock.now_at()
        )
    files = world.rig.offline.files()
    whole = dict(files)
    for name in list(files):
        if "root" in name:
            continue
        part = {key: data for key, data in whole.items() if key != name}
        with pytest.raises(NotAllowed):
            hosting.admit(hosting.Hosted(), part, world.host.online, world.clock.now_at())


def _renumbered(data: bytes, version: int) -> bytes:
    metadata = Metadata.from_bytes(data)
    metadata.signed.version = version
    return metadata.to_bytes()
