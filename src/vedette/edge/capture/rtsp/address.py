"""RTSP addresses: what is connected to, what is asked for, and where a redirect may lead.

Here: text only. The rules: user and password leave the address before anything else is done with
it; only rtsp and rtsps are followed, never from rtsps to rtsp; nothing that a server wrote can put
a line of its own into a request.

Source: RFC 2326 (C.1.1 control addresses), RFC 3986 (5 relative references).
"""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote, urljoin, urlsplit

from vedette.edge.capture.rtsp.refusal import garbage, lost
from vedette.edge.capture.seam import Loss, SourceLost

PORTS: Final = {"rtsp": 554, "rtsps": 322}
_MAX_ADDRESS: Final = 4096
_KEPT: Final = "/:@!$&'()*+,;=~%?[]-._#|"


@dataclass(frozen=True, slots=True)
class Address:
    """One server and what is asked of it.

    Attributes:
        uri: As it stands in requests: without user and password.
        login: User and password; None without.
    """

    scheme: str
    host: str
    port: int
    uri: str
    login: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def origin(self) -> tuple[str, str, int]:
        """Return what has to be the same for the password to go along."""
        return self.scheme, self.host.lower(), self.port


def read(url: str) -> Address:
    """Return the parts of an rtsp:// or rtsps:// address.

    Raises:
        SourceLost: No such address.
    """
    try:
        parts = urlsplit(url[:_MAX_ADDRESS])
        port = parts.port
    except ValueError:
        raise lost(Loss.UNREACHABLE, "no address") from None
    scheme, host = parts.scheme.lower(), parts.hostname or ""
    if scheme not in PORTS or not host:
        raise lost(Loss.UNREACHABLE, "no address")
    where = parts.netloc.rpartition("@")[2]
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    uri = quote(f"{scheme}://{where}{path}", safe=_KEPT)
    return Address(scheme, host, PORTS[scheme] if port is None else port, uri, login)


def follow(current: Address, location: str) -> Address:
    """Return where a redirect leads; the password goes along only to the same server.

    Raises:
        SourceLost: Nowhere, or to where it may not lead.
    """
    allowed = ("rtsps",) if current.scheme == "rtsps" else ("rtsp", "rtsps")
    try:
        scheme = urlsplit(location[:_MAX_ADDRESS]).scheme.lower()
    except ValueError:
        scheme = ""
    if scheme not in allowed:
        raise lost(Loss.MOVED, f"{scheme[:20] or 'nowhere'}:")
    try:
        target = read(location)
    except SourceLost:
        raise lost(Loss.MOVED, "no address") from None
    login = current.login if target.origin == current.origin else None
    return Address(target.scheme, target.host, target.port, target.uri, login)


def resolve(base: str, control: str) -> str:
    """Return the address that a `control` attribute names.

    A relative one is put behind the base, as every camera means it, also where the base does not
    end in a slash or has a query.

    Raises:
        SourceLost: An address that cannot stand in a request.
    """
    if control in ("", "*"):
        found = base
    elif control.lower().startswith(("rtsp://", "rtsps://")):
        found = _without_login(control)
    elif control.startswith("/"):
        found = urljoin(base.replace("rtsp", "http", 1), control).replace("http", "rtsp", 1)
    else:
        found = base + ("" if base.endswith("/") else "/") + control
    return checked(found)


def checked(uri: str) -> str:
    """Return `uri`, which a server wrote, where it can stand in a request line.

    Raises:
        SourceLost: It cannot.
    """
    if len(uri) > _MAX_ADDRESS or not uri.isascii() or not uri.isprintable() or " " in uri:
        raise garbage("an address that is none")
    return uri


def without_login(uri: str) -> str:
    """Return an absolute address without user and password."""
    return _without_login(uri)


def _without_login(uri: str) -> str:
    scheme, mark, rest = uri.partition("://")
    where, slash, path = rest.partition("/")
    return scheme + mark + where.rpartition("@")[2] + slash + path
