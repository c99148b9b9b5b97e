"""What people ask of rollouts: to make one, to approve it, to let it go, hold it or send it back.

What lives here: the checks on what somebody wrote, and the transaction with its entry in the audit
log. What does not: who may ask (`central.api.rollouts`), carrying it out (`jobs`). The rule: an
order is stored at once and carried out by the turn that it wakes; nothing is decided in a request.
"""

import re
from collections.abc import Callable, Sequence
from datetime import time
from typing import Annotated, Final

import msgspec

from vedette.central import audit
from vedette.central.rollouts import approving, planner, store
from vedette.central.rollouts.facts import Asked, Gates, Order, Plan, RolloutState, Stage
from vedette.central.rollouts.store import Row
from vedette.central.store.db import Tx
from vedette.errors import ConfigError, NotAllowed
from vedette.ids import is_slug, new_id
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Artefact

MAX_STAGES: Final = 32
MAX_NAMES: Final = 20_000
MAX_WINDOWS: Final = 8
MAX_NOTE_CHARS: Final = 500
MAX_HOURS: Final = 24.0 * 366
EVERYWHERE: Final = "*"

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_TARGET: Final = re.compile(r"[a-z]+(?:/[A-Za-z0-9._+-]{1,128}){1,8}")


class NewRollout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to roll out, where and how; stages that are left out are canary 2, 10 %, 50 %, all.

    Attributes:
        rollout: Its name, by which the offline keys' approval speaks of it. Empty: one is made.
            Only who sees the whole fleet chooses it: that one is taken tells of others.
    """

    kind: ArtefactKind
    slot: str
    artefact: Artefact
    rollout: str = ""
    back: Artefact | None = None
    sites: list[str] = msgspec.field(default_factory=lambda: ["*"])
    pinned: list[str] = []
    excluded: list[str] = []
    stages: list[Stage] = []
    gates: Gates = Gates()
    windows: list[tuple[str, str]] = []
    probation_s: float = 600.0
    max_kbit_s: float | None = None
    shadow_every_s: float = 10.0
    shadow_samples_per_day: int = 50
    note: Annotated[str, msgspec.Meta(max_length=MAX_NOTE_CHARS)] = ""


Check = Callable[[Row], None]
"""Sees the rollout while it is held, before it is changed; raises where it may not be."""


class NoRollout(NotAllowed):
    """There is no such rollout."""


def default_stages(kind: ArtefactKind, gates: Gates) -> list[Stage]:
    """Return the stages of a plan that names none: shadow, 2 devices, 10 %, half, all."""
    stages = [
        Stage(state=RolloutState.CANARY, devices=2, soak_h=24.0),
        Stage(state=RolloutState.PILOT, share=0.1, soak_h=48.0),
        Stage(state=RolloutState.WAVE, share=0.5, soak_h=24.0),
        Stage(state=RolloutState.WAVE, share=1.0, soak_h=24.0),
    ]
    if kind is ArtefactKind.MODEL and gates.needs_shadow:
        stages.insert(0, Stage(state=RolloutState.SHADOW, devices=10, soak_h=24.0))
    return stages


def plan_of(wanted: NewRollout) -> Plan:
    """Return what somebody wrote as a plan, with a name and with stages."""
    fields = {name: getattr(wanted, name) for name in wanted.__struct_fields__ if name != "note"}
    fields["rollout"] = wanted.rollout or new_id("ro")
    return completed(Plan(**fields))


def completed(plan: Plan) -> Plan:
    """Return a plan with stages, where it names none."""
    if plan.stages:
        return plan
    return msgspec.structs.replace(plan, stages=default_stages(plan.kind, plan.gates))


def complaints(plan: Plan) -> list[str]:
    """Return what is wrong with a plan, in words; empty where nothing is."""
    out: list[str] = []
    if not is_slug(plan.rollout) or not is_slug(plan.slot):
        out.append("rollout and slot are names of a-z 0-9 . _ -")
    out += _of_artefact(plan.artefact, plan.kind, "artefact")
    if plan.back is not None:
        out += _of_artefact(plan.back, plan.kind, "back")
    names: list[tuple[str, Sequence[str]]] = [
        ("sites", plan.sites), ("pinned", plan.pinned), ("excluded", plan.excluded),
        ("trusted", plan.trusted),
    ]  # fmt: skip
    for name, values in names:
        if len(values) > MAX_NAMES:
            out.append(f"{name}: at most {MAX_NAMES} names")
        bad = next((v for v in values if not is_slug(v) and v != EVERYWHERE), None)
        if bad is not None:
            out.append(f"{name}: {bad[:64]!r} is no name")
    if not plan.sites:
        out.append("sites: name some, or * for all")
    if EVERYWHERE in plan.sites and len(plan.sites) > 1:
        out.append("sites: * stands alone")
    if len(plan.windows) > MAX_WINDOWS or not all(_is_window(w) for w in plan.windows):
        out.append(f"windows: at most {MAX_WINDOWS}, as 22:00 and 05:00")
    if not 0 <= plan.probation_s <= 86_400:
        out.append("probation_s is 0 to 86400")
    if plan.max_kbit_s is not None and not 0 < plan.max_kbit_s <= 1e9:
        out.append("max_kbit_s is above 0; leave it out for no limit")
    return out + _of_stages(plan) + planner.check(plan)


def _of_artefact(artefact: Artefact, kind: ArtefactKind, name: str) -> list[str]:
    out: list[str] = []
    if artefact.kind is not kind:
        out.append(f"{name}: it is of kind {artefact.kind}, and the rollout of {kind}")
    if not _TARGET.fullmatch(artefact.target) or ".." in artefact.target:
        out.append(f"{name}: target is a path such as {kind}/name/1.2.0")
    elif not artefact.target.startswith(f"{kind}/"):
        out.append(f"{name}: target begins with {kind}/")
    if not _SHA256.fullmatch(artefact.sha256):
        out.append(f"{name}: sha256 is 64 lower-case hex digits")
    if not _DIGEST.fullmatch(artefact.digest):
        out.append(f"{name}: digest is sha256: and 64 lower-case hex digits")
    return out


def _of_stages(plan: Plan) -> list[str]:
    out: list[str] = []
    if len(plan.stages) > MAX_STAGES:
        out.append(f"at most {MAX_STAGES} stages")
    for number, stage in enumerate(plan.stages, 1):
        if not 0 <= stage.soak_h <= MAX_HOURS or not 0 < stage.at_most_h <= MAX_HOURS:
            out.append(f"stage {number}: hours are 0 to {MAX_HOURS:g}")
        if not 0 < stage.enough <= 1 or not 1 < stage.worst_ratio <= 1000:
            out.append(f"stage {number}: enough is above 0 to 1, worst_ratio above 1")
    gates = plan.gates
    if not 0 < gates.alpha < 1 or not 0 <= gates.max_failed_share <= 1:
        out.append("gates: alpha is within 0 to 1, max_failed_share 0 to 1")
    if not 0 < gates.lost_h <= MAX_HOURS or not 0 < gates.offline_h <= MAX_HOURS:
        out.append("gates: lost_h and offline_h are above 0")
    return out


def _is_window(window: tuple[str, str]) -> bool:
    try:
        begin, end = (time.fromisoformat(text) for text in window)
    except ValueError:
        return False
    return begin != end and all(len(text) == 5 for text in window)


async def make(tx: Tx, plan: Plan, *, actor: str, note: str, now_ms: int) -> Row:
    """Store a rollout that nobody has begun.

    Raises:
        ConfigError: There is one of this name, or the plan cannot be.
    """
    plan = completed(plan)
    wrong = complaints(plan)
    if wrong:
        raise ConfigError("; ".join(wrong[:5]), operator_hint="mend the plan")
    if not await store.add(tx, plan, actor=actor, note=note[:MAX_NOTE_CHARS], now_ms=now_ms):
        raise ConfigError(
            f"there is a rollout {plan.rollout} already", operator_hint="choose another name"
        )
    state = str(RolloutState.DRAFT)
    await store.note(
        tx, plan.rollout, actor=actor, was="", state=state, stage=None,
        reason=note[:MAX_NOTE_CHARS] or "made", now_ms=now_ms,
    )  # fmt: skip
    await _audit(tx, plan.rollout, actor, "make", now_ms, artefact=plan.artefact.digest)
    return await _held(tx, plan.rollout)


async def approve(
    tx: Tx,
    rollout: str,
    *,
    actor: str,
    two_people: bool,
    now_ms: int,
    check: Check = lambda _: None,
) -> Row:
    """Have `actor` approve a rollout at central; one who did so already changes nothing.

    Raises:
        NoRollout: There is no such rollout.
        NotAllowed: They made it, and somebody else has to.
    """
    row = await _held(tx, rollout)
    check(row)
    if two_people and actor == row.made_by:
        raise NotAllowed(
            f"{actor} made this rollout: somebody else has to approve it",
            operator_hint="ask another administrator, or set rollouts.two_people: false",
        )
    if await tx.run("rollout_approve", rollout=rollout, actor=actor, now_ms=now_ms):
        why = approving.second_person(row.made_by, [actor], is_needed=two_people)
        await store.note(
            tx, rollout, actor=actor, was=str(row.at), state=str(row.at), stage=row.stage,
            reason="approved at central" + (f"; {why}" if why else ""), now_ms=now_ms,
        )  # fmt: skip
        await _audit(tx, rollout, actor, "approve", now_ms, digest=row.digest)
    return await _held(tx, rollout)


async def order(
    tx: Tx, rollout: str, asked: Asked, *, now_ms: int, check: Check = lambda _: None
) -> Row:
    """Store an order; the turn that it wakes carries it out.

    Raises:
        NoRollout: There is no such rollout.
        ConfigError: It cannot be carried out in this state, or lacks what it needs.
    """
    row = await _held(tx, rollout)
    check(row)
    if row.at not in planner.FROM[asked.order]:
        raise ConfigError(
            f"{asked.order} is not possible while the rollout is {row.at}",
            operator_hint=f"possible now: {', '.join(possible(row.at)) or 'nothing'}",
        )
    if asked.order is Order.EXTEND and not 0 < asked.hours <= MAX_HOURS:
        raise ConfigError("by how many hours?", operator_hint="say hours above 0")
    if asked.order is Order.ACCEPT and not asked.why.strip():
        raise ConfigError("why is it enough?", operator_hint="say a reason: it is kept")
    progress = row.where
    orders = [*progress.orders, asked]
    await store.change(tx, row.asked, msgspec.structs.replace(progress, orders=orders))
    await _audit(
        tx, rollout, asked.by, str(asked.order), now_ms, why=asked.why[:MAX_NOTE_CHARS],
        hours=asked.hours,
    )  # fmt: skip
    return await _held(tx, rollout)


async def wake(tx: Tx, rollout: str) -> None:
    """Have every central on this database look at once, as soon as the transaction commits.

    Whoever stores an order calls it: the command line is another process, and so are replicas.
    """
    await tx.value("rollouts_notify", rollout=rollout)


def possible(state: RolloutState) -> list[str]:
    """Return the orders that a state allows, by name."""
    return [str(one) for one in Order if state in planner.FROM[one]]


async def choose(
    tx: Tx,
    rollout: str,
    devices: Sequence[str],
    how: str,
    *,
    actor: str,
    why: str = "",
    now_ms: int,
    check: Check = lambda _: None,
) -> Row:
    """Pin devices to the first stage, exclude them, include them again, or trust what they run.

    Raises:
        NoRollout: There is no such rollout.
        ConfigError: Too many names, or ones that are none.
    """
    row = await _held(tx, rollout)
    check(row)
    plan = chosen(row.asked, devices, how)
    wrong = complaints(plan)
    if wrong:
        raise ConfigError("; ".join(wrong[:5]), operator_hint="mend the names")
    await store.change(tx, plan, row.where)
    await store.note(
        tx, rollout, actor=actor, was=str(row.at), state=str(row.at), stage=row.stage,
        reason=f"{how}: {', '.join(sorted(devices)[:10])} {why}".strip(), now_ms=now_ms,
    )  # fmt: skip
    await _audit(tx, rollout, actor, how, now_ms, devices=sorted(devices)[:100], why=why)
    return await _held(tx, rollout)


def chosen(plan: Plan, devices: Sequence[str], how: str) -> Plan:
    """Return a plan in which devices have another part; `include` takes them out of every list."""
    named = set(devices)
    lists = {
        "pinned": set(plan.pinned) - named,
        "excluded": set(plan.excluded) - named,
        "trusted": set(plan.trusted) - (named if how == "include" else set()),
    }
    into = {"pin": "pinned", "exclude": "excluded", "trust": "trusted"}.get(how)
    if into is not None:
        lists[into] |= named
    return msgspec.structs.replace(plan, **{name: sorted(of) for name, of in lists.items()})


async def _held(tx: Tx, rollout: str) -> Row:
    row = await store.get(tx, rollout, hold=True)
    if row is None:
        raise NoRollout(f"there is no rollout {rollout[:64]!r}")
    return row


async def _audit(
    tx: Tx, rollout: str, actor: str, what: str, now_ms: int, **detail: object
) -> None:
    said = {name: value for name, value in detail.items() if value}
    await audit.write(
        tx, at_ms=now_ms, actor=actor, action=f"rollout.{what}", target=rollout, detail=said
    )
