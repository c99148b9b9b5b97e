"""The doctor for somebody far away, in a process of its own.

    python -m vedette.edge.diagnostics.examine --config effective.yaml [--cameras]

Prints a `DoctorAnswer` in JSON. What looks at pictures is loaded here and never in the agent, and a
check that hangs is ended from outside. Cameras are opened only where that was asked for: some serve
one reader. Models are not run: they would compete with the pipeline.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

import msgspec

from vedette.clock import Clock, SystemClock
from vedette.edge import settings
from vedette.edge.doctor import Finding, Verdict, look_at, machine_findings, worst
from vedette.edge.health.system import boot_id
from vedette.edge.settings import EdgeConfig
from vedette.errors import VedetteError
from vedette.wire.diagnostics import DoctorAnswer, DoctorFinding

LOOK_S = 5.0
NICENESS = 10


def findings(config: EdgeConfig, clock: Clock, *, with_cameras: bool) -> list[Finding]:
    """Return what the doctor says of machine, disk, clock and central, and of the cameras."""
    found = machine_findings(config, clock, boot_id())
    for camera in config.cameras if with_cameras else ():
        if camera.source:
            found += look_at(camera, config.evidence, clock, look_s=LOOK_S)
        else:
            detail = "no source yet: it comes with the signed site policy"
            verdict = Verdict.UNKNOWN
            found.append(Finding(about=camera.id, check="picture", verdict=verdict, detail=detail))
    return found


def answer(found: list[Finding]) -> DoctorAnswer:
    """Return findings as they cross the network."""
    return DoctorAnswer(
        verdict=str(worst(found)),
        findings=[
            DoctorFinding(
                about=f.about, check=f.check, verdict=str(f.verdict), detail=f.detail,
                advice=f.advice,
            )
            for f in found
        ],
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Print the answer; 2 where the configuration cannot be used."""
    parser = argparse.ArgumentParser(prog="vedette-examine", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--cameras", action="store_true", help="open the cameras too")
    given = parser.parse_args(arguments)
    logging.getLogger("vedette").setLevel(logging.CRITICAL)
    os.nice(NICENESS)
    try:
        config = settings.load(given.config)
        found = findings(config, SystemClock(), with_cameras=given.cameras)
    except VedetteError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.buffer.write(msgspec.json.encode(answer(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
