"""The pages of rollouts in every state: full, empty, inconclusive, going back, lost, hostile."""

import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from vedette.central.console import specimens
from vedette.central.console.page import Page
from vedette.central.console.rollouts import keys, present
from vedette.central.console.rollouts.keys import ApprovalView, KeysView, RoleView, TargetView
from vedette.central.console.rollouts.present import DeviceQuery, ListQuery
from vedette.central.rollouts.facts import Plan, RolloutState, Stage, Verdict
from vedette.central.rollouts.forecast import Forecast
from vedette.central.rollouts.schedule import Planned, StageDates
from vedette.central.rollouts.views import (
    DeviceView,
    GateView,
    HistoryView,
    RolloutRow,
    RolloutView,
    StageView,
)
from vedette.wire.slots import ArtefactKind, UpdateState
from vedette.wire.updates import Approval, Artefact

NOW_MS: Final = specimens.NOW_MS
HOUR_MS: Final = specimens.HOUR_MS
DAY_MS: Final = specimens.DAY_MS
_HOSTILE: Final = "<script>alert(1)</script>" + "'\"&" * 12
_LONG: Final = "a-name-that-goes-on-and-on-until-the-very-end-of-everything-there-is"

NEW: Final = Artefact(
    kind=ArtefactKind.MODEL,
    target="models/yolox-nano/1.2.0.vbundle",
    sha256="ab" * 32,
    bytes=3_812_345,
    digest="sha256:" + "ab" * 32,
    name="yolox-nano",
    version="1.2.0",
)
OLD: Final = msgspec.structs.replace(
    NEW, target="models/yolox-nano/1.1.4.vbundle", digest="sha256:" + "cd" * 32, version="1.1.4"
)
PLAN: Final = Plan(
    rollout="yolox-nano-1-2-0",
    kind=ArtefactKind.MODEL,
    slot="people",
    artefact=NEW,
    back=OLD,
    stages=[
        Stage(state=RolloutState.CANARY, devices=2, soak_h=24),
        Stage(state=RolloutState.PILOT, share=0.1, soak_h=48),
        Stage(state=RolloutState.WAVE, share=0.5, soak_h=24),
        Stage(state=RolloutState.WAVE, share=1.0, soak_h=0),
    ],
    windows=[("22:00", "05:00")],
    pinned=["oslo-3"],
    excluded=["lab-1", "lab-2"],
)


def _stages(at: int, *, covered_h: float | None = 17.4) -> list[StageView]:
    """Return four stages, those before `at` passed."""
    sizes = (2, 18, 80, 100)
    made: list[StageView] = []
    for number, planned in enumerate(PLAN.stages):
        began = NOW_MS - (at - number) * 2 * DAY_MS - 20 * HOUR_MS
        made.append(
            StageView(
                number=number,
                state=planned.state,
                devices=sizes[number],
                settled=sizes[number] if number < at else sizes[number] // 2 if number == at else 0,
                began_ms=began if number <= at else None,
                ended_ms=began + 40 * HOUR_MS if number < at else None,
                planned_ms=began + 2 * DAY_MS + 9 * HOUR_MS,
                soak_h=planned.soak_h,
                at_most_h=planned.at_most_h,
                covered_h=planned.soak_h if number < at else covered_h if number == at else None,
                median_covered_h=covered_h + 2.2 if number == at and covered_h else None,
                devices_soaked=sizes[number] if number < at else 0,
                verdict=Verdict.PASS if number < at else None,
            )
        )
    return made


_COURSE: Final = [
    (NOW_MS - (60 - n) * 20 * 60_000, 0.9 + 0.35 * math.sin(n / 7)) for n in range(61)
]
_RISING: Final = [(NOW_MS - (60 - n) * 6 * 60_000, 1.0 * 1.055**n) for n in range(61)]

GATES: Final = [
    GateView(
        gate="hard",
        group="invariant",
        verdict=Verdict.PASS,
        value=0,
        threshold=0,
        unit="devices",
        evidence="18 devices that changed over",
    ),
    GateView(
        gate="golden",
        group="invariant",
        verdict=Verdict.PASS,
        value=0,
        threshold=0,
        unit="devices",
        evidence="18 of 18 ran them",
    ),
    GateView(
        gate="counts",
        group="counts",
        verdict=Verdict.PASS,
        value=_COURSE[-1][1],
        threshold=20.0,
        evidence="312 covered device-hours, 4 bad events; 3.6 expected",
        reason="the evidence that bad events are twice as frequent as before is far below 1/α = 20",
        course=_COURSE,
    ),
    GateView(
        gate="latency_p95_ms",
        group="difference",
        verdict=Verdict.WAIT,
        value=4.1,
        low=-6.0,
        high=61.0,
        threshold=50.0,
        unit="ms",
        evidence="9 devices, 41 controls",
        reason="the upper end of the interval is still above 50 ms; it narrows with more devices",
    ),
    GateView(
        gate="confidence",
        group="difference",
        verdict=Verdict.PASS,
        value=0.012,
        low=-0.004,
        high=0.028,
        threshold=0.05,
        evidence="9 devices, 41 controls",
    ),
    GateView(
        gate="shadow",
        group="shadow",
        verdict=Verdict.PASS,
        value=0.61,
        low=0.54,
        threshold=0.5,
        is_floor=True,
        evidence="171 of 168 needed, 104 for the new one",
        reason="reviewers preferred the candidate more often than the incumbent",
    ),
]

_BAD_GATES: Final = [
    msgspec.structs.replace(
        GATES[2],
        verdict=Verdict.FAIL,
        value=24.9,
        course=_RISING,
        evidence="21 covered device-hours, 31 bad events; 4.4 expected",
        reason="bad events are more frequent than before: evidence 24.9 passed 1/α = 20",
    ),
    msgspec.structs.replace(
        GATES[3], verdict=Verdict.FAIL, value=96.0, low=71.0, high=121.0,
        evidence="2 devices, 41 controls", reason="p95 rose by 71 ms or more",
    ),
    msgspec.structs.replace(
        GATES[4], verdict=Verdict.FAIL, value=0.11, low=0.08, high=0.14, evidence="2 devices"
    ),
    msgspec.structs.replace(GATES[0], verdict=Verdict.PASS, evidence="2 devices"),
]  # fmt: skip

_THIN_GATES: Final = [
    msgspec.structs.replace(GATES[0], evidence="1 device"),
    msgspec.structs.replace(
        GATES[2], verdict=Verdict.INCONCLUSIVE, value=1.0, course=[],
        evidence="2.1 covered device-hours", reason="no test was possible: 48 h are needed",
    ),
    msgspec.structs.replace(
        GATES[3], verdict=Verdict.INCONCLUSIVE, value=12.0, low=-80.0, high=104.0,
        evidence="1 device, 2 controls", reason="the interval says nothing either way",
    ),
    GateView(
        gate="confidence", group="difference", verdict=Verdict.INCONCLUSIVE, threshold=0.05,
        reason="its canary reported no confidence since the change",
    ),
    GateView(
        gate="shadow", group="shadow", verdict=Verdict.INCONCLUSIVE, value=0.55, low=0.31,
        threshold=0.5, is_floor=True, evidence="22 of 168 needed",
        reason="146 more disagreements have to be looked at",
    ),
]  # fmt: skip

_HARDWARE: Final = ("Jetson Orin Nano", "Raspberry Pi 5", "Intel N100")


def _device(number: int, state: UpdateState | None, **changes: object) -> DeviceView:
    one = DeviceView(
        device=f"store-{number:03d}-a",
        site=f"store-{number:03d}",
        site_name=f"Store {number}",
        hardware=_HARDWARE[number % 3],
        strata=(_HARDWARE[number % 3], "1080p", "indoors" if number % 2 else "street"),
        state=state,
        stage=0 if number < 2 else 1 if number < 20 else None,
        attempt=1 if state else 0,
        since_ms=NOW_MS - (number % 17) * HOUR_MS if state else None,
        time_zone="Europe/Oslo",
        window="22:00 to 05:00",
        next_window_ms=NOW_MS + 11 * HOUR_MS,
        covered_h=17.4 + number % 5 if state is UpdateState.CONFIRMED else None,
        running=NEW.digest if state is UpdateState.CONFIRMED else OLD.digest,
        why="the only street scene on a Jetson Orin Nano" if number == 0 else
        "stands for 61 devices: Raspberry Pi 5, 1080p, indoors" if number == 1 else "",
    )  # fmt: skip
    return msgspec.structs.replace(one, **changes)


def _many(*parts: tuple[UpdateState | None, int, str]) -> list[DeviceView]:
    made: list[DeviceView] = []
    for state, count, problem in parts:
        made += [_device(len(made) + n, state, problem=problem) for n in range(count)]
    return made


def _counts(devices: Sequence[DeviceView]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in devices:
        key = one.state.value if one.state else ""
        found[key] = found.get(key, 0) + 1
    return found


PILOT_DEVICES: Final = _many(
    (UpdateState.CONFIRMED, 11, ""),
    (UpdateState.PROBATION, 2, ""),
    (UpdateState.WAITING_WINDOW, 4, ""),
    (UpdateState.REVERTED, 1, "golden frame 3 differs: expected 2 people, found 1"),
    (UpdateState.ASSIGNED, 2, "the download is slow: 120 kbit/s"),
    (None, 180, ""),
)
HISTORY: Final = [
    HistoryView(at_ms=NOW_MS - HOUR_MS, actor="planner", what="store-017-a went back",
                detail="golden frame 3 differs"),
    HistoryView(at_ms=NOW_MS - 20 * HOUR_MS, actor="planner", what="canary passed; pilot begins",
                detail="2 of 2 devices soaked 24 covered hours"),
    HistoryView(at_ms=NOW_MS - 3 * DAY_MS, actor="ada", what="started"),
    HistoryView(at_ms=NOW_MS - 4 * DAY_MS, actor="key 8f31c0", what="approved",
                detail="signed offline, 2 of 3 keys"),
]  # fmt: skip


def _row(
    state: RolloutState, devices: Sequence[DeviceView], at: int, **changes: object
) -> RolloutRow:
    row = RolloutRow(
        plan=PLAN,
        state=state,
        stage=at,
        stages=_stages(at),
        counts=_counts(devices),
        made_by="ada",
        made_ms=NOW_MS - 5 * DAY_MS,
        since_ms=NOW_MS - 20 * HOUR_MS,
        reason="9 of 18 devices are confirmed; the slowest has 17.4 of 48 covered hours",
    )
    return msgspec.structs.replace(row, **changes)


def _view(row: RolloutRow, devices: list[DeviceView], **changes: object) -> RolloutView:
    view = RolloutView(
        row=row,
        devices=devices,
        chosen=[one for one in devices if one.stage == 0],
        gates=GATES,
        history=HISTORY,
        orders=["stop", "roll_back", "pause", "extend", "pin", "exclude"],
        approved_by=["otto"],
        approval_expires_ms=NOW_MS + 40 * DAY_MS,
        gated="precision 96.2, recall 91.8, F1 93.9 on 4,120 images",
        gated_verdict=Verdict.PASS,
    )
    return msgspec.structs.replace(view, **changes)


PILOT: Final = _view(_row(RolloutState.PILOT, PILOT_DEVICES, 1), PILOT_DEVICES)

_THIN: Final = _many(
    (UpdateState.CONFIRMED, 1, ""), (UpdateState.WAITING_WINDOW, 1, ""), (None, 198, "")
)
INCONCLUSIVE: Final = _view(
    _row(
        RolloutState.INCONCLUSIVE, _THIN, 0, was=RolloutState.CANARY,
        stages=_stages(0, covered_h=2.1),
        reason="after 168 h it has 2.1 of 24 covered hours: store-001-a never had its window",
    ),
    _THIN,
    gates=_THIN_GATES,
    orders=["roll_back", "stop", "extend", "accept", "pin", "exclude"],
)  # fmt: skip

_GOING: Final = _many((UpdateState.REVERTED, 1, "told to go back"), (UpdateState.CONFIRMED, 1, ""),
                      (None, 198, ""))  # fmt: skip
ROLLING_BACK: Final = _view(
    _row(
        RolloutState.ROLLING_BACK, _GOING, 0, was=RolloutState.CANARY,
        reason="the gate on bad events failed: evidence 24.9 passed 20 after 21 covered hours",
    ),
    _GOING,
    gates=_BAD_GATES,
    orders=["stop"],
    history=[HistoryView(at_ms=NOW_MS - 300_000, actor="planner", what="rolled back",
                         detail="bad events are more frequent than before"), *HISTORY],
)  # fmt: skip

_LOST: Final = _many(
    (UpdateState.LOST, 2, "silent for 2 h since it was told to change over"), (None, 198, "")
)
LOST: Final = _view(
    _row(
        RolloutState.STOPPED, _LOST, 0, was=RolloutState.CANARY, stages=_stages(0, covered_h=None),
        reason="both canaries were lost",
    ),
    _LOST,
    gates=[msgspec.structs.replace(GATES[0], verdict=Verdict.FAIL, value=2, evidence="2 devices",
                                   reason="store-000-a and store-001-a are silent")],
    orders=["roll_back"],
)  # fmt: skip

ASKED: Final = _view(
    _row(
        RolloutState.APPROVED, [], 0, counts={}, made_by="grace",
        stages=[msgspec.structs.replace(one, began_ms=None, settled=0, covered_h=None,
                                        median_covered_h=None) for one in _stages(0)],
        reason="",
    ),
    [],
    gates=[],
    orders=["approve", "pin", "exclude"],
    warnings=[
        "approve the ways back with it, by the offline keys: --target models/door/1.1.4.vbundle"
    ],
    approved_by=[],
    history=[],
)  # fmt: skip

_ODD: Final = [
    _device(n, state, device=f"{_LONG}-{n}", site_name=_LONG.upper(), hardware=_LONG * 2,
            problem=_HOSTILE * 3, why=_HOSTILE * 2, strata=(_HOSTILE, _LONG))
    for n, state in enumerate((UpdateState.LOST, UpdateState.CONFIRMED, None))
]  # fmt: skip
HOSTILE: Final = _view(
    _row(
        RolloutState.PAUSED, _ODD, 0, was=RolloutState.CANARY,
        plan=msgspec.structs.replace(
            PLAN, rollout=_LONG, slot=_LONG, sites=[_LONG] * 30,
            artefact=msgspec.structs.replace(NEW, name=_HOSTILE, version=_LONG),
        ),
        made_by=_LONG, reason=_HOSTILE * 4, asked="resume", asked_by=_LONG, asked_ms=NOW_MS,
    ),
    _ODD,
    gates=[msgspec.structs.replace(GATES[3], gate=_LONG, evidence=_HOSTILE * 3, reason=_HOSTILE * 9,
                                   value=1e12, low=-1e12, high=None, unit=_LONG[:8])],
    history=[HistoryView(at_ms=NOW_MS, actor=_LONG, what=_HOSTILE * 3, detail=_HOSTILE * 5)],
    gated=_HOSTILE,
)  # fmt: skip

DONE: Final = _view(
    _row(
        RolloutState.DONE, _many((UpdateState.CONFIRMED, 197, ""), (UpdateState.SKIPPED, 3, "")), 4,
        reason="197 of 200 devices run it; 3 were left out", stages=_stages(4),
    ),
    _many((UpdateState.CONFIRMED, 197, ""), (UpdateState.SKIPPED, 3, "left out by ada")),
    orders=[],
)  # fmt: skip

_ROWS: Final = [
    PILOT.row,
    *(
        msgspec.structs.replace(view.row, plan=msgspec.structs.replace(
            view.row.plan, rollout=f"{view.row.plan.rollout}-{number}"))
        for number, view in enumerate((INCONCLUSIVE, ROLLING_BACK, ASKED, LOST, DONE, HOSTILE))
    ),
]  # fmt: skip

_OFFLINE: Final = ["8f31c0aa11" * 6 + "abcd", "19bd20cc42" * 6 + "abcd", "77aa01fe93" * 6 + "abcd"]
_ROLES: Final = [
    RoleView(role="root", keys=_OFFLINE, threshold=2, version=3, expires_ms=NOW_MS + 300 * DAY_MS,
             signed_ms=NOW_MS - 65 * DAY_MS),
    RoleView(role="targets", keys=_OFFLINE, threshold=2, version=7,
             expires_ms=NOW_MS + 120 * DAY_MS, signed_ms=NOW_MS - 9 * DAY_MS),
    RoleView(role="models", keys=_OFFLINE[:2], threshold=1, version=12,
             expires_ms=NOW_MS + 19 * DAY_MS, signed_ms=NOW_MS - 9 * DAY_MS),
    RoleView(role="approvals", keys=_OFFLINE[:2], threshold=2, version=5,
             expires_ms=NOW_MS + 80 * DAY_MS, signed_ms=NOW_MS - 4 * DAY_MS),
    RoleView(role="system", keys=[], threshold=1),
    RoleView(role="snapshot", keys=_OFFLINE[2:], threshold=1, is_online=True, version=402,
             expires_ms=NOW_MS + 6 * DAY_MS, signed_ms=NOW_MS - 4 * HOUR_MS),
    RoleView(role="timestamp", keys=_OFFLINE[2:], threshold=1, is_online=True, version=5121,
             expires_ms=NOW_MS - HOUR_MS, signed_ms=NOW_MS - 25 * HOUR_MS),
]  # fmt: skip
_APPROVAL: Final = Approval(
    rollout=PLAN.rollout, issued_ms=NOW_MS - 4 * DAY_MS, expires_ms=NOW_MS + 40 * DAY_MS,
    artefacts=[NEW, OLD], sites=["*"], note="the night model, after the review of February",
)  # fmt: skip
KEYS: Final = KeysView(
    roles=_ROLES,
    approvals=[
        ApprovalView(approval=_APPROVAL, signed_by=_OFFLINE[:2]),
        ApprovalView(
            approval=msgspec.structs.replace(
                _APPROVAL, rollout=_LONG, note=_HOSTILE, sites=[_LONG] * 12,
                issued_ms=NOW_MS - 90 * DAY_MS, expires_ms=NOW_MS - DAY_MS,
            ),
        ),
    ],
    targets=[
        TargetView(
            path=NEW.target, bytes=NEW.bytes, sha256=NEW.sha256, name="yolox-nano 1.2.0",
            deltas=[61_204, 1_204_881],
        ),
        TargetView(path=OLD.target, bytes=OLD.bytes, sha256=OLD.sha256, is_here=False),
        TargetView(path=f"models/{_LONG}/{_HOSTILE}", bytes=12, sha256="00" * 32),
    ],
)  # fmt: skip


def _planned(number: int, **changes: object) -> Planned:
    one = Planned(
        device=f"store-{number:03d}-a",
        site=f"store-{number:03d}",
        from_ms=NOW_MS + 11 * HOUR_MS,
        to_ms=NOW_MS + 18 * HOUR_MS,
        local="Mon 2 Mar 22:00 to 05:00",
        reason="stands for 61 devices: Raspberry Pi 5, 1080p, indoors",
        obstacle="silent for 3 h" if number == 7 else "",
    )
    return msgspec.structs.replace(one, **changes)


LAID_OUT: Final = Forecast(
    taking_part=200,
    stages=[
        StageDates(
            number=number,
            state=stage.state,
            allowed=(2, 20, 100, 200)[number],
            from_ms=NOW_MS + number * 2 * DAY_MS,
            end_ms=NOW_MS + (number + 1) * 2 * DAY_MS,
            devices=[_planned(n) for n in range(2 if not number else 12 * (number < 3))],
        )
        for number, stage in enumerate(PLAN.stages)
    ],
    counts=[2, 18, 80, 100],
    gated="recall 88.1 is below 90",
    gated_verdict=Verdict.FAIL,
    done_ms=NOW_MS + 9 * DAY_MS,
    words=[],
)
_ODD_PLAN: Final = msgspec.structs.replace(
    LAID_OUT,
    stages=[
        msgspec.structs.replace(
            LAID_OUT.stages[0],
            end_ms=None,
            devices=[
                _planned(n, device=_LONG, local=_LONG, reason=_HOSTILE * 3, obstacle=_HOSTILE)
                for n in range(3)
            ],
        )
    ],
    counts=[3],
    gated=_HOSTILE,
    done_ms=None,
)


def _one(view: RolloutView, **query: str) -> Callable[[Page], str]:
    return lambda page: present.rollout_html(view, DeviceQuery(**query), page)


PATTERNS: Final[dict[str, Callable[[Page], str]]] = {
    "rollouts": lambda page: present.list_html(_ROWS, ListQuery(), page),
    "rollouts-empty": lambda page: present.list_html([], ListQuery(), page),
    "rollouts-nothing": lambda page: present.list_html(_ROWS, ListQuery(q="none such"), page),
    "rollout": _one(PILOT),
    "rollout-done": lambda page: present.rollout_html(DONE, DeviceQuery(), page, done="approve"),
    "rollout-inconclusive": _one(INCONCLUSIVE),
    "rollout-rolling-back": _one(ROLLING_BACK),
    "rollout-lost": _one(LOST),
    "rollout-asked": _one(ASKED),
    "rollout-hostile": _one(HOSTILE),
    "rollout-filtered": _one(PILOT, state="reverted"),
    "rollout-stop": lambda page: present.confirm_html(PILOT, "stop", page),
    "rollout-exclude": lambda page: present.confirm_html(
        PILOT, "exclude", page, problem="That device is not at a site of yours."
    ),
    "rollout-agree": lambda page: present.confirm_html(ASKED, "approve", page),
    "rollout-plan": lambda page: present.plan_html(PILOT.row, LAID_OUT, page),
    "rollout-plan-hostile": lambda page: present.plan_html(HOSTILE.row, _ODD_PLAN, page),
    "keys": lambda page: keys.keys_html(KEYS, page),
    "keys-empty": lambda page: keys.keys_html(KeysView(), page),
}
