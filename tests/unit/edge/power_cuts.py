"""Runs as a process: cuts an update off at each of its steps by `kill -9`, and looks what is left.

    python -m tests.unit.edge.power_cuts FOLDER     one JSON object on standard output

The steps are not guessed: an update that nobody disturbs is run first and says where it could be
cut, at each of its own steps and before each file that is put in its place. Each cut is a process
that really dies. Nothing is lost from memory by that, so files are not synced here.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tests.unit.edge.updating_kit import CAME_WITH, Device, artefact_of
from vedette.edge import slots
from vedette.errors import CentralUnreachable
from vedette.wire.slots import UpdateState
from vedette.wire.updates import ShadowPlan

ONE, TWO, BAD = b"model one" * 1000, b"model two" * 1500, b"model bad" * 1200
DIGEST = {name: artefact_of(data, "").digest for name, data in (("one", ONE), ("bad", BAD))}
DIGEST["two"] = artefact_of(TWO, "").digest
ENDS = (UpdateState.CONFIRMED, UpdateState.REVERTED, UpdateState.SHADOWING)
_REPLACE = Path.replace


def good(device: Device) -> None:
    """Assign a model that works, and comes as a difference to the one that runs."""
    device.offer_delta(ONE, TWO)
    device.give(TWO, "2.vbundle", "r2")


def bad(device: Device) -> None:
    """Assign a model that ends the pipeline."""
    device.give(BAD, "bad.vbundle", "r2")


def shadow(device: Device) -> None:
    """Assign a model that runs beside."""
    device.give(TWO, "2.vbundle", "r2", shadow=ShadowPlan())


SCENARIOS: dict[str, Callable[[Device], None]] = {"good": good, "bad": bad, "shadow": shadow}


def main(folder: Path) -> None:
    """Cut every scenario at every step; tell what was left each time."""
    os.fsync = lambda _file: None
    base = folder / "base"
    device = Device(base)
    device.give(ONE)
    device.settle()
    told = {name: cut_everywhere(folder, name) for name in SCENARIOS}
    json.dump(told, sys.stdout)


def cut_everywhere(folder: Path, name: str) -> dict[str, dict[str, object]]:
    """Return what was left after each cut, by its number and name."""
    steps: list[str] = []
    run(fresh(folder, f"{name}-whole"), name, steps.append)
    found: dict[str, dict[str, object]] = {}
    for number, step in enumerate(steps):
        state = fresh(folder, f"{name}-{number}")
        found[f"{number} {step}"] = cut(state, name, number)
    return found


def fresh(folder: Path, name: str) -> Path:
    """Return a device's state on which the first model is confirmed."""
    shutil.copytree(folder / "base", folder / name)
    file = folder / name / "updates"
    for path in (file / "journal.json", file / "slots.json"):
        text = path.read_text().replace(str(folder / "base"), str(folder / name))
        path.write_text(text)
    return folder / name


def device_at(state: Path, at_step: Callable[[str], None]) -> Device:
    """Return an agent that just started there; the bad model ends its pipeline."""
    device = Device(state)
    device.pipeline.dies_on.add(DIGEST["bad"])
    device.version = 1
    device.updater = device.start(at_step)
    device.pipeline.look()
    return device


def run(state: Path, name: str, at_step: Callable[[str], None]) -> None:
    """Go through a scenario; `at_step` hears of each place where it can be cut."""

    def replace(self: Path, target: Path) -> Path:
        at_step(f"before {target.name[:12]}")
        return _REPLACE(self, target)

    device = device_at(state, at_step)
    Path.replace = replace  # type: ignore[method-assign,assignment]
    try:
        SCENARIOS[name](device)
        settled(device, name)
    finally:
        Path.replace = _REPLACE


def settled(device: Device, name: str) -> UpdateState | None:
    """Return how the scenario ended."""
    for _ in range(300):
        device.pass_s(1)
        if (end := device.health(shadow=name == "shadow")).state in ENDS and end.rollout == "r2":
            break
    device.pass_s(2)
    return device.health(shadow=name == "shadow").state


def cut(state: Path, name: str, number: int) -> dict[str, object]:
    """Return how it was after a process was killed at that step, and another one started."""
    pid = os.fork()
    if pid == 0:
        left = [number]

        def at_step(_step: str) -> None:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        run(state, name, at_step)
        os._exit(0)  # it was not cut
    _, status = os.waitpid(pid, 0)
    return {"killed": os.WIFSIGNALED(status)} | recover(state, name)


def recover(state: Path, name: str) -> dict[str, object]:
    """Return what an agent finds and makes of it: at once, without a network, and with one."""
    device = Device(state)
    device.shelf.trouble = CentralUnreachable("no network")
    at_start = [device.wanted, *broken(state)]
    device.pipeline.dies_on.add(DIGEST["bad"])
    device.version = 1
    device.pipeline.look()  # a pipeline starts with what the file asks for
    device.pass_s(20)
    alone = device.pipeline.running.digest if device.pipeline.is_up else "down"
    device.shelf.trouble = None
    SCENARIOS[name](device)
    end = settled(device, name)
    return {
        "at_start": at_start,
        "alone": alone,
        "end": end,
        "runs": device.pipeline.running.digest,
        "before": device.health().previous,
        "told": [report.state for report in device.reports][-1:],
        "broken": broken(state),
        "kept": sorted(p.name for p in (state / "updates/installed/models").iterdir()),
        "files": sorted(
            p.name for n in ("parts", "files") for p in (state / f"updates/{n}").iterdir()
        ),
    }


def broken(state: Path) -> list[str]:
    """Return the digests that the pipeline is asked for and whose folder is not whole."""
    asked = slots.read(state)
    places = [(one.digest, one.path) for one in (*asked.filled.values(), *asked.shadows.values())]
    places += [(one.before_digest, one.before) for one in asked.filled.values() if one.before]
    good_bytes = {DIGEST["one"]: ONE, DIGEST["two"]: TWO, DIGEST["bad"]: BAD}
    return [
        digest
        for digest, path in places
        if digest != CAME_WITH
        and (
            not (Path(path) / "model").is_file()
            or (Path(path) / "model").read_bytes() != good_bytes[digest]
        )
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
