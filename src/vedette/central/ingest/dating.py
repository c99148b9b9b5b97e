"""When a message was made, by central's clock. Pure.

A trusted device clock is believed within limits. Otherwise the age of a message is the monotonic
difference between making and sending it within one boot, and its date is receive time minus age.
A message of an earlier boot without a trusted clock cannot be dated: it is kept and counted, and
its stretch of time says CLOCK_UNTRUSTED.
"""

import msgspec

from vedette.wire import limits
from vedette.wire.envelope import Batch, ClockState, Envelope

_MAX_FUTURE_MS = int(limits.MAX_FUTURE_S * 1000)
_MAX_AGE_MS = int(limits.MAX_AGE_S * 1000)


class Dating(msgspec.Struct, frozen=True):
    """The result for one envelope.

    Attributes:
        made_ms: When it was made, by central's clock; None where that cannot be known.
        shift_ms: What to add to the times in its body.
        latest_ms: It was made no later than this, dated or not.
        refusal: Why it is refused; empty where it is not.
    """

    made_ms: int | None
    shift_ms: int
    latest_ms: int
    refusal: str = ""


def date(envelope: Envelope, batch: Batch, received_ms: int) -> Dating:
    """Return when `envelope` was made."""
    wall_ms = envelope.t_wall_ms
    trusted = envelope.clock_state is ClockState.TRUSTED
    if trusted and wall_ms <= received_ms + _MAX_FUTURE_MS:
        if wall_ms < received_ms - _MAX_AGE_MS:
            return Dating(wall_ms, 0, wall_ms, "too old: no spool holds messages that long")
        return Dating(wall_ms, 0, wall_ms)
    if envelope.boot_id != batch.boot_id:
        return Dating(None, 0, received_ms - batch.sent_mono_ms)
    age_ms = batch.sent_mono_ms - envelope.t_mono_ms
    if age_ms < 0:
        return Dating(None, 0, received_ms, "made after it was sent, by its own monotonic clock")
    if age_ms > _MAX_AGE_MS:
        return Dating(None, 0, received_ms, "too old: no spool holds messages that long")
    made_ms = received_ms - age_ms
    return Dating(made_ms, made_ms - wall_ms, made_ms)
