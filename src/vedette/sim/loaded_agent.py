"""The real agent over a stand-in pipeline that produces hundreds of messages a second.

Run as a process (`python -m vedette.sim.loaded_agent edge.yaml`). Everything but the pipeline is
the product: supervision, spool, trusted time, uplink. The pipeline is `sim.producer`.
"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from vedette import logs
from vedette.clock import SystemClock
from vedette.edge import settings
from vedette.edge.agent import Agent
from vedette.edge.health.system import SystemProbe, boot_id


@click.command()
@click.argument("config", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--every-s", default=0.05, show_default=True, help="Pause between turns.")
@click.option("--boot-id", "boot", default="", help="Another boot than this machine's.")
def main(config: Path, every_s: float, boot: str) -> None:
    """Run until asked to end, or killed."""
    logs.setup()
    tree = settings.load(config)

    def pipeline(_effective: Path) -> Sequence[str]:
        command = [sys.executable, "-m", "vedette.sim.producer", str(tree.state_dir)]
        quota = ["--quota-mb", str(tree.spool.quota_mb)]
        if boot:
            quota += ["--boot-id", boot]
        return [*command, *quota, "--every-s", str(every_s), "--seed", str(hash(config) % 1000)]

    probe = SystemProbe(tree.state_dir)
    agent = Agent(tree, SystemClock(), boot_id=boot or boot_id(), pipeline=pipeline, probe=probe)
    signal.signal(signal.SIGTERM, lambda *_: agent.stop())
    agent.run()


if __name__ == "__main__":
    main()
