"""The last health report as a page: for whoever stands before the box with a phone.

Server-made, without script, loading nothing. State is shape, word and colour; what was not measured
is said to be unknown. The rule: every text that comes from a report goes through `_text`.
"""

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from typing import Final

from vedette.logs import redact_text
from vedette.wire.messages import CameraHealth, HealthReport, State

REFRESH_S: Final = 10
STALE_AFTER_PERIODS: Final = 3

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2430;--dim:#5b6675;--line:#d8dde4;--paper:#fff;--ok:#1d7f4c;
--warn:#a05a00;--bad:#c0282d;--none:#6b7280}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ee;--dim:#9aa5b4;--line:#323a46;--paper:#14181e;
--ok:#4cc38a;--warn:#f0a94b;--bad:#ff7b72;--none:#9aa5b4}}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.45 system-ui,sans-serif}
main{max-width:46rem;margin:0 auto;padding:1rem}
h1{font-size:1.35rem;margin:.2rem 0}h2{font-size:1rem;margin:1.6rem 0 .4rem}
p{margin:.3rem 0}.dim{color:var(--dim)}
ul{list-style:none;margin:0;padding:0}
li{border-top:1px solid var(--line);padding:.6rem 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem;margin:0}
dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}
.ok{color:var(--ok)}.warn{color:var(--warn)}.bad{color:var(--bad)}.none{color:var(--none)}
.state{font-weight:600}
"""

POLICY: Final = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: its one style sheet, and nothing else."""

_STATES: Final[dict[State, tuple[str, str, str]]] = {
    State.OK: ("●", "ok", "ok"),
    State.DEGRADED: ("▲", "warn", "degraded"),
    State.TAMPERED: ("◆", "bad", "tampered: covered, turned, blinded or frozen"),
    State.DOWN: ("✕", "bad", "down: cable, power, address or password"),
    State.OFF: ("❙❙", "none", "off, by its schedule"),
    State.STARTING: ("◐", "none", "starting"),
}
"""Shape, colour class and words of each state; of one that is down, where it told no reason."""


def page(
    report: HealthReport | None,
    *,
    device: str,
    site: str,
    now_ms: int,
    has_central: bool,
    names: dict[str, str] | None = None,
) -> bytes:
    """Return the page as UTF-8; it says so where there is no report yet, or only an old one.

    Args:
        report: The last one.
        device: This device's name; empty where it is not enrolled.
        site: Its site.
        now_ms: Wall time, for ages.
        has_central: False where the device works alone on purpose.
        names: What people call the cameras, by id.
    """
    title = f"{device} at {site}" if device else "this device"
    parts = [f"<h1>{_text(title)}</h1>"]
    if report is None:
        parts.append('<p class="state none">? Nothing was reported yet: the agent just began.</p>')
    else:
        parts += _freshness(report, now_ms)
        parts += _problems(report.problems)
        parts += _cameras(report, now_ms, names or {})
        parts += _central(report, now_ms, has_central=has_central)
        parts += _local_alerts(report, now_ms)
        parts += _updates(report)
        parts += _machine(report)
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="refresh" content="{REFRESH_S}">'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>"
    ).encode()


def _text(value: object) -> str:
    return escape(str(value))


def _freshness(report: HealthReport, now_ms: int) -> list[str]:
    age_s = (now_ms - report.at_ms) / 1000
    said = f"Read {_ago(report.at_ms, now_ms)}. Vedette {_text(report.version)}."
    if age_s <= STALE_AFTER_PERIODS * max(report.period_s, 1.0):
        return [f'<p class="dim">{said}</p>']
    return [f'<p class="state bad">✕ Old: {said} The agent does not report any more.</p>']


def _problems(problems: list[str]) -> list[str]:
    if not problems:
        return []
    listed = "".join(f'<li><span class="warn">▲</span> {_text(text)}</li>' for text in problems)
    return ["<h2>What somebody should look at</h2>", f"<ul>{listed}</ul>"]


def _cameras(report: HealthReport, now_ms: int, names: dict[str, str]) -> list[str]:
    pipeline = report.pipeline
    if pipeline is None or not pipeline.cameras:
        running = pipeline is not None and pipeline.running
        why = "no camera has told of itself yet" if running else "the video pipeline does not run"
        return ["<h2>Cameras</h2>", f'<p class="state none">? {why}</p>']
    listed = "".join(_camera(camera, now_ms, names) for camera in pipeline.cameras)
    return ["<h2>Cameras</h2>", f"<ul>{listed}</ul>"]


def _camera(camera: CameraHealth, now_ms: int, names: dict[str, str]) -> str:
    shape, colour, words = _STATES[camera.state]
    if camera.state is State.DOWN and camera.detail:
        words = f"down: {_text(redact_text(camera.detail))}"
    name = names.get(camera.camera, "")
    called = f"{_text(name)} <span class=dim>{_text(camera.camera)}</span>" if name else ""
    rate = "unknown rate" if camera.rate_fps is None else f"{camera.rate_fps:.1f} pictures/s"
    seen = (
        "no picture yet"
        if camera.last_frame_ms is None
        else (f"last picture {_ago(camera.last_frame_ms, now_ms)}")
    )
    lines = [
        f'<span class="state {colour}">{shape} {words}</span>',
        f'<span class="dim">since {_ago(camera.since_ms, now_ms)} · {rate} · {seen}</span>',
        *(f'<span class="warn">▲ {_text(text)}</span>' for text in camera.advice),
    ]
    return f"<li><b>{called or _text(camera.camera)}</b><br>{'<br>'.join(lines)}</li>"


def _central(report: HealthReport, now_ms: int, *, has_central: bool) -> list[str]:
    spool, network = report.spool, report.network
    waiting = sum(spool.depth.values())
    if not has_central:
        contact = '<span class="none">works alone</span>'
    elif network.last_contact_ms is None:
        contact = '<span class="bad">✕ never</span>'
    else:
        contact = _ago(network.last_contact_ms, now_ms)
    return [
        "<h2>Central</h2>",
        _facts(
            [
                ("last answer", contact),
                ("waiting to be sent", f"{waiting} messages, {spool.bytes / 2**20:.1f} MB"),
                ("given up for room", str(spool.evicted)),
            ]
        ),
    ]


def _local_alerts(report: HealthReport, now_ms: int) -> list[str]:
    """Return one line for each channel that this device drives by itself."""
    rows = [
        (
            f"{one.channel} ({one.kind})",
            f"{one.sent} delivered, {one.waiting} waiting, {sum(one.dropped.values())} dropped"
            + (f", last {_ago(one.last_ms, now_ms)}" if one.last_ms else "")
            + (f' <span class="warn">▲ {_text(one.problem)}</span>' if one.problem else ""),
        )
        for one in report.local_channels
    ]
    return ["<h2>Alerts at the site</h2>", _facts(rows)] if rows else []


def _updates(report: HealthReport) -> list[str]:
    """Return one line for each slot in which something was assigned."""
    rows = [
        (
            f"{one.slot} ({one.digest.removeprefix('sha256:')[:12]})",
            _text(one.state.value.replace("_", " ") + (f": {one.problem}" if one.problem else "")),
        )
        for one in report.updates
        if one.state is not None
    ]
    return ["<h2>Updates</h2>", _facts(rows)] if rows else []


def _machine(report: HealthReport) -> list[str]:
    system = report.system
    hottest = max(system.temperatures_c.items(), key=lambda item: item[1], default=None)
    flags = system.throttle_flags
    throttled = "unknown: this machine cannot tell" if flags is None else "no"
    if flags:
        throttled = f'<span class="bad">✕ {_text(", ".join(flags))}</span>'
    return [
        "<h2>Machine</h2>",
        _facts(
            [
                ("hardware", _text(system.hardware) or "unknown"),
                ("hottest", f"{hottest[1]:.0f} °C ({_text(hottest[0])})" if hottest else "unknown"),
                ("held back", throttled),
                ("processor", _share(system.cpu_fraction)),
                ("memory", _share(system.memory_used_fraction)),
                ("disk", _share(system.disk_used_fraction)),
                ("running for", _duration(system.uptime_s)),
            ]
        ),
    ]


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    """Return a list of facts; values are HTML already."""
    return "<dl>" + "".join(f"<dt>{_text(k)}</dt><dd>{v}</dd>" for k, v in rows) + "</dl>"


def _share(fraction: float | None) -> str:
    return "unknown" if fraction is None else f"{fraction * 100:.0f} % in use"


def _ago(at_ms: int, now_ms: int) -> str:
    seconds = (now_ms - at_ms) / 1000
    return "just now" if seconds < 1 else f"{_duration(seconds)} ago"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    for unit_s, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s"
