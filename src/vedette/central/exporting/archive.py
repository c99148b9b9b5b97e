"""Many packages in one download: a zip that is made while it is sent.

    packages/{day}_{site}_{device}_{event}/clip.mp4, evidence.json, …   as it came from the device
    events/{day}_{site}_{device}_{event}.json                           as a CloudEvent
    manifest.json    what is inside, with hashes; what is not, and why
    SHA256SUMS       for `sha256sum -c`

The rule: only clips that are here and settled go in, and only what the asker may see; which ones
is decided before the first byte, with a look at each in the audit log; a file that goes away while
others are sent is said in the manifest, which ends the archive. Names are made of what every system
takes. Nothing is held in memory or on the disk.
"""

import hashlib
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import BinaryIO, Final

import msgspec

from vedette.central.clips import looking
from vedette.central.clips.blobs import Blobs
from vedette.central.clips.fetching import StoredFile
from vedette.central.clips.looking import CHUNK, Flow
from vedette.central.exporting import cloudevents, packing
from vedette.central.store import arrays
from vedette.central.store.db import Tx
from vedette.clock import from_wall_ms
from vedette.errors import ConfigError
from vedette.wire.evidence import signature_of

MAX_PACKAGES: Final = 1_000
MAX_BYTES: Final = 4 * 1024**3
MAX_EVENTS: Final = 10_000
"""With evidence in the asked time, here or not."""

NAME: Final = "archive.zip"
"""What a look at one of the packages is called in the audit log."""

_MANIFEST_VERSION: Final = 1
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_MOST_CHARS: Final = 64
_SHORTER: Final = "ask for a shorter time, one site or one camera"
_WHY: Final = {
    "": "nobody asked the device for it",
    "asked": "it has not come yet",
    "sending": "it has not come yet",
    "refused": "the device or its site's policy does not let it go",
    "failed": "what came was not whole, or not signed by its device",
    "expired": "the device did not answer in time",
}


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Which packages; empty fields ask for all."""

    from_ms: int
    to_ms: int
    site: str = ""
    device: str = ""
    camera: str = ""
    kind: str = ""
    held: bool = False


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """One package in an archive; `held`: nobody may let it go; `signed`: its device signed it."""

    folder: str
    site: str
    device: str
    camera: str
    event: str
    kind: str
    at_ms: int
    evidence: str
    form: str
    signed: bool
    held: bool
    files: list[StoredFile]


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """An event whose package is not inside, and why."""

    site: str
    device: str
    camera: str
    event: str
    at_ms: int
    why: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive will hold; `said` is each event as a CloudEvent, by folder."""

    wish: Wish
    packages: list[Packed]
    left_out: list[LeftOut]
    size_bytes: int
    said: dict[str, bytes]

    def reasons(self) -> dict[str, int]:
        """Return how many are left out, for each reason."""
        return reasons_of(self.left_out)


def reasons_of(left_out: Sequence[LeftOut]) -> dict[str, int]:
    """Return how many are left out, for each reason."""
    return dict(Counter(one.why for one in left_out))


class _Row(packing.Row, frozen=True, kw_only=True):
    state: str
    form: str
    expires_ms: int
    held: bool


class _File(StoredFile, frozen=True, kw_only=True):
    device: str
    evidence: str


async def plan(tx: Tx, wish: Wish, scope: Sequence[str] | None, now_ms: int) -> Plan:
    """Return what an archive of these would hold.

    Raises:
        ConfigError: It would be too many or too large, or the time ends before it begins.
    """
    if wish.to_ms <= wish.from_ms:
        raise ConfigError("the time ends before it begins")
    rows = await tx.all(
        "archive_events",
        _Row,
        scope=None if scope is None else list(scope),
        from_ms=max(0, min(wish.from_ms, 2**53)),
        to_ms=max(0, min(wish.to_ms, 2**53)),
        what=_asked(wish.kind),
        held=wish.held,
        limit=MAX_EVENTS + 1,
        **{name: _asked(getattr(wish, name)) for name in ("site", "device", "camera")},
    )
    if len(rows) > MAX_EVENTS:
        raise ConfigError(
            f"more than {MAX_EVENTS} events with evidence in this time", operator_hint=_SHORTER
        )
    here = [row for row in rows if row.state == "here"]
    if len(here) > MAX_PACKAGES:
        raise ConfigError(
            f"{len(here)} packages; one archive holds {MAX_PACKAGES}", operator_hint=_SHORTER
        )
    files = await _files(tx, here)
    total = sum(one.bytes for row in here for one in files.get((row.device, row.evidence), []))
    if total > MAX_BYTES:
        raise ConfigError(
            f"{total / 1e9:.1f} GB; one archive holds {MAX_BYTES / 1e9:.1f}",
            operator_hint=_SHORTER,
        )
    packages = [
        _packed(row, folder, files.get((row.device, row.evidence), []))
        for row, folder in zip(here, _folders(here), strict=True)
    ]
    said = {
        one.folder: cloudevents.encoded(packing.with_files(packing.read(row), row.form, one.files))
        for row, one in zip(here, packages, strict=True)
    }
    left_out = [_left_out(row, _why(row, now_ms)) for row in rows if row.state != "here"]
    return Plan(wish=wish, packages=packages, left_out=left_out, size_bytes=total, said=said)


async def look(tx: Tx, chosen: Plan, *, actor: str, now_ms: int) -> None:
    """Have a look at each package in the audit log, before the first byte goes."""
    for one in chosen.packages:
        place = (one.device, one.evidence)
        await looking.look(tx, place, NAME, how="download", actor=actor, now_ms=now_ms)


def zipped(blobs: Blobs, chosen: Plan, *, actor: str, now_ms: int) -> Iterator[bytes]:
    """Yield the archive in pieces."""
    flow = Flow()
    inside: list[Packed] = []
    left_out = list(chosen.left_out)
    sums: list[str] = []
    with zipfile.ZipFile(flow, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[arg-type]
        for one in chosen.packages:
            said = chosen.said[one.folder]
            with ExitStack() as open_files:
                opened = _opened(blobs, one.files, open_files)
                if opened is None:
                    left_out.append(gone(one))
                    continue
                archive.writestr(_info(f"events/{one.folder}.json", one.at_ms), said)
                for stored, file in zip(one.files, opened, strict=True):
                    info = _info(f"packages/{one.folder}/{stored.name}", one.at_ms)
                    info.file_size = stored.bytes
                    with archive.open(info, "w") as to:
                        while chunk := file.read(CHUNK):
                            to.write(chunk)
                            yield flow.take()
            sums += sums_of(one, said)
            inside.append(one)
        body = manifest_of(chosen, inside, left_out, actor=actor, now_ms=now_ms)
        archive.writestr(_info("manifest.json", now_ms), body)
        sums.append(f"{hashlib.sha256(body).hexdigest()}  manifest.json")
        archive.writestr(_info("SHA256SUMS", now_ms), "\n".join(sums) + "\n")
    yield flow.take()


def sums_of(one: Packed, said: bytes) -> list[str]:
    """Return a package's lines of SHA256SUMS; `said`: its event as a CloudEvent."""
    event = f"{hashlib.sha256(said).hexdigest()}  events/{one.folder}.json"
    files = [f"{stored.sha256}  packages/{one.folder}/{stored.name}" for stored in one.files]
    return [event, *files]


def manifest_of(
    chosen: Plan,
    inside: Sequence[Packed],
    left_out: Sequence[LeftOut],
    *,
    actor: str,
    now_ms: int,
) -> bytes:
    """Return what `manifest.json` says: what came to be inside, and what did not."""
    manifest = {
        "version": _MANIFEST_VERSION,
        "made_ms": now_ms,
        "made_by": actor,
        "asked": chosen.wish,
        "packages": inside,
        "left_out": left_out,
    }
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


async def still_here(tx: Tx, packages: Sequence[Packed]) -> set[str]:
    """Return the folders of those packages of which every file is here, as it was planned."""
    keys = sorted({(one.device, one.evidence) for one in packages})
    found = await _files_of(tx, keys)
    return {
        one.folder
        for one in packages
        if {(file.name, file.sha256) for file in one.files}
        <= {(file.name, file.sha256) for file in found.get((one.device, one.evidence), [])}
    }


async def _files(tx: Tx, rows: Sequence[_Row]) -> dict[tuple[str, str | None], list[StoredFile]]:
    return await _files_of(tx, sorted({(row.device, row.evidence or "") for row in rows}))


async def _files_of(
    tx: Tx, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str | None], list[StoredFile]]:
    found: dict[tuple[str, str | None], list[StoredFile]] = {}
    for one in await tx.all("archive_files", _File, **arrays.columns(keys, "device", "evidence")):
        plain = StoredFile(name=one.name, sha256=one.sha256, bytes=one.bytes, whole=one.whole)
        found.setdefault((one.device, one.evidence), []).append(plain)
    return found


def _folders(rows: Sequence[_Row]) -> list[str]:
    """Return a folder for each, no two the same, also where two systems would take them as one."""
    taken: Counter[str] = Counter()
    folders: list[str] = []
    for row in rows:
        day = f"{from_wall_ms(row.at_ms):%Y-%m-%d}"
        folder = "_".join((day, _safe(row.site), _safe(row.device), _safe(row.event)))
        taken[folder.lower()] += 1
        again = taken[folder.lower()]
        folders.append(folder if again == 1 else f"{folder}~{again}")
    return folders


def _packed(row: _Row, folder: str, files: list[StoredFile]) -> Packed:
    return Packed(
        folder=folder,
        site=row.site,
        device=row.device,
        camera=row.camera,
        event=row.event,
        kind=row.what,
        at_ms=row.at_ms,
        evidence=row.evidence or "",
        form=row.form,
        signed=any(one.name == signature_of(row.form) for one in files),
        held=row.held,
        files=files,
    )


def _left_out(row: _Row, why: str) -> LeftOut:
    return LeftOut(
        site=row.site,
        device=row.device,
        camera=row.camera,
        event=row.event,
        at_ms=row.at_ms,
        why=why,
    )


def gone(one: Packed) -> LeftOut:
    """Return a package that was to be inside and whose files are not here any more."""
    return LeftOut(
        site=one.site,
        device=one.device,
        camera=one.camera,
        event=one.event,
        at_ms=one.at_ms,
        why="its files are not here any more",
    )


def _why(row: _Row, now_ms: int) -> str:
    if row.status in {"refused", "failed"}:
        return "the device could write none"
    if row.state in {"asked", "sending"} and row.expires_ms <= now_ms:
        return _WHY["expired"]
    return _WHY.get(row.state, row.state)


def _opened(
    blobs: Blobs, files: Sequence[StoredFile], open_files: ExitStack
) -> list[BinaryIO] | None:
    """Return every file of a package, open; None where one is not here."""
    try:
        return [open_files.enter_context(blobs.open(stored.sha256)) for stored in files]
    except OSError:
        return None


def _info(name: str, at_ms: int) -> zipfile.ZipInfo:
    at = from_wall_ms(max(at_ms, 315_619_200_000))  # a zip knows no time before 1980
    info = zipfile.ZipInfo(name, (at.year, at.month, at.day, at.hour, at.minute, at.second))
    info.external_attr = 0o644 << 16
    return info


def _safe(name: str) -> str:
    """Return a name that is one plain part of a path anywhere."""
    return _UNSAFE.sub("_", name).strip(".")[:_MOST_CHARS] or "_"


def _asked(text: str) -> str:
    return text[:128].replace("\0", "")
