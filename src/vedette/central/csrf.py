"""The token that a browser's changes must carry, written differently into every page.

Pages are sent compressed, and show text of the address beside the token: were the token always the
same bytes, whoever sees lengths could guess it letter by letter (BREACH: Gluck, Harris and Prado,
2013, section 3.4: masking secrets). Pure but for the mask.
"""

import base64
import binascii
import hmac
import secrets
from typing import Final

_SEPARATOR: Final = "~"


def masked(token: str) -> str:
    """Return another writing of `token`: a random mask, and the token under it."""
    plain = token.encode()
    mask = secrets.token_bytes(len(plain))
    return _text(mask) + _SEPARATOR + _text(_xor(mask, plain))


def is_right(shown: str, token: str) -> bool:
    """True where `shown` is `token`, masked or not; takes the same time for every wrong one."""
    return bool(token) and hmac.compare_digest(_plain(shown), token.encode())


def _plain(shown: str) -> bytes:
    mask, found, covered = shown.partition(_SEPARATOR)
    if not found:
        return shown.encode(errors="replace")
    try:
        return _xor(_bytes(mask), _bytes(covered))
    except (ValueError, binascii.Error):
        return b""


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
