"""The pages of exports: each state in the list, and one that works, is stuck, is hostile."""

from collections.abc import Callable
from typing import Final

import msgspec

from vedette.central.alerting.channels.facts import CLOUD_EVENT, S3, Mqtt
from vedette.central.alerting.channels.looking import ChannelState, DeliveryRow
from vedette.central.alerting.facts import Where
from vedette.central.console import specimens
from vedette.central.console.alerts import exports
from vedette.central.console.alerts.specimens_rules import CHANNELS, deliveries
from vedette.central.console.page import Page
from vedette.central.exporting.facts import Export
from vedette.central.exporting.looking import ExportState, Standing
from vedette.central.exporting.store import ExportView
from vedette.wire.messages import EventKind

NOW_MS: Final = specimens.NOW_MS
MIN_MS: Final = 60_000
DAY_MS: Final = specimens.DAY_MS
_HOSTILE: Final = "<script>alert(1)</script>" + "'\"&" * 12
_LONG: Final = "a-name-that-goes-on-and-on-until-the-very-end-of-everything-there"

_OPS: Final = CHANNELS[0]
_BUCKET: Final = msgspec.structs.replace(
    _OPS,
    channel="archive",
    kind="s3",
    settings=S3(endpoint="https://s3.example.com", bucket="plant-archive"),
    state=ChannelState.FAILING,
    said="503 Slow Down",
)
_BROKER: Final = msgspec.structs.replace(
    _OPS, channel="plant", kind="mqtt", settings=Mqtt(host="broker.example")
)


def _view(settings: Export, *, enabled: bool = True, trouble: str = "") -> ExportView:
    return ExportView(
        settings=settings,
        enabled=enabled,
        version=3,
        changed_by="anna",
        changed_ms=NOW_MS - 9 * DAY_MS,
        trouble=trouble,
    )


WELL: Final = Standing(
    view=_view(
        Export(
            export="mes",
            channel="ops-webhook",
            kinds=[EventKind.LINE_CROSSED, EventKind.ZONE_ENTERED],
            labels=["pallet"],
            where=Where(folders=["plants/north"]),
            fetch=True,
        )
    ),
    state=ExportState.WELL,
    channel=_OPS,
    waiting=1,
    oldest_ms=NOW_MS - 12_000,
    sent_day=1_204,
    sent_ms=NOW_MS - 40_000,
)
FAILING: Final = Standing(
    view=_view(Export(export="archive", channel="archive", tell=["clip"], link_h=0, late=False)),
    state=ExportState.FAILING,
    channel=_BUCKET,
    waiting=38,
    oldest_ms=NOW_MS - 2 * DAY_MS,
    dead=4,
    dead_said="given up; last: 503 Slow Down",
    sent_day=0,
    sent_ms=NOW_MS - 2 * DAY_MS,
)
_GONE: Final = Standing(
    view=_view(
        Export(export="erp", channel="old-erp"),
        trouble="there is no channel old-erp: nothing is sent",
    ),
    state=ExportState.STUCK,
    channel=None,
)
_HOSTILE_ONE: Final = Standing(
    view=_view(
        Export(
            export=_LONG[:64],
            channel="plant",
            labels=[_HOSTILE[:64]],
            where=Where(cameras=[_HOSTILE, _LONG], sites=[_LONG] * 9),
        ),
        trouble="links begin with http://127.0.0.1:8080, which leads nowhere else: set public_url",
    ),
    state=ExportState.WARNED,
    channel=_BROKER,
    dead=1,
    dead_said=_HOSTILE,
    sent_day=3,
    sent_ms=NOW_MS - 4 * MIN_MS,
)
_QUIET: Final = Standing(
    view=_view(Export(export="notebook", channel="plant", where=Where(sites=["lisbon-1"]))),
    state=ExportState.QUIET,
    channel=_BROKER,
)
_OFF: Final = Standing(
    view=_view(Export(export="trial", channel="ops-webhook", tell=["event"]), enabled=False),
    state=ExportState.OFF,
    channel=_OPS,
)
ALL: Final = [WELL, FAILING, _GONE, _HOSTILE_ONE, _QUIET, _OFF]


def told() -> list[DeliveryRow]:
    """Return a delivery of an export for each way that one can be."""
    return [
        msgspec.structs.replace(
            one,
            channel="ops-webhook",
            incident="",
            person="",
            address="",
            kind=kind,
            media=CLOUD_EVENT,
            subject=one.subject if one.subject.startswith("<") else f"line_crossed {camera} (oslo)",
        )
        for one, kind, camera in zip(
            deliveries(),
            ("clip", "evidence", "event", "event", "clip"),
            ("gate", "dock-1", "dock-2", "gate", "gate"),
            strict=True,
        )
    ]


PATTERNS: Final[dict[str, Callable[[Page], str]]] = {
    "exports": lambda page: exports.list_html(ALL, page, carriers=[_OPS, _BUCKET], fetches=17),
    "exports-empty": lambda page: exports.list_html([], page),
    "export": lambda page: exports.export_html(WELL, told(), page, recent=12, done="tried"),
    "export-stuck": lambda page: exports.export_html(
        _GONE,
        [],
        page,
        problem="There is no channel 'old-erp'. vedette central channels list",
    ),
    "export-hostile": lambda page: exports.export_html(_HOSTILE_ONE, told()[4:], page),
}
