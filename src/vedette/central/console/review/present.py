"""Review in, pages out. Pure: no request, no database, no clock.

The rule: nothing on the page says which side is the model in use.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central.console.page import Page
from vedette.central.console.render import render
from vedette.central.review.queue import Progress, ReviewItem
from vedette.wire.messages import Box

VERDICTS: Final = {
    "pass": ("ok", "no worse than the model in use", "disc"),
    "fail": ("down", "worse than the model in use", "cross"),
    "wait": ("pending", "not begun", "clock"),
    "inconclusive": ("hatched", "not enough judged yet", "half"),
}
CHOICES: Final = (
    ("first", "A is right", "a"),
    ("second", "B is right", "b"),
    ("neither", "Neither", "n"),
    ("unclear", "Can't tell", " "),
)


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A box in the picture's pixels, cut to what is shown, and where its name goes."""

    name: str
    x: float
    y: float
    width: float
    height: float
    name_y: float


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """One side: its letter, its boxes, and the part of the picture that is shown."""

    letter: str
    marks: list[Mark]
    view: str
    x: int
    y: int
    width: int
    height: int
    text_px: float


def list_html(found: Sequence[Progress], page: Page) -> str:
    """Return the page of what can be reviewed, or its live part."""
    return render(
        "review/list_body.html" if page.part else "review/list.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        found=found,
        verdicts=VERDICTS,
    )


def one_html(
    item: ReviewItem | None, progress: Progress | None, page: Page, *, rollout: str, said: str = ""
) -> str:
    """Return the page of one disagreement; of none where nothing waits."""
    return render(
        "review/one.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        rollout=rollout,
        item=item,
        progress=progress,
        done_percent=_percent(progress),
        scenes=_scenes(item) if item else [],
        choices=CHOICES,
        verdicts=VERDICTS,
        said=said,
        item_url=item_url(item) if item else "",
    )


def item_url(item: ReviewItem) -> str:
    """Return where a disagreement's picture and verdict are; ids are slugs."""
    return f"/review/{item.rollout}/{item.device}/{item.disagreement}"


def _percent(progress: Progress | None) -> float:
    if progress is None or not progress.needed:
        return 100.0
    return round(min(100.0, 100.0 * progress.reviewed / progress.needed), 1)


def _scenes(item: ReviewItem) -> list[Scene]:
    x0, y0, x1, y1 = item.window_px
    width, height = max(1, x1 - x0), max(1, y1 - y0)
    text_px = round(max(width, height) / 26, 1)
    return [
        Scene(
            letter=letter,
            marks=[mark for box in boxes if (mark := _mark(box, item.window_px, text_px))],
            view=f"{x0} {y0} {width} {height}",
            x=x0,
            y=y0,
            width=width,
            height=height,
            text_px=text_px,
        )
        for letter, boxes in (("A", item.first), ("B", item.second))
    ]


def _mark(box: Box, window: tuple[int, int, int, int], text_px: float) -> Mark | None:
    """Return a box as it is drawn; None where nothing of it lies in the window."""
    left, right = max(box.xyxy[0], window[0]), min(box.xyxy[2], window[2])
    top, bottom = max(box.xyxy[1], window[1]), min(box.xyxy[3], window[3])
    if right <= left or bottom <= top:
        return None
    is_at_top = top - window[1] < 1.4 * text_px
    return Mark(
        name=f"{box.label[:32]} {box.confidence:.2f}",
        x=round(left, 1),
        y=round(top, 1),
        width=round(right - left, 1),
        height=round(bottom - top, 1),
        name_y=round(top + 1.1 * text_px if is_at_top else top - 0.35 * text_px, 1),
    )
