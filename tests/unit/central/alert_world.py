"""A central's alerts in memory: what the engine keeps, and one turn, without a database."""

from collections.abc import Sequence

import msgspec

from vedette.central.alerting import planner
from vedette.central.alerting.facts import (
    Book,
    Decision,
    EventMatch,
    Health,
    HealthMatch,
    History,
    Incident,
    IncidentState,
    Ladder,
    LadderStep,
    Notice,
    Rule,
    Severity,
    Signal,
    Silence,
    Subject,
    Turn,
)
from vedette.central.alerting.joining import World
from vedette.central.alerting.places import Places, Site
from vedette.wire.messages import EventKind

S = 1_000
MINUTE = 60 * S
START = 1_700_000_000_000
LADDER = Ladder(
    ladder="guards",
    steps=[
        LadderStep(tell=["channel:phone"]),
        LadderStep(after_s=300, tell=["channel:boss"]),
    ],
    repeat_s=900,
    rounds=2,
    ack_s=3600,
)


def health(name: str, what: Health, **changes: object) -> Rule:
    """Return a rule about health that climbs the ladder."""
    return Rule(rule=name, health=HealthMatch(is_=what), ladder="guards", **changes)


RULES = [
    health("site-dark", Health.SITE_DARK, severity=Severity.CRITICAL),
    health("device-dark", Health.DEVICE_DARK),
    health("camera-down", Health.CAMERA_DOWN),
    Rule(
        rule="intrusion",
        title="Somebody at {camera} of {site}",
        event=EventMatch(kinds=[EventKind.PRESENCE]),
        ladder="guards",
        resolve_s=600,
    ),
]


class Memory:
    """What the tables hold between turns."""

    def __init__(self, *rules: Rule, silences: Sequence[Silence] = ()) -> None:
        chosen = rules or tuple(RULES)
        self.book = Book(
            version=1, rules={rule.rule: rule for rule in chosen}, ladders={"guards": LADDER}
        )
        sites = {f"s{n}": Site(site=f"s{n}", name=f"Shop {n}") for n in range(60)}
        self.places = Places(sites=sites)
        self.silences = list(silences)
        self.incidents: dict[str, Incident] = {}
        self.held: dict[tuple[str, Subject], Signal] = {}
        self.until: dict[tuple[str, Subject], int] = {}
        self.notices: list[Notice] = []
        self.history: list[History] = []
        self.mending: set[tuple[str, Subject]] = set()
        self.now_ms = START

    def turn(self, *signals: Signal, after_s: float = 0.0) -> Decision:
        """Take one turn after a while, as `jobs` does."""
        self.now_ms += round(after_s * 1000)
        outlasted = [key for key, until_ms in self.until.items() if until_ms <= self.now_ms]
        found = [self._unheld(key) for key in outlasted] + list(signals)
        before = {
            one.key: one for one in sorted(self.incidents.values(), key=lambda one: one.known_ms)
        }
        world = World(
            places=self.places,
            mending=frozenset(self.mending),
            before={key: one for key, one in before.items() if one.state is IncidentState.RESOLVED},
        )
        decision = planner.plan(found, self.open, self.book, self.silences, world, self.now_ms)
        self._keep(decision)
        return decision

    def _unheld(self, key: tuple[str, Subject]) -> Signal:
        del self.until[key]
        return self.held.pop(key)

    def _keep(self, decision: Decision) -> None:
        for key in decision.dropped:
            self.held.pop(key, None)
            self.until.pop(key, None)
        for held in decision.held:
            key = (held.signal.rule, held.signal.subject)
            self.held[key], self.until[key] = held.signal, held.until_ms
        self.incidents |= {one.incident: one for one in decision.incidents}
        for incident in self.open:
            wakes = incident.inhibited in decision.wake
            if wakes or incident.subject.site in decision.wake_sites:
                woken = msgspec.structs.replace(incident, due_ms=self.now_ms)
                self.incidents[incident.incident] = woken
        self.notices += decision.notices
        self.history += decision.history

    def run(self, until_s: float, most: int = 100) -> None:
        """Take every turn that falls due within a time, each at its moment."""
        end_ms = self.now_ms + round(until_s * 1000)
        for _ in range(most):
            dues = [one.due_ms for one in self.open if one.due_ms is not None]
            due_ms = min([*dues, *self.until.values()], default=end_ms + 1)
            if due_ms > end_ms:
                break
            self.now_ms = max(self.now_ms, due_ms)
            self.turn()
        self.now_ms = end_ms

    @property
    def open(self) -> list[Incident]:
        """Incidents that are not over."""
        found = [one for one in self.incidents.values() if one.state is not IncidentState.RESOLVED]
        return sorted(found, key=lambda one: (one.known_ms, one.incident))

    def told(self) -> list[tuple[str, str]]:
        """Return what was told by which rule's incident, in order, of the first step."""
        return [
            (notice.incident.rule, str(notice.kind))
            for notice in self.notices
            if notice.channel == "phone"
        ]

    # ------------------------------------------------------------------------- signals

    def raised(self, rule: str, subject: Subject, **changes: object) -> Signal:
        """Return that something is wrong since now."""
        return self.signal(rule, subject, Turn.RAISED, **changes)

    def cleared(self, rule: str, subject: Subject) -> Signal:
        """Return that something is well since now."""
        return self.signal(rule, subject, Turn.CLEARED)

    def event(self, subject: Subject, number: int = 1, **changes: object) -> Signal:
        """Return that an event came."""
        return self.signal("intrusion", subject, Turn.EVENT, event=f"ev-{number}", **changes)

    def signal(self, rule: str, subject: Subject, turn: Turn, **changes: object) -> Signal:
        """Return a signal of now."""
        known = self.book.rules.get(rule)
        made = Signal(
            rule=rule,
            turn=turn,
            subject=subject,
            at_ms=self.now_ms,
            known_ms=self.now_ms,
            severity=known.severity if known else Severity.WARNING,
        )
        return msgspec.structs.replace(made, **changes)


def site(number: int) -> Subject:
    """Return a whole site."""
    return Subject(site=f"s{number}")


def device(number: int, of: int = 0) -> Subject:
    """Return a device of a site."""
    return Subject(site=f"s{number}", device=f"s{number}-d{of}")


def camera(number: int, of: int = 0, camera: int = 0) -> Subject:
    """Return a camera of a device."""
    return Subject(site=f"s{number}", device=f"s{number}-d{of}", camera=f"c{camera}")
