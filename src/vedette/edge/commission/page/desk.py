"""A `Desk` that a browser sits at: what is shown now, and the one question that is open.

Here: state and waiting, and pictures reduced to what may be shown. Not here: markup, HTTP. The
rule: an answer belongs to one question; one that comes twice, or late, answers nothing else.

Thread: the session's thread calls the `Desk` methods, requests call the rest.
"""

import threading
from collections.abc import Iterable
from typing import Final

import cv2
import msgspec
import numpy as np

from vedette.clock import NS_PER_S, Clock
from vedette.edge.commission.session import STEPS
from vedette.edge.frame import Frame
from vedette.edge.settings import Camera
from vedette.errors import VedetteError
from vedette.vision.detections import Detections
from vedette.vision.picture import Plane

SAFE_COLUMNS: Final = 96
"""Columns of a picture in which nobody can be recognised: what the terminal shows too."""

SHOWN_PX: Final = 960
IDLE_S: Final = 1800.0
MAX_COUNT: Final = 9999
_EVERY_S: Final = 0.2
_JPEG: Final = [int(cv2.IMWRITE_JPEG_QUALITY), 82]
_BOX: Final = (60, 60, 255)
_SHAPE: Final = (80, 220, 255)
_DARK: Final = (20, 20, 20)


class Abandoned(VedetteError):
    """Nobody sits at the desk any more; nothing was stored for this camera."""

    code = "commission.abandoned"


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked now.

    Attributes:
        number: Each question has its own; an answer names it.
        kind: `confirm` yes, no or skip; `count` a number or skip; `follow` enough.
    """

    number: int
    kind: str
    words: str
    at_most: int | None = None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows.

    Attributes:
        version: Grows with every change; a browser asks for what is newer.
        picture: Grows with every picture; 0 where there is none.
        part: How far something is, 0 to 1; None where nothing is under way.
    """

    version: int = 0
    camera: str = ""
    step: str = ""
    step_words: str = ""
    words: str = ""
    picture: int = 0
    question: Question | None = None
    progress: str = ""
    part: float | None = None


Answer = bool | int | None
"""Yes, no, a number, or None for skipped."""


class WebDesk:
    """One session's desk.

    Args:
        clock: For the pace of pictures and for patience.
        camera: Its zones and lines are drawn.
        clear: Whether pictures are also kept as they are, besides reduced ones.
    """

    def __init__(self, clock: Clock, camera: Camera, *, clear: bool) -> None:
        self._clock = clock
        self._camera = camera
        self._clear = clear
        self._changed = threading.Condition()
        self._shown = Shown(camera=camera.id)
        self._safe_jpeg = b""
        self._clear_jpeg = b""
        self._answer: tuple[int, Answer] | None = None
        self._is_closed = False
        self._numbers = 0

    # ------------------------------------------------------------------------------ the session

    def begin(self, step: str, words: str) -> None:
        """Say which step begins."""
        self._change(step=step, step_words=words, words="", progress="", part=None)

    def show(self, frame: Frame, found: Detections | None, words: str) -> None:
        """Show a picture with zones, lines and boxes."""
        self._picture(frame, found)
        self._change(words=words, picture=self._shown.picture + 1, part=None)

    def follow(self, pictures: Iterable[tuple[Frame, str]]) -> None:
        """Show pictures one after the other until the person has had enough or they end.

        Raises:
            Abandoned: The desk was closed, or nobody had enough for half an hour.
        """
        number = self._ask("follow", "Press when it does not get better.", None)
        last_ns: int | None = None
        end_ns = self._clock.mono_ns() + int(IDLE_S * NS_PER_S)
        for frame, words in pictures:
            now_ns = self._clock.mono_ns()
            if last_ns is None or now_ns - last_ns >= _EVERY_S * NS_PER_S:
                last_ns = now_ns
                self._picture(frame, None)
                self._change(words=words, picture=self._shown.picture + 1)
            with self._changed:
                self._is_closed = self._is_closed or now_ns > end_ns
                self._check()
                if self._answer and self._answer[0] == number:
                    break
        self._change(question=None)

    def confirm(self, question: str) -> bool | None:
        """Ask for yes or no."""
        answer = self._wait(self._ask("confirm", question, None))
        return answer if isinstance(answer, bool) else None

    def count(self, question: str, at_most: int | None) -> int | None:
        """Ask for a number from 0."""
        answer = self._wait(self._ask("count", question, at_most))
        return None if isinstance(answer, bool) else answer

    def progress(self, words: str, part: float) -> None:
        """Say how far something is, 0 to 1."""
        with self._changed:
            self._check()
        self._change(progress=words, part=min(1.0, max(0.0, part)))

    def _ask(self, kind: str, words: str, at_most: int | None) -> int:
        self._numbers += 1
        asked = Question(number=self._numbers, kind=kind, words=words, at_most=at_most)
        self._change(question=asked, part=None)
        return asked.number

    def _wait(self, number: int) -> Answer:
        """Return the answer to a question.

        Raises:
            Abandoned: The desk was closed, or nobody answered for half an hour.
        """
        with self._changed:
            patient = self._changed.wait_for(
                lambda: self._is_closed or bool(self._answer and self._answer[0] == number),
                timeout=IDLE_S,
            )
            self._is_closed = self._is_closed or not patient
            self._check()
            answer = self._answer[1] if self._answer else None
        self._change(question=None)
        return answer

    def _check(self) -> None:
        if self._is_closed:
            raise Abandoned(
                "commissioning was ended before its last step",
                operator_hint="nothing was stored for this camera; begin again",
            )

    def _change(self, **changes: object) -> None:
        with self._changed:
            version = self._shown.version + 1
            self._shown = msgspec.structs.replace(self._shown, version=version, **changes)
            self._changed.notify_all()

    def _picture(self, frame: Frame, found: Detections | None) -> None:
        safe = self._encoded(frame, found, SAFE_COLUMNS)
        clear = self._encoded(frame, found, SHOWN_PX) if self._clear else b""
        with self._changed:
            self._safe_jpeg, self._clear_jpeg = safe, clear

    def _encoded(self, frame: Frame, found: Detections | None, columns: int) -> bytes:
        """Return a JPEG of at most `columns` columns of detail, with marks drawn over it."""
        width = min(SHOWN_PX, frame.width)
        size = (width, max(2, round(width * frame.height / frame.width)))
        few = min(columns, width)
        reduced = frame.picture.to_bgr((few, max(2, round(few * size[1] / size[0]))))
        large = cv2.resize(reduced, size, interpolation=cv2.INTER_NEAREST)
        bgr = np.ascontiguousarray(large, np.uint8)
        _draw(bgr, self._camera, found, (frame.width, frame.height))
        _, encoded = cv2.imencode(".jpg", bgr, _JPEG)
        return encoded.tobytes()

    # ------------------------------------------------------------------------------ the browser

    @property
    def shown(self) -> Shown:
        """What is shown now."""
        with self._changed:
            return self._shown

    def picture(self, *, clear: bool) -> bytes:
        """Return the newest picture as JPEG, reduced unless `clear`; empty where there is none."""
        with self._changed:
            return self._clear_jpeg if clear else self._safe_jpeg

    def answer(self, number: int, answer: Answer) -> bool:
        """Answer a question; False where it is not the one that is open or cannot be its answer."""
        with self._changed:
            asked = self._shown.question
            is_open = asked is not None and asked.number == number and not self._is_closed
            is_given = self._answer is not None and self._answer[0] == number
            if asked is None or not is_open or is_given or not _fits(asked, answer):
                return False
            self._answer = (number, answer)
            self._changed.notify_all()
            return True

    def newer(self, version: int, timeout_s: float) -> Shown:
        """Return what is shown once it is newer than `version`, or after `timeout_s`."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._shown.version != version or self._is_closed, timeout=timeout_s
            )
            return self._shown

    def close(self) -> None:
        """End it: the session stops at its next word to this desk, and stores nothing."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


def _fits(asked: Question, answer: Answer) -> bool:
    if answer is None or asked.kind == "follow":
        return True
    if asked.kind == "confirm":
        return isinstance(answer, bool)
    most = MAX_COUNT if asked.at_most is None else asked.at_most
    return not isinstance(answer, bool) and 0 <= answer <= most


def step_number(step: str) -> int:
    """Return the number of a step, from 1; 0 before the first."""
    return STEPS.index(step) + 1 if step in STEPS else 0


def _draw(
    bgr: Plane, camera: Camera, found: Detections | None, picture_px: tuple[int, int]
) -> None:
    """Draw zones, lines and boxes, each light on dark so that they show on any ground."""
    height, width = bgr.shape[:2]

    def to_px(p: tuple[float, float]) -> tuple[int, int]:
        return round(p[0] * width), round(p[1] * height)

    for colour, thickness in ((_DARK, 6), (_SHAPE, 3)):
        for zone in camera.zones:
            corners = np.array([to_px(p) for p in zone.polygon], np.int32)
            cv2.polylines(bgr, [corners], isClosed=True, color=colour, thickness=thickness)
        for line in camera.lines:
            cv2.arrowedLine(bgr, to_px(line.a), to_px(line.b), colour, thickness)
    for colour, thickness in ((_DARK, 5), (_BOX, 2)):
        for box, _confidence, _label, _entropy in found or Detections.empty():
            left, top = to_px((box[0] / picture_px[0], box[1] / picture_px[1]))
            right, bottom = to_px((box[2] / picture_px[0], box[3] / picture_px[1]))
            cv2.rectangle(bgr, (left, top), (right, bottom), colour, thickness)
