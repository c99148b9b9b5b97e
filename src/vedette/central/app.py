"""Central as one ASGI application: what is built, in which order, and what answers where.

    /v1/up, /v1/enrol, …   raw handlers (`ingest.route`, `device_api`): speed and counted bodies
    everything else        Litestar (`web`): the operator API and the pages

Background tasks live as long as the application: the committer, liveness, jobs, rollouts, alerts,
exports. The jobs themselves are done by a process of their own where `serve` runs central
(`housework`).
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, MutableMapping
from functools import partial
from typing import Any

from vedette.central import jobs, liveness
from vedette.central.alerting import asking
from vedette.central.alerting import jobs as alerts
from vedette.central.alerting.channels import dispatch
from vedette.central.boundary import (
    Answer,
    AsgiApp,
    Handler,
    Receive,
    Request,
    Scope,
    Send,
    guard,
    within_time,
)
from vedette.central.bulletin import Bulletin
from vedette.central.clips import keeping
from vedette.central.device_api import DeviceApi
from vedette.central.exporting import feeding as exports
from vedette.central.housework import Housework
from vedette.central.ingest.committer import WORKERS, Committer
from vedette.central.ingest.route import Up
from vedette.central.meters import Ingest
from vedette.central.releases.keeping import Renewal
from vedette.central.releases.serving import TARGETS, ReleasesApi
from vedette.central.rollouts import jobs as rollouts
from vedette.central.services import Services
from vedette.central.settings import CentralConfig
from vedette.central.steady import SteadyClock
from vedette.central.store.db import Database
from vedette.central.tokens import Tokens
from vedette.central.zones import Zones
from vedette.clock import NS_PER_S, Clock, SystemClock, elapsed_ns
from vedette.errors import StoreError
from vedette.trust.keys import SigningKey

_log = logging.getLogger(__name__)

ONLINE_KEY = "keys/online.key"
_CANCEL_AGAIN_S = 0.5


def build_services(
    config: CentralConfig, conninfo: str, online_key: SigningKey, clock: Clock | None = None
) -> Services:
    """Return what every route shares, not yet connected."""
    steady = SteadyClock(clock) if clock else SteadyClock(SystemClock(), elapsed_ns)
    return Services(
        config=config,
        clock=steady,
        began_mono_ns=steady.mono_ns(),
        db=Database(conninfo),
        bulletin=Bulletin(),
        online_key=online_key,
    )


class Central:
    """The application; `web` answers whatever no device asks. Serve it inside `running()`."""

    def __init__(
        self, services: Services, web: AsgiApp, housework: Housework | None = None
    ) -> None:
        """Build it; without `housework` the jobs are done in this process."""
        self.services = services
        self.committer = Committer(services.db.twin_by_key(WORKERS), services.bulletin)
        services.meters.ingest = self._ingest
        tokens = Tokens(services.db, services.clock)
        self._handlers: dict[tuple[str, str], Handler] = {
            ("POST", "/v1/up"): Up(tokens, self.committer, services.clock),
            ("GET", "/-/healthz"): self._healthz,
            **DeviceApi(services, tokens).routes(),
            **ReleasesApi(services, tokens).routes(),
        }
        self._web = web
        self._housework = housework
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a device directly, everything else through Litestar."""
        route, handler = self._find(scope) if scope["type"] == "http" else ("", None)
        began_ns = self.services.clock.mono_ns()
        if handler is None:
            hurried = within_time(receive, scope=scope) if scope["type"] == "http" else receive
            await self._web(scope, hurried, self._counted(send, began_ns))
            return
        request = Request(scope, receive, behind_proxy=self.services.config.behind_proxy)
        answer = await guard(handler, request)
        await answer.send(send)
        self._count(route, answer.status, began_ns)

    def _ingest(self) -> Ingest:
        committer = self.committer
        return Ingest(groups=committer.groups, taken=committer.taken, waiting=committer.waiting)

    def _count(self, route: str, status: int, began_ns: int) -> None:
        seconds = (self.services.clock.mono_ns() - began_ns) / NS_PER_S
        self.services.meters.answered(route, status, seconds)

    def _counted(self, send: Send, began_ns: int) -> Send:
        """Return `send`, counting the answer when it begins: a stream of events never ends."""

        async def counted(message: MutableMapping[str, Any]) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                self._count("operators", message["status"], began_ns)

        return counted

    def _find(self, scope: Scope) -> tuple[str, Handler | None]:
        """Return a device's route, by the path that it is known by, and what answers there."""
        method, path = scope["method"], scope["path"]
        # Names of files to be installed have folders in them.
        folder = TARGETS if path.startswith(TARGETS) else path[: path.rfind("/") + 1]
        for known in (path, folder):
            handler = self._handlers.get((method, known))
            if handler is not None:
                return f"{method} {known}", handler
        return "", None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have the database connected and the background tasks running inside the block."""
        services = self.services
        await services.db.open()
        await jobs.make_partitions(services.db, services.now_ms())
        await liveness.tick(services.db, services.bulletin, services.now_ms())
        retention, housework = services.config.retention, self._housework
        tasks = [
            asyncio.create_task(self.committer.run(), name="committer"),
            asyncio.create_task(
                liveness.run(services.db, services.bulletin, services.clock), name="liveness"
            ),
            asyncio.create_task(
                jobs.run(
                    housework.do if housework else partial(jobs.do, services.db),
                    retention,
                    services.clock,
                    device_key_days=services.config.device_key_days,
                    beside=[
                        partial(Zones().tell, services.db, services.bulletin, services.online_key),
                        partial(keeping.sweep, services.db, services.blobs),
                        Renewal(services.db, services.config.state),
                    ],
                ),
                name="jobs",
            ),
            asyncio.create_task(rollouts.run(services), name="rollouts"),
            asyncio.create_task(alerts.run(services), name="alerts"),
            asyncio.create_task(dispatch.run(services), name="deliveries"),
            asyncio.create_task(asking.run(services), name="clips of alerts"),
            asyncio.create_task(exports.run(services), name="exports"),
            asyncio.create_task(rollouts.hear(services), name="rollout orders"),
        ]
        for task in tasks:
            task.add_done_callback(_report_death)
        self._tasks = tasks
        try:
            yield
        finally:
            self.committer.close()
            await _end(tasks[0], *tasks[1:])
            if housework:
                await housework.close()
            await services.db.close()

    async def _healthz(self, _request: Request) -> Answer:
        """Say that the database answers and that every background task lives.

        Raises:
            StoreError: One of the two is not so; whoever supervises this process restarts it.
        """
        dead = [task.get_name() for task in self._tasks if task.done()]
        if dead:
            raise StoreError(
                f"background task {dead[0]} died", operator_hint="restart central; see its log"
            )
        async with self.services.db.transaction() as tx:
            await tx.value("users_count")
        return Answer(body=b'{"ok":true}')


async def _end(committer: "asyncio.Task[None]", *loops: "asyncio.Task[None]") -> None:
    """Wait for the committer, which ends by itself, and cancel the loops until they have ended.

    Once is not enough: up to Python 3.11 `asyncio.wait_for`, on which the database driver waits,
    loses a cancellation that arrives together with the answer (python/cpython#86296).
    """
    await asyncio.gather(committer, return_exceptions=True)
    pending = set(loops)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)


def _report_death(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.critical(
            "a background task died",
            exc_info=task.exception(),
            extra={"event": "central.task_died", "task": task.get_name()},
        )
