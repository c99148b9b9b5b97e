"""The hand-over from the pipeline process to the agent that is not durable: "I live, and how".

The pipeline replaces `pipeline.json` in the state directory about once a second; the agent reads
it. It is a whole file or the old one, never half of one. What must survive goes to the spool.

A file replaced each second wears an SD card by some 500 MB a day. Where the service manager gives a
folder in memory (systemd: `RuntimeDirectory=`), the heartbeat stands there instead; agent and
pipeline have it from the same environment.

Source: systemd.exec(5), RUNTIME_DIRECTORY.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from vedette.edge.slots import SlotRunning
from vedette.wire.messages import CameraHealth, ModelHealth

FILE: Final = "pipeline.json"
STALE_AFTER_S: Final = 15.0
"""A pipeline whose heartbeat is older than this hangs: the agent ends it and starts another."""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """What the pipeline says of itself.

    Attributes:
        mono_ns: `Clock.mono_ns` when written: the same clock in every process of one boot.
        needs_restart: In words, why the agent should restart the process; empty where not.
        window: Number of the last complete report window; `cameras` and `models` speak of it. 0:
            none is complete yet, then they hold states without counts.
        covered_until_ms: Per camera, how far the spool's aggregates reach.
        slots: What runs in each model slot that a camera uses.
    """

    pid: int
    boot_id: str
    mono_ns: int
    started_ms: int
    window: int = 0
    needs_restart: str = ""
    cameras: list[CameraHealth] = []
    models: list[ModelHealth] = []
    covered_until_ms: dict[str, int] = {}
    slots: list[SlotRunning] = []


def folder_for(state_dir: Path) -> Path:
    """Return where the heartbeat stands: in memory where the service manager gives a folder."""
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    folder = Path(given)
    return folder if given and folder.is_absolute() and folder.is_dir() else state_dir


def write(state_dir: Path, beat: Heartbeat) -> None:
    """Replace the heartbeat file atomically; not synced, it need not survive a power cut.

    Raises:
        OSError: Disk full or read-only: the caller counts it and carries on.
    """
    folder = folder_for(state_dir)
    temporary = folder / f".{FILE}.{os.getpid()}"
    temporary.write_bytes(msgspec.json.encode(beat))
    temporary.replace(folder / FILE)


def read(state_dir: Path) -> Heartbeat | None:
    """Return the last heartbeat, or None where there is none that can be read."""
    try:
        return msgspec.json.decode((folder_for(state_dir) / FILE).read_bytes(), type=Heartbeat)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def forget(state_dir: Path) -> None:
    """Remove the heartbeat of a process that is no more."""
    (folder_for(state_dir) / FILE).unlink(missing_ok=True)


def age_s(beat: Heartbeat, mono_ns: int) -> float:
    """Return seconds since the heartbeat; infinite where it is from another boot's clock."""
    age_ns = mono_ns - beat.mono_ns
    return age_ns / 1e9 if age_ns >= 0 else float("inf")
