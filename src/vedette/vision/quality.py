"""How good one picture is: focus, exposure, noise, contrast, size; a value with advice, no error.

Here: measurements on one luma plane and a verdict on each. Not here: anything over time
(`vision.tamper`), which judges a camera against its own past. The rule: what cannot be judged is
None: a black picture has no focus, good or bad, and a reduced one no noise. The limits are measured
(docs/picture-quality.md, benchmarks/bench_quality.py).
"""

import math
from dataclasses import dataclass
from typing import Final

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from vedette.vision.artefacts import block_edges, noise_level
from vedette.vision.picture import Plane, shrink

# All limits below hold at this width: detail means something else at every other one.
WORKING_WIDTH_PX: Final = 160

# Rounding to whole grey levels is noise of variance 1/12; the 4-neighbour Laplacian, whose squared
# weights add up to 20, makes that much of it. It would pass for detail in pictures of low contrast.
ROUNDING_NOISE: Final = 20 / 12

Floats = npt.NDArray[np.float32]


class QualityLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Where a picture stops being good; luma is limited range, so black is 16 and white 235.

    Attributes:
        sharpness: Least `Measured.sharpness`. Sharp footage measured 0.11 to 0.9; out of focus by
            ten pixels (Gaussian sigma at 768 wide) it is below 0.01.
        dark_level: Luma below which a pixel counts as black.
        bright_level: Luma above which a pixel counts as white.
        dark_fraction: Most pixels that may be black.
        bright_fraction: Most pixels that may be white.
        contrast: Least standard deviation of luma at which there is anything to focus on.
        picture_px: Least width and height.
        black_level: Luma up to which a pixel counts as lost in black.
        white_level: Luma from which a pixel counts as burnt out.
        shadows: Most pixels that may be lost in black.
        highlights: Most pixels that may be burnt out. Footage as it came had at most 0.02.
        noise: Most noise, grey levels. Footage as it came had at most 0.6; what has noise of 8
            added measures 7.3 and more.
        block_ratio: Most that steps across block edges may be over those inside. Footage as it
            came had at most 1.5, as JPEG of quality 10 at least 2.2.
        block_step: Least grey levels by which they must be larger to be seen at all.
    """

    sharpness: float = 0.012
    dark_level: int = 40
    bright_level: int = 225
    dark_fraction: float = 0.92
    bright_fraction: float = 0.6
    contrast: float = 6.0
    picture_px: tuple[int, int] = (320, 240)
    black_level: int = 20
    white_level: int = 232
    shadows: float = 0.2
    highlights: float = 0.15
    noise: float = 6.5
    block_ratio: float = 2.1
    block_step: float = 0.8


@dataclass(frozen=True, slots=True)
class Measured:
    """What one luma plane looks like, at the working width; noise and blocks at full size.

    Attributes:
        mean: Mean luma, 0–255.
        contrast: Standard deviation of luma, grey levels.
        dark_fraction: Pixels below `QualityLimits.dark_level`, 0–1.
        bright_fraction: Pixels above `QualityLimits.bright_level`, 0–1.
        edge: 95th percentile of the smoothed gradient's size, grey levels per pixel.
        sharpness: Variance of the Laplacian over variance of luma, 0 and up; None where there is
            no contrast to judge it by.
        shadows: Pixels lost in black, 0–1.
        highlights: Pixels burnt out, 0–1.
        noise: Standard deviation of the noise, grey levels; None where the plane was reduced, or
            too little of it is neither black nor white.
        block_ratio: Steps across block edges over those inside; None where the plane was reduced.
        block_step: The same as a difference, grey levels.
    """

    mean: float
    contrast: float
    dark_fraction: float
    bright_fraction: float
    edge: float
    sharpness: float | None
    shadows: float = 0.0
    highlights: float = 0.0
    noise: float | None = None
    block_ratio: float | None = None
    block_step: float = 0.0


@dataclass(frozen=True, slots=True)
class QualityVerdict:
    """What is wrong with a picture, if anything, and what a person can do about it.

    Attributes:
        measured: The numbers behind it.
        problems: Names as ONVIF has them where it has one: `ImageTooDark`, `ImageTooBright`,
            `ImageTooBlurry`; our own `LowContrast`, `ShadowsClipped`, `HighlightsClipped`,
            `ImageTooNoisy`, `CompressionArtefacts`, `LowResolution`, `FormatChanged`.
        advice: One sentence per problem, in the same order.
    """

    measured: Measured
    problems: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True where nothing is wrong."""
        return not self.problems

    @property
    def is_usable(self) -> bool:
        """True where nothing is wrong but light at an end: a white background is no mistake."""
        return not set(self.problems) - CLIPPED

    def scores(self) -> dict[str, float]:
        """Return values for `wire.messages.Aggregate.quality`: 0–1 each, unmeasured left out."""
        found = self.measured
        scores = {
            "brightness": found.mean / 255,
            "contrast": min(1.0, found.contrast / 128),
            "clipped": min(1.0, found.dark_fraction + found.bright_fraction),
        }
        if found.sharpness is not None:
            # Half at 0.1, which is soft but usable: the scale is wide open around where it matters.
            scores["sharpness"] = found.sharpness / (found.sharpness + 0.1)
        scores["shadows"] = found.shadows
        scores["highlights"] = found.highlights
        if found.noise is not None:
            # Half at 4 grey levels, which is visible and does no harm yet.
            scores["noise"] = found.noise / (found.noise + 4.0)
        if found.block_ratio is not None:
            # 0 without blocks (a ratio of 1), half at 2.
            excess = max(0.0, found.block_ratio - 1.0)
            scores["blockiness"] = excess / (excess + 1.0)
        return scores


CLIPPED: Final = frozenset({"ShadowsClipped", "HighlightsClipped"})

ADVICE: Final = {
    "ImageTooDark": "The picture is almost black: light the scene, or check the lens cap and iris.",
    "ImageTooBright": "The picture is almost white: turn the camera off the light or expose less.",
    "ImageTooBlurry": "The picture is out of focus: focus the lens and clean its front.",
    "LowContrast": "The picture is nearly uniform: check for fog, condensation or a covered lens.",
    "ShadowsClipped": "Much of the picture is lost in black: light it, or switch on the camera's "
    "wide dynamic range (WDR).",
    "HighlightsClipped": "Much of the picture is burnt out: expose less, switch on the camera's "
    "wide dynamic range (WDR), or turn it away from windows and lamps.",
    "ImageTooNoisy": "The picture is noisy: give the scene more light, or lower the camera's gain "
    "limit and allow a longer exposure.",
    "CompressionArtefacts": "The picture is compressed into visible blocks: raise the bit rate or "
    "quality in the camera, or use H.264 instead of MJPEG.",
    "LowResolution": "The picture is too small to find much in: choose a larger stream or take a "
    "larger picture.",
    "FormatChanged": "The picture's shape is not the one that zones were drawn on: check both.",
}


def measure(
    luma: Plane, limits: QualityLimits | None = None, *, full: Plane | None = None
) -> Measured:
    """Return the measurements of a luma plane: uint8, (h, w), of any size.

    `full` is the same plane before it was reduced, for noise and blocks; without it `luma` is taken
    for it where it is larger than the working width.

    Source: variance of the Laplacian as focus measure, Pech-Pacheco et al. 2000 (LAPV in Pertuz
    et al., "Analysis of focus measure operators", 2013), here over the luma's variance so that
    light and contrast cancel out, and less the variance that rounding alone would give.
    """
    limits = limits or QualityLimits()
    small = working(luma)
    if full is None and small is not luma:
        full = luma
    blocks = None if full is None else block_edges(full)
    values = small.astype(np.float32)
    variance = float(values.var())
    contrast = math.sqrt(variance)
    # Smoothed: a covered camera turns up its gain, and noise is no edge.
    smooth = cv2.GaussianBlur(values, (0, 0), 1.5)
    dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8)
    dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    sharpness = None
    if contrast >= limits.contrast:
        detail = float(cv2.Laplacian(values, cv2.CV_32F).var())
        sharpness = max(0.0, detail - ROUNDING_NOISE) / variance
    return Measured(
        mean=float(values.mean()),
        contrast=contrast,
        dark_fraction=float(np.count_nonzero(small < limits.dark_level) / small.size),
        bright_fraction=float(np.count_nonzero(small > limits.bright_level) / small.size),
        edge=float(np.percentile(cv2.magnitude(dx, dy), 95)),
        sharpness=sharpness,
        shadows=float(np.count_nonzero(small <= limits.black_level) / small.size),
        highlights=float(np.count_nonzero(small >= limits.white_level) / small.size),
        noise=None if full is None else noise_level(full),
        block_ratio=None if blocks is None else blocks[0],
        block_step=0.0 if blocks is None else blocks[1],
    )


def assess(
    luma: Plane,
    limits: QualityLimits | None = None,
    *,
    picture_px: tuple[int, int] | None = None,
    expected_px: tuple[int, int] | None = None,
    full: Plane | None = None,
) -> QualityVerdict:
    """Return the verdict on one picture.

    Args:
        luma: uint8, (h, w), of any size; `Picture.small_luma()` is enough for all but noise and
            blocks.
        limits: Where a picture stops being good.
        picture_px: Width and height of the whole picture, where its size is to be judged.
        expected_px: Width and height that zones and lines were drawn on.
        full: `Picture.y` where `luma` was reduced from it: then noise and blocks are judged too.
    """
    limits = limits or QualityLimits()
    found = measure(luma, limits, full=full)
    problems = _problems(found, limits)
    if picture_px is not None:
        if any(have < least for have, least in zip(picture_px, limits.picture_px, strict=True)):
            problems.append("LowResolution")
        if expected_px is not None and not _same_shape(picture_px, expected_px):
            problems.append("FormatChanged")
    return QualityVerdict(found, tuple(problems), tuple(ADVICE[name] for name in problems))


def _problems(found: Measured, limits: QualityLimits) -> list[str]:
    """Return what is wrong with what was measured; of a blind picture only that it is blind."""
    if found.dark_fraction > limits.dark_fraction:
        return ["ImageTooDark"]
    if found.bright_fraction > limits.bright_fraction:
        return ["ImageTooBright"]
    problems: list[str] = []
    if found.sharpness is None:
        problems.append("LowContrast")
    elif found.sharpness < limits.sharpness:
        problems.append("ImageTooBlurry")
    if found.shadows > limits.shadows:
        problems.append("ShadowsClipped")
    if found.highlights > limits.highlights:
        problems.append("HighlightsClipped")
    if found.noise is not None and found.noise > limits.noise:
        problems.append("ImageTooNoisy")
    if (
        found.block_ratio is not None
        and found.block_ratio > limits.block_ratio
        and found.block_step > limits.block_step
    ):
        problems.append("CompressionArtefacts")
    return problems


def working(luma: Plane) -> Plane:
    """Return `luma` averaged down to the working width, or itself where it is no wider."""
    height, width = luma.shape
    if width <= WORKING_WIDTH_PX:
        return luma
    return shrink(luma, WORKING_WIDTH_PX, max(1, round(height * WORKING_WIDTH_PX / width)))


def _same_shape(a_px: tuple[int, int], b_px: tuple[int, int]) -> bool:
    """Return whether two sizes have the same proportions: fractions then mean the same places."""
    return abs(a_px[0] * b_px[1] - a_px[1] * b_px[0]) <= 0.01 * a_px[0] * b_px[1]
