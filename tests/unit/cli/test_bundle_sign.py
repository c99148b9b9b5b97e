"""Bundles that travel by hand: signed by people's keys, and refused where they were not."""

import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from vedette.cli import keys
from vedette.cli.bundle import command
from vedette.cli.main import explain
from vedette.errors import VedetteError
from vedette.sim.closed_world import write_bundle
from vedette.trust.tuf import bundles, keyfiles
from vedette.wire.signed import Signed

WORDS = "correct horse battery"


class Desk:
    """A folder with keys, and bundles to sign in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.words = folder / "words.txt"
        self.words.write_text(f"{WORDS}\n")
        for name in ("anna", "ben"):
            self.type(keys.command, "new", f"{name}.key", "--passphrase-file", "words.txt")
        write_bundle(folder / "models" / "walkers")

    def type(self, what, *words: str, fails: bool = False) -> str:
        """Type a command; return what it printed."""
        done: Result = CliRunner().invoke(what, list(words))
        if isinstance(done.exception, VedetteError):
            assert fails, explain(done.exception)
            return explain(done.exception)
        assert (done.exit_code != 0) == fails, done.output
        assert WORDS not in done.output
        return done.output

    def sign(
        self, who: str = "anna", name: str = "walkers", *more: str, fails: bool = False
    ) -> str:
        key = ("--key", f"{who}.key", "--passphrase-file", "words.txt")
        return self.type(command, "sign", name, *key, *more, fails=fails)

    def verify(self, *more: str, name: str = "walkers", fails: bool = False) -> str:
        return self.type(command, "verify", name, *more, fails=fails)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Anna and Ben with their keys; scrypt at its least cost."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keyfiles, "_SCRYPT", (2**4, 8, 1))
    return Desk(tmp_path)


def test_what_anna_signed_is_hers_wherever_it_is_copied(desk: Desk) -> None:
    """Verified by her public key, in the folder and as a copy with its signature beside it."""
    assert "written: " in desk.sign()
    told = json.loads(desk.verify("--signer", "anna.pub", "--json"))
    assert told["signed_by"] == [keyfiles.read_public(Path("anna.pub")).keyid]
    shutil.copytree("models/walkers", "stick/walkers")
    shutil.copy("models/walkers.sig", "stick/walkers.sig")
    assert "signed by the key" in desk.verify("--signer", "anna.pub", name="stick/walkers")
    assert "--signer FILE.pub checks whose it is" in desk.verify()


def test_the_folder_where_one_stands_is_signed_beside_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`./` has no name of its own."""
    monkeypatch.chdir("models/walkers")
    key = ("--key", "../../anna.key", "--passphrase-file", "../../words.txt")
    desk.type(command, "sign", "./", *key)
    assert (desk.folder / "models" / "walkers.sig").is_file()
    assert "signed by" in desk.verify("--signer", "../../anna.pub", name="./")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_file_is_no_signature_and_is_not_waited_for(desk: Desk, make) -> None:
    """Neither read nor written over."""
    make("models/walkers.sig")
    assert "is no file" in desk.verify("--signer", "anna.pub", fails=True)
    assert "is no file" in desk.sign(fails=True)


def test_two_of_two_sign_one_after_the_other(desk: Desk) -> None:
    """The second adds to the first; a signature again is the same one; one is not two."""
    desk.sign("anna")
    both = ("--signer", "anna.pub", "--signer", "ben.pub", "--threshold", "2")
    assert "1 of 2 wanted signatures" in desk.verify(*both, fails=True)
    desk.sign("ben")
    desk.sign("anna")
    assert desk.verify(*both).count("signed by the key") == 2
    twice = ("--signer", "anna.pub", "--signer", "anna.key", "--threshold", "2")
    assert "1 of 2 wanted signatures" in desk.verify(*twice, fails=True)


def test_another_bundle_under_the_same_name_is_refused(desk: Desk) -> None:
    """The signature is over every byte, name and version; nothing of it is opened."""
    desk.sign()
    shutil.rmtree("models/walkers")
    write_bundle(Path("models/walkers"), version="1.1")
    assert "about another bundle" in desk.verify("--signer", "anna.pub", fails=True)
    assert "about another bundle" in desk.sign("ben", fails=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--signer", "ben.pub"), "0 of 1 wanted"),
        (("--signer", "anna.pub", "--signature", "none.sig"), "cannot read none.sig"),
        (("--signature", "models/walkers.sig"), "without knowing whose it is"),
        (("--signer", "anna.pub", "--threshold", "2"), "needs as many --signer"),
        (("--signer", "words.txt"), "holds no public key"),
    ],
)
def test_what_proves_nothing_is_refused_in_words(
    desk: Desk, words: tuple[str, ...], said: str
) -> None:
    """Another's key, no signature, no signer, too few signers, a file that is no key."""
    desk.sign()
    assert said in desk.verify(*words, fails=True)


def _turned(signed: Signed) -> bytes:
    one = signed.signatures[0]
    flipped = ("A" if one.sig[0] != "A" else "B") + one.sig[1:]
    bad = [msgspec.structs.replace(one, sig=flipped)]
    return msgspec.json.encode(msgspec.structs.replace(signed, signatures=bad))


def _many(signed: Signed) -> bytes:
    listed = [signed.signatures[0]] * 17
    return msgspec.json.encode(msgspec.structs.replace(signed, signatures=listed))


@pytest.mark.parametrize(
    "make",
    [
        lambda _: b"",
        lambda _: b"{}",
        lambda _: b"[" * 30_000,
        lambda _: b" " * (bundles.MAX_BYTES + 1),
        lambda signed: msgspec.json.encode(signed)[:-9],
        lambda signed: msgspec.json.encode(msgspec.structs.replace(signed, payload_type="x")),
        lambda signed: msgspec.json.encode(msgspec.structs.replace(signed, payload="!")),
        lambda signed: msgspec.json.encode(msgspec.structs.replace(signed, signatures=[])),
        _turned,
        _many,
    ],
    ids=["empty", "no fields", "deep", "large", "cut", "type", "text", "none", "turned", "many"],
)
def test_a_hostile_signature_is_refused(desk: Desk, make) -> None:
    """As an error in words, never as one of Python's."""
    desk.sign()
    place = Path("models/walkers.sig")
    signed = msgspec.json.decode(place.read_bytes(), type=Signed)
    place.write_bytes(make(signed))
    assert desk.verify("--signer", "anna.pub", fails=True)
