"""One message by Apprise, in a process that can do nothing else.

    python -m vedette.central.alerting.channels.apprise_child < job.json > answer.json

The rule: before Apprise does anything, a hook refuses every connection that the egress rules
refuse, wherever a redirect or a name leads; other programs, files to be written, and sockets that
are not TCP are refused too. It is a fence against an address that leads where it should not, and
against a plugin that does more than it says; it is no sandbox against code that means to get out.
"""

import logging
import os
import re
import socket
import sys
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from vedette.central.alerting.channels import egress
from vedette.central.alerting.channels.egress import Rules

_NEVER: Final = (
    "subprocess.", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system",
    "os.startfile", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink",
    "os.truncate", "os.chmod", "os.chown", "pty.", "shutil.", "socket.bind", "ftplib.", "smtplib.",
    "telnetlib.",
)  # fmt: skip
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
_SECRET_CHARS: Final = 5


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent where."""

    url: str
    title: str
    body: str
    kind: str
    allow_private: list[str] = []
    proxy: str = ""
    picture: bytes = b""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; `said` without anything of the address."""

    ok: bool
    said: str = ""


class Kept(logging.Handler):
    """The last things that Apprise said."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.said = [*self.said[-4:], record.getMessage()[:500]]


def fence(rules: Rules, proxy: str = "") -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook that refuses what such a process must not do.

    It cannot be taken away again: only for a process that sends one message.
    """
    proxies = {_proxy(proxy)} if proxy else set[tuple[str, int]]()

    def refuse(event: str, args: tuple[Any, ...]) -> None:
        if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
            _check_connection(rules, proxies, args)
        elif event == "open":
            _check_open(args)
        elif event.startswith(_NEVER):
            raise PermissionError(f"not done here: {event}")

    return refuse


def _check_connection(rules: Rules, proxies: set[tuple[str, int]], args: tuple[Any, ...]) -> None:
    sock, there = args[0], args[1]
    if sock.family not in {socket.AF_INET, socket.AF_INET6} or not isinstance(there, tuple):
        raise PermissionError("only TCP to other machines")
    host, port = str(there[0]), int(there[1])
    if (host, port) in proxies:
        return
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        raise PermissionError("a name where an address should be") from None
    if sock.type & socket.SOCK_STREAM != socket.SOCK_STREAM:
        # `requests` asks the system which address it would use by a UDP socket that sends nothing.
        raise PermissionError("only TCP")
    if not egress.may(rules, address):
        raise PermissionError("inside the network: not connected (alerts.allow_private)")


def _check_open(args: tuple[Any, ...]) -> None:
    path, _, flags = args
    if isinstance(flags, int) and flags & _WRITING and str(path) != os.devnull:
        raise PermissionError("no file is written here")


def _proxy(proxy: str) -> tuple[str, int]:
    parts = urlsplit(proxy)
    host, port = parts.hostname or "", parts.port or 3128
    return socket.gethostbyname(host), port


def send(job: Job) -> Answer:
    """Return what Apprise made of it."""
    import apprise  # a hundred plugins: only this process loads them
    from apprise.attachment.memory import AttachMemory

    kept = Kept()
    logger = logging.getLogger("apprise")
    logger.handlers, logger.propagate = [kept], False
    asset = apprise.AppriseAsset(async_mode=False, secure_logging=True)
    messenger = apprise.Apprise(asset=asset)
    if not messenger.add(job.url):
        return Answer(ok=False, said="Apprise does not understand this address")
    rules = egress.rules(job.allow_private, [])
    sys.addaudithook(fence(rules, job.proxy))
    picture = None
    if job.picture:
        picture = apprise.AppriseAttachment(
            AttachMemory(content=job.picture, name="picture.jpg", mimetype="image/jpeg")
        )
    ok = messenger.notify(
        title=job.title, body=job.body, notify_type=apprise.NotifyType(job.kind), attach=picture
    )
    return Answer(ok=bool(ok), said=scrub("; ".join(kept.said), job.url))


def scrub(text: str, url: str) -> str:
    """Return text without any part of the address that could be a secret."""
    for part in sorted(set(re.split(r"[/:?&=@#,]+", url)), key=len, reverse=True):
        for secret in (part, unquote(part)):
            if len(secret) >= _SECRET_CHARS:
                text = text.replace(secret, "…")
    return text


def main() -> int:
    """Send what stands on standard input; say what came of it on standard output."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        answer = send(job)
    except PermissionError as error:
        answer = Answer(ok=False, said=scrub(str(error), job.url))
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    sys.stdout.buffer.flush()
    # Whatever a plugin left running ends here.
    os._exit(0)


if __name__ == "__main__":
    main()
