"""The kind `models`: a bundle for a slot that cameras use, run by the pipeline process.

Here: what the agent does about it. It writes `updates/slots.json`, the pipeline follows and says in
its heartbeat what runs; loading and swapping are `edge.swapping`'s. The rules: a bundle is proven
in a process of its own before the pipeline hears of it; it counts as working once a camera's frames
were analysed with it; a pipeline that dies twice, or a model that fails on more frames than it
answers, is the new model's fault until it has been confirmed.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec

from vedette.edge import slots
from vedette.edge.heartbeat import Heartbeat
from vedette.edge.settings import EdgeConfig
from vedette.edge.slots import Filled, Shadowed, SlotRunning, Slots
from vedette.edge.updating import trial
from vedette.edge.updating.kinds import Installed, Standing
from vedette.errors import ConfigError
from vedette.wire.messages import Drop
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Artefact, ShadowPlan

MAX_CRASHES: Final = 2
"""Unexpected ends of the pipeline before confirmation; one alone may have another cause."""

MIN_FAILED: Final = 20
"""Fewer failed frames say nothing."""


class Pipeline(Protocol):
    """The part of `edge.supervisor.Supervisor` that is looked at."""

    crashes: int
    last_exit: str

    def beat(self) -> Heartbeat | None:
        """Return the running pipeline's last heartbeat."""
        ...

    def hurry(self) -> None:
        """Start the next pipeline without a pause."""
        ...


@dataclass(slots=True)
class _Seen:
    """What was seen of a slot since something was activated in it."""

    digest: str
    crashes: int
    pid: int = 0
    counted: int | None = None  # the last window that was looked at
    analysed: int = 0
    failed: int = 0


class ModelInstaller:
    """Thread: the updater's; `standing` any."""

    kind: ArtefactKind = ArtefactKind.MODEL
    activation_s: float = 300.0
    keeps_file: bool = True

    def __init__(
        self, state_dir: Path, config: Callable[[], EdgeConfig], pipeline: Pipeline
    ) -> None:
        """Prepare; `config` is asked each time."""
        self._state_dir: Final = state_dir
        self._config: Final = config
        self._pipeline: Final = pipeline
        self._lock: Final = threading.Lock()
        self._seen: dict[str, _Seen] = {}

    def slots(self) -> list[str]:
        """Return the models that cameras use."""
        return list(dict.fromkeys(camera.model for camera in self._config().cameras))

    def in_use(self) -> list[str]:
        """Return the folders that the pipeline may read now."""
        file = self._read()
        filled = [p for one in file.filled.values() for p in (one.path, one.before)]
        return [*filled, *(one.path for one in file.shadows.values())]

    def space_bytes(self, artefact: Artefact) -> int:
        """Return the unpacked bundle's size: it is not compressed."""
        return artefact.bytes

    def prepare(self, slot: str, artefact: Artefact, file: Path, folder: Path) -> None:
        """Have the bundle unpacked, proven and its golden frames answered here.

        Raises:
            ModelLoadFailed: It is refused.
            BackendUnavailable: What is to run it is not here now.
        """
        config = self._config()
        labels = {
            word for camera in config.cameras if camera.model == slot for word in camera.labels
        }
        trial.try_bundle(
            trial.Order(
                file=str(file),
                digest=artefact.digest,
                folder=str(folder),
                runtime=config.pipeline.runtime,
                providers=config.pipeline.providers,
                labels=sorted(labels),
            )
        )

    def activate(self, wanted: Installed, before: Installed | None) -> None:
        """Ask the pipeline for it, and look at everything anew."""
        with self._lock:
            self._seen[wanted.slot] = _Seen(wanted.digest, self._pipeline.crashes)
        self._fill(wanted.slot, wanted, before)

    def settle(self, wanted: Installed, before: Installed | None) -> None:
        """Have the file say so; a pipeline that cannot load it later still takes `before`."""
        with self._lock:
            self._seen.pop(wanted.slot, None)
        self._fill(wanted.slot, wanted, before)

    def revert(self, slot: str, tried: Installed, before: Installed | None) -> None:
        """Ask the pipeline for what ran before; one that is down starts at once."""
        with self._lock:
            seen = self._seen.get(slot)
            if seen is not None and seen.digest == tried.digest:
                del self._seen[slot]
        if self._fill(slot, before, None):
            self._pipeline.hurry()

    def shadow(self, wanted: Installed, rollout: str, plan: ShadowPlan) -> None:
        """Ask the pipeline to run it beside what fills the slot."""
        shadowed = Shadowed(rollout=rollout, digest=wanted.digest, path=wanted.folder, plan=plan)
        file = self._read()
        self._write(
            file, msgspec.structs.replace(file, shadows={**file.shadows, wanted.slot: shadowed})
        )

    def unshadow(self, slot: str) -> None:
        """Ask for nothing beside it any more."""
        file = self._read()
        shadows = {name: one for name, one in file.shadows.items() if name != slot}
        self._write(file, msgspec.structs.replace(file, shadows=shadows))

    def standing(self, slot: str) -> Standing:
        """Return what the pipeline says of the slot, and what its frames say since activation."""
        beat = self._pipeline.beat()
        said = next((one for one in beat.slots if one.slot == slot), None) if beat else None
        with self._lock:
            seen = self._seen.get(slot)
            if seen is None:
                return _told(said)
            if beat is not None and said is not None:
                self._count(seen, beat, said)
            return self._judge(seen, said)

    # ------------------------------------------------------------------------------- internals

    def _count(self, seen: _Seen, beat: Heartbeat, said: SlotRunning) -> None:
        """Take in the frames of a window that was wholly the new model's."""
        if said.digest != seen.digest:
            seen.counted = None
            return
        if seen.counted is None or seen.pid != beat.pid:
            # A window in which it was swapped in is half another model's; a process that began
            # with it has none such.
            seen.counted = beat.window + 1 if beat.window else 0
            seen.pid = beat.pid
        if beat.window <= seen.counted:
            return
        seen.counted = beat.window
        mine = {camera.id for camera in self._config().cameras if camera.model == said.slot}
        for camera in beat.cameras:
            if camera.camera in mine:
                dropped = camera.frames.dropped
                seen.analysed += camera.frames.analysed
                seen.failed += dropped.get(Drop.BAD_OUTPUT, 0) + dropped.get(Drop.BACKEND, 0)

    def _judge(self, seen: _Seen, said: SlotRunning | None) -> Standing:
        told, crashes = _told(said), self._pipeline.crashes - seen.crashes
        if crashes >= MAX_CRASHES:
            why = f"the pipeline ended {crashes} times: {self._pipeline.last_exit}"
            return msgspec.structs.replace(told, failed=True, problem=why)
        if said is None:
            return told
        if said.problem and said.wanted == seen.digest != said.digest:
            return msgspec.structs.replace(told, failed=True, problem=said.problem)
        if said.digest == seen.digest and said.golden_ok is False:
            why = "its golden frames are answered differently in the pipeline"
            return msgspec.structs.replace(told, failed=True, problem=why)
        if seen.failed >= MIN_FAILED and seen.failed > seen.analysed:
            why = f"it failed on {seen.failed} frames and answered {seen.analysed}"
            return msgspec.structs.replace(told, failed=True, problem=why)
        if seen.analysed:
            return msgspec.structs.replace(told, proven=True)
        waits = told.problem or "no frame of a camera was analysed with it yet"
        return msgspec.structs.replace(told, problem=waits)

    def _fill(self, slot: str, wanted: Installed | None, before: Installed | None) -> bool:
        """Have the slot filled so; what the device came with stands in no folder of ours."""
        file = self._read()
        filled = {name: one for name, one in file.filled.items() if name != slot}
        if wanted is not None and wanted.folder:
            has_before = before is not None and bool(before.folder)
            filled[slot] = Filled(
                digest=wanted.digest,
                path=wanted.folder,
                before=before.folder if before and has_before else "",
                before_digest=before.digest if before and has_before else "",
            )
        return self._write(file, msgspec.structs.replace(file, filled=filled))

    def _read(self) -> Slots:
        try:
            return slots.read(self._state_dir)
        except ConfigError:
            return Slots()  # the agent wrote it; what it should say stands in the journal

    def _write(self, old: Slots, new: Slots) -> bool:
        if new == old and (self._state_dir / slots.FOLDER / slots.FILE).exists() == bool(
            new.filled or new.shadows
        ):
            return False
        slots.write(self._state_dir, new)
        return True


def _told(said: SlotRunning | None) -> Standing:
    if said is None:
        return Standing(problem="the pipeline says nothing of this slot now")
    return Standing(
        running=said.digest,
        problem=said.problem,
        load_s=said.load_s,
        golden_ok=said.golden_ok,
    )
