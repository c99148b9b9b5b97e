"""Webhooks: one signed POST to one checked address.

The rule: the connection is `pinned`, and nothing of an answer is kept but its status.

2xx: taken. 410: the receiver asks not to be told any more. 408, 425, 429 and 5xx: later. Any other
4xx and a redirect: this body will never be taken.

Source: Standard Webhooks, "Deliverability and reliability"; RFC 9110, 10.2.3 (Retry-After).
"""

import asyncio
import ssl
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from vedette.central.alerting.channels import egress, pinned, signing, words
from vedette.central.alerting.channels.egress import Rules
from vedette.central.alerting.channels.facts import Channel, Delivery, End, Outcome, Webhook
from vedette.central.alerting.channels.pinned import Answer, Ask, Way
from vedette.central.alerting.facts import Notice
from vedette.clock import wall_ms
from vedette.errors import ConfigError

PORTS: Final = (443, 8443, 80)
TOTAL_S: Final = 20.0
_LATER: Final = frozenset({408, 425, 429})
_GONE: Final = 410


class WebhookSender:
    """Sends on channels of kind webhook. Thread: the event loop's."""

    def __init__(self, rules: Rules, *, proxy: str = "", tls: ssl.SSLContext | None = None) -> None:
        """Prepare; `proxy` takes the connections of every webhook where it is given."""
        self._way: Final = Way(
            rules=rules, ports=PORTS, tls=tls or ssl.create_default_context(), proxy=proxy
        )

    async def send(self, channel: Channel, delivery: Delivery, now_ms: int) -> Outcome:
        """Return what one POST came to."""
        settings = channel.settings
        assert isinstance(settings, Webhook)
        body, media = _body(delivery)
        headers = {
            "content-type": media,
            **signing.headers(channel.secret.shared, delivery.delivery, body, now_ms),
        }
        url = settings.url + (f"?{channel.secret.query}" if channel.secret.query else "")
        try:
            async with asyncio.timeout(TOTAL_S):
                answer = await pinned.ask(
                    self._way, Ask(method="POST", url=url, headers=headers, body=body)
                )
                return _judged(answer, now_ms)
        except TimeoutError:
            return _again(f"no answer within {TOTAL_S:.0f} s")
        except (pinned.NoAnswer, egress.Unresolved) as error:
            return _again(str(error))
        except ConfigError as error:
            return Outcome(end=End.REFUSED, said=str(error), is_channels=True)

    async def close(self) -> None:
        """Nothing stays open between messages."""


def _body(delivery: Delivery) -> tuple[bytes, str]:
    """Return what is sent, and as what."""
    if delivery.media:
        return delivery.body, delivery.media
    notice = msgspec.json.decode(delivery.body, type=Notice)
    return words.encoded(notice, delivery.delivery), "application/json"


def _judged(answer: Answer, now_ms: int) -> Outcome:
    status = answer.status
    said = f"answered {status}"
    if 200 <= status < 300:
        return Outcome(end=End.SENT, said=said)
    if status == _GONE:
        return Outcome(end=End.GONE, said=f"{said}: the receiver is gone", is_channels=True)
    after_s = retry_after_s(answer.headers.get("retry-after", ""), now_ms)
    if status in _LATER or status >= 500:
        return Outcome(end=End.AGAIN, said=said, after_s=after_s, is_channels=True)
    if 300 <= status < 400:
        said += ": redirects are not followed"
    return Outcome(end=End.REFUSED, said=said)


def retry_after_s(text: str, now_ms: int) -> float | None:
    """Return how long a receiver asks us to wait: seconds, or until a date; None: it does not."""
    text = text.strip()[:64]
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return max(0.0, (wall_ms(at) - now_ms) / 1000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _again(said: str) -> Outcome:
    return Outcome(end=End.AGAIN, said=said, is_channels=True)
