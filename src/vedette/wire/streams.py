"""The one table of every message kind a device sends.

The uplink schedule, the spool's budget and order of eviction, the rule that calls a device dark,
the gap rule, central's retention and the reference page all derive from this table. To add a
message: add its struct to `wire.messages` and its row here.
"""

import enum
from typing import Final

import msgspec

from vedette.errors import UnknownSchema
from vedette.wire import messages, updates


class Lane(enum.StrEnum):
    """One ordered, durable queue on the device, with its own sequence numbers.

    `backfill` has no rows of its own in this table: what waited longer than `BACKFILL_AFTER_S`
    is sent after everything fresh, under the sequence number it already has.
    """

    ALERT = "alert"
    LIVE = "live"
    EVIDENCE = "evidence"


class Tier(enum.StrEnum):
    """Which part of the picture of a device a message belongs to."""

    HEALTH = "health"
    DATA = "data"
    EVENT = "event"
    EVIDENCE = "evidence"
    RECORD = "record"


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table.

    Attributes:
        schema: Name and version as it stands in the envelope.
        body: The struct that the body must be.
        period_s: How often a device sends it; `None` where it is sent when it happens.
        priority: 0 is sent first and evicted last.
        max_bytes: Limit on one encoded body.
        retention_days: How long central keeps the raw message.
        commit_at_once: True where the spool must not wait for its group commit.
    """

    schema: str
    lane: Lane
    tier: Tier
    body: type[msgspec.Struct]
    period_s: float | None
    priority: int
    max_bytes: int
    retention_days: int
    commit_at_once: bool = False


# fmt: off
STREAMS: Final[tuple[Stream, ...]] = (
    Stream(schema="event.v1",        lane=Lane.ALERT,    tier=Tier.EVENT,    body=messages.EventReport,    period_s=None, priority=0, max_bytes=16_384,  retention_days=90, commit_at_once=True),
    Stream(schema="camera_state.v1", lane=Lane.ALERT,    tier=Tier.HEALTH,   body=messages.CameraState,    period_s=None, priority=0, max_bytes=4_096,   retention_days=90, commit_at_once=True),
    Stream(schema="coverage.v1",     lane=Lane.ALERT,    tier=Tier.RECORD,   body=messages.CoverageReport, period_s=None, priority=0, max_bytes=65_536,  retention_days=90, commit_at_once=True),
    Stream(schema="tombstone.v1",    lane=Lane.ALERT,    tier=Tier.RECORD,   body=messages.Tombstone,      period_s=None, priority=0, max_bytes=65_536,  retention_days=90, commit_at_once=True),
    Stream(schema="health.v1",       lane=Lane.LIVE,     tier=Tier.HEALTH,   body=messages.HealthReport,   period_s=30.0, priority=2, max_bytes=262_144, retention_days=7),
    Stream(schema="aggregate.v1",    lane=Lane.LIVE,     tier=Tier.DATA,     body=messages.Aggregate,      period_s=60.0, priority=1, max_bytes=131_072, retention_days=7),
    Stream(schema="evidence.v1",     lane=Lane.EVIDENCE, tier=Tier.EVIDENCE, body=messages.EvidenceRecord, period_s=None, priority=1, max_bytes=262_144, retention_days=90),
    Stream(schema="commission.v1",   lane=Lane.EVIDENCE, tier=Tier.RECORD,   body=messages.CommissionReport, period_s=None, priority=1, max_bytes=16_384, retention_days=90),
    Stream(schema="update.v1",       lane=Lane.ALERT,    tier=Tier.RECORD,   body=updates.UpdateReport,    period_s=None, priority=0, max_bytes=4_096,   retention_days=90, commit_at_once=True),
    Stream(schema="shadow.v1",       lane=Lane.EVIDENCE, tier=Tier.RECORD,   body=updates.ShadowReport,    period_s=None, priority=1, max_bytes=131_072, retention_days=90),
    Stream(schema="disagreement.v1", lane=Lane.EVIDENCE, tier=Tier.EVIDENCE, body=updates.Disagreement,    period_s=None, priority=1, max_bytes=81_920,  retention_days=90),
)
# fmt: on

_BY_SCHEMA: Final = {row.schema: row for row in STREAMS}

BACKFILL_AFTER_S: Final = 120.0
"""A message that waited longer than this is backfill: sent last, recorded as late, never paged."""

REPORT_PERIOD_S: Final = 30.0
"""A device speaks at least this often: heartbeat, telemetry and command check in one request."""

DARK_AFTER_S: Final = 105.0
"""A device is dark after three missed reports and their jitter; known within 120 s."""

CAMERA_DOWN_AFTER_S: Final = 10.0
"""A camera that gave no frame for this long is down."""


def stream(schema: str) -> Stream:
    """Return the row for a schema.

    Raises:
        UnknownSchema: No such schema; a newer device may be talking to an older central.
    """
    try:
        return _BY_SCHEMA[schema]
    except KeyError:
        raise UnknownSchema(
            f"unknown schema {schema[:64]!r}",
            operator_hint="update central before the devices: it must know every schema they send",
        ) from None
