"""`vedette edge commission --page`: the same steps, taken on a phone."""

import signal
import threading
from collections.abc import Sequence

import msgspec
import segno
from rich.console import Console

from vedette.cli.printable import escape
from vedette.clock import SystemClock
from vedette.edge import commission as commissioning
from vedette.edge.commission import CommissionRecord
from vedette.edge.commission.session import Session
from vedette.edge.enrolment import load_identity
from vedette.edge.models import Models
from vedette.edge.settings import Camera, EdgeConfig
from vedette.errors import ConfigError


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """How the steps are taken."""

    steps: Sequence[str]
    samples: int
    baseline_s: float
    reference_s: float
    clear: bool


def on_a_page(config: EdgeConfig, wishes: Wishes, listen: str, console: Console) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        ConfigError: The address cannot be had, or the extra `local` is missing.
    """
    try:
        from vedette.edge.commission.page import desk as web
        from vedette.edge.commission.page import floor, serve
    except ImportError as error:
        raise ConfigError(
            f"the page needs {error.name}", operator_hint="pip install 'vedette[edge,local]'"
        ) from error
    clock = SystemClock()

    def take(camera: Camera, desk: web.WebDesk, by: str) -> CommissionRecord:
        session = Session(
            config,
            camera,
            Models.of(config, clock),
            clock,
            desk,
            samples=wishes.samples,
            baseline_s=wishes.baseline_s,
            reference_s=wishes.reference_s,
        )
        record = session.run(by, wishes.steps)
        commissioning.save(config.state_dir, record, session.reference)
        return commissioning.load(config.state_dir, camera.id) or record

    def told(address: str, pin: str) -> None:
        console.print(f"\nOpen [bold]{escape(address)}[/] on a phone in the site's network.")
        console.print(f"PIN [bold]{pin[:3]} {pin[3:]}[/]")
        if console.is_terminal:
            segno.make(address, micro=False).terminal(compact=True)
        if not wishes.clear:
            console.print("Pictures are shown reduced; --clear-view shows them as they are.")
        console.print("Ctrl-C ends it.\n")

    identity = load_identity(config.state_dir)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    serve.serve(
        floor.Floor(config, clock, take, clear=wishes.clear),
        clock,
        stop,
        device=f"{identity.device} at {identity.site}" if identity else "this device",
        listen=serve.address_of(listen),
        told=told,
    )
    console.print("The page is closed.")
