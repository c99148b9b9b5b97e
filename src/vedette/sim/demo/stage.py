"""Everything that the demo starts, in order, and stops again: the whole site on one machine.

    central (embedded PostgreSQL)  <-- proxy that can be cut <-- agent + pipeline <-- RTSP cameras

Real programs as real processes through their own command lines; only the cameras and the network
are played by us. The rule: whatever was started here is stopped here, whatever happens.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from rich.markup import escape

from vedette.clock import Clock, wall_ms
from vedette.edge.spool import Spool, peek
from vedette.errors import ConfigError, ModelLoadFailed
from vedette.inference.library import Library
from vedette.sim import footage, ledger
from vedette.sim.books import compare
from vedette.sim.checker import Verdict
from vedette.sim.clip import load_clip
from vedette.sim.demo import site, telephone
from vedette.sim.demo.operator import Operator
from vedette.sim.demo.telephone import Notice, Telephone
from vedette.sim.faults import Child, free_port
from vedette.sim.footage import Footage
from vedette.sim.mount import Mount
from vedette.sim.netcut import NetCut, Weather
from vedette.sim.rig import central_child, central_folder, open_central
from vedette.sim.rtsp import RtspServer
from vedette.trust.keys import SigningKey

Say = Callable[[str], None]

PROGRAM: Final = (sys.executable, "-m", "vedette.cli.main")
MODEL: Final = "centernet"
PULL_TIMEOUT_S: Final = 300
DRAIN_S: Final = 60
RENDERED_THRESHOLD: Final = 0.1
"""Drawn people are not photographs: the detector is unsure of them, so all it has is taken."""


class Stage:
    """The running demo. Thread: one; the children and servers run by themselves."""

    def __init__(self, folder: Path, clock: Clock, say: Say, *, port: int = 0) -> None:
        self.folder = folder
        self.central_port = port or free_port()
        self.mounts: dict[str, Mount] = {}
        self.children: list[Child] = []
        self.network = NetCut(self.central_port)
        self.operator = Operator(f"http://127.0.0.1:{self.central_port}")
        self._clock = clock
        self._say = say
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "Stage":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._say("stopping ...")
        for child in reversed(self.children):
            child.stop()
        self._open.close()

    @property
    def url(self) -> str:
        """Where the console is."""
        return f"http://127.0.0.1:{self.central_port}"

    @property
    def config(self) -> Path:
        """Central's configuration."""
        return self.folder / "central.yaml"

    @property
    def spool_db(self) -> Path:
        """The device's spool."""
        return self.folder / "device" / "state" / "spool" / "spool.db"

    def build(self, *, download: bool = True) -> Footage:
        """Have everything running and the first camera looked at.

        Raises:
            ConfigError: Something could not be prepared or did not start; the text says what.
        """
        for name in ("logs", "central", "device", "site"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        made = footage.prepare(say=self._say, download=download)
        self._say(f"footage: {made.origin}")
        models_dir = self._model()
        self._start_central()
        self._start_cameras(made)
        self._open.enter_context(self.network)
        self._start_device(made, models_dir)
        return made

    def close_books(self) -> Verdict:
        """Stop the device cleanly and return what the checker says of both books."""
        self._let_drain()
        self.device.stop()
        return compare(
            site.SITE,
            site.DEVICE,
            state_dir=self.folder / "device" / "state",
            central_dir=self._central_dir,
            operator=self.operator,
        )

    def _let_drain(self) -> None:
        """Wait, on a good link, until only fresh messages are on the device; not for ever."""
        self.network.set_weather(Weather())
        pause = threading.Event()
        for _ in range(DRAIN_S):
            waiting = peek(self.spool_db.parent, 0)
            now_ms = wall_ms(self._clock.now_at())
            oldest_ms = waiting.oldest_ms if waiting else None
            if oldest_ms is None or now_ms - oldest_ms < site.REPORT_S * 2000:
                return
            self._clock.wait(pause, 1.0)

    def _model(self) -> Path:
        """Return the folder of models with the detector in it, fetched where it is not there."""
        models_dir = footage.cache_folder().parent / "models"
        try:
            Library(models_dir).find(MODEL)
        except (ModelLoadFailed, ConfigError):
            self._say(f"fetching the detector {MODEL} (once) ...")
            self._run("model pull", "model", "pull", MODEL, "--models-dir", str(models_dir))
        return models_dir

    def _start_central(self) -> None:
        self._say("starting central with its own PostgreSQL ...")
        self._central_dir = central_folder(self.folder / "central", self._open)
        self.telephone = self._open.enter_context(Telephone(self._tell))
        site.write_central(
            self.config, self._central_dir, self.central_port, told_at=self.telephone.port
        )
        central = central_child(
            self._central_dir, self.central_port, self.folder / "logs" / "central.log", self.config
        )
        self.children.append(central)
        open_central(central, self.operator, self._clock)
        url = f"http://127.0.0.1:{self.telephone.port}/"
        self.telephone.secret = self.operator.add_webhook(telephone.CHANNEL, url)
        self.operator.apply_rules(telephone.RULES)

    def _tell(self, notice: Notice) -> None:
        self._say(f"[yellow]told[/yellow]  {escape(notice.subject)}")

    def _start_cameras(self, made: Footage) -> None:
        server = self._open.enter_context(RtspServer(self._clock, users={"vedette": "demo"}))
        self.addresses: dict[str, str] = {}
        for plan in site.CAMERAS:
            if plan.rtsp:
                clips = {
                    "normal": load_clip(made.clips[plan.view]),
                    "covered": load_clip(made.covered[plan.view]),
                }
                self.mounts[plan.camera] = server.add(plan.camera, clips)
                self.addresses[plan.camera] = server.url(plan.camera)
            else:
                self.addresses[plan.camera] = f"file:{made.clips[plan.view]}"

    def _start_device(self, made: Footage, models_dir: Path) -> None:
        self._say("the operator makes the site's key, signs its policy and a claim token ...")
        key = SigningKey.load_or_make(self.folder / "site" / "site.key")
        self.operator.add_site(site.SITE, site.SITE_NAME, key.public.text)
        policy = site.sign_policy(
            key, self.addresses, version=1, now_ms=wall_ms(self._clock.now_at())
        )
        self.operator.put_policy(site.SITE, policy)
        token = self.operator.claim_token(site.SITE, site.DEVICE)
        config = self.folder / "device" / "edge.yaml"
        site.write_config(
            config,
            central_url=f"http://127.0.0.1:{self.network.port}",
            state_dir=self.folder / "device" / "state",
            models_dir=models_dir,
            threshold=None if made.real else RENDERED_THRESHOLD,
        )
        self._say("enrolling the device ...")
        self._run("edge enrol", "edge", "enrol", "--config", str(config), "--token", token)
        self._say("starting the device: agent and pipeline ...")
        Spool.open(self.spool_db.parent, 1 << 30, self._clock, "demo", writer=False).close()
        ledger.attach(self.spool_db)
        self.device = self._child("device", "edge", "run", "--config", str(config))

    def _child(self, name: str, *arguments: str) -> Child:
        child = Child(name, [*PROGRAM, *arguments], self.folder / "logs" / f"{name}.log")
        self.children.append(child)
        child.start()
        return child

    def _run(self, what: str, *arguments: str) -> None:
        done = subprocess.run(
            [*PROGRAM, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=PULL_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise ConfigError(
                f"`vedette {what}` failed with status {done.returncode}:\n"
                f"{done.stdout}{done.stderr}".rstrip()
            )


def fresh_folder(folder: Path) -> IO[bytes]:
    """Have an empty folder for a demo; it is this process's while what is returned is open.

    Only a folder that a demo made is emptied, and only where that demo runs no more. What is
    returned is for `tell_others`.

    Raises:
        ConfigError: The folder holds something else, or a demo runs in it.
    """
    mark = folder / ".vedette-demo"
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise ConfigError(
            f"{folder} is not a demo's folder", operator_hint="choose another with --folder"
        )
    if mark.exists():
        with mark.open("ab") as before:
            _take(before, folder)
            shutil.rmtree(folder)
    elif folder.exists():
        folder.rmdir()
    folder.mkdir(parents=True)
    held = mark.open("ab")
    try:
        _take(held, folder)
    except ConfigError:
        held.close()
        raise
    return held


def tell_others(mark: IO[bytes], url: str) -> None:
    """Write into a demo's folder how to reach this one and how to end it, for who is refused."""
    mark.write(f"{os.getpid()} {url}".encode())
    mark.flush()


def _take(mark: IO[bytes], folder: Path) -> None:
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid, _, url = Path(mark.name).read_text(encoding="utf-8").partition(" ")
        where = f"its console is {url}; " if url else ""
        how = f"Ctrl-C where it runs, or `kill {pid}`," if pid else "Ctrl-C where it runs"
        raise ConfigError(
            f"a demo runs in {folder} already",
            operator_hint=f"{where}{how} ends it; another folder (--folder) holds a second one",
        ) from error
