"""What happens to the demo's site, and when: cut one camera, cover another, cut the network.

A table of acts and one thread that plays it. Nothing here looks at central; `sim.demo.watch` does.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

import msgspec

from vedette.clock import Clock, wall_ms
from vedette.sim.mount import Fault, Mount
from vedette.sim.netcut import Link, NetCut, Weather

log = logging.getLogger(__name__)

Say = Callable[[str], None]

RETURNING: Final = Weather(delay_s=1.0, bytes_per_s=8_000.0)
"""A link that comes back as links do: slow. What waited is then seen to be waiting."""


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that goes wrong for a while.

    Attributes:
        kind: `cut`, `cover` or `offline`.
        begin, end: What to do; in words in `story` and `relief`.
        for_s: How long it lasts, unless it is ended sooner.
        rest_s: Quiet time afterwards.
        settle: What to do after the rest.
    """

    kind: str
    story: str
    relief: str
    begin: Callable[[], None]
    end: Callable[[], None]
    for_s: float
    rest_s: float
    settle: Callable[[], None] = lambda: None


class Played(msgspec.Struct, frozen=True):
    """An act that was played, by the wall clock; `end_ms` None while it lasts."""

    kind: str
    start_ms: int
    end_ms: int | None


def acts(
    cut: Mount, cover: Mount, network: NetCut, *, spell_s: float, offline_s: float
) -> list[Act]:
    """Return the three acts over these cameras and this network."""

    def come_back() -> None:
        network.set_weather(RETURNING)
        network.set_link(Link.UP)

    return [
        Act(
            kind="cut",
            story=f"camera {cut.name!r} is unplugged",
            relief=f"camera {cut.name!r} is back",
            begin=lambda: cut.set_fault(Fault.GONE),
            end=lambda: cut.set_fault(Fault.NONE),
            for_s=spell_s,
            rest_s=5.0,
        ),
        Act(
            kind="cover",
            story=f"somebody covers the lens of camera {cover.name!r}",
            relief=f"camera {cover.name!r} is uncovered",
            begin=lambda: cover.show("covered"),
            end=lambda: cover.show("normal"),
            for_s=spell_s,
            rest_s=5.0,
        ),
        Act(
            kind="offline",
            story="the network to central is cut",
            relief="the network is back, slowly; what was recorded meanwhile is sent now",
            begin=lambda: network.set_link(Link.CUT),
            end=come_back,
            settle=lambda: network.set_weather(Weather()),
            for_s=offline_s,
            rest_s=20.0,
        ),
    ]


class Script:
    """Plays acts one after the other in its own thread. Thread: any.

    Attributes:
        played: What was played so far.
    """

    def __init__(self, play: list[Act], clock: Clock, say: Say, *, slower: float = 4.0) -> None:
        self.played: list[Played] = []
        self._acts = play
        self._clock = clock
        self._say = say
        self._slower = slower
        self._stop = threading.Event()
        self._over = threading.Event()
        self._first_round = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-script", daemon=True)

    def start(self) -> None:
        """Begin; the first round at full pace, later ones with longer rests."""
        self._thread.start()

    def stop(self) -> None:
        """End where it is, healing what is broken."""
        self._stop.set()
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def end_act(self, kind: str) -> None:
        """End the act of this kind where it is being played: what it is played for was seen."""
        if self.played and self.played[-1].kind == kind and self.played[-1].end_ms is None:
            self._over.set()

    @property
    def first_round_is_over(self) -> bool:
        """True where every act was played once."""
        return self._first_round.is_set()

    def last(self, kind: str) -> Played | None:
        """Return the last act of a kind."""
        return next((one for one in reversed(self.played) if one.kind == kind), None)

    def _run(self) -> None:
        rest = 1.0
        while not self._stop.is_set():
            for act in self._acts:
                if self._stop.is_set():
                    return
                self._play(act)
                self._clock.wait(self._stop, act.rest_s * rest)
                act.settle()
            self._first_round.set()
            rest = self._slower

    def _play(self, act: Act) -> None:
        start_ms = wall_ms(self._clock.now_at())
        self._say(f"{act.story} for {act.for_s:.0f} s")
        self._over.clear()
        self.played.append(Played(act.kind, start_ms, None))
        act.begin()
        try:
            if not self._stop.is_set():
                self._clock.wait(self._over, act.for_s)
        finally:
            act.end()
            end_ms = wall_ms(self._clock.now_at())
            self.played[-1] = Played(act.kind, start_ms, end_ms)
            self._say(act.relief)
