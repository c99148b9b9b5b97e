"""One thing made ready for one export: read, with links where it asks for them, as a parcel.

The rule: the same thing for the same export is the same parcel under the same key, whenever and
however often it is made, so that the outbox takes it once; only links are younger.
"""

import logging
from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central.alerting.channels.facts import CLOUD_EVENT, PACKAGE, Kind, carries
from vedette.central.alerting.channels.outbox import MAX_BODY_BYTES, Parcel
from vedette.central.clips import fetching
from vedette.central.clips.fetching import StoredFile
from vedette.central.exporting import cloudevents, links
from vedette.central.exporting.facts import (
    Export,
    File,
    Package,
    Thing,
    Told,
)
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.wire.evidence import media_type
from vedette.wire.messages import EventReport, EvidenceRecord

_log = logging.getLogger(__name__)

_event: Final = msgspec.msgpack.Decoder(EventReport)
_record: Final = msgspec.msgpack.Decoder(EvidenceRecord)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What the database has of one thing."""

    number: int
    kind: Told
    device: str
    event: str
    site: str
    site_name: str
    camera: str
    what: str
    at_ms: int
    received_ms: int
    late: bool
    body: bytes
    evidence: str | None
    status: str | None
    evidence_body: bytes | None


def read(row: Row) -> Thing:
    """Return what an export may be told, without files.

    Raises:
        msgspec.MsgspecError: What is kept of it cannot be read any more.
    """
    return Thing(
        told=row.kind,
        site=row.site,
        site_name=row.site_name,
        device=row.device,
        camera=row.camera,
        event=_event.decode(row.body),
        received_ms=row.received_ms,
        late=row.late,
        record=_record.decode(row.evidence_body) if row.evidence_body else None,
    )


async def thing_of(tx: Tx, row: Row, now_ms: int) -> Thing:
    """As `read`, with the files of a clip that is here."""
    thing = read(row)
    if row.kind != "clip" or not row.evidence:
        return thing
    clip = await fetching.one(tx, row.device, row.evidence, now_ms)
    if clip is None or clip.state != "here":
        return thing
    stored = await fetching.files(tx, row.device, row.evidence)
    return with_files(thing, clip.form, stored)


def with_files(thing: Thing, form: str, stored: Sequence[StoredFile]) -> Thing:
    """Return it with the files of its clip, which are here in this form."""
    files = [
        File(
            name=file.name,
            sha256=file.sha256,
            bytes=file.bytes,
            media=media_type(form, file.name),
        )
        for file in stored
    ]
    return msgspec.structs.replace(thing, form=form, files=files)


def linked(services: Services, export: Export, thing: Thing, now_ms: int) -> Thing:
    """Return a clip with a link to each file, where the export asks for links."""
    if not thing.files or not export.link_h or thing.record is None:
        return thing
    key = links.key_of(services.config.state)
    expires_ms = now_ms + int(export.link_h * 3_600_000)
    evidence, url = thing.record.evidence, services.config.url

    def address(name: str) -> str:
        return links.address(
            key,
            url,
            links.Link(
                export=export.export,
                device=thing.device,
                evidence=evidence,
                name=name,
                expires_ms=expires_ms,
            ),
        )

    files = [msgspec.structs.replace(file, url=address(file.name)) for file in thing.files]
    return msgspec.structs.replace(thing, files=files, expires_ms=expires_ms)


def parcel_of(export: Export, kind: str, thing: Thing) -> Parcel | None:
    """Return what is sent; None where the channel is gone, or has no use for it."""
    if kind not in set(Kind) or not carries(Kind(kind), CLOUD_EVENT):
        return None
    body = cloudevents.encoded(thing)
    media, address = CLOUD_EVENT, ""
    if kind == Kind.MQTT:
        address = cloudevents.topic_of(thing)
    elif kind == Kind.S3:
        media = PACKAGE
        body = msgspec.json.encode(
            Package(
                folder=cloudevents.folder_of(thing),
                device=thing.device,
                evidence=thing.record.evidence if thing.record else "",
                files=thing.files,
                cloud_event=msgspec.Raw(body),
            )
        )
    if len(body) > MAX_BODY_BYTES:
        _log.warning(
            "too large to export",
            extra={"event": "export.too_large", "export": export.export, "bytes": len(body)},
        )
        return None
    event = thing.event
    return Parcel(
        key=f"export:{export.export}:{thing.device}:{thing.told}:{cloudevents.id_of(thing)}",
        channel=export.channel,
        kind=thing.told,
        media=media,
        body=body,
        address=address,
        subject=f"{event.kind} {thing.camera} ({thing.site})"[:120],
    )
