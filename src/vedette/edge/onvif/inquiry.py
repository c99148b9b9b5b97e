"""When each camera is asked what it is: once when it first gives pictures, seldom again.

One thread of its own, one camera after another: pictures never wait for it. The rule: a camera is
asked again after a day, or an hour after it was asked last where it came back meanwhile (its
firmware may be another); a camera that does not answer is left alone for as long.

Thread: its own; `CameraLane.identify` takes the answer.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from vedette.clock import NS_PER_S, Clock
from vedette.edge.identity import Identity
from vedette.edge.onvif import client
from vedette.edge.onvif.soap import NotOnvif
from vedette.edge.stages import CameraPlan
from vedette.errors import VedetteError

_LOG = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 5.0
AGAIN_S: Final = 86_400.0
AGAIN_AFTER_RETURN_S: Final = 3_600.0

Ask = Callable[..., Identity]


class Inquirer:
    """Asks the cameras of a device what they are."""

    def __init__(self, plans: Sequence[CameraPlan], clock: Clock, ask: Ask = client.ask) -> None:
        self._clock = clock
        self._ask = ask
        self._cameras = [plan for plan in plans if _host(plan.capture.source)]
        self._asked: dict[str, tuple[int, int]] = {}  # when, and how often it had come by then

    def run(self, stop: threading.Event) -> None:
        """Ask whoever is due until `stop` is set."""
        while not self._clock.wait(stop, LOOK_EVERY_S):
            self.step(stop)

    def step(self, stop: threading.Event) -> None:
        """Ask every camera that is due now."""
        for plan in self._cameras:
            if stop.is_set():
                return
            if self._is_due(plan):
                self._asked[plan.lane.name] = self._clock.mono_ns(), plan.lane.ups
                self._ask_one(plan)

    def _is_due(self, plan: CameraPlan) -> bool:
        if not plan.lane.ups or plan.capture.onvif_port == 0:
            return False
        asked = self._asked.get(plan.lane.name)
        if asked is None:
            return True
        since_s = (self._clock.mono_ns() - asked[0]) / NS_PER_S
        came_back = plan.lane.ups > asked[1]
        return since_s >= AGAIN_S or (came_back and since_s >= AGAIN_AFTER_RETURN_S)

    def _ask_one(self, plan: CameraPlan) -> None:
        host, login = _host(plan.capture.source), _login(plan.capture.source)
        port = plan.capture.onvif_port
        ports = client.PORTS if port is None else (port,)
        try:
            plan.lane.identify(self._ask(host, login, self._clock, ports=ports))
        except NotOnvif as error:
            self._say(plan, str(error))
        except VedetteError as error:
            self._say(plan, type(error).__name__)

    def _say(self, plan: CameraPlan, why: str) -> None:
        _LOG.info(
            "camera %s does not say by ONVIF what it is: %s",
            plan.lane.name,
            why,
            extra={"event": "onvif.silent", "camera": plan.lane.name, "why": why},
        )


def _host(source: str) -> str:
    """Return the host of a network camera; empty for any other source."""
    if not source.lower().startswith(("rtsp://", "rtsps://", "http://", "https://")):
        return ""
    try:
        return urlsplit(source).hostname or ""
    except ValueError:
        return ""


def _login(source: str) -> tuple[str, str] | None:
    parts = urlsplit(source)
    if not parts.username:
        return None
    return unquote(parts.username), unquote(parts.password or "")
