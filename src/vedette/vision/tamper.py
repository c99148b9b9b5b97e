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
    GlobalSceneChange  edges are no longer where they were                 yes
    FrozenPicture      pictures do not differ by even a sensor's noise     no

Names follow ONVIF's imaging events where it has one (Imaging Service Specification, section 5.3).
"""

import math
from dataclasses import dataclass, field
from typing import Final

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from vedette.vision.picture import Plane
from vedette.vision.quality import Measured, QualityLimits, measure, working

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

Floats = npt.NDArray[np.float32]


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
    """

    signs: tuple[str, ...]
    since_t_s: dict[str, float]
    suspected: tuple[str, ...]
    settled: bool
    measured: Measured

    @property
    def ok(self) -> bool:
        """True where there is evidence and no sign; False also means "not known yet"."""
        return self.settled and not self.signs


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
class _Reference:
    """The scene as it usually is: where edges are and how sharp, by a slow moving average."""

    time_constant_s: float
    edges: Floats | None = None
    sharpness: float = 0.0
    pictures: int = 0

    def likeness(self, edges: Floats) -> float | None:
        """Return the correlation with the reference, -1 to 1; None where there is none yet."""
        if self.edges is None or self.edges.shape != edges.shape:
            return None
        length = float(np.linalg.norm(self.edges))
        return float(np.vdot(self.edges, edges)) / length if length > 0 else None

    def learn(self, edges: Floats, sharpness: float, dt_s: float) -> None:
        """Move towards this picture; the first ones count equally, later ones by their time."""
        if self.edges is None or self.edges.shape != edges.shape:
            self.edges, self.sharpness, self.pictures = edges.copy(), sharpness, 1
            return
        self.pictures += 1
        weight = max(-math.expm1(-dt_s / self.time_constant_s), 1 / self.pictures)
        cv2.accumulateWeighted(edges, self.edges, weight)
        self.sharpness += (sharpness - self.sharpness) * weight


@dataclass(slots=True)
class TamperWatch:
    """One camera under watch. Feed it luma and seconds; it keeps no clock of its own.

    Thread: confined to the caller's.
    """

    settings: TamperSettings = field(default_factory=TamperSettings)
    _reference: _Reference = field(init=False)
    _signs: dict[str, _Hysteresis] = field(init=False)
    _last_t_s: float | None = field(init=False, default=None)
    _blind: _Hysteresis = field(init=False)
    _still: Plane | None = field(init=False, default=None)
    _good_s: float = field(init=False, default=0.0)
    _good_t_s: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        at = self.settings
        self._reference = _Reference(at.reference_s)
        self._signs = {name: _Hysteresis(at.raise_s, at.clear_s) for name in SIGNS}
        self._blind = _Hysteresis(at.raise_s, at.clear_s)
        # One differing picture disproves a frozen one; waiting longer would only be dishonest.
        self._signs["FrozenPicture"] = _Hysteresis(at.frozen_s, 0.0)

    def update(self, luma: Plane, t_s: float) -> TamperVerdict:
        """Return the verdict after one more picture.

        Args:
            luma: uint8, (h, w), always of the same camera; `Picture.small_luma()` is enough.
            t_s: Seconds on a clock that never goes back.
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
        holding = self._conditions(measured, edges, small)
        for name, holds in holding.items():
            self._signs[name].update(holds, t_s)
        self._watch_blindness(holding, t_s)
        self._weigh(measured, edges, t_s, holding)
        return self._verdict(holding, measured)

    def _watch_blindness(self, holding: dict[str, bool | None], t_s: float) -> None:
        """Raise the sign that holds now where one or another of `BLIND` held for long enough."""
        now = [name for name in BLIND if holding[name]]
        self._blind.update(bool(now), t_s)
        if self._blind.stands and now and not any(self._signs[name].stands for name in BLIND):
            sign = self._signs[now[0]]
            sign.stands, sign.began_t_s, sign.calm_t_s = True, self._blind.began_t_s, None

    def _weigh(
        self, measured: Measured, edges: Floats, t_s: float, holding: dict[str, bool | None]
    ) -> None:
        """Take a good picture as evidence and into the reference, and no other."""
        against = {name for name, holds in holding.items() if holds}
        against |= {name for name, sign in self._signs.items() if sign.stands}
        if not against and measured.sharpness is not None:
            dt_s = 0.0 if self._good_t_s is None else t_s - self._good_t_s
            self._reference.learn(edges, measured.sharpness, dt_s)
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

    def relearn(self) -> None:
        """Forget the reference and all signs: a person says that this view is the right one."""
        self.__post_init__()
        self._still = self._good_t_s = None
        self._good_s = 0.0

    def _conditions(
        self, measured: Measured, edges: Floats, small: Plane
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
        blurry, changed = self._against_reference(measured, edges)
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
        self, measured: Measured, edges: Floats
    ) -> tuple[bool | None, bool | None]:
        """Return (out of focus, another scene)."""
        if measured.sharpness is None:
            return None, None
        kept = self.settings.sharpness_kept * self._reference.sharpness
        blurry = measured.sharpness < max(self.settings.quality.sharpness, kept)
        likeness = self._reference.likeness(edges)
        return blurry, None if likeness is None else likeness < self.settings.scene_kept

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
        )


def edge_map(luma: Plane) -> Floats:
    """Return where edges are, free of light and contrast: float32 (h, w), mean 0, length 1.

    Blurred first, so that a camera that trembles by a pixel stays the same; under a square root,
    so that one strong edge does not speak for the whole scene. Without any edge it is all zero.
    """
    smooth = cv2.GaussianBlur(luma.astype(np.float32), (0, 0), 1.5)
    dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    size = np.sqrt(cv2.magnitude(dx, dy))
    size = size - size.mean()
    length = float(np.linalg.norm(size))
    return (size / length if length > 0 else size).astype(np.float32)
