"""Candidates beside a model: real processes, hostile ones, and what of a picture may leave."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from vedette.clock import ManualClock, SystemClock
from vedette.edge.capture import CaptureSettings
from vedette.edge.models import Models
from vedette.edge.ring import PacketRing
from vedette.edge.serving import Reading, Served, Serving
from vedette.edge.settings import Camera
from vedette.edge.shadow.candidate import Candidate
from vedette.edge.shadow.child import Start
from vedette.edge.shadow.desk import MAX_DEATHS, MAX_FAILED, WINDOW_MS, ShadowDesk
from vedette.edge.shadow.looking import WITHHELD
from vedette.edge.shadow.picture import LONGEST_PX, around, review_picture
from vedette.edge.slots import Shadowed
from vedette.edge.stages import CameraPlan, Work
from vedette.errors import BadModelOutput, ModelLoadFailed
from vedette.ids import CameraId
from vedette.inference import bundle as bundles
from vedette.inference.bundle import Bundle
from vedette.inference.library import Library
from vedette.inference.model import Model
from vedette.sim.closed_world import Quirk, write_bundle
from vedette.vision.picture import Picture
from vedette.wire.signed import PixelPolicy
from vedette.wire.updates import (
    MAX_PICTURE_BYTES,
    Disagreement,
    ShadowPlan,
    ShadowReport,
)

MakeStreet = Callable[..., Any]
LETS = PixelPolicy(review_frames=True)


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A candidate that is sure of nothing: the same network, a threshold that nobody reaches."""
    folder = tmp_path_factory.mktemp("candidates")
    plain = write_bundle(folder / "plain", Quirk.NONE)
    said = msgspec.structs.replace(plain.manifest, name="blind", threshold=1.0)
    return bundles.write(folder / "blind", said, {"model.onnx": plain.read("model.onnx")})


class Stage:
    """A desk with one camera, and everything that it said."""

    def __init__(
        self, street: Any, walkers: Model, clock: ManualClock, pixels: PixelPolicy, **more: Any
    ) -> None:
        self.street, self.clock, self.walkers = street, clock, walkers
        self.said: list[msgspec.Struct] = []
        camera = Camera(id="door")

        def read(said: Any, digest: str) -> Reading:
            return Reading.of(
                camera, said.labels, digest=digest, threshold=said.threshold, watches_people=True
            )

        reading = read(walkers.manifest, walkers.digest)
        self.plan = CameraPlan(
            capture=CaptureSettings(camera=CameraId("door"), source="clip.mp4"),
            lane=street.lane,
            serving=Serving(Served(walkers, reading), None, read),
            ring=PacketRing(0.0, 0),
            live=False,
        )
        models = Models(Library(Path()), ["cpu"], clock)
        self.desk = ShadowDesk(models, clock, emit=self.said.append, pixels=pixels, **more)

    def want(self, bundle: Bundle, **plan: Any) -> None:
        """Have a candidate run beside the slot."""
        what = Shadowed(
            rollout="r-1",
            digest=bundle.digest,
            path=str(bundle.path),
            plan=ShadowPlan(**{"every_s": 1.0, **plan}),
        )
        self.desk.follow({"walkers": what})
        self.desk.turn()

    def show(self, count: int, *, is_idle: bool = True, from_s: float = 1.0) -> None:
        """Let a worker show pictures, one a second, and the desk take its turn after each."""
        for number in range(count):
            self.clock.advance(1.0)
            frame = self.street.frame(from_s + number * 0.1, number)
            served = self.plan.serving.now
            found = self.walkers.detect(frame.picture, served.reading.ask_threshold)
            item = Work(self.street.lane.look(frame), frame, served)
            self.desk(self.plan, item, found, is_idle=is_idle)
            self.desk.turn()

    def of(self, kind: type) -> list:
        """Return what was said of one kind, after everything was told."""
        self.desk.follow({})
        return [message for message in self.said if isinstance(message, kind)]


@pytest.fixture
def stage(street: MakeStreet, walkers: Model, clock: ManualClock) -> Iterator[Callable[..., Stage]]:
    """Make a desk; its candidates are ended with the test."""
    made: list[Stage] = []

    def make(pixels: PixelPolicy = LETS, **more: Any) -> Stage:
        made.append(Stage(street(), walkers, clock, pixels, **more))
        return made[-1]

    yield make
    for one in made:
        one.desk.follow({})
        one.desk.turn()


def test_a_candidate_that_sees_less_is_told_with_pictures(
    stage: Callable[..., Stage], blind: Bundle
) -> None:
    """Counts per class, a disagreement with the incumbent's box in question and a small JPEG."""
    made = stage()
    made.want(blind)
    assert made.desk.says("walkers") == (blind.digest, "")
    made.show(5)
    (report,) = made.of(ShadowReport)
    assert (report.frames, report.differing, report.failed, report.shed) == (5, 5, 0, 0)
    assert report.objects["person"].only_a == 5
    assert (report.a, report.b) == (made.walkers.digest, blind.digest)
    took = report.stage_ms_b["inference"]
    assert took.zero + sum(took.counts) == 5
    sent = made.of(Disagreement)
    assert sum(one.weight for one in sent) > 0
    assert sent
    for one in sent:
        assert [box.label for box in one.boxes_a] == ["person"]
        assert one.boxes_b == []
        assert 0 < len(one.picture) <= MAX_PICTURE_BYTES
        assert one.withheld == ""
    assert made.desk.says("walkers") == ("", "")


def test_without_the_sites_word_no_picture_is_made(
    stage: Callable[..., Stage], blind: Bundle
) -> None:
    """The default policy: boxes and counts go, pixels stay, and why is said."""
    made = stage(PixelPolicy())
    made.want(blind, samples_per_day=240)
    made.show(3)
    sent = made.of(Disagreement)
    assert len(sent) == 3
    assert {(one.picture, one.crop_px, one.withheld) for one in sent} == {(b"", None, WITHHELD)}


def test_the_same_model_never_differs(stage: Callable[..., Stage], walkers_bundle: Bundle) -> None:
    """Through another process and shared memory, to the last digit that counts."""
    made = stage()
    made.want(walkers_bundle)
    made.show(4)
    (report,) = made.of(ShadowReport)
    assert (report.frames, report.differing) == (4, 0)
    assert report.objects["person"].both == 4
    assert made.of(Disagreement) == []


def test_nobody_waits_for_a_candidate(stage: Callable[..., Stage], blind: Bundle) -> None:
    """Where frames wait for a worker a candidate sees none: due and not shown is counted."""
    made = stage()
    made.want(blind)
    made.show(3, is_idle=False)
    (report,) = made.of(ShadowReport)
    assert (report.frames, report.shed) == (0, 3)


def test_a_picture_is_shown_once_in_its_time(stage: Callable[..., Stage], blind: Bundle) -> None:
    """Every third second of nine: three looks, and none of the others counts as anything."""
    made = stage()
    made.want(blind, every_s=3.0)
    made.show(9)
    (report,) = made.of(ShadowReport)
    assert (report.frames, report.shed) == (3, 0)


def test_no_more_than_the_days_samples_leave(stage: Callable[..., Stage], blind: Bundle) -> None:
    """Two a day: of an hour none or one, whose weight stands for all that differed."""
    made = stage()
    made.clock.advance(WINDOW_MS / 1000 * 11)  # a window whose share of two a day is one
    start_s = made.clock.now_at().minute * 60 + made.clock.now_at().second
    made.clock.advance((3600 - start_s) % 3600)
    while (made.clock.now_at().hour + 1) * 2 // 24 == made.clock.now_at().hour * 2 // 24:
        made.clock.advance(3600)
    made.want(blind, samples_per_day=2)
    made.show(6)
    (one,) = made.of(Disagreement)
    assert one.weight >= 1.0


def child(body: str) -> list[str]:
    """Return a command whose process does something else than a candidate does."""
    words = "import sys,os,time;from vedette.edge.shadow import child as c;o=sys.stdout.buffer;"
    ready = "c._read(sys.stdin.buffer,c.Start);c.send(o,c.Ready());c._read(sys.stdin.buffer,c.Ask);"
    return [sys.executable, "-c", words + ready + body]


HOSTILE = {
    "crashes": "os.kill(os.getpid(),11)",
    "ends": "sys.exit(3)",
    "hangs": "time.sleep(60)",
    "lies about the length": "o.write(b'\\xff'*8);o.flush();time.sleep(60)",
    "talks nonsense": "o.write((3).to_bytes(4,'big')+b'abc');o.flush();time.sleep(60)",
    "stops in the middle": "o.write((99).to_bytes(4,'big')+b'abc');o.close();time.sleep(60)",
}


@pytest.mark.parametrize("what", list(HOSTILE))
def test_whatever_a_candidate_does_is_an_error_in_bounded_time(
    what: str, walkers_bundle: Bundle
) -> None:
    """It crashes, ends, hangs or talks nonsense: an error in words, and its process is gone."""
    start = Start(
        path=str(walkers_bundle.path),
        digest=walkers_bundle.digest,
        runtime="onnxruntime",
        providers=["cpu"],
    )
    candidate = Candidate(start, SystemClock(), command=child(HOSTILE[what]), run_s=1.0)
    candidate.load()
    picture = Picture.from_gray(np.full((96, 128), 90, np.uint8))
    with pytest.raises(BadModelOutput, match="candidate"):
        candidate.look(picture, 0.1)
    assert not candidate.is_alive


def test_a_candidate_in_an_endless_loop_is_ended_by_its_processor_time(
    walkers_bundle: Bundle,
) -> None:
    """The limit is the kernel's, so that native code that never returns is ended too."""
    start = Start(path="", digest="", runtime="onnxruntime", providers=["cpu"])
    body = "c._allow(0.05);exec('while True: pass')"
    candidate = Candidate(start, SystemClock(), command=child(body))
    candidate.load()
    with pytest.raises(BadModelOutput, match="processor time"):
        candidate.look(Picture.from_gray(np.full((96, 128), 90, np.uint8)), 0.1)


class Scripted:
    """A candidate that fails in one way, without a process."""

    def __init__(self, *, dies: bool, problem: str = "") -> None:
        self.is_alive = True
        self.looks = 0
        self._dies, self._problem = dies, problem

    def load(self) -> None:
        """Load, or say why not."""
        if self._problem:
            raise ModelLoadFailed(self._problem)

    def look(self, _picture: Picture, _threshold: float) -> Any:
        """Fail."""
        self.looks += 1
        self.is_alive = not self._dies
        raise BadModelOutput("the candidate's process crashed (signal 11)")

    def kill(self) -> None:
        """Nothing to end."""

    close = kill


@pytest.mark.parametrize(("dies", "looks"), [(True, MAX_DEATHS), (False, MAX_FAILED)])
def test_a_candidate_that_fails_again_and_again_is_left_alone(
    stage: Callable[..., Stage], blind: Bundle, *, dies: bool, looks: int
) -> None:
    """After so many deaths, or bad answers on end, nothing more is shown to it, and why is said."""
    opened: list[Scripted] = []

    def open_one(_start: Start, _clock: object) -> Any:
        opened.append(Scripted(dies=dies))
        return opened[-1]

    made = stage(open_candidate=open_one)
    made.want(blind)
    made.show(looks + 5)
    assert sum(one.looks for one in opened) == looks
    assert len(opened) == (looks if dies else 1)
    assert "crashed" in made.desk.says("walkers")[1]
    (report,) = made.of(ShadowReport)
    assert (report.frames, report.failed) == (0, looks)


def test_one_that_does_not_load_is_said_and_not_tried_again(
    stage: Callable[..., Stage], blind: Bundle, tmp_path: Path
) -> None:
    """Another digest than promised, golden frames that differ, a file that is none."""
    tries: list[int] = []

    def open_one(_start: Start, _clock: object) -> Any:
        tries.append(1)
        return Scripted(dies=False, problem="it answers its golden frames differently here")

    made = stage(open_candidate=open_one)
    made.want(blind)
    made.desk.turn()
    assert len(tries) == 1
    assert made.desk.says("walkers") == ("", "it answers its golden frames differently here")
    made.desk.follow(
        {"walkers": Shadowed(rollout="r-2", digest=blind.digest, path=str(tmp_path / "none"))}
    )
    made.desk.turn()
    assert "none" in made.desk.says("walkers")[1]


def test_its_time_ends_by_itself(stage: Callable[..., Stage], blind: Bundle) -> None:
    """After `until_ms` no picture is shown, and what was summed is told."""
    made = stage(open_candidate=lambda _start, _clock: Scripted(dies=False))
    now_ms = int(made.clock.now_at().timestamp() * 1000)
    made.want(blind, until_ms=now_ms + 2_500)
    made.show(6)
    assert made.desk.says("walkers") == ("", "its time is over")
    (report,) = made.of(ShadowReport)
    assert report.failed == 2


# ------------------------------------------------------------------------------------- pictures

SHARP = np.indices((360, 640)).sum(axis=0).astype(np.uint8) % 2 * 200 + 20


def decoded(data: bytes) -> np.ndarray:
    """Return a JPEG's luma."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE))


def texture(data: np.ndarray, box: tuple[int, int, int, int]) -> float:
    """Return how much neighbours differ within a box: squares of one colour have none."""
    x0, y0, x1, y1 = box
    return float(np.abs(np.diff(data[y0:y1, x0:x1].astype(np.float32), axis=1)).mean())


def test_people_who_are_not_in_question_are_covered() -> None:
    """The box in question stays as it is, the other person is squares, where the policy blurs."""
    picture = Picture.from_gray(SHARP.astype(np.uint8))
    subject, other = (260.0, 100.0, 340.0, 260.0), (400.0, 100.0, 460.0, 260.0)
    data, window = review_picture(picture, [subject], [other], blurred=True)
    shown = decoded(data)
    scale = shown.shape[1] / (window[2] - window[0])
    x, y = window[:2]

    def at(box: tuple[float, ...]) -> tuple[int, int, int, int]:
        moved = [(box[0] - x), (box[1] - y), (box[2] - x), (box[3] - y)]
        return tuple(round(side * scale) for side in moved)

    assert scale == 1.0
    assert texture(shown, at((270, 110, 330, 250))) > 50
    assert texture(shown, at((405, 110, min(455, window[2] - 4), 250))) < 5


def test_where_nobody_looks_for_people_all_but_the_question_is_covered() -> None:
    """And without blurring nothing is; both are as small as a message allows."""
    picture = Picture.from_gray(SHARP.astype(np.uint8))
    subject = (260.0, 100.0, 340.0, 260.0)
    covered, window = review_picture(picture, [subject], None, blurred=True)
    plain, _ = review_picture(picture, [subject], None, blurred=False)
    outside = (2, 2, round(subject[0]) - window[0] - 6, 60)
    assert texture(decoded(covered), outside) < 5
    assert texture(decoded(plain), outside) > 50
    assert max(len(covered), len(plain)) <= MAX_PICTURE_BYTES


@pytest.mark.parametrize("size", [(2, 2), (64, 48), (639, 361), (3840, 2160)])
def test_any_picture_is_made_small_enough(size: tuple[int, int]) -> None:
    """From two pixels to noise at 4K, with boxes that reach out of the picture."""
    noise = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    boxes = [(-50.0, -50.0, size[0] / 3, size[1] + 90.0), (size[0] - 1.0, 0.0, size[0] + 5.0, 1.0)]
    data, window = review_picture(Picture.from_bgr(noise), boxes, None, blurred=True)
    assert len(data) <= MAX_PICTURE_BYTES
    assert max(decoded(data).shape) <= LONGEST_PX
    assert 0 <= window[0] < window[2] <= size[0]
    assert 0 <= window[1] < window[3] <= size[1]


def test_a_crop_holds_the_box_and_its_surroundings() -> None:
    """Even in a corner it keeps its size, and begins where chroma can be cut."""
    for box in ((0.0, 0.0, 40.0, 60.0), (600.0, 300.0, 640.0, 360.0), (301.0, 33.0, 350.0, 99.0)):
        x0, y0, x1, y1 = around([box], (640, 360))
        assert x0 % 2 == y0 % 2 == 0
        assert x0 <= box[0] < box[2] <= x1
        assert y0 <= box[1] < box[3] <= y1
        assert x1 - x0 >= 0.3 * 640
