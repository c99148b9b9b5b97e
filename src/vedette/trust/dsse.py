"""Signed documents: made, and opened only where enough pinned keys signed them.

Only the bytes that were signed are ever decoded, and only after the signatures held: what is not
signed is not parsed. Whether that signer may say this is decided by the caller, who chooses the
keys and the payload type.

Source: DSSE v1 (secure-systems-lab/dsse), protocol.md: `PAE(type, body) = "DSSEv1" + SP +
LEN(type) + SP + type + SP + LEN(body) + SP + body`.
"""

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar, cast

import msgspec

from vedette.errors import BadSignature, MalformedReport, NotAllowed
from vedette.trust.keys import PublicKey, SigningKey, from_text, to_text
from vedette.wire.codec import decode
from vedette.wire.signed import Signature, Signed

T = TypeVar("T")

MAX_PAYLOAD_BYTES: Final = 1024 * 1024
MAX_SIGNATURES: Final = 16


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: type and payload, each with its length before it."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, payload_type: str, keys: Sequence[SigningKey]) -> Signed:
    """Return `payload` as a document that each of `keys` signed."""
    data = pre_authentication_encoding(payload_type, payload)
    return Signed(
        payload_type=payload_type,
        payload=to_text(payload),
        signatures=[Signature(keyid=k.public.keyid, sig=to_text(k.sign(data))) for k in keys],
    )


def sign_struct(message: msgspec.Struct, payload_type: str, keys: Sequence[SigningKey]) -> Signed:
    """Return `message` as JSON in a document that each of `keys` signed."""
    return sign(msgspec.json.encode(message), payload_type, keys)


def add_signature(signed: Signed, key: SigningKey) -> Signed:
    """Return the document with one more signer, over the very bytes the others signed."""
    data = pre_authentication_encoding(signed.payload_type, from_text(signed.payload))
    mine = Signature(keyid=key.public.keyid, sig=to_text(key.sign(data)))
    others = [s for s in signed.signatures if s.keyid != key.public.keyid]
    return Signed(
        payload_type=signed.payload_type, payload=signed.payload, signatures=[*others, mine]
    )


def verify(
    signed: Signed, keys: Iterable[PublicKey], *, payload_type: str, threshold: int = 1
) -> bytes:
    """Return the payload, signed by at least `threshold` different ones of `keys`.

    Signatures by unknown keys and broken ones by known keys count nothing and harm nothing: others
    may sign as well, and a bad signature beside enough good ones is no reason to stop working.

    Raises:
        NotAllowed: Another payload type: a statement of time is never taken for a policy.
        BadSignature: Too few valid signatures by distinct pinned keys, or limits broken.
    """
    if threshold < 1:
        raise BadSignature("a threshold below one would accept anything")
    if signed.payload_type != payload_type:
        raise NotAllowed(f"signed as {signed.payload_type[:64]!r}, wanted {payload_type!r}")
    if len(signed.payload) > MAX_PAYLOAD_BYTES * 4 // 3 + 4:
        raise BadSignature(f"signed payload of more than {MAX_PAYLOAD_BYTES} bytes")
    if len(signed.signatures) > MAX_SIGNATURES:
        raise BadSignature(f"{len(signed.signatures)} signatures; at most {MAX_SIGNATURES}")
    payload = from_text(signed.payload)
    data = pre_authentication_encoding(payload_type, payload)
    pinned = {key.keyid: key for key in keys}
    good: set[str] = set()
    for signature in signed.signatures:
        key = pinned.get(signature.keyid)
        if key is not None and signature.keyid not in good and _holds(key, signature.sig, data):
            good.add(signature.keyid)
    if len(good) < threshold:
        raise BadSignature(
            f"{len(good)} of {threshold} wanted signatures by pinned keys on a {payload_type}",
            operator_hint="sign it with a key that the device pinned at enrolment, or enrol again",
        )
    return payload


def open_struct(
    signed: Signed,
    kind: type[T],
    keys: Iterable[PublicKey],
    *,
    payload_type: str,
    threshold: int = 1,
) -> T:
    """Return the message in a document that enough pinned keys signed; it holds nothing else.

    Raises:
        NotAllowed: Another payload type, or a field that this message does not have, at any depth.
        BadSignature: See `verify`.
        MalformedReport: Signed, but not that message.
    """
    payload = verify(signed, keys, payload_type=payload_type, threshold=threshold)
    try:
        message = decode(payload, kind, json=True)
    except MalformedReport as error:
        if "unknown field" in str(error):
            raise NotAllowed(f"{payload_type} says more than its signer may: {error}") from error
        raise
    extra = _unknown(msgspec.json.decode(payload), msgspec.to_builtins(message), "$")
    if extra is not None:
        raise NotAllowed(f"{payload_type} says more than its signer may: {extra}")
    return message


def _holds(key: PublicKey, signature: str, data: bytes) -> bool:
    try:
        key.verify(from_text(signature), data)
    except BadSignature:
        return False
    return True


def _unknown(said: object, known: object, where: str) -> str | None:
    """Return the path of the first field in `said` that did not survive decoding into `known`.

    Why: nested structs ignore unknown fields, so that old devices read new messages. In a signed
    document silence would hide that its signer tried to say more than they may.
    """
    if isinstance(said, dict) and isinstance(known, dict):
        kept_fields = cast("dict[str, object]", known)
        for name, value in cast("dict[str, object]", said).items():
            if name not in kept_fields:
                return f"{where}.{name}"
            deeper = _unknown(value, kept_fields[name], f"{where}.{name}")
            if deeper is not None:
                return deeper
    elif isinstance(said, list) and isinstance(known, list | tuple):
        pairs = zip(cast("list[object]", said), cast("list[object]", known), strict=False)
        for index, (value, kept) in enumerate(pairs):
            deeper = _unknown(value, kept, f"{where}[{index}]")
            if deeper is not None:
                return deeper
    return None
