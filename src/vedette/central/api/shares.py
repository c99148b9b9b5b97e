"""How often the operator API may be asked: by one token, by one user, by one stranger's address.

A user's tokens and browsers share the user's budget, so more tokens are not more requests; a token
alone may have half of it, so one program that runs wild leaves room for the person. Requests that
nobody signed count against the address they came from, and only those: people behind one address
do not slow each other down. Kept in this process; pages are not counted, only `/v1`.

Source: draft-ietf-httpapi-ratelimit-headers-06 for the names of the headers; RFC 9110 for
`Retry-After`.
"""

from typing import Any, Final

from vedette.central.accounts import Session
from vedette.central.boundary import TooManyRequests
from vedette.central.rate import RateLimit, Share
from vedette.central.settings import CentralConfig
from vedette.clock import Clock

SCOPE_KEY: Final = "vedette_share"
"""Where an answer's headers are kept while a request is under way."""

_BURST_S: Final = 0.5
"""Minutes' worth that may come at once."""


class Shares:
    """The limits. Thread: the event loop's."""

    def __init__(self, config: CentralConfig, clock: Clock) -> None:
        """Begin with nobody having asked for anything."""
        per_user = config.limits.requests_per_minute
        burst = max(1, round(per_user * _BURST_S))
        refused = config.limits.refused_per_minute
        self._users: Final = RateLimit(clock, per_minute=per_user, burst=burst)
        self._tokens: Final = RateLimit(
            clock, per_minute=per_user / 2, burst=max(1, round(burst / 2))
        )
        self._strangers: Final = RateLimit(clock, per_minute=refused, burst=max(1, refused))
        self._links: Final = RateLimit(clock, per_minute=per_user, burst=burst)

    def spend(self, session: Session, token_key: str) -> Share:
        """Count a request of somebody; return what is left to them.

        Raises:
            TooManyRequests: The token or its user has asked too often.
        """
        of_token = self._tokens.spend(token_key)
        of_user = self._users.spend(session.username)
        return min(of_token, of_user, key=lambda share: share.remaining)

    def spend_refused(self, address: str) -> None:
        """Count a request that nobody signed.

        Raises:
            TooManyRequests: There were too many from this address.
        """
        self._strangers.spend(address)

    def spend_link(self, address: str) -> None:
        """Count a request by a link that holds: as often as a user may ask.

        Raises:
            TooManyRequests: There were too many from this address.
        """
        self._links.spend(address)


def headers_of(share: Share) -> dict[str, str]:
    """Return what an answer says of a share."""
    return {
        "RateLimit-Limit": str(share.limit),
        "RateLimit-Remaining": str(share.remaining),
        "RateLimit-Reset": str(share.reset_s),
    }


def headers_of_refusal(error: TooManyRequests) -> dict[str, str]:
    """Return what a 429 says: when to come back."""
    return {"Retry-After": str(error.retry_after_s), "RateLimit-Remaining": "0"}


async def tell_share(message: Any, scope: Any) -> None:
    """Put the share of whoever asked into the head of every answer, failures too."""
    share = scope.get(SCOPE_KEY)
    if message["type"] == "http.response.start" and isinstance(share, Share):
        pairs = headers_of(share).items()
        have = {name.lower() for name, _ in message.get("headers", [])}
        added = [(name.lower().encode(), value.encode()) for name, value in pairs]
        message["headers"] = [
            *message.get("headers", []), *(pair for pair in added if pair[0] not in have)
        ]  # fmt: skip
