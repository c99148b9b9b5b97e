"""Addresses of files that need no sign-in, for a while.

The rule: a link names one file of one clip, for whom it was made and until when, under a signature
that only this central can make; nothing else is looked at, so nobody gets further with it. A link
ends early where its export is switched off or removed, and each look stands in the audit log.

HMAC-SHA256 (RFC 2104) under a key of its own in the state directory.
"""

import contextlib
import hashlib
import hmac
import os
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from vedette.errors import BadSignature, NotAllowed, TrustError
from vedette.ids import is_slug
from vedette.trust.keys import from_text, to_text, write_private

KEY: Final = "keys/links.key"
_KEY_BYTES: Final = 32
_SIGNATURE_CHARS: Final = 128


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What a link leads to, for whom, until when."""

    export: str
    device: str
    evidence: str
    name: str
    expires_ms: int


def key_of(state: Path) -> bytes:
    """Return the key that links are signed with; it is made where there is none.

    Raises:
        TrustError: It cannot be read or kept.
    """
    path = state / KEY
    try:
        if not path.exists():
            _make(path)
        key = from_text(path.read_text().strip())
    except (OSError, UnicodeDecodeError, BadSignature) as error:
        raise TrustError(
            f"the key of links cannot be read: {error}",
            operator_hint=f"remove {KEY} in the state directory: links given out end with it",
        ) from error
    if len(key) != _KEY_BYTES:
        raise TrustError(
            "the key of links is none", operator_hint=f"remove {KEY} in the state directory"
        )
    return key


def _make(path: Path) -> None:
    """Have a new key there, or the one that another process made at this moment."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.new")
    write_private(scratch, to_text(os.urandom(_KEY_BYTES)).encode())
    try:
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(scratch)
    finally:
        scratch.unlink(missing_ok=True)


def signature(key: bytes, link: Link) -> str:
    """Return the signature of a link."""
    bound = msgspec.json.encode(msgspec.structs.astuple(link))
    return to_text(hmac.new(key, b"vedette-link\0" + bound, hashlib.sha256).digest())


def address(key: bytes, url: str, link: Link) -> str:
    """Return the address of a file."""
    there = "/".join(quote(part, safe="") for part in (link.device, link.evidence, link.name))
    asked = {"for": link.export, "until": link.expires_ms, "signature": signature(key, link)}
    return f"{url}/links/{there}?{urlencode(asked)}"


def leads_only_here(url: str) -> bool:
    """True where nobody but this machine can follow a link that begins so."""
    host = urlsplit(url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return host in {"", "localhost"}
    return address.is_loopback or address.is_unspecified


def require(key: bytes, link: Link, given: str, now_ms: int) -> None:
    """Return where the link is ours and its time is not over.

    Raises:
        NotAllowed: It is not, or it is: which of both is not said.
    """
    named = all(is_slug(one) for one in (link.export, link.device, link.evidence, link.name))
    good = named and hmac.compare_digest(
        signature(key, link).encode(), given[:_SIGNATURE_CHARS].encode(errors="replace")
    )
    if not good or link.expires_ms <= now_ms:
        raise NotAllowed(
            "this link is not good, or not any more",
            operator_hint="ask whoever sent it for a new one",
        )
