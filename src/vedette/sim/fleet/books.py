"""The books of a simulated fleet against central's: every message, every camera-minute.

What the devices made and what is true of their time comes from `simulate`; what central has is read
from its database and, for coverage, asked of the same code that answers the API. `sim.checker`
judges messages, effects and tiling; here the truth is added: each stretch with the cause that it
must have.
"""

from collections.abc import Iterable, Sequence

import msgspec
import psycopg

from vedette.central import ledger
from vedette.central.store.db import Database
from vedette.central.views import Segment
from vedette.errors import StoreError
from vedette.sim import receipts
from vedette.sim.checker import (
    AWAITING,
    CameraCoverage,
    Difference,
    Produced,
    Spell,
    Verdict,
    judge,
)
from vedette.sim.fleet.book import Stretch
from vedette.sim.fleet.device import Device
from vedette.sim.fleet.simulate import Simulation
from vedette.wire.messages import Cause

_AT_ONCE = 100
_NOT_YET = frozenset({None, AWAITING, Cause.PENDING_BACKFILL.value})


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What central knows of a camera."""

    device: str
    camera: str
    known_from_ms: int
    drained_to_ms: int | None


async def compare(simulation: Simulation, db: Database) -> Verdict:
    """Return what differs over a whole run that has ended.

    Raises:
        StoreError: The database does not answer.
    """
    differences: list[Difference] = []
    counts = {"devices": len(simulation.driven), "requests": simulation.requests}
    whole = [one.device for one in simulation.driven if one.device.name not in simulation.cloned]
    shown = await _shown(db, [device.name for device in whole], simulation)
    try:
        with psycopg.connect(db.conninfo, connect_timeout=10) as connection:
            for device in whole:
                verdict = _one(connection, device, shown.get(device.name, {}), simulation)
                differences += [
                    Difference(one.kind, f"{device.name}: {one.detail}")
                    for one in verdict.differences
                ]
                for what, count in verdict.counts.items():
                    counts[what] = counts.get(what, 0) + count
            differences += _clones(connection, simulation)
    except psycopg.Error as error:
        raise StoreError(f"cannot read central's database: {error}") from error
    differences += [Difference("wrongly_dark", one) for one in simulation.wrongly_dark]
    differences += [Difference("noticed_late", one) for one in simulation.late_dark]
    differences += [Difference("odd", one) for one in simulation.odd]
    counts["dark"] = sum(len(one.dark) for one in simulation.driven)
    return Verdict(differences=tuple(differences), counts=counts)


def _one(
    db: psycopg.Connection[tuple[object, ...]],
    device: Device,
    shown: dict[str, list[Segment]],
    simulation: Simulation,
) -> Verdict:
    book = device.book
    produced = Produced(
        device=device.name,
        messages=book.made,
        tombstoned=frozenset(book.gone),
        pending=frozenset(book.waiting),
        events=book.events,
    )
    committed = receipts.committed(db, device.name)
    observed = receipts.observed(db, device.name)
    coverage: list[CameraCoverage] = []
    wrong: list[Difference] = []
    for camera, truth in sorted(device.truth.items()):
        segments = shown.get(camera, [])
        if not segments:
            wrong.append(Difference("coverage", f"{camera}: central knows nothing of it"))
            continue
        spells = [Spell(one.start_ms, one.end_ms, one.cause) for one in segments]
        end_ms = min(spells[-1].end_ms, max(one.end_ms for one in truth))
        spells = _until(spells, end_ms)
        coverage.append(
            CameraCoverage(
                camera=camera,
                from_ms=simulation.start_ms,
                to_ms=end_ms,
                shown=spells,
                observed=observed.get(camera, []),
            )
        )
        wrong += untrue(camera, spells, truth)
    return judge(produced, committed, coverage, wrong)


def _until(spells: Sequence[Spell], end_ms: int) -> list[Spell]:
    cut = [Spell(one.start_ms, min(one.end_ms, end_ms), one.cause) for one in spells]
    return [one for one in cut if one.end_ms > one.start_ms]


def untrue(camera: str, shown: Sequence[Spell], truth: Iterable[Stretch]) -> list[Difference]:
    """Return where `shown` says something else than what was. Pure."""
    found: list[Difference] = []
    place = 0
    for stretch in sorted(truth, key=lambda one: one.start_ms):
        while place < len(shown) and shown[place].end_ms <= stretch.start_ms:
            place += 1
        at = place
        while at < len(shown) and shown[at].start_ms < stretch.end_ms:
            cause = shown[at].cause
            right = cause in stretch.causes if stretch.causes else cause not in _NOT_YET
            if not right:
                start_ms = max(shown[at].start_ms, stretch.start_ms)
                end_ms = min(shown[at].end_ms, stretch.end_ms)
                wanted = " or ".join(str(one or "observed") for one in stretch.causes) or "a gap"
                text = f"{camera}: {start_ms}..{end_ms} was {wanted}, shown {cause or 'observed'}"
                found.append(Difference("untrue", text))
            at += 1
    return found


async def _shown(
    db: Database, devices: Sequence[str], simulation: Simulation
) -> dict[str, dict[str, list[Segment]]]:
    """Return central's coverage, by device and camera, of the whole run."""
    found: dict[str, dict[str, list[Segment]]] = {}
    for first in range(0, len(devices), _AT_ONCE):
        part = list(devices[first : first + _AT_ONCE])
        async with db.transaction() as tx:
            book = await ledger.read(
                tx,
                part,
                from_ms=simulation.start_ms,
                to_ms=simulation.now_ms,
                now_ms=simulation.now_ms,
            )
            cursor = await tx.connection.execute(
                "SELECT device, camera, known_from_ms, drained_to_ms"
                " FROM cameras JOIN devices USING (device) WHERE device = ANY(%s)",
                (part,),
            )
            for device, camera, known_from_ms, drained_to_ms in await cursor.fetchall():
                segments = book.segments(device, camera, known_from_ms, drained_to_ms)
                found.setdefault(device, {})[camera] = segments
    return found


def _clones(db: psycopg.Connection[tuple[object, ...]], simulation: Simulation) -> list[Difference]:
    """Of two devices with one key only this can be asked: nothing counts twice."""
    found: list[Difference] = []
    for name in sorted(simulation.cloned):
        row = db.execute(
            "SELECT count(*) - count(DISTINCT (epoch, lane, seq)) FROM reports WHERE device = %s",
            (name,),
        ).fetchone()
        if row and row[0]:
            found.append(Difference("twice", f"{name}: {row[0]} messages more than once"))
    return found
