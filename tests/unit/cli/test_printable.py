"""What others wrote is printed as it stands and steers nothing."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from vedette.cli.edge_doctor import _print as print_findings
from vedette.cli.model import command
from vedette.edge.doctor import Finding, Verdict
from vedette.inference import bundle as bundles
from vedette.inference.manifest import Card
from vedette.sim.closed_world import write_bundle

HOSTILE = "\x1b]0;mine\x07[/nothing] [link=http://example.com]free[/link] [fe80::1]"


def test_the_card_of_a_model_steers_no_terminal(tmp_path: Path) -> None:
    """Escape codes and markup in a bundle from elsewhere: shown as text, and no failure."""
    made = write_bundle(tmp_path / "walkers")
    files = {name: made.read(name) for name in made.manifest.files}
    card = Card(license=HOSTILE, source=HOSTILE)
    bundles.write(made.path, msgspec.structs.replace(made.manifest, card=card), files)
    where = ["--models-dir", str(tmp_path)]
    shown = CliRunner().invoke(command, ["inspect", "walkers", *where], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.exception
    assert "\x1b]" not in shown.output
    assert "[/nothing] [link=http://example.com]free[/link] [fe80::1]" in shown.output


def test_what_a_camera_says_to_the_doctor_steers_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address in brackets is no markup, and an error's text no escape code."""
    monkeypatch.setenv("COLUMNS", "200")
    found = Finding(
        about="door", check="picture", verdict=Verdict.FAILED, detail=HOSTILE, advice=HOSTILE
    )
    print_findings([found], "as written")
    printed = capsys.readouterr().out
    assert "\x1b]" not in printed
    assert printed.count("[/nothing] [link=http://example.com]free[/link] [fe80::1]") == 2
