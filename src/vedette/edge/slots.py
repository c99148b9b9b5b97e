"""Which bundle fills which model slot: what the agent wants, and what the pipeline says it runs.

A slot is the name that cameras use a model by. Without an entry it is filled by the library's
bundle of that name. The agent writes `updates/slots.json`; the pipeline looks at it now and then,
loads in the background what it does not have, swaps between two batches and says what runs in its
heartbeat. The rule: neither waits for the other, and what cannot be loaded leaves in place what
runs; after a start that is `before`.
"""

from pathlib import Path
from typing import Final

import msgspec

from vedette.errors import ConfigError
from vedette.trust.keys import write_private
from vedette.wire.updates import ShadowPlan

FOLDER: Final = "updates"
FILE: Final = "slots.json"
MAX_BYTES: Final = 1024 * 1024


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle for a slot.

    Attributes:
        path: Of the bundle's folder.
        before: Folder of the bundle to run where this one cannot be loaded; empty: the library's.
    """

    digest: str
    path: str
    before: str = ""
    before_digest: str = ""


class Shadowed(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that runs beside what fills the slot."""

    rollout: str
    digest: str
    path: str
    plan: ShadowPlan = ShadowPlan()


class Slots(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file, by slot."""

    filled: dict[str, Filled] = {}
    shadows: dict[str, Shadowed] = {}


class SlotRunning(msgspec.Struct, frozen=True, kw_only=True):
    """What the pipeline runs in a slot; part of its heartbeat.

    Attributes:
        digest: Of the bundle that frames are analysed with now.
        wanted: Digest that the file asked for when it was read last.
        problem: Why `wanted` does not run, in words; empty while it is being loaded, or runs.
        load_s: Loading, proving and golden frames of what runs.
        shadow: Digest of the candidate beside it; empty: none runs.
    """

    slot: str
    digest: str
    since_ms: int
    wanted: str = ""
    problem: str = ""
    load_s: float | None = None
    golden_ok: bool | None = None
    shadow: str = ""
    shadow_problem: str = ""


def read(state_dir: Path) -> Slots:
    """Return what the agent wants; nothing where it never wrote.

    Raises:
        ConfigError: The file is there and cannot be read.
    """
    path = state_dir / FOLDER / FILE
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(f"{path.name} has more than {MAX_BYTES} bytes")
        return msgspec.json.decode(data, type=Slots)
    except FileNotFoundError:
        return Slots()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}",
            operator_hint="the agent writes it anew at its next start",
        ) from error


def write(state_dir: Path, slots: Slots) -> None:
    """Replace the file: whole and on the disk, or as it was.

    Raises:
        OSError: The disk refuses.
    """
    folder = state_dir / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(folder / FILE, msgspec.json.encode(slots))
