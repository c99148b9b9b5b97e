"""The models that a process runs: each slot's once, proven, whatever the number of cameras.

Here: which bundle fills a slot when a process starts, and loading. Not here: changing it while
cameras run (`swapping`). The rule: what `slots.json` wants is run only if it loads, is proven and
answers its golden frames; if not, what was there before runs, and `problems` says why.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vedette.clock import NS_PER_S, Clock
from vedette.edge import slots
from vedette.edge.settings import EdgeConfig
from vedette.edge.slots import Filled
from vedette.errors import ConfigError, ModelLoadFailed, VedetteError
from vedette.inference.backends import Runtime
from vedette.inference.bundle import Bundle
from vedette.inference.library import Library
from vedette.inference.model import Model
from vedette.inference.providers import ProviderOptions

_LOG = logging.getLogger(__name__)


def worker_count(config: EdgeConfig) -> int:
    """Return how many inference threads to start: as configured, or one per usable core."""
    return config.pipeline.workers or len(os.sched_getaffinity(0))


@dataclass(slots=True)
class LoadedModel:
    """A model and how its loading went.

    Attributes:
        load_s: Proving, loading and golden frames.
    """

    model: Model
    load_s: float
    golden_ok: bool | None


@dataclass(slots=True)
class Models:
    """Each slot's model. Thread: any may read `loaded`; one loads.

    Attributes:
        state_dir: Where `slots.json` may say that a slot is filled otherwise; None: the library
            fills all of them.
        wanted: By slot, what the file said when it was loaded.
        problems: By slot, why what was wanted does not run.
    """

    library: Library
    providers: list[str]
    clock: Clock
    runtime: Runtime = "onnxruntime"
    workers: int = 1
    options: ProviderOptions | None = None
    cache_dir: Path | None = None
    state_dir: Path | None = None
    loaded: dict[str, LoadedModel] = field(default_factory=dict)
    wanted: dict[str, Filled | None] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, config: EdgeConfig, clock: Clock) -> "Models":
        """Return the models of a configuration, none loaded yet."""
        settings = config.pipeline
        return cls(
            Library(config.models_dir),
            settings.providers,
            clock,
            runtime=settings.runtime,
            workers=worker_count(config),
            options=settings.provider_options,
            cache_dir=config.state_dir / "compiled",
            state_dir=config.state_dir,
        )

    @property
    def is_alone_on_cpu(self) -> bool:
        """Whether loading starts no threads of the runtime's own, which would keep a priority."""
        return self.runtime == "onnxruntime" and self.providers == ["cpu"]

    def get(self, slot: str) -> Model:
        """Return the slot's model, loaded and proven by its golden frames.

        Raises:
            ModelLoadFailed: It is not there, broken, or does not answer as it did elsewhere.
        """
        if slot not in self.loaded:
            self.wanted[slot] = self.asked(slot)
            self.loaded[slot] = self._load_any(slot, self.wanted[slot])
        return self.loaded[slot].model

    def bundle(self, slot: str, wanted: Filled | None) -> Bundle:
        """Return the bundle that is wanted in a slot, verified; None: the library's.

        Raises:
            ConfigError, ModelLoadFailed, HashMismatch: It is not there, broken, or another one.
        """
        if wanted is None:
            return self.library.find(slot)
        return opened(wanted.path, wanted.digest)

    def load(self, bundle: Bundle, *, must_answer: bool) -> LoadedModel:
        """Return the model: proven in a process of its own, loaded, and asked its golden frames.

        Args:
            bundle: Opened, so verified.
            must_answer: Whether other answers than elsewhere are refused, or only told.

        Raises:
            ModelLoadFailed: It is broken or harmful, or does not answer as it did elsewhere.
            BackendUnavailable: What is to run it is not here.
        """
        started_ns = self.clock.mono_ns()
        # What was proven stands beside the bundle, whoever put it there.
        Library(bundle.path.parent).prove(bundle, self.runtime)
        model = Model.load(
            bundle,
            threads=1,
            providers=self.providers,
            runtime=self.runtime,
            workers=self.workers,
            options=self.options,
            cache_dir=self.cache_dir,
        )
        golden = model.check_golden()
        load_s = (self.clock.mono_ns() - started_ns) / NS_PER_S
        if not golden.ok:
            words = (
                f"model {model.name} answers its golden frames differently here: "
                f"{'; '.join(golden.failures[:3])}"
            )
            if must_answer:
                raise ModelLoadFailed(
                    words, operator_hint="It was made for another runtime or precision."
                )
            _LOG.error(words, extra={"event": "model.golden_failed", "model": model.name})
        return LoadedModel(model, load_s, golden.ok if golden.frames else None)

    def asked(self, slot: str) -> Filled | None:
        """Return what the slots' file asks for now; None: nothing, or it cannot be read."""
        if self.state_dir is None:
            return None
        try:
            return slots.read(self.state_dir).filled.get(slot)
        except ConfigError as error:
            self._note(slot, error)
            return None

    def _load_any(self, slot: str, wanted: Filled | None) -> LoadedModel:
        """Return the first that can be loaded of what is wanted, what was before, the library's."""
        for filled in _to_try(wanted):
            try:
                return self.load(self.bundle(slot, filled), must_answer=filled is wanted)
            except VedetteError as error:
                self._note(slot, error)
        return self.load(self.bundle(slot, None), must_answer=False)

    def _note(self, slot: str, error: VedetteError) -> None:
        self.problems.setdefault(slot, str(error))
        _LOG.error(
            "what is wanted in the slot %s does not run: %s",
            slot,
            error,
            extra={"event": "slot.refused", "slot": slot},
        )


def opened(path: str, digest: str) -> Bundle:
    """Return the bundle of a folder, verified and the one that was meant.

    Raises:
        ConfigError, ModelLoadFailed, HashMismatch: It is not there, broken, or another one.
    """
    bundle = Bundle.open(Path(path))
    if bundle.digest != digest:
        raise ModelLoadFailed(
            f"{path} holds {bundle.digest}, wanted was {digest}",
            operator_hint="Whoever installs bundles must not change one in place.",
        )
    return bundle


def _to_try(wanted: Filled | None) -> Iterator[Filled]:
    if wanted is not None:
        yield wanted
        if wanted.before:
            yield Filled(digest=wanted.before_digest, path=wanted.before)
