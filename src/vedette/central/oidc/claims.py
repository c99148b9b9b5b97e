"""Whether an ID token speaks of whoever signs in here, and what they may do. Pure.

Signatures are checked before (`provider`). The rule: a check that is in the standard is done here
in the order of the standard, and each failure names what was wrong, for the log and not for the
visitor.

Source: OpenID Connect Core 1.0, section 3.1.3.7 (validating an ID token); RFC 9207 (the issuer in
the authorization response, against mix-up).
"""

import hmac
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from vedette.central.people import Wanted, check_username
from vedette.central.settings import Oidc
from vedette.errors import BadSignature, ConfigError, NotAllowed

MAX_SUBJECT_CHARS: Final = 255
MAX_VALUES: Final = 1_000
_LONGEST_S: Final = 24 * 3600


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who somebody is at the provider, and what follows from that here.

    Attributes:
        wanted: Their role and scope; None: no entry of `oidc.roles` speaks of them.
    """

    issuer: str
    subject: str
    username: str
    wanted: Wanted | None


def check_id_token(  # noqa: PLR0917 - the token, and what it has to agree with
    claims: Mapping[str, object], issuer: str, client_id: str, nonce: str, now_s: float, skew_s: int
) -> str:
    """Return the subject of an ID token that was made for this sign-in, here and now.

    Raises:
        BadSignature: It was not.
    """
    if claims.get("iss") != issuer:
        raise BadSignature("the ID token is of another issuer")
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or client_id not in audiences:
        raise BadSignature("the ID token is for another client")
    party = claims.get("azp")
    if party is not None and party != client_id:
        raise BadSignature("the ID token was given to another client")
    if len(audiences) > 1 and party is None:
        raise BadSignature("the ID token is for several clients and says not to which it was given")
    until = _moment(claims, "exp")
    if until is None or until <= now_s - skew_s:
        raise BadSignature("the ID token is over")
    made = _moment(claims, "iat")
    if made is None or not now_s - _LONGEST_S <= made <= now_s + skew_s:
        raise BadSignature("the ID token was made at another time")
    start = _moment(claims, "nbf")
    if start is not None and start > now_s + skew_s:
        raise BadSignature("the ID token is not good yet")
    shown = claims.get("nonce")
    if not isinstance(shown, str) or not hmac.compare_digest(shown.encode(), nonce.encode()):
        raise BadSignature("the ID token was made for another sign-in")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARS:
        raise BadSignature("the ID token names nobody")
    return subject.replace("\0", "")


def _moment(claims: Mapping[str, object], name: str) -> float | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def check_response_issuer(shown: str | None, issuer: str, *, required: bool) -> None:
    """Return where an authorization response is of this issuer, as far as it says.

    Raises:
        BadSignature: It is of another, or says nothing where the provider always does.
    """
    if shown is None and not required:
        return
    if shown != issuer:
        raise BadSignature("the authorization response is of another issuer")


def identity(claims: Mapping[str, object], subject: str, config: Oidc) -> Identity:
    """Return who this is here.

    Raises:
        NotAllowed: The claim that should name them does not.
    """
    name = claims.get(config.name_claim)
    try:
        username = check_username(name if isinstance(name, str) else "")
    except ConfigError as error:
        raise NotAllowed(
            f"the claim {config.name_claim} does not hold a name that can be one here",
            operator_hint="set oidc.name_claim to a claim that does",
        ) from error
    values = values_of(claims.get(config.role_claim))
    return Identity(
        issuer=config.issuer, subject=subject, username=username, wanted=wanted_of(values, config)
    )


def values_of(claim: object) -> frozenset[str]:
    """Return the values of a claim that holds one or several."""
    if isinstance(claim, str):
        return frozenset({claim})
    found: Sequence[object] = claim if isinstance(claim, list) else ()
    return frozenset(value for value in found[:MAX_VALUES] if isinstance(value, str))


def wanted_of(values: frozenset[str], config: Oidc) -> Wanted | None:
    """Return role and scope by the first entry whose value somebody has; None: there is none."""
    for entry in config.roles:
        if entry.value in values:
            return Wanted(
                role=entry.role,
                everything=entry.everything,
                folders=list(entry.folders),
                sites=list(entry.sites),
            )
    return None
