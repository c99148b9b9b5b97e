"""Who made an evidence package, and whether it is still what they made.

Here: signing what a package holds, and reading that back. Pure: hashes come in, words go out. Not
here: files (`edge.evidence`, `central.clips`) and where a device's keys are known from. The rules:
a signature speaks of every file, by name, length and hash, so that none can be changed, left out
or taken from another package; the key that lies beside it proves nothing about whose it is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from vedette.errors import BadSignature, WireError
from vedette.trust import dsse
from vedette.trust.keys import PublicKey, SigningKey
from vedette.wire import codec
from vedette.wire.evidence import (
    BLURRED,
    CLIP,
    MAX_FILES,
    MAX_SIGNATURE_BYTES,
    STATEMENT_TYPE,
    BlobFile,
    PackageSignature,
    Statement,
)


@dataclass(frozen=True, slots=True)
class Proof:
    """A signature that holds: what was stated, and the key that stated it."""

    statement: Statement
    key: PublicKey


def sign_package(statement: Statement, key: SigningKey) -> bytes:
    """Return the bytes of `signature.json`."""
    document = dsse.sign_struct(statement, STATEMENT_TYPE, [key])
    return msgspec.json.encode(PackageSignature(key=key.public.text, document=document))


def read_signature(raw: bytes) -> Proof:
    """Return what was signed, where the signature holds by the key that lies beside it.

    Whoever calls this still has to ask whose key that is (`is_one_of`).

    Raises:
        BadSignature: It does not hold, or is none.
        NotAllowed: A signature under something else than a package.
    """
    if len(raw) > MAX_SIGNATURE_BYTES:
        raise BadSignature(f"a signature of more than {MAX_SIGNATURE_BYTES} bytes")
    try:
        said = codec.decode(raw, PackageSignature, json=True)
        key = PublicKey.from_text(said.key)
        payload = dsse.verify(said.document, [key], payload_type=STATEMENT_TYPE)
        statement = codec.decode(payload, Statement, json=True)
    except WireError as error:
        raise BadSignature(f"this is no signature of a package: {error}") from error
    if statement.form not in {CLIP, BLURRED} or not 0 < len(statement.files) <= MAX_FILES:
        raise BadSignature("this signature speaks of no package that could be")
    return Proof(statement, key)


def changes(statement: Statement, files: Mapping[str, BlobFile]) -> list[str]:
    """Return in words what is otherwise than it was signed; empty where every file is as it was.

    Args:
        statement: What was signed.
        files: Every other file that is there, by name.
    """
    signed = {file.name: file for file in statement.files}
    said = [f"{name} is missing, and it was signed" for name in sorted(signed.keys() - files)]
    said += [f"{name} is there, and was not signed" for name in sorted(files.keys() - signed)]
    said += [
        f"{name} is not the one that was signed"
        for name, file in sorted(files.items())
        if name in signed and signed[name] != file
    ]
    return said


def is_one_of(key: PublicKey, known: Iterable[str]) -> bool:
    """True where a key is one of those in `known`, each as text or as its id."""
    return any(text in {key.text, key.keyid} for text in known)
