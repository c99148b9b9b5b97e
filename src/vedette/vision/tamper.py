"""Whether a camera still looks at its scene: covered, dark, bright, out of focus, frozen, moved.

Here: one camera's watch over time, as pure state. Not here: what follows from a sign (the pipeline
says TAMPERED and the time is a gap). The rules: a sign stands after its condition held without a
break for `raise_s`, and falls after it was absent for `clear_s`; what cannot be judged (focus in
the dark) counts neither way; nothing is called fine before there was evidence for it.

    sign               stands while                                        needs a reference
    ImageTooDark       nearly all luma is near black                       no
    ImageTooBright     most luma is near white                             no
    Covered            hardly any contrast and no edges, neither of above  no
    ImageTooBlurry     sharpness is very low, or far below what it was     for the second half
    GlobalSceneChange  edges are no longer where they were, or shifted     yes
    FrozenPicture      pictures do not differ by even a sensor's noise     no

A picture whose edges lie where they should, in whatever light, is the same scene: registration says
so where correlation alone would not (infrared light at night, a lamp that was switched off).

Names follow ONVIF's imaging events where it has one (Imaging Service Specification, section 5.3).
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import cv2
import msgspec
import numpy as np

from vedette.vision.picture import Plane
from vedette.vision.quality import Measured, QualityLimits, measure, working
from vedette.vision.reference import Comparison, References, edge_map
from vedette.vision.registration import Floats, Shift

ADVICE: Final = {
    "Covered": "Something covers the lens: take it away, or clean the lens.",
    "GlobalSceneChange": "The view is not the one that was agreed on: turn the camera back, or "
    "confirm the new view with vedette edge commission.",
    "FrozenPicture": "The camera sends the same picture again and again: restart it.",
}
"""Sign → what to do about it, where `vision.quality` has no advice on the same problem."""

SIGNS: Final = (
    "ImageTooDark",
    "ImageTooBright",
    "Covered",
    "ImageTooBlurry",
    "GlobalSceneChange",
    "FrozenPicture",
)

BLIND: Final = ("ImageTooDark", "ImageTooBright", "Covered")
"""Signs of seeing nothing. Which of them it is may waver at a limit; that nothing is seen may not:
time adds up over all three."""

_SHIFTS: Final = 8
_SAME_SHIFT: Final = 0.02
"""Shifts that differ by more do not belong to one move: something large passes."""


class TamperSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a sign stands and falls.

    Attributes:
        raise_s: A condition must hold this long.
        clear_s: A condition must be absent this long.
        frozen_s: Pictures must be alike this long. Longer than a camera's distance between
            keyframes: encoders repeat a still scene exactly until the next one.
        settle_s: Good pictures must be seen this long before the camera counts as fine.
        gap_s: After a longer pause nothing that was running is believed to have gone on.
        reference_s: Time constant of the slow reference.
        covered_contrast: Standard deviation of luma, grey levels, below which it may be covered.
        covered_edge: `Measured.edge` below which it may be covered.
        sharpness_kept: Least part of the reference's sharpness; below it is out of focus.
        scene_kept: Least correlation of edges with the reference's; below it is another scene.
            Measured on footage: 0.6 and more while people and bottles move about, 0.3 when the
            camera turned by a tenth of the picture.
        shift: Least part of the picture by which a moved camera's content is shifted. Of cameras
            that were moved by 0.02, 1 in 48 was called moved; by 0.03, 42.
        moved_strength: Least `Shift.strength` at which it is called moved.
        same_strength: Least `Shift.strength` at which a picture without a shift is the same scene
            whatever its correlation is.
        frozen_fraction: Most pixels that may differ, each by one grey level, in a frozen picture.
        quality: Limits of one picture, shared with `vision.quality`.
    """

    raise_s: float = 8.0
    clear_s: float = 4.0
    frozen_s: float = 30.0
    settle_s: float = 5.0
    gap_s: float = 30.0
    reference_s: float = 600.0
    covered_contrast: float = 20.0
    covered_edge: float = 0.9
    sharpness_kept: float = 0.2
    scene_kept: float = 0.4
    shift: float = 0.025
    moved_strength: float = 12.0
    same_strength: float = 10.0
    frozen_fraction: float = 0.002
    quality: QualityLimits = QualityLimits()


@dataclass(frozen=True, slots=True)
class TamperVerdict:
    """What the watch knows after a picture.

    Attributes:
        signs: The signs that stand, in the order of `SIGNS`.
        since_t_s: When each of them began to hold: earlier than when it was raised.
        suspected: Conditions that hold now and have not stood long enough to be a sign.
        settled: True once there was enough good evidence; never before.
        measured: The measurements of this picture.
        shift: Where the scene changed because the camera moved: by how much its content is shifted.
        seen: How this picture compares with what is known; None where it could not be compared.
    """

    signs: tuple[str, ...]
    since_t_s: dict[str, float]
    suspected: tuple[str, ...]
    settled: bool
    measured: Measured
    shift: Shift | None = None
    seen: Comparison | None = None

    @property
    def ok(self) -> bool:
        """True where there is evidence and no sign; False also means "not known yet"."""
        return self.settled and not self.signs

    @property
    def detail(self) -> str:
        """Say in words where the camera was moved to; empty where that is not what happened.

        A camera that was turned to the right shows the same things further left.
        """
        if self.shift is None:
            return ""
        parts = [
            f"{100 * abs(part):.0f} % {words[part > 0]}"
            for part, words in (
                (self.shift.right, ("right", "left")),
                (self.shift.down, ("down", "up")),
            )
            if abs(part) >= 0.01
        ]
        return f"the camera was moved by about {' and '.join(parts)}"


@dataclass(slots=True)
class _Hysteresis:
    """One sign: seconds up, seconds down, and silence that counts neither way."""

    raise_s: float
    clear_s: float
    began_t_s: float | None = None  # start of the unbroken run that is or may become the sign
    calm_t_s: float | None = None  # start of the unbroken run without the condition
    stands: bool = False

    def update(self, holds: bool | None, t_s: float) -> None:
        if holds is None:
            self.calm_t_s = None
            self.began_t_s = self.began_t_s if self.stands else None
        elif holds:
            self.calm_t_s = None
            self.began_t_s = t_s if self.began_t_s is None else self.began_t_s
            self.stands = self.stands or t_s - self.began_t_s >= self.raise_s
        elif not self.stands:
            self.began_t_s = None
        else:
            self.calm_t_s = t_s if self.calm_t_s is None else self.calm_t_s
            if t_s - self.calm_t_s >= self.clear_s:
                self.stands, self.began_t_s, self.calm_t_s = False, None, None

    def interrupt(self) -> None:
        """Forget what was running; a sign that stands goes on standing until it is disproved."""
        self.update(None, 0.0)


@dataclass(slots=True)
class TamperWatch:
    """One camera under watch. Feed it luma and seconds; it keeps no clock of its own.

    Attributes:
        pinned: The scene as a person confirmed it: uint8, (h, w); None where nobody did.

    Thread: confined to the caller's.
    """

    settings: TamperSettings = field(default_factory=TamperSettings)
    pinned: Plane | None = None
    _reference: References = field(init=False)
    _shifts: deque[Shift] = field(init=False)
    _signs: dict[str, _Hysteresis] = field(init=False)
    _last_t_s: float | None = field(init=False, default=None)
    _blind: _Hysteresis = field(init=False)
    _still: Plane | None = field(init=False, default=None)
    _seen: Comparison | None = field(init=False, default=None)
    _good_s: float = field(init=False, default=0.0)
    _good_t_s: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        at = self.settings
        self._reference = References(at.reference_s)
        self._reference.pin(self.pinned)
        self._shifts = deque(maxlen=_SHIFTS)
        self._signs = {name: _Hysteresis(at.raise_s, at.clear_s) for name in SIGNS}
        self._blind = _Hysteresis(at.raise_s, at.clear_s)
        # One differing picture disproves a frozen one; waiting longer would only be dishonest.
        self._signs["FrozenPicture"] = _Hysteresis(at.frozen_s, 0.0)

    def update(self, luma: Plane, t_s: float, *, hour: int | None = None) -> TamperVerdict:
        """Return the verdict after one more picture.

        Args:
            luma: uint8, (h, w), always of the same camera; `Picture.small_luma()` is enough.
            t_s: Seconds on a clock that never goes back.
            hour: Of the day, 0 to 23, in any one time zone: what each part of the day looks like
                is learnt apart. None: it is not.
        """
        small = working(luma)
        if (
            not 0
            <= t_s - (t_s if self._last_t_s is None else self._last_t_s)
            <= self.settings.gap_s
        ):
            self.interrupt()
        self._last_t_s = t_s
        measured = measure(small, self.settings.quality)
        edges = edge_map(small)
        holding = self._conditions(measured, edges, small, hour)
        for name, holds in holding.items():
            self._signs[name].update(holds, t_s)
        self._watch_blindness(holding, t_s)
        self._weigh(measured, edges, t_s, holding, hour)
        return self._verdict(holding, measured)

    def _watch_blindness(self, holding: dict[str, bool | None], t_s: float) -> None:
        """Raise the sign that holds now where one or another of `BLIND` held for long enough."""
        now = [name for name in BLIND if holding[name]]
        self._blind.update(bool(now), t_s)
        if self._blind.stands and now and not any(self._signs[name].stands for name in BLIND):
            sign = self._signs[now[0]]
            sign.stands, sign.began_t_s, sign.calm_t_s = True, self._blind.began_t_s, None

    def _weigh(
        self,
        measured: Measured,
        edges: Floats,
        t_s: float,
        holding: dict[str, bool | None],
        hour: int | None,
    ) -> None:
        """Take a good picture as evidence and into the reference, and no other."""
        against = {name for name, holds in holding.items() if holds}
        against |= {name for name, sign in self._signs.items() if sign.stands}
        if not against and measured.sharpness is not None:
            dt_s = 0.0 if self._good_t_s is None else t_s - self._good_t_s
            self._reference.learn(edges, measured.sharpness, dt_s, hour)
            self._good_s += dt_s
            self._good_t_s = t_s
        elif against != {"FrozenPicture"}:
            # A picture just like the last is no evidence of a live camera, but none against it.
            self._good_s = self._good_s if self.settled else 0.0
            self._good_t_s = None

    @property
    def settled(self) -> bool:
        """True once good pictures were seen for `settle_s`."""
        return self._good_s >= self.settings.settle_s

    def interrupt(self) -> None:
        """Forget what was running, as after a gap; standing signs and the reference remain."""
        self._still = self._good_t_s = None
        for sign in (*self._signs.values(), self._blind):
            sign.interrupt()

    def pin(self, plane: Plane | None) -> None:
        """Take another pinned scene and begin anew: a person says that this view is right."""
        self.pinned = plane
        self.relearn()

    def relearn(self) -> None:
        """Forget what was learnt and all signs; what is pinned remains."""
        self.__post_init__()
        self._still = self._good_t_s = None
        self._good_s = 0.0

    def _conditions(
        self, measured: Measured, edges: Floats, small: Plane, hour: int | None
    ) -> dict[str, bool | None]:
        """Return per sign whether its condition holds now; None where it cannot be judged."""
        at = self.settings
        dark = measured.dark_fraction > at.quality.dark_fraction
        bright = not dark and measured.bright_fraction > at.quality.bright_fraction
        blank = dark or bright
        covered = (
            not blank
            and (measured.edge < at.covered_edge or measured.sharpness is None)
            and measured.contrast < at.covered_contrast
        )
        blurry, changed = self._against_reference(measured, edges, hour)
        # Without light or contrast, focus and scene are unknown, not fine.
        unseen = blank or covered
        return {
            "ImageTooDark": dark,
            "ImageTooBright": bright,
            "Covered": None if blank else covered,
            "ImageTooBlurry": None if unseen else blurry,
            # A defocused lens blurs the edges away: that is one sign, not two.
            "GlobalSceneChange": None if unseen or blurry else changed,
            # Black, white or uniform, even a live picture may be without noise.
            "FrozenPicture": None if unseen else self._is_still(small),
        }

    def _against_reference(
        self, measured: Measured, edges: Floats, hour: int | None
    ) -> tuple[bool | None, bool | None]:
        """Return (out of focus, another scene)."""
        self._seen = None
        if measured.sharpness is None:
            return None, None
        kept = self.settings.sharpness_kept * self._reference.sharpness(hour)
        blurry = measured.sharpness < max(self.settings.quality.sharpness, kept)
        return blurry, self._is_changed(edges, hour)

    def _is_changed(self, edges: Floats, hour: int | None) -> bool | None:
        """Return whether this is another scene, or the same one from elsewhere."""
        at = self.settings
        seen = self._seen = self._reference.compare(edges, hour)
        if seen is None:
            return None
        shift = seen.shift
        is_shifted = shift is not None and shift.size >= at.shift
        if shift is not None and is_shifted and shift.strength >= at.moved_strength:
            if not self._belongs(shift):
                self._shifts.clear()
            self._shifts.append(shift)
            return len(self._shifts) > 1 or seen.likeness < at.scene_kept
        is_placed = shift is not None and not is_shifted and shift.strength >= at.same_strength
        changed = seen.likeness < at.scene_kept and not is_placed
        if changed or not self._signs["GlobalSceneChange"].stands:
            self._shifts.clear()
        return changed

    def _belongs(self, shift: Shift) -> bool:
        """Return whether a shift goes with those before it."""
        if not self._shifts:
            return True
        last = self._shifts[-1]
        return max(abs(shift.right - last.right), abs(shift.down - last.down)) <= _SAME_SHIFT

    def _is_still(self, small: Plane) -> bool | None:
        """Return whether this is the picture that the run began with; None for the first of all.

        Against the first and not the previous one, so that slow change adds up and is seen.
        """
        if self._still is not None and self._still.shape == small.shape:
            difference = cv2.absdiff(self._still, small)
            few = np.count_nonzero(difference) <= self.settings.frozen_fraction * small.size
            if few and int(difference.max()) <= 1:
                return True
        unknown = self._still is None
        self._still = small.copy()
        return None if unknown else False

    def _verdict(self, holding: dict[str, bool | None], measured: Measured) -> TamperVerdict:
        standing = {name: sign for name, sign in self._signs.items() if sign.stands}
        return TamperVerdict(
            signs=tuple(standing),
            since_t_s={
                name: sign.began_t_s
                for name, sign in standing.items()
                if sign.began_t_s is not None
            },
            suspected=tuple(
                name for name, holds in holding.items() if holds and name not in standing
            ),
            settled=self.settled,
            measured=measured,
            shift=self._shift() if "GlobalSceneChange" in standing else None,
            seen=self._seen,
        )

    def _shift(self) -> Shift | None:
        """Return the middle of the last shifts; None where the last picture was not shifted."""
        if not self._shifts:
            return None
        return Shift(
            median(shift.right for shift in self._shifts),
            median(shift.down for shift in self._shifts),
            median(shift.strength for shift in self._shifts),
        )
