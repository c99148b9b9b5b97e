"""Is a package what was written: bytes, facts, video and times against one another.

Here: one verdict per package, with everything that is wrong. Nothing is changed. The rules: bytes
first, so that a file that was tampered with never reaches the video library; what is not said in
the facts is as wrong as what is said falsely.

Whether somebody replaced *all* files of a package by others that agree, only its signature tells
(`origin`), and for packages of before there were any the hash in central's record of the event.
"""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import av.error

from vedette.edge.evidence import facts
from vedette.edge.evidence.facts import ClipFile, Facts
from vedette.edge.evidence.origin import Keys, Origin, origins
from vedette.errors import EvidenceError
from vedette.wire.evidence import BLURRED_SIGNATURE, SIGNATURE
from vedette.wire.messages import EvidenceRecord

MAX_CLIP_BYTES: Final = 1024 * 1024 * 1024

_MARKS: Final = frozenset({facts.REPORTED, facts.BLUR_WANTED, facts.BLUR_FAILED, facts.SUMS})
_BLURRED: Final = frozenset({facts.BLURRED_CLIP, facts.BLURRED_POSTER, facts.BLURRED_FACTS})
_LATER: Final = _BLURRED | {SIGNATURE, BLURRED_SIGNATURE}
_TIME_SLACK_S: Final = 0.05
_UNTOLD_MS: Final = 3_100  # what a cut may lack untold: one and a half of its longest usual steps


@dataclass(frozen=True, slots=True)
class Examination:
    """The verdict on one package; whole where there are no `problems`.

    Attributes:
        origins: On the signatures of the clip and of its blurred copy, as far as they are there.
    """

    evidence: str
    record: EvidenceRecord | None
    problems: tuple[str, ...]
    origins: tuple[Origin, ...] = ()

    @property
    def is_whole(self) -> bool:
        """True where everything agrees."""
        return not self.problems


def examine(path: Path, *, keys: Keys | None = None, is_copy: bool = False) -> Examination:
    """Return the verdict on the package in folder `path`; never raises for what is in it.

    Args:
        path: The package.
        keys: Whose signatures are believed; None: nobody was asked.
        is_copy: It was handed over: under any name, and perhaps only as its blurred copy.

    Raises:
        ConfigError: `keys` cannot be asked.
    """
    try:
        said = facts.read_facts(path)
    except EvidenceError as problem:
        return Examination(path.name, None, (str(problem),))
    problems: list[str] = []
    if said.record.evidence != path.name and not is_copy:
        problems.append(f"holds the facts of {said.record.evidence!r}")
    blurred_only = is_copy and not (path / facts.CLIP).exists()
    problems += _bytes(path, said, blurred_only=blurred_only)
    found: list[Origin] = []
    if not problems:
        found = origins(path, said, keys)
        problems += [text for one in found for text in one.problems]
    if not problems:
        for entry in [] if blurred_only else said.clips:
            problems += _video(path, entry)
        problems += _times(said)
        problems += _blurred(path, said)
    return Examination(said.record.evidence, said.record, tuple(problems), tuple(found))


def _bytes(path: Path, said: Facts, *, blurred_only: bool) -> list[str]:
    """Compare every file with its hash, and the folder with what it should hold."""
    wanted: dict[str, str] = {}
    if not blurred_only:
        wanted = {facts.CLIP: said.record.sha256}
        wanted |= {entry.file: entry.sha256 for entry in said.clips}
    elif not (path / facts.BLURRED_FACTS).exists():
        return ["there is no clip, and no blurred copy of one"]
    problems: list[str] = []
    try:
        sums = facts.read_sums(path)
    except EvidenceError as problem:
        return [str(problem)]
    if said.clips and not sums:
        problems.append(f"{facts.SUMS} is missing")
    for name, value in sums.items():
        if wanted.setdefault(name, value) != value:
            problems.append(f"{name}: {facts.SUMS} and the facts disagree")
    if said.clips and facts.CLIP not in {entry.file for entry in said.clips}:
        problems.append("the facts name no clip of the event")
    for name, value in wanted.items():
        if not facts.is_plain_name(name):
            problems.append(f"{name!r} is no name of a file in a package")
            continue
        problems += _one_file(path / name, value)
    try:
        there = {file.name for file in path.iterdir()}
    except OSError as problem:
        return [*problems, f"the folder cannot be read: {problem.strerror}"]
    known = set(wanted) | {facts.FACTS} | _MARKS | _LATER
    foreign = sorted(n for n in there - known if not n.startswith(facts.PRIORITY_MARK))
    if foreign:
        problems.append(f"not written by this program: {', '.join(foreign[:5])}")
    return problems


def _one_file(path: Path, value: str) -> list[str]:
    try:
        if facts.digest(path) == value:
            return []
    except EvidenceError as problem:
        return [str(problem)]
    return [f"{path.name} is not the one that was recorded"]


def _video(path: Path, entry: ClipFile) -> list[str]:
    """Open a clip whose bytes are right: does it play, and is it of the time that is stated?"""
    try:
        data = facts.read_limited(path / entry.file, MAX_CLIP_BYTES)
        with av.open(io.BytesIO(data), "r", format="mp4") as container:
            stream = container.streams.video[0]
            size = (stream.codec_context.width, stream.codec_context.height)
            shown: list[float] = []
            first_is_key = False
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None:
                    first_is_key = first_is_key or (not shown and packet.is_keyframe)
                    shown.append(float(packet.pts * packet.time_base))
        with av.open(io.BytesIO(data), "r", format="mp4") as container:
            first = next(container.decode(video=0), None)
    except EvidenceError as problem:
        return [str(problem)]
    except (av.error.FFmpegError, ValueError, IndexError) as problem:
        return [f"{entry.file} does not play: {problem}"]
    problems: list[str] = []
    if first is None:
        problems.append(f"{entry.file}: no picture can be decoded")
    if not first_is_key:
        problems.append(f"{entry.file} does not begin with a keyframe")
    if size != entry.picture_px:
        problems.append(f"{entry.file} has {size[0]}x{size[1]}, stated is other")
    if len(shown) != entry.packets:
        problems.append(f"{entry.file} has {len(shown)} pictures, stated are {entry.packets}")
    stated_s = (entry.window_ms[1] - entry.window_ms[0]) / 1000
    if shown and abs(max(shown) - min(shown) - stated_s) > _TIME_SLACK_S:
        found_s = max(shown) - min(shown)
        problems.append(f"{entry.file} shows {found_s:.3f} s, stated are {stated_s:.3f} s")
    return problems


def _times(said: Facts) -> list[str]:
    """Compare the window that was wanted with the one there is, and the frames with it."""
    record = said.record
    if record.actual_ms is None:
        return ["no window is stated"] if said.clips else []
    problems: list[str] = []
    first, last = record.actual_ms
    late, early = first - record.wanted_ms[0], record.wanted_ms[1] - last
    if max(late, early) > _UNTOLD_MS and not record.shortfall:
        problems.append("the window is shorter than wanted, and no shortfall is stated")
    if said.clips and (said.clips[0].window_ms[0], said.clips[-1].window_ms[1]) != (first, last):
        problems.append("the window is not that of its clips")
    if any(not first <= frame.at_ms <= last for frame in said.frames) and said.clips:
        problems.append("boxes are stated outside the window")
    numbers = (value for frame in said.frames for box in frame.boxes for value in box.xyxy)
    if not all(math.isfinite(value) for value in numbers):
        problems.append("boxes are no numbers")
    return problems


def _blurred(path: Path, said: Facts) -> list[str]:
    """Check the blurred copy where there is one."""
    if not (path / facts.BLURRED_FACTS).exists():
        return []
    try:
        copy = facts.read_blurred(path)
    except EvidenceError as problem:
        return [str(problem)]
    if copy.evidence != said.record.evidence or copy.made_from != said.record.sha256:
        return ["the blurred copy is of another clip"]
    if copy.poster is None and (path / facts.BLURRED_POSTER).exists():
        return [f"{facts.BLURRED_POSTER} is there, and {facts.BLURRED_FACTS} says of none"]
    files = facts.blurred_files(copy)
    problems = [text for name, value in files.items() for text in _one_file(path / name, value)]
    return problems or _video(path, copy.clip)
