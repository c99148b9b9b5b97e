"""What the demo must make visible through central's API, and whether it did.

One row per thing, filled when it is first seen. Only central's HTTP API is asked: what is not
visible there does not count. The rule: a gap counts only where an act of the script made it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from vedette.clock import Clock, wall_ms
from vedette.errors import UplinkError
from vedette.sim.demo import site
from vedette.sim.demo.operator import Operator
from vedette.sim.demo.script import Script
from vedette.sim.demo.telephone import COVERED_RULE, Notice

PLACES: Final = {plan.camera: (site.SITE, site.DEVICE, plan.camera) for plan in site.CAMERAS}
_MINUTE_MS: Final = 60_000
MIN_GAP_S: Final = 5.0
MIN_BACKFILL_S: Final = 10.0


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What central said at one moment."""

    now_ms: int
    fleet: dict[str, Any]
    cameras: dict[str, dict[str, Any]]
    events: list[dict[str, Any]]


class Sight(msgspec.Struct, kw_only=True):
    """One thing to be seen; `after_s` counts from the start, None until it was seen.

    Where somebody waits for nothing else, `ends` is the act that need not go on.
    """

    what: str
    find: Callable[[Facts], str | None]
    after_s: float | None = None
    detail: str = ""
    ends: str = ""


class Watcher:
    """Looks at central again and again. Thread: one."""

    def __init__(
        self, operator: Operator, script: Script, clock: Clock, notices: Sequence[Notice] = ()
    ) -> None:
        self._operator = operator
        self._notices = notices
        self._script = script
        self._clock = clock
        self._start_ms = wall_ms(clock.now_at())
        self._from_ms = self._start_ms // _MINUTE_MS * _MINUTE_MS  # counts come by whole minutes
        self._pending: dict[str, list[tuple[int, int]]] = {}
        self._asked = False
        self._called_down_s: float | None = None
        self.sights = [
            Sight(what="frames of all three cameras", find=self._frames),
            Sight(what="telemetry of the device", find=_telemetry),
            Sight(what="events with people in them", find=_events),
            Sight(what="evidence kept on site, its JSON at central", find=self._evidence),
            Sight(what="a privacy-safe thumbnail", find=self._thumbnail),
            Sight(what=f"gap CAMERA_DOWN on {site.CUT}", find=self._camera_down, ends="cut"),
            Sight(what=f"gap TAMPERED on {site.COVERED}", find=self._tampered, ends="cover"),
            Sight(what="an incident of it, and who was told", find=self._told),
            Sight(what="the device called dark", find=_dark, ends="offline"),
            Sight(what="a stretch called PENDING_BACKFILL", find=self._pending_seen),
            Sight(what="that stretch turned observed", find=self._backfilled),
        ]

    @property
    def saw_everything(self) -> bool:
        """True where nothing is left to be seen."""
        return all(sight.after_s is not None for sight in self.sights)

    def look(self) -> list[Sight]:
        """Ask central once; return what was seen for the first time."""
        try:
            facts = self._ask()
        except UplinkError:
            return []
        for camera, view in facts.cameras.items():
            spans = [
                (one["start_ms"], one["end_ms"])
                for one in view["row"]["strip"]
                if one["cause"] == "PENDING_BACKFILL"
            ]
            self._pending.setdefault(camera, []).extend(spans)
        self._note_down(facts)
        fresh: list[Sight] = []
        for sight in self.sights:
            if sight.after_s is None and (found := sight.find(facts)) is not None:
                sight.after_s = (facts.now_ms - self._start_ms) / 1000
                sight.detail = found
                fresh.append(sight)
        return fresh

    def _ask(self) -> Facts:
        now_ms = wall_ms(self._clock.now_at())
        fleet = self._operator.fleet()
        known = {row["camera"] for row in _camera_rows(fleet)}
        cameras = {
            camera: self._operator.camera(place, self._from_ms, now_ms)
            for camera, place in PLACES.items()
            if camera in known
        }
        events = self._operator.events(limit=200)
        return Facts(now_ms=now_ms, fleet=fleet, cameras=cameras, events=events)

    def _note_down(self, facts: Facts) -> None:
        """Keep how soon after its cut the fleet called the camera down."""
        act = self._script.last("cut")
        if act is None or self._called_down_s is not None:
            return
        for row in _camera_rows(facts.fleet):
            if row["camera"] == site.CUT and row["state"] == "down":
                self._called_down_s = (facts.now_ms - act.start_ms) / 1000

    def _frames(self, facts: Facts) -> str | None:
        counts = {
            camera: view["frames"].get("captured", 0) for camera, view in facts.cameras.items()
        }
        if len(counts) < len(PLACES) or not all(counts.values()):
            return None
        return ", ".join(f"{camera} {count}" for camera, count in counts.items())

    def _thumbnail(self, facts: Facts) -> str | None:
        place = PLACES[site.STEADY]
        if site.STEADY not in facts.cameras:
            return None
        if not self._asked:
            self._operator.ask_thumbnail(place)
            self._asked = True
        picture = self._operator.thumbnail(place)
        return f"{len(picture)} bytes of JPEG" if picture else None

    def _evidence(self, facts: Facts) -> str | None:
        for event in facts.events:
            if event["evidence_status"] == "on_site":
                record = self._operator.event(event["event"])["evidence_json"]
                if record:
                    return f"{record['evidence']}: {record['bytes']} bytes stay on the device"
        return None

    def _camera_down(self, facts: Facts) -> str | None:
        found = self._gap(facts, site.CUT, "CAMERA_DOWN", "cut")
        if found is None or self._called_down_s is None:
            return found
        return f"called down after {self._called_down_s:.1f} s; gap {found}"

    def _tampered(self, facts: Facts) -> str | None:
        return self._gap(facts, site.COVERED, "TAMPERED", "cover")

    def _told(self, _facts: Facts) -> str | None:
        """What reached the receiver by a signed webhook, of what central has as an incident."""
        for notice in self._notices:
            if (notice.kind, notice.rule) == ("opened", COVERED_RULE) and any(
                one["incident"]["rule"] == COVERED_RULE for one in self._operator.incidents()
            ):
                return notice.subject
        return None

    def _gap(self, facts: Facts, camera: str, cause: str, kind: str) -> str | None:
        act = self._script.last(kind)
        if act is None or camera not in facts.cameras:
            return None
        end_ms = act.end_ms or facts.now_ms
        for one in facts.cameras[camera]["row"]["strip"]:
            overlap_ms = min(one["end_ms"], end_ms) - max(one["start_ms"], act.start_ms)
            if one["cause"] == cause and overlap_ms >= MIN_GAP_S * 1000:
                began_s = (one["start_ms"] - act.start_ms) / 1000
                known_s = (facts.now_ms - act.start_ms) / 1000
                return f"dated {began_s:+.1f} s from the act, visible {known_s:.1f} s after it"
        return None

    def _pending_seen(self, _facts: Facts) -> str | None:
        for camera, spans in self._pending.items():
            for start_ms, end_ms in spans:
                if end_ms - start_ms >= MIN_BACKFILL_S * 1000:
                    return f"{camera}: {(end_ms - start_ms) / 1000:.0f} s"
        return None

    def _backfilled(self, facts: Facts) -> str | None:
        for camera, spans in self._pending.items():
            view = facts.cameras.get(camera)
            if view is None:
                continue
            for span in spans:
                observed_s = _observed_ms(view["row"]["strip"], span) / 1000
                if observed_s >= MIN_BACKFILL_S:
                    length_s = (span[1] - span[0]) / 1000
                    return f"{camera}: {observed_s:.0f} of {length_s:.0f} s"
        return None


def _camera_rows(fleet: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for device in _devices(fleet) for row in device["cameras"]]


def _devices(fleet: dict[str, Any]) -> list[dict[str, Any]]:
    return [device for one in fleet["sites"] for device in one["devices"]]


def _telemetry(facts: Facts) -> str | None:
    for device in _devices(facts.fleet):
        if device["device"] == site.DEVICE and device["spool_depth"] is not None:
            heat = device["temperature_c"]
            warm = "no thermometer here" if heat is None else f"{heat:.0f} °C"
            return f"version {device['version']}, clock {device['clock_state']}, {warm}"
    return None


def _events(facts: Facts) -> str | None:
    kinds: dict[str, int] = {}
    for event in facts.events:
        if event["label"] == "person":
            kinds[event["kind"]] = kinds.get(event["kind"], 0) + 1
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or None


def _dark(facts: Facts) -> str | None:
    for device in _devices(facts.fleet):
        if device["state"] == "dark" and device["since_ms"] is not None:
            silent_s = (facts.now_ms - (device["last_contact_ms"] or facts.now_ms)) / 1000
            return f"known {silent_s:.0f} s after its last contact"
    return None


def _observed_ms(strip: Sequence[dict[str, Any]], span: tuple[int, int]) -> int:
    return sum(
        max(0, min(one["end_ms"], span[1]) - max(one["start_ms"], span[0]))
        for one in strip
        if one["cause"] is None
    )
