"""Signatures of webhooks, by the Standard Webhooks specification. Pure but for fresh secrets.

`webhook-id` names the message and is the same at each try, `webhook-timestamp` is when this try was
made, in seconds, and `webhook-signature` holds one signature or several with spaces between: while
a secret is being replaced, by both. Signed is `id.timestamp.body`.

Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

import base64
import binascii
import hmac
import secrets
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vedette.central.alerting.channels.facts import SharedSecret
from vedette.errors import ConfigError

SYMMETRIC: Final = "whsec_"
PRIVATE: Final = "whsk_"
PUBLIC: Final = "whpk_"
SECRET_BYTES: Final = 32
MIN_BYTES: Final = 24
MAX_BYTES: Final = 64


def fresh(signs: str) -> str:
    """Return a new secret for `v1`, or a new private key for `v1a`, in the usual writing."""
    if signs == "v1a":
        key = Ed25519PrivateKey.generate()
        raw = key.private_bytes_raw() + key.public_key().public_bytes_raw()
        return PRIVATE + base64.b64encode(raw).decode()
    return SYMMETRIC + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def check(secret: str) -> str:
    """Return a shared secret that somebody brought along.

    Raises:
        ConfigError: It is no `whsec_` and base64 of 24 to 64 bytes.
    """
    try:
        raw = _decoded(secret, SYMMETRIC)
    except (ValueError, binascii.Error) as error:
        raise _wrong() from error
    if not MIN_BYTES <= len(raw) <= MAX_BYTES:
        raise _wrong()
    return secret


def receivers(secret: str) -> str:
    """Return what the receiver needs: the shared secret itself, or the public key of ours."""
    if not secret.startswith(PRIVATE):
        return secret
    public = _private(secret).public_key().public_bytes_raw()
    return PUBLIC + base64.b64encode(public).decode()


def headers(secrets_: list[SharedSecret], message: str, body: bytes, now_ms: int) -> dict[str, str]:
    """Return the three headers; one signature by each secret that still signs."""
    seconds = now_ms // 1000
    signed = f"{message}.{seconds}.".encode() + body
    signs = [
        _signature(one.secret, signed)
        for one in secrets_
        if one.until_ms is None or now_ms < one.until_ms
    ]
    return {
        "webhook-id": message,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(signs),
    }


def _signature(secret: str, signed: bytes) -> str:
    if secret.startswith(PRIVATE):
        made = _private(secret).sign(signed)
        return f"v1a,{base64.b64encode(made).decode()}"
    made = hmac.digest(_decoded(secret, SYMMETRIC), signed, "sha256")
    return f"v1,{base64.b64encode(made).decode()}"


def _private(secret: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(_decoded(secret, PRIVATE)[:32])


def _decoded(secret: str, prefix: str) -> bytes:
    if not secret.startswith(prefix):
        raise ValueError(prefix)
    return base64.b64decode(secret[len(prefix) :], validate=True)


def _wrong() -> ConfigError:
    return ConfigError(
        "this is no secret of a webhook",
        operator_hint="whsec_ and base64 of 24 to 64 random bytes; or give none: one is made",
    )
