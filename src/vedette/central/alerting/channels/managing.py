"""Channels and deliveries as people change them: each change with its entry in the audit log.

What lives here: adding, changing, replacing secrets, enabling, removing, a message to test, sending
again. What does not: what may be written (`checking`), showing (`looking`). The rule: a secret of
ours is returned once, by the call that made it, and stands in no other answer.
"""

from typing import Final

import msgspec

from vedette.central import audit
from vedette.central.alerting.channels import outbox, store
from vedette.central.alerting.channels.checking import NewChannel, checked_name, taken
from vedette.central.alerting.channels.facts import (
    Kind,
    Secret,
    SharedSecret,
    State,
    Webhook,
)
from vedette.central.alerting.channels.sealing import Seal
from vedette.central.alerting.channels.signing import fresh, receivers
from vedette.central.alerting.facts import (
    Incident,
    IncidentState,
    Notice,
    NoticeKind,
    Severity,
    Subject,
)
from vedette.central.store.db import Tx
from vedette.errors import ConfigError
from vedette.ids import new_id

MAX_CHANNELS: Final = 200
OVERLAP_H: Final = 24
MAX_SECRETS: Final = 3
_HOUR_MS: Final = 3_600_000


async def put(
    tx: Tx, seal: Seal, channel: str, wanted: NewChannel, *, new: bool, actor: str, now_ms: int
) -> str:
    """Have a channel; return what its receiver needs to verify us, where that is new, else empty.

    Raises:
        ConfigError: Something cannot be so, or it is there already, or is not.
    """
    checked_name(channel)
    before, row = Secret(), None
    if new:
        await _check_new(tx, channel)
    else:
        row = await store.get(tx, channel, hold=True)
        before = row.opened(seal).secret
        if row.settings.__struct_config__.tag != wanted.settings.__struct_config__.tag:
            raise ConfigError(
                f"channel {channel} is of kind {row.kind}",
                operator_hint="remove it first, or take another name",
            )
    settings, secret = taken(wanted, before, now_ms)
    await store.put(tx, seal, channel, settings, secret, actor=actor, now_ms=now_ms)
    detail: dict[str, object] = {"settings": msgspec.to_builtins(settings)}
    if row is not None:
        detail["secret_changed"] = secret != before
    await _audit(tx, "channel.add" if new else "channel.change", channel, actor, now_ms, detail)
    if secret.shared and secret.shared != before.shared:
        return receivers(secret.shared[0].secret)
    return ""


async def rotate(
    tx: Tx, seal: Seal, channel: str, *, overlap_h: float, actor: str, now_ms: int
) -> str:
    """Return a new secret of a webhook; the one before signs beside it for so many hours.

    Raises:
        ConfigError: No webhook.
    """
    row = await store.get(tx, channel, hold=True)
    opened = row.opened(seal)
    if not isinstance(opened.settings, Webhook):
        raise ConfigError(
            f"channel {channel} is no webhook",
            operator_hint="give its new password or address with: channels change",
        )
    until_ms = now_ms + round(overlap_h * _HOUR_MS)
    older = [
        msgspec.structs.replace(one, until_ms=min(one.until_ms or until_ms, until_ms))
        for one in opened.secret.shared
        if one.until_ms is None or one.until_ms > now_ms
    ]
    made = SharedSecret(secret=fresh(opened.settings.signs), made_ms=now_ms)
    kept = [made, *older][:MAX_SECRETS]
    secret = msgspec.structs.replace(opened.secret, shared=kept)
    await store.put(tx, seal, channel, opened.settings, secret, actor=actor, now_ms=now_ms)
    detail: dict[str, object] = {"overlap_h": overlap_h}
    await _audit(tx, "channel.rotate_secret", channel, actor, now_ms, detail)
    return receivers(made.secret)


async def enable(tx: Tx, channel: str, *, actor: str, now_ms: int) -> None:
    """Have a channel tried again, as if it had never failed."""
    await store.get(tx, channel, hold=True)
    await tx.run("channel_enable", channel=channel, actor=actor, now_ms=now_ms)
    await _audit(tx, "channel.enable", channel, actor, now_ms)


async def disable(tx: Tx, channel: str, why: str, *, actor: str, now_ms: int) -> None:
    """Have nothing sent on a channel; what is due for it waits."""
    await store.get(tx, channel, hold=True)
    await tx.value("channel_disable", channel=channel, why=why[:200], actor=actor, now_ms=now_ms)
    await _audit(tx, "channel.disable", channel, actor, now_ms, {"why": why[:200]})


async def remove(tx: Tx, channel: str, *, actor: str, now_ms: int) -> None:
    """Have no such channel; what waited for it is cancelled."""
    await store.get(tx, channel, hold=True)
    await tx.run("channel_remove", channel=channel)
    await tx.run("deliveries_of_removed", channel=channel, now_ms=now_ms)
    await _audit(tx, "channel.remove", channel, actor, now_ms)


async def reseal(tx: Tx, seal: Seal, *, actor: str, now_ms: int) -> int:
    """Have every secret sealed under the newest key; return how many."""
    count = 0
    for row in await tx.all("channels_all", store.Row):
        if row.secret is None:
            continue
        held = await store.get(tx, row.channel, hold=True)
        opened = held.opened(seal)
        sealed = seal.close(held.channel, Kind(held.kind), opened.secret)
        await tx.run("channel_reseal", channel=held.channel, secret=sealed)
        count += 1
    await _audit(tx, "channel.rotate_key", "", actor, now_ms, {"channels": count})
    return count


async def put_test(tx: Tx, channel: str, *, url: str, address: str, actor: str, now_ms: int) -> str:
    """Have a message to test the channel waiting; return its delivery."""
    row = await store.get(tx, channel)
    if not row.enabled:
        raise ConfigError(
            f"channel {channel} is disabled: {row.disabled_why or 'by hand'}",
            operator_hint=f"vedette central channels enable {channel}",
        )
    key = new_id("test")
    incident = Incident(
        incident=key,
        key=key,
        rule="test",
        severity=Severity.INFO,
        state=IncidentState.OPEN,
        title=f"A message to test channel {channel}, asked for by {actor}",
        todo="Nothing: the channel works.",
        subject=Subject(),
        opened_ms=now_ms,
        changed_ms=now_ms,
        known_ms=now_ms,
    )
    notice = Notice(
        key=key,
        kind=NoticeKind.TEST,
        channel=channel,
        address=address,
        due_ms=now_ms,
        incident=incident,
        url=url,
    )
    await outbox.put(tx, [notice], now_ms)
    await _audit(tx, "channel.test", channel, actor, now_ms)
    return str(await tx.value("delivery_of_key", key=key))


async def replay(tx: Tx, delivery: str, *, actor: str, now_ms: int) -> None:
    """Have a delivery that is dead or was cancelled sent after all, under the same id.

    Raises:
        ConfigError: It is neither.
    """
    until_ms = now_ms + outbox.KEPT_TRYING_MS
    if not await tx.run("delivery_replay", delivery=delivery, now_ms=now_ms, until_ms=until_ms):
        raise _not_so(delivery, f"{State.DEAD} or {State.CANCELLED}")
    await _audit(tx, "delivery.replay", delivery, actor, now_ms)


async def replay_all(tx: Tx, channel: str, *, actor: str, now_ms: int) -> int:
    """Have everything dead on a channel sent after all; return how many."""
    await store.get(tx, channel)
    until_ms = now_ms + outbox.KEPT_TRYING_MS
    count = await tx.run("deliveries_replay", channel=channel, now_ms=now_ms, until_ms=until_ms)
    await _audit(tx, "delivery.replay_all", channel, actor, now_ms, {"count": count})
    return count


async def cancel(tx: Tx, delivery: str, *, actor: str, now_ms: int) -> None:
    """Have a delivery that waits not sent.

    Raises:
        ConfigError: It does not wait.
    """
    said = f"cancelled by {actor}"[:200]
    if not await tx.run("delivery_cancel", delivery=delivery, now_ms=now_ms, said=said):
        raise _not_so(delivery, State.WAITING)
    await _audit(tx, "delivery.cancel", delivery, actor, now_ms)


async def _check_new(tx: Tx, channel: str) -> None:
    rows = await tx.all("channels_all", store.Row)
    if any(row.channel == channel for row in rows):
        raise ConfigError(
            f"there is a channel {channel} already",
            operator_hint="change it with --change, or take another name",
        )
    if len(rows) >= MAX_CHANNELS:
        raise ConfigError(f"at most {MAX_CHANNELS} channels", operator_hint="remove one first")


def _not_so(delivery: str, states: str) -> ConfigError:
    return ConfigError(
        f"delivery {delivery[:64]!r} is not {states}",
        operator_hint="vedette central deliveries list",
    )


async def _audit(  # noqa: PLR0917 - who did what to which, when
    tx: Tx,
    action: str,
    target: str,
    actor: str,
    now_ms: int,
    detail: dict[str, object] | None = None,
) -> None:
    await audit.write(
        tx, at_ms=now_ms, actor=actor, action=action, target=target, detail=detail or {}
    )
