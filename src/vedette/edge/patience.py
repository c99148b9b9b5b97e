"""How long nothing may come of one camera before something is wrong with it.

Here: that one question, asked by whoever holds something from one look to the next. Pure. The rule:
a camera that is to be looked at rarely is observed at that rate, so two of its looks in a row are
never a gap; no camera's patience is shorter than what is usual.
"""

from typing import Final

from vedette.edge.address import Kind, kind_of
from vedette.edge.settings import Camera, Tier
from vedette.wire.streams import CAMERA_DOWN_AFTER_S

PERIODS: Final = 2.1
"""Looks may be missed or late: one, and a little."""

MAX_PERIOD_S: Final = 300.0
"""A longer period is stated as a gap after each look: nobody can say what was in between."""

_MAY_BE_SLOW: Final = frozenset({Kind.HTTP, Kind.WATCHED})
"""Sources that may give a picture only now and then; others give several a second, or are gone."""


def period_s(camera: Camera) -> float:
    """Return the longest time that is meant to lie between two looks at a camera."""
    every_s = camera.batch_every_s if camera.tier is Tier.BATCH else 0.0
    return min(MAX_PERIOD_S, max(every_s, 1.0 / camera.max_fps))


def patience_s(camera: Camera, usual_s: float) -> float:
    """Return `usual_s`, or what two looks in a row may take where that is more."""
    return max(usual_s, PERIODS * period_s(camera))


def silent_s(camera: Camera) -> float:
    """Return after how long without a picture a camera is down."""
    slow = kind_of(camera.source) in _MAY_BE_SLOW
    return patience_s(camera, CAMERA_DOWN_AFTER_S) if slow else CAMERA_DOWN_AFTER_S
