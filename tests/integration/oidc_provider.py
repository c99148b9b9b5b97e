"""A strict OpenID provider on loopback: refuses what the standards let it, lies where a test asks.

Everything is over real sockets. `twist` holds what the next ID token says instead of the truth.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

from anyio.from_thread import start_blocking_portal
from joserfc import jwt
from joserfc.jwk import ECKey

CLIENT = "central"
SECRET = "s3cret of the client & more"


class OidcProvider:
    """One provider with one client."""

    def __init__(self, redirect_uri: str, now_s: Callable[[], float]) -> None:
        self.redirect_uri = redirect_uri
        self.now_s = now_s
        self.issuer = ""
        self.person: dict[str, Any] = {"sub": "u-1", "preferred_username": "olga", "groups": []}
        self.twist: dict[str, Any] = {}
        self.metadata_twist: dict[str, Any] = {}
        self.key = ECKey.generate_key("P-256", {"kid": "k1", "use": "sig"})
        self.signer: Callable[[dict[str, Any]], str] | None = None
        self.userinfo: dict[str, Any] | None = None
        self.answer_instead: dict[str, bytes] = {}
        self.asked: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}

    @contextlib.contextmanager
    def running(self) -> Iterator["OidcProvider"]:
        """Serve inside the block, in a thread: the test's own loop waits for central."""
        with start_blocking_portal() as portal:
            server = portal.call(asyncio.start_server, self._serve, "127.0.0.1", 0)
            self.issuer = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            try:
                yield self
            finally:
                portal.call(server.close)
                portal.call(server.wait_closed)

    def authorize(self, url: str) -> str:
        """Return where a browser that signed in here is sent, as a person who says yes."""
        query = dict(parse_qsl(urlsplit(url).query, strict_parsing=True))
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["redirect_uri"] == self.redirect_uri
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        assert min(len(query[name]) for name in ("state", "nonce", "code_challenge")) >= 43
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        back = {"code": code, "state": query["state"], "iss": self.issuer}
        return f"{self.redirect_uri}?{urlencode(back)}"

    def id_token(self, nonce: str) -> str:
        """Return the token, with what `twist` says instead of the truth (None: left out)."""
        now_s = int(self.now_s())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now_s, "exp": now_s + 300,
                  "nonce": nonce, **self.person} | self.twist  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.signer:
            return self.signer(claims)
        return jwt.encode({"alg": "ES256", "kid": self.key.kid}, claims, self.key)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *rest = head.split("\r\n")
        headers = {k.lower(): v for k, v in (r.split(": ", 1) for r in rest if r)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        path = line.split(" ")[1]
        self.asked.append(path)
        raw = self.answer_instead.get(path)
        if raw is None:
            status, found = self._answer(path, headers, body.decode())
            text = json.dumps(found).encode()
            raw = (
                f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n".encode()
                + text
            )
        with contextlib.suppress(ConnectionError):
            writer.write(raw)
            await writer.drain()
        writer.close()

    def _answer(self, path: str, headers: dict[str, str], body: str) -> tuple[int, object]:
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/jwks",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "authorization_response_iss_parameter_supported": True,
                **self.metadata_twist,
            }
        if path == "/jwks":
            return 200, {"keys": [self.key.as_dict(private=False)]}
        if path == "/token":
            return self._token(headers, parse_qs(body, strict_parsing=True))
        if path == "/userinfo" and self.userinfo is not None:
            assert headers["authorization"] == "Bearer access"
            return 200, self.userinfo
        return 404, {}

    def _token(self, headers: dict[str, str], form: dict[str, list[str]]) -> tuple[int, object]:
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        name, _, secret = base64.b64decode(shown).decode().partition(":")
        if scheme != "Basic" or (unquote(name), unquote(secret)) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(form["code"][0], None)
        if asked is None or form["redirect_uri"] != [self.redirect_uri]:
            return 400, {"error": "invalid_grant"}
        digest = hashlib.sha256(form["code_verifier"][0].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        return 200, {"id_token": self.id_token(asked["nonce"]), "access_token": "access"}


def unsigned(claims: dict[str, Any]) -> str:
    """Return a token by the algorithm `none`."""
    return f"{_signed_part({'alg': 'none', 'typ': 'JWT'}, claims)}."


def by_public_key(key: ECKey) -> Callable[[dict[str, Any]], str]:
    """Return what signs with HS256 and the provider's public key as if it were a secret."""

    def sign(claims: dict[str, Any]) -> str:
        text = _signed_part({"alg": "HS256", "kid": key.kid}, claims)
        code = hmac.digest(key.as_pem(private=False), text.encode(), "sha256")
        return f"{text}.{_base64(code)}"

    return sign


def _signed_part(*parts: dict[str, Any]) -> str:
    return ".".join(_base64(json.dumps(part).encode()) for part in parts)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
