"""The watch for cloned devices, as ingest uses it: rows in, what to set aside and write back out.

What lives here: the hand-over between a transaction's rows and `clones`. What does not: the
decision (`clones`), and what a person does about it (`central.quarantine`). The rule: a device
with one life costs ingest nothing but two columns that it reads and writes anyway.
"""

import logging
from collections.abc import Iterable
from typing import Final

import msgspec

from vedette.central import audit, desired
from vedette.central.ingest import clones
from vedette.central.ingest.clones import Evidence, Lives, Sight
from vedette.central.ingest.incoming import Incoming, SenderRow
from vedette.central.ingest.unpack import Item
from vedette.central.store.db import Tx

_log = logging.getLogger(__name__)

MAX_SET_ASIDE_BYTES: Final = 256 * 1024 * 1024
"""Of one device. Beyond this its messages are not taken; they stay on the device."""

FULL_RETRY_S: Final = 300.0
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Lives).decode
ASIDE_TYPES: Final = (
    "text", "text", "int8", "int8", "int8", "int8", "int8", "text", "int8", "text",
    "text", "int8", "int8", "text", "bytea",
)  # fmt: skip


class Watch:
    """The devices of one group, as their batches are looked at one after the other."""

    def __init__(self, rows: dict[str, SenderRow]) -> None:
        self._rows = rows
        self._before: dict[str, Lives] = {}
        self._now: dict[str, Lives] = {}
        self._aside_bytes: dict[str, int] = {}
        self._aside: list[tuple[object, ...]] = []
        self.found: dict[str, Evidence] = {}

    def look(self, batch: Incoming, *, forked: bool) -> None:
        """Remember one batch; `forked`: it gave numbers again with another content."""
        if batch.sent_mono_ms is None or batch.replay:
            return
        device, row = batch.device, self._rows[batch.device]
        if device not in self._before:
            kept = _decode(row.lives) if row.lives else Lives()
            self._before[device] = kept
            self._now[device] = clones.current(
                kept, row.boot_id, row.sent_mono_ms, row.last_contact_ms
            )
        lives = self._now[device]
        made = [(i.envelope.epoch, i.envelope.boot_id, i.envelope.t_mono_ms) for i in batch.items]
        lives = clones.look(
            lives,
            Sight(
                boot_id=batch.boot_id,
                mono_ms=batch.sent_mono_ms,
                received_ms=batch.received_ms,
                address=batch.address,
                epoch=max((epoch for epoch, _, _ in made), default=0),
                stale=clones.find_stale(lives, batch.boot_id, made),
            ),
        )
        self._now[device] = clones.fork(lives) if forked else lives
        if row.quarantined_ms is None and device not in self.found:
            evidence = clones.decide(self._now[device], batch.received_ms)
            if evidence is not None:
                self.found[device] = evidence

    def is_aside(self, batch: Incoming) -> bool:
        """True where what this batch says is kept and not counted."""
        row = self._rows[batch.device]
        return not batch.replay and (row.quarantined_ms is not None or batch.device in self.found)

    def is_full(self, batch: Incoming) -> bool:
        """True where not even that is possible any more: the device keeps it."""
        return self.is_aside(batch) and (
            self._rows[batch.device].set_aside_bytes >= MAX_SET_ASIDE_BYTES
        )

    def set_aside(self, batch: Incoming, item: Item) -> None:
        """Keep one message as it came."""
        envelope, dating = item.envelope, item.dating
        epoch = max(i.envelope.epoch for i in batch.items)
        self._aside.append(
            (
                batch.device,
                clones.copy_name(batch.boot_id, epoch),
                batch.received_ms,
                dating.made_ms,
                dating.shift_ms,
                dating.latest_ms,
                envelope.epoch,
                str(envelope.lane),
                envelope.seq,
                envelope.schema,
                envelope.boot_id,
                envelope.t_wall_ms,
                envelope.t_mono_ms,
                str(envelope.clock_state),
                item.stored,
            )
        )
        size = self._aside_bytes.get(batch.device, 0)
        self._aside_bytes[batch.device] = size + len(item.stored)

    async def write(self, tx: Tx) -> None:
        """Write what was learnt, and put into quarantine whom it was learnt of."""
        if self._aside:
            await tx.copy_in("set_aside_copy", ASIDE_TYPES, self._aside)
            await tx.many(
                "set_aside_count",
                [{"device": device, "bytes": n} for device, n in self._aside_bytes.items()],
            )
        await tx.many("lives_set", list(self._changed()))
        for device, evidence in sorted(self.found.items()):
            await tx.run(
                "device_quarantine",
                device=device,
                now_ms=evidence.noticed_ms,
                evidence=msgspec.json.encode(evidence),
            )
            await desired.refresh(tx, device, evidence.noticed_ms)  # no change of keys meanwhile
            _log.error(
                "two copies of one device are alive: it is in quarantine",
                extra={"event": "device.quarantined", "device": device, "why": evidence.why},
            )
            await audit.write(
                tx,
                at_ms=evidence.noticed_ms,
                actor="central",
                action="device.quarantine",
                target=device,
                detail={"why": evidence.why, "copies": [copy.copy for copy in evidence.copies]},
            )

    def _changed(self) -> Iterable[dict[str, object]]:
        for device, lives in sorted(self._now.items()):
            if _is_news(self._before[device], lives):
                yield {"device": device, "lives": _encode(lives)}


def _is_news(before: Lives, lives: Lives) -> bool:
    """True where more changed than the clock of the one life that the device's row has anyway."""
    if len(before.lives) == len(lives.lives) == 1:
        a, b = before.lives[0], lives.lives[0]
        lives = msgspec.structs.replace(
            lives, lives=(msgspec.structs.replace(b, mono_ms=a.mono_ms, seen_ms=a.seen_ms),)
        )
    return lives != before
