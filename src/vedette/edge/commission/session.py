"""The steps of commissioning one camera, in the order in which an installer on a ladder takes them.

    view       is this what the camera shall see?
    focus      turn the lens until the number is as high as it gets
    light      too dark, too bright, too flat?
    zones      is every zone and line where it should be?
    reference  the scene without people, pinned: what "the camera was moved" is judged by
    sample     pictures with boxes: how many are wrong, how many objects were missed?
    baseline   the real pipeline for a while: coverage, rate, latency, confidence

Here: what is done in each step. Not here: how a person is asked (`Desk`, a terminal or a page).
The rule: a question has three answers, yes, no and none; none is a skipped step.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

import msgspec
import numpy as np

from vedette.clock import NS_PER_S, Clock, wall_ms
from vedette.edge.assembly import Assembly
from vedette.edge.commission.record import (
    Baseline,
    CommissionRecord,
    Sample,
    settings_digest,
)
from vedette.edge.doctor.eye import Eye
from vedette.edge.doctor.orientation import judge_orientation, orientation
from vedette.edge.frame import Frame
from vedette.edge.models import Models, worker_count
from vedette.edge.pipeline import Pipeline
from vedette.edge.settings import Camera, EdgeConfig
from vedette.errors import StreamLost, VedetteError
from vedette.logs import redact_url
from vedette.stats.summing import merge
from vedette.vision.detections import Detections
from vedette.vision.picture import Plane
from vedette.vision.quality import QualityVerdict, assess
from vedette.vision.regions import Regions
from vedette.wire.messages import Aggregate

STEPS: Final = ("view", "focus", "light", "zones", "reference", "sample", "baseline")
FIRST_PICTURE_S: Final = 15.0
NEXT_PICTURE_S: Final = 10.0
REFERENCE_EVERY_S: Final = 1.0
SAMPLE_EVERY_S: Final = 2.0
ORIENTATION_EVERY_S: Final = 0.5
ORIENTATION_LOOKS: Final = 4
_TICK_S: Final = 0.5


class Desk(Protocol):
    """Where the person is. Every answer may be None: not answered."""

    def begin(self, step: str, words: str) -> None:
        """Say which step begins and what is to be done."""
        ...

    def show(self, frame: Frame, found: Detections | None, words: str) -> None:
        """Show a picture, with zones and lines, and with boxes where there are any."""
        ...

    def follow(self, pictures: Iterable[tuple[Frame, str]]) -> None:
        """Show pictures one after the other until the person has had enough or they end."""
        ...

    def confirm(self, question: str) -> bool | None:
        """Ask for yes or no."""
        ...

    def count(self, question: str, at_most: int | None) -> int | None:
        """Ask for a number from 0."""
        ...

    def progress(self, words: str, part: float) -> None:
        """Say how far something is, 0 to 1."""
        ...


class Session:
    """One camera's commissioning.

    Args:
        config: As it is in effect on this device.
        camera: One of its cameras, with a source.
        models: Where its model comes from.
        clock: Time.
        desk: The person.
        samples: Pictures to label.
        baseline_s: How long the pipeline is watched.
        reference_s: How long the scene is averaged over: longer than anybody stands still.
    """

    def __init__(
        self,
        config: EdgeConfig,
        camera: Camera,
        models: Models,
        clock: Clock,
        desk: Desk,
        *,
        samples: int = 10,
        baseline_s: float = 60.0,
        reference_s: float = 15.0,
    ) -> None:
        self._config = config
        self._camera = camera
        self._models = models
        self._clock = clock
        self._desk = desk
        self._samples = samples
        self._baseline_s = baseline_s
        self._reference_pictures = max(3, round(reference_s / REFERENCE_EVERY_S))
        self._answers: dict[str, bool | None] = {}
        self._facts: dict[str, object] = {}
        self.reference: Plane | None = None

    def run(self, by: str, steps: Iterable[str] = STEPS) -> CommissionRecord:
        """Take the steps and return what came of them; steps left out count as skipped.

        Raises:
            StreamLost: The camera gives no picture.
            ConfigError, InferenceError: It has no source, or its model cannot be used.
        """
        wanted = [step for step in STEPS if step in set(steps)]
        with Eye(self._camera, self._clock) as eye:
            first = eye.next(FIRST_PICTURE_S)
            if first is None:
                raise StreamLost(
                    f"camera {self._camera.id}: {eye.sighting().problem}",
                    operator_hint="vedette edge doctor says more",
                )
            takes: dict[str, Callable[[Eye], None]] = {
                "view": self._view,
                "focus": self._focus,
                "light": self._light,
                "zones": self._zones,
                "reference": self._reference,
                "sample": self._sample,
            }
            for step in wanted:
                if step in takes:
                    takes[step](eye)
            seen = eye.sighting()
        if "baseline" in wanted:
            self._baseline()
        model = self._models.loaded.get(self._camera.model)
        answers = {step: self._answers.get(step) for step in STEPS}
        record = CommissionRecord(
            camera=self._camera.id,
            at_ms=wall_ms(self._clock.now_at()),
            by=by,
            source=redact_url(self._camera.source),
            codec=seen.codec,
            picture_px=seen.picture_px,
            rate_fps=seen.rate_fps,
            keyframe_s=seen.keyframe_s,
            model=self._camera.model,
            model_digest=model.model.digest if model else "",
            settings_sha256=settings_digest(self._camera),
            confirmed=[step for step, answer in answers.items() if answer],
            refused=[step for step, answer in answers.items() if answer is False],
            skipped=[step for step, answer in answers.items() if answer is None],
        )
        return msgspec.structs.replace(record, **self._facts)

    # ------------------------------------------------------------------------------- the steps

    def _view(self, eye: Eye) -> None:
        self._desk.begin("view", "What the camera sees.")
        words = self._camera.name or self._camera.id
        self._desk.show(self._frame(eye), None, "; ".join([words, *self._doubts(eye)]))
        self._answers["view"] = self._desk.confirm("Is this the view that was agreed?")

    def _doubts(self, eye: Eye) -> list[str]:
        """Return what the camera's model says against the way it hangs, if anything."""
        try:
            model = self._models.get(self._camera.model)
        except VedetteError:
            return []  # the steps that need it say why
        frames = list(itertools.islice(self._spaced(eye, ORIENTATION_EVERY_S), ORIENTATION_LOOKS))
        said = orientation(model, [frame.picture for frame in frames])
        if said is None or not said.rotation_deg:
            return []
        finding = judge_orientation(self._camera, said, frames[-1].rotation_deg)
        return [f"{finding.detail.partition(';')[0]}: {finding.advice}"]

    def _focus(self, eye: Eye) -> None:
        self._desk.begin("focus", "Turn the lens until the number is as high as it gets.")
        best: list[float] = []

        def readings() -> Iterator[tuple[Frame, str]]:
            for frame in self._frames(eye):
                now = _judge(frame).measured.sharpness
                best[:] = [*best[-200:], now] if now is not None else best
                top = max(best, default=None)
                yield frame, f"sharpness {_percent(now)}, best {_percent(top)}"

        self._desk.follow(readings())
        now = _judge(self._frame(eye)).measured.sharpness
        top = max([*best, now] if now is not None else best, default=None)
        self._facts |= {"sharpness": _rounded(now), "best_sharpness": _rounded(top)}
        question = "Is the picture sharp where it matters?"
        if now is not None and top is not None and now < 0.8 * top:
            question = f"It was sharper before ({_percent(top)}). Leave it at {_percent(now)}?"
        self._answers["focus"] = self._desk.confirm(question)

    def _light(self, eye: Eye) -> None:
        self._desk.begin("light", "How bright and how clear the picture is.")
        frame = self._frame(eye)
        verdict = _judge(frame)
        self._facts["problems"] = list(verdict.problems)
        words = "; ".join(verdict.advice) or "brightness and contrast are fine"
        self._desk.show(frame, None, words)
        question = "Is this the usual light?" if verdict.ok else "Leave it as it is?"
        self._answers["light"] = self._desk.confirm(question)

    def _zones(self, eye: Eye) -> None:
        names = [s.name for s in (*self._camera.zones, *self._camera.lines)]
        self._desk.begin("zones", ", ".join(names) or "No zones and lines: all of the picture.")
        self._desk.show(self._frame(eye), None, ", ".join(names))
        self._answers["zones"] = self._desk.confirm(
            "Is every zone and line where it should be?"
            if names
            else "Is it right that there are no zones and lines?"
        )

    def _reference(self, eye: Eye) -> None:
        self._desk.begin("reference", "The scene as it is; who walks through is averaged away.")
        planes: list[Plane] = []
        for frame in self._spaced(eye, REFERENCE_EVERY_S):
            planes.append(frame.picture.small_luma().copy())
            self._desk.progress("pictures of the scene", len(planes) / self._reference_pictures)
            if len(planes) >= self._reference_pictures:
                break
        too_few = len(planes) < self._reference_pictures
        if too_few or len({plane.shape for plane in planes}) != 1:
            return  # somebody who stood there would not be averaged away: skipped
        self.reference = np.median(planes, axis=0).astype(np.uint8)
        self._answers["reference"] = True

    def _sample(self, eye: Eye) -> None:
        self._desk.begin("sample", "Pictures with what the model found: compare them.")
        if not self._samples:
            return
        model = self._models.get(self._camera.model)
        regions = Regions(self._camera.regions)
        tally = Sample()
        for frame in self._spaced(eye, SAMPLE_EVERY_S):
            # As the pipeline looks: in the regions, and what lies outside of them does not count.
            found = model.detect(regions.cut(frame.picture), self._camera.threshold).detections
            found = regions.counted(found, frame.picture.size)
            found = _wanted(found, self._camera.labels, model.labels)
            self._desk.show(frame, found, f"picture {tally.pictures + 1} of {self._samples}")
            wrong = self._desk.count(_boxes(len(found)), len(found))
            missed = None if wrong is None else self._desk.count("How many are missing?", None)
            if wrong is None or missed is None:
                break
            tally = Sample(
                pictures=tally.pictures + 1,
                right=tally.right + len(found) - wrong,
                wrong=tally.wrong + wrong,
                missed=tally.missed + missed,
            )
            if tally.pictures >= self._samples:
                break
        if tally.pictures:
            self._facts["sample"] = tally
            self._answers["sample"] = True

    def _baseline(self) -> None:
        self._desk.begin("baseline", f"The real pipeline for {self._baseline_s:.0f} s.")
        config = msgspec.structs.replace(self._config, cameras=[self._camera])
        # The view may be another than the one that was pinned before: that is why somebody is here.
        assembly = Assembly(
            config,
            self._models,
            self._clock,
            emit=lambda _message: None,
            evidence=None,
            pinned=False,
        )
        plans = assembly.plans()
        lane = plans[0].lane
        pipeline = Pipeline(
            plans,
            workers=worker_count(config),
            deadline_ms=config.pipeline.deadline_ms,
            clock=self._clock,
        )
        stop, began_ns = threading.Event(), self._clock.mono_ns()
        pipeline.start()
        try:
            while not self._clock.wait(stop, _TICK_S):
                pipeline.capture.check()
                part = (self._clock.mono_ns() - began_ns) / NS_PER_S / self._baseline_s
                self._desk.progress("watching", min(1.0, part))
                if part >= 1:
                    break
        finally:
            pipeline.stop()
        cuts = [c for c in lane.cut(wall_ms(self._clock.now_at())) if isinstance(c, Aggregate)]
        if cuts:
            found = baseline(cuts)
            self._facts["baseline"] = found
            # Where nothing was looked at nothing was shown to work: not a step that was taken.
            if found.analysed + found.gated and found.observed_fraction > 0:
                self._answers["baseline"] = True

    # ------------------------------------------------------------------------------- pictures

    def _frames(self, eye: Eye) -> Iterator[Frame]:
        while (frame := eye.next(NEXT_PICTURE_S)) is not None:
            yield frame

    def _spaced(self, eye: Eye, every_s: float) -> Iterator[Frame]:
        last_s = float("-inf")
        for frame in self._frames(eye):
            if frame.t_s - last_s >= every_s:
                last_s = frame.t_s
                yield frame

    def _frame(self, eye: Eye) -> Frame:
        frame = eye.next(NEXT_PICTURE_S)
        if frame is None and eye.sighting().ended:
            raise StreamLost(
                f"camera {self._camera.id} cannot be commissioned: its pictures are read once, "
                "and came to their end",
                operator_hint="for a file write `loop: true`, for a folder that pictures fall "
                "into `watch:` before its path; nothing was stored for this camera now",
            )
        if frame is None:
            raise StreamLost(
                f"camera {self._camera.id} gives no picture any more",
                operator_hint="vedette edge doctor says more; start again once it gives pictures; "
                "nothing was stored for this camera now",
            )
        return frame


def baseline(cuts: list[Aggregate]) -> Baseline:
    """Return the sum of what was counted, with how much of the time was observed."""
    whole = cuts[0]
    for cut in cuts[1:]:
        whole = merge(whole, cut)
    span_ms = max(1, whole.end_ms - whole.start_ms)
    observed_ms = sum(s.end_ms - s.start_ms for s in whole.spans if s.cause is None)
    return Baseline(
        seconds=round(span_ms / 1000, 3),
        observed_fraction=round(min(1.0, observed_ms / span_ms), 4),
        captured=whole.frames.captured,
        analysed=whole.frames.analysed,
        gated=whole.frames.gated,
        dropped={cause.value: count for cause, count in whole.frames.dropped.items() if count},
        stage_ms=whole.stage_ms,
        confidence=whole.confidence,
        quality=whole.quality,
        detections=whole.detections,
    )


def _boxes(count: int) -> str:
    return f"{count} box{'' if count == 1 else 'es'}. How many are wrong?"


def _judge(frame: Frame) -> QualityVerdict:
    return assess(frame.picture.small_luma(), picture_px=frame.picture.size, full=frame.picture.y)


def _wanted(found: Detections, labels: list[str], known: list[str]) -> Detections:
    if not labels or not len(found):
        return found
    wanted = np.array([label in labels for label in known], np.bool_)
    return found.where(wanted[found.class_id])


def _percent(sharpness: float | None) -> str:
    """Return sharpness on the scale of `QualityVerdict.scores`, for people."""
    return "–" if sharpness is None else f"{100 * sharpness / (sharpness + 0.1):.0f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
