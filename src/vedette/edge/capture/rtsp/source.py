"""A camera over RTSP by the own client, and by FFmpeg's where ours cannot.

Here: which client opens the camera. The rule: FFmpeg's is used for what ours says it cannot do, and
has the next turn after what ours did not understand or got no picture from; never because a camera
refused, and never for rtsps, where FFmpeg checks no certificate.

Thread: one at a time.
"""

import logging
from typing import TYPE_CHECKING

from vedette.clock import NS_PER_S, Clock
from vedette.edge.capture.rtsp.refusal import NotOurs
from vedette.edge.capture.rtsp.session import open_session
from vedette.edge.capture.rtsp.stream import CameraStream
from vedette.edge.capture.seam import Loss, SourceLost
from vedette.logs import redact_url

if TYPE_CHECKING:
    from vedette.edge.capture.source import OpenStream, Source

_LOG = logging.getLogger(__name__)


class CameraSource:
    """A camera over RTSP, media interleaved in its TCP connection."""

    live = True

    def __init__(
        self,
        url: str,
        open_timeout_s: float,
        read_timeout_s: float,
        clock: Clock,
        *,
        other: "Source | None" = None,
    ) -> None:
        """Name the camera; `other` opens it where this client cannot, None for nobody."""
        self.name = redact_url(url)
        self._url = url
        self._open_ns = round(open_timeout_s * NS_PER_S)
        self._read_s = 2 * read_timeout_s  # as long as FFmpeg waits in all
        self._clock = clock
        self._other = other
        self._prefers_other = False
        self._tries_other = False
        self._last: CameraStream | None = None

    def open(self) -> "OpenStream":
        """Connect, describe, set up and play.

        Raises:
            SourceLost: Refused, unauthorised, no such stream, no answer, garbage, no video.
        """
        last, self._last = self._last, None
        if self._other is not None and (self._prefers_other or self._tries_other):
            return self._open_other(self._other)
        if self._other is not None and last is not None and last.is_doubtful:
            self._say("it gave no picture that was understood")
            return self._open_other(self._other)
        try:
            session = open_session(self._url, self._clock, self._clock.mono_ns() + self._open_ns)
        except NotOurs as reason:
            if self._other is None:
                raise
            self._say(str(reason))
            self._prefers_other = True
            return self._open_other(self._other)
        except SourceLost as reason:
            if self._other is not None and reason.reason is Loss.GARBAGE:
                self._say(str(reason))
                self._tries_other = True
            raise
        self._last = CameraStream(session, self._clock, self._read_s)
        return self._last

    def _open_other(self, other: "Source") -> "OpenStream":
        """Open by the other client; ours has its turn again where that was only an attempt."""
        self._tries_other = False
        try:
            return other.open()
        except SourceLost:
            self._prefers_other = False  # the camera may be another one by now
            raise

    def _say(self, why: str) -> None:
        _LOG.info(
            "FFmpeg's client is used: %s",
            why,
            extra={"event": "capture.rtsp_fallback", "source": self.name, "reason": why},
        )
