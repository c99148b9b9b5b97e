"""Exports as rows, every change in the audit log."""

import msgspec

from vedette.central import audit
from vedette.central.alerting.channels import store as channels
from vedette.central.alerting.channels.facts import CLOUD_EVENT, Kind, carries, require_carries
from vedette.central.alerting.channels.outbox import KEPT_TRYING_MS
from vedette.central.exporting import links
from vedette.central.exporting.facts import MAX_EXPORTS, Export, check, why_never
from vedette.central.store.db import Tx
from vedette.errors import ConfigError
from vedette.ids import is_slug


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An export as it is kept."""

    export: str
    version: int
    enabled: bool
    body: bytes
    changed_by: str
    changed_ms: int

    def read(self) -> Export:
        """Return what it says."""
        return msgspec.json.decode(self.body, type=Export)


class ExportView(msgspec.Struct, frozen=True, kw_only=True):
    """An export as people see it; `trouble` says what keeps things from arriving, or is empty."""

    settings: Export
    enabled: bool
    version: int
    changed_by: str
    changed_ms: int
    trouble: str = ""


async def all_of(tx: Tx) -> list[Row]:
    """Return every export, by name."""
    return await tx.all("exports_all", Row)


async def get(tx: Tx, export: str) -> Row:
    """Return an export.

    Raises:
        ConfigError: There is none of this name.
    """
    row = await tx.one("export_get", Row, export=export) if is_slug(export) else None
    if row is None:
        raise ConfigError(
            f"there is no export {export[:64]!r}", operator_hint="vedette central exports list"
        )
    return row


async def views(tx: Tx, url: str) -> list[ExportView]:
    """Return every export as people see it, by name; links begin with `url`."""
    channel = await _channels(tx)
    return [_view(row, channel, url) for row in await all_of(tx)]


async def view(tx: Tx, row: Row, url: str) -> ExportView:
    """Return an export as people see it; links begin with `url`."""
    return _view(row, await _channels(tx), url)


async def kind_of(tx: Tx, channel: str) -> str:
    """Return which kind a channel is; empty where it is gone."""
    found = (await _channels(tx)).get(channel)
    return found.kind if found else ""


async def _channels(tx: Tx) -> dict[str, channels.Row]:
    return {row.channel: row for row in await tx.all("channels_all", channels.Row)}


def _view(row: Row, among: dict[str, channels.Row], url: str) -> ExportView:
    settings = row.read()
    channel = among.get(settings.channel)
    trouble = ""
    if channel is None:
        trouble = f"there is no channel {settings.channel}: nothing is sent"
    elif not carries(Kind(channel.kind), CLOUD_EVENT):
        trouble = f"channel {settings.channel} carries notices only: nothing is sent"
    elif not channel.enabled:
        trouble = f"channel {settings.channel} is disabled: what is told waits"
    elif never := why_never(settings):
        trouble = f"it tells nothing: {never}"
    elif settings.link_h and links.leads_only_here(url):
        trouble = f"links begin with {url}, which leads nowhere else: set public_url"
    return ExportView(
        settings=settings,
        enabled=row.enabled,
        version=row.version,
        changed_by=row.changed_by,
        changed_ms=row.changed_ms,
        trouble=trouble,
    )


async def put(tx: Tx, export: Export, *, enabled: bool, by: str, now_ms: int) -> None:
    """Have an export, or have it changed.

    One that is off may name a channel that is gone; one that is only switched off is not checked.

    Raises:
        ConfigError: It cannot be, there are too many, or it is on and its channel is gone or
            carries notices only.
    """
    known = {row.export: row for row in await all_of(tx)}
    before = known.get(export.export)
    if enabled or before is None or before.read() != export:
        check(export)
    if enabled:
        channel = await channels.get(tx, export.channel)
        require_carries(export.channel, Kind(channel.kind), CLOUD_EVENT)
    if len(known) >= MAX_EXPORTS and before is None:
        raise ConfigError(f"at most {MAX_EXPORTS} exports", operator_hint="remove one first")
    body = msgspec.json.encode(export)
    await tx.run(
        "export_put", export=export.export, enabled=enabled, body=body, by=by, now_ms=now_ms
    )
    detail = {"enabled": enabled, **msgspec.to_builtins(export)}
    await _write(tx, "export.put", export.export, by, now_ms, detail)


async def drop(tx: Tx, export: str, *, by: str, now_ms: int) -> None:
    """Have an export no more; its links end with it.

    Raises:
        ConfigError: There is none.
    """
    await get(tx, export)
    await tx.run("export_drop", export=export)
    await _write(tx, "export.drop", export, by, now_ms, {})


async def switch(tx: Tx, export: str, *, on: bool, by: str, now_ms: int) -> None:
    """Have an export told of what happens from now on, or of nothing; the rest stays as it is.

    One whose channel is gone can still be switched off.

    Raises:
        ConfigError: There is none, or it cannot be switched on.
    """
    row = await get(tx, export)
    await put(tx, row.read(), enabled=on, by=by, now_ms=now_ms)


async def replay(tx: Tx, export: str, *, by: str, now_ms: int) -> int:
    """Have everything dead that an export told of sent after all, where its channel is still there.

    Returns:
        How many.

    Raises:
        ConfigError: There is no such export.
    """
    await get(tx, export)
    until_ms = now_ms + KEPT_TRYING_MS
    count = await tx.run("export_replay", export=export, now_ms=now_ms, until_ms=until_ms)
    await _write(tx, "export.replay", export, by, now_ms, {"count": count})
    return count


async def _write(  # noqa: PLR0917 - who did what to which, when
    tx: Tx, action: str, target: str, by: str, now_ms: int, detail: dict[str, object]
) -> None:
    await audit.write(tx, at_ms=now_ms, actor=by, action=action, target=target, detail=detail)
