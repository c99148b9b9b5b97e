"""A central, a network that can be cut and one loaded device, for fault campaigns.

Real processes: central with its own PostgreSQL, the agent, and under it a stand-in pipeline that
fills the spool fast. Every message is noted by `sim.ledger`; `verdict` compares the books with
`sim.checker`. The rule: a campaign breaks things only through the handles given here.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final

import psutil
import yaml

from vedette import __version__
from vedette.clock import Clock
from vedette.edge.central_client import CentralClient
from vedette.edge.enrolment import device_key, enrol, load_identity
from vedette.edge.settings import CentralLink
from vedette.edge.spool import Spool
from vedette.errors import ConfigError
from vedette.sim import ledger
from vedette.sim.books import compare
from vedette.sim.checker import Produced, Verdict
from vedette.sim.demo.operator import Operator, run_arguments
from vedette.sim.faults import Child, free_port, wait_until
from vedette.sim.netcut import Link, NetCut
from vedette.sim.producer import CAMERAS
from vedette.trust.keys import SigningKey

SITE: Final = "yard"
DEVICE: Final = "box"
READY_S: Final = 60.0
DRAIN_S: Final = 90.0
PERIOD_S: Final = 1.0


def central_folder(wanted: Path, open_until: contextlib.ExitStack) -> Path:
    """Return a state directory for central that its database can reach.

    PostgreSQL never runs as root; where root runs us, it runs as another user, which may not enter
    private folders. Then a folder of the system's temporary one is used until the end.
    """
    if os.geteuid() != 0 or all(one.stat().st_mode & 0o001 for one in wanted.resolve().parents):
        return wanted
    made = Path(tempfile.mkdtemp(prefix="vedette-central-"))
    open_until.callback(shutil.rmtree, made, ignore_errors=True)
    made.chmod(0o755)
    return made / "central"


def central_child(folder: Path, port: int, log_path: Path, config: Path | None = None) -> Child:
    """Return central, not yet started, with its state in `folder`."""
    program = [sys.executable, "-m", "vedette.cli.main"]
    return Child("central", [*program, *run_arguments(folder, port, config)], log_path)


def open_central(central: Child, operator: Operator, clock: Clock) -> None:
    """Start central and set up its first administrator."""
    central.start()
    wait_until("central answers", operator.is_up, clock, timeout_s=READY_S, alive=[central])
    wait_until(
        "central prints its setup link",
        lambda: "/setup" in central.tail(),
        clock,
        timeout_s=10.0,
    )
    operator.set_up(central.tail())


class Rig:
    """The campaign's machine. Thread: one."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        *,
        every_s: float = 0.05,
        quota_mb: float = 64.0,
        state_dir: Path | None = None,
        central_dir: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.clock = clock
        self._open = contextlib.ExitStack()
        self.port = free_port()
        self.network = NetCut(self.port)
        self.operator = Operator(f"http://127.0.0.1:{self.port}")
        self.state_dir = state_dir or folder / "device"
        self._quota_mb = quota_mb
        self.copies: list[Path] = []
        self.spool_db = self.state_dir / "spool" / "spool.db"
        self.central_dir = central_dir or central_folder(folder / "central", self._open)
        self.config_path = folder / "edge.yaml"
        self.central = central_child(self.central_dir, self.port, folder / "central.log")
        agent = [sys.executable, "-m", "vedette.sim.loaded_agent", str(self.config_path)]
        self.agent = Child(
            "agent",
            [*agent, "--every-s", str(every_s)],
            folder / "agent.log",
            environment=environment,
        )

    def __enter__(self) -> "Rig":
        try:
            self._build()
        except BaseException:
            self._tear_down()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tear_down()

    def _build(self) -> None:
        open_central(self.central, self.operator, self.clock)
        self._open.enter_context(self.network)
        key = SigningKey.load_or_make(self.config_path.with_name("site.key"))
        self.operator.add_site(SITE, "Yard", key.public.text)
        token = self.operator.claim_token(SITE, DEVICE)
        client = CentralClient(self.link, self.clock)
        enrol(self.state_dir, client, token, version=__version__)
        client.close()
        self.config_path.write_text(
            yaml.safe_dump(
                {
                    "state_dir": str(self.state_dir),
                    "models_dir": str(self.state_dir / "models"),
                    "central": {"url": self.link.url},
                    "cameras": [{"id": camera, "source": "none.mp4"} for camera in CAMERAS],
                    "telemetry": {"report_period_s": PERIOD_S, "aggregate_period_s": PERIOD_S},
                    "spool": {"quota_mb": self._quota_mb},
                }
            )
        )
        Spool.open(self.state_dir / "spool", 64 << 20, self.clock, "rig", writer=False).close()
        ledger.attach(self.spool_db)
        self.agent.start()

    def _tear_down(self) -> None:
        self.agent.stop()
        self.central.stop()
        self._open.close()

    # ------------------------------------------------------------------------------------ handles

    @property
    def link(self) -> CentralLink:
        """The device's way to central, through the network that can be cut."""
        return CentralLink(url=f"http://127.0.0.1:{self.network.port}")

    def client(self) -> CentralClient:
        """Return a client that speaks as the device."""
        return CentralClient(
            self.link,
            self.clock,
            identity=load_identity(self.state_dir),
            key=device_key(self.state_dir),
        )

    def pipeline(self) -> psutil.Process | None:
        """Return the stand-in pipeline, where it runs."""
        return next(
            (one for one in self.agent.descendants() if _runs(one, "vedette.sim.producer")), None
        )

    def kill_pipeline(self) -> None:
        """Kill -9 the pipeline; the agent is left to notice.

        Raises:
            LookupError: None runs: the campaign would prove nothing.
        """
        self.wait_for("a pipeline runs", lambda: self.pipeline() is not None)
        _kill(self.pipeline())

    def kill_agent(self) -> None:
        """Kill -9 the agent, its pipeline left alive, and start another."""
        self.agent.kill()
        self.agent.start()

    def kill_central(self) -> None:
        """Kill -9 central, its PostgreSQL left alive, and start another."""
        self.central.kill()
        self.central.start()

    def tear_page(self) -> int:
        """Cut the device's power, overwrite a page of what waits, start it; return the page.

        The new spool is opened here, by the product's own code, so that the ledger is in it before
        the device goes on.
        """
        self.network.set_link(Link.CUT)  # what the torn page held must not have been sent
        self.load(200)
        family = self.agent.descendants()
        self.agent.kill()
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(family, timeout=READY_S)
        page = ledger.tear(self.spool_db)
        spool = Spool.open(self.spool_db.parent, 64 << 20, self.clock, "rig", writer=False)
        spool.verify()
        spool.close()
        ledger.attach(self.spool_db)
        self.agent.start()
        self.network.set_link(Link.UP)
        return page

    def at_central(self, *words: str) -> str:
        """Return what `vedette central …` prints at its terminal.

        Raises:
            ConfigError: It failed; the text says how.
        """
        program = [sys.executable, "-m", "vedette.cli.main", "central"]
        done = subprocess.run(
            [*program, "--state", str(self.central_dir), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=READY_S * 2,
            env={**os.environ, **self.central.environment},
        )
        if done.returncode:
            raise ConfigError(f"vedette central {words[0]}: {done.stderr[-2000:]}")
        return done.stdout

    def restore_central(self, backup: Path) -> None:
        """Put central back to an older backup, as an operator does."""
        self.central.stop()
        self.at_central("restore", str(backup), "--force")
        self.central.start()

    def kill_postgres(self) -> None:
        """Kill -9 the database's first process.

        Raises:
            LookupError: None runs.
        """
        found = [one for one in self.central.descendants() if one.name() == "postgres"]
        first = {one.pid for one in found}
        _kill(next((one for one in found if one.ppid() not in first), None))

    def kill_postgres_backend(self) -> None:
        """Kill -9 one connection of the database, as an out-of-memory killer does.

        Raises:
            LookupError: None is open.
        """
        found = (
            one
            for one in self.central.descendants()
            if _title(one).startswith("postgres: vedette ")
        )
        _kill(next(found, None))

    # ------------------------------------------------------------------------------------ reading

    def produced(self) -> int:
        """Return how many messages were committed to the spool so far."""
        return len(self.made().messages)

    def made(self) -> Produced:
        """Return what the device committed so far, spools that were set aside among it."""
        return ledger.read_produced(DEVICE, *ledger.spools(self.spool_db))

    def wait_for(self, what: str, is_true: Callable[[], bool], timeout_s: float = READY_S) -> None:
        """Wait until something is true of the rig.

        Raises:
            TimeoutError: It did not become true in time.
        """
        wait_until(what, is_true, self.clock, timeout_s=timeout_s)

    def load(self, messages: int) -> None:
        """Wait until that many more messages were produced."""
        wanted = self.produced() + messages
        self.wait_for(f"{messages} more messages", lambda: self.produced() >= wanted)

    def drain(self) -> None:
        """Stop the device cleanly, then let a last agent without load send what is left."""
        self.wait_for("central is there", self.operator.is_up)
        self.agent.stop()
        self.agent.arguments[-1] = "3600"  # no turn of the producer any more
        self.agent.start()
        self.wait_for("the spool is sent", self._is_drained, DRAIN_S)
        self.agent.stop()

    def _is_drained(self) -> bool:
        made = self.made()
        return not any(made.messages[key][0] != "health.v1" for key in made.pending)

    def verdict(self, *, drained: bool = True) -> Verdict:
        """Return what the checker says over everything so far, the device being stopped."""
        return compare(
            SITE,
            DEVICE,
            state_dir=self.state_dir,
            central_dir=self.central_dir,
            operator=self.operator,
            drained=drained,
            copies=self.copies,
        )


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _kill(process: psutil.Process | None) -> None:
    if process is None:
        raise LookupError("the process that should be killed does not run")
    process.kill()


def _runs(process: psutil.Process, word: str) -> bool:
    return word in _title(process)
