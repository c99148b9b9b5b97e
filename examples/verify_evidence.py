"""Check an evidence package without Vedette: with `cryptography` alone.

    python verify_evidence.py FOLDER KEY

FOLDER holds an unpacked package (evidence.json, clip.mp4, signature.json …), KEY is the device's
public key as central lists it: GET /v1/devices/{device}/keys. Exit status 0: every file is, to the
byte, what the holder of that key signed. Written from the format alone, as a receiver would: DSSE
(secure-systems-lab/dsse), Ed25519 (RFC 8032), SHA-256, base64url without padding.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PAYLOAD_TYPE = "vedette/evidence"
SIGNATURES = {"clip": "signature.json", "blurred": "blurred-signature.json"}


class Forged(Exception):
    """The package is not what the device signed."""


def unpadded(text: str) -> bytes:
    """Return the bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def signed_statement(raw: bytes, key: str) -> dict[str, Any]:
    """Return what `key` signed; nothing is read of it before the signature holds."""
    document = json.loads(raw)["document"]
    if document["payload_type"] != PAYLOAD_TYPE:
        raise Forged("a signature under something else than a package")
    payload, kind = unpadded(document["payload"]), PAYLOAD_TYPE.encode()
    encoded = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    public = Ed25519PublicKey.from_public_bytes(unpadded(key))
    for signature in document["signatures"]:
        try:
            public.verify(unpadded(signature["sig"]), encoded)
        except InvalidSignature:
            continue
        return json.loads(payload)
    raise Forged("not signed with this key")


def verify(folder: Path, key: str) -> dict[str, Any]:
    """Return the statement on the package in `folder`, of its clip or of its blurred copy."""
    name = next((name for name in SIGNATURES.values() if (folder / name).exists()), None)
    if name is None:
        raise Forged("there is no signature")
    statement = signed_statement((folder / name).read_bytes(), key)
    for file in statement["files"]:
        if "/" in file["name"]:
            raise Forged(f"{file['name']!r} is no name")
        with (folder / file["name"]).open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != file["sha256"]:
                raise Forged(f"{file['name']} was changed")
    facts = json.loads((folder / "evidence.json").read_bytes())
    if facts["record"]["evidence"] != statement["evidence"]:
        raise Forged("the signature is of another package")
    return statement


def main() -> int:
    """Say what the package proves."""
    try:
        said = verify(Path(sys.argv[1]), sys.argv[2])
    except (Forged, OSError, ValueError, KeyError) as problem:
        print(f"NOT as it was signed: {problem}")
        return 1
    print(f"{len(said['files'])} files of {said['evidence']}, camera {said['camera']}, are as")
    print(f"{said['device'] or 'a device'} signed them (Unix ms {said['signed_ms']})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
