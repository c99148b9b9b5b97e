"""From a picture to somebody's receiver: how long an alert takes, leg by leg.

    python benchmarks/bench_alert_latency.py [--first]

Real processes: three RTSP cameras (`sim`), `vedette edge run` with its pipeline, `vedette central
run` with its own PostgreSQL, and a receiver of webhooks. A rule on each zone that somebody enters
opens an incident, its ladder tells one webhook at once; beside it a local channel of the site's
policy tells the same receiver from the device itself.

The time code: a walker stands at another place in every picture of a clip, so where an event's box
is says which picture it was. The receiver notes when it was told; the picture's time is when the
camera began to put it into the socket. So the whole way is measured by one clock, from
outside, and the legs by what each party says of itself:

    sent to event      picture on the line, decoded, analysed, tracked; the event is made
    event to central   committed to the spool, the agent rung for, sent, received by central
    central to notice  written down, rule matched, incident opened, ladder climbed, committed
    notice to receiver leased, signed, sent; the receiver has it

A rule opens one incident for each zone of each camera (group: place), 144 in a run of some 75 s.
The model is the closed world's with useless work in it: `model_ms` in the results says how much a
picture costs. Then central is stopped for half a minute, and a channel for when it is away must
tell what happens, and nothing before or after.

`--first` (root, Linux) puts our processes before all others of the machine, where those would
measure themselves. Writes benchmarks/results/alert_latency.json.
"""

import base64
import contextlib
import http.server
import json
import os
import platform
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import cv2
import msgspec
import numpy as np
import onnxruntime as ort
import psutil
import yaml

from vedette import __version__
from vedette.central import settings as central_settings
from vedette.central.alerting import documents
from vedette.central.alerting.channels import managing
from vedette.central.alerting.channels.checking import NewChannel
from vedette.central.alerting.channels.facts import Webhook
from vedette.central.alerting.channels.sealing import Seal
from vedette.central.alerting.facts import Group, Ladder, LadderStep, Rule
from vedette.central.store.db import Tx
from vedette.cli.at_central import in_transaction, now_ms
from vedette.clock import SystemClock
from vedette.edge.central_client import CentralClient
from vedette.edge.enrolment import enrol, sealing_key
from vedette.edge.settings import CentralLink
from vedette.inference.bundle import Bundle
from vedette.inference.model import Model
from vedette.sim import footage
from vedette.sim.clip import load_clip
from vedette.sim.closed_world import SIZE_PX, WALKER_PX, Quirk, Route, World, write_bundle
from vedette.sim.demo.operator import Operator
from vedette.sim.faults import Child, free_port, wait_until
from vedette.sim.rig import central_folder, open_central
from vedette.sim.rtsp import RtspServer
from vedette.trust.keys import SigningKey
from vedette.trust.site_policy import PolicyFile, sign_policy
from vedette.vision.picture import Picture
from vedette.wire.alerts import (
    ChannelKind,
    EventMatch,
    LocalAlerts,
    LocalChannel,
    LocalRule,
    When,
)
from vedette.wire.messages import EventKind

FPS: Final = 5
CAMERAS: Final = 3
COLUMNS: Final = 8
ROWS: Final = 6
WALK_S: Final = 5.0
PERIOD_S: Final = 9.0
SETTLE_S: Final = 12.0
AWAY_S: Final = 5.0
CUT_S: Final = 30.0
SECRET: Final = "whsec_" + base64.b64encode(b"benchmark" * 4).decode()
SAYS: Final = {
    "/central": "by central",
    "/device": "by the device",
    "/away": "by the device, central away",
}
WORK: Final = 240


# ------------------------------------------------------------------------------------- the world


def row_foot(row: int) -> float:
    """Return where the feet of a row's walker are, in fractions of the height."""
    top = WALKER_PX[1] / SIZE_PX[1]
    return top + (1 - top) * (row + 0.5) / ROWS


def world(camera: int) -> World:
    """Return the street of one camera: a walker crosses each row, one after the other."""
    routes = []
    for row in range(ROWS):
        start_s = row * PERIOD_S + camera * PERIOD_S / CAMERAS + 1.0
        ends = ((start_s, 0.06, row_foot(row)), (start_s + WALK_S, 0.94, row_foot(row)))
        routes.append(Route(track=row + 1, passes=ends))
    return World(routes)


def zones() -> list[dict[str, Any]]:
    """Return a zone for each cell that feet pass."""
    top = WALKER_PX[1] / SIZE_PX[1]
    high, wide = (1 - top) / ROWS, 1 / COLUMNS
    found = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            x0, x1 = column * wide, (column + 1) * wide
            y0, y1 = top + row * high, top + (row + 1) * high
            corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
            found.append({"name": f"r{row}c{column}", "polygon": corners})
    return found


class TimeCode:
    """Which picture of its clip an event is of, by where its box stands."""

    def __init__(self, camera: int, pictures: int) -> None:
        self._boxes = [world(camera).boxes(n / FPS) for n in range(pictures)]

    def read(self, place: str, xyxy: list[float]) -> int | None:
        """Return the picture's number; None where no picture has that box."""
        match = re.fullmatch(r"r(\d+)c\d+", place)
        if match is None:
            return None
        track, middle = int(match[1]) + 1, (xyxy[0] + xyxy[2]) / 2
        seen = [
            (abs((boxes[track][0] + boxes[track][2]) / 2 - middle), number)
            for number, boxes in enumerate(self._boxes)
            if track in boxes
        ]
        off_px, number = min(seen)
        return number if off_px < SIZE_PX[0] * 0.88 / (WALK_S * FPS) / 2 else None


class Sent:
    """When a camera sent each of its pictures, wall clock in ms, by number in its clip."""

    def __init__(self, mount: Any, pictures: int) -> None:
        self.pictures = pictures
        self._sent_ms: list[tuple[int, float]] = []
        pack = mount._packets_of  # noqa: SLF001 - where a picture leaves the camera

        def packets_of(out: Any) -> list[bytes]:
            packets = pack(out)
            self._sent_ms.append((mount.sent_frames, time.time() * 1000))
            return packets

        mount._packets_of = packets_of  # noqa: SLF001

    def before(self, number: int, at_ms: float) -> float | None:
        """Return when picture `number` was sent last before `at_ms`."""
        found = [
            sent_ms
            for count, sent_ms in self._sent_ms
            if count % self.pictures == number and sent_ms <= at_ms
        ]
        return found[-1] if found else None


# --------------------------------------------------------------------------------- the receiver


class Receiver(http.server.BaseHTTPRequestHandler):
    """Notes when it was told of what."""

    protocol_version = "HTTP/1.1"
    told: ClassVar[list[tuple[float, str, dict[str, Any]]]] = []

    def do_POST(self) -> None:
        """Note it, answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.told.append((time.time() * 1000, self.path, json.loads(body)))
        self.send_response(204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_said: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def receiver() -> Iterator[int]:
    """Run the receiver; give its port."""
    Receiver.told = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


# -------------------------------------------------------------------------------- the programs


def start_central(
    folder: Path, receiver_port: int, until: contextlib.ExitStack
) -> tuple[Child, Operator]:
    """Start central with a rule, a ladder and a webhook; return it and who operates it."""
    port, clock = free_port(), SystemClock()
    state = central_folder(folder / "central", until)
    path = folder / "central.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "state_dir": str(state),
                "listen": f"127.0.0.1:{port}",
                "alerts": {"allow_private": ["127.0.0.0/8"], "ports": [receiver_port]},
            }
        )
    )
    program = [sys.executable, "-m", "vedette.cli.main", "central", "--config", str(path), "run"]
    central = Child("central", program, folder / "central.log")
    until.callback(central.stop)
    operator = Operator(f"http://127.0.0.1:{port}")
    open_central(central, operator, clock)
    hook = Webhook(url=f"http://127.0.0.1:{receiver_port}/central", per_minute=600)
    match = EventMatch(kinds=[EventKind.ZONE_ENTERED])
    rule = Rule(rule="entered", event=match, group=Group.PLACE, ladder="now", resolve_s=3600.0)
    ladder = Ladder(ladder="now", steps=[LadderStep(tell=["channel:hook"])])
    config = central_settings.load(path)
    seal = Seal(config.state)

    async def write(tx: Tx) -> None:
        to_be = NewChannel(settings=hook, secret=SECRET)
        await managing.put(tx, seal, "hook", to_be, new=True, actor="bench", now_ms=now_ms())
        await documents.put(tx, "ladder", "now", ladder, "bench", now_ms())
        await documents.put(tx, "rule", "entered", rule, "bench", now_ms())

    in_transaction(config, write)
    return central, operator


def start_device(
    folder: Path, operator: Operator, urls: list[str], bundle: Bundle, receiver_port: int
) -> Child:
    """Enrol a device with a local channel in its site's policy and start it."""
    link, clock = CentralLink(url=operator.url), SystemClock()
    key = SigningKey.load_or_make(folder / "site.key")
    operator.add_site("yard", "Yard", key.public.text)
    state = folder / "device"
    client = CentralClient(link, clock)
    enrol(state, client, operator.claim_token("yard", "box"), version=__version__)
    client.close()
    here = LocalChannel(
        channel="here",
        kind=ChannelKind.WEBHOOK,
        when=When.ALWAYS,
        url=f"http://127.0.0.1:{receiver_port}/device",
        secret=SECRET,
        per_minute=600,
    )
    away = msgspec.structs.replace(
        here,
        channel="away",
        when=When.UNREACHABLE,
        after_s=AWAY_S,
        url=f"http://127.0.0.1:{receiver_port}/away",
    )
    entered = EventMatch(kinds=[EventKind.ZONE_ENTERED])
    rule = LocalRule(rule="entered", channels=["here", "away"], event=entered)
    alerts = LocalAlerts(channels=[here, away], rules=[rule])
    said = PolicyFile(
        site="yard", version=1, alerts=alerts, seal_for={"box": sealing_key(state).text}
    )
    operator.put_policy("yard", sign_policy(said, [key], now_ms=now_ms()))
    common = {"model": bundle.path.name, "max_fps": FPS, "zones": zones()}
    cameras = [{"id": f"cam{n}", "source": url} | common for n, url in enumerate(urls)]
    path = folder / "edge.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "state_dir": str(state),
                "models_dir": str(bundle.path.parent),
                "central": {"url": link.url},
                "cameras": cameras,
            }
        )
    )
    program = [sys.executable, "-m", "vedette.cli.main", "edge", "run", "--config", str(path)]
    return Child("agent", program, folder / "agent.log")


def model_ms(bundle: Bundle) -> float:
    """Return what one picture costs the model, CPU time of one thread."""
    model = Model.load(bundle, threads=1)
    blank = np.zeros((*SIZE_PX[::-1], 3), np.uint8)
    picture = Picture.from_bgr(blank)
    spent = []
    for _ in range(10):
        began_s = time.thread_time()
        model.detect(picture, 0.5)
        spent.append((time.thread_time() - began_s) * 1000)
    return round(sorted(spent)[len(spent) // 2], 1)


# ------------------------------------------------------------------------------------- a run


def main() -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as until:
        figures = run(Path(scratch), until)
    print(json.dumps(figures, indent=1))
    target = Path(__file__).parent / "results" / "alert_latency.json"
    target.write_text(json.dumps(figures, indent=1) + "\n")


def run(folder: Path, until: contextlib.ExitStack) -> dict[str, Any]:
    """Return all figures of one run."""
    clock, never = SystemClock(), threading.Event()
    bundle = write_bundle(folder / "models" / "walkers", Quirk.SLOW, work=WORK)
    seconds = ROWS * PERIOD_S + PERIOD_S
    pictures = round(seconds * FPS)
    server = until.enter_context(RtspServer(clock))
    sent = []
    for camera in range(CAMERAS):
        path = folder / f"cam{camera}.mp4"
        footage.encode(path, world(camera).pictures(seconds, FPS), fps=FPS, gop_s=1.0)
        mount = server.add(f"cam{camera}", {"normal": load_clip(path)})
        sent.append(Sent(mount, pictures))
    receiver_port = until.enter_context(receiver())
    central, operator = start_central(folder, receiver_port, until)
    urls = [server.url(f"cam{n}") for n in range(CAMERAS)]
    device = start_device(folder, operator, urls, bundle, receiver_port)
    until.callback(device.stop)
    figures = machine() | {"model_ms": model_ms(bundle)}
    device.start()
    wait_until("the first alert", lambda: bool(Receiver.told), clock, timeout_s=120, alive=[device])
    clock.wait(never, SETTLE_S)
    if "--first" in sys.argv:
        figures["first"] = put_first([os.getpid(), *pids(central), *pids(device)])
    from_ms, busy = time.time() * 1000, cpu_of(device)
    clock.wait(never, seconds)
    figures["seconds"] = round(seconds, 1)
    figures["agent_cpu_percent"] = round(100 * (cpu_of(device) - busy) / seconds, 2)
    figures["load_at_end"] = [round(one, 1) for one in os.getloadavg()]
    doubled = sum(path == "/away" for _, path, _ in Receiver.told)
    central.stop()
    clock.wait(never, AWAY_S + 10.0)
    cut_ms = time.time() * 1000
    clock.wait(never, CUT_S)
    back_ms = time.time() * 1000
    central.start()
    wait_until("central answers", operator.is_up, clock, timeout_s=60.0, alive=[central])
    clock.wait(never, CUT_S)
    told = list(Receiver.told)
    last_ms = max((at_ms for at_ms, path, _ in told if path == "/away"), default=0.0)
    figures["told by `away` before central went"] = doubled
    figures["last told by `away`, s after central's start"] = round((last_ms - back_ms) / 1000, 1)
    cut = [one for one in told if one[1] != "/away" or cut_ms <= one[0] <= back_ms]
    return figures | legs(operator, sent, cut, from_ms, cut_ms - 15_000)


def pids(child: Child) -> list[int]:
    """Return the processes of a child that was started."""
    return [*([child.pid] if child.pid else []), *(one.pid for one in child.descendants())]


def put_first(ours: list[int]) -> bool:
    """Have our sessions come before others; False where this machine does not let us.

    Source: sched(7), "The autogroup feature".
    """
    done = 0
    for pid in ours:
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text("-15", encoding="ascii")
            done += 1
    return done == len(ours)


def cpu_of(child: Child) -> float:
    """Return the CPU seconds of a process alone."""
    times = psutil.Process(child.pid or 0).cpu_times()
    return times.user + times.system


def legs(
    operator: Operator,
    sent: list[Sent],
    told: list[tuple[float, str, dict[str, Any]]],
    from_ms: float,
    to_ms: float,
) -> dict[str, Any]:
    """Return the spread of every leg, in ms, of what was told from `from_ms` to `to_ms`.

    What `away` told is taken as it is: it was chosen already.

    An incident is opened by the first event of its place; the device's own word says which it was.
    """
    first: dict[tuple[str, str], str] = {}
    for _, path, body in told:
        if path == "/device":
            first.setdefault((body["camera"], body["place"]), body["event"])
    codes = [TimeCode(n, one.pictures) for n, one in enumerate(sent)]
    made_ms = {one["delivery"]: one["made_ms"] for one in deliveries(operator)}
    found: dict[str, list[float]] = {}
    unread = 0
    for at_ms, path, body in told:
        if path != "/away" and not from_ms <= at_ms < to_ms:
            continue
        name = first.get(place_of(body), "") if path == "/central" else body["event"]
        event = operator.event(name) if name else None
        camera = int(event["camera"].removeprefix("cam")) if event else 0
        number = codes[camera].read(event["where"], event["boxes"][0]["xyxy"]) if event else None
        sent_ms = sent[camera].before(number, at_ms) if number is not None else None
        if event is None or sent_ms is None:
            unread += 1
            continue
        way = {"picture to receiver": at_ms - sent_ms}
        if path == "/central":
            notice_ms, received_ms = made_ms[body["id"]], event["received_ms"]
            way |= {
                "sent to central": received_ms - sent_ms,
                "capture to event, by the device": event["latency_ms"],
                "central to notice": notice_ms - received_ms,
                "notice to receiver": at_ms - notice_ms,
            }
        of = SAYS[path]
        for leg, ms in way.items():
            found.setdefault(f"{of}: {leg}", []).append(ms)
    return {"unread": unread, "ms": {leg: spread(values) for leg, values in found.items()}}


def place_of(body: dict[str, Any]) -> tuple[str, str]:
    """Return camera and zone of an incident."""
    subject = body["data"]["incident"]["where"]
    return subject["camera"], subject["place"]


def deliveries(operator: Operator) -> list[dict[str, Any]]:
    """Return all deliveries."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = operator.call("GET", f"/v1/deliveries?limit=100&cursor={cursor}")
        found += page["deliveries"]
        cursor = page["next_cursor"]
        if not cursor:
            return found


def spread(values: list[float]) -> dict[str, float | int]:
    """Return what is printed of a leg."""
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    worst = max(values)
    return {
        "n": len(values),
        **{
            name: round(float(value), 1)
            for name, value in (("p50", p50), ("p95", p95), ("p99", p99), ("max", worst))
        },
    }


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_at_start": [round(one, 1) for one in os.getloadavg()],
        "versions": f"Python {platform.python_version()}, ONNX Runtime {ort.__version__}, "
        f"OpenCV {cv2.__version__}",
        "cameras": f"{CAMERAS} over RTSP, {SIZE_PX[0]}x{SIZE_PX[1]}, {FPS} fps",
    }


if __name__ == "__main__":
    main()
