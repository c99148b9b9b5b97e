"""The door: what root does for an agent that may have been taken over, and what it does not."""

import hashlib
import os
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from vedette.clock import ManualClock
from vedette.edge.settings import SystemCommands
from vedette.edge.updating.adapters import Command
from vedette.edge.updating.door import AGAIN, ANSWER, Answer, Doorkeeper, FileDoor, Request
from vedette.edge.updating.signers import verifier
from vedette.trust.tuf.library import (
    CryptoSigner,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

IMAGE = b"a system" * 1000
SHA256 = hashlib.sha256(IMAGE).hexdigest()
TARGET = "system/image-2.raucb"


class Machine:
    """State of an agent, folder of root, a tool that writes down what it is called with."""

    def __init__(self, root: Path) -> None:
        self.state = root / "state"
        self.folder = root / "root"
        self.calls = root / "calls"
        self.image = self.state / "updates" / "installed" / "system" / SHA256 / "image"
        self.image.parent.mkdir(parents=True)
        self.image.write_bytes(IMAGE)
        (self.state / "system").mkdir()
        self.tuf_root = root / "etc" / "tuf-root.json"
        self.tuf_root.parent.mkdir()
        self.clock = ManualClock()
        self.door = FileDoor(self.state, self.folder)

    def publish(self, target: str = TARGET, image: bytes = IMAGE, *, days: int = 30) -> None:
        """Have a repository's metadata where the agent keeps it, and its root pinned by root."""
        signer = CryptoSigner.generate_ed25519()
        expires = self.clock.now_at() + timedelta(days=days)
        key = signer.public_key
        roles = {
            name: Role([key.keyid], 1) for name in ("root", "timestamp", "snapshot", "targets")
        }
        info = TargetFile.from_data(target, image)
        signed = {
            "root": Root(1, expires=expires, keys={key.keyid: key}, roles=roles),
            "timestamp": Timestamp(1, expires=expires, snapshot_meta=MetaFile(1)),
            "snapshot": Snapshot(1, expires=expires, meta={"targets.json": MetaFile(1)}),
            "targets": Targets(1, expires=expires, targets={target: info}),
        }
        made = {}
        for name, said in signed.items():
            metadata = Metadata(said)
            metadata.sign(signer)
            made[name] = metadata.to_bytes()
        self.tuf_root.write_bytes(made["root"])
        name = hashlib.sha256(made["root"]).hexdigest()[:16]
        theirs = self.state / "updates" / "tuf" / name
        theirs.mkdir(parents=True)
        for role, data in made.items():
            (theirs / f"{role}.json").write_bytes(data)

    def serve(self, *, verifies_itself: bool = False) -> Answer | None:
        """Have root look once."""
        commands = SystemCommands(
            install=["sh", "-c", f"cat $0 > {self.calls}", "{file}"],
            take_back=["true"],
            needs_boot=False,
        )
        keeper = Doorkeeper(
            self.state,
            Command(commands, limit_s=20),
            reboot=["sh", "-c", f"echo boot >> {self.calls}"],
            verify=verifier(
                self.state,
                self.clock,
                tuf_root=self.tuf_root,
                verifies_itself=verifies_itself,
                root_folder=self.folder,
            ),
            root_folder=self.folder,
        )
        return keeper.serve()

    def ask(self, **changes: object) -> Answer:
        """Have a request carried out; return the answer."""
        request = Request(id="r1", do="install", sha256=SHA256, target=TARGET)
        request = msgspec.structs.replace(request, **changes)
        self.door.ask(request)
        answer = self.serve()
        assert answer is not None
        return answer


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine."""
    return Machine(tmp_path)


def test_what_was_signed_for_systems_is_installed_once(machine: Machine) -> None:
    """From root's own copy; the same request again is not carried out again."""
    machine.publish()
    assert machine.ask() == Answer(id="r1", ok=True)
    assert machine.calls.read_bytes() == IMAGE
    machine.calls.unlink()
    assert machine.serve() is None
    assert machine.door.ask(Request(id="r1", do="install")) == Answer(id="r1", ok=True)
    assert not machine.calls.exists()
    assert (machine.folder / ANSWER).stat().st_mode & 0o777 == 0o644


def test_an_agent_that_was_taken_over_gets_nothing_else_installed(machine: Machine) -> None:
    """Another image, another target, another role's target, no pinned root: refused, untouched."""
    machine.publish()
    evil = b"evil" * 10
    sha256 = hashlib.sha256(evil).hexdigest()
    other = machine.image.parents[1] / sha256 / "image"
    other.parent.mkdir()
    other.write_bytes(evil)
    assert "bytes" in machine.ask(id="a", sha256=sha256).said
    assert "no target" in machine.ask(id="b", target="system/else").said
    assert "nothing for a system" in machine.ask(id="c", target="app/vedette.vapp").said
    machine.image.write_bytes(evil)
    assert "not the one" in machine.ask(id="d").said
    machine.tuf_root.unlink()
    machine.image.write_bytes(IMAGE)
    assert "nothing says who may sign" in machine.ask(id="e").said
    assert not machine.calls.exists()


def test_metadata_of_the_agent_s_own_making_is_not_believed(machine: Machine) -> None:
    """A whole repository signed by somebody else, beside a root that only root writes."""
    machine.publish()
    pinned = machine.tuf_root.read_bytes()
    mine = machine.state / "updates" / "tuf" / hashlib.sha256(pinned).hexdigest()[:16]
    machine.publish("system/evil", IMAGE)
    evil = machine.state / "updates" / "tuf"
    other = next(path for path in evil.iterdir() if path != mine)
    for path in other.glob("*.json"):
        (mine / path.name).write_bytes(path.read_bytes())
    machine.tuf_root.write_bytes(pinned)
    assert not machine.ask(target="system/evil").ok
    assert not machine.calls.exists()


def test_expired_metadata_installs_nothing(machine: Machine) -> None:
    """An agent cannot hold back time for root."""
    machine.publish(days=1)
    machine.clock.advance(3 * 86_400)
    assert not machine.ask().ok
    assert not machine.calls.exists()


@pytest.mark.parametrize(
    "request_text",
    [
        b"",
        b"{",
        b'{"id":"x","do":"run","argv":["sh"]}',
        b'{"id":"x","do":"install","sha256":"../../../../etc/shadow"}',
        b'{"id":"../x","do":"look"}',
        b'{"id":"x","do":"look","adapter":"command"}',
        b" " * 10_000,
    ],
)
def test_a_request_that_is_none_of_the_five_is_refused(
    machine: Machine, request_text: bytes
) -> None:
    """No command, no path, no option comes through."""
    machine.publish()
    (machine.state / "system" / "request.json").write_bytes(request_text)
    answer = machine.serve()
    assert answer is not None
    assert not answer.ok
    assert not machine.calls.exists()


def test_links_pipes_and_devices_in_the_agent_s_folder_are_not_read(machine: Machine) -> None:
    """Root neither follows a link of the agent's nor waits at its pipe."""
    machine.publish()
    secret = machine.folder.parent / "secret"
    secret.write_bytes(IMAGE)
    machine.image.unlink()
    machine.image.symlink_to(secret)
    assert not machine.ask(id="a").ok
    machine.image.unlink()
    os.mkfifo(machine.image)
    assert "no plain file" in machine.ask(id="b").said
    request = machine.state / "system" / "request.json"
    request.unlink()
    os.mkfifo(request)
    answer = machine.serve()
    assert answer is not None
    assert not answer.ok
    assert not machine.calls.exists()


def test_a_reboot_is_answered_before_it_happens_and_happens_once(machine: Machine) -> None:
    """A machine that came back does not boot again for the same request."""
    assert machine.ask(id="boot.1", do="reboot").ok
    assert machine.serve() is None
    assert machine.calls.read_text() == "boot\n"


def test_a_request_that_root_missed_is_written_again(machine: Machine) -> None:
    """A file that changed while root looked away changes once more."""
    request = Request(id="r1", do="look")
    path = machine.state / "system" / "request.json"
    assert machine.door.ask(request) is None
    path.unlink()
    for _ in range(AGAIN):
        assert machine.door.ask(request) is None
    assert path.exists()
