"""The last lines of the log of agent and pipeline, from the files that `logs.keep_tail` keeps.

Both processes write their own small file; here they become one text in the order of time. The rule:
the newest lines fit into the bound, and every one went through redaction after it was put together.
"""

import json
from pathlib import Path
from typing import Any, Final

from vedette.edge.diagnostics.redaction import Redactor
from vedette.edge.heartbeat import folder_for

PROCESSES: Final = ("agent", "pipeline")
_OWN: Final = frozenset({"at", "level", "logger", "event", "message", "exception"})
_READ_BYTES: Final = 512 * 1024
_LINE_CHARS: Final = 4_000


def tail_file(state_dir: Path, process: str) -> Path:
    """Return where a process keeps its last lines: in memory, where there is such a folder."""
    return folder_for(state_dir) / f"{process}.log"


def log_tail(state_dir: Path, lines: int, max_bytes: int, redactor: Redactor) -> bytes:
    """Return the last `lines` entries of both processes as UTF-8 text of at most `max_bytes`."""
    entries: list[tuple[str, str]] = []
    for process in PROCESSES:
        entries += _entries(tail_file(state_dir, process), process)
    entries.sort(key=lambda entry: entry[0])
    kept: list[bytes] = []
    size = 0
    for _, text in reversed(entries[-lines:]):
        line = redactor.text(text[: 2 * _LINE_CHARS])[:_LINE_CHARS].encode("utf-8", "replace")
        size += len(line) + 1
        if size > max_bytes:
            break
        kept.append(line + b"\n")
    return b"".join(reversed(kept)) or b"nothing was logged yet\n"


def _entries(path: Path, process: str) -> list[tuple[str, str]]:
    """Return `(time, words)` of one process, oldest first."""
    found: list[tuple[str, str]] = []
    for part in (path.with_name(f"{path.name}.1"), path):
        try:
            with part.open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - _READ_BYTES))
                data = file.read(_READ_BYTES)
        except OSError:
            continue
        for line in data.splitlines():
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue  # the first, cut in two; or something else's
            if isinstance(entry, dict):
                found.append((str(entry.get("at", "")), _words(entry, process)))
    return found


def _words(entry: dict[str, Any], process: str) -> str:
    parts = [str(entry.get(name, "")) for name in ("at", "level", "logger", "event", "message")]
    pairs = [f"{key}={value}" for key, value in entry.items() if key not in _OWN]
    said = "  ".join([process.ljust(8), *filter(None, parts), *pairs]).replace("\n", " ⏎ ")
    trace = str(entry.get("exception", ""))
    return said + "".join(f"\n    | {line}" for line in trace.splitlines()[-40:])
