"""Structured logs: JSON lines in service, readable text in a terminal.

Standard `logging` underneath. A record carries a stable dotted `event` and ids through `extra`:

    log.warning("stream lost", extra={"event": "capture.stream_lost", "camera": camera})

No credentials, no image bytes, nothing per frame. `redact_url` is the only way a camera's address
may reach a log or a report.
"""

import json
import logging
import logging.handlers
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO
from urllib.parse import urlsplit, urlunsplit

TAIL_BYTES: Final = 192 * 1024
"""Of each process: hours of a quiet device, and little where the file lies in memory."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_USERINFO: Final = re.compile(r"(?<=://)(?:[^/?#\s]*|[^/?#\s:]*:[^\s'\"]*)@")
_SECRET: Final = re.compile(
    r"""(?i)\b((?:user-id|user-pw|passw(?:or)?d|passphrase|pwd|pw|pass|token)=)("[^"]*"|'[^']*'|[^\s&"']+)"""
)
_ELEMENT: Final = re.compile(r"gst:\s*([A-Za-z][\w-]{0,60})(?=\s|$)")


def redact_url(url: str) -> str:
    """Return a source's address without what could be a user, a password or a query.

    Of a GStreamer pipeline only its first element is left; a path or device name stays as it is. A
    password with / ? # or @ in it makes an address that cannot be told apart: then little is left.
    """
    if url.startswith("gst:"):
        element = _ELEMENT.match(url)
        return f"gst:{element[1]}" if element else "gst:…"
    if "://" not in url:
        login, mark, rest = url.rpartition("@")  # an address that was mistyped, if anything
        return f"…{rest}" if mark and ":" in login.removeprefix("v4l2:") else url
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if "@" in url and "@" not in parts.netloc and ":" in url.partition("://")[2]:
            return f"{parts.scheme}://…"
        if ":" in host:
            host = f"[{host}]"
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return url.split("://", 1)[0] + "://…"
    return urlunsplit((parts.scheme, host + port, parts.path, "", ""))


def redact_text(text: str) -> str:
    """Return `text` with the user and password of every URL and `password=…` taken out."""
    return _SECRET.sub(r"\1…", _USERINFO.sub("", text))


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `at`, `level`, `logger`, `event`, `message`, then the ids."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        extras = _extras(record)
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": extras.pop("event", ""),
            "message": redact_text(record.getMessage()),
            **extras,
        }
        if record.exc_info:
            line["exception"] = redact_text(self.formatException(record.exc_info))
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """`12:00:00 warning edge.agent  stream lost  camera=door`: for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        extras = _extras(record)
        extras.pop("event", None)
        pairs = "  ".join(f"{key}={value}" for key, value in extras.items())
        name = record.name.removeprefix("vedette.")
        text = f"{at} {record.levelname.lower():7} {name:18} {redact_text(record.getMessage())}"
        if pairs:
            text += f"  {pairs}"
        if record.exc_info:
            text += "\n" + redact_text(self.formatException(record.exc_info))
        return text


def setup(
    *, json_lines: bool | None = None, level: str = "INFO", stream: TextIO | None = None
) -> None:
    """Send Vedette's logs to `stream` (standard error): JSON unless that is a terminal."""
    out = stream or sys.stderr
    as_json = not out.isatty() if json_lines is None else json_lines
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    root = logging.getLogger("vedette")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False


class _Tail(logging.handlers.RotatingFileHandler):
    """Lines in a small file; a disk that refuses costs the line and nothing else."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Carry on without this line."""


def keep_tail(path: Path, max_bytes: int = TAIL_BYTES) -> None:
    """Have Vedette's last lines in `path` too, as JSON: at most twice `max_bytes` with `path.1`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = _Tail(path, maxBytes=max_bytes, backupCount=1, encoding="utf-8", delay=True)
    handler.setFormatter(JsonFormatter())
    logging.getLogger("vedette").addHandler(handler)
