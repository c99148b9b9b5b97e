"""`vedette edge updates` and `trust-root`, as somebody at the device sees them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from vedette.cli.main import cli
from vedette.edge.agent import read_status, write_status
from vedette.edge.page.html import page
from vedette.edge.updating import root
from vedette.wire.messages import HealthReport
from vedette.wire.slots import ArtefactKind, UpdateHealth, UpdateState


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a configuration whose agent reported a slot that waits."""
    path = tmp_path / "edge.yaml"
    path.write_text(
        "central: {url: http://127.0.0.1:9}\n"
        f"state_dir: {tmp_path / 'state'}\nmodels_dir: {tmp_path}\n"
    )
    (tmp_path / "state").mkdir()
    waits = UpdateHealth(
        slot="yolox",
        kind=ArtefactKind.MODEL,
        rollout="r1",
        attempt=1,
        state=UpdateState.WAITING_WINDOW,
        since_ms=0,
        digest="sha256:" + "a" * 64,
        running="sha256:" + "b" * 64,
        problem="waits for its window: <22:00>-05:00, local time",
    )
    report = HealthReport(at_ms=1, period_s=30, version="1", assignment_version=7, updates=[waits])
    write_status(tmp_path / "state", report)
    return path


def test_what_runs_what_comes_and_why_it_waits_is_said(config: Path) -> None:
    """For people and for programs; without an agent the exit status says so."""
    runner = CliRunner(env={"COLUMNS": "200"})
    said = runner.invoke(cli, ["edge", "updates", "--config", str(config)])
    assert "trusts no repository" in said.output
    assert "waiting_window" in said.output
    assert "aaaaaaaaaaaa" in said.output
    told = json.loads(
        runner.invoke(cli, ["edge", "updates", "--json", "--config", str(config)]).stdout
    )
    assert (told["trusts_a_repository"], told["slots"][0]["slot"]) == (False, "yolox")


def test_the_page_at_the_device_has_a_line_for_it(config: Path) -> None:
    """And shows words, whatever is in them."""
    report = read_status(config.parent / "state")
    shown = page(report, device="dev", site="lobby", now_ms=2, has_central=True).decode()
    assert "waiting window: waits for its window: &lt;22:00&gt;" in shown


def test_a_file_that_is_no_root_is_not_pinned(config: Path, tmp_path: Path) -> None:
    """Nothing changes; what to do is said."""
    (tmp_path / "x.json").write_text('{"signed": {}, "signatures": []}')
    said = CliRunner().invoke(
        cli, ["edge", "trust-root", str(tmp_path / "x.json"), "--config", str(config)]
    )
    assert said.exit_code != 0
    assert root.pinned(tmp_path / "state") is None
