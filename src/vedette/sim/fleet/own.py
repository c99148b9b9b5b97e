"""A central of our own for a while, in a process of its own, with its embedded PostgreSQL.

Made as an operator would: `vedette central run` on an empty folder, behind a proxy as far as the
rate limits go, so that each simulated device may have an address of its own. Also here: what
everybody costs in CPU time.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import psutil

from vedette.central.store.postgres import EmbeddedPostgres
from vedette.clock import Clock
from vedette.errors import StoreError
from vedette.sim import rig
from vedette.sim.demo.operator import Operator
from vedette.sim.faults import Child, free_port, wait_until
from vedette.trust.keys import SigningKey

_ONLINE_KEY: Final = "keys/online.key"
_CONFIG: Final = "behind_proxy: true\n"


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """CPU seconds since a process began, its own children included."""

    central: float
    jobs: float
    postgres: float

    def since(self, before: "Usage") -> "Usage":
        """Return what was used between two looks."""
        return Usage(
            central=round(self.central - before.central, 3),
            jobs=round(self.jobs - before.jobs, 3),
            postgres=round(self.postgres - before.postgres, 3),
        )


class OwnCentral:
    """A running central. Made by `own_central`."""

    def __init__(self, child: Child, operator: Operator, folder: Path) -> None:
        self.child = child
        self.operator = operator
        self.folder = folder

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.operator.url

    @property
    def audience(self) -> str:
        """Key id of its online key: what devices call it."""
        return SigningKey.load(self.folder / _ONLINE_KEY).public.keyid

    @property
    def database_url(self) -> str:
        """How to reach its database.

        Raises:
            StoreError: It does not run.
        """
        url = EmbeddedPostgres(self.folder / "pg").attach()
        if url is None:
            raise StoreError("central's database does not run")
        return url

    def usage(self) -> Usage:
        """Return CPU seconds so far; those of backends that ended are their parent's."""
        central = jobs = postgres = 0.0
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(self.child.pid).cpu_times()
            central = times.user + times.system
        for one in self.child.descendants():
            with contextlib.suppress(psutil.Error):
                times = one.cpu_times()
                used = times.user + times.system
                if one.name() == "postgres":
                    postgres += used + times.children_user + times.children_system
                else:
                    jobs += used
        return Usage(central=central, jobs=jobs, postgres=postgres)


@contextlib.contextmanager
def own_central(clock: Clock, folder: Path | None = None) -> Iterator[OwnCentral]:
    """Give a central with an administrator, on a free port, until the block ends.

    With `folder` its state stays there and is taken up again; without it is thrown away.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="vedette-fleet-"))
            folder = Path(scratch)
            folder.chmod(0o755)  # the database may have to run as another user
        is_new = not (folder / "central.yaml").exists()
        state = rig.central_folder(folder / "central", stack)
        port = free_port()
        config = folder / "central.yaml"
        config.write_text(_CONFIG, encoding="utf-8")
        child = rig.central_child(state, port, folder / "central.log")
        at = child.arguments.index("central") + 1
        child.arguments[at:at] = ["--config", str(config)]
        operator = Operator(f"http://127.0.0.1:{port}")
        stack.callback(child.stop)
        if is_new:
            rig.open_central(child, operator, clock)
        else:
            child.start()
            wait_until(
                "central answers", operator.is_up, clock, timeout_s=rig.READY_S, alive=[child]
            )
        yield OwnCentral(child, operator, state)
