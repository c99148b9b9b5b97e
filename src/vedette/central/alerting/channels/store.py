"""Channels as they are kept: settings readable, secrets sealed.

What lives here: rows of `alert_channels`. What does not: deliveries, showing. The rule: a change is
one transaction with its entry in the audit log, and the entry names what changed, never a secret.
"""

import msgspec

from vedette.central.alerting.channels.facts import Channel, Kind, Secret, Settings, kind_of
from vedette.central.alerting.channels.sealing import Seal
from vedette.central.store.db import Tx
from vedette.errors import ConfigError


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A channel as it stands in the database."""

    channel: str
    kind: str
    body: bytes
    secret: bytes | None
    version: int
    enabled: bool = True
    disabled_why: str = ""
    changed_by: str = ""
    changed_ms: int = 0
    failures: int = 0
    rests_ms: int = 0
    sent_ms: int | None = None
    said: str = ""

    @property
    def settings(self) -> Settings:
        """Its settings, without secrets."""
        return msgspec.json.decode(self.body, type=Settings)

    def opened(self, seal: Seal) -> Channel:
        """Return it with its secret.

        Raises:
            TrustError: The secret cannot be opened.
        """
        return Channel(
            channel=self.channel,
            settings=self.settings,
            secret=seal.open(self.channel, Kind(self.kind), self.secret),
            version=self.version,
        )


async def get(tx: Tx, channel: str, *, hold: bool = False) -> Row:
    """Return a channel; with `hold` nobody else changes it until the transaction ends.

    Raises:
        ConfigError: There is none of this name.
    """
    row = await tx.one("channel_hold" if hold else "channel_get", Row, channel=channel[:128])
    if row is None:
        raise ConfigError(
            f"there is no channel {channel[:64]!r}",
            operator_hint="vedette central channels list",
        )
    return row


async def put(
    tx: Tx, seal: Seal, channel: str, settings: Settings, secret: Secret, *, actor: str, now_ms: int
) -> None:
    """Have a channel of this name with these settings and this secret."""
    kind = kind_of(settings)
    await tx.run(
        "channel_put",
        channel=channel,
        kind=str(kind),
        body=msgspec.json.encode(settings),
        secret=seal.close(channel, kind, secret),
        actor=actor,
        now_ms=now_ms,
    )
