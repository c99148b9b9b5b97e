"""Who has stood still for so long that there is nothing new to be seen of them.

Here: how long each track has kept its place. Not here: what follows (the gate closes although
somebody is in view). The rule: known is only who was seen at the last look; who moves, comes or is
missing is a reason to look.
"""

from dataclasses import dataclass, field
from itertools import compress
from typing import Final

import numpy as np
import numpy.typing as npt

from vedette.vision.tracking import Tracks

Box = npt.NDArray[np.float32]

MOVED_SIDES: Final = 0.25
"""A box whose centre or sides changed by more than this part of its sides has moved: the jitter of
a detector on a standing object stays below a tenth."""

DOUBT_S: Final = 2.0
"""A track that was missing at a look is looked for this long: as long as a tracker keeps it."""


def _no_places() -> npt.NDArray[np.float32]:
    return np.zeros((0, 4), np.float32)


def _no_times() -> npt.NDArray[np.float64]:
    return np.zeros(0)


@dataclass(slots=True)
class StillWatch:
    """One camera's tracks and the places that they keep.

    Attributes:
        after_s: Who has kept the place for so long is known.

    Thread: confined to the caller's, but `take_settled` may be called from any.
    """

    after_s: float
    _rows: dict[int, int] = field(init=False, default_factory=dict)
    _places: npt.NDArray[np.float32] = field(init=False, default_factory=_no_places)
    _since_s: npt.NDArray[np.float64] = field(init=False, default_factory=_no_times)
    _doubt_until_s: float = field(init=False, default=-np.inf)
    _known: frozenset[int] = field(init=False, default=frozenset())
    _settled: list[Box] = field(init=False, default_factory=list)

    def update(self, tracks: Tracks, t_s: float) -> bool:
        """Take the tracks of one look; return whether somebody in view is a reason to look again.

        Args:
            tracks: As the tracker reports them; only confirmed ones count.
            t_s: The look's time.
        """
        sure = tracks.where(tracks.confirmed)
        ids = sure.track_id.tolist()
        if not ids and not self._rows:
            return t_s < self._doubt_until_s
        places, since_s = self._kept(ids, sure, t_s)
        known = frozenset(compress(ids, (sure.observed & (t_s - since_s >= self.after_s)).tolist()))
        if not self._known <= set(compress(ids, sure.observed.tolist())):
            self._doubt_until_s = t_s + DOUBT_S
        self._rows = {track_id: row for row, track_id in enumerate(ids)}
        self._places, self._since_s = places, since_s
        self._settled += [places[self._rows[track_id]] for track_id in known - self._known]
        self._known = known
        return len(known) < len(ids) or t_s < self._doubt_until_s

    def _kept(
        self, ids: list[int], sure: Tracks, t_s: float
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Return the place of each track (n, 4) and since when it is kept (n,)."""
        now = sure.boxes_xyxy
        if not len(self._places):
            return now.copy(), np.full(len(ids), t_s)
        rows = np.array([self._rows.get(track_id, -1) for track_id in ids], np.intp)
        places, since_s = self._places[rows], self._since_s[rows]
        sides = np.maximum(places[:, 2:] - places[:, :2], 1.0)
        away = np.abs(now - places) > MOVED_SIDES * np.concatenate((sides, sides), axis=1)
        moved = (rows < 0) | (sure.observed & away.any(axis=1))
        places[moved], since_s[moved] = now[moved], t_s
        return places, since_s

    def take_settled(self) -> list[Box]:
        """Return the boxes of those who became known since the last call: float32 (4,), xyxy px."""
        settled, self._settled = self._settled, []
        return settled

    def interrupt(self) -> None:
        """Forget everybody, as after a gap."""
        self._rows, self._places, self._since_s = {}, _no_places(), _no_times()
        self._known, self._settled, self._doubt_until_s = frozenset(), [], -np.inf
