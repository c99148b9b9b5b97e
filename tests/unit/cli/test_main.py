"""The entry point: what a person reads when something goes wrong."""

import sys
import types

import click
import pytest

from vedette import logs
from vedette.cli import main as entry
from vedette.errors import ConfigError


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the test run's own logging alone."""
    monkeypatch.setattr(logs, "setup", lambda **_: None)


@pytest.fixture
def subcommand(monkeypatch: pytest.MonkeyPatch):
    """Put a subcommand `try` in the table whose body is the function given."""

    def install(body) -> None:
        module = types.ModuleType("vedette_try")
        module.command = click.command(body)
        monkeypatch.setitem(sys.modules, "vedette_try", module)
        row = entry.Subcommand("vedette_try", "Try.", "edge")
        monkeypatch.setitem(entry.SUBCOMMANDS, "try", row)

    return install


def run(*arguments: str) -> int:
    """Run the command line and return its exit status."""
    with pytest.raises(SystemExit) as caught:
        entry.main(list(arguments))
    return int(caught.value.code or 0)


def test_help_lists_every_subcommand_and_imports_none(
    capsys: pytest.CaptureFixture[str], monkeypatch
):
    """`--help` works where no extra is installed."""
    monkeypatch.setattr(entry.importlib, "import_module", pytest.fail)
    assert run("--help") == 0
    shown = capsys.readouterr().out
    for name, row in entry.SUBCOMMANDS.items():
        assert name in shown
        assert row.summary in shown


def test_error_is_one_block_with_its_hint_and_status_two(subcommand, capsys):
    """No traceback for what Vedette raises on purpose."""

    def body() -> None:
        raise ConfigError("no zone called gate", operator_hint="Did you mean 'door'?")

    subcommand(body)
    assert run("try") == 2
    assert capsys.readouterr().err == (
        "ConfigError: no zone called gate\n  → Did you mean 'door'?\n"
    )


def test_missing_package_names_the_extra(monkeypatch, capsys):
    """A module that is not installed tells which extra brings it."""
    row = entry.Subcommand("no_such_package_here.sub", "Try.", "edge")
    monkeypatch.setitem(entry.SUBCOMMANDS, "try", row)
    assert run("try") == 2
    shown = capsys.readouterr().err
    assert "'no_such_package_here'" in shown
    assert "vedette[edge]" in shown


def test_interrupt_ends_cleanly(subcommand, capsys):
    """Ctrl-C gives one word and status 130."""

    def body() -> None:
        raise KeyboardInterrupt

    subcommand(body)
    assert run("try") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_status_of_a_command_is_kept(subcommand):
    """A check that failed ends with its own status."""

    def body() -> None:
        raise SystemExit(1)

    subcommand(body)
    assert run("try") == 1


def test_unknown_command_is_a_usage_error(capsys):
    """A typing mistake is answered by click."""
    assert run("wach") == 2
    assert "wach" in capsys.readouterr().err


def test_version_is_the_packages(capsys):
    """Both ways of asking agree."""
    assert run("version") == 0
    first = capsys.readouterr().out.strip()
    assert run("--version") == 0
    assert first in capsys.readouterr().out
