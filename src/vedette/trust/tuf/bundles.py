"""A signature on a model bundle that travels without a repository: on a stick, in a mail.

Signed is the bundle's identity (its digest covers every byte), with name and version, as DSSE v1,
by the key files that sign everything else. The rule: it says who stands behind a bundle, and never
makes a device install one: that takes a repository and an approval.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from securesystemslib.exceptions import UnverifiedSignatureError

from vedette.errors import BadSignature, MalformedReport, NotAllowed, TrustError
from vedette.trust import dsse
from vedette.trust.keys import from_text, to_text
from vedette.trust.tuf import library
from vedette.trust.tuf.library import Key, Signer
from vedette.wire.codec import decode
from vedette.wire.signed import Signature, Signed

BUNDLE_TYPE: Final = "vedette/bundle"
MAX_BYTES: Final = 64 * 1024
_ANOTHER: Final = "name another file, or remove this one"


class BundleStatement(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed: `digest` is `sha256:` and 64 hexadecimal digits."""

    name: str
    version: str
    digest: str


def sign(statement: BundleStatement, signer: Signer, before: Signed | None = None) -> Signed:
    """Return the signed statement, with the signatures that `before` has of others.

    Raises:
        NotAllowed: `before` is about another bundle.
        BadSignature: The passphrase or PIN is wrong.
    """
    payload = msgspec.json.encode(statement)
    others: list[Signature] = []
    if before is not None:
        _same(before, payload)
        others = [one for one in before.signatures if one.keyid != signer.public_key.keyid]
    if len(others) >= dsse.MAX_SIGNATURES:
        raise NotAllowed(f"it has {len(others)} signatures; more are not taken")
    made = signer.sign(dsse.pre_authentication_encoding(BUNDLE_TYPE, payload))
    mine = Signature(keyid=made.keyid, sig=to_text(bytes.fromhex(made.signature)))
    return Signed(payload_type=BUNDLE_TYPE, payload=to_text(payload), signatures=[*others, mine])


def verify(
    signed: Signed, statement: BundleStatement, keys: Sequence[Key], threshold: int = 1
) -> list[Key]:
    """Return those of `keys` that signed exactly this statement.

    Signatures by other keys count nothing and harm nothing. A key counts once, under however many
    names it is given.

    Raises:
        NotAllowed: The document is about another bundle, or no such document.
        BadSignature: Fewer than `threshold` of the keys signed.
    """
    payload = msgspec.json.encode(statement)
    _same(signed, payload)
    data = dsse.pre_authentication_encoding(BUNDLE_TYPE, payload)
    pinned = {str(key.keyval["public"]): key for key in keys}.values()
    good = [key for key in pinned if any(_holds(key, one, data) for one in signed.signatures)]
    if len(good) < max(threshold, 1):
        raise BadSignature(
            f"{len(good)} of {max(threshold, 1)} wanted signatures by these signers are on it",
            operator_hint="do not use it; ask who made it for one: `vedette bundle sign`",
        )
    return good


def read(file: Path) -> Signed:
    """Return the document in a file.

    Raises:
        TrustError: It cannot be read, or is none.
    """
    if file.exists() and not file.is_file():  # a pipe would be waited for
        raise TrustError(f"{file} is no file", operator_hint=_ANOTHER)
    try:
        with file.open("rb") as source:
            data = source.read(MAX_BYTES + 1)
    except OSError as error:
        raise TrustError(
            f"cannot read {file}: {error.strerror}",
            operator_hint="`vedette bundle sign` writes it beside the bundle; bring it along",
        ) from error
    try:
        if len(data) > MAX_BYTES:
            raise MalformedReport(f"more than {MAX_BYTES} bytes")
        return decode(data, Signed, json=True)
    except MalformedReport as error:
        raise TrustError(f"{file} is no signature of a bundle: {error}") from error


def _same(signed: Signed, payload: bytes) -> None:
    if signed.payload_type != BUNDLE_TYPE:
        raise NotAllowed(
            f"it is signed as {signed.payload_type[:64]!r}, not as a bundle", operator_hint=_ANOTHER
        )
    if len(signed.signatures) > dsse.MAX_SIGNATURES:
        raise NotAllowed(f"it has more than {dsse.MAX_SIGNATURES} signatures")
    if from_text(signed.payload) != payload:
        raise NotAllowed("it is about another bundle, or another version", operator_hint=_ANOTHER)


def _holds(key: Key, one: Signature, data: bytes) -> bool:
    if one.keyid != key.keyid:
        return False
    try:
        key.verify_signature(library.Signature(key.keyid, from_text(one.sig).hex()), data)
    except (UnverifiedSignatureError, BadSignature):
        return False
    return True
