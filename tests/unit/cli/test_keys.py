"""The ceremony of docs/keys.md, followed by three people with their own key files."""

import json
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from vedette.central.releases.keeping import OnlineKeys
from vedette.central.rollouts.ordering import NewRollout, complaints, plan_of
from vedette.cli import keys_change
from vedette.cli.keys import command
from vedette.cli.main import explain
from vedette.errors import VedetteError
from vedette.trust.tuf import keyfiles
from vedette.trust.tuf.delta_paths import read_delta_path
from vedette.trust.tuf.hosting import Hosted, admit
from vedette.trust.tuf.offline import OfflineRepository

WORDS = "correct horse battery"
TOKEN = "an-api-token"


class Table:
    """A folder with everybody's files, and the commands typed in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "words.txt").write_text(f"{WORDS}\n")
        self.online = OnlineKeys.load_or_make(folder / "state")
        (folder / "from-central").mkdir()
        for name, data in self.online.public_files.items():
            (folder / "from-central" / name).write_bytes(data)

    def run(self, line: str, *, fails: bool = False, typed: str = "") -> str:
        """Type a command; return what it printed."""
        done: Result = CliRunner().invoke(command, line.split(), input=typed)
        if isinstance(done.exception, VedetteError):
            assert fails, explain(done.exception)
            return explain(done.exception)
        assert (done.exit_code != 0) == fails, done.output
        assert WORDS not in done.output
        return done.output

    def begin(self) -> None:
        """Have a complete repository: two of three people, models by a key of the team."""
        for name in ("anna", "ben", "cleo", "team"):
            self.run(f"new {name}.key --passphrase-file words.txt")
        self.run(
            "init --key anna.pub --key ben.pub --key cleo.pub --threshold 2"
            " --role models=team.pub --central from-central"
        )
        self.sign("anna", "ben", "team")

    def sign(self, *names: str) -> str:
        """Have these sign all that is theirs."""
        said = [
            self.run(f"sign --key {name}.key --yes --passphrase-file words.txt") for name in names
        ]
        return said[-1]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    """An empty one; keys cost little to open here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keyfiles, "_SCRYPT", (2**10, 8, 1))
    monkeypatch.setattr(keyfiles.make_key, "__kwdefaults__", {"n": 2**10})
    return Table(tmp_path)


def test_a_repository_is_begun_changed_and_handed_over(table: Table) -> None:
    """Begin, add, approve, take back, rotate: at the end central would take all of it."""
    table.begin()
    (table.folder / "model").write_bytes(b"a model")
    table.run("add-target model --as models/yolox/1.0.0.vbundle")
    table.sign("team")
    said = table.run(
        f"approve autumn --target models/yolox/1.0.0.vbundle --site berlin-1 --days 7"
        f" --digest models/yolox/1.0.0.vbundle=sha256:{'ab' * 32}"
    )
    assert "berlin-1" in said
    assert "2 more must sign" in said
    shown = table.sign("anna")
    assert "approval autumn" in shown  # before it is signed
    assert "1 more must sign" in shown
    table.sign("cleo")
    offline = OfflineRepository(table.folder / "repository")
    assert [one.rollout for one in offline.approvals()] == ["autumn"]
    table.run("revoke-approval autumn")
    table.sign("ben", "cleo")
    assert offline.approvals() == []
    table.run("new dora.key --passphrase-file words.txt")
    anna = json.loads((table.folder / "anna.pub").read_bytes())["keyid"]
    table.run(f"rotate root --remove {anna[:12]} --add dora.pub")
    table.sign("ben", "cleo")
    states = json.loads(table.run("status --json"))
    assert {row["role"]: (row["version"], row["staged"]) for row in states}["root"] == (2, 0)
    hosted = admit(Hosted(), offline.files(), table.online.ids, datetime.now(UTC))
    assert max(hosted.roots) == 2


def test_deltas_are_made_with_a_new_version_signed_with_it_and_gone_with_it(table: Table) -> None:
    """From the versions before it, by name; only where they save enough."""
    table.begin()
    first = random.Random(1).randbytes(400_000)
    versions = {"1.9.0": first, "1.10.0": first + b"a threshold", "1.2.0": first[::-1]}
    for number, data in versions.items():
        (table.folder / number).write_bytes(data)
        said = table.run(f"add-target {number} --as models/yolox/{number}.vbundle")
    assert "delta" not in said  # nothing comes before 1.2.0
    (table.folder / "new").write_bytes(first[:5000] + b"new weights" + first[5000:])
    said = table.run("add-target new --as models/yolox/1.11.0.vbundle")
    assert "\ndelta from models/yolox/1.10.0.vbundle" in said
    assert "\ndelta from models/yolox/1.9.0.vbundle" in said
    assert "no delta from models/yolox/1.2.0.vbundle" in said
    said = table.sign("team")
    offline = OfflineRepository(table.folder / "repository")
    names = [one for path in offline.target_files() if (one := read_delta_path(path))]
    hashes = {path: said[0] for path, said in offline.target_files().items()}
    new = hashes["models/yolox/1.11.0.vbundle"]
    assert {(one.before, one.after) for one in names} == {
        (hashes["models/yolox/1.9.0.vbundle"], hashes["models/yolox/1.10.0.vbundle"]),
        (hashes["models/yolox/1.9.0.vbundle"], new),
        (hashes["models/yolox/1.10.0.vbundle"], new),
    }
    said = table.run("remove-target models/yolox/1.10.0.vbundle")
    assert said.count("goes with it") == 2
    table.run("add-target new --as models/yolox/1.12.0.vbundle --no-deltas")
    said = table.run(
        "add-target new --as models/yolox/2.vbundle --delta-from models/x/1", fails=True
    )
    assert "no models/x/1" in said
    left = [path for path in offline.named("models") if read_delta_path(path)]
    assert len(left) == 1
    assert not list((table.folder / "repository").glob(".*delta*"))


def test_a_rollout_is_drafted_from_what_the_repository_holds(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashes and lengths are not typed by hand: the draft names what `approve` would."""
    table.begin()
    for version in ("2", "3"):
        (table.folder / "overlay").write_bytes(f"overlay {version}".encode())
        table.run(f"add-target overlay --as config/quiet/{version}.json --no-deltas")
    said = table.run(
        "draft quiet-3 --target config/quiet/3.json --back config/quiet/2.json --site berlin-1"
        " --window 22:00 05:00"
    )
    plan = plan_of(msgspec.json.decode(said, type=NewRollout))
    assert complaints(plan) == []
    assert (plan.slot, plan.sites, plan.windows) == ("config", ["berlin-1"], [("22:00", "05:00")])
    assert (plan.artefact.bytes, plan.artefact.version) == (len("overlay 3"), "3")
    assert plan.back is not None
    assert plan.back.target == "config/quiet/2.json"
    (table.folder / "model").write_bytes(b"a model")
    table.run("add-target model --as models/yolox/1.vbundle")
    monkeypatch.setattr(keys_change, "_digest_of", lambda file: f"sha256:{'ab' * 32}")
    line = "draft yolox-1 --target models/yolox/1.vbundle"
    assert "into which slot" in table.run(line, fails=True), "its name need not be the slot's"
    assert json.loads(table.run(f"{line} --slot people"))["slot"] == "people"
    assert "no config/quiet/4.json" in table.run(
        "draft quiet-4 --target config/quiet/4.json", fails=True
    )


def test_whoever_signs_is_asked_and_may_say_no(table: Table) -> None:
    """What would be signed is printed first; after a no nothing is signed."""
    table.begin()
    table.run("prolong root")
    line = "sign --key anna.key --passphrase-file words.txt"
    said = table.run(line, typed="n\n", fails=True)
    assert "root version 2" in said
    assert "snapshot: 1 of" in said
    assert "Aborted" in said
    row = next(r for r in json.loads(table.run("status --json")) if r["role"] == "root")
    assert row["signed"] == []
    assert "anna.key signed root" in table.run(line, typed="y\n")


def test_what_goes_wrong_is_said_with_what_to_do(table: Table) -> None:
    """A stranger's key, a wrong passphrase, nothing complete, an unknown target."""
    assert "vedette keys init" in table.run("prolong root", fails=True)
    table.begin()
    (table.folder / "words.txt").write_text("something else entirely\n")
    table.run("prolong root")
    said = table.run("sign --key anna.key --yes --passphrase-file words.txt", fails=True)
    assert "passphrase does not open" in said
    assert "not enough have signed" in table.run("publish --central http://127.0.0.1:9", fails=True)
    said = table.run("approve r --target models/x/1 --site '*'", fails=True)
    assert "add-target" in said
    assert "already" in table.run("init --key anna.pub --central from-central", fails=True)
    assert "as models=team.pub" in table.run(
        "init --key anna.pub --role root=anna.pub --central from-central", fails=True
    )


class Receiver(BaseHTTPRequestHandler):
    """The operator API as far as publishing needs it; breaks off once in the middle."""

    come: dict[str, bytes]
    offered: dict[str, Any]
    breaks: list[int]

    def _answer(self, said: object, status: int = 200) -> None:
        data = msgspec.json.encode(said)
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _body(self) -> Any:
        assert self.headers["Authorization"] == f"Bearer {TOKEN}"
        return msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self) -> None:
        sha256 = self.path.rpartition("/")[2]
        self._answer({"bytes": len(self.come.get(sha256, b"")), "whole": False})

    def do_PUT(self) -> None:
        sha256, said = self.path.rpartition("/")[2], self._body()
        if self.breaks:
            self.breaks.pop()
            self._answer({"detail": "later"}, 503)
            return
        part = msgspec.convert(said["data"], bytes)
        have = self.come.get(sha256, b"")
        assert said["begin"] == len(have)
        self.come[sha256] = have + part
        self._answer({"bytes": len(have + part), "whole": len(have + part) == said["total"]})

    def do_POST(self) -> None:
        self.offered.update(self._body()["files"])
        self._answer({"versions": {"root": 1}})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Keep quiet."""


@pytest.fixture
def receiver() -> Iterator[ThreadingHTTPServer]:
    """A server on loopback."""
    Receiver.come, Receiver.offered, Receiver.breaks = {}, {}, [1]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_publishing_sends_files_in_parts_and_then_all_metadata(
    table: Table, receiver: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a line that breaks; the token comes from a file or the environment."""
    table.begin()
    data = bytes(range(256)) * 2500
    (table.folder / "model").write_bytes(data)
    table.run("add-target model --as models/yolox/1.0.0.vbundle")
    table.sign("team")
    url = f"http://127.0.0.1:{receiver.server_port}"
    assert "token is needed" in table.run(f"publish --central {url}", fails=True)
    monkeypatch.setenv("VEDETTE_TOKEN", TOKEN)
    assert "root 1" in table.run(f"publish --central {url}")
    assert list(Receiver.come.values()) == [data]
    assert "2.models.json" in Receiver.offered
    place = next((table.folder / "repository/targets/models/yolox").iterdir())
    place.write_bytes(b"changed")
    assert "not what was signed" in table.run(f"publish --central {url}", fails=True)
