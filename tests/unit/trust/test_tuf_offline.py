"""The offline side: several people sign one after another; keys come, go, and lie encrypted."""

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import skip_or_fail
from vedette.clock import ManualClock
from vedette.errors import BadSignature, ConfigError, NotAllowed, TrustError
from vedette.sim.repository import RepositoryRig, person
from vedette.trust.tuf.client import Repository
from vedette.trust.tuf.keyfiles import (
    make_key,
    note_hardware_key,
    open_key,
    read_public,
)
from vedette.trust.tuf.library import CryptoSigner
from vedette.trust.tuf.offline import ROLES, OfflineRepository, RolePlan
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Approval, Artefact

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
WORDS = "correct horse battery"
CHEAP = 2**10


def plan(*people: CryptoSigner, threshold: int = 1) -> dict[str, RolePlan]:
    """Return the same keys for every role."""
    one = RolePlan([each.public_key for each in people], threshold)
    return dict.fromkeys((*ROLES, "snapshot", "timestamp"), one)


def test_nothing_is_complete_before_enough_have_signed(tmp_path: Path) -> None:
    """The first of two signs, the folder travels, the second signs: then it holds."""
    anna, ben, stranger = person(), person(), person()
    first = OfflineRepository(tmp_path / "at-annas")
    first.create(plan(anna, ben, threshold=2), NOW)
    first.sign(anna)
    assert [row.wants for row in first.status(NOW)] == [1] * len(ROLES)
    with pytest.raises(ConfigError, match="not enough"):
        first.files()
    shutil.copytree(tmp_path / "at-annas", tmp_path / "at-bens")
    second = OfflineRepository(tmp_path / "at-bens")
    with pytest.raises(NotAllowed):
        second.sign(stranger)
    second.sign(anna)  # again: still one
    assert second.staged("root")
    assert second.sign(ben) == list(ROLES)
    assert sorted(second.files()) == sorted(f"1.{role}.json" for role in ROLES)


def test_a_change_after_a_signature_needs_signing_again(tmp_path: Path) -> None:
    """Whoever signed has signed what they saw, and nothing that came later."""
    anna, ben = person(), person()
    offline = OfflineRepository(tmp_path / "r")
    offline.create(plan(anna, ben, threshold=2), NOW)
    for one in (anna, ben):
        offline.sign(one)
    file = tmp_path / "file"
    file.write_bytes(b"one")
    offline.add_target("models/a/1", file, NOW)
    offline.sign(anna)
    offline.add_target("models/a/2", file, NOW)
    offline.sign(ben)
    assert offline.staged("models")
    offline.sign(anna)
    assert sorted(offline.target_files()) == ["models/a/1", "models/a/2"]
    assert offline.versions("models") == [1, 2]


def test_other_keys_for_a_delegated_role_need_its_giver_and_then_itself(tmp_path: Path) -> None:
    """Root's people give the models to another key; what the former key signed is signed anew."""
    clock = ManualClock()
    rig = RepositoryRig(tmp_path / "r", clock)
    rig.add("models/a/1", b"one")
    old, new = rig.people["models"][0], person()
    staged = rig.offline.rekey(
        "models", clock.now_at(), add=[new.public_key], remove=[old.public_key.keyid]
    )
    assert staged == ["targets", "models"]
    with pytest.raises(NotAllowed):
        rig.offline.sign(old)
    rig.people["models"] = [new]
    rig.sign()
    rig.publish()
    device = Repository(tmp_path / "d", rig.host.fetch, root=rig.root, clock=clock)
    assert device.refresh()["models"] == 3
    assert device.read("models/a/1") == b"one"


def test_thresholds_that_nobody_could_meet_are_refused(tmp_path: Path) -> None:
    """More signatures than keys, no key at all, a key that is not there."""
    anna = person()
    for wanted in (plan(anna, threshold=2), plan(anna, anna, threshold=2), plan(threshold=1)):
        with pytest.raises(ConfigError):
            OfflineRepository(tmp_path / "x").create(wanted, NOW)
    offline = OfflineRepository(tmp_path / "r")
    offline.create(plan(anna), NOW)
    with pytest.raises(ConfigError, match="already"):
        offline.create(plan(anna), NOW)
    offline.sign(anna)
    wrong: list[Any] = [
        {"remove": ["ffffffff"]},
        {"threshold": 2},
        {"remove": [anna.public_key.keyid]},
    ]
    for more in wrong:
        with pytest.raises(ConfigError):
            offline.rekey("models", NOW, **more)
    assert not offline.staged("targets")


@pytest.mark.parametrize(
    "path",
    ["evil", "root/x", "models", "models/", "models/../app/x", "/models/x", "models//x",
     "models/a\nb", "models/a\\b", "models/" + "a" * 300, "models/1/2/3/4/5"],
)  # fmt: skip
def test_a_path_that_is_in_no_roles_folder_is_refused(tmp_path: Path, path: str) -> None:
    """Nothing outside of roles' folders; nothing that a file system reads otherwise."""
    offline = OfflineRepository(tmp_path / "r")
    offline.create(plan(person()), NOW)
    (tmp_path / "f").write_bytes(b"x")
    with pytest.raises(ConfigError):
        offline.add_target(path, tmp_path / "f", NOW)


def test_an_approval_names_only_what_the_repository_has(tmp_path: Path) -> None:
    """Other bytes than those of the target are no artefact that could be approved."""
    rig = RepositoryRig(tmp_path / "r", ManualClock())
    model = rig.add("models/a/1", b"one")
    with pytest.raises(ConfigError, match="of these bytes"):
        rig.approve("r1", [msgspec.structs.replace(model, sha256="ab" * 32)], ["*"])
    said = rig.approve("r1", [model], ["shop"])
    assert rig.offline.approvals() == [said]
    assert isinstance(said, Approval)
    assert model == Artefact(
        kind=ArtefactKind.MODEL, target="models/a/1", sha256=model.sha256, bytes=3,
        digest=f"sha256:{model.sha256}", name="a",
    )  # fmt: skip


def test_status_tells_what_expires_and_what_has(tmp_path: Path) -> None:
    """A month ahead in days, afterwards plainly; prolonging stages the same again."""
    anna = person()
    offline = OfflineRepository(tmp_path / "r")
    offline.create(plan(anna), NOW)
    offline.sign(anna)
    soon = {row.role: row.problem for row in offline.status(NOW + timedelta(days=80))}
    assert "expires in 10 days" in soon["approvals"]
    assert soon["root"] == ""
    late = {row.role: row.problem for row in offline.status(NOW + timedelta(days=91))}
    assert "has expired" in late["approvals"]
    offline.prolong("approvals", NOW + timedelta(days=91))
    offline.sign(anna)
    again = {row.role: row for row in offline.status(NOW + timedelta(days=91))}["approvals"]
    assert (again.version, again.problem) == (2, "")


def test_a_key_file_opens_with_its_passphrase_alone(tmp_path: Path) -> None:
    """Another passphrase or an open mode is refused; a key is never overwritten."""
    file = tmp_path / "anna.key"
    public = make_key(file, WORDS, n=CHEAP)
    assert read_public(file) == read_public(tmp_path / "anna.pub") == public
    signer = open_key(file, lambda _: WORDS)
    public.verify_signature(signer.sign(b"data"), b"data")
    assert WORDS.encode() not in file.read_bytes()
    with pytest.raises(BadSignature):
        open_key(file, lambda _: f"{WORDS}!")
    with pytest.raises(ConfigError, match="already"):
        make_key(file, WORDS, n=CHEAP)
    with pytest.raises(ConfigError, match="at least"):
        make_key(tmp_path / "x.key", "short", n=CHEAP)
    file.chmod(0o644)
    with pytest.raises(TrustError, match="open to others"):
        open_key(file, lambda _: WORDS)


@pytest.mark.parametrize("change", [{"n": 2**30}, {"r": 10**6}, {"n": 1000}, {"box": "AAAA"}])
def test_a_key_file_that_was_changed_costs_nothing_and_opens_nothing(
    tmp_path: Path, change: dict[str, object]
) -> None:
    """Neither memory nor time beyond what a key file may ask for."""
    file = tmp_path / "anna.key"
    make_key(file, WORDS, n=CHEAP)
    file.write_bytes(msgspec.json.encode(msgspec.json.decode(file.read_bytes()) | change))
    with pytest.raises(TrustError):
        open_key(file, lambda _: WORDS)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"format":"x"}', b"\xff", b"x" * 20_000])
def test_what_is_no_key_is_refused_in_words(tmp_path: Path, data: bytes) -> None:
    """As a key and as a public half."""
    file = tmp_path / "x.key"
    file.write_bytes(data)
    file.chmod(0o600)
    for read in (read_public, lambda path: open_key(path, lambda _: WORDS)):
        with pytest.raises(TrustError):
            read(file)


def test_a_key_in_hardware_signs_and_never_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PKCS#11 token (SoftHSM) makes the key; a wrong PIN and a missing token are told."""
    if not SOFTHSM.exists() or not shutil.which("softhsm2-util"):
        skip_or_fail("keys in hardware need softhsm2: tools/system_parts.py installs it")
    pkcs11 = pytest.importorskip("pkcs11")
    from pkcs11.util.ec import encode_named_curve_parameters

    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    said = ["softhsm2-util", "--init-token", "--free", "--label", "anna", "--so-pin", "0000"]
    subprocess.run([*said, "--pin", "1234"], check=True, capture_output=True)
    token = pkcs11.lib(str(SOFTHSM)).get_token(token_label="anna")
    with token.open(user_pin="1234", rw=True) as session:
        curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
        parameters.generate_keypair(store=True, id=b"\x02", label="anna")
    file = tmp_path / "anna.key"
    public = note_hardware_key(file, module=SOFTHSM, token="anna", key_id=2, ask=lambda _: "1234")
    assert b"1234" not in file.read_bytes()
    signer = open_key(file, lambda _: "1234")
    public.verify_signature(signer.sign(b"data"), b"data")
    offline = OfflineRepository(tmp_path / "r")
    offline.create(plan(signer), NOW)  # type: ignore[arg-type]
    offline.sign(signer)
    assert offline.versions("root") == [1]
    with pytest.raises(ConfigError, match="does not answer"):
        open_key(file, lambda _: "9999").sign(b"data")
    with pytest.raises(ConfigError, match="does not answer"):
        note_hardware_key(
            tmp_path / "b.key", module=SOFTHSM, token="other", key_id=2, ask=lambda _: "1234"
        )
    assert "PYKCS11LIB" not in os.environ
