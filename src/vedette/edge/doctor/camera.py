"""What the doctor says of one camera, after having opened it and looked.

`look_at` does the looking; `judge_stream` and `judge_picture` are pure. Only findings come out: a
camera that does not answer is one of them.
"""

from collections.abc import Callable
from typing import Final

from vedette.clock import NS_PER_S, Clock
from vedette.edge.doctor.eye import Eye, Sighting
from vedette.edge.doctor.finding import Finding, Verdict
from vedette.edge.frame import Frame
from vedette.edge.settings import Camera, EvidenceSettings
from vedette.logs import redact_url
from vedette.vision.quality import QualityVerdict, assess

LOOK_S: Final = 6.0
FIRST_PICTURE_S: Final = 12.0
SLOW_FIRST_PICTURE_S: Final = 5.0
WASTE_FACTOR: Final = 3.0
"""A stream with so many times the pictures that are looked at costs decoding for nothing."""

KEPT: Final = 6
"""So many pictures of a camera are kept for a closer look when the models are there."""

_CODECS: Final = frozenset({"h264", "hevc", "mjpeg", "rawvideo"})

Progress = Callable[[float], None]
Keep = Callable[[Frame], None]


def look_at(
    camera: Camera,
    evidence: EvidenceSettings,
    clock: Clock,
    *,
    look_s: float = LOOK_S,
    progress: Progress = lambda _part: None,
    keep: Keep = lambda _frame: None,
) -> list[Finding]:
    """Open the camera, look for `look_s` after the first picture, and return what is to be said.

    Args:
        camera: With a source.
        evidence: For whether its stream fits what is kept for clips.
        clock: Time.
        look_s: How long.
        progress: Told the part that is done, 0 to 1.
        keep: Given `KEPT` pictures, spread over the look.

    Raises:
        ConfigError: The camera has no source.
    """
    verdict: QualityVerdict | None = None
    kept = 0
    with Eye(camera, clock) as eye:
        frame = eye.next(FIRST_PICTURE_S)
        began_ns = clock.mono_ns()
        while frame is not None:
            picture = frame.picture
            verdict = assess(picture.small_luma(), picture_px=picture.size, full=picture.y)
            looked_s = (clock.mono_ns() - began_ns) / NS_PER_S
            progress(min(1.0, looked_s / look_s))
            if looked_s >= kept * look_s / KEPT:
                kept += 1
                keep(frame)
            if looked_s >= look_s:
                break
            frame = eye.next(look_s)
        seen = eye.sighting()
    found = judge_stream(camera, evidence, seen)
    return found if verdict is None else [*found, *judge_picture(camera, verdict)]


def judge_stream(camera: Camera, evidence: EvidenceSettings, seen: Sighting) -> list[Finding]:
    """Return what is to be said of the stream."""
    where = redact_url(camera.source)
    if not seen.pictures or seen.picture_px is None:
        return [
            _finding(
                camera,
                "picture",
                Verdict.FAILED,
                f"{where}: {seen.problem}",
                "check cable, power, address, user and password; the reason says which",
            )
        ]
    width, height = seen.picture_px
    rate = "" if seen.rate_fps is None else f", {seen.rate_fps:.1f} pictures/s"
    bits = "" if seen.kbit_s is None else f", {seen.kbit_s:.0f} kbit/s"
    found = [
        _finding(camera, "picture", Verdict.OK, f"{seen.codec} {width}x{height}{rate}{bits}"),
        *_first_picture(camera, seen),
        *_rate(camera, seen),
        *_keyframes(camera, evidence, seen),
        *_ring(camera, evidence, seen),
    ]
    if seen.codec not in _CODECS:
        found.append(
            _finding(
                camera,
                "codec",
                Verdict.WARNING,
                f"{seen.codec} decodes here, but clips may not play in a browser",
                "set the camera to H.264",
            )
        )
    if seen.undecodable:
        found.append(
            _finding(
                camera,
                "decoding",
                Verdict.WARNING,
                f"{seen.undecodable} packets gave no picture",
                "look for packet loss between camera and device",
            )
        )
    return found


def judge_picture(camera: Camera, verdict: QualityVerdict) -> list[Finding]:
    """Return what is to be said of what the picture looks like."""
    if verdict.ok:
        measured = verdict.measured
        detail = f"brightness {measured.mean:.0f} of 255, contrast {measured.contrast:.0f}"
        return [_finding(camera, "quality", Verdict.OK, detail)]
    return [
        _finding(camera, "quality", Verdict.WARNING, problem, advice)
        for problem, advice in zip(verdict.problems, verdict.advice, strict=True)
    ]


def _first_picture(camera: Camera, seen: Sighting) -> list[Finding]:
    if seen.first_picture_s is None or seen.first_picture_s <= SLOW_FIRST_PICTURE_S:
        return []
    return [
        _finding(
            camera,
            "start",
            Verdict.WARNING,
            f"the first picture came after {seen.first_picture_s:.1f} s",
            "shorten the camera's keyframe interval (GOP) to 2 s or less",
        )
    ]


def _rate(camera: Camera, seen: Sighting) -> list[Finding]:
    if seen.rate_fps is None:
        detail = "too few pictures to tell their rate"
        return [_finding(camera, "rate", Verdict.UNKNOWN, detail)]
    if seen.rate_fps < 0.8 * camera.max_fps:
        return [
            _finding(
                camera,
                "rate",
                Verdict.WARNING,
                f"sends {seen.rate_fps:.1f} pictures/s, {camera.max_fps:g} are wanted (max_fps)",
                "raise the rate in the camera, or lower max_fps so that reports say what is",
            )
        ]
    if seen.rate_fps > WASTE_FACTOR * camera.max_fps:
        return [
            _finding(
                camera,
                "rate",
                Verdict.WARNING,
                f"sends {seen.rate_fps:.1f} pictures/s, of which {camera.max_fps:g} are looked at",
                "give `source` the camera's substream with a lower rate and keep the main stream "
                "as `evidence_source`",
            )
        ]
    return []


def _keyframes(camera: Camera, evidence: EvidenceSettings, seen: Sighting) -> list[Finding]:
    room_s = evidence.ring_s - evidence.before_s
    if camera.evidence_source:
        return []
    if seen.keyframe_s is None:
        detail = "two keyframes were not seen: their distance is longer than this look"
        advice = "look longer (--seconds 30), or set the camera's keyframe interval to 2 s"
        return [_finding(camera, "keyframes", Verdict.UNKNOWN, detail, advice)]
    if seen.keyframe_s > room_s:
        return [
            _finding(
                camera,
                "keyframes",
                Verdict.WARNING,
                f"{seen.keyframe_s:.1f} s apart; the ring of {evidence.ring_s:g} s cannot hold "
                f"{evidence.before_s:g} s before an event and a whole group of pictures",
                "set the camera's keyframe interval to 2 s, or raise evidence.ring_s",
            )
        ]
    return [_finding(camera, "keyframes", Verdict.OK, f"{seen.keyframe_s:.1f} s apart")]


def _ring(camera: Camera, evidence: EvidenceSettings, seen: Sighting) -> list[Finding]:
    if seen.kbit_s is None or camera.evidence_source:
        return []
    wanted_s = evidence.before_s + evidence.after_s
    held_s = evidence.ring_mb * 1024 * 1024 * 8 / 1000 / max(seen.kbit_s, 0.001)
    if held_s >= wanted_s:
        return []
    return [
        _finding(
            camera,
            "clips",
            Verdict.WARNING,
            f"ring_mb {evidence.ring_mb:g} holds {held_s:.0f} s of this stream, clips want "
            f"{wanted_s:g} s",
            "raise evidence.ring_mb or lower the camera's bit rate",
        )
    ]


def _finding(
    camera: Camera, check: str, verdict: Verdict, detail: str, advice: str = ""
) -> Finding:
    return Finding(about=camera.id, check=check, verdict=verdict, detail=detail, advice=advice)
