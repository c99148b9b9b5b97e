"""What can be installed on this device beside models: its configuration, its program, its system.

The program only where the launcher started this process, the system only where the device's own
file names a tool for it: a slot that is not here is refused before anything is downloaded.
"""

import logging
from collections.abc import Callable

from vedette.clock import Clock
from vedette.edge.desired import EFFECTIVE, DesiredStore
from vedette.edge.settings import EdgeConfig
from vedette.edge.updating.adapters import adapter_of
from vedette.edge.updating.app import AppInstaller, Program
from vedette.edge.updating.config import ConfigInstaller
from vedette.edge.updating.door import FileDoor
from vedette.edge.updating.kinds import Installer
from vedette.edge.updating.system import SystemInstaller
from vedette.wire.messages import HealthReport

log = logging.getLogger(__name__)


def others(
    config: EdgeConfig,
    clock: Clock,
    boot_id: str,
    *,
    desired: Callable[[], DesiredStore],
    report: Callable[[], HealthReport | None],
    leave: Callable[[], None],
    changed: Callable[[], None],
) -> list[Installer]:
    """Return the installers of this device, one of each kind that it has.

    Args:
        config: The device's own file.
        clock: The machine's.
        boot_id: Of this boot.
        desired: What is accepted here; another one once the device is enrolled.
        report: The last health report of this process.
        leave: Ends this process in order.
        changed: Told that another configuration is to be taken over.

    Raises:
        ConfigError: The device's own file names commands for its system that cannot work.
    """
    found: list[Installer] = [
        ConfigInstaller(
            config.state_dir,
            clock,
            check=lambda said: desired().check_overlay(said),
            changed=changed,
            in_force=lambda: desired().overlay_digest,
            report=report,
        )
    ]
    program = Program.here()
    if program is not None:

        def go(why: str) -> None:
            log.warning("the agent ends", extra={"event": "agent.leaves", "reason": why})
            leave()

        effective = config.state_dir / EFFECTIVE
        found.append(AppInstaller(program, effective, clock, report=report, leave=go))
    adapter = adapter_of(config.system)
    if adapter is not None:
        door = FileDoor(config.state_dir)
        found.append(
            SystemInstaller(config.state_dir, adapter, door, clock, boot_id=boot_id, report=report)
        )
    return found
