"""Diagnostics played for real: `vedette edge run`, central, and `vedette central diagnose`.

Every process is the product's own; what is typed at central's terminal runs in this one. One pace
is changed: the background of which thumbnails are made takes a sample each tenth of a second
instead of each five, so that it is known within seconds.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import yaml
from click.testing import CliRunner, Result

from tests import prepared
from vedette import __version__
from vedette.cli import central
from vedette.clock import SystemClock
from vedette.edge.central_client import CentralClient
from vedette.edge.enrolment import enrol
from vedette.edge.settings import CentralLink
from vedette.sim import footage
from vedette.sim.books import database_of
from vedette.sim.closed_world import World, back_and_forth, write_bundle
from vedette.sim.demo.operator import Operator
from vedette.sim.faults import Child, free_port, wait_until
from vedette.sim.rig import central_child, central_folder, open_central
from vedette.trust.keys import SigningKey

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

SECRET = "hunter2"
PLACE = ("yard", "box", "door")
QUICK = """
import sys
if "vedette.edge.pipeline_main" in sys.orig_argv:
    from functools import partial
    from vedette.vision import privacy
    often = privacy.ThumbnailSettings(every_s=0.1)
    privacy.BackgroundMedian = partial(privacy.BackgroundMedian, often)
"""


class House:
    """A running central, an enrolled device with two cameras, and a terminal at central."""

    def __init__(self, folder: Path, central_dir: Path) -> None:
        self.clock = SystemClock()
        self.central_dir = central_dir
        port = free_port()
        self.operator = Operator(f"http://127.0.0.1:{port}")
        prepared.lay_out(central_dir)
        self.central = central_child(central_dir, port, folder / "central.log")
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder
        (folder / "quick").mkdir()
        (folder / "quick" / "sitecustomize.py").write_text(QUICK)
        path = os.pathsep.join([str(folder / "quick"), os.environ.get("PYTHONPATH", "")])
        run = [sys.executable, "-m", "vedette.cli.main", "edge", "run"]
        self.agent = Child(
            "agent",
            [*run, "--config", str(folder / "edge.yaml")],
            folder / "agent.log",
            environment={"PYTHONPATH": path},
        )

    def build(self) -> None:
        """Enrol the device and start it."""
        open_central(self.central, self.operator, self.clock)
        self.operator.add_site("yard", "Yard", SigningKey.generate().public.text)
        link = CentralLink(url=self.url)
        client = CentralClient(link, self.clock)
        state = self.folder / "state"
        enrol(state, client, self.operator.claim_token("yard", "box"), version=__version__)
        client.close()
        write_bundle(self.folder / "models" / "walkers")
        world = World([back_and_forth(1, y=0.8, start_s=0.0, legs=4, leg_s=2.0)])
        footage.encode(self.folder / "loop.mp4", world.pictures(8, 10), fps=10, gop_s=1.0)
        tree = {
            "state_dir": str(state),
            "models_dir": str(self.folder / "models"),
            "central": {"url": self.url},
            "telemetry": {"report_period_s": 1, "aggregate_period_s": 2},
            "cameras": [
                {
                    "id": "door",
                    "source": str(self.folder / "loop.mp4"),
                    "model": "walkers",
                    "loop": True,
                    "max_fps": 10,
                    "gate": {"enabled": False},
                },
                {
                    "id": "till",
                    "source": f"rtsp://user:{SECRET}@127.0.0.1:1/stream",
                    "model": "walkers",
                },
            ],
        }
        (self.folder / "edge.yaml").write_text(yaml.safe_dump(tree))
        self.agent.start()

    def terminal(self, *words: str) -> Result:
        """Type `vedette central diagnose box …` at central."""
        where = ["--state", str(self.central_dir), "diagnose", "box"]
        return CliRunner().invoke(central.command, [*where, *words])

    def answer(self, *words: str) -> str:
        """What the device answered, printed; without any secret."""
        done = self.terminal(*words)
        assert done.exit_code == 0, done.stderr
        assert SECRET not in done.stdout + done.stderr
        return done.stdout

    def wait_for(self, what: str, is_true: Callable[[], bool]) -> None:
        """Wait until something is true of the house."""
        wait_until(
            what, is_true, self.clock, timeout_s=120, alive=[self.central, self.agent], poll_s=0.2
        )


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house that is ended whatever happens."""
    with contextlib.ExitStack() as stack:
        built = House(tmp_path, central_folder(tmp_path / "central", stack))
        stack.callback(built.central.stop)
        stack.callback(built.agent.stop)
        built.build()
        yield built


def test_log_configuration_network_and_thumbnail_come_and_an_absent_device_expires(
    house: House,
) -> None:
    """Asked at central's terminal, answered by the device, redacted, audited; absent: said so."""
    log = house.answer("--log", "--lines", "300")
    assert "agent.joined" in log
    config = json.loads(house.answer("--config"))
    assert "rtsp://" in json.dumps(config)
    assert '"door"' in json.dumps(config)
    network = json.loads(house.answer("--network"))
    assert (network["host"], network["http_trouble"]) == ("127.0.0.1", "")
    assert network["round_trips_ms"]

    def has_picture() -> bool:
        house.operator.ask_thumbnail(PLACE)
        return house.operator.thumbnail(PLACE) is not None

    def is_known() -> bool:
        sites = house.operator.fleet()["sites"]
        cameras = [c for s in sites for d in s["devices"] for c in d["cameras"]]
        return any(c["camera"] == "door" and c["state"] == "ok" for c in cameras)

    house.wait_for("central knows the camera", is_known)
    house.wait_for("a thumbnail comes", has_picture)
    picture = house.operator.thumbnail(PLACE)
    assert picture is not None
    assert picture.startswith(b"\xff\xd8\xff")

    house.agent.stop()
    gone = house.terminal("--log", "--timeout", "2", "--json")
    assert gone.exit_code == 1
    asked = json.loads(gone.stdout)
    assert (asked["question"]["state"], asked["answer"]) == ("waiting", None)
    with psycopg.connect(database_of(house.central_dir)) as db:  # a quarter of an hour later
        db.execute(
            "UPDATE requests SET expires_ms = asked_ms + 1 WHERE request = %s",
            (asked["question"]["request"],),
        )
    house.agent.start()
    later = json.loads(house.answer("--config", "--json"))  # it is back, and answers what is open
    assert later["question"]["state"] == "answered"
    listed = {one["request"]: one["state"] for one in json.loads(house.answer("--json"))}
    assert listed[asked["question"]["request"]] == "expired"

    entries = house.operator.call("GET", "/v1/audit?limit=200")
    actions = [entry["action"] for entry in entries]
    assert actions.count("diagnostics.ask") == 5
    assert actions.count("diagnostics.look") == 4
    assert {"thumbnail.ask", "thumbnail.look"} <= set(actions)
    assert SECRET not in json.dumps(entries)
