"""A device's page in every state."""

import math
from collections.abc import Callable
from typing import Final

import msgspec

from vedette.central.condition import drain, series, tiers
from vedette.central.condition.reading import DeviceView, Machine
from vedette.central.console import specimens
from vedette.central.console.device import answers, confirming, present
from vedette.central.console.device.confirming import Confirm
from vedette.central.console.device.present import May, Shown, Timeline, timeline_of
from vedette.central.console.page import Page
from vedette.central.diagnosing import Diagnostic
from vedette.central.ingest.clones import Copy, Evidence
from vedette.central.quarantine import Aside, Suspect
from vedette.central.timeline import words
from vedette.central.timeline.spells import Spell
from vedette.central.timeline.told import Happening
from vedette.central.timeline.words import Row
from vedette.central.views import CameraRow, DeviceRow
from vedette.stats.sketch import ExpHistogram
from vedette.wire.diagnostics import (
    Address,
    ConfigAnswer,
    DoctorAnswer,
    DoctorFinding,
    Document,
    Hop,
    NetworkAnswer,
    Origin,
    Speed,
)
from vedette.wire.messages import (
    CameraHealth,
    HealthReport,
    ModelHealth,
    NetworkHealth,
    PipelineHealth,
    SpoolHealth,
    State,
    SystemHealth,
)

NOW_MS: Final = specimens.NOW_MS
SPAN_MS: Final = 6 * specimens.HOUR_MS
HOSTILE: Final = '"><script>alert(1)</script> ' + "a very long word without any blank" * 6


def health(at_ms: int = NOW_MS, *, hot: bool = False, waiting: int = 3) -> HealthReport:
    """Return a health report at this time: warm in the afternoon, or held back by heat."""
    wave = math.sin(at_ms / 4e6)
    trips = ExpHistogram()
    for value in (38.0, 41.0, 44.0 + 8 * wave, 190.0):
        trips.add(value)
    cameras = [
        CameraHealth(camera="door", state=State.OK, since_ms=at_ms - 3_600_000, rate_fps=5.0)
    ]
    return HealthReport(
        at_ms=at_ms,
        period_s=30,
        version="0.2.0",
        system=SystemHealth(
            uptime_s=411_000.0,
            memory_used_fraction=0.61,
            memory_mb=8_000.0,
            agent_rss_mb=47.0 + wave,
            pipeline_rss_mb=612.0 + 20 * wave,
            disk_free_mb=9_400.0 if hot else 41_200.0,
            disk_used_fraction=0.94 if hot else 0.38,
            temperatures_c={
                "cpu": (81.0 if hot else 58.0) + 6 * wave,
                "rp1": 52.0 + 3 * wave,
            },
            throttle_flags=["soft-temperature-limit"] if hot else [],
            hardware="Raspberry Pi 5 Model B",
            power_w=5.4 + wave,
            reboots=4,
            reboot_cause="power_lost",
            reboot_detail="the hardware came up from no power",
            growth_mb_per_h={"pipeline": 2.4} if hot else {},
        ),
        pipeline=PipelineHealth(running=True, cameras=cameras, crashes=2 if hot else 0),
        models=[
            ModelHealth(
                model="centernet@1", digest="9f86d081884c7d65", backend="openvino", golden_ok=True
            )
        ],
        network=NetworkHealth(
            sent_bytes=41_000,
            requests=2,
            round_trip_ms=trips.to_wire(),
            clock_offset_ms=12.0 + 4 * wave,
            loss_fraction=0.002,
            link="wifi",
            signal_dbm=-61.0,
            backfill_bytes=30_000 if waiting > 100 else 0,
        ),
        spool=SpoolHealth(depth={"live": waiting}, bytes=waiting * 1800, quota_bytes=2_000_000_000),
        config_version="7",
        site_policy_version=3,
    )


def machine(state: str = "ok", report: HealthReport | None = None, **more: object) -> Machine:
    """Return a device's row in this state."""
    made = Machine(
        device="north-1",
        site="north",
        site_name="North store",
        folder="europe/norway",
        time_zone="Europe/Oslo",
        enrolled_ms=NOW_MS - 90 * specimens.DAY_MS,
        revoked_ms=None,
        revoked_reason="",
        boot_id="boot-2c1",
        version="0.2.0",
        hardware="Raspberry Pi 5 Model B",
        clock_state="trusted",
        state=state,
        last_contact_ms=None if state == "never" else NOW_MS - 12_000,
        health=None,
        health_at_ms=NOW_MS - 12_000 if report else None,
        drained_to_ms=NOW_MS,
        key_since_ms=NOW_MS - 20 * specimens.DAY_MS,
        next_key_ms=None,
        rotate_asked_ms=None,
        quarantined_ms=None,
        quarantine=None,
        set_aside_bytes=0,
        settings_version=7,
        policy_version=3,
        site_keys_version=1,
    )
    return msgspec.structs.replace(made, **more)


def view(
    row: DeviceRow, report: HealthReport | None, of: Machine, *, hot: bool = False
) -> DeviceView:
    """Return a device's view over six hours; without a report nothing is known."""
    reports = [
        (at, health(at, hot=hot, waiting=max(3, (NOW_MS - at) // 4000) if hot else 3))
        for at in range(NOW_MS - SPAN_MS, NOW_MS, 120_000)
        if report and not NOW_MS - 4 * 3_600_000 < at < NOW_MS - 3 * 3_600_000
    ]
    lines = series.lines(reports, 120_000)
    return DeviceView(
        machine=of,
        row=row,
        report=report,
        at_ms=NOW_MS,
        from_ms=NOW_MS - SPAN_MS,
        to_ms=NOW_MS,
        tiers=tiers.tiers(report, of.clock_state if report else ""),
        lines=lines,
        drain=drain.drain(lines.get("spool", {}).get("waiting", [])[-15:]),
        labels={"rack": "b-2"},
        held_back=HELD_BACK if hot else [],
        written_bytes_a_day=612e6 if report else None,
    )


HELD_BACK: Final = [
    Spell(
        start_ms=NOW_MS - n * 11 * specimens.HOUR_MS,
        end_ms=NOW_MS - n * 11 * specimens.HOUR_MS + 1_440_000 * (1 + n % 3),
        flags=["soft-temperature-limit"] if n % 2 else ["under-voltage", "throttled"],
        is_open=n == 0,
    )
    for n in range(11, -1, -1)
]


def happened(*, plain: bool = False) -> Timeline:
    """Return a page of a timeline with an entry of every kind; hostile unless `plain`."""
    text = "" if plain else HOSTILE
    rows = [
        Happening(at_ms=0, kind="heat", detail={"is": "began", "flags": ["throttled", text]}),
        Happening(at_ms=0, kind="heat", detail={"is": "ended"}),
        Happening(at_ms=0, kind="reboot", detail={"cause": "watchdog", "said": text}),
        Happening(at_ms=0, kind="reboot", detail={"cause": "update"}),
        Happening(
            at_ms=0,
            kind="software",
            detail={"what": "program", "before": "0.1.0", "after": "0.2.0"},
        ),
        Happening(at_ms=0, kind="pipeline", detail={"is": "crashed", "count": 2, "said": text}),
        Happening(at_ms=0, kind="clock", detail={"before": "trusted", "after": "untrusted"}),
        Happening(at_ms=0, kind="clock", detail={"step_ms": -61_000}),
        Happening(at_ms=0, kind="problem", detail={"said": f"disk 94 % full {text}"}),
    ]
    entries = [words.told("north-1", f"told/{n}", row) for n, row in enumerate(rows)]
    entries += [
        words.of_contact(Row(at_ms=0, key="1", device="north-1", state="dark")),
        words.of_contact(Row(at_ms=9_000_000, key="2", device="north-1", state="ok", since_ms=0)),
        words.of_camera(
            Row(
                at_ms=0,
                key="3",
                device="north-1",
                camera="dock",
                state="down",
                detail="connection refused",
                noticed_ms=600_000,
            )
        ),
        words.of_gap(
            Row(at_ms=0, key="4", device="north-1", cause="EVICTED", cameras=3, end_ms=7_200_000)
        ),
        words.of_audit(
            Row(
                at_ms=0,
                key="5",
                actor="ada",
                action="device.revoke",
                target="north-1",
                detail=b'{"reason": "stolen on Friday"}',
            )
        ),
        words.of_audit(
            Row(at_ms=0, key="6", actor="ada", action="thumbnail.ask", target="north-1/dock")
        ),
    ]
    dated = [
        msgspec.structs.replace(
            one,
            at_ms=NOW_MS - n * 3_100_000,
            end_ms=one.end_ms and NOW_MS - n * 3_100_000 + one.end_ms,
        )
        for n, one in enumerate(entries)
    ]
    return timeline_of((dated, "further"), "/sites/north/devices/north-1", "6h", "", "")


def cameras(*states: str, name: str = "") -> list[CameraRow]:
    """Return cameras in these states, on one device."""
    return [
        specimens.camera_row(
            state,
            camera=f"{state}-{n}",
            name=name,
            device="north-1",
            site="north",
            key="dark" if state == "revoked" else "",
        )
        for n, state in enumerate(states)
    ]


def device(
    state: str, *states: str, problems: list[str] | None = None, name: str = ""
) -> DeviceRow:
    """Return a device's row in this state, with cameras in `states`."""
    return specimens.device_row(
        state,
        device="north-1",
        site="north",
        cameras=cameras(*states, name=name),
        problems=problems or [],
    )


def _page(found: DeviceView, page: Page, **shown: str) -> str:
    may = May(operate=True, administer=True)
    line = happened() if found.report else Timeline()
    return present.device_html(
        found, Shown(may=may, timeline=line, asked=ASKED if line.entries else [], **shown), page
    )


def _hostile(page: Page) -> str:
    report = msgspec.structs.replace(
        health(),
        version=HOSTILE,
        pipeline=PipelineHealth(running=False, last_exit=HOSTILE),
        config_version=HOSTILE,
    )
    row = device("ok", "down", "degraded", problems=[HOSTILE], name=HOSTILE)
    of = machine(report=report, hardware=HOSTILE, version=HOSTILE)
    return _page(view(row, report, of), page)


LOG: Final = """\
agent     2026-03-02T09:58:02.114  info  vedette.edge.agent  agent.started  started  version=0.2.0
pipeline  2026-03-02T09:58:04.220  warning  vedette.edge.capture  capture.lost  lost  camera=dock
pipeline  2026-03-02T09:59:31.002  error  vedette.edge.pipeline  pipeline.refused  no such model
    | Traceback (most recent call last):
    |   ConfigError: there is no model a@2
a line that is no entry, <b>with markup</b>
"""
NETWORK: Final = NetworkAnswer(
    host="central.example.com",
    port=443,
    dns_ms=14.0,
    addresses=[
        Address(
            address="192.0.2.7",
            connect_ms=41.0,
            tls_ms=96.0,
            tls_version="TLSv1.3",
            certificate_until="2026-09-01",
            mtu_bytes=1500,
            kernel_rtt_ms=40.0,
        ),
        Address(address="2001:db8::7", trouble="no route to host"),
    ],
    round_trips_ms=[38.0, 41.0, 44.0, 310.0],
    up=Speed(sent_bytes=4_000_000, seconds=8.0, mbit_s=4.0),
    down=Speed(trouble="not measured: the windows allow 64 kbit/s now"),
    cap_kbit_s=64.0,
    hops=[Hop(ttl=1, address="192.168.1.1", ms=1.2), Hop(ttl=2, address="")],
)
CONFIG: Final = ConfigAnswer(
    config={
        "uplink": {"url": "https://central.example.com", "backfill_kbit_s": 4096},
        "cameras": [{"name": "door", "source": "rtsp://camera-3.local/stream"}],
    },
    documents=[
        Document(
            name="policy", signer="site", version=3, issued_ms=NOW_MS - 9_000_000, keyids=["ab12cd"]
        )
    ],
    origins=[Origin(part="cameras", signer="site")],
    problems=["zones of camera attic: there is no such camera"],
)
DOCTOR: Final = DoctorAnswer(
    verdict="warning",
    findings=[
        DoctorFinding(about="disk", check="space", verdict="ok", detail="41 GB free"),
        DoctorFinding(
            about="clock",
            check="NTP",
            verdict="warning",
            detail="nobody sets it",
            advice="apt install systemd-timesyncd",
        ),
        DoctorFinding(about="camera door", check="opens", verdict="failed", detail=HOSTILE),
    ],
)


def question(kind: str, state: str = "answered", **more: object) -> Diagnostic:
    """Return a question in this state."""
    made = Diagnostic(
        request="rq-1",
        device="north-1",
        kind=kind,
        camera="",
        asked_by="ada",
        asked_ms=NOW_MS - 60_000,
        expires_ms=NOW_MS + 840_000,
        answered_ms=NOW_MS - 20_000 if state in {"answered", "refused"} else None,
        lines=500 if kind == "log" else 0,
        with_cameras=False,
        content_type="",
        refused="",
        size_bytes=1204 if state == "answered" else None,
        state=state,
    )
    return msgspec.structs.replace(made, **more)


ASKED: Final = [
    question("network", "waiting"),
    question("log"),
    question("doctor", "refused", refused="the site's policy does not allow doctor"),
    question("config", "expired"),
    question("thumbnail", camera="dock"),
]


def _answer(page: Page, kind: str, body: bytes = b"", state: str = "answered") -> str:
    shown = answers.read(kind, body) if body else None
    return present.answer_html(machine(), question(kind, state), shown, page)


def _confirm(page: Page, action: str, **more: str) -> str:
    suspect = Suspect(
        device="north-1",
        site="north",
        quarantined_ms=NOW_MS - 9_000_000,
        evidence=Evidence(
            why="two boots speak in turn",
            since_ms=NOW_MS - 9_100_000,
            noticed_ms=NOW_MS - 9_000_000,
            copies=[
                Copy(copy="boot-2c1/1", address="192.0.2.7", since_ms=NOW_MS, seen_ms=NOW_MS),
                Copy(copy="boot-9f0/1", address="", since_ms=NOW_MS, seen_ms=NOW_MS),
            ],
        ),
        set_aside=[
            Aside(copy="boot-2c1/1", messages=1204, bytes=812_000, from_ms=NOW_MS, to_ms=NOW_MS)
        ],
    )
    asked = Confirm(machine=machine(), action=action, suspect=suspect, **more)
    return confirming.confirm_html(asked, page)


PATTERNS: Final[dict[str, Callable[[Page], str]]] = {
    "device": lambda page: _page(
        view(device("ok", "ok", "ok"), health(), machine(report=health())), page, done="picture"
    ),
    "device-hot": lambda page: _page(
        view(
            device("ok", "down", "tampered", "ok", problems=["disk 94 % full"]),
            health(hot=True),
            machine(report=health()),
            hot=True,
        ),
        page,
        problem="north-1 has 8 open questions: wait until it has answered",
    ),
    "device-dark": lambda page: _page(
        view(
            device("dark", "dark", "dark"),
            health(),
            machine("dark", health(), last_contact_ms=NOW_MS - 12_240_000),
        ),
        page,
    ),
    "device-never": lambda page: _page(view(device("never"), None, machine("never")), page),
    "device-revoked": lambda page: _page(
        view(
            device("revoked", "revoked"),
            None,
            machine(revoked_ms=NOW_MS - specimens.DAY_MS, revoked_reason="stolen on Friday"),
        ),
        page,
    ),
    "device-hostile": _hostile,
    "device-waiting": lambda page: _answer(page, "network", state="waiting"),
    "device-log": lambda page: _answer(page, "log", LOG.encode()),
    "device-network": lambda page: _answer(page, "network", msgspec.json.encode(NETWORK)),
    "device-config": lambda page: _answer(page, "config", msgspec.json.encode(CONFIG)),
    "device-doctor": lambda page: _answer(page, "doctor", msgspec.json.encode(DOCTOR)),
    "device-release": lambda page: _confirm(page, "release", problem="nothing is set aside"),
    "device-replaced": lambda page: _confirm(page, "replace", token="cl-5d1c9a3007" * 4),
}
