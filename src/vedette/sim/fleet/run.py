"""One run of a fleet against a central: enrol, drive, add up. What `vedette sim fleet` calls.

Decides nothing about devices: who they are is `roll`'s, what they do is `load`'s.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from vedette.clock import Clock
from vedette.errors import ConfigError, NotAllowed
from vedette.sim.fleet import roll
from vedette.sim.fleet.http import Pool
from vedette.sim.fleet.load import Load
from vedette.sim.fleet.meter import Result
from vedette.sim.fleet.roll import Member

MAX_DEVICES: Final = 100_000
_AT_ONCE: Final = 8
_LOOK_S: Final = 0.5


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a central and get a fleet into it.

    Attributes:
        operator_token: An API token of an operator: sites and claim tokens are made with it.
        database_url: Enrol in bulk instead.
        audience: Key id of central's online key, for tokens that are renewed after a bulk.
    """

    url: str
    operator_token: str = ""
    database_url: str = ""
    audience: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the fleet does."""

    devices: int = 100
    cameras: int = 4
    period_s: float = 30.0
    duration_s: float = 60.0
    connections: int = 64
    closed: bool = False
    backlog_s: float = 0.0
    per_site: int = 10
    seed: int = 1


def check(plan: Plan) -> None:
    """Return where this can be run.

    Raises:
        ConfigError: It cannot; the text says what to change.
    """
    if not 1 <= plan.devices <= MAX_DEVICES:
        raise ConfigError(f"{plan.devices} devices", operator_hint=f"1 to {MAX_DEVICES}")
    if not 1 <= plan.cameras <= 64:
        raise ConfigError(f"{plan.cameras} cameras", operator_hint="1 to 64")
    if plan.period_s < 1.0 or plan.duration_s <= 0.0 or plan.backlog_s < 0.0:
        raise ConfigError("a period under a second, or no time at all")
    if not 1 <= plan.connections <= 20_000:
        raise ConfigError(f"{plan.connections} connections", operator_hint="1 to 20000")


async def members(pool: Pool, way: Way, plan: Plan, clock: Clock) -> list[Member]:
    """Return an enrolled fleet.

    Raises:
        ConfigError: No way to enrol was given.
        NotAllowed: Central refuses.
        StoreError, CentralUnreachable: One of them does not answer.
    """
    if way.database_url:
        return await asyncio.to_thread(
            roll.enrol_in_bulk,
            way.database_url,
            plan.devices,
            way.audience,
            clock,
            per_site=plan.per_site,
        )
    if not way.operator_token:
        raise ConfigError(
            "no way to enrol",
            operator_hint="give an operator's API token (--token), or central's --database",
        )
    claims = await _claims(pool, way.operator_token, plan)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int, claim: str) -> Member:
        async with gate:
            return await roll.enrol(pool, claim, clock, address=roll.address_of(number))

    return list(await asyncio.gather(*(one(n, claim) for n, claim in enumerate(claims))))


async def _claims(pool: Pool, token: str, plan: Plan) -> list[str]:
    """Return one claim token per device, made through the operator API with their sites."""
    tag = secrets.token_hex(2)
    made: list[str] = []
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    async def call(path: str, body: dict[str, str]) -> bytes:
        status, data = await pool.ask("POST", path, msgspec.json.encode(body), headers)
        if status >= 300:
            text = data[:300].decode(errors="replace")
            raise NotAllowed(
                f"central answered {status} to {path}: {text}",
                operator_hint="the API token must be an administrator's",
            )
        return data

    for number, name in enumerate(roll.names(plan.devices, tag)):
        site = f"l{tag}-s{number // plan.per_site:05d}"
        if number % plan.per_site == 0:
            await call("/v1/sites", {"site": site, "name": site})
        data = await call("/v1/claims", {"site": site, "device": name})
        made.append(msgspec.json.decode(data, type=dict[str, object])["token"])  # type: ignore[arg-type]
    return made


async def drive(
    way: Way,
    plan: Plan,
    clock: Clock,
    *,
    fleet: Sequence[Member] = (),
    watch: Callable[[Load], None] | None = None,
    stop: asyncio.Event | None = None,
) -> Result:
    """Return what came of the plan; `watch` looks at it twice a second meanwhile.

    Raises:
        ConfigError: A plan or a way that cannot be.
        NotAllowed, StoreError, CentralUnreachable: The fleet could not be enrolled.
    """
    check(plan)
    async with Pool(way.url, plan.connections) as pool:
        enrolled = fleet or await members(pool, way, plan, clock)
        load = Load(pool, enrolled, clock, cameras=plan.cameras, seed=plan.seed)
        looking = asyncio.create_task(_look(load, watch)) if watch else None
        try:
            if plan.closed:
                return await load.closed(
                    duration_s=plan.duration_s, concurrency=plan.connections, stop=stop
                )
            return await load.paced(
                period_s=plan.period_s,
                duration_s=plan.duration_s,
                backlog_s=plan.backlog_s,
                until_drained=bool(plan.backlog_s),
                stop=stop,
            )
        finally:
            if looking:
                looking.cancel()


async def _look(load: Load, watch: Callable[[Load], None]) -> None:
    while True:
        watch(load)
        await asyncio.sleep(_LOOK_S)
