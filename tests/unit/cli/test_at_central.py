"""Commands at central's terminal: which central is meant, and tables on narrow terminals."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from vedette.cli.at_central import show_table
from vedette.cli.central import command
from vedette.errors import ConfigError


@pytest.mark.parametrize("words", [("site", "list"), ("releases", "keys", "--out", "carried")])
def test_a_forgotten_configuration_makes_no_new_central(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Without `--config` there is no empty database, and no keys of a central that is none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VEDETTE_DATABASE_URL", raising=False)
    monkeypatch.delenv("VEDETTE_CENTRAL_CONFIG", raising=False)
    refused = CliRunner().invoke(command, list(words))
    assert isinstance(refused.exception, ConfigError)
    assert "VEDETTE_CENTRAL_CONFIG" in (refused.exception.operator_hint or "")
    assert list(tmp_path.iterdir()) == []


def test_the_environment_says_which_central_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """VEDETTE_CENTRAL_CONFIG is `--config`."""
    monkeypatch.delenv("VEDETTE_DATABASE_URL", raising=False)
    (tmp_path / "central.yaml").write_text("state_dir: ./elsewhere\n", encoding="utf-8")
    refused = CliRunner().invoke(
        command, ["site", "list"], env={"VEDETTE_CENTRAL_CONFIG": str(tmp_path / "central.yaml")}
    )
    assert str(tmp_path / "elsewhere") in str(refused.exception)


def test_a_narrow_terminal_hides_no_end_of_a_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cell that does not fit goes on in the next line."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")
    show_table(["folder", "cause"], [["emea/portugal/lisbon/harbour", "PIPELINE_STOPPED"]], "")
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert shown.replace(" ", "").count("D") == 1
