"""Rules in, pages out. Pure: no request, no database, no clock.

The rule: before a rule is switched on, the page says what it would have done, and how much of the
past that was read from; what somebody typed is on the page again whatever became of it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from vedette.central.alerting import replay
from vedette.central.alerting.applying import Outcome
from vedette.central.alerting.facts import Severity, Subject
from vedette.central.alerting.history import Hindsight
from vedette.central.alerting.views import RuleRow
from vedette.central.console.alerts import sentences, words
from vedette.central.console.page import Page
from vedette.central.console.render import render
from vedette.central.console.words import EVENT_KINDS
from vedette.central.rollups import DAY_MS

DONE: Final = {
    "kept": "The rule is kept; it counts from now on.",
    "back": "The rule says again what it said then; that is a version of its own.",
    "on": "The rule is switched on.",
    "off": "The rule is switched off. Its open incidents end by themselves.",
    "removed": "The rule is removed. Its past incidents stay.",
    "started": "These rules count from now on. Try each on history, and change what is not yours.",
    "applied": "It is as the file says.",
}
DAYS: Final = (1, 7, 28)
"""So many days of history a rule can be tried on, today included."""

_RANKS: Final = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule would have done in a time.

    Attributes:
        told: Part of it that history can tell of, 0 to 1; None: of nothing.
        observed: Part of camera time that was seen, for rules of events; None: not asked.
        days: Count by day, oldest first; None: nothing is known of that day.
        places: Where most, with their counts.
        examples: Times and places of the first ones, and why nobody would have been told.
        notes: What was looked at, where that is not everything.
        inhibited, silenced: Of `fired`: nobody would have been told.
        outside_hours, late: Besides `fired`.
    """

    from_ms: int
    to_ms: int
    fired: int
    told: float | None = 1.0
    observed: float | None = None
    days: list[tuple[int, int | None]] = []
    places: list[tuple[str, int]] = []
    examples: list[tuple[int, str, str]] = []
    notes: list[str] = []
    inhibited: int = 0
    silenced: int = 0
    outside_hours: int = 0
    late: int = 0


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a document; `removed`: it said that there is none any more.

    Attributes:
        changed: What of it was other than before, a line each.
        may_return: It can be had again.
    """

    version: int
    changed_by: str
    changed_ms: int
    note: str = ""
    removed: bool = False
    changed: list[str] = []
    may_return: bool = False


class Filled(dict[str, str]):
    """What a form was filled in with; what it was not is empty."""

    def __missing__(self, _key: str) -> str:
        """Return nothing."""
        return ""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The rules to begin with, for who may have them at once: how many, and whom they can tell."""

    rules: int
    off: int
    tells: list[str] = []


class Edited(msgspec.Struct, frozen=True, kw_only=True):
    """A rule as it is edited.

    Attributes:
        name: Empty: a new one.
        row: As it stands; None: there is none, or none any more.
        text: What is in the field.
        doubts: What may not be meant so.
        likes: What a new one can begin with.
    """

    name: str = ""
    row: RuleRow | None = None
    text: str
    note: str = ""
    doubts: list[str] = []
    versions: list[Version] = []
    likes: list[str] = []
    days: int = 7
    tried: Tried | None = None


def rule_url(rule: str) -> str:
    """Return the URL of a rule's page."""
    return f"/rules/{quote(rule, safe='')}"


def tried_of(found: Hindsight) -> Tried:
    """Return what a look into history came to, day by day in UTC."""
    fired = found.fired
    until_ms = found.to_ms if found.until_ms is None else found.until_ms
    days: list[tuple[int, int | None]] = []
    for day_ms in range(found.from_ms // DAY_MS * DAY_MS, found.to_ms, DAY_MS):
        is_known = found.told is not None and day_ms < until_ms and day_ms + DAY_MS > found.since_ms
        days.append((day_ms, fired.by_day.get(replay.day_of(day_ms), 0) if is_known else None))
    return Tried(
        from_ms=found.from_ms,
        to_ms=found.to_ms,
        fired=fired.fired,
        told=found.told,
        observed=found.observed,
        days=days,
        places=fired.worst[:5],
        examples=[
            (one.at_ms, _place(one.subject), _why_quiet(one.kept_quiet)) for one in fired.examples
        ],
        notes=found.cannot,
        inhibited=fired.inhibited,
        silenced=fired.silenced,
        outside_hours=fired.outside_hours,
        late=fired.late,
    )


def _place(subject: Subject) -> str:
    parts = (subject.site, subject.device, subject.camera, subject.place, subject.what)
    return "/".join(part for part in parts if part) or "the fleet"


def _why_quiet(kept_quiet: str) -> str:
    return {"": "", "dark": "under a dark site or device"}.get(kept_quiet, "silenced")


def list_html(
    rows: Sequence[RuleRow],
    page: Page,
    *,
    whole: bool = True,
    start: Start | None = None,
    removed: str = "",
    done: str = "",
    problem: str = "",
) -> str:
    """Return all rules: those that hold now first, then by severity."""
    found = sorted(
        rows,
        key=lambda row: (
            not row.rule.enabled, not row.open, _RANKS[row.rule.severity], row.rule.rule
        ),
    )  # fmt: skip
    return render(
        "alerts/rules.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        rows=found,
        whole=whole,
        start=start,
        removed=removed,
        words=words,
        sentences=sentences,
        rule_url=rule_url,
        done=DONE.get(done, ""),
        problem=problem,
    )


def rule_html(
    edited: Edited, page: Page, *, whole: bool = True, done: str = "", problem: str = ""
) -> str:
    """Return the page of one rule with the text that people edit."""
    tried = edited.tried
    return render(
        "alerts/rule.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        edited=edited,
        row=edited.row,
        tried=tried,
        most=max((count or 0 for _, count in tried.days), default=0) if tried else 0,
        choices=DAYS,
        whole=whole,
        words=words,
        event_kinds=EVENT_KINDS,
        sentences=sentences,
        url=rule_url(edited.name) if edited.name else "/rules/new",
        done=DONE.get(done, ""),
        problem=problem,
    )


def file_html(
    text: str,
    page: Page,
    *,
    book: int,
    asked: Mapping[str, str] | None = None,
    outcome: Outcome | None = None,
    done: str = "",
    problem: str = "",
) -> str:
    """Return the page of the whole file, with what it would change where that was asked."""
    changes = [] if outcome is None else outcome.changes
    return render(
        "alerts/rules_file.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        text=text,
        book=book,
        looked=looked_at(text, prune=(asked or {}).get("prune") == "yes"),
        asked=Filled(asked or {}),
        outcome=outcome,
        changes=[one for one in changes if one.what not in {"same", "kept"}],
        same=sum(one.what == "same" for one in changes),
        kept=[f"{one.kind} {one.name}" for one in changes if one.what == "kept"],
        done=DONE.get(done, ""),
        problem=problem,
    )


def looked_at(text: str, *, prune: bool) -> str:
    """Return what tells one file from another: what is applied is what was looked at."""
    digest = hashlib.blake2b(text.encode(errors="replace"), digest_size=16)
    return f"{digest.hexdigest()}{'-prune' if prune else ''}"


def said_meanwhile(rule: str, versions: Sequence[Version]) -> str:
    """Return that somebody changed a rule while it was edited, who and what."""
    if not versions:
        return f"The rule {rule} was changed while you wrote. Your text is below."
    last = versions[0]
    what = "removed it" if last.removed else f"wrote version {last.version}"
    changed = f" ({'; '.join(last.changed[:5])})" if last.changed else ""
    return (
        f"{last.changed_by} {what} while you wrote{changed}. Your text is below as you left it:"
        " keeping it now writes it over that."
    )
