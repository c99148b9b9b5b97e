"""Exports in, pages out. Pure: no request, no database, no clock.

The rule: what keeps things from leaving stands first, in words, with what to do about it; what was
given up is counted beside what arrived, and "nothing was sent" is never shown as well.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote, urlencode

from vedette.central.alerting.channels.looking import ChannelState, ChannelView, DeliveryRow
from vedette.central.console.alerts import words
from vedette.central.console.alerts.channels import channel_url
from vedette.central.console.alerts.rules import Filled
from vedette.central.console.alerts.sentences import listed, where_text
from vedette.central.console.page import Page
from vedette.central.console.render import render
from vedette.central.console.words import EVENT_KINDS
from vedette.central.exporting.facts import MAX_LINK_HOURS, Export
from vedette.central.exporting.looking import LATELY_DAYS, ExportState, Standing

DONE: Final = {
    "made": "The export is there; what happens from now on is told. Try it before you rely on it.",
    "on": "The export is switched on: it is told of what happens from now on.",
    "off": "The export is switched off: what happens now is never told, its links have ended.",
    "removed": "The export is removed; the links that it gave out have ended.",
    "tried": "The newest event that it asks for was told once more: what came of it stands below.",
    "replayed": "What was given up is sent again.",
}

TOLD: Final = {"event": "events", "evidence": "evidence", "clip": "clips"}
"""What an export may be told of."""

_ORDER: Final = list(ExportState)[::-1]
"""The worst first."""


def export_url(export: str) -> str:
    """Return the URL of an export's page."""
    return f"/exports/{quote(export, safe='')}"


def deliveries_url(export: str, **more: str) -> str:
    """Return the URL of what an export had sent."""
    return f"/deliveries?{urlencode({'export': export} | more)}"


def tells_text(settings: Export) -> str:
    """Return what an export tells, as `events and clips, of line crossed, person only`."""
    told = [TOLD[one] for one in TOLD if not settings.tell or one in settings.tell]
    said = ", ".join(told[:-1]) + " and " + told[-1] if len(told) > 1 else told[0]
    if settings.kinds:
        said += f" of {listed([EVENT_KINDS.get(kind, str(kind)) for kind in settings.kinds])}"
    if settings.labels:
        said += f", of {listed(settings.labels)} only"
    return said if settings.late else f"{said}; nothing that came late"


def why_text(row: Standing) -> str:
    """Return why an export is not as it should be; empty where nothing is known to be wrong."""
    if row.state is not ExportState.FAILING:
        return row.view.trouble
    channel = row.channel
    is_ill = channel is not None and channel.state in {ChannelState.FAILING, ChannelState.RESTING}
    return channel.said if channel is not None and is_ill and channel.said else row.dead_said


def links_text(settings: Export) -> str:
    """Return what is said of its links."""
    if not settings.link_h:
        return "none"
    return f"to each file of a clip, good for {settings.link_h:g} h"


def command_of(settings: Export, *, enabled: bool) -> str:
    """Return what one types in a terminal to have the export as it is."""
    named = [("--tell", settings.tell), ("--kind", settings.kinds), ("--label", settings.labels)]
    where = settings.where
    named += [
        ("--site", where.sites),
        ("--folder", where.folders),
        ("--group", where.groups),
        ("--device", where.devices),
        ("--camera", where.cameras),
    ]
    parts = ["vedette central exports put", shlex.quote(settings.export)]
    parts.append(shlex.quote(settings.channel))
    parts += [f"{option} {shlex.quote(str(one))}" for option, given in named for one in given]
    if not settings.late:
        parts.append("--no-late")
    if settings.fetch:
        parts.append("--fetch")
    if settings.link_h != Export(export="", channel="").link_h:
        parts.append(f"--link-hours {settings.link_h:g}")
    return " ".join(parts if enabled else [*parts, "--off"])


def list_html(
    rows: Sequence[Standing],
    page: Page,
    *,
    carriers: Sequence[ChannelView] = (),
    fetches: int = 0,
    asked: Mapping[str, str] | None = None,
    done: str = "",
    problem: str = "",
) -> str:
    """Return all exports, those in trouble first; with the form for another.

    Args:
        carriers: Channels that an export can go by.
        fetches: How many clips wait until their devices can be asked for them.
        asked: What somebody typed; None: nothing yet. Then `problem` is about it and stands there.
    """
    is_of_form = asked is not None and bool(carriers)
    found = sorted(
        rows,
        key=lambda row: (_ORDER.index(row.state), not row.dead, row.view.settings.export),
    )
    return render(
        "alerts/exports.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url="/exports",
        rows=found,
        carriers=carriers,
        fetches=fetches,
        asked=Filled(asked or {}),
        fresh=asked is None,
        event_kinds=EVENT_KINDS,
        told=TOLD,
        max_link_h=MAX_LINK_HOURS,
        lately_days=LATELY_DAYS,
        words=words,
        export_url=export_url,
        channel_url=channel_url,
        deliveries_url=deliveries_url,
        tells_text=tells_text,
        why_text=why_text,
        where_text=where_text,
        done=DONE.get(done, ""),
        problem="" if is_of_form else problem,
        form_problem=problem if is_of_form else "",
    )


def export_html(
    row: Standing,
    deliveries: Sequence[DeliveryRow],
    page: Page,
    *,
    recent: int | None = None,
    done: str = "",
    problem: str = "",
) -> str:
    """Return one export; `recent`: how many events of late it asks for, where it was just tried."""
    settings = row.view.settings
    said = DONE.get(done, "")
    if recent is not None and done == "tried":
        said += f" It asks for {recent} of the newest events of seven days."
    return render(
        "alerts/export.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        row=row,
        settings=settings,
        deliveries=deliveries,
        words=words,
        url=export_url(settings.export),
        channel_url=channel_url(settings.channel),
        deliveries_url=deliveries_url,
        audit_url=f"/settings/audit?{urlencode({'who': f'link of {settings.export}'})}",
        tells=tells_text(settings),
        where=where_text(settings.where),
        links=links_text(settings),
        command=command_of(settings, enabled=row.view.enabled),
        lately_days=LATELY_DAYS,
        done=said,
        problem=problem,
    )
