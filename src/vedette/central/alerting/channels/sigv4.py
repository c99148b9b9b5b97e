"""Requests to S3 signed by AWS Signature Version 4. Pure.

The rule: everything that is sent besides `content-length` and `user-agent` is signed, the content
by its SHA-256: a server that was lied to on the way refuses.

Source: Amazon S3 API reference, "Authenticating Requests: Using the Authorization Header".
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from vedette.clock import from_wall_ms

EMPTY: Final = hashlib.sha256(b"").hexdigest()
_ALGORITHM: Final = "AWS4-HMAC-SHA256"


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An access key."""

    key_id: str
    secret: str
    region: str

    def __repr__(self) -> str:
        """Show nothing of the secret."""
        return f"Key({self.region})"


def path_of(key: str) -> str:
    """Return an object's key as the path of a request: everything but letters is escaped once."""
    return quote(key, safe="/-_.~")


def headers(  # noqa: PLR0917 - what is signed
    method: str, path: str, given: Mapping[str, str], sha256: str, key: Key, now_ms: int
) -> dict[str, str]:
    """Return the headers of a request with its signature.

    Args:
        method: As PUT.
        path: Escaped, as it is sent; there is no query.
        given: What is sent besides, `host` among it; names in small letters.
        sha256: Of the content, in hexadecimal digits.
        key: Signs.
        now_ms: When it is sent; servers refuse what is a quarter of an hour off.
    """
    at = from_wall_ms(now_ms).strftime("%Y%m%dT%H%M%SZ")
    named = {**given, "x-amz-content-sha256": sha256, "x-amz-date": at}
    signed = ";".join(sorted(named))
    canonical = "\n".join(
        [
            method,
            path,
            "",
            *(f"{name}:{named[name].strip()}" for name in sorted(named)),
            "",
            signed,
            sha256,
        ]
    )
    scope = f"{at[:8]}/{key.region}/s3/aws4_request"
    to_sign = f"{_ALGORITHM}\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    derived = f"AWS4{key.secret}".encode()
    for part in (at[:8], key.region, "s3", "aws4_request"):
        derived = hmac.digest(derived, part.encode(), "sha256")
    signature = hmac.digest(derived, to_sign.encode(), "sha256").hex()
    credential = f"Credential={key.key_id}/{scope}"
    return {
        **named,
        "authorization": f"{_ALGORITHM} {credential},SignedHeaders={signed},Signature={signature}",
    }
