"""The conversation with an RTSP server: up to PLAY, and then as long as the camera plays.

Here: requests in their order, passwords, redirects, keep-alive. Not here: pictures. The rules: one
deadline holds for everything up to PLAY; the password is said to the server it was given for and to
no other; what a server asks of us is answered with "not implemented".

Thread: one.

Source: RFC 2326 (10 methods, 12.39 session, A.2 states).
"""

import logging
from collections import deque
from typing import Final

from vedette.clock import NS_PER_S, Clock
from vedette.edge.capture.login import answer_challenge
from vedette.edge.capture.rtsp import address as addresses
from vedette.edge.capture.rtsp import description
from vedette.edge.capture.rtsp.address import Address
from vedette.edge.capture.rtsp.message import (
    Message,
    channels_of,
    not_implemented,
    request,
    session_of,
)
from vedette.edge.capture.rtsp.refusal import NotOurs, garbage, lost, refused
from vedette.edge.capture.rtsp.wire import Wire, connect
from vedette.edge.capture.seam import Loss, SourceLost

_LOG = logging.getLogger(__name__)

MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({300, 301, 302, 303, 307, 308})
_DECISIVE: Final = frozenset({401, 403, 404, 410})
_MAX_STRANGERS: Final = 32  # answers to nothing, requests of the server
_MAX_EARLY: Final = 512  # RTP packets before the answer to PLAY
_MAX_SERVER_CHARS: Final = 120
_MAX_EARLY_BYTES: Final = 4 * 1024 * 1024
_LONGEST_SILENCE_S: Final = 25.0


class Session:
    """One connection and what was agreed on over it.

    Attributes:
        track: The video.
        channel: Where its RTP comes.
        early: RTP packets that came before PLAY was answered.
        server: How the server names itself.
    """

    track: description.Track

    def __init__(self, wire: Wire, address: Address, clock: Clock, deadline_ns: int) -> None:
        self.wire = wire
        self.address = address
        self.channel = 0
        self.early: deque[bytes] = deque()
        self._clock = clock
        self._deadline_ns = deadline_ns
        self.server = ""
        self._sequence = 0
        self._challenges: list[str] = []
        self._answered = 0
        self._can_ask_parameter = False
        self._id = ""
        self._base = self._aggregate = address.uri
        self._every_ns = 0
        self._due_ns = 0
        self._pending = ""
        self._strangers = 0

    def describe(self) -> str:
        """Learn what there is; return where a redirect leads, or nothing.

        Raises:
            SourceLost: Refused, no answer in time, no video.
        """
        uri = self.address.uri
        options = self._ask("OPTIONS", uri)
        if options.status in _REDIRECTS:
            return options.get("location") or "nowhere"
        if options.status in _DECISIVE:
            raise refused(options.status)
        self._can_ask_parameter = "GET_PARAMETER" in options.get("public").upper()
        answer = self._ask("DESCRIBE", uri, {"Accept": "application/sdp"})
        if answer.status in _REDIRECTS:
            return answer.get("location") or "nowhere"
        if answer.status != 200:
            raise refused(answer.status)
        named = answer.get("server") or options.get("server")
        self.server = "".join(char for char in named if char.isprintable())[:_MAX_SERVER_CHARS]
        control, self.track = description.read(answer.body)
        base = answer.get("content-base") or answer.get("content-location") or uri
        if not base.lower().startswith(("rtsp://", "rtsps://")):
            base = uri
        base = addresses.checked(addresses.without_login(base))
        self._aggregate = addresses.resolve(base, control)
        # RFC 2326 C.1.1 has tracks relative to the base; where only the session's control is
        # absolute, cameras mean that one.
        self._base = self._aggregate if control.lower().startswith("rtsp") else base
        return ""

    def play(self) -> None:
        """Agree on channels and let the pictures come.

        Raises:
            SourceLost: Refused, no answer in time.
            NotOurs: The server has no interleaved transport.
        """
        track = addresses.resolve(self._base, self.track.control)
        wanted = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}
        answer = self._ask("SETUP", track, wanted)
        if answer.status == 461:
            raise NotOurs("it does not send over TCP")
        if answer.status != 200:
            raise refused(answer.status)
        channels = channels_of(answer)
        if channels is None:
            raise NotOurs("it does not send over TCP")
        self.channel, self.wire.channels = channels[0], channels
        self._id, timeout_s = session_of(answer)
        # Half of it, so that one lost answer costs nothing.
        self._every_ns = round(min(timeout_s / 2, _LONGEST_SILENCE_S) * NS_PER_S)
        answer = self._ask("PLAY", self._aggregate, {"Range": "npt=0.000-"})
        if answer.status != 200:
            raise refused(answer.status)
        self._due_ns = self._clock.mono_ns() + self._every_ns

    @property
    def due_ns(self) -> int:
        """When the next sign of life has to be given."""
        return self._due_ns

    def keep_alive(self) -> None:
        """Give a sign of life where it is time for one.

        Raises:
            SourceLost: The connection is gone.
        """
        now_ns = self._clock.mono_ns()
        if now_ns >= self._due_ns:
            self._due_ns = now_ns + self._every_ns
            self._pending = "GET_PARAMETER" if self._can_ask_parameter else "OPTIONS"
            self._send(self._pending, self._aggregate, {})

    def hear(self, message: Message) -> None:
        """Take what the server says while it plays.

        Raises:
            SourceLost: It ended the session.
        """
        if message.status == 0:
            self._strangers = 0  # over days many may come; sending has a time limit
            self._decline(message)
            return
        if message.status == 401 and message.every("www-authenticate"):
            if self._challenges != message.every("www-authenticate"):  # a new nonce: once more
                self._challenges, self._answered = message.every("www-authenticate"), 0
                self._due_ns = self._clock.mono_ns() + NS_PER_S
        elif message.status == 454:
            raise lost(Loss.CLOSED, "the session is over")
        elif message.status != 200 and self._pending == "GET_PARAMETER":
            self._can_ask_parameter = False

    def close(self) -> None:
        """Say goodbye and hang up."""
        words = b""
        if self._id:
            try:
                words = self._words("TEARDOWN", self._aggregate, {})
            except SourceLost:
                words = b""
        self.wire.close(words)

    def _ask(self, method: str, uri: str, fields: dict[str, str] | None = None) -> Message:
        """Return the answer to a request, made again with the password where that is asked for."""
        answer = self._once(method, uri, fields or {})
        asked = answer.every("www-authenticate")
        if answer.status == 401 and self.address.login and asked and asked != self._challenges:
            self._challenges, self._answered = asked, 0
            answer = self._once(method, uri, fields or {})
        return answer

    def _once(self, method: str, uri: str, fields: dict[str, str]) -> Message:
        self._send(method, uri, fields)
        while True:
            found = self.wire.take()
            if found is None:
                if not self.wire.fill(self._deadline_ns):
                    raise lost(Loss.TIMEOUT)
            elif isinstance(found, tuple):
                self._keep_early(*found)
            elif found.status == 0:
                self._decline(found)
            elif found.status == 100:
                self._count_stranger()
            elif found.get("cseq") in ("", str(self._sequence)):
                return found
            else:
                self._count_stranger()

    def _keep_early(self, channel: int, payload: memoryview) -> None:
        if self.wire.channels and channel == self.channel:
            room = sum(map(len, self.early)) + len(payload) <= _MAX_EARLY_BYTES
            if len(self.early) < _MAX_EARLY and room:
                self.early.append(bytes(payload))
                return
        self._count_stranger(of_frames=True)

    def _decline(self, message: Message) -> None:
        if message.method == "REDIRECT":
            raise lost(Loss.CLOSED, "it asks to connect again")
        self._count_stranger()
        self.wire.send(not_implemented(message.get("cseq")))

    def _count_stranger(self, *, of_frames: bool = False) -> None:
        self._strangers += 1
        if self._strangers > _MAX_STRANGERS * (64 if of_frames else 1):
            raise garbage("it talks out of turn")

    def _send(self, method: str, uri: str, fields: dict[str, str]) -> None:
        self.wire.send(self._words(method, uri, fields))

    def _words(self, method: str, uri: str, fields: dict[str, str]) -> bytes:
        self._sequence += 1
        self._answered += 1
        login = answer_challenge(
            method, uri, self.address.login, self._challenges, count=self._answered
        )
        return request(
            method,
            uri,
            self._sequence,
            {**fields, "Session": self._id, "Authorization": login or ""},
        )


def open_session(url: str, clock: Clock, deadline_ns: int) -> Session:
    """Return a session whose pictures come.

    Raises:
        SourceLost: Refused, moved to where it may not lead, no answer in time, no video.
        NotOurs: A camera for FFmpeg's client.
    """
    address = addresses.read(url)
    for _ in range(MAX_REDIRECTS + 1):
        session = Session(connect(address, clock, deadline_ns), address, clock, deadline_ns)
        try:
            location = session.describe()
            if not location:
                session.play()
                return session
        except BaseException:
            session.close()
            raise
        session.close()
        address = addresses.follow(address, location)
    raise lost(Loss.MOVED, "again and again")
