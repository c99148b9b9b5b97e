"""What each message changes, collected over one transaction. Pure.

`Effects.take` is called once per message that was never seen before; `commit` then writes what was
collected, table by table. Times are moved onto central's clock here.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from vedette.central import rollups
from vedette.central.ingest.unpack import Item
from vedette.central.rollouts.noticing import Noticed
from vedette.wire import codec, limits, messages, updates
from vedette.wire.messages import Cause, State
from vedette.wire.streams import BACKFILL_AFTER_S

Camera = tuple[str, str]  # device, camera

_BACKFILL_AFTER_MS: Final = int(BACKFILL_AFTER_S * 1000)
_DRAIN_MARGIN_MS: Final = 180_000
_MAX_AGE_MS: Final = int(limits.MAX_AGE_S * 1000)
_DEFAULT_KEEP_DAYS: Final = 7
MAX_SHADOWS: Final = 1_000
"""Cameras times candidates of one device that are counted by themselves."""

MAX_DISAGREEMENTS: Final = 500
"""Of one device in a day."""

_MAX_RECONNECTS: Final = 1_000  # in one report: more than any back-off lets happen


class Sender(msgspec.Struct, frozen=True, kw_only=True):
    """The device that a message came from, as it was before this transaction.

    Attributes:
        cameras: Its cameras, and since when each is known; grows with what is taken.
    """

    device: str
    site: str
    received_ms: int
    contact_before_ms: int
    cameras: dict[str, int]


class StateRow(msgspec.Struct, frozen=True, kw_only=True):
    """A camera's new state."""

    device: str
    camera: str
    epoch: int
    seq: int
    at_ms: int
    noticed_ms: int
    state: str
    cause: str | None
    signs: list[str]
    detail: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The newest health report of one device."""

    epoch: int
    seq: int
    at_ms: int
    body: bytes
    version: str
    clock_state: str
    drained_to_ms: int | None


class Effects(msgspec.Struct, kw_only=True):
    """Everything that one transaction will write, in the shapes of its tables."""

    raw: list[tuple[object, ...]] = []
    cameras: dict[Camera, int] = {}  # new ones, and those known from an earlier time on now
    states: list[StateRow] = []
    claims: list[tuple[object, ...]] = []
    events: list[dict[str, object]] = []
    evidence: list[dict[str, object]] = []
    commissions: list[dict[str, object]] = []
    shadows: list[dict[str, object]] = []
    disagreements: list[dict[str, object]] = []
    minutes: dict[tuple[str, str, int], list[messages.Aggregate]] = {}
    health: dict[str, Health] = {}
    settled: list[tuple[str, int, str, list[tuple[int, int]]]] = []
    reconnects: dict[tuple[str, str, int], int] = {}  # by device, camera, day; rare
    noticed: Noticed = msgspec.field(default_factory=Noticed)

    def take(self, item: Item, sender: Sender) -> str:
        """Collect what `item` changes; return why it is refused, empty where it is not."""
        refusal = item.refusal
        if not refusal and item.body is not None:
            refusal = self._camera_limit(item.body, sender)
        if not refusal and item.body is not None:
            _EFFECTS[type(item.body)](self, item.body, item, sender)
        self._keep_raw(item, sender, refusal)
        return refusal

    def _camera_limit(self, body: msgspec.Struct, sender: Sender) -> str:
        camera = getattr(body, "camera", None)
        is_new = isinstance(camera, str) and camera not in sender.cameras
        if is_new and len(sender.cameras) >= limits.MAX_CAMERAS:
            return f"more than {limits.MAX_CAMERAS} cameras"
        return ""

    def _keep_raw(self, item: Item, sender: Sender, refusal: str) -> None:
        envelope, row = item.envelope, item.row
        outcome = "accepted" if item.dating.made_ms is not None else "undated"
        stored = item.stored
        if isinstance(item.body, updates.Disagreement):
            stored = without_picture(item.body)
        self.raw.append(
            (
                row.retention_days if row else _DEFAULT_KEEP_DAYS,
                sender.device,
                envelope.epoch,
                str(envelope.lane),
                envelope.seq,
                sender.received_ms,
                item.dating.made_ms,
                row.schema if row else "unknown",
                f"rejected: {refusal}" if refusal else outcome,
                envelope.boot_id,
                envelope.t_wall_ms,
                envelope.t_mono_ms,
                str(envelope.clock_state),
                stored,
            )
        )

    def know(self, sender: Sender, camera: str, from_ms: int) -> None:
        """Have this camera, known from `from_ms` or earlier."""
        known_ms = sender.cameras.get(camera)
        if known_ms is None or from_ms < known_ms:
            sender.cameras[camera] = self.cameras[sender.device, camera] = from_ms

    def claim(
        self, sender: Sender, camera: str, span: messages.Span, *, weak: bool = False
    ) -> None:
        """Collect one coverage claim, by central's clock."""
        if span.end_ms <= span.start_ms:
            return
        self.claims.append(
            (
                sender.device,
                camera,
                span.start_ms,
                span.end_ms,
                str(span.cause) if span.cause else None,
                weak,
                span.rate_fps,
                span.detail,
            )
        )


def _undated_span(item: Item, sender: Sender) -> messages.Span:
    """Return the widest stretch that an undated message can speak of: since the last contact."""
    end_ms = item.dating.latest_ms
    start_ms = max(sender.contact_before_ms, end_ms - _MAX_AGE_MS)
    return messages.Span(start_ms=start_ms, end_ms=end_ms, cause=Cause.CLOCK_UNTRUSTED)


def _aggregate(to: Effects, body: messages.Aggregate, item: Item, sender: Sender) -> None:
    if item.dating.made_ms is None:
        to.know(sender, body.camera, item.dating.latest_ms)
        to.claim(sender, body.camera, _undated_span(item, sender), weak=True)
        return
    shift_ms = item.dating.shift_ms
    stripped = rollups.strip(body, shift_ms)
    to.know(sender, body.camera, stripped.start_ms)
    for span in body.spans:
        clipped = msgspec.structs.replace(
            span,
            start_ms=max(span.start_ms, body.start_ms) + shift_ms,
            end_ms=min(span.end_ms, body.end_ms) + shift_ms,
        )
        to.claim(sender, body.camera, clipped)
    minute_ms = rollups.floor_ms(stripped.start_ms, rollups.MINUTE_MS)
    key = (sender.device, body.camera, minute_ms)
    to.noticed.minute(sender.device, stripped)
    to.minutes.setdefault(key, []).append(stripped)


def _coverage(to: Effects, body: messages.CoverageReport, item: Item, sender: Sender) -> None:
    if item.dating.made_ms is None:
        to.know(sender, body.camera, item.dating.latest_ms)
        to.claim(sender, body.camera, _undated_span(item, sender), weak=True)
        return
    shift_ms = item.dating.shift_ms
    starts = [span.start_ms + shift_ms for span in body.spans]
    to.know(sender, body.camera, min(starts, default=item.dating.made_ms))
    for span in body.spans:
        moved = msgspec.structs.replace(
            span, start_ms=span.start_ms + shift_ms, end_ms=span.end_ms + shift_ms
        )
        to.claim(sender, body.camera, moved)


def _tombstone(to: Effects, body: messages.Tombstone, item: Item, sender: Sender) -> None:
    to.settled.append((sender.device, body.epoch, body.lane, body.ranges))
    if item.dating.made_ms is None:
        return
    shift_ms = item.dating.shift_ms
    span = messages.Span(
        start_ms=max(body.start_ms + shift_ms, item.dating.latest_ms - _MAX_AGE_MS),
        end_ms=min(body.end_ms + shift_ms, item.dating.latest_ms),
        cause=Cause.EVICTED,
        detail=body.reason,
    )
    for camera in body.cameras or sorted(sender.cameras):
        if camera in sender.cameras or len(sender.cameras) < limits.MAX_CAMERAS:
            to.know(sender, camera, span.end_ms)
            to.claim(sender, camera, span)


def _state(to: Effects, body: messages.CameraState, item: Item, sender: Sender) -> None:
    if item.dating.made_ms is None:
        to.know(sender, body.camera, item.dating.latest_ms)
        return
    shift_ms = item.dating.shift_ms
    to.know(sender, body.camera, body.at_ms + shift_ms)
    to.states.append(
        StateRow(
            device=sender.device,
            camera=body.camera,
            epoch=item.envelope.epoch,
            seq=item.envelope.seq,
            at_ms=body.at_ms + shift_ms,
            noticed_ms=body.noticed_ms + shift_ms,
            state=str(body.state),
            cause=str(body.cause) if body.cause else None,
            signs=body.signs,
            detail=body.detail,
        )
    )


def _event(to: Effects, body: messages.EventReport, item: Item, sender: Sender) -> None:
    dated = item.dating.made_ms is not None
    at_ms = body.at_ms + item.dating.shift_ms if dated else item.dating.latest_ms
    to.know(sender, body.camera, at_ms)
    to.events.append(
        {
            "device": sender.device,
            "event": body.event,
            "site": sender.site,
            "camera": body.camera,
            "kind": str(body.kind),
            "at_ms": at_ms,
            "received_ms": sender.received_ms,
            "late": not dated or sender.received_ms - at_ms > _BACKFILL_AFTER_MS,
            "dated": dated,
            "label": body.label,
            "where_name": body.where,
            "evidence": body.evidence,
            "body": item.stored,
        }
    )


def _evidence(to: Effects, body: messages.EvidenceRecord, item: Item, sender: Sender) -> None:
    to.know(sender, body.camera, item.dating.latest_ms)
    to.evidence.append(
        {
            "device": sender.device,
            "evidence": body.evidence,
            "event": body.event,
            "camera": body.camera,
            "status": body.status,
            "stays": body.stays_on_site,
            "received_ms": sender.received_ms,
            "epoch": item.envelope.epoch,
            "seq": item.envelope.seq,
            "body": item.stored,
        }
    )


def _health(to: Effects, body: messages.HealthReport, item: Item, sender: Sender) -> None:
    for camera in body.pipeline.cameras if body.pipeline else []:
        if camera.reconnects > 0 and camera.camera in sender.cameras:
            made_ms = item.dating.made_ms or item.dating.latest_ms
            day = (sender.device, camera.camera, rollups.floor_ms(made_ms, rollups.DAY_MS))
            many = min(camera.reconnects, _MAX_RECONNECTS)
            to.reconnects[day] = to.reconnects.get(day, 0) + many
    key = (item.envelope.epoch, item.envelope.seq)
    before = to.health.get(sender.device)
    if before and (before.epoch, before.seq) >= key:
        return
    drained_to_ms: int | None = None
    if item.dating.made_ms is not None:
        oldest_ms = body.spool.oldest_ms
        if oldest_ms is None and not sum(body.spool.depth.values()):
            oldest_ms = body.at_ms
        if oldest_ms is not None:
            oldest_ms = min(oldest_ms, body.at_ms)
            drained_to_ms = oldest_ms + item.dating.shift_ms - _DRAIN_MARGIN_MS
    at_ms = item.dating.made_ms or item.dating.latest_ms
    to.noticed.heard(sender.device, body, (*key, at_ms, sender.received_ms))
    to.health[sender.device] = Health(
        epoch=key[0],
        seq=key[1],
        at_ms=at_ms,
        body=item.stored,
        version=body.version[:64],
        clock_state=str(item.envelope.clock_state),
        drained_to_ms=drained_to_ms,
    )
    for camera in body.pipeline.cameras if body.pipeline else []:
        known = camera.camera in sender.cameras or len(sender.cameras) < limits.MAX_CAMERAS
        if known and camera.state is not State.STARTING:
            to.know(sender, camera.camera, item.dating.latest_ms)


def _commission(to: Effects, body: messages.CommissionReport, item: Item, sender: Sender) -> None:
    dated = item.dating.made_ms is not None
    to.know(sender, body.camera, item.dating.latest_ms)
    to.commissions.append(
        {
            "device": sender.device,
            "camera": body.camera,
            "at_ms": body.at_ms + item.dating.shift_ms if dated else item.dating.latest_ms,
            "received_ms": sender.received_ms,
            "body": item.stored,
        }
    )


def _update(to: Effects, body: updates.UpdateReport, _item: Item, sender: Sender) -> None:
    to.noticed.step(sender.device, body, sender.received_ms)


def _shadow(to: Effects, body: updates.ShadowReport, item: Item, sender: Sender) -> None:
    shift_ms = item.dating.shift_ms if item.dating.made_ms is not None else 0
    objects = body.objects.values()
    to.know(sender, body.camera, item.dating.latest_ms)
    to.shadows.append(
        {
            "rollout": body.rollout,
            "device": sender.device,
            "camera": body.camera,
            "a": body.a,
            "b": body.b,
            "slot": body.slot,
            "site": sender.site,
            "start_ms": body.start_ms + shift_ms,
            "end_ms": body.end_ms + shift_ms,
            "frames": body.frames,
            "differing": body.differing,
            "failed": body.failed,
            "shed": body.shed,
            "both_n": sum(one.both for one in objects),
            "only_a": sum(one.only_a for one in objects),
            "only_b": sum(one.only_b for one in objects),
            "most": MAX_SHADOWS,
        }
    )


def _disagreement(to: Effects, body: updates.Disagreement, item: Item, sender: Sender) -> None:
    dated = item.dating.made_ms is not None
    to.know(sender, body.camera, item.dating.latest_ms)
    to.disagreements.append(
        {
            "device": sender.device,
            "disagreement": body.disagreement,
            "rollout": body.rollout,
            "slot": body.slot,
            "site": sender.site,
            "camera": body.camera,
            "a": body.a,
            "b": body.b,
            "at_ms": body.at_ms + item.dating.shift_ms if dated else item.dating.latest_ms,
            "received_ms": sender.received_ms,
            "weight": body.weight,
            "body": without_picture(body),
            "picture": body.picture or None,
            "most": MAX_DISAGREEMENTS,
        }
    )


def without_picture(body: updates.Disagreement) -> bytes:
    """Return a disagreement as it is kept for long: pixels go when their time is over."""
    return codec.encode(msgspec.structs.replace(body, picture=b""))


_EFFECTS: Final[dict[type, Callable[..., None]]] = {
    messages.Aggregate: _aggregate,
    messages.CoverageReport: _coverage,
    messages.Tombstone: _tombstone,
    messages.CameraState: _state,
    messages.EventReport: _event,
    messages.EvidenceRecord: _evidence,
    messages.HealthReport: _health,
    messages.CommissionReport: _commission,
    updates.UpdateReport: _update,
    updates.ShadowReport: _shadow,
    updates.Disagreement: _disagreement,
}
