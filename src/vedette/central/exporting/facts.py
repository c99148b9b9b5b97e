"""What an export is, and what it is told of. Pure."""

from typing import Final, Literal

import msgspec

from vedette.central.alerting import places
from vedette.central.alerting.facts import Where
from vedette.central.alerting.places import Impossible
from vedette.ids import is_slug
from vedette.wire.messages import EventKind, EventReport, EvidenceRecord

MAX_EXPORTS: Final = 50
MAX_LINK_HOURS: Final = 168
MAX_LABELS: Final = 100
MAX_LABEL_CHARS: Final = 64

Told = Literal["event", "evidence", "clip"]


class Export(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events go to which channel, in which form.

    Attributes:
        export: Its name.
        channel: A channel that carries other things than notices: webhook, mqtt or s3.
        tell: Of what: `event` when it is known here, `evidence` when the device wrote some, `clip`
            when its files are here; empty: of all three.
        kinds, labels: Of events; empty: all.
        where: Sites, folders, groups, devices, cameras.
        late: With what had waited on the device.
        fetch: Ask the device for the clip of each such event that has evidence; its site's policy
            decides whether one comes, and in which form.
        link_h: Links to files of a clip are good for so many hours; 0: no links.
    """

    export: str
    channel: str
    tell: list[Told] = []
    kinds: list[EventKind] = []
    labels: list[str] = []
    where: Where = msgspec.field(default_factory=Where)
    late: bool = True
    fetch: bool = False
    link_h: float = 72.0


def check(export: Export) -> Export:
    """Return an export that can be.

    Raises:
        Impossible: It cannot; the message says why.
    """
    if not is_slug(export.export) or not is_slug(export.channel):
        raise Impossible(
            "an export and its channel go by names", operator_hint="1 to 64 of a-z 0-9 . _ -"
        )
    if not 0 <= export.link_h <= MAX_LINK_HOURS:
        raise Impossible(
            f"links are good for {MAX_LINK_HOURS} hours at most",
            operator_hint="for longer, push into a bucket",
        )
    places.check(export.where)
    if len(export.labels) > MAX_LABELS:
        raise Impossible(
            f"{len(export.labels)} labels; at most {MAX_LABELS}",
            operator_hint="none at all stands for every label",
        )
    for label in export.labels:
        if not 0 < len(label) <= MAX_LABEL_CHARS or not label.isprintable():
            raise Impossible(
                f"{label[:80]!r} cannot be a label",
                operator_hint=f"a class as the model names it: 1 to {MAX_LABEL_CHARS} characters",
            )
    return export


def why_never(export: Export) -> str:
    """Return why an export that is kept tells nothing; empty where it can.

    One that was made before `check` knew of this is kept as it was.
    """
    try:
        check(export)
    except Impossible as error:
        return str(error)
    return ""


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a clip that is here; `url` empty: no link was asked for."""

    name: str
    sha256: str
    bytes: int
    media: str
    url: str = ""


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """What an export is told of: an event, what the device holds of it, the clip that came.

    Attributes:
        record: Of the evidence; None: none was asked for, or none was said yet.
        form: Of the clip: `clip`, or `blurred`.
        expires_ms: Until when links are good.
    """

    told: Told
    site: str
    site_name: str
    device: str
    camera: str
    event: EventReport
    received_ms: int
    late: bool
    record: EvidenceRecord | None = None
    form: str = ""
    files: list[File] = []
    expires_ms: int | None = None


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """What a bucket gets: where to, and which files."""

    folder: str
    device: str
    evidence: str
    files: list[File]
    cloud_event: msgspec.Raw


def is_about(export: Export, thing: Thing) -> bool:
    """True where an export asks for such events; places are looked at elsewhere."""
    event = thing.event
    return (
        (not export.kinds or event.kind in export.kinds)
        and (not export.labels or event.label in export.labels)
        and (export.late or not thing.late)
    )


def is_told(export: Export, thing: Thing) -> bool:
    """True where an export is told of this much of an event."""
    return not export.tell or thing.told in export.tell
