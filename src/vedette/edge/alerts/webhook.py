"""One attempt by webhook: a signed POST, whose answer's status alone counts.

Redirects are not followed, answers are read to 4 KB and thrown away. Private addresses are where
local receivers are: the site's key said this one. Source: the Standard Webhooks specification.
"""

import threading
from typing import Final

import msgspec
import urllib3

from vedette import __version__
from vedette.clock import Clock, wall_ms
from vedette.edge.alerts.outcome import Outcome, Result
from vedette.trust.webhooks import signed_headers
from vedette.wire.alerts import LocalAlert, LocalChannel

ANSWER_BYTES: Final = 4096
NEVER: Final = frozenset({400, 410, 413, 415, 422})
"""Statuses by which a receiver says that it will never take this message."""


class Webhook:
    """Thread: one."""

    def __init__(self, channel: LocalChannel, clock: Clock) -> None:
        self._channel: Final = channel
        self._clock: Final = clock
        timeout = urllib3.Timeout(total=channel.timeout_s)
        self._pool: Final = urllib3.PoolManager(
            num_pools=1, maxsize=1, retries=False, timeout=timeout, cert_reqs="CERT_REQUIRED"
        )

    def send(self, alert: LocalAlert, _stop: threading.Event) -> Outcome:
        """Post the alert."""
        body = msgspec.json.encode(alert)
        at_s = wall_ms(self._clock.now_at()) // 1000
        headers = signed_headers(self._channel.secret, alert.alert, at_s, body)
        headers["Content-Type"] = "application/json"
        headers["User-Agent"] = f"vedette/{__version__}"
        try:
            answer = self._pool.request(
                "POST",
                self._channel.url,
                body=body,
                headers=headers,
                redirect=False,
                preload_content=False,
            )
            _finish(answer)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return Outcome(Result.LATER, type(error).__name__)
        return _judge(answer.status)

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()


def _finish(answer: urllib3.BaseHTTPResponse) -> None:
    """Keep the connection where the answer is short; close it where it goes on."""
    rest = answer.read(ANSWER_BYTES)
    if len(rest) < ANSWER_BYTES:
        answer.release_conn()
    else:
        answer.close()


def _judge(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome(Result.SENT)
    result = Result.REFUSED if status in NEVER else Result.LATER
    return Outcome(result, f"the receiver answers {status}")
