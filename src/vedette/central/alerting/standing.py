"""Trouble that stands in central's own tables: who is dark, down, tampered, quarantined, reverted.

Here: reading it, and noting it for the rules that ask. Not here: what reports tell (`reports`),
and what takes computing (`slow`).

The rule: all that is in trouble has one number per source; while that number is as it was, nothing
is read. A camera that is down cannot be judged as to tampering, one of a dark device as to nothing.
"""

import zlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from vedette.central.alerting import lasting, places, unlisted, wording
from vedette.central.alerting.facts import (
    MAX_TEXT_CHARS,
    Book,
    Health,
    Rule,
    Subject,
    Where,
)
from vedette.central.alerting.lasting import Row, Seen, key_of, subject_of
from vedette.central.alerting.places import Places
from vedette.central.alerting.unlisted import Gone
from vedette.central.store.db import Tx

LOOK_MS: Final = 2_000
"""As often as liveness turns."""

AFRESH_MS: Final = 300_000
"""So often it is read whatever its number: folders and groups may have changed meanwhile."""

NEWS_MS: Final = 86_400_000
"""So long a rollout that ended badly is trouble."""

SOURCES: Final[dict[str, frozenset[Health]]] = {
    "devices": frozenset({Health.DEVICE_DARK, Health.QUARANTINED}),
    "sites": frozenset({Health.SITE_DARK}),
    "cameras": frozenset({Health.CAMERA_DOWN, Health.TAMPERED, Health.DEGRADED}),
    "slots": frozenset({Health.UPDATE_FAILED}),
    "rollouts": frozenset({Health.ROLLOUT}),
}


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Something is wrong with something."""

    health: Health
    subject: Subject
    at_ms: int
    value: float | None = None
    text: str = ""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `alert_looks`."""

    source: str
    looked_ms: int
    book: int
    mark: str


async def look(tx: Tx, book: Book, now_ms: int) -> int:
    """Note what began and what ended in central's tables; return how many rows that changed."""
    asked = {rule.health.is_ for rule in book.enabled() if rule.health is not None}
    looks = {row.source: row for row in await tx.all("alert_looks_all", Look)}
    moved = await _strays(tx, book, looks.get("strays"), now_ms)
    if not any(kinds & asked for kinds in SOURCES.values()) or not _is_time(looks, now_ms):
        return moved
    marks = {str(source): str(mark) for source, mark in await tx.tuples("alert_marks")}
    for source in ("cameras", "slots"):  # read of devices that are heard alone
        marks[source] += f" of {marks['devices']}"
    kept = looks.get(unlisted.SOURCE)
    lost = unlisted.read(kept.mark) if kept else frozenset[Gone]()
    marks["cameras"] += f" without {zlib.crc32(repr(sorted(lost)).encode())}" if lost else ""
    for source, kinds in SOURCES.items():
        last, mark = looks.get(source), marks[source]
        rules = [rule for rule in book.enabled() if rule.health and rule.health.is_ in kinds]
        is_same = last is not None and (last.book, last.mark) == (book.version, mark)
        if not rules or (is_same and last and 0 <= now_ms - last.looked_ms < AFRESH_MS):
            continue
        found = [one for one in await _READ[source](tx, now_ms) if _place(one) not in lost]
        moved += await _note(tx, rules, found, lost, now_ms)
        await looked(tx, source, book, now_ms, mark)
    await looked(tx, "standing", book, now_ms)
    return moved


async def lose(tx: Tx, book: Book, now_ms: int) -> None:
    """End what is held of devices that are not there any more, each `AFRESH_MS`."""
    last = next(
        (one for one in await tx.all("alert_looks_all", Look) if one.source == "lost"), None
    )
    if last is None or not 0 <= now_ms - last.looked_ms < AFRESH_MS:
        await tx.run("alert_conditions_lost", now_ms=now_ms)
        await looked(tx, "lost", book, now_ms)


async def looked_ms(tx: Tx, source: str) -> int | None:
    """Return when a source was looked at last."""
    looks = await tx.all("alert_looks_all", Look)
    return next((one.looked_ms for one in looks if one.source == source), None)


def _is_time(looks: dict[str, Look], now_ms: int) -> bool:
    last = looks.get("standing")
    return last is None or not 0 <= now_ms - last.looked_ms < LOOK_MS


async def looked(tx: Tx, source: str, book: Book, now_ms: int, mark: str = "") -> None:
    """Keep that a source was looked at, and what it was like."""
    await tx.run("alert_look_put", source=source, looked_ms=now_ms, book=book.version, mark=mark)


async def _strays(tx: Tx, book: Book, last: Look | None, now_ms: int) -> int:
    """End what rules noted that are not there or switched off, once after each change."""
    if last is not None and last.book == book.version:
        return 0
    rules = [rule.rule for rule in book.enabled() if rule.health is not None]
    rows = await tx.all("alert_conditions_stray", Row, rules=rules)
    over = [
        msgspec.structs.replace(
            row, gone=True, due_ms=now_ms, well_ms=now_ms, text="the rule is not in force any more"
        )
        for row in rows
    ]
    await lasting.write(tx, over)
    await looked(tx, "strays", book, now_ms)
    return len(over)


def _place(one: Trouble) -> Gone:
    return one.subject.device, one.subject.camera, one.at_ms


async def _note(
    tx: Tx, rules: Sequence[Rule], found: Sequence[Trouble], lost: frozenset[Gone], now_ms: int
) -> int:
    """Note trouble for the rules that ask for it, and that all else of theirs is over."""
    rows = await tx.all("alert_conditions_of_rules", Row, rules=[rule.rule for rule in rules])
    at = await places_of(tx, rules, {one.subject.site for one in found})
    of: dict[Health, dict[str, Trouble]] = defaultdict(dict)
    for one in found:
        of[one.health][key_of(one.subject)] = one
    kinds = {rule.rule: rule.health.is_ for rule in rules if rule.health}
    seen = [
        bad(rule.rule, key, one)
        for rule in rules
        for key, one in of[kinds[rule.rule]].items()
        if places.holds(rule.where, one.subject, at)
    ]
    meant = {(one.rule, one.subject) for one in seen}
    for row in rows:
        is_bad = row.subject in of[kinds[row.rule]]
        if is_bad and (row.rule, row.subject) not in meant:
            seen.append(gone(row, "the rule does not speak of it any more", now_ms))
    left = [row for row in rows if row.subject not in of[kinds[row.rule]]]
    seen += await _over(tx, kinds, left, lost, now_ms) if left else []
    return await lasting.take(tx, rules, seen, rows, now_ms)


def bad(rule: str, key: str, one: Trouble) -> Seen:
    """Return that a rule sees this trouble."""
    return Seen(
        rule=rule, subject=key, state="bad", at_ms=one.at_ms, value=one.value, text=one.text
    )


def gone(row: Row, why: str, now_ms: int) -> Seen:
    """Return that nobody asks for this any more."""
    return Seen(rule=row.rule, subject=row.subject, state="gone", at_ms=now_ms, text=why)


async def places_of(tx: Tx, rules: Iterable[Rule], sites: Iterable[str]) -> Places:
    """Return what rules need to know of these sites; nothing where they hold everywhere."""
    asking = [rule.where for rule in rules if rule.where != Where()]
    if not asking:
        return Places()
    return await places.read(tx, set(sites), {name for where in asking for name in where.groups})


async def _over(
    tx: Tx,
    kinds: Mapping[str, Health],
    rows: Sequence[Row],
    lost: frozenset[Gone],
    now_ms: int,
) -> list[Seen]:
    """Return what is over of these rows; those that cannot be judged now are left out."""
    devices = sorted({subject_of(row.subject).device for row in rows} - {""})
    standing = {
        str(device): (str(state), since_ms)
        for device, state, since_ms in await tx.tuples("alert_standing", devices=devices)
    }
    cameras: dict[tuple[str, str], tuple[str, int | None]] = {}
    if any(kinds[row.rule] in lasting.WELL_BY for row in rows):
        cameras = {
            (str(device), str(camera)): (str(state), since_ms)
            for device, camera, state, since_ms in await tx.tuples(
                "alert_standing_cameras", devices=devices
            )
            if (device, camera, since_ms) not in lost
        }
    return [
        one
        for row in rows
        if (one := _over_one(kinds[row.rule], row, standing, cameras, now_ms)) is not None
    ]


def _over_one(
    health: Health,
    row: Row,
    standing: Mapping[str, tuple[str, int | None]],
    cameras: Mapping[tuple[str, str], tuple[str, int | None]],
    now_ms: int,
) -> Seen | None:
    subject = subject_of(row.subject)
    device = standing.get(subject.device)
    if subject.device and device is None:
        return gone(row, "the device is not there any more", now_ms)
    if device and device[0] != "ok" and health in lasting.TOLD_BY_DEVICES:
        return None
    at_ms: int | None = None
    if health is Health.DEVICE_DARK and device:
        at_ms = device[1]
    elif health in lasting.WELL_BY:
        camera = cameras.get((subject.device, subject.camera))
        if camera is None:
            return gone(row, "the camera is not there any more", now_ms)
        if camera[0] not in lasting.WELL_BY[health]:
            return None
        at_ms = camera[1]
    at_ms = now_ms if at_ms is None else at_ms
    return Seen(rule=row.rule, subject=row.subject, state="well", at_ms=at_ms)


# ------------------------------------------------------------------------------------- reading


async def _devices(tx: Tx, now_ms: int) -> list[Trouble]:
    found: list[Trouble] = []
    for site, device, state, since_ms, quarantined_ms in await tx.tuples("alert_bad_devices"):
        subject = Subject(site=site, device=device)
        if state == "dark":
            found.append(
                Trouble(
                    health=Health.DEVICE_DARK,
                    subject=subject,
                    at_ms=since_ms or now_ms,
                    text="nothing was heard of it",
                )
            )
        if quarantined_ms is not None:
            found.append(
                Trouble(
                    health=Health.QUARANTINED,
                    subject=subject,
                    at_ms=quarantined_ms,
                    text="two copies speak with one key",
                )
            )
    return found


async def _sites(tx: Tx, _now_ms: int) -> list[Trouble]:
    return [
        Trouble(
            health=Health.SITE_DARK,
            subject=Subject(site=site),
            at_ms=since_ms,
            text="nothing was heard of any of its devices",
        )
        for site, since_ms in await tx.tuples("alert_bad_sites")
    ]


_OF_STATE: Final = {
    "down": Health.CAMERA_DOWN,
    "tampered": Health.TAMPERED,
    "degraded": Health.DEGRADED,
}


async def _cameras(tx: Tx, now_ms: int) -> list[Trouble]:
    return [
        Trouble(
            health=_OF_STATE[state],
            subject=Subject(site=site, device=device, camera=camera),
            at_ms=since_ms or now_ms,
            text=camera_text(signs, detail),
        )
        for site, device, camera, state, since_ms, signs, detail in await tx.tuples(
            "alert_bad_cameras"
        )
    ]


def camera_text(signs: Iterable[str], detail: str) -> str:
    """Return what is wrong with a camera, in words."""
    said = wording.signs(detail)
    named = [one for one in map(wording.signs, signs) if one not in said]
    return ": ".join(part for part in (", ".join(named), said) if part)[:MAX_TEXT_CHARS]


async def _slots(tx: Tx, _now_ms: int) -> list[Trouble]:
    return [
        Trouble(
            health=Health.UPDATE_FAILED,
            subject=Subject(site=site, device=device, what=slot),
            at_ms=changed_ms,
            text=(
                ": ".join(
                    part
                    for part in (
                        f"{slot} {'went back to what was before' * (state == 'reverted')}".strip(),
                        problem,
                    )
                    if part
                )
            )[:MAX_TEXT_CHARS],
        )
        for site, device, slot, state, problem, changed_ms in await tx.tuples("alert_bad_slots")
    ]


async def _rollouts(tx: Tx, now_ms: int) -> list[Trouble]:
    return [
        Trouble(
            health=Health.ROLLOUT,
            subject=Subject(what=rollout),
            at_ms=since_ms,
            text=": ".join(part for part in (state.replace("_", " "), reason) if part)[
                :MAX_TEXT_CHARS
            ],
        )
        for rollout, state, since_ms, reason in await tx.tuples(
            "alert_bad_rollouts", news_ms=now_ms - NEWS_MS
        )
    ]


_READ: Final[dict[str, Callable[[Tx, int], Awaitable[list[Trouble]]]]] = {
    "devices": _devices,
    "sites": _sites,
    "cameras": _cameras,
    "slots": _slots,
    "rollouts": _rollouts,
}
