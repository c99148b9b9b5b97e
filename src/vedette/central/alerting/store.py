"""Incidents in the database: what a decision needs, and what it said.

What lives here: rows and structs, one way and the other. What does not: deciding (`planner`), when
(`jobs`), what people do (`acting`). The rule: whoever writes incidents holds the one lock of
alerting (`hold`) until the transaction ends; a process that hangs within one loses it after
seconds, with everything that it had not committed.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from vedette.central.alerting.facts import (
    Decision,
    Happened,
    Health,
    Held,
    History,
    Incident,
    IncidentState,
    Override,
    Rule,
    Signal,
    Silence,
    Subject,
)
from vedette.central.alerting.joining import TOGETHER_MS, key_of
from vedette.central.store.db import Tx

_log = logging.getLogger(__name__)

SPARE_KEYS: Final = 9
"""Incidents of one key that may be open where the first ones are full."""

_incident = msgspec.json.Decoder(Incident).decode
_silence = msgspec.json.Decoder(Silence).decode
_override = msgspec.json.Decoder(Override).decode
_signal = msgspec.json.Decoder(Signal).decode
_ABOVE: Final = (Health.SITE_DARK, Health.DEVICE_DARK)


def text_of(subject: Subject) -> str:
    """Return a subject as its key: site|device|camera|place|what."""
    return f"{subject.site}|{subject.device}|{subject.camera}|{subject.place}|{subject.what}"


async def hold(tx: Tx) -> None:
    """Have this transaction be the only one that decides about incidents until it ends."""
    await tx.value("alerts_hold")
    await tx.value("alerts_lock")


async def incidents_for(
    tx: Tx, signals: Sequence[Signal], rules: dict[str, Rule], now_ms: int, *, due: int
) -> list[Incident]:
    """Return the open incidents that a decision about these signals, now, has to know."""
    health = [one for one in signals if (rule := rules.get(one.rule)) and rule.health is not None]
    rows = await tx.tuples(
        "incidents_for_turn",
        keys=keys_of(signals, rules),
        rules=[one.rule for one in health],
        subjects=[text_of(one.subject) for one in health],
        above=[name for name, rule in rules.items() if rule.health and rule.health.is_ in _ABOVE],
        recent_ms=now_ms - TOGETHER_MS - 60_000,
        now_ms=now_ms,
        limit=due,
    )
    found: list[Incident] = []
    unreadable: list[str] = []
    for name, body, due_ms in rows:
        try:  # whoever wakes incidents moves their rows alone
            found.append(msgspec.structs.replace(_incident(body), due_ms=due_ms))
        except (msgspec.ValidationError, msgspec.DecodeError):
            unreadable.append(str(name))
    if unreadable:
        await tx.run("incidents_postpone", incidents=unreadable, now_ms=now_ms)
        _log.error(
            "incidents cannot be read; were they written by a newer central?",
            extra={"event": "alerts.unreadable", "incidents": unreadable[:20]},
        )
    return found


def keys_of(signals: Iterable[Signal], rules: dict[str, Rule]) -> list[str]:
    """Return the keys that signals may belong to, those of overflow among them."""
    found: set[str] = set()
    for signal in signals:
        rule = rules.get(signal.rule)
        if rule is None:
            continue
        key = key_of(rule, signal.subject)
        found.add(key)
        if rule.health is not None and rule.group is not None:
            found |= {f"{key}#{number}" for number in range(2, SPARE_KEYS + 1)}
    return sorted(found)


async def before(tx: Tx, keys: Sequence[str]) -> dict[str, Incident]:
    """Return the newest incident of each key, where that one is over."""
    rows = await tx.tuples("incidents_before", keys=list(keys)) if keys else []
    return {one.key: one for one in (_incident(body) for (body,) in rows)}


async def silences(tx: Tx, now_ms: int) -> list[Silence]:
    """Return the silences that are not over."""
    return [_silence(body) for (body,) in await tx.tuples("alert_silences_now", now_ms=now_ms)]


async def overrides(tx: Tx, now_ms: int) -> list[Override]:
    """Return the overrides of schedules that are not over."""
    return [_override(body) for (body,) in await tx.tuples("alert_overrides_now", now_ms=now_ms)]


async def outlasted(tx: Tx, now_ms: int, limit: int) -> list[Signal]:
    """Return, and take, what was held by planned work that is over."""
    rows = await tx.tuples("alert_held_take", now_ms=now_ms, limit=limit)
    return [_signal(body) for (body,) in rows]


async def get(tx: Tx, incident: str) -> Incident | None:
    """Return one incident, held until the transaction ends."""
    body = await tx.value("incident_hold", incident=incident)
    return _incident(body) if isinstance(body, bytes) else None


async def next_due(tx: Tx) -> tuple[int | None, bool]:
    """Return when something is to be looked at next without news, and whether events wait."""
    [(due_ms, waits)] = await tx.tuples("incidents_next_due")
    return due_ms, waits


# ------------------------------------------------------------------------------------- writing


async def carry_out(tx: Tx, decision: Decision, rules: dict[str, Rule], now_ms: int) -> None:
    """Write everything that was decided but notices."""
    await put(tx, decision.incidents, rules)
    await add_history(tx, decision.history)
    await _add_events(tx, decision.happened)
    await _hold_back(tx, decision.held, decision.dropped)
    if decision.wake or decision.wake_sites:
        await tx.run(
            "incidents_wake",
            incidents=decision.wake,
            sites=decision.wake_sites,
            now_ms=now_ms,
        )
    for silence, more in decision.hidden.items():
        await tx.run("alert_silence_hid", silence=silence, more=more)


async def put(tx: Tx, incidents: Sequence[Incident], rules: dict[str, Rule]) -> None:
    """Write incidents as they are now; those that are over first, so that keys are free."""
    ordered = sorted(incidents, key=lambda one: one.state is not IncidentState.RESOLVED)
    await tx.many("incident_put", [_row(one) for one in ordered])
    await tx.many(
        "incident_sites_put",
        [{"incident": one.incident, "sites": _sites(one)} for one in ordered],
    )
    over = [one for one in ordered if one.state is IncidentState.RESOLVED and not one.late_only]
    await tx.many("incident_members_drop", [{"incident": one.incident} for one in over])
    await tx.many(
        "incident_members_put",
        [
            {
                "rule": one.rule,
                "subjects": [text_of(member.subject) for member in one.members],
                "incident": one.incident,
            }
            for one in ordered
            if one.state is not IncidentState.RESOLVED and _is_health(rules.get(one.rule))
        ],
    )


def _is_health(rule: Rule | None) -> bool:
    return rule is not None and rule.health is not None


def _sites(incident: Incident) -> list[str]:
    return sorted({member.subject.site for member in incident.members if member.subject.site})


def _row(one: Incident) -> dict[str, object]:
    return {
        "incident": one.incident,
        "key": one.key,
        "rule": one.rule,
        "severity": str(one.severity),
        "state": str(one.state),
        "title": one.title,
        "site": one.subject.site,
        "device": one.subject.device,
        "camera": one.subject.camera,
        "opened_ms": one.opened_ms,
        "changed_ms": one.changed_ms,
        "known_ms": one.known_ms,
        "resolved_ms": one.resolved_ms,
        "silenced": one.silenced,
        "inhibited": one.inhibited,
        "late_only": one.late_only,
        "due_ms": one.due_ms,
        "version": one.version,
        "body": msgspec.json.encode(one),
    }


async def add_history(tx: Tx, lines: Sequence[History]) -> None:
    """Add lines to timelines, in this order."""
    await tx.many(
        "incident_history_add",
        [
            {
                "incident": one.incident,
                "at_ms": one.at_ms,
                "kind": one.kind,
                "actor": one.actor,
                "text": one.text,
                "body": msgspec.json.encode(one),
            }
            for one in lines
        ],
    )


async def _add_events(tx: Tx, happened: Sequence[Happened]) -> None:
    await tx.many("incident_event_add", [msgspec.structs.asdict(one) for one in happened])


async def _hold_back(tx: Tx, held: Sequence[Held], dropped: Sequence[tuple[str, Subject]]) -> None:
    kept = {(one.signal.rule, one.signal.subject) for one in held}
    await tx.many(
        "alert_held_drop",
        [
            {"rule": rule, "subject": text_of(subject)}
            for rule, subject in dict.fromkeys(dropped)
            if (rule, subject) not in kept
        ],
    )
    await tx.many(
        "alert_held_put",
        [
            {
                "rule": one.signal.rule,
                "subject": text_of(one.signal.subject),
                "silence": one.silence,
                "until_ms": one.until_ms,
                "body": msgspec.json.encode(one.signal),
            }
            for one in held
        ],
    )
