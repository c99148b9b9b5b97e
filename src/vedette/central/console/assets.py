"""The files that a browser loads: our own, and the two libraries fetched as pinned npm packages.

`static/` is ours and in the repository. `vendor/` is filled by the build hook for a wheel, and at
first start in a development checkout; nothing in it is ever committed. The rule: the pins below
are the only place that names a library's version, and bytes with another hash are refused.
"""

import gzip
import hashlib
import logging
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from vedette import npm
from vedette.errors import VedetteError

_log = logging.getLogger(__name__)


class Library(NamedTuple):
    """One pinned npm package and the files taken from it."""

    package: str
    version: str
    integrity: str
    files: dict[str, str]


LIBRARIES: Final = (
    Library(
        "htmx.org",
        "4.0.1",
        "sha512-oF7JgXhDW9UXCy/k1ZYFUQgzu/rm19ORWPSPNL91vPluB2PB9+MV55tyQdH/w7o2EAbTYUG5SDW1R60mdkdqGg==",
        {"dist/htmx.min.js": "htmx.min.js", "LICENSE": "htmx.LICENSE"},
    ),
    Library(
        "uplot",
        "1.6.32",
        "sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==",
        {
            "dist/uPlot.iife.min.js": "uplot.iife.min.js",
            "dist/uPlot.min.css": "uplot.min.css",
            "LICENSE": "uplot.LICENSE",
        },
    ),
)

HERE: Final = Path(__file__).resolve().parent
STATIC: Final = HERE / "static"
VENDOR: Final = HERE / "vendor"


def missing_libraries(vendor: Path = VENDOR) -> list[Library]:
    """Return the libraries of which a file is not there."""
    return [
        library
        for library in LIBRARIES
        if not all((vendor / name).is_file() for name in library.files.values())
    ]


def fetch_libraries(vendor: Path = VENDOR) -> None:
    """Make every library be in `vendor`; returns at once where they are.

    Raises:
        PackageUnavailable: The npm client is missing or offline.
        HashMismatch: The package is not the pinned one.
    """
    for library in missing_libraries(vendor):
        npm.fetch(library.package, library.version, library.integrity, library.files, vendor)


def ensure_libraries(vendor: Path = VENDOR) -> None:
    """Have the libraries where they can be had; pages work without them, except for charts."""
    try:
        fetch_libraries(vendor)
    except VedetteError as error:
        _log.warning(
            "the console's browser libraries are missing: %s (%s)",
            error,
            error.operator_hint or "",
            extra={"event": "console.libraries_missing"},
        )


@cache
def asset_version() -> str:
    """Return a short hash over our files: part of their URLs, so that browsers may keep them."""
    digest = hashlib.sha256()
    for file in sorted(STATIC.rglob("*")):
        if file.is_file():
            digest.update(file.name.encode())
            digest.update(file.read_bytes())
    for library in LIBRARIES:
        digest.update(library.integrity.encode())
    return digest.hexdigest()[:12]


_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def asset(path: str) -> tuple[bytes, str] | None:
    """Return (bytes, media type) of an asset by its name, or None.

    Names are looked up in what lies in the two folders, so that no name leads out of them.
    """
    return _assets().get(path)


@cache
def asset_gzip(path: str) -> bytes | None:
    """Return an asset as it goes over the wire, compressed once; None where that saves nothing."""
    found = asset(path)
    if found is None:
        return None
    smaller = gzip.compress(found[0], compresslevel=9, mtime=0)
    return smaller if len(smaller) < len(found[0]) else None


@cache
def _assets() -> dict[str, tuple[bytes, str]]:
    """Read every servable file once; a development checkout restarts to see a change."""
    found: dict[str, tuple[bytes, str]] = {}
    for root, prefix in ((STATIC, ""), (VENDOR, "vendor/")):
        for file in sorted(root.rglob("*")) if root.is_dir() else ():
            media_type = _TYPES.get(file.suffix)
            if file.is_file() and media_type:
                name = prefix + file.relative_to(root).as_posix()
                found[name] = (file.read_bytes(), media_type)
    return found
