"""Rollouts in, pages out. Pure: no request, no database, no clock.

The rule: every page says why a rollout is where it is, and the order that ends it is within reach.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from vedette.central.console.page import Page
from vedette.central.console.render import render
from vedette.central.console.rollouts import drawing, words
from vedette.central.rollouts.facts import RolloutState
from vedette.central.rollouts.forecast import Forecast
from vedette.central.rollouts.schedule import StageDates
from vedette.central.rollouts.views import (
    DeviceView,
    GateView,
    RolloutRow,
    RolloutView,
    StageView,
)

MAX_DEVICES: Final = 100
"""Rows of a table; the filter finds the others."""

MAX_UNASKED: Final = 40
"""Where nobody filters: what comes below the table must not be a hundred good devices away."""

DONE: Final = {
    "start": "It is started. The first devices get it in their local hours.",
    "pause": "It is paused: nothing more is assigned.",
    "resume": "It goes on.",
    "stop": "It is stopped: nothing more is assigned to anybody.",
    "roll_back": "Devices that took it are told to go back now.",
    "extend": "The stage has more time.",
    "pin": "That device belongs to the first stage now.",
    "exclude": "That device takes no part any more.",
    "include": "That device takes part as any other.",
    "trust": "What that device runs is trusted.",
    "accept": "The stage is accepted by your name.",
    "approve": "You agreed to it.",
    "made": "The rollout is drafted. Nothing is assigned before it is approved and started.",
}
"""What a page says was done; named in the address, so that nobody puts words into it by a link."""


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What the list's URL asks for. `state`: a state, `open` or empty."""

    state: str = ""
    kind: str = ""
    q: str = ""

    def query(self, **changes: str) -> str:
        """Return these filters as a query string, some of them changed, empty ones left out."""
        named = {"state": self.state, "kind": self.kind, "q": self.q} | changes
        return urlencode({key: value for key, value in named.items() if value})


class DeviceQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What the URL of one rollout asks of its devices. `state`: `none` for nothing assigned yet."""

    state: str = ""
    stage: str = ""
    q: str = ""

    def query(self, **changes: str) -> str:
        """Return these filters as a query string, some of them changed, empty ones left out."""
        named = {"state": self.state, "stage": self.stage, "q": self.q} | changes
        return urlencode({key: value for key, value in named.items() if value})


def rollout_url(rollout: str) -> str:
    """Return the URL of a rollout's page."""
    return f"/rollouts/{quote(rollout, safe='')}"


def title_of(row: RolloutRow) -> str:
    """Return what a rollout is called: name and version of what it brings."""
    artefact = row.plan.artefact
    name = artefact.name or row.plan.slot or artefact.target
    return f"{name} {artefact.version}".strip()


def with_devices(view: RolloutView, devices: list[DeviceView]) -> RolloutView:
    """Return the same with the devices that the filters are about."""
    return msgspec.structs.replace(view, devices=devices)


def with_orders(view: RolloutView, orders: list[str]) -> RolloutView:
    """Return the same with all that can be ordered here."""
    return msgspec.structs.replace(view, orders=orders)


def stage_title(
    stage: StageView | StageDates, stages: Sequence[StageView] | Sequence[StageDates]
) -> str:
    """Return what a stage is called; waves are numbered where there are several."""
    word = words.rollout_word(stage.state).word
    same = [one for one in stages if one.state == stage.state]
    return f"{word} {same.index(stage) + 1}" if len(same) > 1 else word


class _Shown(msgspec.Struct, frozen=True):
    """A rollout of the list with what is drawn of it."""

    row: RolloutRow
    title: str
    url: str
    shares: list[drawing.Share]


def _shown(row: RolloutRow) -> _Shown:
    return _Shown(row, title_of(row), rollout_url(row.plan.rollout), drawing.shares(row.counts))


def list_html(rows: Sequence[RolloutRow], query: ListQuery, page: Page) -> str:
    """Return the list of rollouts: what needs a person first, then the newest."""
    found = [row for row in rows if _is_wanted(row, query)]
    found.sort(key=lambda row: (_rank(row), -row.since_ms))
    return render(
        "rollouts/list_body.html" if page.part else "rollouts/list.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        query=query,
        rows=[_shown(row) for row in found],
        total=len(rows),
        tallies=_tallies(rows),
        words=words,
        stage_title=stage_title,
    )


def _rank(row: RolloutRow) -> tuple[bool, int]:
    ended = row.state not in words.UNDER_WAY and row.state not in {
        RolloutState.DRAFT,
        RolloutState.GATED,
        RolloutState.APPROVED,
    }
    return (ended, 0 if ended else words.ROLLOUT_ORDER.get(row.state, 0))


def _is_wanted(row: RolloutRow, query: ListQuery) -> bool:
    if query.state == "open" and row.state not in words.UNDER_WAY:
        return False
    if query.state not in {"", "open"} and row.state != query.state:
        return False
    if query.kind and row.plan.kind != query.kind:
        return False
    told = f"{title_of(row)} {row.plan.slot} {row.plan.rollout} {row.made_by}".casefold()
    return query.q.casefold() in told


def _tallies(rows: Sequence[RolloutRow]) -> list[tuple[str, int]]:
    counted = {state: sum(row.state == state for row in rows) for state in words.ROLLOUTS}
    return [(state, count) for state, count in counted.items() if count]


class _Gate(msgspec.Struct, frozen=True):
    """A gate with what is drawn of it."""

    view: GateView
    title: str
    about: str
    interval: drawing.Interval | None
    course: drawing.Course | None


def _gates(views: Sequence[GateView]) -> dict[str, list[_Gate]]:
    """Return gates by group, in the order of `words.GROUPS`, the worst first."""
    order = list(words.VERDICTS)
    found: dict[str, list[_Gate]] = {}
    known = [*words.GROUPS, *{view.group for view in views if view.group not in words.GROUPS}]
    for group in known:
        mine = sorted(
            (view for view in views if view.group == group),
            key=lambda view: order.index(view.verdict),
        )
        if mine:
            found[group] = [_gate(view) for view in mine]
    return found


def _gate(view: GateView) -> _Gate:
    title, about = words.GATES.get(view.gate, (view.gate.replace("_", " ").capitalize(), ""))
    return _Gate(view, title, about, drawing.interval(view), drawing.course(view))


def sorted_devices(devices: Sequence[DeviceView]) -> list[DeviceView]:
    """Return devices, the worst first; of the same state, those whose stage came earlier."""

    def key(one: DeviceView) -> tuple[int, int, str, str]:
        rank = words.DEVICE_ORDER.get(one.state or words.NOTHING_YET, 0)
        return (rank, 10_000 if one.stage is None else one.stage, one.site, one.device)

    return sorted(devices, key=key)


def _device_wanted(one: DeviceView, query: DeviceQuery) -> bool:
    if not query.query():
        return one.state is not None
    if query.state == "control":
        return one.is_control
    if query.state and (one.state or "none") != query.state:
        return False
    if query.stage and str(one.stage) != query.stage:
        return False
    told = f"{one.device} {one.site} {one.site_name} {one.hardware} {one.problem}".casefold()
    return query.q.casefold() in told


def _found(row: RolloutRow, query: DeviceQuery, found: Sequence[DeviceView]) -> int:
    """Return how many devices match: all are counted, even where only some were read."""
    if query.q or query.stage or query.state == "control":
        return len(found)
    if query.state:
        return row.counts.get(words.NOTHING_YET if query.state == "none" else query.state, 0)
    return row.devices - row.counts.get(words.NOTHING_YET, 0)


def rollout_html(
    view: RolloutView, query: DeviceQuery, page: Page, *, done: str = "", problem: str = ""
) -> str:
    """Return the page of one rollout, or its live part."""
    row = view.row
    found = [one for one in sorted_devices(view.devices) if _device_wanted(one, query)]
    orders = [name for name in words.ORDERS if name in view.orders]
    own = page.looker.username == row.made_by
    return render(
        "rollouts/one_body.html" if page.part else "rollouts/one.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        view=view,
        row=row,
        title=title_of(row),
        url=rollout_url(row.plan.rollout),
        query=query,
        shares=drawing.shares(row.counts),
        gates=_gates(view.gates),
        devices=found[: MAX_DEVICES if query.query() else MAX_UNASKED],
        found=_found(row, query, found),
        chosen=[one for one in view.chosen if one.why],
        orders=orders,
        not_yet=row.counts.get(words.NOTHING_YET, 0),
        quick=[name for name in orders if name in words.QUICK],
        slow=[one for one in orders if one not in words.QUICK and one != "approve"],
        may_agree="approve" in orders and not own,
        words=words,
        stage_title=stage_title,
        soak_percent=drawing.soak_percent,
        done=DONE.get(done, ""),
        problem=problem,
    )


def confirm_html(view: RolloutView, order: str, page: Page, *, problem: str = "") -> str:
    """Return the page that says what an order does, with the form that gives it."""
    row = view.row
    took = [one for one in view.devices if one.running and one.running == row.plan.artefact.digest]
    return render(
        "rollouts/confirm.html",
        looker=page.looker,
        now_ms=page.now_ms,
        row=row,
        title=title_of(row),
        url=rollout_url(row.plan.rollout),
        order=order,
        spoken=words.ORDERS[order],
        devices=sorted_devices(view.devices),
        took=len(took),
        words=words,
        problem=problem,
    )


def plan_html(row: RolloutRow, laid_out: Forecast, page: Page) -> str:
    """Return the dry run: which devices in which stage, and when at the earliest."""
    return render(
        "rollouts/plan.html",
        looker=page.looker,
        now_ms=page.now_ms,
        row=row,
        plan=laid_out,
        title=title_of(row),
        url=rollout_url(row.plan.rollout),
        words=words,
        stage_title=stage_title,
        shown=MAX_DEVICES,
    )
