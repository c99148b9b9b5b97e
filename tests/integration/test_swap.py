"""Models swapped under cameras that run: no frame lost, no track broken, nothing mixed up."""

import gc
import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from vedette.clock import ManualClock
from vedette.edge import heartbeat, slots
from vedette.edge.assembly import Assembly
from vedette.edge.frame import Frame
from vedette.edge.models import Models
from vedette.edge.settings import Camera, EdgeConfig, Gate, PipelineSettings, Telemetry
from vedette.edge.slots import Filled, SlotRunning, Slots
from vedette.edge.steady import SteadyClock
from vedette.edge.swapping import Swapper
from vedette.inference import bundle as bundles
from vedette.inference.bundle import Bundle
from vedette.inference.manifest import ExpectedBox
from vedette.inference.model import Model
from vedette.sim import footage
from vedette.sim.closed_world import Quirk, World, back_and_forth, write_bundle
from vedette.sim.pipeline_rig import PipelineRig
from vedette.vision.picture import Picture
from vedette.vision.tracking import Tracks
from vedette.wire.messages import Aggregate, EventKind, EventReport
from vedette.wire.signed import Line

START_AT = datetime(2026, 3, 2, 8, 0, 35, tzinfo=UTC)
FPS = 5
LENGTH_S = 24
SWAP_AT = 50
MID = Line(name="mid", a=(0.5, 0.0), b=(0.5, 1.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models that see the same, and a clip of one walker, back and forth."""
    folder = tmp_path_factory.mktemp("swap")
    write_bundle(folder / "models" / "walkers")
    write_bundle(folder / "updates" / "next", Quirk.NAN)  # misbehaves only where it sees blue
    world = World([back_and_forth(1, y=0.8, start_s=0.0, legs=4, leg_s=6.0)])
    footage.encode(folder / "clip.mp4", world.pictures(LENGTH_S, FPS), fps=FPS, gop_s=1.0)
    return folder


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> EdgeConfig:
    """One camera that reads the clip."""
    return EdgeConfig(
        state_dir=tmp_path / "state",
        models_dir=folder / "models",
        cameras=[
            Camera(
                id="door",
                source=str(folder / "clip.mp4"),
                model="walkers",
                max_fps=FPS,
                lines=[MID],
                gate=Gate(enabled=False),
            )
        ],
        pipeline=PipelineSettings(workers=2),
        telemetry=Telemetry(aggregate_period_s=20, report_period_s=10),
    )


Play = Callable[..., PipelineRig]


@pytest.fixture
def play(config: EdgeConfig) -> Iterator[Play]:
    """Read the whole clip, looking at the slots' file at its fiftieth picture."""
    rigs: list[PipelineRig] = []

    def run(at_swap: Callable[[PipelineRig], None], other: EdgeConfig = config) -> PipelineRig:
        def observe(frame: Frame, tracks: Tracks, events: Sequence[EventReport]) -> None:
            del tracks, events
            if frame.number == SWAP_AT:
                at_swap(rig)

        rig = PipelineRig(other, ManualClock(START_AT), observer=observe)
        rigs.append(rig)
        with rig:
            rig.read_to_the_end()
        return rig

    yield run
    for rig in rigs:
        rig.stop()


def want(rig: PipelineRig, config: EdgeConfig, bundle: Bundle | None, digest: str = "") -> None:
    """Ask for a bundle in the slot as the agent does, and let the swapper look."""
    filled = {}
    if bundle is not None:
        filled["walkers"] = Filled(digest=digest or bundle.digest, path=str(bundle.path))
    slots.write(config.state_dir, Slots(filled=filled))
    rig.swapper.look()


def test_a_swap_loses_no_frame_and_breaks_no_track(
    play: Play, config: EdgeConfig, folder: Path
) -> None:
    """Every picture is analysed, by one model then by the other; the walker stays one track."""
    later = Bundle.open(folder / "updates" / "next")
    old: list[weakref.ref] = []
    to_come: list[int] = []

    def swap(rig: PipelineRig) -> None:
        old.append(weakref.ref(rig.models.loaded["walkers"].model))
        account = rig.lanes[0]._account
        rest = LENGTH_S * FPS - account.frames().captured  # nothing is settled meanwhile
        to_come.append(rest - account.in_flight)
        want(rig, config, later)
        to_come.append(rest - account.in_flight - 1)  # one may be between its model and its ticket

    rig = play(swap)
    sums = rig.messages(Aggregate)
    assert sum(one.frames.captured for one in sums) == LENGTH_S * FPS
    assert sum(one.frames.analysed for one in sums) == LENGTH_S * FPS
    models = [one.model for one in sums if one.frames.captured]
    assert models == sorted(models, key=lambda digest: digest == later.digest)
    of_next = sum(one.frames.analysed for one in sums if one.model == later.digest)
    most, least = to_come  # what was on its way then went through the old model, and nothing else
    assert 0 < least <= of_next <= most
    for before, after in itertools.pairwise(sums):
        assert before.end_ms == after.start_ms
    crossed = [e for e in rig.messages(EventReport) if e.kind is EventKind.LINE_CROSSED]
    assert len(crossed) == 4
    assert len({e.track for e in crossed}) == 1
    assert {e.model for e in crossed} == {crossed[0].model, later.digest}
    (said,) = rig.swapper.running()
    assert (said.digest, said.wanted, said.problem) == (later.digest, later.digest, "")
    assert said.load_s is not None
    gc.collect()
    assert old[0]() is None, "the old model is freed"
    beat = heartbeat.read(config.state_dir)
    assert beat is not None
    assert beat.slots == [said]


def test_without_an_entry_the_librarys_bundle_comes_back(
    play: Play, config: EdgeConfig, folder: Path
) -> None:
    """To go back is a swap as any other."""
    later = Bundle.open(folder / "updates" / "next")

    def there_and_back(rig: PipelineRig) -> None:
        want(rig, config, later)
        assert rig.swapper.running()[0].digest == later.digest
        want(rig, config, None)

    rig = play(there_and_back)
    (said,) = rig.swapper.running()
    own = Bundle.open(folder / "models" / "walkers").digest
    assert (said.digest, said.wanted, said.problem) == (own, own, "")
    assert {one.model for one in rig.messages(Aggregate)} == {own}


def hostile(folder: Path, later: Bundle, what: str) -> Filled:
    """Return a candidate that must never fill a slot."""
    path = folder / "candidates" / what.replace(" ", "-")
    said, network = later.manifest, later.read("model.onnx")
    if what == "is not there":
        return Filled(digest=later.digest, path=str(path))
    if what == "is another one":
        return Filled(digest="sha256:" + "0" * 64, path=str(later.path))
    if what == "is no network":
        network = b"not a network at all"
    if what == "knows no persons":
        said = msgspec.structs.replace(said, labels=["dog", "cart"])
    files = {"model.onnx": network}
    if what == "answers otherwise":
        grey = Picture.from_gray(np.full((96, 160), 90, np.uint8))
        frame = Model.load(later).expect_golden("golden/grey.png", grey)
        wrong = ExpectedBox(box_xyxy=(10.0, 10.0, 60.0, 60.0), label="person", confidence=0.9)
        said = msgspec.structs.replace(said, golden=[msgspec.structs.replace(frame, boxes=[wrong])])
        files["golden/grey.png"] = cv2.imencode(".png", np.full((96, 160, 3), 90, np.uint8))[
            1
        ].tobytes()
    made = bundles.write(path, msgspec.structs.replace(said, name=path.name), files)
    if what == "was changed on the disk":
        model = path / "model.onnx"
        model.write_bytes(model.read_bytes()[:-1] + b"\0")
    return Filled(digest=made.digest, path=str(path))


WORDS = {
    "is not there": "no bundle",
    "is another one": "wanted was",
    "is no network": "ONNX",
    "knows no persons": "knows no",
    "answers otherwise": "golden",
    "was changed on the disk": "manifest promises",
}


def test_no_candidate_that_fails_ever_fills_a_slot(
    play: Play, config: EdgeConfig, folder: Path
) -> None:
    """Whatever is wrong with it, what runs goes on without a pause, and why is said."""
    later = Bundle.open(folder / "updates" / "next")
    own = Bundle.open(folder / "models" / "walkers").digest
    said: dict[str, SlotRunning] = {}

    def try_all(rig: PipelineRig) -> None:
        for what in WORDS:
            slots.write(config.state_dir, Slots(filled={"walkers": hostile(folder, later, what)}))
            rig.swapper.look()
            (said[what],) = rig.swapper.running()
        (config.state_dir / slots.FOLDER / slots.FILE).write_bytes(b"{")
        rig.swapper.look()
        (said["unreadable"],) = rig.swapper.running()

    camera = msgspec.structs.replace(config.cameras[0], labels=["person"])
    rig = play(try_all, msgspec.structs.replace(config, cameras=[camera]))
    assert {one.digest for one in said.values()} == {own}
    for what, word in WORDS.items():
        assert word in said[what].problem, (what, said[what].problem)
    assert "slots.json" in said["unreadable"].problem
    assert {one.model for one in rig.messages(Aggregate)} == {own}
    assert sum(one.frames.analysed for one in rig.messages(Aggregate)) == LENGTH_S * FPS


def test_at_a_start_what_was_before_runs_where_the_wanted_one_fails(
    config: EdgeConfig, folder: Path
) -> None:
    """The wanted one if it can be; else the one before; else the library's. Why is said."""
    later = Bundle.open(folder / "updates" / "next")
    own = Bundle.open(folder / "models" / "walkers").digest
    bad = hostile(folder, later, "is no network")

    def started(filled: Filled) -> tuple[str, str, str]:
        slots.write(config.state_dir, Slots(filled={"walkers": filled}))
        models = Models.of(config, ManualClock(START_AT))
        models.get("walkers")
        swapper = Swapper(models, ["walkers"], lambda _slot, _model: None, ManualClock(START_AT))
        (before,) = swapper.running()
        swapper.look()  # what failed at the start is not loaded again
        (said,) = swapper.running()
        assert said == before
        return said.digest, said.wanted, said.problem

    before = msgspec.structs.replace(bad, before=str(later.path), before_digest=later.digest)
    nothing = msgspec.structs.replace(bad, before=bad.path, before_digest=bad.digest)
    good = Filled(digest=later.digest, path=str(later.path))
    assert started(good) == (later.digest, later.digest, "")
    for filled, digest in ((before, later.digest), (nothing, own), (bad, own)):
        found = started(filled)
        assert found[:2] == (digest, bad.digest)
        assert "ONNX" in found[2]


def test_a_slot_whose_cameras_could_not_run_asks_for_a_start_when_it_changes(
    config: EdgeConfig, folder: Path, tmp_path: Path
) -> None:
    """Nothing can be swapped where nothing runs; as long as nothing changes, nothing is asked."""
    other = config.cameras[0]
    blind = msgspec.structs.replace(other, id="yard", model="nothing-here")
    both = msgspec.structs.replace(config, cameras=[other, blind])
    clock = ManualClock(START_AT)
    models = Models.of(both, clock)
    assembly = Assembly(both, models, SteadyClock(clock), emit=lambda _: None, evidence=None)
    (plan,) = assembly.plans()
    assert assembly.refused == {"nothing-here"}
    used = [plan.lane.model]
    swapper = Swapper(models, used, lambda _slot, _model: None, clock, refused=assembly.refused)
    swapper.look()
    slots.write(config.state_dir, Slots(filled={}))
    swapper.look()
    assert swapper.needs_restart == ""
    later = Bundle.open(folder / "updates" / "next")
    filled = Filled(digest=later.digest, path=str(later.path))
    slots.write(config.state_dir, Slots(filled={"nothing-here": filled}))
    swapper.look()
    assert "nothing-here" in swapper.needs_restart
    again = Models.of(both, clock)
    built = Assembly(both, again, SteadyClock(clock), emit=lambda _: None, evidence=None)
    assert len(built.plans()) == 2
