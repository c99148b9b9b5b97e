"""The invariant, stated once: nothing acknowledged is lost, nothing counts twice, no hole is mute.

Every fault test and the demo ask this module and no other. It is pure: `sim.ledger` reads what a
device produced, `sim.receipts` reads what central has, and here the two are compared:

* committed == produced minus tombstoned, each exactly once, byte for byte;
* every effect (events, counted frames) happened exactly once;
* every camera's time is tiled by observed spells and gaps with a cause, and nothing is called
  observed that no committed report called observed;
* what the device still holds is whole: the spool's file and every evidence package.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from vedette.wire.messages import Cause

Key = tuple[int, str, int]
"""Epoch, lane, sequence number: with the device's name, the idempotency key."""

AWAITING = "AWAITING"
FRESH_EDGE_MS = 180_000
"""A healthy device may still owe the newest part of its time: reports, jitter and transport."""

_SHOWN = 8


class Difference(msgspec.Struct, frozen=True):
    """One broken promise: what kind, and in words where."""

    kind: str
    detail: str


class Produced(msgspec.Struct, frozen=True, kw_only=True):
    """What a device committed to its spool, ever.

    Attributes:
        messages: By key: schema and CRC-32 of the body.
        tombstoned: Keys that a tombstone names.
        pending: Keys that are still in the spool.
        events: Ids of all produced events.
        former: Numbers that a message had before it was given the one it has in `messages`.
    """

    device: str
    messages: dict[Key, tuple[str, int]]
    tombstoned: frozenset[Key] = frozenset()
    pending: frozenset[Key] = frozenset()
    events: dict[str, Key] = {}
    former: dict[Key, Key] = {}


class Receipt(msgspec.Struct, frozen=True):
    """One raw message as central stored it; `outcome` as in its `reports` table."""

    key: Key
    schema: str
    crc: int
    outcome: str


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """What central has of one device.

    Attributes:
        settled: By (epoch, lane): acknowledged through, and closed ranges above.
        events: Ids in the events table, with repetitions if there are any.
        captured_sent: Frames that the committed aggregates say, by camera.
        captured_counted: Frames in the rollups, by camera.
    """

    device: str
    receipts: Sequence[Receipt]
    settled: dict[tuple[int, str], tuple[int, list[tuple[int, int]]]] = {}
    events: Sequence[str] = ()
    captured_sent: dict[str, int] = {}
    captured_counted: dict[str, int] = {}


class Spell(msgspec.Struct, frozen=True):
    """A stretch of a camera's coverage as central shows it; `cause` None is observed."""

    start_ms: int
    end_ms: int
    cause: str | None


class CameraCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """What central shows of a camera, and what committed reports called observed."""

    camera: str
    from_ms: int
    to_ms: int
    shown: Sequence[Spell]
    observed: Sequence[tuple[int, int]]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `counts` says how much was looked at: a pass over nothing is no pass."""

    differences: tuple[Difference, ...]
    counts: dict[str, int]

    @property
    def holds(self) -> bool:
        """True where no promise was broken."""
        return not self.differences

    def __str__(self) -> str:
        seen = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        if self.holds:
            return f"holds over {seen}"
        lines = [f"BROKEN over {seen}:"]
        lines += [f"  {one.kind}: {one.detail}" for one in self.differences]
        return "\n".join(lines)


def judge(
    produced: Produced,
    committed: Committed,
    coverage: Sequence[CameraCoverage] = (),
    site: Sequence[Difference] = (),
    *,
    drained: bool = True,
) -> Verdict:
    """Return the verdict over one device.

    Args:
        produced: From `sim.ledger`.
        committed: From `sim.receipts`.
        coverage: From `sim.receipts`, one per camera.
        site: What `sim.ledger` found wrong with the spool's file and the evidence folder.
        drained: The device had time to send everything: then nothing may still wait.
    """
    found = [
        *delivery(produced, committed, drained=drained),
        *effects(produced, committed),
        *(one for camera in coverage for one in holes(camera, drained=drained)),
        *site,
    ]
    counts = {
        "produced": len(produced.messages),
        "committed": len(committed.receipts),
        "tombstoned": len(produced.tombstoned),
        "pending": len(produced.pending),
        "events": len(produced.events),
        "cameras": len(coverage),
    }
    return Verdict(differences=tuple(found), counts=counts)


def with_copy(kept: Produced, copy: Produced, committed: Committed) -> Produced:
    """Return the books of a device and of a copy of it that was dropped, as one.

    Of the copy only what central has counts as owed: what it said before anybody could know that
    there are two. The rest that it sent was dropped by a person, as a tombstone drops. A number
    that both gave is owed as the device itself gave it: where central has the copy's message in
    its place, that one is `altered`. A message that central counted before the copy was asked to
    give it another number is owed under its former one.
    """
    has = {receipt.key: (receipt.schema, receipt.crc) for receipt in committed.receipts}
    own = kept.messages.keys() | {
        was for was, now in kept.former.items() if has.get(was) == kept.messages[now]
    }
    other = {key: said for key, said in copy.messages.items() if key not in own}
    renamed = {
        now: was
        for was, now in copy.former.items()
        if was not in own and now in other and has.get(was) == other[now]
    }
    theirs = {key: said for key, said in other.items() if has.get(key) == said}
    dropped = other.keys() - theirs.keys() - copy.pending - renamed.keys()
    events = {
        event: renamed.get(key, key)
        for event, key in copy.events.items()
        if key in theirs or key in renamed
    }
    theirs |= {was: other[now] for now, was in renamed.items()}
    return msgspec.structs.replace(
        kept,
        messages=kept.messages | theirs,
        tombstoned=kept.tombstoned | dropped,
        events=kept.events | events,
    )


def under_present_names(produced: Produced, committed: Committed) -> Committed:
    """Return what central has, each message under the number that the device's books know it by.

    A message that waits may be given another number (a wiped spool's epoch, a disk put back). If
    central had it by then, it has it under the former one; if it has both, that is `twice`.
    """
    made, former = produced.messages, produced.former

    def named(receipt: Receipt) -> Receipt:
        now = former.get(receipt.key)
        said = (receipt.schema, receipt.crc)
        if now is None or made.get(receipt.key) == said or made.get(now) != said:
            return receipt
        return msgspec.structs.replace(receipt, key=now)

    receipts = [named(receipt) for receipt in committed.receipts]
    return msgspec.structs.replace(committed, receipts=receipts)


def delivery(produced: Produced, committed: Committed, *, drained: bool) -> list[Difference]:
    """Compare the sets of messages.

    A message may be both committed and tombstoned: central had it, the answer was lost, and the
    device had to evict it before it learned so. Nothing else may be tombstoned and present twice.
    """
    made, raw = produced.messages, {receipt.key for receipt in committed.receipts}
    committed = under_present_names(produced, committed)
    count = Counter(receipt.key for receipt in committed.receipts)
    owed = made.keys() - produced.tombstoned
    if not drained:
        owed -= produced.pending
    found = [
        *_listed("lost", "produced, not tombstoned, not in central", owed - count.keys()),
        *_listed("twice", "more than once in central", (k for k, n in count.items() if n > 1)),
        *_listed("invented", "in central, never produced", count.keys() - made.keys()),
    ]
    if drained:
        found += _listed("undelivered", "still in the spool after its time", produced.pending)
    for receipt in committed.receipts:
        schema, crc = made.get(receipt.key, (receipt.schema, receipt.crc))
        if (schema, crc) != (receipt.schema, receipt.crc):
            found.append(Difference("altered", f"{_name(receipt.key)}: not the bytes produced"))
        if receipt.outcome.startswith("rejected"):
            found.append(Difference("rejected", f"{_name(receipt.key)}: {receipt.outcome}"))
    found += _acknowledgements(produced, committed, raw | count.keys())
    return found


def _acknowledgements(
    produced: Produced, committed: Committed, present: Iterable[Key]
) -> list[Difference]:
    """Whatever central acknowledges it has, or a tombstone told it never to expect."""
    there = set(present) | produced.tombstoned
    found: list[Difference] = []
    for (epoch, lane), (through, ranges) in committed.settled.items():
        claimed = [*range(1, through + 1), *(n for a, b in ranges for n in range(a, b + 1))]
        missing = [(epoch, lane, seq) for seq in claimed if (epoch, lane, seq) not in there]
        found += _listed("acknowledged", "acknowledged but not in central", missing)
    return found


def effects(produced: Produced, committed: Committed) -> list[Difference]:
    """Compare what the messages did: each event once, each captured frame counted once."""
    receipts = under_present_names(produced, committed).receipts
    arrived = {receipt.key for receipt in receipts if receipt.outcome == "accepted"}
    due = {event for event, key in produced.events.items() if key in arrived}
    seen = Counter(committed.events)
    found = [
        Difference("event_missing", f"{event}: committed but not among the events")
        for event in sorted(due - seen.keys())[:_SHOWN]
    ]
    found += [
        Difference("event_extra", f"{event}: {count} times, produced {int(event in due)} times")
        for event, count in sorted(seen.items())
        if count != 1 or event not in produced.events
    ]
    cameras = committed.captured_sent.keys() | committed.captured_counted.keys()
    for camera in sorted(cameras):
        sent = committed.captured_sent.get(camera, 0)
        counted = committed.captured_counted.get(camera, 0)
        if sent != counted:
            text = f"{camera}: reports say {sent} frames, rollups {counted}"
            found.append(Difference("counted", text))
    return found


def holes(camera: CameraCoverage, *, drained: bool = True) -> list[Difference]:
    """Check that a camera's time is tiled, every gap has a cause, and nothing is made up."""
    found: list[Difference] = []
    at = camera.from_ms
    for spell in camera.shown:
        if spell.start_ms != at or spell.end_ms <= spell.start_ms:
            text = f"{camera.camera}: expected a spell from {at}, found {_words(spell)}"
            found.append(Difference("hole", text))
        at = spell.end_ms
        found += _cause_of(camera, spell, drained=drained)
    if at != camera.to_ms:
        found.append(Difference("hole", f"{camera.camera}: nothing from {at} to {camera.to_ms}"))
    claimed = _union(camera.observed)
    for spell in camera.shown:
        if spell.cause is None and (rest := _outside((spell.start_ms, spell.end_ms), claimed)):
            text = f"{camera.camera}: shown as observed, no report says so: {rest[:3]}"
            found.append(Difference("made_up", text))
    return found


def _cause_of(camera: CameraCoverage, spell: Spell, *, drained: bool) -> list[Difference]:
    if spell.cause is None:
        return []
    text = f"{camera.camera}: {_words(spell)}"
    if spell.cause == AWAITING:
        late = spell.start_ms < camera.to_ms - FRESH_EDGE_MS
        return [Difference("awaiting_too_long", text)] if late else []
    if spell.cause not in Cause.__members__:
        return [Difference("cause", text)]
    if spell.cause == Cause.PENDING_BACKFILL and drained:
        return [Difference("still_pending", text)]
    return []


def _union(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def _outside(span: tuple[int, int], union: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the parts of `span` that no span of `union` covers."""
    out: list[tuple[int, int]] = []
    at, last = span
    for start, end in union:
        if end <= at or start >= last:
            continue
        if start > at:
            out.append((at, start))
        at = max(at, end)
    if at < last:
        out.append((at, last))
    return out


def _listed(kind: str, words: str, keys: Iterable[Key]) -> list[Difference]:
    """Return one difference that names the first few keys, or none."""
    ordered = sorted(keys)
    if not ordered:
        return []
    shown = ", ".join(_name(key) for key in ordered[:_SHOWN])
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return [Difference(kind, f"{len(ordered)} {words}: {shown}{more}")]


def _name(key: Key) -> str:
    epoch, lane, seq = key
    return f"{lane}/{epoch}/{seq}"


def _words(spell: Spell) -> str:
    return f"{spell.cause or 'observed'} {spell.start_ms}..{spell.end_ms}"
