"""Structured logs: JSON lines in service, readable text in a terminal.

Standard `logging` underneath. A record carries a stable dotted `event` and ids through `extra`:

    log.warning("stream lost", extra={"event": "capture.stream_lost", "camera": camera})

No credentials, no image bytes, nothing per frame. `redact_url` is the only way a camera's address
may reach a log or a report.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Final, TextIO
from urllib.parse import urlsplit, urlunsplit

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_USERINFO: Final = re.compile(r"(?<=://)[^/?#\s]*@")


def redact_url(url: str) -> str:
    """Return `url` without user, password and query; a path or device name stays as it is."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if ":" in host:
            host = f"[{host}]"
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return url.split("://", 1)[0] + "://…"
    return urlunsplit((parts.scheme, host + port, parts.path, "", ""))


def redact_text(text: str) -> str:
    """Return `text` with the user and password of every URL in it taken out."""
    return _USERINFO.sub("", text)


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
