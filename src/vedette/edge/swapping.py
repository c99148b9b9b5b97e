"""Changing the model of cameras that run: loaded beside the old one, swapped between two pictures.

Here: noticing that `updates/slots.json` wants another bundle in a slot, loading it, and saying what
came of it. Not here: who writes that file (`edge.updating`), which bundle a start takes
(`models`), and what a camera makes of another model (`serving`, `lane`). The rules:

- Cameras notice nothing until the next model is loaded, proven and answered its golden frames.
- What fails is said and left alone until the file asks for something else; what runs, runs on.
- A slot whose cameras could all not run at the start has nothing to swap: where it changes, the
  process asks to be started anew, and they are tried again.
- One slot after another, and no candidate runs meanwhile: at most two models stand beside each
  other.

    slots.json ──once a second, by its inode and times──▶ look ─▶ Models.load ─▶ Pipeline.serve
                                                           └─▶ running(): the heartbeat's slots
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec

from vedette.clock import Clock, wall_ms
from vedette.edge import slots
from vedette.edge.models import LoadedModel, Models
from vedette.edge.slots import Filled, Shadowed, SlotRunning, Slots
from vedette.errors import VedetteError
from vedette.inference.model import Model

_LOG = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
NICENESS: Final = 10
"""Of the loading thread: pictures come first, but a busy device must get its update some time."""

Stamp = tuple[int, int, int] | None
Serve = Callable[[str, Model], None]


class Beside(Protocol):
    """What runs candidates: `edge.shadow.desk`."""

    def follow(self, wanted: dict[str, Shadowed]) -> None:
        """Run these and no others; those that go are ended before this returns."""
        ...

    def says(self, slot: str) -> tuple[str, str]:
        """Return the digest of the candidate that runs in a slot, if any, and its problem."""
        ...


@dataclass(slots=True)
class _Slot:
    """One slot: what it says of itself, and what failed in it last."""

    says: SlotRunning
    wanted: Filled | None = None
    failed: bool = False


class Swapper:
    """Fills model slots as the file wants. Thread: `run` in its own; `running` from any.

    Args:
        models: What the process loaded at its start.
        used: The slots that cameras use.
        serve: Has a slot's cameras go through a model from the next picture on; raises where a
            camera cannot.
        clock: The pipeline's.
        beside: Runs candidates beside what fills the slots.
        refused: Slots of cameras that could not run at the start; those of them that no camera
            uses are watched for something else that is asked for.
    """

    def __init__(
        self,
        models: Models,
        used: Iterable[str],
        serve: Serve,
        clock: Clock,
        *,
        beside: Beside | None = None,
        refused: Iterable[str] = (),
    ) -> None:
        self._models = models
        self._serve = serve
        self._clock = clock
        self._beside = beside
        self._seen: Stamp = None
        self._lock = threading.Lock()
        self._slots = {slot: self._at_start(slot) for slot in dict.fromkeys(used)}
        self._unserved = {
            slot: models.wanted[slot] if slot in models.wanted else models.asked(slot)
            for slot in set(refused) - set(self._slots)
        }
        self.needs_restart: str = ""
        """Why the process should be started anew; empty: it need not."""

    @property
    def used(self) -> list[str]:
        """The slots that cameras use."""
        return list(self._slots)

    def running(self) -> list[SlotRunning]:
        """Return what runs in each slot, and why what is wanted does not. Thread: any."""
        with self._lock:
            said = [slot.says for slot in self._slots.values()]
        if self._beside is None:
            return said
        return [self._with_shadow(one, *self._beside.says(one.slot)) for one in said]

    def run(self, stop: threading.Event) -> None:
        """Follow the file until `stop` is set. Thread: its own."""
        if self._models.is_alone_on_cpu:
            # Linux: of this thread alone, and of the child that proves the model.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while not self._clock.wait(stop, LOOK_EVERY_S):
            self.look()

    def look(self) -> None:
        """Do what the file asks for, where it changed since the last look."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            asked = slots.read(self._folder)
        except VedetteError as error:
            self._refuse_all(str(error))
            return
        for name, slot in self._slots.items():
            self._fill(name, slot, asked.filled.get(name))
        for name, was in self._unserved.items():
            if asked.filled.get(name) != was:
                self.needs_restart = f"cameras of the slot {name} could not run, and it changed"
        if self._beside is not None:
            self._beside.follow(self._shadows(asked))

    @property
    def _folder(self) -> Path:
        assert self._models.state_dir is not None
        return self._models.state_dir

    def _stamp(self) -> Stamp:
        if self._models.state_dir is None:
            return None
        try:
            found = (self._folder / slots.FOLDER / slots.FILE).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _shadows(self, asked: Slots) -> dict[str, Shadowed]:
        """Return the candidates of slots in use that do not fill them anyway."""
        return {
            name: shadow
            for name, shadow in asked.shadows.items()
            if name in self._slots and self._slots[name].says.digest != shadow.digest
        }

    @staticmethod
    def _with_shadow(said: SlotRunning, digest: str, problem: str) -> SlotRunning:
        return msgspec.structs.replace(said, shadow=digest, shadow_problem=problem)

    def _at_start(self, name: str) -> _Slot:
        loaded = self._models.loaded[name]
        says = SlotRunning(
            slot=name,
            digest=loaded.model.digest,
            since_ms=wall_ms(self._clock.now_at()),
            problem=self._models.problems.get(name, ""),
            load_s=round(loaded.load_s, 3),
            golden_ok=loaded.golden_ok,
        )
        # What a start could not load is not tried again until something else is asked for.
        wanted = self._models.wanted.get(name)
        failed = wanted is not None and wanted.digest != says.digest
        if wanted is not None:
            says = msgspec.structs.replace(says, wanted=wanted.digest)
        return _Slot(says, wanted, failed)

    def _fill(self, name: str, slot: _Slot, wanted: Filled | None) -> None:
        """Have the slot filled as wanted, if it can be."""
        is_new, slot.wanted = wanted != slot.wanted, wanted
        if slot.failed and not is_new:
            return
        if wanted is not None and wanted.digest == slot.says.digest:
            slot.failed = False
            self._say(slot, wanted=wanted.digest, problem="")
            return
        if wanted is None and not is_new and slot.says.wanted in {"", slot.says.digest}:
            return
        try:
            self._swap(name, slot, wanted)
            slot.failed = False
        except VedetteError as error:
            slot.failed = True
            self._say(slot, problem=str(error)[:500])
            _LOG.error(
                "the slot %s keeps what it has: %s. %s",
                name,
                error,
                error.operator_hint or "",
                extra={"event": "slot.refused", "slot": name},
            )

    def _swap(self, name: str, slot: _Slot, wanted: Filled | None) -> None:
        """Load what is wanted, and let the slot's cameras go through it.

        Raises:
            VedetteError: It does not load, is another one, or no model for one of the cameras.
        """
        if wanted is not None:
            self._say(slot, wanted=wanted.digest, problem="")
        bundle = self._models.bundle(name, wanted)
        self._say(slot, wanted=bundle.digest, problem="")
        if bundle.digest == slot.says.digest:
            return
        if self._beside is not None:
            self._beside.follow({})  # at most two models beside each other
        loaded = self._models.load(bundle, must_answer=wanted is not None)
        self._serve(name, loaded.model)
        self._models.loaded[name] = loaded
        self._has_swapped(name, slot, loaded)

    def _has_swapped(self, name: str, slot: _Slot, loaded: LoadedModel) -> None:
        before = slot.says.digest
        self._say(
            slot,
            digest=loaded.model.digest,
            since_ms=wall_ms(self._clock.now_at()),
            load_s=round(loaded.load_s, 3),
            golden_ok=loaded.golden_ok,
        )
        _LOG.info(
            "the slot %s went from %s to %s, loaded in %.1f s",
            name,
            before[:19],
            loaded.model.digest[:19],
            loaded.load_s,
            extra={"event": "slot.swapped", "slot": name, "digest": loaded.model.digest},
        )

    def _refuse_all(self, problem: str) -> None:
        _LOG.error("%s", problem, extra={"event": "slot.unreadable"})
        for slot in self._slots.values():
            self._say(slot, problem=problem[:500])

    def _say(self, slot: _Slot, **changes: object) -> None:
        with self._lock:
            slot.says = msgspec.structs.replace(slot.says, **changes)
