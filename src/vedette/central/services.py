"""What a request may use: the one bundle that `app` builds and hands to every route."""

import msgspec

from vedette.central.bulletin import Bulletin
from vedette.central.clips.blobs import Blobs
from vedette.central.meters import Meters
from vedette.central.overview import Overview
from vedette.central.settings import CentralConfig
from vedette.central.steady import SteadyClock
from vedette.central.store.db import Database
from vedette.clock import wall_ms
from vedette.trust.keys import SigningKey


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that routes share.

    Attributes:
        online_key: Signs settings and time; can never sign a site policy.
        began_mono_ns: When this process began to serve, by its monotonic clock.
    """

    config: CentralConfig
    clock: SteadyClock
    db: Database
    bulletin: Bulletin
    online_key: SigningKey
    meters: Meters = msgspec.field(default_factory=Meters)
    overview: Overview = msgspec.field(default_factory=Overview)
    began_mono_ns: int | None = None

    @property
    def blobs(self) -> Blobs:
        """Files named by their content, beside the database."""
        return Blobs(self.config.blobs)

    def now_ms(self) -> int:
        """Return central's wall clock in milliseconds."""
        return wall_ms(self.clock.now_at())
