"""Rollouts at the command line: what is warned of, and that a running central hears of it."""

from pathlib import Path

import msgspec
import psycopg
import pytest
from click.testing import CliRunner, Result

from tests.integration.rollout_rig import NEW, OLD
from vedette.central.rollouts.jobs import CHANNEL
from vedette.cli.main import cli
from vedette.trust.keys import SigningKey


@pytest.fixture
def call(conninfo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`vedette central …` over a database with one device that runs what was before."""
    monkeypatch.setenv("VEDETTE_DATABASE_URL", conninfo)
    state = tmp_path / "state"
    SigningKey.load_or_make(state / "keys" / "online.key")
    with psycopg.connect(conninfo) as db:
        db.execute("INSERT INTO sites (site, name, created_ms) VALUES ('shop', '', 0)")
        db.execute(
            "INSERT INTO devices (device, site, public_key, enrolled_ms, hardware, version)"
            " VALUES ('box', 'shop', 'key', 0, '', '1')"
        )
        db.execute(
            "INSERT INTO device_slots (device, slot, kind, running, epoch, seq, changed_ms)"
            " VALUES ('box', 'app', 'app', %s, 1, 1, 0)",
            (OLD.digest,),
        )

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, ["central", "--state", str(state), "rollouts", *words])

    return run


def test_a_way_back_is_asked_for_and_each_order_wakes_central(
    call, conninfo: str, tmp_path: Path
) -> None:
    """Before it is drafted, when it is approved, when it is looked at; and every order is heard."""
    file = tmp_path / "rollout.json"
    wanted = {"rollout": "ro-1", "kind": "app", "slot": "app",
              "artefact": msgspec.to_builtins(NEW)}  # fmt: skip
    file.write_bytes(msgspec.json.encode(wanted))
    laid_out = call("plan", str(file))
    assert laid_out.exit_code == 0, laid_out.output
    assert "1 device has nothing to go back to" in laid_out.output
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_bytes(msgspec.json.encode(wanted | {"slot": "apps"}))
    assert "no device at these sites has a slot 'apps'" in call("plan", str(elsewhere)).output
    file.write_bytes(msgspec.json.encode(wanted | {"back": msgspec.to_builtins(OLD)}))
    with psycopg.connect(conninfo, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        for words in (
            ("create", str(file), "--by", "anna"),
            ("approve", "ro-1", "--by", "ben"),
            ("start", "ro-1", "--by", "anna"),
            ("devices", "ro-1", "exclude", "box"),
        ):
            done = call(*words)
            assert done.exit_code == 0, done.output
            heard = list(listener.notifies(timeout=10, stop_after=1))
            assert [one.payload for one in heard] == ["ro-1"], words
            if words[0] == "approve":
                assert f"--target {OLD.target}" in done.output
            if words[0] == "start":
                assert "start is ordered; so far it is" in done.output
                shown = call("show", "ro-1").output
                assert "not carried out yet: start" in shown
                assert "possible now: start, stop, supersede" in shown
    assert "warning" not in call("show", "ro-1").output, "nobody takes part any more"
