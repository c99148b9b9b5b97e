"""User and password, said as a server asks for them: for HTTP and for RTSP, which borrowed it.

Here: answering a challenge. Not here: to whom a password may be said. Pure but for the fresh
number in each answer. The rule: the first Digest that can be answered is better than Basic.

Source: RFC 7617 (Basic), RFC 7616 (Digest, MD5 and SHA-256, qop=auth).
"""

import hashlib
import re
import secrets
from base64 import b64encode
from collections.abc import Callable
from typing import Final

_CHALLENGE: Final = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,"]+))')
_HASHES: Final[dict[str, Callable[[bytes], str]]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
}


def answer_challenge(
    method: str, uri: str, login: tuple[str, str] | None, challenges: list[str], count: int = 1
) -> str | None:
    """Return the `Authorization` that answers the best of the challenges; None without any.

    `count` is how many requests were answered for by the same challenge, this one included.
    """
    if login is None:
        return None
    for challenge in challenges:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "digest":
            fields = {name.lower(): one or other for name, one, other in _CHALLENGE.findall(rest)}
            digest = _HASHES.get(fields.get("algorithm", "MD5").upper())
            if digest and fields.get("nonce"):
                return _digest(digest, fields, login, (method, uri), count)
    if any(challenge.lower().startswith("basic") for challenge in challenges):
        return "Basic " + b64encode(f"{login[0]}:{login[1]}".encode()).decode()
    return None


def _digest(
    digest: Callable[[bytes], str],
    fields: dict[str, str],
    login: tuple[str, str],
    asked: tuple[str, str],
    count: int,
) -> str:
    def h(*parts: str) -> str:
        return digest(":".join(parts).encode())

    realm, nonce = fields.get("realm", ""), fields["nonce"]
    secret, what = h(login[0], realm, login[1]), h(*asked)
    said = {"username": login[0], "realm": realm, "nonce": nonce, "uri": asked[1]}
    tail = ""
    if "auth" in re.split(r"[,\s]+", fields.get("qop", "")):
        fresh, counted = secrets.token_hex(8), f"{count:08x}"
        said["response"] = h(secret, nonce, counted, fresh, "auth", what)
        said["cnonce"] = fresh
        tail = f", qop=auth, nc={counted}"
    else:
        said["response"] = h(secret, nonce, what)
    if "opaque" in fields:
        said["opaque"] = fields["opaque"]
    if "algorithm" in fields:
        tail += f", algorithm={fields['algorithm']}"
    quoted = ", ".join(f'{name}="{_escaped(value)}"' for name, value in said.items())
    return f"Digest {quoted}{tail}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
