"""Who made a package: signed by the agent, proven anywhere, forged by nobody."""

import importlib.util
import json
import shutil
import threading
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from tests.unit.edge.evidence_kit import (
    BOX,
    DOOR,
    FPS,
    event,
    full_ring,
    packets_of,
    settings,
)
from tests.unit.schema_kit import check
from vedette.clock import ManualClock
from vedette.edge.capture import EncodedPacket
from vedette.edge.enrolment import Identity, device_key, keyring, save_identity
from vedette.edge.evidence import copies, facts
from vedette.edge.evidence.catalog import find, packages
from vedette.edge.evidence.examine import Examination, examine
from vedette.edge.evidence.export import export
from vedette.edge.evidence.leaving import Stays, leaving
from vedette.edge.evidence.origin import given_keys, keys_in, keys_of_central, own_keys
from vedette.edge.evidence.signing import PackageSigner, known_keys
from vedette.edge.evidence.store import EvidenceStore
from vedette.errors import BadSignature, ConfigError, EvidenceError
from vedette.ids import DeviceId, SiteId
from vedette.sim import footage
from vedette.trust.evidence import read_signature, sign_package
from vedette.trust.keys import SigningKey, from_text
from vedette.wire.envelope import ClockState
from vedette.wire.evidence import MAX_SIGNATURE_BYTES, SIGNATURE
from vedette.wire.signed import PixelPolicy

EVERYTHING = PixelPolicy(evidence_leaves=True, evidence_blurred=False)


@pytest.fixture(scope="module")
def packets(tmp_path_factory: pytest.TempPathFactory) -> list[EncodedPacket]:
    """Twelve seconds of a rendered street."""
    path = tmp_path_factory.mktemp("clips") / "street.mp4"
    footage.render(path, seconds=12.0, fps=FPS, size_px=(160, 96))
    return packets_of(path)


@pytest.fixture(scope="module")
def made(packets: list[EncodedPacket], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device's state with two packages as the pipeline left them."""
    state, clock = tmp_path_factory.mktemp("device"), ManualClock()
    store = EvidenceStore(state / "evidence", settings(), clock, min_free_bytes=0)
    store.note(DOOR, 1005.0, [BOX])
    for at_t_s in (1005.0, 1006.0):
        store.request(event(clock, at_t_s), full_ring(store, packets))
        (record,) = store.work()
        assert record.status == "complete", record.detail
    return state


@pytest.fixture
def state(made: Path, tmp_path: Path) -> Path:
    """A copy of it, of an enrolled device."""
    copy = tmp_path / "state"
    shutil.copytree(made, copy)
    central = SigningKey.generate().public.text
    identity = Identity(
        device=DeviceId("box-1"), site=SiteId("shop"), central_key=central, site_keys=[]
    )
    device_key(copy)
    save_identity(copy, identity)
    return copy


def signer(state: Path, clock_state: ClockState = ClockState.TRUSTED) -> PackageSigner:
    """Return the agent's part."""
    return PackageSigner(state, ManualClock(), lambda: clock_state)


def folders(state: Path) -> list[Path]:
    """Return where its packages lie."""
    return [package.path for package in packages(state / "evidence")]


def verdict(path: Path, state: Path) -> Examination:
    """Return the verdict by the device's own keys."""
    return examine(path, keys=own_keys(state))


# ------------------------------------------------------------------------------------------ signing


def test_the_agent_signs_what_the_pipeline_packed(state: Path) -> None:
    """Every file by name, length and hash, with who, where and when; once, and marks are gone."""
    assert signer(state).step() == 2
    assert signer(state).step() == 0
    assert list((state / "evidence" / ".unsigned").iterdir()) == []
    path = folders(state)[0]
    raw = (path / SIGNATURE).read_bytes()
    assert check("signature.json", raw) == ""
    payload = json.loads(raw)["document"]["payload"]
    assert check("statement", from_text(payload)) == ""
    proof = read_signature(raw)
    said, facts_said = proof.statement, facts.read_facts(path)
    assert (said.device, said.site, said.camera) == ("box-1", "shop", DOOR)
    assert (said.evidence, said.event) == (path.name, facts_said.event.event)
    assert (said.at_ms, said.clock) == (facts_said.event.at_ms, "trusted")
    assert [f.name for f in said.files] == ["clip.mp4", "poster.jpg", "evidence.json"]
    found = verdict(path, state)
    assert found.is_whole
    assert "with key" in found.origins[0].proven[0]
    assert "this device knows that key" in found.origins[0].proven[1]


def test_a_package_without_its_mark_is_signed_at_the_next_start(state: Path) -> None:
    """The power went between the package and its mark."""
    shutil.rmtree(state / "evidence" / ".unsigned")
    assert signer(state).step() == 2


def test_a_device_of_no_central_signs_too(state: Path) -> None:
    """No identity and no key yet: one is made, which enrolment goes on with."""
    shutil.rmtree(state / "identity")
    assert signer(state).step() == 2
    proof = read_signature((folders(state)[0] / SIGNATURE).read_bytes())
    assert proof.statement.device == ""
    assert proof.key == device_key(state).public


def test_a_package_of_before_signatures_stays_without_one(state: Path) -> None:
    """Nobody can vouch for it later; it is still whole, and what is not proven is said."""
    path = folders(state)[0]
    _rewrite(path, version=1)
    assert signer(state).step() == 1
    assert not (path / SIGNATURE).exists()
    found = verdict(path, state)
    assert found.is_whole
    assert "who made it" in found.origins[0].unproven[0]
    assert not examine(path, keys=given_keys([device_key(state).public.text])).is_whole
    assert {f.name for f, _ in leaving(state / "evidence", path.name, EVERYTHING).files} == {
        "clip.mp4",
        "poster.jpg",
        "evidence.json",
    }


def test_what_was_changed_before_it_was_signed_is_not_signed(state: Path) -> None:
    """A flipped bit in the clip; the other package gets its signature."""
    path = folders(state)[0]
    _flip(path / "clip.mp4")
    agent = signer(state)
    assert agent.step() == 1
    assert not (path / SIGNATURE).exists()
    assert agent.problem == ""


def test_a_key_that_cannot_be_read_is_a_problem_and_not_an_end(state: Path) -> None:
    """Open to others: nothing is signed, it is said, and mended it is signed."""
    key = state / "identity" / "device.key"
    key.chmod(0o644)
    agent = signer(state)
    assert agent.step() == 0
    assert "open to others" in agent.problem
    key.chmod(0o600)
    assert agent.step() == 2
    assert agent.problem == ""


def test_packages_of_former_keys_are_still_this_devices(state: Path) -> None:
    """Two changes of the key: each package verifies with the key of its time."""
    first, second = folders(state)
    kept = state / "kept"
    second.rename(kept)
    signer(state).step()
    ring = keyring(state)
    for _ in range(2):
        ring.accepted(ring.make_next())
    kept.rename(second)
    signer(state).step()
    keys = [read_signature((path / SIGNATURE).read_bytes()).key.text for path in (first, second)]
    assert known_keys(state) == keys
    assert keys[0] != keys[1]
    assert verdict(first, state).is_whole
    assert verdict(second, state).is_whole


def test_nothing_leaves_before_it_is_signed(state: Path) -> None:
    """A clip that was asked for in its first second waits for its signature."""
    path = folders(state)[0]
    with pytest.raises(Stays, match="signing") as why:
        leaving(state / "evidence", path.name, EVERYTHING)
    assert why.value.may_come
    signer(state).step()
    files = leaving(state / "evidence", path.name, EVERYTHING).files
    assert SIGNATURE in {file.name for file, _ in files}


# ---------------------------------------------------------------------------------------- verifying


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _sums(package: Path) -> None:
    """Write checksums that agree with what is there."""
    names = [*facts.read_sums(package)]
    (package / "SHA256SUMS").write_bytes(
        facts.sums_text({name: (package / name).read_bytes() for name in names})
    )


def _rewrite(package: Path, **changes: object) -> None:
    """Write other facts, and checksums that agree with them: a forger's work."""
    said = msgspec.structs.replace(facts.read_facts(package), **changes)
    (package / "evidence.json").write_bytes(msgspec.json.encode(said))
    _sums(package)


def _other_time(package: Path) -> None:
    said = facts.read_facts(package)
    _rewrite(package, event=msgspec.structs.replace(said.event, label="dog"))


def _poster(package: Path) -> None:
    _flip(package / "poster.jpg")
    _sums(package)


def _no_poster(package: Path) -> None:
    (package / "poster.jpg").unlink()
    lines = (package / "SHA256SUMS").read_text().splitlines(keepends=True)
    (package / "SHA256SUMS").write_text("".join(x for x in lines if "poster" not in x))


def _another_key(package: Path) -> None:
    proof = read_signature((package / SIGNATURE).read_bytes())
    (package / SIGNATURE).write_bytes(sign_package(proof.statement, SigningKey.generate()))


def _another_package(package: Path) -> None:
    other = next(path for path in package.parent.iterdir() if path != package)
    shutil.copy(other / SIGNATURE, package / SIGNATURE)


def _nested(package: Path) -> None:
    (package / SIGNATURE).write_bytes(b"[" * 50_000)


def _huge(package: Path) -> None:
    (package / SIGNATURE).write_bytes(b" " * (MAX_SIGNATURE_BYTES + 1))


def _other_payload(package: Path) -> None:
    raw = (package / SIGNATURE).read_bytes().replace(b"vedette/evidence", b"vedette/settings")
    (package / SIGNATURE).write_bytes(raw)


FORGERIES: dict[str, tuple[Callable[[Path], None], str]] = {
    "the story": (_other_time, "evidence.json is not the one that was signed"),
    "the poster": (_poster, "poster.jpg is not the one that was signed"),
    "no poster": (_no_poster, "poster.jpg is missing, and it was signed"),
    "signed by somebody else": (_another_key, "this device never signed with"),
    "signature of another package": (_another_package, "not the one that was signed"),
    "a bit of the signature": (lambda p: _flip(p / SIGNATURE), SIGNATURE),
    "nested": (_nested, "no signature of a package"),
    "huge": (_huge, "not written by this program"),
    "another payload type": (_other_payload, "vedette/settings"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_package_that_agrees_with_itself_is_found_out(state: Path, forgery: str) -> None:
    """All hashes were made anew by somebody who has the disk, but not the key."""
    signer(state).step()
    path = folders(state)[0]
    do, said = FORGERIES[forgery]
    do(path)
    found = verdict(path, state)
    assert not found.is_whole
    assert said in "; ".join(found.problems)


def test_what_is_proven_depends_on_who_vouches_for_the_key(state: Path, tmp_path: Path) -> None:
    """Nobody, its id, central's list with a retired key, and a stranger's."""
    signer(state, ClockState.FLOOR).step()
    path, key = folders(state)[0], device_key(state).public
    alone = examine(path)
    assert alone.is_whole
    assert "that this is the key of box-1" in "; ".join(alone.origins[0].unproven)
    assert "the time" in "; ".join(alone.origins[0].unproven)
    assert examine(path, keys=given_keys([key.keyid])).is_whole
    assert not examine(path, keys=given_keys(["0" * 32])).is_whole
    listed = tmp_path / "keys.json"
    row = {"key": key.text, "state": "retired", "retired_ms": 0, "why": "rotated"}
    listed.write_bytes(msgspec.json.encode({"device": "box-1", "keys": [row]}))
    assert "until 1970-01-01 (rotated)" in examine(path, keys=keys_in(listed)).origins[0].proven[1]
    listed.write_text(f"# the box in the shop\n{key.text}\n")
    assert examine(path, keys=keys_in(listed)).is_whole
    for text in ("", "x" * 43, "0" * 31, "../../etc/passwd"):
        with pytest.raises(ConfigError, match="no public key"):
            given_keys([text])


def test_a_copy_carries_its_proof(state: Path, tmp_path: Path) -> None:
    """Exported as a .zip, under another folder's name: it verifies far from the device."""
    signer(state).step()
    path = folders(state)[0]
    out = tmp_path / "handover.zip"
    export(
        [find(state / "evidence", path.name)],
        out,
        pixels=EVERYTHING,
        on_site=False,
        log=tmp_path / "log",
        now_at=datetime(2026, 3, 2, tzinfo=UTC),
    )
    with copies.opened(out) as (found,):
        moved = found.rename(found.with_name("box-1-ev"))
        done = examine(moved, keys=given_keys([device_key(state).public.text]), is_copy=True)
    assert done.problems == ()
    assert done.evidence == path.name


def test_a_receiver_without_this_program_comes_to_the_same_verdict(state: Path) -> None:
    """The example, with `cryptography` alone: as signed, and each kind of forgery is none."""
    path = Path(__file__).parents[3] / "examples" / "verify_evidence.py"
    spec = importlib.util.spec_from_file_location("verify_evidence_example", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    signer(state).step()
    package, key = folders(state)[0], device_key(state).public.text
    assert script.verify(package, key)["device"] == "box-1"
    with pytest.raises(script.Forged, match="not signed with this key"):
        script.verify(package, SigningKey.generate().public.text)
    _poster(package)
    with pytest.raises(script.Forged, match=r"poster\.jpg was changed"):
        script.verify(package, key)
    _another_package(package)
    with pytest.raises(script.Forged):
        script.verify(package, key)


class Keys(BaseHTTPRequestHandler):
    """A central that answers one question, badly where it is told to."""

    answer: tuple[int, bytes] = (200, b"")
    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        """Answer."""
        self.asked.append((self.path, self.headers["Authorization"]))
        status, body = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


def test_central_is_asked_for_the_keys_of_the_device_that_signed(state: Path) -> None:
    """Its list decides; silence, nonsense and refusals are errors and never a proof."""
    signer(state).step()
    path, key = folders(state)[0], device_key(state).public
    row = {"key": key.text, "state": "speaks"}
    listed = msgspec.json.encode({"device": "box-1", "keys": [row]})
    with ThreadingHTTPServer(("127.0.0.1", 0), Keys) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        keys = keys_of_central(f"http://127.0.0.1:{server.server_port}/", "secret")
        Keys.answer = (200, listed)
        assert "central knows that key" in examine(path, keys=keys).origins[0].proven[1]
        assert Keys.asked == [("/v1/devices/box-1/keys", "Bearer secret")]
        Keys.answer = (404, b"{}")
        assert "does not know as the device's" in examine(path, keys=keys).problems[0]
        for answer in ((200, b"<html>"), (200, b"[" * 90_000), (401, listed), (302, listed)):
            Keys.answer = answer
            with pytest.raises(ConfigError):
                examine(path, keys=keys)
        server.shutdown()
    with pytest.raises(ConfigError, match="does not answer"):
        examine(path, keys=keys)
    with pytest.raises(ConfigError):
        keys_of_central("http://central.example", "secret")


ARCHIVES: dict[str, list[tuple[str, bytes]]] = {
    "a way out": [("../evidence.json", b"{}")],
    "two ways out": [("a/../../evidence.json", b"{}")],
    "an absolute path": [("/etc/passwd", b"x")],
    "a hidden file": [("a/.evidence.json", b"{}")],
    "no folder": [("evidence.json", b"{}")],
    "nothing": [],
    "no package": [("a/readme", b"x")],
    "too many files": [(f"a/{n}", b"") for n in range(20)],
}


@pytest.mark.parametrize("attack", ARCHIVES)
def test_an_archive_that_is_no_handover_is_refused(tmp_path: Path, attack: str) -> None:
    """Names that lead elsewhere, too much, or nothing: an error in words, nothing written."""
    path = tmp_path / "handover.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in ARCHIVES[attack]:
            archive.writestr(name, data)
    with pytest.raises(EvidenceError), copies.opened(path):
        raise AssertionError("it was opened")


def test_an_archive_that_unpacks_to_more_than_a_clip_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bomb: counted while it is unpacked, whatever its directory states."""
    monkeypatch.setattr(copies, "MAX_CLIP_BYTES", 100_000)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/evidence.json", bytes(10_000_000))
    with pytest.raises(EvidenceError, match="more than a clip"), copies.opened(path):
        raise AssertionError("it was opened")


def test_junk_is_no_signature() -> None:
    """Empty, cut, of another shape: refused in words."""
    for raw in (b"", b"{}", b"\xff", b'{"key":"x","document":{}}', b"[]"):
        with pytest.raises(BadSignature):
            read_signature(raw)
