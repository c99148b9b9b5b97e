"""The demo's paperwork and its judgement, without starting anything."""

import os
import signal
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from vedette.cli.demo import command
from vedette.clock import ManualClock, wall_ms
from vedette.edge import settings
from vedette.errors import BadSignature, ConfigError, UplinkError
from vedette.sim.demo import site
from vedette.sim.demo.operator import Operator
from vedette.sim.demo.script import Act, Played, Script
from vedette.sim.demo.stage import fresh_folder, tell_others
from vedette.sim.demo.watch import Watcher
from vedette.trust.dsse import open_struct
from vedette.trust.keys import SigningKey
from vedette.wire.signed import POLICY_TYPE, SitePolicy

ADDRESSES = {plan.camera: f"rtsp://u:p@host/{plan.camera}" for plan in site.CAMERAS}


def test_the_device_takes_the_written_configuration(tmp_path: Path) -> None:
    """It loads, has three cameras with zones and lines, and no camera's address."""
    path = tmp_path / "edge.yaml"
    site.write_config(
        path,
        central_url="http://127.0.0.1:1",
        state_dir=tmp_path / "state",
        models_dir=tmp_path / "models",
        threshold=None,
    )
    tree = settings.load(path)
    assert [camera.id for camera in tree.cameras] == [plan.camera for plan in site.CAMERAS]
    assert all(camera.zones and camera.lines for camera in tree.cameras)
    assert "rtsp" not in path.read_text()


def test_the_policy_is_the_sites_word_and_nobody_elses() -> None:
    """It opens with the site's key, not with another, and lets no clip leave."""
    key, other = SigningKey.generate(), SigningKey.generate()
    signed = site.sign_policy(key, ADDRESSES, version=1, now_ms=1)
    policy = open_struct(signed, SitePolicy, [key.public], payload_type=POLICY_TYPE)
    assert {one.camera: one.source for one in policy.cameras} == ADDRESSES
    assert not policy.pixels.evidence_leaves
    with pytest.raises(BadSignature):
        open_struct(signed, SitePolicy, [other.public], payload_type=POLICY_TYPE)


def test_only_a_demos_own_folder_is_emptied(tmp_path: Path) -> None:
    """Somebody's documents are refused; yesterday's demo is replaced."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError):
        fresh_folder(theirs)
    assert (theirs / "thesis.txt").exists()
    ours = tmp_path / "ours"
    fresh_folder(ours).close()
    (ours / "old.log").touch()
    fresh_folder(ours).close()
    assert not (ours / "old.log").exists()


def test_a_second_demo_leaves_the_folder_of_a_running_one_alone(tmp_path: Path) -> None:
    """Refused while the first runs, with nothing of it removed; free once that has ended."""
    folder = tmp_path / "demo"
    with fresh_folder(folder):
        (folder / "spool").touch()
        with pytest.raises(ConfigError, match="runs in"):
            fresh_folder(folder)
        assert (folder / "spool").exists()
    fresh_folder(folder).close()
    assert not (folder / "spool").exists()


def test_who_is_refused_a_second_demo_is_told_how_to_reach_and_end_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its console and its process; nothing is said of keeping what is not one's own."""
    folder = tmp_path / "demo"
    handlers = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with fresh_folder(folder) as mark:
            tell_others(mark, "http://127.0.0.1:8080")
            refused = CliRunner().invoke(command, ["--folder", str(folder)])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert isinstance(refused.exception, ConfigError)
    assert "runs in" in str(refused.exception)
    hint = refused.exception.operator_hint or ""
    assert "http://127.0.0.1:8080" in hint
    assert f"kill {os.getpid()}" in hint
    assert "kept" not in refused.output + capsys.readouterr().out


def test_an_act_is_always_ended() -> None:
    """Stopped in the middle, the script heals what it broke, and says when it was broken."""
    clock = ManualClock()
    done: list[str] = []
    script: Script

    def begin() -> None:
        done.append("broken")
        script._stop.set()

    act = Act(
        kind="cut",
        story="it breaks",
        relief="it is well",
        begin=begin,
        end=lambda: done.append("healed"),
        for_s=40.0,
        rest_s=5.0,
    )
    script = Script([act], clock, lambda _: None)
    script.start()
    script._thread.join(10)
    assert done == ["broken", "healed"]
    assert script.played[0].end_ms is not None


def test_an_act_ends_once_what_it_is_played_for_was_seen() -> None:
    """Nobody waits for the rest of it; another act's sight ends nothing."""
    clock = ManualClock()
    script: Script
    ended: list[bool] = []

    def begin() -> None:
        script.end_act("cover")
        ended.append(script._over.is_set())
        script.end_act("cut")
        ended.append(script._over.is_set())

    def end() -> None:
        script._stop.set()

    act = Act(
        kind="cut",
        story="it breaks",
        relief="it is well",
        begin=begin,
        end=end,
        for_s=1e9,
        rest_s=5.0,
    )
    script = Script([act], clock, lambda _: None)
    script.end_act("cut")
    script.start()
    script._thread.join(10)
    assert not script._thread.is_alive()
    assert ended == [False, True]


class _Central(Operator):
    """Answers what it is told to."""

    def __init__(self) -> None:
        super().__init__("http://nowhere")
        self.strips: dict[str, list[dict[str, object]]] = {}
        self.state = "ok"
        self.is_gone = False

    def fleet(self):
        if self.is_gone:
            raise UplinkError("gone")
        rows = [{"camera": camera, "state": "ok"} for camera in self.strips]
        device = {
            "device": site.DEVICE,
            "state": self.state,
            "since_ms": 1,
            "last_contact_ms": 1,
            "spool_depth": None,
            "cameras": rows,
        }
        return {"sites": [{"devices": [device]}]}

    def camera(self, place, from_ms, to_ms):
        return {"frames": {}, "row": {"strip": self.strips[place[2]]}}

    def events(self, **filters):
        return []

    def ask_thumbnail(self, place):
        return None

    def thumbnail(self, place):
        return None


class _Script(Script):
    def __init__(self, played: list[Played]) -> None:
        super().__init__([], ManualClock(), lambda _: None)
        self.played = played


def _segment(start_ms: int, end_ms: int, cause: str | None) -> dict[str, object]:
    return {"start_ms": start_ms, "end_ms": end_ms, "cause": cause}


def _seen(watcher: Watcher) -> set[str]:
    watcher.look()
    return {sight.what for sight in watcher.sights if sight.after_s is not None}


def test_a_gap_counts_only_where_the_script_made_it() -> None:
    """The same cause at another time is something else that went wrong."""
    clock = ManualClock()
    now_ms = wall_ms(clock.now_at())
    central = _Central()
    script = _Script([Played("cut", now_ms + 60_000, now_ms + 90_000)])
    watcher = Watcher(central, script, clock)
    central.strips = {site.CUT: [_segment(now_ms, now_ms + 50_000, "CAMERA_DOWN")]}
    assert _seen(watcher) == set()
    central.strips = {site.CUT: [_segment(now_ms + 60_000, now_ms + 80_000, "CAMERA_DOWN")]}
    assert _seen(watcher) == {f"gap CAMERA_DOWN on {site.CUT}"}


def test_backfill_is_seen_only_after_it_was_missing() -> None:
    """Observed from the start is no backfill; pending first and observed then is."""
    clock = ManualClock()
    central = _Central()
    watcher = Watcher(central, _Script([]), clock)
    central.strips = {site.STEADY: [_segment(0, 60_000, None)]}
    assert _seen(watcher) == set()
    central.strips = {site.STEADY: [_segment(0, 60_000, "PENDING_BACKFILL")]}
    assert _seen(watcher) == {"a stretch called PENDING_BACKFILL"}
    central.strips = {site.STEADY: [_segment(0, 60_000, None)]}
    assert "that stretch turned observed" in _seen(watcher)


def test_a_central_that_is_away_is_no_sight_and_no_crash() -> None:
    """The next look may find it again."""
    central = _Central()
    central.is_gone = True
    assert _seen(Watcher(central, _Script([]), ManualClock())) == set()


def test_the_operator_says_what_central_did_not_print() -> None:
    """Without a setup link there is a clear end instead of a strange one."""
    with pytest.raises(UplinkError, match="no setup link"):
        Operator("http://127.0.0.1:9").set_up("nothing here")


def test_a_policy_crosses_the_api_as_it_was_signed() -> None:
    """Turned into JSON and back, the signature still holds."""
    key = SigningKey.generate()
    signed = site.sign_policy(key, ADDRESSES, version=1, now_ms=1)
    again = msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(signed)), type=type(signed))
    open_struct(again, SitePolicy, [key.public], payload_type=POLICY_TYPE)
