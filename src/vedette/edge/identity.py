"""What a camera says that it is, by whichever way it says so. Pure.

ONVIF is asked (`edge.onvif`); where it is silent, the name of the RTSP server is better than
nothing: many cameras of one maker share it, and it often has a version.
"""

import re
from typing import Final

import msgspec

_VERSION: Final = re.compile(r"[vV]?\d[\w.\-]*")


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What a camera says that it is; empty where it does not say."""

    make: str = ""
    model: str = ""
    firmware: str = ""
    serial: str = ""


def by_server(server: str) -> Identity:
    """Return what the name of an RTSP server tells: `Hipcam RealServer/V1.0` is maker and version.

    Source: RFC 2326 (12.36), RFC 9110 (10.2.4): products with versions, comments in brackets.
    """
    plain = re.sub(r"\([^)]*\)", " ", server)
    product, _, rest = plain.partition("/")
    version = _VERSION.match(rest.strip())
    return Identity(make=" ".join(product.split()), firmware=version[0] if version else "")
