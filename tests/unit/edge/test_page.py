"""The device's own page and metrics: only what was reported, nothing that steers a browser."""

import http.client
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from vedette.clock import ManualClock, SystemClock, wall_ms
from vedette.edge.page import html
from vedette.edge.page.metrics import Exposition
from vedette.edge.page.serve import AT_ONCE, LocalPage, is_named_here
from vedette.edge.settings import Camera, CentralLink, EdgeConfig, LocalMetrics
from vedette.sim.faults import wait_until
from vedette.stats.sketch import ExpHistogram
from vedette.wire.messages import (
    CameraHealth,
    Drop,
    Frames,
    HealthReport,
    ModelHealth,
    NetworkHealth,
    PipelineHealth,
    SpoolHealth,
    State,
    SystemHealth,
)


def report(at_ms: int = 1_000_000, **changes: object) -> HealthReport:
    """Return a report of a device with one camera, about which not everything was measured."""
    times = ExpHistogram()
    times.add_many([0.0, 0.9, 4.0, 40.0, 4_000.0])
    door = CameraHealth(
        camera="door",
        state=State.TAMPERED,
        since_ms=at_ms - 60_000,
        frames=Frames(captured=10, analysed=6, gated=3, dropped={Drop.STALE: 1}),
        rate_fps=4.5,
        stage_ms={"total": times.to_wire()},
        last_frame_ms=at_ms - 500,
        advice=["clean the lens"],
    )
    fields: dict[str, object] = {
        "at_ms": at_ms,
        "period_s": 30.0,
        "version": "1.2",
        "system": SystemHealth(
            temperatures_c={"soc": 61.5}, throttle_flags=None, cpu_fraction=0.25
        ),
        "pipeline": PipelineHealth(running=True, restarts=2, cameras=[door]),
        "models": [ModelHealth(model="m", inferences=6, failures=1, golden_ok=True)],
        "network": NetworkHealth(sent_bytes=100, requests=2, last_contact_ms=at_ms - 5_000),
        "spool": SpoolHealth(depth={"alert": 0, "live": 7}, bytes=2**20, quota_bytes=2**30),
    }
    return HealthReport(**(fields | changes))  # type: ignore[arg-type]


def samples(exposition: Exposition) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return what a scraper reads, by name and label values in the order of the labels' names."""
    body, content_type = exposition.text("")
    assert content_type.startswith("text/plain")
    return {
        (sample.name, tuple(v for _, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_two_reports_add_up_and_states_are_the_last_ones() -> None:
    """Counters grow by each report; a gauge is what the newest one says."""
    exposition = Exposition()
    exposition.take(report())
    exposition.take(report(2_000_000, spool=SpoolHealth(depth={"live": 3})))
    found = samples(exposition)
    assert found["vedette_camera_frames_total", ("door", "captured")] == 20
    assert found["vedette_camera_dropped_frames_total", ("door", "stale")] == 2
    assert found["vedette_model_failures_total", ("m",)] == 2
    assert found["vedette_uplink_sent_bytes_total", ()] == 200
    assert found["vedette_spool_messages", ("live",)] == 3
    assert found["vedette_camera_state", ("door", "tampered")] == 1
    assert found["vedette_camera_state", ("door", "ok")] == 0
    assert found["vedette_temperature_celsius", ("soc",)] == 61.5


def test_buckets_are_cumulative_in_seconds_and_end_with_all() -> None:
    """Of five, two are within a millisecond, three within 5, four within 50."""
    exposition = Exposition()
    exposition.take(report())
    found = samples(exposition)

    def at(bound: str) -> float:
        return found["vedette_stage_seconds_bucket", ("door", bound, "total")]

    assert [at("0.001"), at("0.005"), at("0.05"), at("2.0"), at("+Inf")] == [2, 3, 4, 4, 5]
    assert found["vedette_stage_seconds_count", ("door", "total")] == 5
    assert found["vedette_stage_seconds_sum", ("door", "total")] == pytest.approx(4.0449)


def test_what_was_not_measured_has_no_sample() -> None:
    """No GPU, no throttle flags, no report at all: nothing is said, never zero."""
    assert samples(Exposition()) == {}
    exposition = Exposition()
    exposition.take(report())
    names = {name for name, _ in samples(exposition)}
    assert "vedette_cpu_ratio" in names
    assert not names & {"vedette_gpu_ratio", "vedette_throttled", "vedette_power_watts"}
    assert "vedette_spool_oldest_timestamp_seconds" not in names


def test_labels_from_outside_cannot_break_the_format() -> None:
    """A sensor's name with quotes and line breaks is one label value."""
    exposition = Exposition()
    evil = 'x"} 1\nvedette_up 1 # '
    exposition.take(report(system=SystemHealth(temperatures_c={evil: 40.0})))
    found = samples(exposition)
    assert found["vedette_temperature_celsius", (evil,)] == 40.0
    assert not any(name == "vedette_up" for name, _ in found)


def shown(one: HealthReport | None, now_ms: int = 1_002_000) -> str:
    """Return the page."""
    return html.page(
        one, device="closet-1", site="lisbon-3", now_ms=now_ms, has_central=True
    ).decode()


def test_the_page_says_state_age_and_what_to_do() -> None:
    """Shape, word, advice, how long ago, what is unknown."""
    page = shown(report(problems=["the disk is nearly full"]))
    for words in (
        "closet-1 at lisbon-3",
        "◆ tampered",
        "clean the lens",
        "the disk is nearly full",
        "last picture 2 s ago",
        "7 messages, 1.0 MB",
        "unknown: this machine cannot tell",
    ):
        assert words in page, words
    assert "Old:" not in page


def test_a_camera_that_is_down_is_told_with_its_reason() -> None:
    """Its own, as text and without a password; what it may be only where nothing is known."""
    told = "refused: <401> at rtsp://admin:hunter2@192.0.2.9/1"
    down = CameraHealth(camera="door", state=State.DOWN, since_ms=1_000_000, detail=told)
    page = shown(report(pipeline=PipelineHealth(running=True, cameras=[down])))
    assert "✕ down: refused: &lt;401&gt; at rtsp://" in page
    assert "hunter2" not in page
    assert "cable, power" not in page
    silent = CameraHealth(camera="door", state=State.DOWN, since_ms=1_000_000)
    page = shown(report(pipeline=PipelineHealth(running=True, cameras=[silent])))
    assert "✕ down: cable, power, address or password" in page


def test_an_old_report_is_said_to_be_old() -> None:
    """After three periods nobody may take it for now."""
    assert "✕ Old:" in shown(report(), now_ms=1_000_000 + 91_000)
    assert "Nothing was reported yet" in shown(None)


def test_nothing_from_a_report_becomes_markup() -> None:
    """Problems, sensors, hardware and advice are text."""
    evil = "<script>alert(1)</script>"
    page = shown(report(problems=[evil], system=SystemHealth(hardware=evil)))
    assert evil not in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalPage]:
    """A page that listens."""
    clock = ManualClock()
    config = EdgeConfig(
        state_dir=tmp_path,
        models_dir=tmp_path,
        central=CentralLink(url="https://central.example"),
        cameras=[Camera(id="door", name="Front door", source="x.mp4")],
        local_metrics=LocalMetrics(enabled=True, port=0),
    )
    page = LocalPage(config, clock, lambda: ("closet-1", "lisbon-3"))
    page.take(report(wall_ms(clock.now_at())))
    yield page
    page.close()


def ask(page: LocalPage, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    """Return (status, headers, body)."""
    assert page.port
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    found = (answer.status, dict(answer.getheaders()), answer.read().decode())
    connection.close()
    return found


def test_a_phone_and_a_scraper_are_answered(local: LocalPage) -> None:
    """The page with its policy, which allows exactly its own style; metrics; nothing else."""
    status, headers, body = ask(local, "/")
    assert (status, "Front door" in body) == (200, True)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert len(re.findall("<style>", body)) == 1
    status, headers, body = ask(local, "/metrics")
    assert status == 200
    assert 'vedette_camera_state{camera="door",state="tampered"} 1.0' in body
    assert ask(local, "/etc/passwd")[0] == 404


def test_another_sites_name_for_this_address_is_refused(local: LocalPage) -> None:
    """DNS rebinding: a browser that was tricked to our address names a host that is not ours."""
    assert ask(local, "/", Host="evil.example")[0] == 403
    assert ask(local, "/metrics", Host="evil.example:9188")[0] == 403
    assert ask(local, "/", Host="localhost:9188")[0] == 200
    assert is_named_here("[fe80::1]:9188")
    assert is_named_here("192.0.2.7")
    assert not is_named_here("192.0.2.7.evil.example")


def test_idle_connections_do_not_shut_out_the_next_visitor(local: LocalPage) -> None:
    """More idle ones than there are places: they are let go, and the page answers in the end."""
    assert local.port
    idle = [socket.create_connection(("127.0.0.1", local.port)) for _ in range(AT_ONCE)]
    extra = socket.create_connection(("127.0.0.1", local.port), timeout=10)
    assert extra.recv(1) == b""  # no place: let go at once
    for one in idle:
        one.close()
    extra.close()

    def answers() -> bool:
        try:
            return ask(local, "/")[0] == 200
        except (http.client.HTTPException, ConnectionError):
            return False

    wait_until("the page answers", answers, SystemClock(), timeout_s=20.0)


def test_a_taken_port_is_a_problem_in_words_and_no_crash(tmp_path: Path, local: LocalPage) -> None:
    """The agent goes on without a page, and says why."""
    config = EdgeConfig(
        state_dir=tmp_path,
        models_dir=tmp_path,
        local_metrics=LocalMetrics(enabled=True, host="127.0.0.1", port=local.port or 0),
    )
    second = LocalPage(config, ManualClock(), lambda: ("", ""))
    assert second.port is None
    assert "cannot listen on 127.0.0.1" in second.problem
    second.take(report())
    second.close()
