"""A made-up fleet for the planner's tests: devices that carry out what they are assigned."""

from typing import Any

import msgspec

from vedette.central.rollouts.facts import (
    Counted,
    Device,
    Evidence,
    Measured,
    Plan,
    Progress,
    RolloutState,
    Shadowed,
    Stage,
    Tally,
    Verdict,
)
from vedette.wire.slots import ArtefactKind, UpdateState
from vedette.wire.updates import Artefact

HOUR_MS = 3_600_000
S, U = RolloutState, UpdateState


def artefact(name: str, kind: ArtefactKind = ArtefactKind.APP) -> Artefact:
    """Return something to install."""
    return Artefact(
        kind=kind,
        target=f"{kind}/{name}",
        sha256=name * 64,
        bytes=1,
        digest=f"sha256:{name * 64}",
        name=name,
    )


OLD, NEW, OTHER = artefact("a"), artefact("b"), artefact("c")


def plan(**changes: Any) -> Plan:
    """Return a plan of a canary and two waves."""
    stages = [
        Stage(state=S.CANARY, devices=2, soak_h=4),
        Stage(state=S.WAVE, share=0.5, soak_h=4),
        Stage(state=S.WAVE, share=1.0, soak_h=4),
    ]
    made = Plan(rollout="r-1", kind=ArtefactKind.APP, slot="app", artefact=NEW, stages=stages)
    return msgspec.structs.replace(made, **changes)


def device(number: int, **changes: Any) -> Device:
    """Return a device that runs the old one and was just heard."""
    given: dict[str, Any] = {
        "device": f"box-{number:03}",
        "site": f"site-{number % 3}",
        "strata": (("orin", "pi", "x86")[number % 3], f"cam-{number % 2}", ""),
        "before": OLD,
        "running": OLD.digest,
        "running_ms": 0,
        "last_seen_ms": 0,
    }
    return Device(**(given | changes))


def fleet(count: int, **changes: Any) -> list[Device]:
    """Return so many of them."""
    return [device(number, **changes) for number in range(count)]


def changed(one: Device, **changes: Any) -> Device:
    """Return the device with those fields changed."""
    return msgspec.structs.replace(one, **changes)


def step(one: Device, now_ms: int, hours: float = 1.0) -> Device:
    """Return the device after a report at `now_ms`: one step on with what is assigned."""
    heard: dict[str, Any] = {
        "last_seen_ms": now_ms,
        "running_ms": now_ms,
        "reported_attempt": max(one.attempt, one.reported_attempt),
        "reported_version": max(one.version, one.reported_version),
    }
    if one.assigned and one.is_shadow:
        heard |= {"state": U.SHADOWING}
    elif one.assigned and one.state is U.ASSIGNED:
        heard |= {"state": U.PROBATION, "since_ms": now_ms, "running": one.assigned}
    elif one.assigned and one.state is U.PROBATION:
        heard |= {"state": U.CONFIRMED, "since_ms": now_ms - 1}
    elif one.confirmed_ms is not None:
        heard |= {"covered_h": one.covered_h + hours}
    return changed(one, **heard)


def evidence(progress: Progress, devices: list[Device], **changes: Any) -> Evidence:
    """Return evidence by which nothing is worse."""
    on = {d.device: d.running == NEW.digest for d in devices}
    past = Tally(events=14, hours=1344.0, days=14, squares=28)
    since = Tally(events=7, hours=672.0, days=7, squares=14)
    given: dict[str, Any] = {
        "stage": progress.stage,
        "gated": Verdict.PASS,
        "approved": {d.site: "" for d in devices},
        "troubles": [],
        "counts": {
            "bad events": [
                Counted(device=name, taken=is_on, before=past, since=since)
                for name, is_on in on.items()
            ]
        },
        "latency_p95_ms": [
            Measured(device=name, taken=is_on, before=100.0, after=100.0 + number % 3)
            for number, (name, is_on) in enumerate(on.items())
        ],
        "confidence": [
            Measured(device=name, taken=is_on, before=0.8, after=0.8) for name, is_on in on.items()
        ],
        "shadow": Shadowed(verdict=Verdict.PASS, reviewed=60, needed=60, b_better=40),
    }
    return Evidence(**(given | changes))
