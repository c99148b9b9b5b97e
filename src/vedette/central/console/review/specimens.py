"""The pages of review in every state, from made-up disagreements."""

from collections.abc import Callable
from typing import Final

import msgspec

from vedette.central.console import specimens
from vedette.central.console.page import Page
from vedette.central.console.review import present
from vedette.central.review.queue import Progress, ReviewItem
from vedette.wire.messages import Box

NOW_MS: Final = specimens.NOW_MS


def _box(at: tuple[float, float], size: tuple[float, float], confidence: float, label: str) -> Box:
    (x, y), (width, height) = at, size
    return Box(xyxy=(x, y, x + width, y + height), label=label, confidence=confidence)


ITEM: Final = ReviewItem(
    device="north-1",
    disagreement="dis-0001",
    rollout="people-2-1",
    slot="people",
    site="north",
    camera="door",
    at_ms=NOW_MS - 3_600_000,
    picture_px=(1280, 720),
    window_px=(380, 120, 900, 600),
    first=[
        _box((430, 190), (110, 330), 0.91, "person"),
        _box((640, 240), (96, 280), 0.62, "person"),
        _box((380, 130), (60, 40), 0.55, "suitcase"),
    ],
    second=[_box((432, 188), (108, 333), 0.88, "person")],
    has_picture=False,
    withheld="the site's policy lets no review frames leave",
)

PROGRESS: Final = Progress(
    rollout="people-2-1",
    slot="people",
    frames=18_240,
    differing=3_310,
    failed=0,
    shed=212,
    devices=2,
    cameras=7,
    sent=143,
    reviewed=34,
    waiting=87,
    needed=112,
    verdict="inconclusive",
    reasons=["31 of 109 were decided by people"],
    agreement=0.82,
)


def _progress(**changes: object) -> Progress:
    return msgspec.structs.replace(PROGRESS, **changes)


def _item(**changes: object) -> ReviewItem:
    return msgspec.structs.replace(ITEM, **changes)


_HOSTILE: Final = _item(
    camera="<script>alert(1)</script>",
    withheld="<img src=x onerror=alert(1)>" + " and on and on" * 30,
    first=[_box((0, 0), (1280, 720), 1.0, "<b>" + "a-long-class-name-" * 12)] * 60,
    second=[],
)

LIST: Final = [
    PROGRESS,
    _progress(
        rollout="people-2-0",
        reviewed=128,
        needed=128,
        waiting=0,
        verdict="pass",
        reasons=[
            "at most 54% of 128 decided ones speak for the model in use; 63% would be too many"
        ],
    ),
    _progress(
        rollout="nano-int8-with-a-long-name-that-somebody-thought-would-help-in-lists",
        failed=41,
        reviewed=140,
        needed=128,
        verdict="fail",
        waiting=3,
        reasons=[
            "at least 77% of 128 decided ones speak for the model in use; 63% would be too many"
        ],
    ),
    _progress(
        rollout="twin",
        differing=0,
        sent=0,
        reviewed=0,
        waiting=0,
        needed=0,
        verdict="pass",
        agreement=None,
        reasons=["they differ in at most 0.0% of pictures"],
    ),
    _progress(
        rollout="fresh",
        frames=0,
        differing=0,
        shed=3,
        sent=0,
        reviewed=0,
        waiting=0,
        needed=20,
        agreement=None,
        devices=1,
        cameras=1,
        reasons=["0 pictures were compared, it takes 500"],
    ),
]


def _one(
    item: ReviewItem | None, progress: Progress | None = PROGRESS, said: str = ""
) -> Callable[[Page], str]:
    name = item.rollout if item else "people-2-1"
    return lambda page: present.one_html(item, progress, page, rollout=name, said=said)


PATTERNS: Final[dict[str, Callable[[Page], str]]] = {
    "review": lambda page: present.list_html(LIST, page),
    "review-empty": lambda page: present.list_html([], page),
    "review-one": _one(ITEM, said="Noted."),
    "review-one-empty-side": _one(_item(second=[], withheld="")),
    "review-one-hostile": _one(_HOSTILE),
    "review-none": _one(None),
    "review-none-done": _one(None, _progress(reviewed=112, waiting=0)),
}
