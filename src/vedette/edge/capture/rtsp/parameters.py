"""What a sequence parameter set says: the picture's size and how far pictures are reordered. Pure.

The rule: hostile bytes give None, never an exception or a long loop.

Source: ITU-T H.264 (7.3.2.1.1, E.1.1), ITU-T H.265 (7.3.2.2, 7.3.3).
"""

from dataclasses import dataclass
from typing import Final

_MAX_BYTES: Final = 1024
_MAX_REORDER: Final = 16
_MAX_SIDE: Final = 16_384
_HIGH_PROFILES: Final = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_BASELINE: Final = 66


@dataclass(frozen=True, slots=True)
class Sps:
    """Size in pixels, and how many pictures at most stand before one that is shown earlier.

    Attributes:
        reorder: None where the stream does not say.
    """

    width: int
    height: int
    reorder: int | None


class _Bits:
    """A bit reader; reading past the end raises `ValueError`."""

    def __init__(self, unit: bytes) -> None:
        data = unit[:_MAX_BYTES].replace(b"\x00\x00\x03", b"\x00\x00")
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def u(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("past the end")
        return (self._value >> self._left) & ((1 << count) - 1)

    def ue(self) -> int:
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 31:
                raise ValueError("no Exp-Golomb code")
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)


def read(codec: str, unit: bytes) -> Sps | None:
    """Return what an SPS (without start code) says; None where it cannot be read."""
    try:
        found = _h264(_Bits(unit)) if codec == "h264" else _hevc(_Bits(unit))
    except ValueError:
        return None
    if not (0 < found.width <= _MAX_SIDE and 0 < found.height <= _MAX_SIDE):
        return None
    return found


def _h264(bits: _Bits) -> Sps:
    bits.u(8)
    profile = bits.u(8)
    bits.u(16)
    bits.ue()
    chroma = 1
    if profile in _HIGH_PROFILES:
        chroma = _h264_high(bits)
    bits.ue()  # log2_max_frame_num_minus4
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.u(1)
        bits.se()
        bits.se()
        for _ in range(min(bits.ue(), 255)):
            bits.se()
    bits.ue()  # max_num_ref_frames
    bits.u(1)
    width, height = 16 * (bits.ue() + 1), 16 * (bits.ue() + 1)
    frames_only = bits.u(1)
    height *= 2 - frames_only
    if not frames_only:
        bits.u(1)
    bits.u(1)
    if bits.u(1):
        left, right, top, bottom = (bits.ue() for _ in range(4))
        across = 2 if chroma in (1, 2) else 1
        down = (2 if chroma == 1 else 1) * (2 - frames_only)
        width -= across * (left + right)
        height -= down * (top + bottom)
    reorder = 0 if profile == _BASELINE or order == 2 else None
    if bits.u(1):
        try:
            said = _h264_vui(bits)
        except ValueError:
            said = None
        reorder = reorder if said is None or reorder == 0 else min(said, _MAX_REORDER)
    return Sps(width, height, reorder)


def _h264_high(bits: _Bits) -> int:
    chroma = bits.ue()
    if chroma == 3:
        bits.u(1)
    bits.ue()
    bits.ue()
    bits.u(1)
    if bits.u(1):
        for number in range(8 if chroma != 3 else 12):
            if bits.u(1):
                _scaling_list(bits, 16 if number < 6 else 64)
    return chroma


def _scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _h264_vui(bits: _Bits) -> int | None:
    """Return `max_num_reorder_frames`; None where it is not said."""
    if bits.u(1) and bits.u(8) == 255:
        bits.u(32)
    if bits.u(1):
        bits.u(1)
    if bits.u(1):
        bits.u(4)
        if bits.u(1):
            bits.u(24)
    if bits.u(1):
        bits.ue()
        bits.ue()
    if bits.u(1):
        bits.u(65)
    nal_hrd = bits.u(1)
    if nal_hrd:
        _hrd(bits)
    vcl_hrd = bits.u(1)
    if vcl_hrd:
        _hrd(bits)
    if nal_hrd or vcl_hrd:
        bits.u(1)
    bits.u(1)
    if not bits.u(1):
        return None
    bits.u(1)
    for _ in range(4):
        bits.ue()
    return bits.ue()


def _hrd(bits: _Bits) -> None:
    count = bits.ue() + 1
    if count > 32:
        raise ValueError("too many schedules")
    bits.u(8)
    for _ in range(count):
        bits.ue()
        bits.ue()
        bits.u(1)
    bits.u(20)


def _hevc(bits: _Bits) -> Sps:
    bits.u(16)
    bits.u(4)
    layers = bits.u(3)
    bits.u(1)
    _profile_tier_level(bits, layers)
    bits.ue()
    chroma = bits.ue()
    if chroma == 3:
        bits.u(1)
    width, height = bits.ue(), bits.ue()
    if bits.u(1):
        left, right, top, bottom = (bits.ue() for _ in range(4))
        across, down = (2 if chroma in (1, 2) else 1), (2 if chroma == 1 else 1)
        width -= across * (left + right)
        height -= down * (top + bottom)
    bits.ue()
    bits.ue()
    bits.ue()
    reorder = 0
    for _ in range(layers + 1 if bits.u(1) else 1):
        bits.ue()
        reorder = bits.ue()
        bits.ue()
    return Sps(width, height, min(reorder, _MAX_REORDER))


def _profile_tier_level(bits: _Bits, layers: int) -> None:
    bits.u(88)
    bits.u(8)
    flags = [(bits.u(1), bits.u(1)) for _ in range(layers)]
    if layers:
        bits.u(2 * (8 - layers))
    for profile, level in flags:
        bits.u(88 * profile + 8 * level)
