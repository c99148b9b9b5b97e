"""The worker: whatever a frame does, it is counted, and the worker goes on."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from vedette.edge.buckets import Buckets
from vedette.edge.capture import CaptureSettings
from vedette.edge.intake import Intake, Terms
from vedette.edge.ring import PacketRing
from vedette.edge.serving import Served, Serving
from vedette.edge.stages import CameraPlan, Work, work
from vedette.errors import BadModelOutput, DecodeFailed, RunFailed
from vedette.ids import CameraId
from vedette.vision.regions import Regions
from vedette.wire.messages import Drop

MakeStreet = Callable[..., Any]
DOOR = CameraId("door")


class Scripted:
    """A model that answers by script: a result, or an exception."""

    def __init__(self, answers: list) -> None:
        self._answers = list(answers)

    def detect(self, _picture: object, _threshold: float) -> Any:
        """Return or raise what comes next."""
        answer = self._answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def run(
    street: Any, answers: list, *, kind: type[Scripted] = Scripted, regions: Regions | None = None
) -> Any:
    """Let one worker go through the frames; return the lane's only slice."""
    plan = CameraPlan(
        capture=CaptureSettings(camera=DOOR, source="clip.mp4"),
        lane=street.lane,
        serving=Serving(Served(kind(answers), street.analysis.reading)),  # pyright: ignore[reportArgumentType]
        ring=PacketRing(0.0, 0),
        live=False,
        regions=regions or Regions(),
    )
    intake: Intake[Work] = Intake(
        {"door": Terms(live=False)}, mono_ns=lambda: 0, on_stale=lambda _c, _i: None
    )
    taken = iter(range(len(answers)))
    offered = intake.take

    def feed() -> Any:
        number = next(taken, None)
        if number is None:
            intake.close()
        else:
            frame = street.frame(number / 5, number)
            intake.offer("door", Work(street.lane.look(frame), frame, plan.serving.now), 0)
        return offered()

    monkey: Any = intake
    monkey.take = feed
    work(intake, {DOOR: plan})
    assert intake.depth("door") == 0
    (cut,) = street.lane.cut(street.lane.start_ms + 30_000)
    return cut


@pytest.mark.parametrize(
    ("problem", "cause"),
    [
        (BadModelOutput("NaN"), Drop.BAD_OUTPUT),
        (RunFailed("the runtime refused"), Drop.BACKEND),
        (DecodeFailed("strange pixels"), Drop.UNDECODABLE),
        (RuntimeError("a native library"), Drop.BACKEND),
        (MemoryError(), Drop.BACKEND),
        (KeyError("a bug of ours"), Drop.BACKEND),
    ],
)
def test_every_failure_is_a_counted_drop(
    street: MakeStreet, problem: Exception, cause: Drop
) -> None:
    """The frame is dropped with its cause, those around it are analysed."""
    made = street()
    good = [made.result(n / 5) for n in range(6)]
    cut = run(made, [*good[:3], problem, *good[4:]])
    assert cut.frames.captured == 6
    assert cut.frames.analysed == 5
    assert cut.frames.dropped == {cause: 1}


def test_small_regions_are_analysed_alone_and_boxes_come_back(
    street: MakeStreet, new_result: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model sees the cut-out; what it finds there lies, in the lane, in the whole picture."""
    made = street()
    regions = Regions([[(0.5, 0.5), (0.9, 0.5), (0.9, 0.9), (0.5, 0.9)]])
    window = regions.window((320, 192))
    assert window is not None
    left, top, right, bottom = window
    came: list[Any] = []
    monkeypatch.setattr(made.analysis, "advance", lambda _frame, result: (came.append(result), []))
    sizes: list[tuple[int, int]] = []

    class Sees(Scripted):
        def detect(self, picture: Any, _threshold: float) -> Any:
            sizes.append(picture.size)
            return super().detect(picture, _threshold)

    inside, margin = (80.0, 20.0, 104.0, 68.0), (0.0, 0.0, 4.0, 4.0)
    run(made, [new_result([inside, margin])], kind=Sees, regions=regions)
    assert sizes == [(right - left, bottom - top)]
    assert came[0].detections.boxes_xyxy.tolist() == [
        [80.0 + left, 20.0 + top, 104.0 + left, 68.0 + top]
    ]


def batch_of(streets: list[Any], model: Any) -> None:
    """Let one worker take one picture of each street in one bucket of four."""
    plans: dict[CameraId, CameraPlan] = {}
    for n, street in enumerate(streets):
        camera = CameraId(f"door-{n}")
        plans[camera] = CameraPlan(
            capture=CaptureSettings(camera=camera, source="clip.mp4"),
            lane=street.lane,
            serving=Serving(Served(model, street.analysis.reading)),
            ring=PacketRing(0.0, 0),
            live=False,
        )
    buckets = {"walkers": Buckets([4])}
    intake: Intake[Work] = Intake(
        {camera: Terms(live=False, group="walkers") for camera in plans},
        mono_ns=lambda: 0,
        on_stale=lambda _c, _i: None,
        buckets=buckets,
    )
    for camera, street in zip(plans, streets, strict=True):
        frame = street.frame(0.0)
        served = plans[camera].serving.now
        intake.offer(camera, Work(street.lane.look(frame), frame, served), 0)
    take = intake.take
    monkey: Any = intake
    monkey.take = lambda: take(wait=False) or None
    work(intake, plans, buckets)
    assert not any(intake.depth(camera) for camera in plans)


def test_pictures_of_several_cameras_go_through_one_call(
    street: MakeStreet, new_result: Callable[..., Any]
) -> None:
    """Three pictures fill a bucket of four; each camera gets its own, above its own threshold."""
    calls: list[tuple[int, float]] = []

    class Model:
        def detect_batch(self, pictures: list, threshold: float) -> list:
            calls.append((len(pictures), threshold))
            return [new_result([(10.0 * n, 0.0, 10.0 * n + 5, 9.0)]) for n in range(len(pictures))]

    streets = [street(threshold=0.04 * (n + 1)) for n in range(3)]
    batch_of(streets, Model())
    assert calls == [(4, pytest.approx(0.02))]
    assert all(len(one.observed) == 1 for one in streets)


def test_one_bad_picture_costs_its_neighbours_nothing_but_time(
    street: MakeStreet, new_result: Callable[..., Any]
) -> None:
    """Where a call for several fails, each is tried alone, and only the bad one is dropped."""

    class Model:
        def __init__(self) -> None:
            self.alone = 0

        def detect_batch(self, _pictures: list, _threshold: float) -> list:
            raise RuntimeError("a native library")

        def detect(self, _picture: object, _threshold: float) -> Any:
            self.alone += 1
            if self.alone == 2:
                raise BadModelOutput("NaN")
            return new_result([])

    streets = [street() for _ in range(3)]
    batch_of(streets, Model())
    cuts = [one.lane.cut(one.lane.start_ms + 1_000)[0].frames for one in streets]
    assert [f.analysed for f in cuts] == [1, 0, 1]
    assert cuts[1].dropped == {Drop.BAD_OUTPUT: 1}


def test_a_failing_lane_does_not_end_the_worker(
    street: MakeStreet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault behind the model is logged; every frame is settled all the same."""
    made = street()

    def faulty(_frame: object, _result: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(made.analysis, "advance", faulty)
    with caplog.at_level(logging.WARNING):
        cut = run(made, [made.result(n / 5) for n in range(5)])
    assert cut.frames.analysed == cut.frames.captured == 5
    assert len(caplog.records) == 1


def test_a_fault_is_logged_once_per_kind_and_camera(
    street: MakeStreet, caplog: pytest.LogCaptureFixture
) -> None:
    """A model that fails on every frame fills no disk with logs."""
    with caplog.at_level(logging.WARNING):
        run(street(), [BadModelOutput("NaN")] * 20 + [RuntimeError("other")] * 20)
    said = [r for r in caplog.records if r.__dict__.get("event") == "pipeline.frame_failed"]
    assert len(said) == 2
    assert all(r.__dict__["camera"] == "door" for r in said)
