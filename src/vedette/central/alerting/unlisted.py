"""Cameras in trouble that their device does not have any more.

Here: finding them in the newest reports, and keeping which they are between looks. Not here: what
follows for rules (`standing`).

The rule: a camera is gone where a pipeline that began after its last word runs with others and
without it. A pipeline says at its beginning how each of its cameras is, those that cannot run too;
so silence since then, with other cameras at work, is no trouble but a camera that was taken away.
"""

from typing import Final

import msgspec

from vedette.central.alerting.facts import Book
from vedette.central.alerting.lasting import WELL_BY
from vedette.central.store.db import Database, Tx

SOURCE: Final = "unlisted"
LOOK_MS: Final = 300_000
AT_ONCE: Final = 500
MOST: Final = 5_000
STALE_MS: Final = 600_000
"""A report that waited longer on its device says nothing of now."""

_SLACK_MS: Final = 5_000
"""A camera's first word may be dated a moment before its pipeline's beginning."""

Gone = tuple[str, str, int]
"""Device, camera, and since when it is as it last said: what it says anew counts again."""


class _Camera(msgspec.Struct, frozen=True):
    camera: str


class _Pipeline(msgspec.Struct, frozen=True):
    running: bool
    since_ms: int | None = None
    cameras: list[_Camera] = []


class _Report(msgspec.Struct, frozen=True):
    """A `HealthReport` as far as it is asked here."""

    at_ms: int
    pipeline: _Pipeline | None = None


_decode = msgspec.msgpack.Decoder(_Report).decode
_kept = msgspec.json.Decoder(list[Gone]).decode


async def look(db: Database, book: Book, last_ms: int | None, now_ms: int) -> list[Gone] | None:
    """Return what is gone of all that is in trouble; None where it is not time, or nobody asks."""
    asked = {rule.health.is_ for rule in book.enabled() if rule.health is not None}
    if not asked & WELL_BY.keys() or (last_ms is not None and 0 <= now_ms - last_ms < LOOK_MS):
        return None
    found: list[Gone] = []
    after = ("", "")
    while len(found) < MOST:
        async with db.transaction() as tx:
            rows = await tx.tuples(
                "alert_unlisted_reports",
                after_device=after[0],
                after_camera=after[1],
                limit=AT_ONCE,
            )
        found += [
            (device, camera, since_ms)
            for device, camera, since_ms, health, contact_ms in rows
            if is_gone(camera, since_ms, health, contact_ms)
        ]
        if len(rows) < AT_ONCE:
            break
        after = (rows[-1][0], rows[-1][1])
    return found[:MOST]


def is_gone(camera: str, since_ms: int, health: bytes, contact_ms: int) -> bool:
    """True where a device's newest report says that a camera is not its any more.

    Times of the device are counted back from when it was heard: its clock may be wrong.
    """
    try:
        report = _decode(health)
    except msgspec.MsgspecError:
        return False
    of = report.pipeline
    if of is None or not of.running or of.since_ms is None or not of.cameras:
        return False
    if contact_ms - report.at_ms > STALE_MS or of.since_ms > report.at_ms:
        return False
    began_ms = contact_ms - (report.at_ms - of.since_ms)
    return since_ms < began_ms - _SLACK_MS and all(one.camera != camera for one in of.cameras)


async def keep(tx: Tx, gone: list[Gone], book: Book, now_ms: int) -> None:
    """Have the next turn know of them."""
    mark = msgspec.json.encode(gone).decode()
    await tx.run("alert_look_put", source=SOURCE, looked_ms=now_ms, book=book.version, mark=mark)


def read(mark: str) -> frozenset[Gone]:
    """Return what was kept."""
    try:
        return frozenset(_kept(mark.encode())) if mark else frozenset()
    except msgspec.MsgspecError:
        return frozenset()
