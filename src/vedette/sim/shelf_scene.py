"""A rendered shelf with people reaching into it, whose every change is known.

For measuring what `vision.shelf` finds: textured products on boards; people and bare hands that
take, put back, restock, or touch and take nothing; passers-by, people who stand before the shelf,
shadows, light that flickers and jumps, sensor noise. Every picture is a pure function of time. It
is drawn, not filmed: it says how the method copes with what is drawn here and nothing about a shop.
"""

import enum
import math
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Bgr = NDArray[np.uint8]
Floats = NDArray[np.float32]
Box = tuple[float, float, float, float]

SIZE_PX: Final = (640, 360)
CALM_S: Final = 4.0
RACK: Final = (0.14, 0.08, 0.86, 0.78)
"""Left, top, right, bottom of the rack, in fractions."""
ZONE: Final = [(0.11, 0.04), (0.89, 0.04), (0.89, 0.82), (0.11, 0.82)]
"""The polygon that a person would draw: the rack and a little around it."""


class Deed(enum.StrEnum):
    """What somebody, or the light, does for some seconds."""

    TAKE = "take"
    PUT = "put"
    RESTOCK = "restock"
    TOUCH = "touch"
    WALK_BY = "walk by"
    STAND = "stand"
    SHADOW = "shadow"
    LIGHT = "light"


REACHING: Final = frozenset({Deed.TAKE, Deed.PUT, Deed.RESTOCK, Deed.TOUCH})


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one product: its box in pixels, its looks, and whether another is behind it."""

    box: tuple[int, int, int, int]
    face: Bgr
    backed: bool


@dataclass(frozen=True, slots=True)
class Reach:
    """One hand at one slot; `holds` where it moves a product, at `at_s`."""

    slot: int
    start_s: float
    at_s: float
    end_s: float
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One deed with its actor.

    Attributes:
        by_hand: Only an arm comes into the picture, from above or below: no person to be seen.
        from_left: Where the actor comes from.
        strength: Of light and shadow; otherwise the actor's build, 0 to 1.
    """

    deed: Deed
    start_s: float
    end_s: float
    reaches: tuple[Reach, ...] = ()
    by_hand: bool = False
    from_left: bool = True
    stand_x: float = 0.0
    strength: float = 0.5
    coat: tuple[int, int, int] = (90, 90, 90)


@dataclass(frozen=True, slots=True)
class Truth:
    """One lasting change.

    Attributes:
        t_s: When the product left its place or stood in it.
        clear_s: When nobody was before the shelf any more.
        picked: True where it was taken, False where it was put.
        box: The product's place, xyxy in pixels.
        backed: True where another product of the same kind stands behind it.
        by_hand: True where only an arm was to be seen.
    """

    t_s: float
    clear_s: float
    picked: bool
    box: Box
    backed: bool
    by_hand: bool


@dataclass(slots=True)
class _Plan:
    acts: list[Act] = field(default_factory=list)
    truths: list[Truth] = field(default_factory=list)


class ShelfScene:
    """A shelf and what happens there. Thread: one at a time; it caches the last state's picture.

    Args:
        seed: Everything random comes from it.
        deeds: How many there are, one after the other.
        backed: Part of the products that have another one of their kind behind them.
    """

    def __init__(self, seed: int, *, deeds: int = 12, backed: float = 0.0) -> None:
        self._rng = np.random.default_rng(seed)
        self.width, self.height = SIZE_PX
        self._empty, self.slots = self._furnish(backed)
        self._at_first = [bool(self._rng.random() < 0.75) for _ in self.slots]
        plan = self._direct(deeds)
        self.acts, self.truths = tuple(plan.acts), tuple(plan.truths)
        self.seconds = self.acts[-1].end_s + 5.0
        noise = self._rng.normal(0.0, self._rng.uniform(1.5, 4.0), (self.height, self.width, 1))
        self._noise = noise.astype(np.float32)
        self._state: tuple[bool, ...] | None = None
        self._still = self._empty

    # -- truth

    def people(self, t_s: float) -> list[tuple[int, Box]]:
        """Return who is to be seen: a number and the box of head and body, xyxy in pixels."""
        found: list[tuple[int, Box]] = []
        for number, act in enumerate(self.acts, start=1):
            if act.start_s <= t_s <= act.end_s and _has_body(act):
                x, half, top = self._body(act, t_s)
                if x + half > 2 and x - half < self.width - 2:
                    left, right = max(0.0, x - half), min(float(self.width), x + half)
                    found.append((number, (left, top, right, float(self.height))))
        return found

    # -- picture

    def picture(self, t_s: float) -> Bgr:
        """Return the picture at `t_s`: BGR, uint8, (360, 640, 3)."""
        out = self._lit(self._shelf(t_s), t_s)
        for act in self.acts:
            if act.start_s <= t_s <= act.end_s:
                self._draw(out, act, t_s)
        dice = np.random.default_rng(round(t_s * 1000))
        rows, columns = (int(n) for n in dice.integers(0, (self.height, self.width)))
        grain = np.roll(self._noise, (rows, columns), (0, 1))
        return np.clip(out + grain, 0, 255).astype(np.uint8)

    def _shelf(self, t_s: float) -> Bgr:
        """Return the rack as it is stocked at `t_s`, without people or light."""
        stocked = list(self._at_first)
        for act in self.acts:
            for reach in act.reaches:
                if reach.holds and reach.at_s <= t_s:
                    stocked[reach.slot] = act.deed is not Deed.TAKE
        state = tuple(stocked)
        if state != self._state:
            self._still = self._empty.copy()
            for slot, is_there in zip(self.slots, state, strict=True):
                _stock(self._still, slot, is_there=is_there)
            self._state = state
        return self._still

    def _lit(self, still: Bgr, t_s: float) -> Floats:
        """Return the shelf in the light of the moment: float32, 0 to 255 and beyond."""
        dice = np.random.default_rng(round(t_s * 1000) + 77)
        gain = 1.0 + 0.03 * math.sin(t_s * 0.4) + float(dice.uniform(-0.025, 0.025))
        cast = np.ones(3, np.float32)
        out = still.astype(np.float32)
        for act in self.acts:
            if not act.start_s <= t_s <= act.end_s:
                continue
            if act.deed is Deed.LIGHT:
                ramp = min(1.0, (t_s - act.start_s) / 0.4, (act.end_s - t_s) / 0.4)
                gain *= 1.0 + ramp * (act.strength - 0.5)
                cast[0] *= 1.0 + ramp * (act.strength - 0.5) * 0.2
            elif act.deed in {Deed.SHADOW, Deed.WALK_BY, Deed.STAND} or act.reaches:
                out *= self._shade(act, t_s)
        out *= gain * cast
        return out

    def _shade(self, act: Act, t_s: float) -> Floats:
        """Return the factor, (h, w, 1), of the shadow that somebody throws."""
        done = (t_s - act.start_s) / (act.end_s - act.start_s)
        if act.deed is not Deed.SHADOW and act.reaches:
            done = 0.5 * min(1.0, 4 * done, 4 * (1 - done))
        way = -0.2 + 1.4 * (done if act.from_left else 1.0 - done)
        across = np.linspace(0.0, 1.0, self.width, dtype=np.float32)
        soft = 0.015 + 0.06 * (1.0 - act.strength)
        half = 0.07 + 0.06 * act.strength
        edge = 1.0 / (1.0 + np.exp((np.abs(across - way) - half) / soft))
        depth = (0.15 + 0.3 * act.strength) if act.deed is Deed.SHADOW else 0.18
        return (1.0 - depth * edge).astype(np.float32)[None, :, None]

    # -- people

    def _body(self, act: Act, t_s: float) -> tuple[float, float, float]:
        """Return x of the middle, half the width, and the top of the head, in pixels."""
        half = self.width * (0.055 + 0.02 * act.strength)
        top = self.height * (0.34 - 0.14 * act.strength)
        length_s = act.end_s - act.start_s
        way = (t_s - act.start_s) / length_s
        outside = -half if act.from_left else self.width + half
        if act.deed is Deed.WALK_BY:
            return outside + (self.width - 2 * outside) * way, half, top
        arriving = min(1.0, way * 4, (1.0 - way) * 4)
        sway = 3.0 * math.sin(t_s * 1.7) * arriving
        return outside + (act.stand_x - outside) * arriving + sway, half, top

    def _draw(self, out: Floats, act: Act, t_s: float) -> None:
        if _has_body(act):
            x, half, top = self._body(act, t_s)
            head = half * 0.55
            middle = (round(x), round(top + head))
            cv2.ellipse(out, middle, (round(head), round(head * 1.25)), 0, 0, 360, (50, 60, 75), -1)
            low = (round(x - half), round(top + 2.2 * head))
            cv2.rectangle(out, low, (round(x + half), self.height), act.coat, -1)
            fold = tuple(int(c * 0.7) for c in act.coat)
            cv2.line(out, (round(x), low[1]), (round(x), self.height), fold, 3)
            shoulder = (x + half * 0.7 * (1 if act.stand_x < self.width / 2 else -1), low[1] + 14.0)
        else:
            shoulder = (act.stand_x, -20.0 if act.from_left else self.height + 20.0)
        for reach in act.reaches:
            if reach.start_s <= t_s <= reach.end_s:
                self._draw_arm(out, act, reach, shoulder, t_s)

    def _draw_arm(
        self, out: Floats, act: Act, reach: Reach, shoulder: tuple[float, float], t_s: float
    ) -> None:
        slot = self.slots[reach.slot]
        x0, y0, x1, y1 = slot.box
        goal = ((x0 + x1) / 2, y0 + (y1 - y0) * 0.35)
        going = (t_s - reach.start_s) / (reach.at_s - reach.start_s)
        done = going if going <= 1 else (reach.end_s - t_s) / (reach.end_s - reach.at_s)
        done = min(1.0, 1.3 * done)
        x = shoulder[0] + (goal[0] - shoulder[0]) * done
        y = shoulder[1] + (goal[1] - shoulder[1]) * done
        carries = reach.holds and ((going > 1) == (act.deed is Deed.TAKE))
        if carries:
            _paste(out, slot.face, round(x - (x1 - x0) / 2), round(y - (y1 - y0) * 0.35))
        thick = max(8, round(self.width * 0.024))
        start = (round(shoulder[0]), round(shoulder[1]))
        cv2.line(out, start, (round(x), round(y)), act.coat, thick, cv2.LINE_AA)
        cv2.circle(out, (round(x), round(y)), round(thick * 0.62), (120, 150, 200), -1, cv2.LINE_AA)

    # -- the rack

    def _furnish(self, backed: float) -> tuple[Bgr, list[Slot]]:
        """Return the empty rack and the places in it."""
        rng, width, height = self._rng, self.width, self.height
        out = np.empty((height, width, 3), np.uint8)
        out[:] = rng.integers(90, 180, 3)
        left, top, right, bottom = (
            round(part * side) for part, side in zip(RACK, (width, height) * 2, strict=True)
        )
        back = int(rng.integers(45, 170))
        out[top:bottom, left:right] = (back, back, min(255, back + int(rng.integers(0, 20))))
        for x in range(left, right, int(rng.integers(24, 60))):
            cv2.line(out, (x, top), (x, bottom), (int(back * 0.85),) * 3, 1)
        rows = int(rng.integers(2, 4))
        slots: list[Slot] = []
        for row in range(rows):
            high, floor = (
                top + (bottom - top) * row // rows,
                top + (bottom - top) * (row + 1) // rows,
            )
            cv2.rectangle(out, (left, floor - 7), (right, floor - 1), (95, 110, 125), -1)
            columns = int(rng.integers(5, 9))
            pitch = (right - left) / columns
            for column in range(columns):
                wide = round(pitch * rng.uniform(0.5, 0.92))
                tall = round((floor - high - 10) * rng.uniform(0.55, 0.92))
                x = round(left + pitch * column + (pitch - wide) / 2)
                face = _face(wide, tall, rng)
                box = (x, floor - 7 - tall, x + wide, floor - 7)
                slots.append(Slot(box, face, bool(rng.random() < backed)))
        return out, slots

    # -- the play

    def _direct(self, deeds: int) -> _Plan:
        """Return what happens, one deed after the other."""
        rng, plan, t_s = self._rng, _Plan(), CALM_S
        stocked = list(self._at_first)
        kinds = list(Deed)
        weights = np.array([4.0, 2.0, 1.0, 3.0, 2.0, 1.5, 1.5, 1.5])
        for _ in range(deeds):
            deed = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
            act = self._act(deed, t_s, stocked)
            plan.acts.append(act)
            for reach in act.reaches:
                if reach.holds:
                    slot = self.slots[reach.slot]
                    picked = act.deed is Deed.TAKE
                    stocked[reach.slot] = not picked
                    box = tuple(float(side) for side in slot.box)
                    plan.truths.append(
                        Truth(reach.at_s, act.end_s, picked, box, slot.backed, act.by_hand)  # pyright: ignore[reportArgumentType]
                    )
            t_s = act.end_s + float(rng.uniform(2.5, 5.0))
        return plan

    def _act(self, deed: Deed, start_s: float, stocked: list[bool]) -> Act:
        """Return one deed; who would take from an empty shelf or fill a full one only touches."""
        rng = self._rng
        full = [n for n, is_there in enumerate(stocked) if is_there]
        free = [n for n, is_there in enumerate(stocked) if not is_there]
        if (deed is Deed.TAKE and not full) or (deed in {Deed.PUT, Deed.RESTOCK} and not free):
            deed = Deed.TOUCH
        by_hand = deed in REACHING and bool(rng.random() < 0.35)
        reaches: list[Reach] = []
        length_s = float(rng.uniform(3.0, 7.0))
        stand_x = float(rng.uniform(0.15, 0.85)) * self.width
        if deed in REACHING:
            wanted = {Deed.TAKE: full, Deed.TOUCH: full or free}.get(deed, free)
            count = min(len(wanted), int(rng.integers(2, 4)) if deed is Deed.RESTOCK else 1)
            chosen = [int(n) for n in rng.choice(wanted, count, replace=False)]
            come_s = 0.0 if by_hand else float(rng.uniform(1.2, 2.0))
            at_s = start_s + come_s
            for slot in chosen:
                reach_s, back_s = float(rng.uniform(0.8, 1.6)), float(rng.uniform(0.8, 1.4))
                holds = deed is not Deed.TOUCH
                reaches.append(Reach(slot, at_s, at_s + reach_s, at_s + reach_s + back_s, holds))
                at_s += reach_s + back_s + 0.3
            length_s = (at_s - start_s) + come_s
            near = sum(self.slots[chosen[0]].box[::2]) / 2
            stand_x = near + float(rng.uniform(-0.16, 0.16)) * self.width
            stand_x = min(max(stand_x, 0.1 * self.width), 0.9 * self.width)
            if not by_hand:  # a quarter of the time to come, a quarter to go
                length_s = max(length_s, 4 * come_s)
        return Act(
            deed=deed,
            start_s=start_s,
            end_s=start_s + length_s,
            reaches=tuple(reaches),
            by_hand=by_hand,
            from_left=bool(rng.integers(2)),
            stand_x=stand_x,
            strength=float(rng.uniform(0.1, 0.9)),
            coat=(
                int(rng.integers(20, 200)),
                int(rng.integers(20, 200)),
                int(rng.integers(20, 200)),
            ),
        )


def _has_body(act: Act) -> bool:
    return not act.by_hand and act.deed not in {Deed.SHADOW, Deed.LIGHT}


def _face(width: int, height: int, rng: np.random.Generator) -> Bgr:
    """Return the front of a product: its colour, a label, stripes and lines like text."""
    out = np.empty((height, width, 3), np.uint8)
    out[:] = _paint(rng)
    label = _paint(rng)
    y0, y1 = round(height * rng.uniform(0.15, 0.35)), round(height * rng.uniform(0.6, 0.85))
    cv2.rectangle(out, (round(width * 0.1), y0), (round(width * 0.9), y1), label, -1)
    ink = _paint(rng)
    for y in range(y0 + 4, y1 - 3, int(rng.integers(5, 10))):
        end = round(width * rng.uniform(0.4, 0.85))
        cv2.line(out, (round(width * 0.18), y), (end, y), ink, 2)
    if rng.random() < 0.5:
        cv2.circle(out, (width // 2, (y0 + y1) // 2), max(2, width // 5), ink, -1)
    cv2.rectangle(out, (0, 0), (width - 1, height - 1), tuple(int(c * 0.6) for c in out[0, 0]), 1)
    return out


def _paint(rng: np.random.Generator) -> tuple[int, int, int]:
    """Return a colour between grey and bright."""
    grey, share = float(rng.uniform(25, 235)), float(rng.random())
    blue, green, red = (round(grey + share * (c - grey)) for c in rng.uniform(20, 240, 3))
    return blue, green, red


def _stock(out: Bgr, slot: Slot, *, is_there: bool) -> None:
    """Draw what stands in a place: the product, the one behind it, or nothing."""
    x0, y0, x1, y1 = slot.box
    if is_there:
        shade = out[y0:y1, x1 : x1 + 5]
        shade[:] = (shade * 0.6).astype(np.uint8)
        out[y0:y1, x0:x1] = slot.face
    elif slot.backed:  # deeper in the shelf: smaller and darker
        small = cv2.resize(slot.face, None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)
        high, wide = small.shape[:2]
        left, low = x0 + (x1 - x0 - wide) // 2, y1 - 2
        out[low - high : low, left : left + wide] = (small * 0.75).astype(np.uint8)


def _paste(out: Floats, face: Bgr, x: int, y: int) -> None:
    """Draw a product that is being carried, as far as it is in the picture."""
    height, width = out.shape[:2]
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(width, x + face.shape[1]), min(height, y + face.shape[0])
    if x1 > x0 and y1 > y0:
        out[y0:y1, x0:x1] = face[y0 - y : y1 - y, x0 - x : x1 - x]
