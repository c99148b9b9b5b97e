"""Run every benchmark, one after the other, and write what they found into benchmarks/README.md.

    make bench                        all of them
    make bench ARGS=pipeline          only those whose name holds the word
    make bench ARGS=--report          none: write the page from the results that are there

Each benchmark runs in a process of its own and writes benchmarks/results/<topic>.json; here they
are only started, timed and summed up. One that fails is told and does not stop the others; the
exit status is the number that failed.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
RESULTS: Final = HERE / "results"
PAGE: Final = HERE / "README.md"
LIMIT_S: Final = 900
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

Row = tuple[str, str, str]
HEADLINES: Final[dict[str, tuple[Row, ...]]] = {
    "incidents": (
        ("a backlog of 10,000 events: incidents an hour", "ceiling/an_hour", "/h"),
        ("… CPU for each", "ceiling/cpu_ms_each", "ms"),
        (
            "one event beside 10,000 open incidents: to its delivery's row",
            "paced/event_to_delivery_row_ms",
            "ms",
        ),
        ("… a turn in which nothing happened", "paced/empty_turn_ms", "ms"),
        ("1,000 steps due within 20 s: decided late by", "ladder/late_ms", "ms"),
        ("workers killed under load", "kills/kills", ""),
        ("… deliveries decided", "kills/deliveries", ""),
        ("… ids that receivers saw", "kills/ids_received", ""),
        ("… with two contents", "kills/ids_with_two_contents", ""),
    ),
    "channels": (
        ("a notice: from its commit to a webhook's receiver", "paced_ms", "ms"),
        ("… CPU for each, the put counted", "paced_cpu_ms_each", "ms"),
        ("… beside a receiver that never answers", "beside_hanging_ms", "ms"),
        ("a backlog of 1,000 to four webhooks: CPU for each", "backlog_cpu_ms_each", "ms"),
    ),
    "delta": (
        (
            "program of 86 MB, one module in 20 changed: saved of the download",
            "program/saved",
            "share",
        ),
        ("… the delta applied, hash included", "program/cpu_ms/delta", "CPU ms"),
        ("… by zstd --patch-from", "program/cpu_ms/zstd --patch-from", "CPU ms"),
        ("… peak memory of applying", "program/peak_mb/delta", "MB"),
        ("… of zstd --patch-from", "program/peak_mb/zstd --patch-from", "MB"),
        ("model bundle, threshold changed: saved", "model, threshold/saved", "share"),
        ("model bundle, every weight moved: saved", "model, retrained/saved", "share"),
    ),
    "rollout": (
        ("10,000 devices, one tick: last wave begins", "tick/last wave begins, ms", "CPU ms"),
        ("… soaks, bad events and latency judged", "tick/last wave soaks, ms", "CPU ms"),
        (
            "good rollout, 2 canaries of 200: stopped in 72 h by the e-process",
            "counts/clustered, 2 of 200, 1×/e-process/stopped_72h",
            "share",
        ),
        (
            "… by a repeated z-test",
            "counts/clustered, 2 of 200, 1×/z-test, repeated/stopped_72h",
            "share",
        ),
        (
            "… by more than twice the controls",
            "counts/clustered, 2 of 200, 1×/> 2 × controls/stopped_72h",
            "share",
        ),
        (
            "ten times as bad, 2 canaries of 200: stopped in 24 h by the e-process",
            "counts/clustered, 2 of 200, 10×/e-process/stopped_24h",
            "share",
        ),
        ("… median time", "counts/clustered, 2 of 200, 10×/e-process/median_h", "h"),
        ("whole rollouts, 200 devices, good: done", "rollouts/200 devices, 1×/done", "share"),
        ("… stopped for nothing", "rollouts/200 devices, 1×/stopped", "share"),
        (
            "… one kind of bad event ten times: stopped",
            "rollouts/200 devices, 10×/stopped",
            "share",
        ),
        ("… after", "rollouts/200 devices, 10×/median_stop_h", "h"),
        ("… twice as slow: stopped", "slower/200 devices, 2× as long/stopped", "share"),
    ),
    "rollout_fleet": (
        (
            "200 simulated devices take a good model: done, simulated",
            "runs/200 devices, good, one of each fault/hours",
            "h",
        ),
        ("… wall time", "runs/200 devices, good, one of each fault/wall_s", "s"),
        ("… processor time", "runs/200 devices, good, one of each fault/cpu_s", "s"),
        (
            "200 take a bad one, without shadow: back, simulated",
            "runs/200 devices, bad, no shadow, faults/hours",
            "h",
        ),
        ("… devices that ever ran it", "runs/200 devices, bad, no shadow, faults/touched", ""),
    ),
    "swap": (
        ("3 cameras × 5 fps: longest gap between results in peace", "peace/gap_max_ms", "ms"),
        ("… while another model is loaded and swapped in", "there/gap_max_ms", "ms"),
        ("loading, proving, golden frames", "there/load_and_golden_s", "s"),
        ("frames that failed for it", "frames/failed", ""),
        ("p95 age of a result without a candidate in shadow", "shadow/without/age_p95_ms", "ms"),
        ("… with one on every fifth picture", "shadow/with/age_p95_ms", "ms"),
    ),
    "console": (
        ("first page, 600 cameras × 90 days: over the wire", "first page/wire_bytes", "B"),
        ("… loaded", "first page/loaded_ms", "ms"),
        ("2,000 sites: CPU of central and database for the list", "large/list/page/cpu_ms", "ms"),
        ("… elements in the page", "large/list/elements", ""),
        ("… frames while scrolling", "large/list/scroll_frame_ms", "ms"),
        ("… as a grid: frames while scrolling", "large/grid/scroll_frame_ms", "ms"),
        ("… palette: letter to answer", "large/palette_ms", "ms"),
    ),
    "pipeline": (
        ("whole pipeline on a file, 2 inference threads", "throughput/pipeline", "frames/s"),
        ("bare decode + conversion + inference, same threads", "throughput/bare", "frames/s"),
        ("… pipeline ÷ bare, per round", "throughput/pipeline_of_bare", "×"),
        ("CPU per frame, whole pipeline", "cpu/pipeline", "ms"),
        ("CPU per frame, plain OpenCV + ONNX Runtime loop", "cpu/opencv loop", "ms"),
        ("… pipeline ÷ plain loop, per round", "cpu/pipeline_of_opencv_loop", "×"),
        (
            "… pipeline ÷ as many plain loops at once, per round",
            "cpu/pipeline_of_opencv_loops_at_once",
            "×",
        ),
        (
            "CPU per frame of everything but decode, conversion and inference",
            "cpu/by stage/everything but decode, conversion and inference",
            "ms",
        ),
        ("capture → event, 1 RTSP camera at 5 fps", "live/1 camera/capture to event", "ms"),
        ("capture → event, 3 RTSP cameras at 5 fps", "live/3 cameras/capture to event", "ms"),
        ("sent → tracks, 3 RTSP cameras", "live/3 cameras/sent to tracks", "ms"),
        ("sent → result, 3 plain loops", "live/3 cameras/sent to result, plain loop", "ms"),
        ("sent by the camera → capture, in the pipeline", "live/1 camera/sent to capture", "ms"),
    ),
    "fleet": (
        ("10,000 devices in step: p99 of the acknowledgement", "steady/ack_ms/p99", "ms"),
        ("… share of the machine, client included", "steady/share_of_machine", "×"),
        ("closed loop, reports of four cameras", "ceiling/ours/reports_per_s", "/s"),
        ("… ÷ FastAPI with one INSERT per report", "ceiling/times_plain", "×"),
        ("… the same by CPU time", "ceiling/times_plain_by_cpu", "×"),
        ("return of 1,000 devices: drained", "storm/drained_per_s", "/s"),
        ("… p99 of live reports meanwhile", "storm/ack_ms/p99", "ms"),
    ),
    "rtsp": (
        ("sent → packet at 5 fps, own RTSP client", "5 fps/own client/sent to packet, ms", "ms"),
        ("sent → packet at 5 fps, FFmpeg's", "5 fps/FFmpeg/sent to packet, ms", "ms"),
        ("CPU per 720p packet at 5 fps, own client", "5 fps/own client/CPU per packet, ms", "ms"),
        ("CPU per 720p packet at 5 fps, FFmpeg's", "5 fps/FFmpeg/CPU per packet, ms", "ms"),
        ("CPU per 720p packet at 25 fps, own client", "25 fps/own client/CPU per packet, ms", "ms"),
        ("CPU per 720p packet at 25 fps, FFmpeg's", "25 fps/FFmpeg/CPU per packet, ms", "ms"),
    ),
    "peers": (
        (
            "Vedette, ONNX Runtime ÷ plain loop, ONNX Runtime, frames/s",
            "ratios/Vedette, ONNX Runtime/plain loop, ONNX Runtime/fps",
            "×",
        ),
        (
            "Vedette, ONNX Runtime ÷ plain loop + ByteTrack, frames/s",
            "ratios/Vedette, ONNX Runtime/plain loop + ByteTrack/fps",
            "×",
        ),
        (
            "Vedette, ONNX Runtime ÷ ultralytics track, frames/s",
            "ratios/Vedette, ONNX Runtime/ultralytics track/fps",
            "×",
        ),
        (
            "Vedette, ONNX Runtime ÷ Roboflow InferencePipeline, frames/s",
            "ratios/Vedette, ONNX Runtime/Roboflow InferencePipeline/fps",
            "×",
        ),
        (
            "Vedette, OpenVINO FP32 ÷ Model API async, FP32, frames/s",
            "ratios/Vedette, OpenVINO FP32/Model API async, FP32/fps",
            "×",
        ),
        (
            "Vedette, OpenVINO FP32 ÷ OpenVINO queue by hand, FP32, frames/s",
            "ratios/Vedette, OpenVINO FP32/OpenVINO queue by hand, FP32/fps",
            "×",
        ),
        (
            "Vedette, OpenVINO BF16 ÷ Model API async, BF16, frames/s",
            "ratios/Vedette, OpenVINO BF16/Model API async, BF16/fps",
            "×",
        ),
        (
            "Vedette, OpenVINO BF16 ÷ OpenVINO queue by hand, BF16, frames/s",
            "ratios/Vedette, OpenVINO BF16/OpenVINO queue by hand, BF16/fps",
            "×",
        ),
        (
            "Vedette, OpenVINO INT8 ÷ Model API async, INT8, frames/s",
            "ratios/Vedette, OpenVINO INT8/Model API async, INT8/fps",
            "×",
        ),
        (
            "Vedette, OpenVINO INT8 ÷ OpenVINO queue by hand, INT8, frames/s",
            "ratios/Vedette, OpenVINO INT8/OpenVINO queue by hand, INT8/fps",
            "×",
        ),
        (
            "live p50, due → result: plain loop, ONNX Runtime",
            "live_ms/plain loop, ONNX Runtime/p50",
            "ms",
        ),
        (
            "live p50, due → result: Vedette, ONNX Runtime",
            "live_ms/Vedette, ONNX Runtime/p50",
            "ms",
        ),
    ),
    "runtimes": (
        (
            "CenterNet: OpenVINO float32, times as fast as ONNX Runtime float32",
            "centernet/times_as_fast_by_cpu/openvino float32",
            "×",
        ),
        (
            "CenterNet: ONNX Runtime int8, times as fast as ONNX Runtime float32",
            "centernet/times_as_fast_by_cpu/onnxruntime int8",
            "×",
        ),
        (
            "CenterNet: OpenVINO int8, times as fast as ONNX Runtime float32",
            "centernet/times_as_fast_by_cpu/openvino int8",
            "×",
        ),
        (
            "layers of YOLOv8n: OpenVINO float32, times as fast as ONNX Runtime float32",
            "yolov8n-shaped 320/times_as_fast_by_cpu/openvino float32",
            "×",
        ),
        (
            "layers of YOLOv8n: ONNX Runtime int8, times as fast as ONNX Runtime float32",
            "yolov8n-shaped 320/times_as_fast_by_cpu/onnxruntime int8",
            "×",
        ),
        (
            "layers of YOLOv8n: OpenVINO int8, times as fast as ONNX Runtime float32",
            "yolov8n-shaped 320/times_as_fast_by_cpu/openvino int8",
            "×",
        ),
    ),
    "capture": (
        ("CPU per 720p picture, bare decode", "PyAV decode, 1 thread", "ms"),
        ("CPU per 720p picture, capture with all frames", "capture, all frames", "ms"),
        ("CPU per 720p picture, keyframes only", "capture, keyframes only", "ms"),
    ),
    "decode": (
        ("decode 720p to a model's tensor", "cpu_ms/ours: decode to tensor", "ms"),
        ("… `cv2.VideoCapture.read` alone", "cpu_ms/cv2 read", "ms"),
        ("… ours ÷ OpenCV's read, per round", "ours_of_cv2_read", "×"),
        ("… the same without the loop filter", "without_filter_of_cv2_read", "×"),
    ),
    "preprocess": (
        (
            "1080p to 512×512, planes first",
            "threads_1/1920x1080 to 512x512 NHWC stretch/planes_first",
            "ms",
        ),
        (
            "1080p to 512×512, full BGR first",
            "threads_1/1920x1080 to 512x512 NHWC stretch/full_bgr_first",
            "ms",
        ),
    ),
    "inference": (
        ("one inference, bare ONNX Runtime", "bare_ms", "ms"),
        ("one inference, `Model.detect`", "whole_ms", "ms"),
    ),
    "heads": (
        ("decode YOLOv8 84×8400, threshold 0.4", "threshold 0.4/yolov8 84×8400", "CPU ms"),
        ("… the usual NumPy + OpenCV way", "threshold 0.4/the usual way, 84×8400", "CPU ms"),
        ("decode YOLOv8, 0.1 with 840 candidates", "threshold 0.1/yolov8 84×8400", "CPU ms"),
        ("decode YOLOv5 25200×85, threshold 0.4", "threshold 0.4/yolov5 25200×85", "CPU ms"),
        ("decode DETR 300×80, threshold 0.4", "threshold 0.4/detr 300×80", "CPU ms"),
    ),
    "tracker": (
        ("tracker, 10 objects", "update/10", "ms"),
        ("tracker, 50 objects", "update/50", "ms"),
        ("tracker, 200 objects", "update/200", "ms"),
    ),
    "quality": (
        ("quality of one picture, 768×576", "cost/quality, with noise and blocks", "CPU ms"),
        ("tampering, one picture", "cost/tampering, with a pinned scene", "CPU ms"),
    ),
    "shelf": (
        ("shelf, nobody there, 640×360", "cpu_ms/idle, 640x360", "CPU ms"),
        ("shelf, nobody there, 1080p", "cpu_ms/idle, 1920x1080", "CPU ms"),
        ("picks, rendered scenes: precision, 95 % interval", "boxes/precision", "share"),
        ("picks, rendered scenes: recall, 95 % interval", "boxes/recall", "share"),
        ("… nobody detected: precision", "no boxes/precision", "share"),
        ("… nobody detected: recall", "no boxes/recall", "share"),
    ),
    "evidence": (
        ("evidence clip of 10 s remuxed", "remux to MP4/wall", "ms"),
        ("whole evidence package, fsync included", "whole package, fsync included/wall", "ms"),
        ("… CPU alone", "whole package, fsync included/cpu", "ms"),
        ("… the agent's signature on it, CPU", "signing it, fsync included/cpu", "ms"),
        ("… with a keyframe every 10 s, CPU alone", "the same, a keyframe every 10 s/cpu", "ms"),
        ("blurred copy of 10 s at 720p, people, CPU", "blurred copy, people/cpu", "ms"),
        ("… the whole picture, CPU", "blurred copy, whole picture/cpu", "ms"),
    ),
    "spool": (
        ("an alert made durable", "durable_alert_ms", "ms"),
        ("… one bare SQLite row, synced", "bare_durable_row_ms", "ms"),
        ("group commit", "group_commit_messages_per_s", "messages/s"),
    ),
    "alert_latency": (
        ("3 cameras: picture to a webhook, by central", "ms/by central: picture to receiver", "ms"),
        ("… from the device itself", "ms/by the device: picture to receiver", "ms"),
        (
            "… from the device, central away",
            "ms/by the device, central away: picture to receiver",
            "ms",
        ),
        (
            "… of it: central has the event until the notice is decided",
            "ms/by central: central to notice",
            "ms",
        ),
    ),
    "agent": (
        ("CPU of the agent at rest, of one core", "agent/cpu_percent_of_a_core", "%"),
        ("memory of the agent at rest (RSS)", "agent/rss_mb", "MB"),
        ("written by the agent a day, a report every 30 s", "agent/written_mb_per_day", "MB"),
    ),
    "queries": (
        ("fleet page, 600 cameras", "queries/fleet page: every strip and count", "ms"),
        ("camera page, 24 hours", "queries/camera page, 24 hours", "ms"),
        ("camera page, 90 days", "queries/camera page, 90 days", "ms"),
        ("600 cameras, worst coverage of 7 days", "queries/worst first: coverage, 7 days", "ms"),
        (
            "600 cameras, visits by day, 90 days",
            "queries/visits of the fleet by day, 90 days",
            "ms",
        ),
        (
            "600 cameras, coverage by site and month, 90 days",
            "queries/coverage by site and month, 90 days",
            "ms",
        ),
        ("heatmap of a camera, 30 days", "queries/heatmap of a camera, 30 days", "ms"),
        ("dwell of a site, 90 days", "queries/dwell of a site, 90 days", "ms"),
        (
            "600 cameras, visits by site while open, 30 days",
            "queries/visits by site while open, 30 days",
            "ms",
        ),
        ("600 cameras, p99 of 90 days", "queries/latency p99 of the fleet, 90 days", "ms"),
        (
            "600 cameras, p95 of each of 90 days",
            "queries/latency p95 of the fleet by day, 90 days",
            "ms",
        ),
        (
            "600 cameras, confidence by model, 90 days",
            "queries/confidence by model, fleet, 90 days",
            "ms",
        ),
        (
            "a camera by minute, 24 hours",
            "queries/occupancy of a camera by minute, 24 hours",
            "ms",
        ),
        ("a site by minute, 24 hours", "queries/visits of a site by minute, 24 hours", "ms"),
        (
            "600 cameras by minute, 1 hour (asked again)",
            "queries/visits of the fleet by minute, 1 hour",
            "ms",
        ),
    ),
    "ingest": (
        ("durable reports, 1 per request", "ways/vedette, 1 per batch/reports_per_s", "reports/s"),
        (
            "durable reports, 20 per request",
            "ways/vedette, 20 per batch/reports_per_s",
            "reports/s",
        ),
        ("… one INSERT per request", "ways/naive/reports_per_s", "reports/s"),
    ),
}


def asked(arguments: list[str] | None = None) -> list[Path]:
    """Return the benchmarks that the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py",
        description="Run benchmarks, and write what they found into benchmarks/README.md.",
    )
    parser.add_argument("word", nargs="*", help="run only those whose name holds a WORD")
    parser.add_argument("--report", action="store_true", help="run none: write the page anew")
    said = parser.parse_args(arguments)
    scripts = [] if said.report else sorted(HERE.glob("bench_*.py"))
    found = [s for s in scripts if not said.word or any(word in s.stem for word in said.word)]
    if said.word and not found and not said.report:
        parser.error(f"no benchmark is named like {' or '.join(said.word)}")
    return found


def main() -> int:
    scripts = asked()
    failed = [
        script.stem for n, script in enumerate(scripts, 1) if not run(script, n, len(scripts))
    ]
    lines = table()
    print("\n".join(["", *lines]))
    write_page(lines)
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return len(failed)


def run(script: Path, number: int, count: int) -> bool:
    """Run one benchmark; True where it succeeded."""
    print(f"\n[{number}/{count}] {script.stem}", flush=True)
    began_s = time.monotonic()
    try:
        ended = subprocess.run([sys.executable, str(script)], timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        word = "took too long"
    else:
        word = "done" if ended.returncode == 0 else f"failed ({ended.returncode})"
    took_s = time.monotonic() - began_s
    print(f"[{number}/{count}] {script.stem}: {word}, {took_s:.0f} s", flush=True)
    return word == "done"


def table() -> list[str]:
    """Return the headlines as lines of a table; what was not measured is said."""
    lines = ["| what | p50 | p95 | p99 | unit |", "|---|--:|--:|--:|---|"]
    for topic, rows in HEADLINES.items():
        found = results(topic)
        if found is None:
            lines.append(f"| {topic}: not measured yet | | | | |")
            continue
        for words, path, unit in rows:
            cells = " | ".join(numbers(found, path))
            lines.append(f"| {words} | {cells} | {unit} |")
    return lines


def results(topic: str) -> dict[str, Any] | None:
    """Return what a benchmark wrote, or None."""
    path = RESULTS / f"{topic}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def numbers(found: dict[str, Any], path: str) -> tuple[str, str, str]:
    """Return p50, p95, p99 at a path; a single number stands under p50."""
    at: Any = found
    for key in path.split("/"):
        at = at.get(key) if isinstance(at, dict) else None
    if isinstance(at, dict):
        return tuple(str(at.get(q, at.get(f"{q}_ms", "–"))) for q in ("p50", "p95", "p99"))  # pyright: ignore[reportReturnType]
    return ("–" if at is None else str(at), "", "")


def machines() -> list[str]:
    """Return, per topic, where its figures were measured."""
    lines = []
    for topic in HEADLINES:
        found = results(topic) or {}
        words = [
            f"{key} {text}" if key not in {"machine", "versions"} else text
            for key in ("machine", "versions", "python", "postgresql", "sqlite", "model", "clip")
            if (text := flat(found.get(key)))
        ]
        if words:
            lines.append(f"- {topic}: {'; '.join(words)}")
    return lines


def flat(value: Any) -> str:
    """Return a value in one line of words."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return "" if value is None else str(value)


def write_page(lines: list[str]) -> None:
    """Put the figures between their marks in the page."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    made = "\n".join([BEGIN, *lines, "", "Measured on:", "", *machines(), END])
    PAGE.write_text(before + made + after)


if __name__ == "__main__":
    sys.exit(main())
