"""The life of a rollout played for real: offline keys, central, and a device with its pipeline.

Every process is the product's own: `vedette central run` with its PostgreSQL, `vedette edge run`
with its pipeline on made-up footage. Keys, repository and approvals are made by `vedette keys`, the
bundles are the closed world's. What is short is said by configuration: probation and stage.
"""

import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
import pytest
import yaml
from click.testing import CliRunner

from tests import prepared
from vedette.central import serve
from vedette.central.releases import keeping
from vedette.cli import central, edge, keys
from vedette.clock import SystemClock, wall_ms
from vedette.edge import heartbeat
from vedette.edge.agent import read_status
from vedette.inference import bundle as bundles
from vedette.inference.bundle import Bundle
from vedette.sim import footage
from vedette.sim.books import database_of
from vedette.sim.closed_world import Quirk, World, back_and_forth, write_bundle
from vedette.sim.demo.operator import Operator
from vedette.sim.faults import Child, free_port, wait_until
from vedette.sim.repository import RepositoryRig
from vedette.sim.rig import central_child, central_folder, open_central
from vedette.trust import dsse
from vedette.trust.keys import SigningKey
from vedette.trust.tuf import keyfiles
from vedette.trust.tuf.hosting import Hosted, sign_snapshot, sign_timestamp, version_of
from vedette.wire.evaluation import (
    WAIVER_TYPE,
    CameraDay,
    DataSet,
    EvaluationRecord,
    HardwareTimes,
    StepTime,
    Tally,
    Waiver,
)
from vedette.wire.slots import ArtefactKind, UpdateHealth, UpdateState
from vedette.wire.updates import ASSIGNMENT_TYPE, Artefact, Assigned, Assignment

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

SITE: Final = "yard"
DEVICE: Final = "box"
SLOT: Final = "walkers"
WORDS: Final = "correct horse battery"
DAY_MS: Final = 86_400_000
STEPS: Final = [
    "downloaded", "verified", "waiting_window", "activating", "probation", "confirmed"
]  # fmt: skip
ASK: Final = f"/v1/sites/{SITE}/devices/{DEVICE}/diagnostics"
ONLINE: Final = {"root", "snapshot", "timestamp"}
PROGRAMS: Final = {"central": central.command, "edge": edge.command, "keys": keys.command}


class Town:
    """Central, two people with keys, a repository, and one device with a camera."""

    def __init__(self, folder: Path, central_dir: Path) -> None:
        self.clock = SystemClock()
        self.folder, self.central_dir = folder, central_dir
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.operator = Operator(self.url)
        prepared.lay_out(central_dir)
        self.central = central_child(central_dir, port, folder / "central.log")
        self.state = folder / "state"
        run = [sys.executable, "-m", "vedette.cli.main", "edge", "run"]
        self.agent = Child(
            "agent", [*run, "--config", str(folder / "edge.yaml")], folder / "agent.log"
        )

    # ------------------------------------------------------------------------------------- people

    def type(self, *words: str) -> str:
        """Type `vedette …` at a terminal; return what it prints."""
        room, *rest = words
        done = CliRunner().invoke(PROGRAMS[room], rest)
        assert done.exit_code == 0, f"{words}: {done.output} {done.exception!r}"
        return done.stdout

    def at_central(self, *words: str) -> str:
        """Type `vedette central …` at central's terminal."""
        return self.type("central", "--state", str(self.central_dir), *words)

    def keys(self, *words: str) -> str:
        """Type `vedette keys …` where the keys are."""
        command, *rest = words
        return self.type("keys", command, "--repository", str(self.folder / "repository"), *rest)

    def sign(self) -> None:
        """Have both people sign what is staged, and publish it."""
        passphrase = ["--passphrase-file", str(self.folder / "words.txt")]
        for name in ("anna", "ben"):
            self.keys("sign", "--key", str(self.folder / f"{name}.key"), "--yes", *passphrase)
        token = self.folder / "token.txt"
        self.keys("publish", "--central", self.url, "--token-file", str(token))

    # -------------------------------------------------------------------------------------- build

    def build(self) -> None:
        """Have everything run: central, an empty repository, the device on its first model."""
        open_central(self.central, self.operator, self.clock)
        self.operator.add_site(SITE, "Yard", SigningKey.generate().public.text)
        self._begin_repository()
        write_bundle(self.folder / "models" / SLOT)
        world = World([back_and_forth(1, y=0.8, start_s=0.0, legs=4, leg_s=2.0)], hurt_s=[(0, 9)])
        footage.encode(self.folder / "loop.mp4", world.pictures(8, 10), fps=10, gop_s=1.0)
        tree = {
            "state_dir": str(self.state),
            "models_dir": str(self.folder / "models"),
            "central": {"url": self.url},
            "telemetry": {"report_period_s": 1, "aggregate_period_s": 1},
            "cameras": [
                {
                    "id": "door",
                    "source": str(self.folder / "loop.mp4"),
                    "model": SLOT,
                    "loop": True,
                    "max_fps": 10,
                    "gate": {"enabled": False},
                }
            ],
        }
        (self.folder / "edge.yaml").write_text(yaml.safe_dump(tree))
        token = self.operator.claim_token(SITE, DEVICE)
        self.type("edge", "enrol", "--config", str(self.folder / "edge.yaml"), "--token", token)
        self.agent.start()

    def _begin_repository(self) -> None:
        (self.folder / "words.txt").write_text(f"{WORDS}\n")
        token = self.at_central("token", "add", "admin", "--label", "releases")
        (self.folder / "token.txt").write_text(token)
        self.at_central("releases", "keys", "--out", str(self.folder / "from-central"))
        people = []
        for name in ("anna", "ben"):
            file = str(self.folder / f"{name}.key")
            self.type("keys", "new", file, "--passphrase-file", str(self.folder / "words.txt"))
            people += ["--key", str(self.folder / f"{name}.pub")]
        central = ["--central", str(self.folder / "from-central")]
        self.keys("init", *people, "--threshold", "2", *central)
        self.sign()

    # ----------------------------------------------------------------------------------- releases

    def release(self, rollout: str, bundle: Bundle, *back: dict[str, Any]) -> dict[str, Any]:
        """Have a bundle registered, signed and approved, with what one may have to go back to.

        Returns:
            What a rollout says of it.
        """
        said = bundle.manifest
        packed = self.folder / f"{said.version}.vbundle"
        bundles.pack(bundle, packed)
        manifest = msgspec.json.decode((bundle.path / "bundle.json").read_bytes())
        self.operator.call("POST", "/v1/models/versions", {"manifest": manifest})
        target = f"models/{said.name}/{said.version}.vbundle"
        self.keys("add-target", str(packed), "--as", target)
        named = [word for one in back for word in ("--target", str(one["target"]))]
        self.keys("approve", rollout, "--target", target, *named, "--site", SITE, "--days", "7")
        self.sign()
        return {
            "kind": "models",
            "target": target,
            "name": said.name,
            "version": said.version,
            "bytes": packed.stat().st_size,
            "sha256": hashlib.sha256(packed.read_bytes()).hexdigest(),
            "digest": bundle.digest,
        }

    def evaluate(self, bundle: Bundle) -> None:
        """Have the registry know that a version is good."""
        ask = {"policy": {"classes": ["person"]}, "incumbent": None}
        self.operator.call("PUT", f"/v1/models/{SLOT}", ask)
        path = f"/v1/models/{SLOT}/versions/{bundle.digest}/evaluations"
        self.operator.call("POST", path, msgspec.to_builtins(record(bundle, self.now_ms)))

    def waive(self, bundle: Bundle) -> None:
        """Have somebody sign that no gate shall hold a version back."""
        key = SigningKey.generate()
        named = {"key": key.public.text, "name": "Cleo"}
        self.operator.call("POST", "/v1/model-signers", named)
        waiver = Waiver(
            digest=bundle.digest,
            gates=["*"],
            reason="to see what the device makes of it",
            by="Cleo",
            issued_ms=self.now_ms,
            expires_ms=self.now_ms + DAY_MS,
        )
        signed = dsse.sign_struct(waiver, WAIVER_TYPE, [key])
        path = f"/v1/models/{SLOT}/versions/{bundle.digest}/waivers"
        self.operator.call("POST", path, msgspec.to_builtins(signed))

    def plan(self, rollout: str, artefact: dict[str, Any]) -> dict[str, Any]:
        """Return a rollout with one short stage."""
        return {
            "rollout": rollout,
            "kind": "models",
            "slot": SLOT,
            "artefact": artefact,
            "sites": [SITE],
            "stages": [{"state": "canary", "devices": 1, "soak_h": 0.0, "at_most_h": 0.002}],
            "gates": {"needs_shadow": False},
            "probation_s": 2.0,
        }

    def roll_out(self, plan: dict[str, Any]) -> None:
        """Have a rollout made by one person, approved by a second, and started."""
        rollout = plan["rollout"]
        self.operator.call("POST", "/v1/rollouts", plan)
        self.at_central("rollouts", "approve", rollout, "--by", "ben")
        self.order(rollout, "start")

    def order(self, rollout: str, order: str, **more: object) -> None:
        """Give an order, through the API."""
        self.operator.call("POST", f"/v1/rollouts/{rollout}/orders", {"order": order, **more})

    # ------------------------------------------------------------------------------------ looking

    @property
    def now_ms(self) -> int:
        """The time."""
        return wall_ms(self.clock.now_at())

    def view(self, rollout: str) -> dict[str, Any]:
        """Return what central says of a rollout."""
        return self.operator.call("GET", f"/v1/rollouts/{rollout}")

    def gate(self, rollout: str, name: str) -> str:
        """Return what a gate said last; an impatient operator has each turn begun."""
        self.order(rollout, "include", devices=["nobody"])
        return next(one["verdict"] for one in self.view(rollout)["gates"] if one["gate"] == name)

    def reaches(self, rollout: str, state: str) -> dict[str, Any]:
        """Wait until a rollout is in a state; an impatient operator has each turn begun."""

        def is_there() -> bool:
            if self.view(rollout)["row"]["state"] == state:
                return True
            self.order(rollout, "include", devices=["nobody"])
            return False

        self.wait_for(f"{rollout} is {state}", is_there, poll_s=1.0)
        return self.view(rollout)

    def slot(self) -> UpdateHealth | None:
        """Return what the device says of its slot."""
        report = read_status(self.state)
        return next((one for one in report.updates if one.slot == SLOT), None) if report else None

    def wait_for(self, what: str, is_true: Callable[[], bool], poll_s: float = 0.2) -> None:
        """Wait until something is true."""
        both = [self.central, self.agent]
        try:
            wait_until(what, is_true, self.clock, timeout_s=90, alive=both, poll_s=poll_s)
        except TimeoutError as error:
            told = self.operator.call("GET", "/v1/rollouts")["rollouts"]
            words = [f"{r['plan']['rollout']} {r['state']}: {r['reason']}" for r in told]
            raise AssertionError(f"{error}; {self.slot()}; {words}") from error

    def comes_to(
        self, state: UpdateState, rollout: str, attempt: int, running: str
    ) -> UpdateHealth:
        """Wait until the device says that this is what became of an attempt; return its slot."""

        def look() -> bool:
            slot = self.slot()
            return slot is not None and (slot.rollout, slot.attempt, slot.state, slot.running) == (
                rollout, attempt, state, running,
            )  # fmt: skip

        self.wait_for(f"{rollout} {attempt} is {state} and {running} runs", look)
        slot = self.slot()
        assert slot is not None
        return slot

    def steps(self, rollout: str) -> list[str]:
        """Return the states of the device by its own word, the first one first."""
        path = f"/v1/rollouts/{rollout}/history?device={DEVICE}"
        told = self.operator.call("GET", path)["history"]
        return [one["state"] for one in reversed(told) if one["actor"] == "device"]

    def pipeline(self) -> tuple[int, int]:
        """Return the pipeline's process, and how often one ended that nobody asked to."""
        beat, report = heartbeat.read(self.state), read_status(self.state)
        assert beat is not None
        assert report is not None
        assert report.pipeline is not None
        return beat.pid, report.pipeline.crashes


class Thief:
    """Has all that central has: its database, its folder with all keys, its answers to devices."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.db = database_of(town.central_dir)
        self.key = serve.online_key(town.central_dir)
        self.bundle = write_bundle(town.folder / "evil" / SLOT, version="6.6.6", golden=True)
        packed = town.folder / "evil.vbundle"
        bundles.pack(self.bundle, packed)
        self.data = packed.read_bytes()
        self.artefact = Artefact(
            kind=ArtefactKind.MODEL,
            target=f"models/{SLOT}/6.6.6.vbundle",
            sha256=hashlib.sha256(self.data).hexdigest(),
            bytes=len(self.data),
            digest=self.bundle.digest,
            name=SLOT,
            version="6.6.6",
        )

    def assign(self, rollout: str, attempt: int) -> None:
        """Have the device assigned what nobody approved, signed by central's own key."""
        with psycopg.connect(self.db) as db:
            row = db.execute("SELECT assignment_version FROM devices").fetchone()
            assert row is not None
            item = Assigned(
                rollout=rollout, slot=SLOT, artefact=self.artefact, attempt=attempt, probation_s=0.0
            )
            said = Assignment(
                device=DEVICE, version=row[0] + 1, issued_ms=self.town.now_ms, items=[item]
            )
            signed = dsse.sign_struct(said, ASSIGNMENT_TYPE, [self.key])
            db.execute(
                "UPDATE devices SET assignment = %s, assignment_version = %s",
                (msgspec.json.encode(signed), said.version),
            )
        self.town.operator.call("POST", ASK, {"kind": "config"})  # wakes the device

    def publish(self, rollout: str) -> None:
        """Name the bundle and approve it in the repository: central's two keys sign together."""
        own = RepositoryRig(self.town.folder / "evil-keys", self.town.clock)
        own.add(self.artefact.target, self.data, digest=self.artefact.digest)
        own.approve(rollout, [self.artefact], ["*"])
        blobs = keeping.release_blobs(self.town.central_dir)
        with psycopg.connect(self.db) as db:
            rows = db.execute(
                "SELECT role, version, body FROM release_metadata ORDER BY version"
            ).fetchall()
            newest = {role: (version, body) for role, version, body in rows}
            kept = {role: found for role, found in newest.items() if role not in ONLINE}
            for role in ("models", "approvals"):
                version = newest[role][0] + 1
                kept[role] = version, _later(own, role, version)
                self._put(db, role, *kept[role])
            hosted = Hosted(
                roots={1: newest["root"][1]},
                roles={role: body for role, (_, body) in kept.items()},
                versions={role: version for role, (version, _) in kept.items()},
            )
            now_at, keys = (
                self.town.clock.now_at(),
                keeping.OnlineKeys.load_or_make(self.town.central_dir),
            )
            snapshot = sign_snapshot(hosted, keys.snapshot, newest["snapshot"][0], now_at)
            timestamp = sign_timestamp(snapshot, keys.timestamp, newest["timestamp"][0], now_at)
            self._put(db, "snapshot", version_of(snapshot), snapshot)
            self._put(db, "timestamp", version_of(timestamp), timestamp)
            for path, (sha256, size, file) in own.offline.target_files().items():
                blobs.append(sha256, keeping.UPLOAD, 0, file.read_bytes(), size)
                blobs.finish(sha256, keeping.UPLOAD)
                db.execute("DELETE FROM release_files WHERE path = %s", (path,))
                db.execute("INSERT INTO release_files VALUES (%s, %s, %s)", (path, sha256, size))

    def _put(self, db: "psycopg.Connection[Any]", role: str, version: int, data: bytes) -> None:
        until_ms = self.town.now_ms + DAY_MS
        db.execute(
            "INSERT INTO release_metadata (role, version, body, expires_ms, received_ms,"
            " received_by) VALUES (%s, %s, %s, %s, %s, 'admin')",
            (role, version, data, until_ms, self.town.now_ms),
        )


def _later(own: RepositoryRig, role: str, version: int) -> bytes:
    """Return a role of the thief's own repository under a version that devices have not seen."""
    made = own.offline.complete(role)
    assert made is not None
    made.signed.version = version
    made.signatures.clear()
    for signer in own.people[role]:
        made.sign(signer, append=True)
    return made.to_bytes()


def record(bundle: Bundle, now_ms: int) -> EvaluationRecord:
    """Return an evaluation that passes every gate."""
    step = StepTime(runs=200, p50_ms=2, p95_ms=3, p99_ms=4, p95_low_ms=2, p95_high_ms=4)
    names = ("preprocess", "inference", "postprocess", "model")
    days = [
        CameraDay(
            site=SITE, camera=f"c{n}", day="2026-05-17", pictures=50, tallies={"person": Tally(50)}
        )
        for n in range(100)
    ]
    return EvaluationRecord(
        digest=bundle.digest,
        at_ms=now_ms,
        by="test",
        method="made up",
        data=DataSet(name="made up", sha256="ab" * 32, pictures=5000),
        days=days,
        hardware=[
            HardwareTimes(
                hardware="here", runtime="onnxruntime", steps=dict.fromkeys(names, step),
                load_s=1.0, golden_ok=True,
            )
        ],
    )  # fmt: skip


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A town that is ended whatever happens; keys cost little to open here."""
    folder = tmp_path_factory.mktemp("town")
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(keyfiles, "_SCRYPT", (2**10, 8, 1))
        patch.setattr(keyfiles.make_key, "__kwdefaults__", {"n": 2**10})
        built = Town(folder, central_folder(folder / "central", stack))
        stack.callback(built.central.stop)
        stack.callback(built.agent.stop)
        built.build()
        yield built


def test_a_good_model_reaches_the_device_and_a_bad_one_comes_back_by_itself(town: Town) -> None:
    """Published, approved, ordered; fetched, proven, swapped, confirmed; then one that fails."""
    first = Bundle.open(town.folder / "models" / SLOT)
    good = write_bundle(town.folder / "good" / SLOT, version="2.0", golden=True)
    named = town.release("good", good)
    town.evaluate(good)
    town.wait_for(
        "the first model runs", lambda: (s := town.slot()) is not None and bool(s.running)
    )
    slot = town.slot()
    assert slot is not None
    assert slot.running == first.digest
    plan = town.plan("good", named)
    town.wait_for(
        "central knows what runs",
        lambda: town.operator.call("POST", "/v1/rollouts/plan", plan)["taking_part"] == 1,
    )
    before = town.pipeline()
    town.roll_out(plan)
    slot = town.comes_to(UpdateState.CONFIRMED, "good", 1, good.digest)
    assert (slot.previous, slot.golden_ok) == (first.digest, True)
    assert town.pipeline() == before, "the same process, its camera went on"
    # One device for some seconds is too little to tell, and somebody has to answer for that.
    found = town.reaches("good", "inconclusive")
    assert "fewer than two devices" in found["row"]["reason"]
    town.wait_for("a later heartbeat counts", lambda: town.gate("good", "soak") == "pass")
    town.order("good", "accept", why="one device is all there is")
    assert town.reaches("good", "done")["devices"][0]["state"] == "confirmed"
    assert town.steps("good") == STEPS

    bad = write_bundle(town.folder / "bad" / SLOT, Quirk.FAILS, version="3.0", golden=True)
    plan = town.plan("bad", town.release("bad", bad, named))
    town.waive(bad)
    town.roll_out(plan)
    town.wait_for("the device goes back by itself", lambda: "reverted" in town.steps("bad"))
    found = town.reaches("bad", "rolled_back")
    assert "1 of 1 failed" in found["row"]["reason"]
    assert "frames and answered 0" in found["row"]["reason"]
    assert town.steps("bad")[: len(STEPS)] == [*STEPS[:-1], "reverted"]
    assert found["devices"][0]["running"] == good.digest
    town.comes_to(UpdateState.CONFIRMED, "bad", 2, good.digest)  # as central said, it runs already
    assert town.pipeline() == before
    installed = town.state / "updates" / "installed" / "models"
    plain = good.digest.removeprefix("sha256:")
    assert {path.name for path in installed.iterdir() if not path.name.startswith(".")} == {plain}


def test_a_stolen_central_makes_the_device_run_nothing_that_was_not_approved(town: Town) -> None:
    """All its keys, its database and its repository: an assignment is signed, and not followed."""
    town.wait_for("a model runs", lambda: (s := town.slot()) is not None and bool(s.running))
    slot = town.slot()
    assert slot is not None
    thief, running = Thief(town), slot.running
    thief.assign("good", 7)
    slot = town.comes_to(UpdateState.REVERTED, "good", 7, running)
    assert slot.problem.startswith("refused: ")
    thief.publish("good")
    thief.assign("good", 8)

    def is_told() -> bool:
        found = town.slot()
        return found is not None and found.attempt == 8 and bool(found.problem)

    town.wait_for("the device says why it does not follow", is_told)
    slot = town.slot()
    assert slot is not None
    assert slot.state is UpdateState.ASSIGNED
    assert slot.running == running != thief.bundle.digest
    assert "models was signed by 0" in slot.problem
    assert town.pipeline()[1] == 0
    plain = thief.bundle.digest.removeprefix("sha256:")
    names = [path.name for path in (town.state / "updates").rglob("*")]
    assert thief.artefact.sha256 not in names
    assert not [name for name in names if plain in name]
