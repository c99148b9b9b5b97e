"""What a bundle does on this machine: loading, golden frames, the time of each step.

What lives here: one trial and its figures. What does not: what they are held against
(`stats.gates`). The rule: the figures are of this machine as it is now, in the very runtime and
threads that were asked for; the bounds of the 95th percentile say how far so few runs can be
trusted.
"""

from dataclasses import dataclass
from typing import Final

from vedette.clock import NS_PER_MS, NS_PER_S, Clock
from vedette.errors import ModelLoadFailed
from vedette.inference import golden
from vedette.inference.backends import Runtime
from vedette.inference.bundle import Bundle
from vedette.inference.golden import GoldenResult
from vedette.inference.model import Model
from vedette.stats.gates import RUNS_FOR_P95, step_time
from vedette.wire.evaluation import HardwareTimes

DEFAULT_RUNS: Final = 100
WARM_UPS: Final = 3


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it: times for the record, the golden frames, and which backend ran."""

    times: HardwareTimes
    golden: GoldenResult
    backend: str


def try_out(
    bundle: Bundle,
    clock: Clock,
    *,
    hardware: str,
    runtime: Runtime = "onnxruntime",
    threads: int = 1,
    providers: list[str] | None = None,
    runs: int = DEFAULT_RUNS,
) -> Trial:
    """Return what the bundle does here, over so many runs on its first golden frame.

    Raises:
        ModelLoadFailed: It cannot be loaded, or there is no golden frame to run on.
        HashMismatch: A file changed since the bundle was opened.
        BackendUnavailable: The runtime or provider is not here.
        BadModelOutput: It failed on the golden frame.
    """
    frames = bundle.manifest.golden
    if not frames:
        raise ModelLoadFailed(
            f"{bundle.manifest.name} has no golden frame to be tried on",
            operator_hint="Make the bundle again; `vedette model import` adds golden frames.",
        )
    begun_ns = clock.mono_ns()
    model = Model.load(bundle, threads=threads, providers=providers, clock=clock, runtime=runtime)
    checked = model.check_golden()
    load_s = (clock.mono_ns() - begun_ns) / NS_PER_S
    picture = golden.decode_picture(bundle.read(frames[0].picture), frames[0].picture)
    for _ in range(WARM_UPS):
        model.detect(picture)
    steps: dict[str, list[float]] = {"preprocess": [], "inference": [], "postprocess": []}
    whole: list[float] = []
    for _ in range(max(1, runs)):
        begun_ns = clock.mono_ns()
        found = model.detect(picture)
        whole.append((clock.mono_ns() - begun_ns) / NS_PER_MS)
        steps["preprocess"].append(found.preprocess_ms)
        steps["inference"].append(found.inference_ms)
        steps["postprocess"].append(found.postprocess_ms)
    times = HardwareTimes(
        hardware=hardware,
        runtime=model.backend.name,
        threads=threads,
        steps={name: step_time(ms) for name, ms in {**steps, "model": whole}.items()},
        load_s=load_s,
        golden_ok=checked.ok,
    )
    return Trial(times, checked, model.backend.name)


def is_enough(runs: int) -> bool:
    """True where so many runs bound the 95th percentile at all."""
    return runs >= RUNS_FOR_P95
