"""A camera that sends motion JPEG over HTTP.

Here: from the address to one packet per picture. Not here: HTTP itself (`capture.http`) and how
parts are found (`capture.multipart`). FFmpeg has a demuxer for this; ours is used because FFmpeg's
believes any announced length and collects a part without end until memory is gone (decision 0009).
The rule: one deadline per picture, whatever drips in meanwhile.

Thread: one per open stream.
"""

import http.client
from collections.abc import Iterator
from typing import Final

import av
from av.video.codeccontext import VideoCodecContext

from vedette.clock import NS_PER_S, Clock
from vedette.edge.capture import http as web
from vedette.edge.capture.multipart import Parts, boundary_of
from vedette.edge.capture.packets import StreamInfo
from vedette.edge.capture.seam import Loss, SourceLost
from vedette.edge.capture.still import as_packet, is_too_large, new_context, recognise
from vedette.logs import redact_url

_PROBLEMS: Final = (OSError, http.client.HTTPException, ValueError)
_STREAM_HINT: Final = "give the address of its motion JPEG stream, not of a single picture or page"


class MjpegSource:
    """A camera over HTTP or HTTPS."""

    live = True

    def __init__(
        self, url: str, open_timeout_s: float, read_timeout_s: float, clock: Clock
    ) -> None:
        self.name = redact_url(url)
        self._url = url
        self._open_s = open_timeout_s
        self._read_s = 2 * read_timeout_s  # as long as FFmpeg waits in all for an RTSP camera
        self._clock = clock

    def open(self) -> "MjpegStream":
        """Connect and wait for the first picture.

        Raises:
            SourceLost: Refused, moved, no answer in time, or no motion JPEG.
        """
        deadline_ns = self._clock.mono_ns() + round(self._open_s * NS_PER_S)
        try:
            answer = web.get(self._url, self._clock, deadline_ns)
        except _PROBLEMS as problem:
            raise web.translate(problem) from None  # the original may hold the address
        try:
            return MjpegStream(answer, self._clock, self._read_s)
        except BaseException:
            answer.close()
            raise


class MjpegStream:
    """An answer that goes on as long as the camera does."""

    def __init__(self, answer: web.Answer, clock: Clock, read_s: float) -> None:
        kind = answer.content_type.partition(";")[0].strip().lower()
        if kind.startswith("image/") or kind in ("text/html", "application/json"):
            raise SourceLost(Loss.NO_VIDEO, f"it sends {kind}", operator_hint=_STREAM_HINT)
        self._answer = answer
        self._clock = clock
        self._read_s = read_s
        self._parts = Parts(boundary_of(answer.content_type))
        self._waiting: list[bytes] = []
        self._context = new_context("mjpeg")
        self.info = StreamInfo("mjpeg", b"")
        self._first = self._next()
        found = recognise(self._first)
        if found is None or found.codec != "mjpeg":
            raise SourceLost(Loss.GARBAGE, "its parts are no JPEG", operator_hint=_STREAM_HINT)
        self.info = found

    def packets(self) -> Iterator[av.Packet]:
        """Yield one packet per picture; what is no picture comes too, to be counted.

        Raises:
            SourceLost: The camera hung up, went silent or sends garbage.
        """
        data = self._first
        while True:
            found = recognise(data)
            if found is not None and found.codec == "mjpeg" and not is_too_large(found):
                self.info = found if found != self.info else self.info
            yield as_packet(data)
            self._answer.extend(self._clock.mono_ns() + round(self._read_s * NS_PER_S))
            data = self._next()

    @property
    def codec_context(self) -> VideoCodecContext:
        """FFmpeg's JPEG decoder."""
        return self._context

    def close(self) -> None:
        """Hang up."""
        self._answer.close()

    def _next(self) -> bytes:
        """Return the next part, or raise `SourceLost`."""
        try:
            while not self._waiting:
                data = self._answer.read()
                if not data:
                    raise SourceLost(Loss.CLOSED)
                self._waiting = self._parts.feed(data)
        except _PROBLEMS as problem:
            raise web.translate(problem) from None
        return self._waiting.pop(0)
