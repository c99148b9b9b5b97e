"""Is a clip that came signed by the device that sent it?

The rule: where a signature came, its key speaks or spoke for that very device, and it speaks of
every other file of the clip and of no more; otherwise the clip is not kept. A package of a version
before signatures has none: it is kept, and whoever looks at it is told (`is_signed`).
"""

import asyncio
from collections.abc import Sequence

import msgspec

from vedette.central.clips import fetching
from vedette.central.clips.blobs import Blobs
from vedette.central.clips.fetching import Clip, StoredFile
from vedette.central.store.db import Tx
from vedette.errors import BadSignature
from vedette.trust.evidence import changes, is_one_of, read_signature
from vedette.trust.keys import PublicKey
from vedette.wire.evidence import MAX_SIGNATURE_BYTES, BlobFile, signature_of


class DeviceKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key of a device: what its packages verify with.

    Attributes:
        key: 32 raw bytes, base64url.
        keyid: Head of the hash of it.
        state: `speaks`, `next` (announced), or `retired`; then `why` it was: `rotated`, `replaced`.
    """

    key: str
    keyid: str
    state: str
    since_ms: int | None = None
    retired_ms: int | None = None
    why: str = ""


class DeviceKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a device, the present one first."""

    device: str
    keys: list[DeviceKey]


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    public_key: str
    state: str
    since_ms: int | None
    retired_ms: int | None
    why: str


async def keys_of(tx: Tx, device: str) -> list[DeviceKey]:
    """Return every key that speaks or spoke for a device, the present one first."""
    rows = await tx.all("device_keys_ever", _Row, device=device)
    return [
        DeviceKey(
            key=row.public_key,
            keyid=PublicKey.from_text(row.public_key).keyid,
            state=row.state,
            since_ms=row.since_ms,
            retired_ms=row.retired_ms,
            why=row.why,
        )
        for row in rows
    ]


def is_signed(form: str, files: Sequence[StoredFile]) -> bool:
    """True where a clip that is here came with a signature; then it held when it came."""
    return any(file.name == signature_of(form) for file in files)


async def prove(tx: Tx, blobs: Blobs, clip: Clip) -> None:
    """Return where a clip has no signature, or one of its device over all that came.

    Raises:
        BadSignature: It is somebody else's, or of something else than came.
        NotAllowed: It signs no package.
    """
    files = await fetching.files(tx, clip.device, clip.evidence)
    signature = next((f for f in files if f.name == signature_of(clip.form)), None)
    if signature is None:
        return
    raw = await asyncio.to_thread(_read, blobs, signature.sha256)
    proof = read_signature(raw)
    if not is_one_of(proof.key, [one.key for one in await keys_of(tx, clip.device)]):
        raise BadSignature(f"key {proof.key.keyid} never spoke for {clip.device}")
    said = proof.statement
    if said.evidence != clip.evidence or said.form != clip.form or said.camera != clip.camera:
        raise BadSignature(f"it is of {said.evidence[:64]!r}, as {said.form}")
    if said.device not in {"", clip.device}:
        raise BadSignature(f"it says that {said.device[:64]!r} made it")
    others = {
        f.name: BlobFile(name=f.name, sha256=f.sha256, bytes=f.bytes)
        for f in files
        if f.name != signature.name
    }
    wrong = changes(said, others)
    if wrong:
        raise BadSignature(wrong[0])


def _read(blobs: Blobs, sha256: str) -> bytes:
    with blobs.open(sha256) as file:
        return file.read(MAX_SIGNATURE_BYTES + 1)
