"""Requests from the agent to the pipeline, as files: an operator wants to see a thumbnail.

    requests/<id>.json   written by the agent, whole or not at all
    requests/<id>.jpg    the pipeline's answer; or
    requests/<id>.no     why there is none, in words

The agent removes all of them once it has sent the answer or the request expired.
"""

import contextlib
from pathlib import Path
from typing import Final

import msgspec

from vedette.ids import is_slug

FOLDER: Final = "requests"
MAX_OPEN: Final = 16
THUMBNAIL: Final = "thumbnail"
REFERENCE: Final = "reference"
KINDS: Final = frozenset({THUMBNAIL, REFERENCE})
"""With pixels: the site's policy holds for both alike."""


class ThumbnailRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One thumbnail that the pixel policy allows; `width_px` is what the policy says.

    Attributes:
        kind: `thumbnail`: how it looks now; `reference`: how it looked when a person pinned it.
    """

    request: str
    camera: str
    width_px: int
    expires_ms: int
    kind: str = THUMBNAIL


def ask(state_dir: Path, wanted: ThumbnailRequest) -> None:
    """Put a request where the pipeline looks.

    Raises:
        ValueError: The id could leave the folder.
        OSError: Disk full or read-only.
    """
    if not is_slug(wanted.request):
        raise ValueError(f"{wanted.request!r} is no request id")
    _write(state_dir / FOLDER / f"{wanted.request}.json", msgspec.json.encode(wanted))


def waiting(state_dir: Path) -> list[ThumbnailRequest]:
    """Return the requests that have no answer yet."""
    found = []
    for path in sorted((state_dir / FOLDER).glob("*.json"))[:MAX_OPEN]:
        if path.with_suffix(".jpg").exists() or path.with_suffix(".no").exists():
            continue
        with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
            found.append(msgspec.json.decode(path.read_bytes(), type=ThumbnailRequest))
    return found


def answer(state_dir: Path, request: str, picture: bytes | None, why: str = "") -> None:
    """Put the answer beside its request: a JPEG, or why there is none."""
    suffix, data = (".jpg", picture) if picture is not None else (".no", why.encode())
    with contextlib.suppress(OSError):
        _write(state_dir / FOLDER / f"{request}{suffix}", data)


def answered(state_dir: Path, request: str) -> tuple[bytes | None, str] | None:
    """Return (JPEG, why not) for a request, or None where there is no answer yet."""
    base = state_dir / FOLDER / request
    with contextlib.suppress(OSError):
        return base.with_suffix(".jpg").read_bytes(), ""
    with contextlib.suppress(OSError):
        return None, base.with_suffix(".no").read_text("utf-8", "replace")
    return None


def forget(state_dir: Path, request: str) -> None:
    """Remove a request and its answer; a name that could leave the folder names neither."""
    if not is_slug(request):
        return
    for suffix in (".json", ".jpg", ".no"):
        (state_dir / FOLDER / f"{request}{suffix}").unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(data)
    temporary.replace(path)
