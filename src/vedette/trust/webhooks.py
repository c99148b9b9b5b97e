"""Signing a webhook, so that its receiver knows who sent it and that it is fresh.

HMAC-SHA256 over `id.timestamp.body`, under the receiver's own secret. Not here: sending it.
Source: the Standard Webhooks specification, "Symmetric signatures" and "Webhook headers".
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final

from vedette.errors import ConfigError

PREFIX: Final = "whsec_"
MIN_SECRET_BYTES: Final = 24
MAX_SECRET_BYTES: Final = 64


def secret_bytes(secret: str) -> bytes:
    """Return the key in `whsec_` and base64.

    Raises:
        ConfigError: That is no secret of 24 to 64 bytes.
    """
    try:
        raw = base64.b64decode(secret.removeprefix(PREFIX).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raw = b""
    if not secret.startswith(PREFIX) or not MIN_SECRET_BYTES <= len(raw) <= MAX_SECRET_BYTES:
        raise ConfigError(
            "no secret of a webhook",
            operator_hint=f"write {PREFIX} and 24 to 64 random bytes as base64",
        )
    return raw


def signed_headers(secret: str, name: str, at_s: int, body: bytes) -> dict[str, str]:
    """Return the headers that prove `body`.

    Args:
        secret: See `secret_bytes`.
        name: Of the message; the same through every attempt, without a full stop.
        at_s: Of this attempt, seconds since 1970; receivers refuse what is minutes old.
        body: As it is sent, to the byte.

    Raises:
        ConfigError: See `secret_bytes`.
    """
    text = f"{name}.{at_s}.".encode() + body
    mac = hmac.new(secret_bytes(secret), text, hashlib.sha256).digest()
    return {
        "webhook-id": name,
        "webhook-timestamp": str(at_s),
        "webhook-signature": "v1," + base64.b64encode(mac).decode("ascii"),
    }
