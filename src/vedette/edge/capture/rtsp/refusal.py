"""What a failed RTSP connection means, in words for people and without the address.

Here: from socket errors and status codes to `SourceLost`. Not here: what is done about it. The
rule: no text that a server sent and no address goes further than this.
"""

import socket
import ssl
from typing import Final

from vedette.edge.capture.seam import Loss, SourceLost

HINTS: Final[dict[Loss, str]] = {
    Loss.REFUSED: "check the camera's address and that RTSP is switched on",
    Loss.UNREACHABLE: "check the camera's cable, power and address",
    Loss.UNAUTHORISED: "check user and password in the camera's `source`",
    Loss.FORBIDDEN: "this user may not see the stream: change it in the camera",
    Loss.NOT_FOUND: "check the path in the camera's `source`",
    Loss.TIMEOUT: "the camera or the network to it hangs: power-cycle it if this stays",
    Loss.GARBAGE: "the address answers, but not with video: check port and path",
    Loss.MOVED: "write the address that it redirects to into the camera's `source`",
    Loss.NO_VIDEO: "the source has sound or data only, or a codec that FFmpeg lacks",
}
_STATUSES: Final = {
    401: Loss.UNAUTHORISED,
    403: Loss.FORBIDDEN,
    404: Loss.NOT_FOUND,
    410: Loss.NOT_FOUND,
    454: Loss.CLOSED,
}


class NotOurs(SourceLost):
    """The camera speaks RTSP, but asks for what only FFmpeg's client can do."""

    def __init__(self, detail: str) -> None:
        super().__init__(Loss.FAILED, detail, operator_hint="set `rtsp_client: ffmpeg`")


def lost(reason: Loss, detail: str = "") -> SourceLost:
    """Return the loss with its usual hint."""
    return SourceLost(reason, detail, operator_hint=HINTS.get(reason))


def garbage(detail: str) -> SourceLost:
    """Return what bytes mean that are no RTSP."""
    return lost(Loss.GARBAGE, detail)


def refused(status: int) -> SourceLost:
    """Return what a status other than 200 means."""
    reason = _STATUSES.get(status)
    if reason is None:
        return SourceLost(
            Loss.FAILED, f"it answers {status}", operator_hint="see the camera's own log"
        )
    return lost(reason)


def translate(problem: OSError) -> SourceLost:
    """Return what a socket's error means."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        hint = "add its certificate to this machine's trusted ones"
        return SourceLost(Loss.UNTRUSTED, problem.verify_message, operator_hint=hint)
    if isinstance(problem, TimeoutError):
        return lost(Loss.TIMEOUT)
    if isinstance(problem, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return lost(Loss.CLOSED)
    if isinstance(problem, ssl.SSLError):
        return SourceLost(Loss.GARBAGE, "no TLS", operator_hint="try rtsp:// in place of rtsps://")
    if isinstance(problem, socket.gaierror):
        hint = "check the host's name in the camera's `source`"
        return SourceLost(Loss.UNREACHABLE, "no such host", operator_hint=hint)
    if isinstance(problem, ConnectionRefusedError):
        return lost(Loss.REFUSED)
    if isinstance(problem, ConnectionError):
        return lost(Loss.CLOSED)
    return lost(Loss.UNREACHABLE, problem.strerror or "")
