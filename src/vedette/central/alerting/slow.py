"""Trouble that takes computing: coverage below what was promised, accuracy, drift.

Here: what each of the three can say, when it is computed, and noting it. The jobs do this.

    coverage   this month so far against the objective of the site, each quarter of an hour
    accuracy   what people said of events of the last week, each quarter of an hour
    drift      yesterday's confidences against those of the week before, once a day

The rule: each says what it cannot judge, and that changes nothing. People look at what looks odd,
so `accuracy` tells how often somebody had to step in, not a model's error; and other confidences
tell that pictures or scenes are other, not that the model is wrong.

Source: total variation distance: D. A. Levin and Y. Peres, "Markov Chains and Mixing Times", 2nd
edition, 2017, section 4.1.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from vedette.central import tree
from vedette.central.alerting import documents, judging, lasting, places, standing
from vedette.central.alerting.facts import Book, Health, Rule, Subject
from vedette.central.alerting.lasting import Row, Seen, key_of
from vedette.central.business import slo
from vedette.central.business.slo import SiteReport
from vedette.central.rollups import DAY_MS, HOUR_MS
from vedette.central.store.db import Database, Tx
from vedette.errors import ConfigError
from vedette.stats.intervals import clopper_pearson
from vedette.wire.messages import Bins

EACH_MS: Final = 15 * 60_000
WEEK_MS: Final = 7 * DAY_MS
LEAST_JUDGED: Final = 20
MOST_JUDGED: Final = 100_000
LEAST_DETECTIONS: Final = 500
LEAST_DAYS: Final = 3
DEVICES_AT_ONCE: Final = 100
SETTLED_MS: Final = 2 * HOUR_MS
"""So long after midnight UTC yesterday is merged."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said of one subject."""

    subject: Subject
    is_bad: bool
    at_ms: int
    value: float | None = None
    text: str = ""


async def look(db: Database, now_ms: int) -> None:
    """Compute what is due and note it, each source in a transaction of its own."""
    async with db.transaction() as tx:
        book = await documents.current(tx)
        looks = {row.source: row for row in await tx.all("alert_looks_all", standing.Look)}
    for source, health, judge in (
        ("coverage", Health.COVERAGE, coverage),
        ("accuracy", Health.ACCURACY, accuracy),
    ):
        rules = _asking(book, health)
        if rules and _is_time(looks.get(source), book, now_ms):
            async with db.transaction() as tx:
                await _note(tx, rules, await judge(tx, rules, now_ms), now_ms)
                await standing.looked(tx, source, book, now_ms)
    rules = _asking(book, Health.DRIFT)
    if rules:
        await _drift(db, book, rules, looks.get("drift"), now_ms)


def _asking(book: Book, health: Health) -> list[Rule]:
    return [rule for rule in book.enabled() if rule.health and rule.health.is_ is health]


def _is_time(last: standing.Look | None, book: Book, now_ms: int) -> bool:
    return last is None or last.book != book.version or not 0 <= now_ms - last.looked_ms < EACH_MS


Verdicts = Mapping[str, Sequence[Verdict]]
"""By rule: each has its own number to pass."""


async def _note(
    tx: Tx,
    rules: Sequence[Rule],
    told: Verdicts,
    now_ms: int,
    devices: Sequence[str] | None = None,
) -> None:
    names = [rule.rule for rule in rules]
    if devices is None:
        rows = await tx.all("alert_conditions_of_rules", Row, rules=names)
    else:
        rows = await tx.all("alert_conditions_of_devices", Row, rules=names, devices=list(devices))
    sites = {one.subject.site for listed in told.values() for one in listed}
    at = await standing.places_of(tx, rules, sites)
    there = {(row.rule, row.subject) for row in rows}
    seen: list[Seen] = []
    for rule in rules:
        for one in told.get(rule.rule, ()):
            key = key_of(one.subject)
            is_bad = one.is_bad and places.holds(rule.where, one.subject, at)
            if is_bad or (rule.rule, key) in there:
                seen.append(
                    Seen(
                        rule=rule.rule,
                        subject=key,
                        state="bad" if is_bad else "well",
                        at_ms=one.at_ms if is_bad else now_ms,
                        value=one.value,
                        text=one.text,
                    )
                )
    await lasting.take(tx, rules, seen, rows, now_ms)


def _above(rule: Rule) -> float:
    match = rule.health
    return judging.above_of(match.is_, match.above) if match else 0.0


# ------------------------------------------------------------------------------------- coverage


async def coverage(tx: Tx, rules: Sequence[Rule], now_ms: int) -> dict[str, list[Verdict]]:
    """Return, by rule, the sites that spent more of this month's budget than it allows."""
    try:
        report = await slo.report(
            tx, await tree.sites(tx, None), month=slo.this_month(now_ms), now_ms=now_ms
        )
    except ConfigError:
        return {}  # it has begun nowhere yet
    return {
        rule.rule: [one for site in report.sites for one in coverage_of(site, _above(rule), now_ms)]
        for rule in rules
    }


def coverage_of(site: SiteReport, above: float, at_ms: int) -> Iterable[Verdict]:
    """Yield what can be said of a site's month: nothing where little is accountable or waits."""
    if site.verdict == "too_little" or site.spent is None or site.fraction is None:
        return
    is_bad = site.spent > above
    could_be = site.spent + site.pending_s / site.budget_s if site.budget_s > 0 else 0.0
    if not is_bad and could_be > above:
        return  # what waits on devices decides
    causes = sorted(site.lost_s.items(), key=lambda cause: -cause[1])[:2]
    why = ", ".join(f"{cause} {lost_s / 3600:.1f} h" for cause, lost_s in causes)
    text = (
        f"{site.fraction * 100:.2f} % observed, {site.objective_percent:g} % promised;"
        f" {site.spent * 100:.0f} % of the budget spent" + (f": {why}" if why else "")
    )
    yield Verdict(
        subject=Subject(site=site.site), is_bad=is_bad, at_ms=at_ms, value=site.spent, text=text
    )


# ------------------------------------------------------------------------------------- accuracy


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """People's words on one camera's events."""

    site: str
    device: str
    camera: str
    agreed: int
    overridden: int


async def accuracy(tx: Tx, rules: Sequence[Rule], now_ms: int) -> dict[str, list[Verdict]]:
    """Return, by rule, the cameras of which people overrode surely more than it allows."""
    found = await tx.all("alert_overridden", Said, from_ms=now_ms - WEEK_MS, to_ms=now_ms + 1)
    return {
        rule.rule: [one for said in found for one in accuracy_of(said, _above(rule), now_ms)]
        for rule in rules
    }


def accuracy_of(said: Said, above: float, at_ms: int) -> Iterable[Verdict]:
    """Yield what can be said of a camera: nothing of fewer than `LEAST_JUDGED` words."""
    judged = said.agreed + said.overridden
    if not LEAST_JUDGED <= judged <= MOST_JUDGED:
        return
    share = said.overridden / judged
    interval = clopper_pearson(said.overridden, judged)
    if interval is None:
        return
    low, high = interval
    if share > above >= low:
        return  # it may be by chance
    yield Verdict(
        subject=Subject(site=said.site, device=said.device, camera=said.camera),
        is_bad=low > above,
        at_ms=at_ms,
        value=share,
        text=(
            f"{said.overridden} of {judged} answers that people looked at were wrong"
            f" ({low * 100:.0f} to {high * 100:.0f} %)"
        ),
    )


# ---------------------------------------------------------------------------------------- drift


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """A merged day as far as it matters here; `model` has several names where it changed."""

    model: str = ""
    confidence: dict[str, Bins] = {}


_day = msgspec.msgpack.Decoder(Day).decode


async def _drift(
    db: Database, book: Book, rules: Sequence[Rule], last: standing.Look | None, now_ms: int
) -> None:
    """Note drift on the next devices, by name, until all were looked at for this day."""
    day_ms = (now_ms - SETTLED_MS) // DAY_MS * DAY_MS - DAY_MS
    for_, _, after = (last.mark if last else "").partition("|")
    if last is None or last.book != book.version or for_ != str(day_ms):
        after = ""
    elif after == "*":
        return
    async with db.transaction() as tx:
        devices = [
            str(device)
            for (device,) in await tx.tuples(
                "alert_devices_after", after=after, limit=DEVICES_AT_ONCE
            )
        ]
        told = await drift(tx, rules, devices, day_ms, now_ms)
        await _note(tx, rules, told, now_ms, devices)
        on = devices[-1] if len(devices) == DEVICES_AT_ONCE else "*"
        await standing.looked(tx, "drift", book, now_ms, f"{day_ms}|{on}")


async def drift(
    tx: Tx, rules: Sequence[Rule], devices: Sequence[str], day_ms: int, now_ms: int
) -> dict[str, list[Verdict]]:
    """Return, by rule, cameras whose confidences of a day are other than in the week before."""
    rows = await tx.packed(
        "alert_day_bodies", devices=list(devices), from_ms=day_ms - WEEK_MS, to_ms=day_ms + DAY_MS
    )
    of: dict[tuple[str, str, str], dict[int, Day]] = defaultdict(dict)
    for site, device, camera, start_ms, body in rows:
        of[site, device, camera][start_ms] = _day(body)
    found: dict[str, list[Verdict]] = defaultdict(list)
    for (site, device, camera), days in of.items():
        distance = drifted(days, day_ms)
        if distance is None:
            continue
        label, far = distance
        for rule in rules:
            found[rule.rule].append(
                Verdict(
                    subject=Subject(site=site, device=device, camera=camera),
                    is_bad=far > _above(rule),
                    at_ms=now_ms,
                    value=far,
                    text=f"confidences of {label} moved by {far * 100:.0f} % in a day",
                )
            )
    return found


def drifted(days: Mapping[int, Day], day_ms: int) -> tuple[str, float] | None:
    """Return the class whose confidences moved most, and by how much, 0 to 1; None: cannot tell.

    The total variation distance between the day and the days before under the same model. It cannot
    be told without the day, of another model, of fewer than `LEAST_DAYS` days before, or where no
    class was detected often enough on both sides.
    """
    day = days.get(day_ms)
    if day is None or not day.model or "," in day.model:
        return None
    before = [one for at, one in days.items() if at != day_ms and one.model == day.model]
    if len(before) < LEAST_DAYS:
        return None
    worst: tuple[str, float] | None = None
    for label, bins in day.confidence.items():
        was = [one.confidence[label].counts for one in before if label in one.confidence]
        was = [counts for counts in was if len(counts) == len(bins.counts)]
        summed = [sum(column) for column in zip(*was, strict=True)]
        n, m = sum(bins.counts), sum(summed)
        if min(n, m) < LEAST_DETECTIONS:
            continue
        far = sum(abs(a / n - b / m) for a, b in zip(bins.counts, summed, strict=True)) / 2
        if worst is None or far > worst[1]:
            worst = label, far
    return worst
