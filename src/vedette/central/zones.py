"""A site's time zone, changed after its devices were enrolled: telling those that do not know it.

What lives here: comparing what each device says it was told with what the site says now, and
signing settings where they differ. What does not: changing the zone (`tree`), laying it over a
device's own configuration (`edge.desired`). The rule: a device that does not say which zone it was
told is of an older version, refuses settings with a field that it does not know, and is never told.
"""

import logging
from typing import Final

import msgspec

from vedette.central import desired
from vedette.central.bulletin import Bulletin
from vedette.central.store.db import Database
from vedette.trust.keys import SigningKey

_log = logging.getLogger(__name__)

AT_ONCE: Final = 500
AGAIN_MS: Final = 3_600_000
"""A device that was enrolled around a change is found within this."""


class _Said(msgspec.Struct, frozen=True):
    """A health report as far as it matters here: the rest is skipped, not decoded."""

    time_zone: str = ""


class _Device(msgspec.Struct, frozen=True, kw_only=True):
    device: str
    time_zone: str
    health: bytes
    settings: bytes | None


_said = msgspec.msgpack.Decoder(_Said)


class Zones:
    """Remembers which zone each site had when its devices were looked at. Thread: one loop."""

    def __init__(self) -> None:
        self._looked: dict[str, str] = {}
        self._all_ms = 0

    async def tell(self, db: Database, bulletin: Bulletin, key: SigningKey, now_ms: int) -> int:
        """Sign settings for every device that was told another zone; return for how many.

        Only sites that changed since the last time are looked at, and now and then all.
        """
        async with db.transaction() as tx:
            present = {str(site): str(zone) for site, zone in await tx.tuples("zones_all")}
        if now_ms - self._all_ms >= AGAIN_MS:
            self._looked, self._all_ms = {}, now_ms
        changed = sorted(site for site, zone in present.items() if self._looked.get(site) != zone)
        told, after = 0, ""
        while changed:
            async with db.transaction() as tx:
                of = {"sites": changed, "after": after, "limit": AT_ONCE}
                devices = await tx.all("zones_devices", _Device, **of)
            for one in devices:
                said = _zone_of(one.health)
                signed = desired.signed_settings(one.settings)
                zone = signed.time_zone if signed else msgspec.UNSET
                if said and (said if zone is msgspec.UNSET else zone) != one.time_zone:
                    told += await desired.tell_zone(db, bulletin, key, one.device, now_ms=now_ms)
            if len(devices) < AT_ONCE:
                break
            after = devices[-1].device
        self._looked = present
        if told:
            _log.info(
                "devices are told their site's time zone",
                extra={"event": "zones.told", "devices": told},
            )
        return told


def _zone_of(health: bytes) -> str:
    try:
        return _said.decode(health).time_zone
    except msgspec.DecodeError:  # of a version that this one does not know
        return ""
