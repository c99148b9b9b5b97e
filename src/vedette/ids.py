"""The names of things.

Distinct types, so that a camera's name cannot be passed where a site's is wanted. All are
short lower-case slugs that people can read in a log line; `is_slug` is the one rule.
"""

import re
import secrets
from typing import NewType

SiteId = NewType("SiteId", str)
DeviceId = NewType("DeviceId", str)
CameraId = NewType("CameraId", str)
ModelId = NewType("ModelId", str)
RolloutId = NewType("RolloutId", str)
EventId = NewType("EventId", str)
BootId = NewType("BootId", str)

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")


def is_slug(text: str) -> bool:
    """True where `text` may name a site, device, camera, zone or line: 1–64 of `a-z 0-9 . _ -`."""
    return _SLUG.fullmatch(text) is not None


def new_id(prefix: str) -> str:
    """Return a fresh id such as `ev-3f9a…` with 80 random bits: unique without asking anybody."""
    return f"{prefix}-{secrets.token_hex(10)}"
