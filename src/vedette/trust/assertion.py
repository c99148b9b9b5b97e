"""How a device proves who it is when it asks for an access token: `private_key_jwt`.

The device's clock may be years off, so freshness rests on central's single-use nonce inside the
assertion, not on `exp`. Central must have issued the nonce and must forget it here and now; `jti`
is for its log. `exp` and `iat` are checked against each other only: they bound what the device
claims, never when it was.

Central's name, the audience, is the key id of its online key: the one thing about central that a
device pins at enrolment and that no proxy or change of address alters.

Source: RFC 7523 sections 2.2 and 3; RFC 9864 for the algorithm's name (`Ed25519`).
"""

import json
import secrets
from collections.abc import Callable
from typing import Final

import msgspec
from joserfc import jwk, jws, jwt
from joserfc.errors import JoseError

from vedette.errors import BadSignature, Expired
from vedette.trust.keys import PublicKey, SigningKey

ALGORITHM: Final = "Ed25519"
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
GRANT_TYPE: Final = "client_credentials"
LIFETIME_S: Final = 120
MAX_LIFETIME_S: Final = 300
MAX_CHARS: Final = 4_096


class Assertion(msgspec.Struct, frozen=True, kw_only=True):
    """What a verified assertion says; `nonce` is still to be spent by whoever issued it.

    Attributes:
        next_key: The public key that its maker will use from now on; empty where it asks for a
            token only.
    """

    device: str
    nonce: str
    jti: str
    next_key: str = ""


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    sub: str
    aud: str
    jti: str
    nonce: str
    iat: int
    exp: int
    next_key: str = ""


def make_assertion(
    key: SigningKey,
    *,
    device: str,
    audience: str,
    nonce: str,
    now_s: int,
    jti: str = "",
    next_key: PublicKey | None = None,
) -> str:
    """Return a compact JWT by which `device` asks the central called `audience` for a token.

    With `next_key` it asks instead that this key may speak for it from now on.
    """
    claims: dict[str, str | int] = {
        "iss": device,
        "sub": device,
        "aud": audience,
        "jti": jti or secrets.token_urlsafe(16),
        "nonce": nonce,
        "iat": now_s,
        "exp": now_s + LIFETIME_S,
    }
    if next_key is not None:
        claims["next_key"] = next_key.text
    header = {"alg": ALGORITHM, "kid": key.public.keyid}
    return jwt.encode(header, claims, jwk.OKPKey.import_key(key.native), algorithms=[ALGORITHM])


def verify_assertion(
    token: str, *, key_of: Callable[[str], PublicKey | None], audience: str
) -> Assertion:
    """Return who made `token`, verified with the key that `key_of` has for the name in it.

    Args:
        token: The compact JWT, as received.
        key_of: The public key of an enrolled device that is not revoked, else None. It is called
            with the unverified name, which chooses the key and nothing else.
        audience: Central's own name; an assertion made for another central is worth nothing here.

    Raises:
        BadSignature: Unknown device, wrong key, wrong algorithm, another audience, or not a JWT.
        Expired: Claims to be valid for no time, or for longer than `MAX_LIFETIME_S`.
    """
    if len(token) > MAX_CHARS:
        raise BadSignature(f"an assertion has at most {MAX_CHARS} characters")
    key = key_of(_unverified_name(token))
    if key is None:
        raise BadSignature(
            "no such device, or its key was revoked",
            operator_hint="enrol the device again with a new claim token",
        )
    try:
        payload = jws.deserialize_compact(
            token, jwk.OKPKey.import_key(key.native), algorithms=[ALGORITHM]
        ).payload
        claims = msgspec.json.decode(payload, type=_Claims)
    except (JoseError, ValueError, RecursionError) as error:
        raise BadSignature(f"not a valid assertion: {error}") from error
    if claims.iss != claims.sub or claims.aud != audience:
        raise BadSignature("an assertion speaks for its maker and to this central only")
    if not 0 < claims.exp - claims.iat <= MAX_LIFETIME_S:
        raise Expired(f"an assertion lives for at most {MAX_LIFETIME_S} s")
    if not claims.nonce or not claims.jti:
        raise BadSignature("an assertion carries a nonce and a jti")
    return Assertion(
        device=claims.iss, nonce=claims.nonce, jti=claims.jti, next_key=claims.next_key
    )


def signer_of(token: str) -> str:
    """Return the key id that the token says it was signed by; it chooses the key, nothing else.

    Raises:
        BadSignature: Not a JWT.
    """
    if len(token) > MAX_CHARS:
        raise BadSignature(f"an assertion has at most {MAX_CHARS} characters")
    try:
        kid = jws.extract_compact(token.encode("ascii")).headers().get("kid", "")
    except (JoseError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadSignature(f"not an assertion: {error}") from error
    return kid if isinstance(kid, str) else ""


def _unverified_name(token: str) -> str:
    """Return the `iss` that the token claims, to choose the key by; believed only afterwards."""
    try:
        claims = json.loads(jws.extract_compact(token.encode("ascii")).payload)
        name = claims["iss"]
    except (JoseError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadSignature(f"not an assertion: {error}") from error
    if not isinstance(name, str):
        raise BadSignature("not an assertion: iss is not a text")
    return name
