"""What a request may use: the one bundle that `app` builds and hands to every route."""

import msgspec

from vedette.central.bulletin import Bulletin
from vedette.central.meters import Meters
from vedette.central.settings import CentralConfig
from vedette.central.steady import SteadyClock
from vedette.central.store.db import Database
from vedette.clock import wall_ms
from vedette.trust.keys import SigningKey


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that routes share.

    Attributes:
        online_key: Signs settings and time; can never sign a site policy.
    """

    config: CentralConfig
    clock: SteadyClock
    db: Database
    bulletin: Bulletin
    online_key: SigningKey
    meters: Meters = msgspec.field(default_factory=Meters)

    def now_ms(self) -> int:
        """Return central's wall clock in milliseconds."""
        return wall_ms(self.clock.now_at())
