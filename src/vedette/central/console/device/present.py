"""A device's view in, its page out. Pure: no request, no database, no clock."""

from typing import Final
from urllib.parse import urlencode

import msgspec

from vedette.central.condition import advice
from vedette.central.condition.reading import DeviceView, Machine
from vedette.central.console.device.answers import KINDS as KIND_WORDS
from vedette.central.console.device.answers import Answer
from vedette.central.console.device.confirming import actions_of
from vedette.central.console.page import Page
from vedette.central.console.ranges import RANGES, causes_in
from vedette.central.console.render import render
from vedette.central.console.site.labels import label_text
from vedette.central.console.urls import device_url
from vedette.central.diagnosing import Diagnostic
from vedette.central.timeline.merging import Entry
from vedette.central.timeline.words import KINDS

DONE: Final = {
    "picture": "Asked for a picture; it comes with the device's next contact.",
    "labels": "Labels changed, and written into the audit log.",
    "release": "Released: what was set aside is counted, and it counts again.",
    "drop": "What was set aside is dropped; the quarantine goes on.",
    "revoke": "Revoked: nothing is taken from it any more.",
    "rotate-key": "Asked for another key; it makes one at its next contact.",
}
"""What a form did, by the word that it leaves in the URL."""

_BELOW: Final = "The parts of the machine below say what to do."

DEVICE_RANGES: Final = ("1h", "6h", "24h", "7d")
DEFAULT: Final = "6h"

REBOOTS: Final = {
    "clean": "shut down in order",
    "update": "for an update of the system",
    "kernel_panic": "the kernel failed",
    "thermal": "too hot",
    "watchdog": "it hung, and its watchdog restarted it",
    "power_lost": "it lost power",
    "unknown": "not in order; this machine cannot tell why",
    "": "not told",
}

CLOCKS: Final = {
    "trusted": "agreed with central",
    "floor": "not confirmed since it started",
    "untrusted": "known to be wrong",
}


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a timeline, its filter, and where it goes on."""

    entries: list[Entry] = []
    kind: str = ""
    is_first: bool = True
    older: str = ""
    links: dict[str, str] = {}


def timeline_of(
    page: tuple[list[Entry], str | None], base: str, range_name: str, kind: str, before: str
) -> Timeline:
    """Return a page of a timeline with the addresses of its filters and of the next."""

    def url(**more: str) -> str:
        query = {key: value for key, value in {"range": range_name, **more}.items() if value}
        return f"{base}?{urlencode(query)}#h-timeline"

    entries, further = page
    return Timeline(
        entries=entries,
        kind=kind,
        is_first=not before,
        older=url(kind=kind, before=further) if further else "",
        links={name: url(kind=name) for name in ("", *KINDS)},
    )


class May(msgspec.Struct, frozen=True, kw_only=True):
    """What whoever looks may do here."""

    operate: bool = False
    administer: bool = False


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What a device's page shows beside its view: range, what was just done, what may be done."""

    range_name: str = DEFAULT
    done: str = ""
    problem: str = ""
    may: May = May()
    timeline: Timeline = Timeline()
    asked: list[Diagnostic] = []


def answer_html(machine: Machine, asked: Diagnostic, answer: Answer | None, page: Page) -> str:
    """Return the page of one question: how far it is, or its answer."""
    return render(
        "device/answer_body.html" if page.part else "device/answer.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        base_url=device_url(machine.site, machine.device),
        machine=machine,
        asked=asked,
        answer=answer,
        kind=KIND_WORDS.get(asked.kind, asked.kind),
    )


def device_html(view: DeviceView, shown: Shown, page: Page) -> str:
    """Return a device's page, or its live part."""
    machine, row = view.machine, view.row
    base = device_url(machine.site, machine.device)
    strips = [camera.strip for camera in row.cameras]
    span_ms = view.to_ms - view.from_ms
    holes = any(sum(s.end_ms - s.start_ms for s in strip) < span_ms - 1000 for strip in strips)
    found = [
        msgspec.structs.replace(one, todo=_BELOW) if one.todo == advice.PROBLEM else one
        for one in advice.findings_of(row)
    ]
    return render(
        "device/body.html" if page.part else "device/page.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        base_url=base,
        view=view,
        machine=machine,
        row=row,
        report=view.report,
        state=row.state,
        findings=found,
        hottest=max(view.report.system.temperatures_c.values(), default=None)
        if view.report
        else None,
        reboots=REBOOTS,
        clocks=CLOCKS,
        ranges=[(name, RANGES[name][0]) for name in DEVICE_RANGES],
        range_name=shown.range_name,
        range_links={name: f"{base}?range={name}" for name in DEVICE_RANGES},
        causes_seen=causes_in(strips, holes=holes),
        done=DONE.get(shown.done, ""),
        problem=shown.problem,
        may=shown.may,
        timeline=shown.timeline,
        kinds=KINDS,
        asked=shown.asked,
        kind_words=KIND_WORDS,
        actions=actions_of(machine),
        label_text=label_text(view.labels),
        held_back_s=sum(one.end_ms - one.start_ms for one in view.held_back) / 1000,
    )
