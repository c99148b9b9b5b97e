"""What a health report says of the trouble that rules ask for. Pure.

One report in, for each kind of trouble what is bad, and whether the report can tell at all. The
same code judges what comes in now (`reports`) and what came in before (`history`). The rule: what
a machine cannot tell is neither bad nor well.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from vedette.amounts import counted
from vedette.central.alerting.facts import Health
from vedette.central.alerting.rules import DEFAULT_ABOVE
from vedette.central.cameras import BUDGET_MS
from vedette.central.condition.tiers import held_back
from vedette.stats.sketch import MAX_SCALE, bucket_index
from vedette.wire.messages import Histogram

LEAST_FRAMES: Final = 20
"""Fewer pictures in a report say nothing of a share of them."""

CRASHED_MS: Final = 3_600_000
"""So long a crash is trouble."""

_STAGES: Final = tuple(BUDGET_MS)


class System(msgspec.Struct, frozen=True):
    """As far as rules ask; what they do not ask is skipped, not decoded."""

    temperatures_c: dict[str, float] = {}
    throttle_flags: list[str] | None = None
    disk_used_fraction: float | None = None
    disk_free_mb: float | None = None
    agent_rss_mb: float | None = None
    growth_mb_per_h: dict[str, float] = {}


class Network(msgspec.Struct, frozen=True):
    """Likewise."""

    loss_fraction: float | None = None
    clock_offset_ms: float | None = None


class Spool(msgspec.Struct, frozen=True):
    """Likewise."""

    bytes: int = 0
    quota_bytes: int = 0


class Camera(msgspec.Struct, frozen=True):
    """Likewise."""

    camera: str
    tier: str = ""
    stage_ms: dict[str, Histogram] = {}


class Pipeline(msgspec.Struct, frozen=True):
    """Likewise."""

    running: bool
    last_exit: str = ""
    crashes: int = 0
    cameras: list[Camera] = []


class Report(msgspec.Struct, frozen=True):
    """A `HealthReport` as far as rules ask."""

    at_ms: int
    system: System = System()
    pipeline: Pipeline | None = None
    network: Network = Network()
    spool: Spool = Spool()


class _PlainPipeline(msgspec.Struct, frozen=True):
    running: bool
    last_exit: str = ""
    crashes: int = 0


class _Plain(msgspec.Struct, frozen=True):
    at_ms: int
    system: System = System()
    pipeline: _PlainPipeline | None = None
    network: Network = Network()
    spool: Spool = Spool()


_whole = msgspec.msgpack.Decoder(Report).decode
_plain = msgspec.msgpack.Decoder(_Plain).decode


def decode(body: bytes, *, with_stages: bool = True) -> Report | None:
    """Return a report; without its histograms where nobody asks for them, which is most of it.

    None where it is of a release yet to come.
    """
    try:
        if with_stages:
            return _whole(body)
        found = _plain(body)
    except msgspec.MsgspecError:
        return None
    of = found.pipeline
    pipeline = Pipeline(of.running, of.last_exit, of.crashes) if of else None
    return Report(found.at_ms, found.system, pipeline, found.network, found.spool)


class Bad(msgspec.Struct, frozen=True, kw_only=True):
    """Something is wrong with a device, or with a camera or a part (`what`) of it."""

    camera: str = ""
    what: str = ""
    value: float | None = None
    text: str = ""
    at_ms: int | None = None


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What a report says of one kind of trouble.

    Attributes:
        tells: False: nothing can be said, whatever was before stays.
        bad: What is wrong; all else of this kind on this device is well.
        unclear: Cameras of which nothing can be said.
    """

    tells: bool
    bad: list[Bad] = []
    unclear: frozenset[str] = frozenset()


NOTHING: Final = Judged(tells=False)


def above_of(health: Health, above: float | None) -> float:
    """Return the number that has to be passed."""
    return DEFAULT_ABOVE.get(health, 0.0) if above is None else above


def judge(
    health: Health, above: float | None, report: Report, *, clock: str, crashes: list[int]
) -> Judged:
    """Return what a report says of one kind of trouble.

    Args:
        health: One of `ASKED`.
        above: What the rule says; None: the default.
        report: As it came in.
        clock: The state of the device's clock, as it said with the report.
        crashes: When it was seen to have crashed within the last hour.
    """
    if health is Health.THROTTLED:
        return _throttled(above, report)
    if health is Health.PIPELINE_CRASHED:
        return _crashed(above_of(health, above), report, crashes)
    if health is Health.CLOCK:
        return _clock(above_of(health, above), report, clock)
    return _JUDGES[health](above_of(health, above), report)


def _throttled(above: float | None, report: Report) -> Judged:
    """Held back now by heat or want of power; with a number: or hotter than so many degrees."""
    system = report.system
    flags = held_back(system.throttle_flags)
    hottest = max(system.temperatures_c.values(), default=None)
    if system.throttle_flags is None and (above is None or hottest is None):
        return NOTHING
    is_hot = above is not None and hottest is not None and hottest > above
    if not flags and not is_hot:
        return Judged(tells=True)
    said = [*flags, f"{hottest:.0f} °C"] if hottest is not None else flags
    return Judged(tells=True, bad=[Bad(value=hottest, text=", ".join(said))])


def _leak(above: float, report: Report) -> Judged:
    """Grows by more MB an hour; devices tell a trend only where it is significant."""
    system = report.system
    if system.agent_rss_mb is None and not system.growth_mb_per_h:
        return NOTHING
    bad = [
        Bad(what=who[:64], value=by, text=f"{who[:64]} grows by {by:.1f} MB an hour")
        for who, by in sorted(system.growth_mb_per_h.items())
        if by > above
    ]
    return Judged(tells=True, bad=bad)


def _disk(above: float, report: Report) -> Judged:
    used, free_mb = report.system.disk_used_fraction, report.system.disk_free_mb
    free = f", {free_mb / 1000:.1f} GB free" if free_mb is not None else ""
    return _share(used, above, f"{(used or 0) * 100:.0f} % used{free}")


def _loss(above: float, report: Report) -> Judged:
    lost = report.network.loss_fraction
    return _share(lost, above, f"{(lost or 0) * 100:.1f} % of segments are sent again")


def _spool(above: float, report: Report) -> Judged:
    spool = report.spool
    used = spool.bytes / spool.quota_bytes if spool.quota_bytes else None
    return _share(used, above, f"{(used or 0) * 100:.0f} % of the spool's room is taken")


def _share(value: float | None, above: float, text: str) -> Judged:
    if value is None:
        return NOTHING
    return Judged(tells=True, bad=[Bad(value=value, text=text)] if value > above else [])


def _clock(above_s: float, report: Report, clock: str) -> Judged:
    """Known to be wrong, or off by more seconds; "not confirmed yet" is neither."""
    offset_ms = report.network.clock_offset_ms
    off = f"{offset_ms / 1000:+.1f} s against central" if offset_ms is not None else ""
    if clock == "untrusted":
        said = ": ".join(part for part in ("known to be wrong", off) if part)
        return Judged(tells=True, bad=[Bad(value=_s(offset_ms), text=said)])
    if clock != "trusted":
        return NOTHING
    is_off = offset_ms is not None and abs(offset_ms) > above_s * 1000
    return Judged(tells=True, bad=[Bad(value=_s(offset_ms), text=off)] if is_off else [])


def _s(offset_ms: float | None) -> float | None:
    return None if offset_ms is None else abs(offset_ms) / 1000


def _crashed(above: float, report: Report, crashes: list[int]) -> Judged:
    pipeline = report.pipeline
    if pipeline is None:
        return NOTHING
    why = f": {pipeline.last_exit[:200]}" if pipeline.last_exit else ""
    if not pipeline.running:
        return Judged(tells=True, bad=[Bad(value=float(len(crashes)), text=f"does not run{why}")])
    if len(crashes) > above:
        text = f"ended unasked {counted(len(crashes), 'time')} within an hour{why}"
        first = Bad(value=float(len(crashes)), text=text, at_ms=crashes[0])
        return Judged(tells=True, bad=[first])
    return Judged(tells=True)


def _latency(above: float, report: Report) -> Judged:
    """More of a camera's pictures than this share took longer than the whole budget."""
    if report.pipeline is None or not report.pipeline.running:
        return NOTHING
    bad: list[Bad] = []
    unclear: set[str] = set()
    for camera in report.pipeline.cameras:
        total = camera.stage_ms.get("total")
        share = share_over(total, BUDGET_MS["total"]) if total else None
        if share is None or camera.tier == "batch":
            unclear.add(camera.camera)
        elif share > above:
            bad.append(Bad(camera=camera.camera, value=share, text=_slow_text(camera, share)))
    return Judged(tells=True, bad=bad, unclear=frozenset(unclear))


def _slow_text(camera: Camera, share: float) -> str:
    """Name the stages that are over their own part of the budget, worst first."""
    shares = {
        stage: share_over(camera.stage_ms[stage], BUDGET_MS[stage]) or 0.0
        for stage in _STAGES
        if stage != "total" and stage in camera.stage_ms
    }
    worst = [name for name, part in sorted(shares.items(), key=lambda s: -s[1]) if part > 0.01]
    by = f", most of all {', '.join(worst[:2])}" if worst else ""
    return f"{share * 100:.0f} % of pictures took longer than {BUDGET_MS['total']:.0f} ms{by}"


def share_over(found: Histogram, limit: float) -> float | None:
    """Return the share of observations above a limit; None for too few or nonsense.

    Those in the limit's own bucket, 2 % wide, count as within it.
    """
    counted = found.zero + sum(found.counts)
    if counted < LEAST_FRAMES or not 0 <= found.scale <= MAX_SCALE:
        return None
    first = (bucket_index(limit, found.scale) or 0) + 1 - found.offset
    return sum(found.counts[max(0, first) :]) / counted


_JUDGES: Final[dict[Health, Callable[[float, Report], Judged]]] = {
    Health.MEMORY_LEAK: _leak,
    Health.DISK: _disk,
    Health.NETWORK_LOSS: _loss,
    Health.SPOOL_FILLING: _spool,
    Health.LATENCY_BUDGET: _latency,
}
ASKED: Final = frozenset({*_JUDGES, Health.THROTTLED, Health.PIPELINE_CRASHED, Health.CLOCK})
"""What a report can tell of."""
