"""Holding evidence on a device: it stays, whatever age and budget say, until it is released.

    desired state: Request(kind="hold" | "release", evidence=…, reason=…)
    POST /v1/answer/{request}     `HoldAnswer` as JSON, or `application/problem+json`: why not

Central is one holder, however many reasons it has: it releases when its last reason is gone. A
person at the device is another; each releases only its own. No pixels move, so the pixel policy has
no say in it.
"""

from typing import Final

import msgspec

from vedette.wire.diagnostics import JSON, Form
from vedette.wire.numbers import Count

HOLD: Final = "hold"
RELEASE: Final = "release"

FORMS: Final[dict[str, Form]] = {
    HOLD: Form(content_type=JSON, max_bytes=4_096),
    RELEASE: Form(content_type=JSON, max_bytes=4_096),
}


class HoldAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How a package stands after the question.

    Attributes:
        held: Somebody holds it, perhaps another than who asked.
        bytes: Of the package; 0 while it is being packed.
        held_bytes: Of all packages that are held on this device.
        limit_bytes: What may be held there at most (`evidence.hold_mb`).
    """

    evidence: str
    held: bool
    bytes: Count
    held_bytes: Count
    limit_bytes: Count
