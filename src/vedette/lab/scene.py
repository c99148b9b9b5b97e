"""The picture that becomes a golden frame: drawn by this code, so that it may travel anywhere.

The rule: same code, same picture. It has to hold what detectors trained on photographs react to,
since an empty answer proves little: a stop sign and a clock are the objects that a drawing can show
to such a model.
"""

import cv2
import numpy as np
import numpy.typing as npt

WIDTH_PX, HEIGHT_PX = 640, 480

Bgr = npt.NDArray[np.uint8]


def render() -> Bgr:
    """Return the scene: uint8 (480, 640, 3) BGR, a sky, a lawn, a stop sign and a clock."""
    rows = np.linspace(0, 1, HEIGHT_PX, dtype=np.float32)[:, None]
    sky = np.array([235, 206, 160], np.float32) * (1 - 0.35 * rows[..., None])
    picture = np.ascontiguousarray(np.broadcast_to(sky, (HEIGHT_PX, WIDTH_PX, 3)))
    lawn = _grain(170, WIDTH_PX) + np.array([60, 120, 80], np.float32)
    picture[HEIGHT_PX - 170 :] = lawn
    canvas = np.clip(picture, 0, 255).astype(np.uint8)
    _stop_sign(canvas, (190, 170), 92)
    _clock(canvas, (470, 180), 88)
    return np.asarray(cv2.GaussianBlur(canvas, (3, 3), 0.8), np.uint8)


def _grain(height: int, width: int) -> npt.NDArray[np.float32]:
    """Return a texture in -20 to 20, float32 (h, w, 1), from a fixed formula and no generator."""
    y, x = np.mgrid[0:height, 0:width].astype(np.uint32)
    mixed = (x * np.uint32(374761393) + y * np.uint32(668265263)) ^ (x * y + np.uint32(40503))
    return ((mixed >> np.uint32(11)) % np.uint32(41)).astype(np.float32)[..., None] - 20


def _regular(centre: tuple[int, int], radius: float, corners: int) -> npt.NDArray[np.int32]:
    """Return a regular polygon that stands on a side, (corners, 2)."""
    angles = (np.arange(corners) + 0.5) * 2 * np.pi / corners
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius
    return np.rint(around + np.array(centre)).astype(np.int32)


def _stop_sign(canvas: Bgr, centre: tuple[int, int], radius: int) -> None:
    x, y = centre
    cv2.rectangle(canvas, (x - 6, y), (x + 6, HEIGHT_PX - 40), (120, 120, 125), -1)
    cv2.fillPoly(canvas, [_regular(centre, radius, 8)], (245, 245, 245), cv2.LINE_AA)
    cv2.fillPoly(canvas, [_regular(centre, radius * 0.93, 8)], (35, 25, 190), cv2.LINE_AA)
    size, _ = cv2.getTextSize("STOP", cv2.FONT_HERSHEY_SIMPLEX, 1.9, 9)
    at = (x - size[0] // 2, y + size[1] // 2)
    cv2.putText(canvas, "STOP", at, cv2.FONT_HERSHEY_SIMPLEX, 1.9, (250, 250, 250), 9, cv2.LINE_AA)


def _clock(canvas: Bgr, centre: tuple[int, int], radius: int) -> None:
    cv2.circle(canvas, centre, radius, (30, 30, 30), -1, cv2.LINE_AA)
    cv2.circle(canvas, centre, int(radius * 0.9), (250, 250, 248), -1, cv2.LINE_AA)
    for hour in range(12):
        turn = hour * np.pi / 6
        way = np.array([np.sin(turn), -np.cos(turn)])
        outer = np.rint(np.array(centre) + way * radius * 0.84).astype(int).tolist()
        inner = np.rint(np.array(centre) + way * radius * 0.70).astype(int).tolist()
        cv2.line(canvas, inner, outer, (20, 20, 20), 5, cv2.LINE_AA)
    for turn, length, width in ((10.15 * np.pi / 6, 0.5, 7), (2 * np.pi * 9 / 60, 0.68, 5)):
        tip = np.array(centre) + np.array([np.sin(turn), -np.cos(turn)]) * radius * length
        cv2.line(
            canvas, centre, np.rint(tip).astype(int).tolist(), (20, 20, 20), width, cv2.LINE_AA
        )
    cv2.circle(canvas, centre, 6, (20, 20, 20), -1, cv2.LINE_AA)
