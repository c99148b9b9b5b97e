"""A device that is assigned things: real journal and files, the pipeline and time by hand."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from vedette.clock import ManualClock, wall_ms
from vedette.edge import slots
from vedette.edge.enrolment import Identity
from vedette.edge.heartbeat import Heartbeat
from vedette.edge.settings import Camera, EdgeConfig
from vedette.edge.slots import SlotRunning
from vedette.edge.updating.doing import Connection, Told
from vedette.edge.updating.model import ModelInstaller
from vedette.edge.updating.updater import Updater
from vedette.edge.updating.work import Inline
from vedette.ids import DeviceId, SiteId
from vedette.trust import delta_making
from vedette.trust.dsse import sign_struct
from vedette.trust.keys import SigningKey
from vedette.trust.tuf.client import TargetInfo
from vedette.trust.tuf.delta_paths import delta_path
from vedette.trust.tuf.refusals import NotThere
from vedette.wire.messages import CameraHealth, Frames, State
from vedette.wire.signed import Signed
from vedette.wire.slots import ArtefactKind, UpdateHealth, UpdateState
from vedette.wire.updates import (
    ASSIGNMENT_TYPE,
    Approval,
    Artefact,
    Assigned,
    Assignment,
    UpdateReport,
)

CAME_WITH = "sha256:" + "0" * 64
DAY_MS = 86_400_000
CENTRAL = SigningKey.generate()
SITE = SigningKey.generate()
IDENTITY = Identity(
    device=DeviceId("dev-1"),
    site=SiteId("lobby"),
    central_key=CENTRAL.public.text,
    site_keys=[SITE.public.text],
)


def artefact_of(data: bytes, name: str, kind: ArtefactKind = ArtefactKind.MODEL) -> Artefact:
    """Return what `data` is called as a target."""
    sha256 = hashlib.sha256(data).hexdigest()
    return Artefact(
        kind=kind,
        target=f"{kind.value}/{name}",
        sha256=sha256,
        bytes=len(data),
        digest=f"sha256:{sha256}",
        name=name,
    )


class Shelf:
    """A repository in memory: its targets are what its signers said; what it serves may differ."""

    def __init__(self) -> None:
        self.targets: dict[str, bytes] = {}
        self.served: dict[str, bytes] = {}
        self.trouble: Exception | None = None
        self.asked: list[tuple[str, int, int]] = []

    def refresh(self) -> dict[str, int]:
        """Be current, or not."""
        if self.trouble is not None:
            raise self.trouble
        return {"root": 1, "timestamp": len(self.targets)}

    def target(self, path: str) -> TargetInfo:
        """Return what was signed."""
        if path not in self.targets:
            raise NotThere(f"the repository has no target {path}")
        data = self.targets[path]
        sha256 = hashlib.sha256(data).hexdigest()
        return TargetInfo(path=path, sha256=sha256, bytes=len(data), where=path)

    def read(self, path: str, max_bytes: int = 1 << 20) -> bytes:
        """Return a small target."""
        self.target(path)
        return self.targets[path][:max_bytes]

    def fetch(self, path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        """Serve a file, in small pieces."""
        self.asked.append((path, offset, max_bytes))
        data = self.served.get(path, self.targets[path])[offset : offset + max_bytes]
        for start in range(0, len(data), 4096):
            yield data[start : start + 4096]

    def approve(
        self, rollout: str, artefacts: list[Artefact], changes: dict[str, object] | None = None
    ) -> None:
        """Have the offline role say so."""
        approval = Approval(
            rollout=rollout,
            issued_ms=1_000,
            expires_ms=wall_ms(ManualClock().now_at()) + 30 * DAY_MS,
            artefacts=artefacts,
            sites=["lobby"],
        )
        approval = msgspec.structs.replace(approval, **(changes or {}))
        self.targets[f"approvals/{rollout}.json"] = msgspec.json.encode(approval)


class FreeLine:
    """A line that takes everything at once."""

    def take(self, most: int) -> int:
        """Take it."""
        return most

    def spend(self, size: int) -> None:
        """Count nothing."""

    def pause_s(self) -> float | None:
        """Never wait."""
        return 0.0


class FakePipeline:
    """What the pipeline process says; it follows `slots.json` when told to look.

    Attributes:
        dies_on: Digests that end the process.
        refuses: Digest to why it does not load.
        analyses: Frames that a window has analysed.
    """

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.crashes = 0
        self.last_exit = ""
        self.hurried = 0
        self.dies_on: set[str] = set()
        self.refuses: dict[str, str] = {}
        self.analyses = 5
        self.fails = 0
        self.pid = 100
        self.window = 3
        self.running = SlotRunning(slot="yolox", digest=CAME_WITH, since_ms=0)
        self.is_up = True

    def beat(self) -> Heartbeat | None:
        """Return the heartbeat."""
        if not self.is_up:
            return None
        camera = CameraHealth(
            camera="door",
            state=State.OK,
            since_ms=0,
            frames=Frames(
                captured=self.analyses + self.fails,
                analysed=self.analyses,
                dropped={"bad_output": self.fails},  # type: ignore[dict-item]
            ),
        )
        return Heartbeat(
            pid=self.pid,
            boot_id="b",
            mono_ns=0,
            started_ms=0,
            window=self.window,
            cameras=[camera],
            slots=[self.running],
        )

    def hurry(self) -> None:
        """Count it."""
        self.hurried += 1

    def look(self) -> None:
        """Follow the file, as `edge.swapping` does, and end a window."""
        self.window += 1
        filled = slots.read(self.state_dir).filled.get("yolox")
        wanted = filled.digest if filled else CAME_WITH
        if wanted in self.dies_on:
            self.crashes += 1
            self.last_exit = "it was killed by SIGSEGV"
            self.is_up = False
            return
        if not self.is_up:
            self.is_up, self.pid, self.window = True, self.pid + 1, 0
        if wanted in self.refuses:
            self.running = msgspec.structs.replace(
                self.running, wanted=wanted, problem=self.refuses[wanted]
            )
            return
        self.running = SlotRunning(
            slot="yolox", digest=wanted, since_ms=0, wanted=wanted, load_s=0.5, golden_ok=True
        )


class QuickModels(ModelInstaller):
    """The models installer; a "bundle" is any file, and is good unless it says `bad`."""

    def prepare(self, slot: str, artefact: Artefact, file: Path, folder: Path) -> None:
        """Have the file in the folder."""
        del slot, artefact
        folder.mkdir(parents=True)
        (folder / "model").write_bytes(file.read_bytes())


class Device:
    """One device with its repository and its pipeline."""

    def __init__(self, state_dir: Path, **more: object) -> None:
        self.state_dir = state_dir
        self.clock = ManualClock()
        self.shelf = Shelf()
        self.line = FreeLine()
        self.pipeline = FakePipeline(state_dir)
        self.reports: list[UpdateReport] = []
        self.is_timed = True
        self.version = 0
        self.free = 10**12
        self.more = more
        self.updater = self.start()

    def start(
        self, at_step: Callable[[str], None] = lambda _step: None, *, joined: bool = True
    ) -> Updater:
        """Be an agent that just started, and has reached central where it is `joined`."""
        self.clock.advance(1)
        installer = QuickModels(self.state_dir, self.config, self.pipeline)
        self.updater = Updater(
            self.state_dir,
            self.clock,
            [installer],
            time=lambda: Told(wall_ms(self.clock.now_at()), self.is_timed),
            time_zone=lambda: "Europe/Berlin",
            report=self.reports.append,
            work=Inline(),
            free_bytes=lambda _path: self.free,
            at_step=at_step,
        )
        self.updater.begin()
        if joined:
            self.updater.connect(Connection(IDENTITY, self.shelf, self.shelf.fetch, self.line))
        return self.updater

    def config(self) -> EdgeConfig:
        """Return one with a camera that uses the slot."""
        return EdgeConfig(
            cameras=[Camera(id="door", source="x", model="yolox")],
            state_dir=self.state_dir,
            models_dir=self.state_dir,
        )

    def offer(self, data: bytes, name: str = "1.vbundle") -> Artefact:
        """Have a target."""
        artefact = artefact_of(data, f"yolox/{name}")
        self.shelf.targets[artefact.target] = data
        return artefact

    def offer_delta(self, before: bytes, after: bytes, *, says: bytes | None = None) -> str:
        """Have a delta among the targets, or `says` in its place; return its path."""
        files = [self.state_dir / name for name in ("before", "after", "delta")]
        for file, data in zip(files, (before, after), strict=False):
            file.write_bytes(data)
        delta_making.make(files[0], files[1], ArtefactKind.MODEL, files[2])
        hashes = [hashlib.sha256(data).hexdigest() for data in (before, after)]
        path = delta_path(ArtefactKind.MODEL, hashes[0], hashes[1])
        self.shelf.targets[path] = files[2].read_bytes() if says is None else says
        for file in files:
            file.unlink()
        return path

    def assign(self, *items: Assigned, key: SigningKey = CENTRAL, **changes: object) -> Signed:
        """Give the device an assignment signed by `key`; return it."""
        self.version += 1
        said = Assignment(
            device="dev-1", version=self.version, issued_ms=self.version, items=list(items)
        )
        signed = sign_struct(msgspec.structs.replace(said, **changes), ASSIGNMENT_TYPE, [key])
        self.updater.take(signed)
        return signed

    def give(
        self, data: bytes, name: str = "1.vbundle", rollout: str = "r1", **more: object
    ) -> Assigned:
        """Offer, approve and assign one bundle; return the item."""
        artefact = self.offer(data, name)
        self.shelf.approve(rollout, [artefact])
        item = item_of(artefact, rollout, **more)
        self.assign(item)
        return item

    def pass_s(self, seconds: float, *, each_s: float = 1.0) -> None:
        """Let time pass: the updater takes its turns, the pipeline follows."""
        for _ in range(round(seconds / each_s)):
            while self.updater.step() == 0.0:
                pass
            self.clock.advance(each_s)
            self.pipeline.look()

    def settle(self, *ends: UpdateState, limit_s: float = 2_000) -> UpdateState | None:
        """Let time pass until the slot's job is in one of these states; return the state."""
        ends = ends or (UpdateState.CONFIRMED, UpdateState.REVERTED)
        for _ in range(round(limit_s)):
            self.pass_s(1)
            if (state := self.state) in ends:
                return state
        return self.state

    @property
    def state(self) -> UpdateState | None:
        """Of the slot's job."""
        return self.health().state

    def health(self, *, shadow: bool = False) -> UpdateHealth:
        """Return what the health report says of the slot."""
        found = [h for h in self.updater.health() if h.slot == "yolox"]
        return found[-1] if shadow else found[0]

    @property
    def wanted(self) -> str:
        """Digest that `slots.json` names; what the device came with where it names none."""
        filled = slots.read(self.state_dir).filled.get("yolox")
        return filled.digest if filled else CAME_WITH

    def journal(self) -> dict[str, object]:
        """Return the journal as it lies on the disk."""
        return json.loads((self.state_dir / "updates" / "journal.json").read_bytes())


def item_of(artefact: Artefact, rollout: str = "r1", **more: object) -> Assigned:
    """Return an item for the slot."""
    item = Assigned(rollout=rollout, slot="yolox", artefact=artefact, probation_s=60.0)
    return msgspec.structs.replace(item, **more)


def never() -> threading.Event:
    """Return an event that nobody sets."""
    return threading.Event()
