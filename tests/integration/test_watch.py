"""`vedette watch`: the first five minutes, as a person runs it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from vedette.clock import SystemClock
from vedette.sim import footage
from vedette.sim.clip import load_clip
from vedette.sim.closed_world import World, back_and_forth, write_bundle
from vedette.sim.mount import Fault
from vedette.sim.rtsp import RtspServer

# Real processes in real time: a busy machine may be many times slower, and a wait costs nothing
# where what it waits for comes.
pytestmark = pytest.mark.timeout(240)

Watch = Callable[..., subprocess.Popen[str]]
FPS = 10
LINE = ("--line", "mid:0.5,0 0.5,1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and sixteen seconds in which somebody crosses the middle eight times."""
    folder = tmp_path_factory.mktemp("closed-world")
    write_bundle(folder / "models" / "walkers")
    world = World([back_and_forth(1, y=0.8, start_s=0.0, legs=8, leg_s=2.0)])
    footage.encode(folder / "clip.mp4", world.pictures(16, FPS), fps=FPS, gop_s=1.0)
    return folder


@pytest.fixture
def watch(folder: Path, tmp_path: Path) -> Iterator[Watch]:
    """Start `vedette watch`; what still runs at the end of the test is killed."""
    running: list[subprocess.Popen[str]] = []

    def start(source: str, *options: str, model: str = "walkers") -> subprocess.Popen[str]:
        common = ("--model", model, "--models-dir", str(folder / "models"))
        process = subprocess.Popen(
            [sys.executable, "-m", "vedette.cli.main", "watch", source, *common, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "120"},
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
            process.communicate()


def ended(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """Return what a process said once it ended as expected, however slow the machine."""
    out, err = process.communicate(timeout=90)
    assert process.returncode == code, out + err
    assert "Traceback" not in err
    return out, err


def pictures(path: Path) -> int:
    """Return how many pictures a video holds."""
    with av.open(str(path)) as video:
        return sum(1 for _ in video.decode(video=0))


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://bob:hunter2@127.0.0.1:9/x?pw=hunter2",
        "gst:fakesrc user-pw=hunter2",
        "rtsp:/bob:hunter2@127.0.0.1/x",
    ],
)
def test_what_cannot_be_seen_is_said_without_its_password(watch: Watch, source: str) -> None:
    """The last error names the source, as its address may be shown."""
    out, err = ended(watch(source, "--duration", "3"), code=2)
    assert "nothing was seen of" in err
    assert "hunter2" not in out + err


@pytest.mark.parametrize(
    ("source", "advice"),
    [("gst:videotestsrcc", "gst-launch-1.0"), ("/dev/video987", "v4l2-ctl")],
)
def test_the_advice_fits_the_kind_of_source(watch: Watch, source: str, advice: str) -> None:
    """No word on address and password where there is none."""
    _, err = ended(watch(source, "--duration", "3"), code=2)
    assert advice in err
    assert "password" not in err


def test_a_file_is_read_to_its_end_and_summed_up(watch: Watch, folder: Path) -> None:
    """Every event as one JSON line, the summary last; nothing is dropped, all is counted."""
    out, _ = ended(watch(str(folder / "clip.mp4"), "--json", *LINE))
    *events, summary = (json.loads(line) for line in out.splitlines())
    crossed = [e for e in events if e["kind"] == "line_crossed"]
    assert [e["direction"] for e in crossed] == ["backward", "forward"] * 4
    assert all(e["latency_ms"] > 0 for e in events)
    assert summary["events"] == len(events)
    assert summary["frames"] == {
        "captured": 160,
        "analysed": 160,
        "gated": 0,
        "dropped": {},
    }
    assert summary["lines"] == {"mid": {"forward": 4, "backward": 4}}
    assert list(summary["tracks"]) == ["person"]
    assert summary["stage_ms"]["inference"]["p50"] > 0


def test_a_person_reads_the_same_as_a_table(watch: Watch, folder: Path) -> None:
    """Without --json there is a picture of what was seen, and no JSON."""
    out, _ = ended(watch(str(folder / "clip.mp4"), *LINE))
    assert "person" in out
    assert "line_crossed" in out
    assert "analysed 160" in out
    assert "forward 4, backward 4" in out
    assert "waiting included" in out


def test_the_annotated_copy_plays(watch: Watch, folder: Path, tmp_path: Path) -> None:
    """One picture per analysed frame, of the same size, to the end."""
    target = tmp_path / "out.mp4"
    ended(watch(str(folder / "clip.mp4"), "--json", "--annotate", str(target), *LINE))
    assert pictures(target) == 160
    with av.open(str(target)) as video:
        stream = video.streams.video[0]
        assert (stream.width, stream.height) == (320, 192)
        assert video.duration is not None
        assert 15.0 <= video.duration / av.time_base <= 17.0


def test_control_c_leaves_a_whole_copy(watch: Watch, folder: Path, tmp_path: Path) -> None:
    """SIGINT in mid-stream: the copy so far is finished and plays."""
    target = tmp_path / "out.mp4"
    with RtspServer(SystemClock()) as server:
        server.add("door", {"normal": load_clip(folder / "clip.mp4")})
        process = watch(server.url("door"), "--json", "--annotate", str(target), *LINE)
        assert process.stdout is not None
        first = process.stdout.readline()
        assert "kind" in first
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=90)
    assert process.returncode in {0, 130}, err
    assert "Traceback" not in err
    assert pictures(target) >= 2


def test_zones_tell_who_loiters_and_are_asked_for(watch: Watch, folder: Path) -> None:
    """Who stays for so long is told; options for zones without a zone are refused."""
    zone = ("--zone", "all:0,0 1,0 1,1 0,1", "--shelf")
    out, _ = ended(watch(str(folder / "clip.mp4"), "--json", "--loiter", "0.5", *zone))
    told = [event["kind"] for event in map(json.loads, out.splitlines()[:-1])]
    assert told.count("loiter") >= 1
    totals = json.loads(out.splitlines()[-1])["zones"]["all"]
    for name, kind in (("entered", "zone_entered"), ("left", "zone_left"), ("loiter", "loiter")):
        assert totals[name] == told.count(kind)
    for option in (("--loiter", "3"), ("--shelf",)):
        _, err = ended(watch(str(folder / "clip.mp4"), *option), 2)
        assert "--zone" in err


@pytest.mark.parametrize("source", ["missing.mp4", "file:missing.mp4"])
def test_a_missing_file_is_an_error_in_words(watch: Watch, source: str) -> None:
    """No such file: exit 2 soon, with the name and what to check."""
    _, err = ended(watch(source, "--json"), 2)
    assert "no such file" in err.lower()


def test_a_folder_without_pictures_is_an_error_in_words(watch: Watch) -> None:
    """A folder is a source, but an empty one gives nothing."""
    _, err = ended(watch(".", "--json"), 2)
    assert "holds no picture" in err


def test_a_file_that_is_no_video_is_an_error_in_words(watch: Watch, tmp_path: Path) -> None:
    """Text with the name of a video is refused."""
    (tmp_path / "notes.mp4").write_text("not a video at all " * 400)
    _, err = ended(watch("notes.mp4", "--json"), 2)
    assert "notes.mp4" in err


def test_nobody_at_the_address_is_an_error_in_words(watch: Watch) -> None:
    """A refused connection ends with the reason and what to check, without the password."""
    with RtspServer(SystemClock()) as server:
        port = server.port
    _, err = ended(watch(f"rtsp://op:hunter2x@127.0.0.1:{port}/door", "--json"), 2)
    assert "refused" in err
    assert "hunter2x" not in err


@pytest.mark.parametrize(
    ("fault", "word"), [(Fault.NOT_FOUND, "404"), (Fault.UNAUTHORISED, "401"), (Fault.SILENT, "")]
)
def test_a_camera_that_gives_nothing_is_an_error_in_words(
    watch: Watch, folder: Path, fault: Fault, word: str
) -> None:
    """Whatever the camera does instead of sending pictures, it ends and says why."""
    with RtspServer(SystemClock()) as server:
        server.add("door", {"normal": load_clip(folder / "clip.mp4")}).set_fault(fault)
        _, err = ended(watch(server.url("door"), "--json"), 2)
    assert word in err
    assert err.strip()


def test_a_missing_model_is_an_error_in_words(watch: Watch, folder: Path) -> None:
    """The name that was given, and the one that was perhaps meant."""
    _, err = ended(watch(str(folder / "clip.mp4"), model="walkerz"), 2)
    assert "walkerz" in err
    assert "walkers" in err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--line", "mid:0.5,0"), "two points"),
        (("--line", "mid:a,b c,d"), "points"),
        (("--zone", "shop:0.1,0.1 0.9,0.1"), "corners"),
        (("--zone", "shop:2,2 3,3 4,1"), "outside"),
        (("--label", "persn"), "person"),
    ],
)
def test_wrong_options_say_how_to_write_them(
    watch: Watch, folder: Path, options: tuple[str, ...], word: str
) -> None:
    """Each is refused before anything is opened."""
    _, err = ended(watch(str(folder / "clip.mp4"), *options), 2)
    assert word in err
    assert "cannot run" not in err  # which would say it twice


def test_an_annotated_copy_that_cannot_be_written_is_an_error(
    watch: Watch, folder: Path, tmp_path: Path
) -> None:
    """A folder that is not there: said at once, not after the whole file."""
    target = tmp_path / "nowhere" / "out.mp4"
    process = watch(str(folder / "clip.mp4"), "--json", "--annotate", str(target))
    _, err = process.communicate(timeout=90)
    assert process.returncode in {1, 2}
    assert "nowhere" in err
    assert "Traceback" not in err


def test_a_duration_ends_a_live_camera(watch: Watch, folder: Path) -> None:
    """A camera never ends by itself; after the duration there is a summary."""
    with RtspServer(SystemClock()) as server:
        server.add("door", {"normal": load_clip(folder / "clip.mp4")})
        out, _ = ended(watch(server.url("door"), "--json", "--duration", "5"))
    summary = json.loads(out.splitlines()[-1])
    assert summary["frames"]["captured"] > 0
    assert 5 <= summary["elapsed_s"] <= 30  # on an idle machine six
