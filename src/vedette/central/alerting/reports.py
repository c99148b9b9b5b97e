"""Trouble that devices tell of: their newest health reports against the rules that ask.

Here: which reports are looked at, and noting what they say. Not here: what a report says
(`judging`), when that counts (`lasting`). The jobs do this, each half a minute.

The rule: a report is looked at once, and only where a rule asks; one that is older than what a
device said since, or of a device that is not heard, says nothing of now.

Cost: benchmarks/bench_alert_rules.py.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from vedette.central.alerting import documents, judging, lasting, places, standing
from vedette.central.alerting.facts import Book, Health, Rule, Subject
from vedette.central.alerting.judging import CRASHED_MS, Bad, Judged, Report
from vedette.central.alerting.lasting import Row, Seen, key_of, subject_of
from vedette.central.store.db import Database, Tx

SOURCE: Final = "reports"
AT_ONCE: Final = 500
OVERLAP_MS: Final = 5_000
"""A report may be committed so much after the moment that it carries."""

STALE_MS: Final = 180_000
"""A report that was made so long before the device's last word says nothing of now."""

_MOST_CRASHES: Final = 100


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A device's newest report."""

    device: str
    site: str
    clock: str
    health: bytes
    made_ms: int
    contact_ms: int


class _Crashes(msgspec.Struct, frozen=True, kw_only=True):
    device: str
    crashes: int
    at_ms: list[int]


async def look(db: Database, now_ms: int) -> int:
    """Note what new reports say; return how many were looked at. A page is a transaction."""
    async with db.transaction() as tx:
        book = await documents.current(tx)
        looks = {row.source: row for row in await tx.all("alert_looks_all", standing.Look)}
    rules = asking(book)
    if not rules:
        return 0
    last = looks.get(SOURCE)
    since_ms = 0
    if last is not None and last.book == book.version and last.looked_ms <= now_ms:
        since_ms = last.looked_ms - OVERLAP_MS
    after, looked = "", 0
    while True:
        async with db.transaction() as tx:
            told = await _read(tx, since_ms, after)
            if told:
                await _page(tx, rules, told, now_ms)
            else:
                await standing.looked(tx, SOURCE, book, now_ms)
        looked += len(told)
        if not told:
            return looked
        after = told[-1].device


def asking(book: Book) -> list[Rule]:
    """Return the rules that reports answer."""
    return [rule for rule in book.enabled() if rule.health and rule.health.is_ in judging.ASKED]


async def _read(tx: Tx, since_ms: int, after: str) -> list[Told]:
    rows = await tx.packed("alert_reports", since_ms=since_ms, after=after, limit=AT_ONCE)
    return [
        Told(device=device, site=site, clock=clock, health=health, made_ms=made, contact_ms=contact)
        for device, site, clock, health, made, contact in rows
    ]


async def _page(tx: Tx, rules: Sequence[Rule], told: Sequence[Told], now_ms: int) -> None:
    kinds = {rule.health.is_ for rule in rules if rule.health}
    with_stages = Health.LATENCY_BUDGET in kinds
    reports = {
        one.device: report
        for one in told
        if one.contact_ms - one.made_ms <= STALE_MS
        and (report := judging.decode(one.health, with_stages=with_stages)) is not None
    }
    crashes: Mapping[str, list[int]] = {}
    if Health.PIPELINE_CRASHED in kinds:
        crashes = await _crashes(tx, reports, now_ms)
    names = [rule.rule for rule in rules]
    rows = await tx.all(
        "alert_conditions_of_devices", Row, rules=names, devices=[one.device for one in told]
    )
    of: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        of[row.rule, subject_of(row.subject).device].append(row)
    at = await standing.places_of(tx, rules, {one.site for one in told})
    seen: list[Seen] = []
    for one in told:
        report = reports.get(one.device)
        if report is None:
            continue
        had = crashes.get(one.device, [])
        for rule in rules:
            before = of.get((rule.rule, one.device), [])
            judged = _judged(rule, one, report, had)
            if judged.tells and (judged.bad or before):
                seen += said(rule, one, judged, before, at, now_ms)
    await lasting.take(tx, rules, seen, rows, now_ms)


def _judged(rule: Rule, one: Told, report: Report, crashes: list[int]) -> Judged:
    if rule.health is None:
        return judging.NOTHING
    match = rule.health
    return judging.judge(match.is_, match.above, report, clock=one.clock, crashes=crashes)


def said(  # noqa: PLR0917 - a rule, a report, and what was before
    rule: Rule,
    one: Told,
    judged: Judged,
    before: Iterable[Row],
    at: places.Places,
    now_ms: int,
) -> Iterable[Seen]:
    """Yield what a report says of the places that a rule asks about."""
    meant: set[str] = set()
    for bad in judged.bad:
        subject = _subject(one, bad)
        if places.holds(rule.where, subject, at):
            key = key_of(subject)
            meant.add(key)
            yield Seen(
                rule=rule.rule,
                subject=key,
                state="bad",
                at_ms=one.made_ms if bad.at_ms is None else bad.at_ms,
                value=bad.value,
                text=bad.text,
            )
    for row in before:
        if row.subject not in meant and subject_of(row.subject).camera not in judged.unclear:
            yield Seen(rule=rule.rule, subject=row.subject, state="well", at_ms=now_ms)


def _subject(one: Told, bad: Bad) -> Subject:
    return Subject(site=one.site, device=one.device, camera=bad.camera, what=bad.what)


async def _crashes(tx: Tx, reports: Mapping[str, Report], now_ms: int) -> dict[str, list[int]]:
    """Return when devices were seen to have crashed within the hour; what is new is kept."""
    known = {
        row.device: row
        for row in await tx.all("alert_crashes_read", _Crashes, devices=list(reports))
    }
    found: dict[str, list[int]] = {}
    changed: list[dict[str, object]] = []
    for device, report in reports.items():
        if report.pipeline is None:
            continue
        row = known.get(device)
        times = grown(row.crashes if row else None, report.pipeline.crashes, report.at_ms)
        fresh = [at_ms for at_ms in (row.at_ms if row else []) if at_ms > now_ms - CRASHED_MS]
        found[device] = [*fresh, *times][-_MOST_CRASHES:]
        if row is None or times or row.crashes != report.pipeline.crashes:
            crashes = report.pipeline.crashes
            changed.append({"device": device, "crashes": crashes, "at_ms": found[device]})
    await tx.many("alert_crashes_put", changed)
    return found


def grown(before: int | None, now: int, at_ms: int) -> list[int]:
    """Return a moment for each crash more than before; a count that fell began anew.

    The first that is heard of a device says nothing of when its crashes were.
    """
    if before is None:
        return []
    return [at_ms] * min(now - before if now >= before else now, _MOST_CRASHES)
