"""Users made and helped at central's terminal, over the real database."""

import json

import pytest
from click.testing import CliRunner

from vedette.cli.central import command
from vedette.errors import ConfigError


@pytest.fixture
def terminal(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A terminal at a central whose database is a fresh one."""
    monkeypatch.setenv("VEDETTE_DATABASE_URL", conninfo)
    monkeypatch.delenv("VEDETTE_CENTRAL_CONFIG", raising=False)
    return CliRunner()


def said(terminal: CliRunner, *words: str) -> str:
    """Return what a command prints."""
    return terminal.invoke(command, list(words), catch_exceptions=False).output


def users(terminal: CliRunner) -> dict[str, tuple[str, object, object]]:
    """Return role, sites and folders of everybody."""
    listed = json.loads(said(terminal, "user", "list", "--json"))
    return {row["username"]: (row["role"], row["sites"], row["folders"]) for row in listed}


def test_a_forgotten_password_makes_nobody_administrator(terminal: CliRunner) -> None:
    """A link for a user of part of the fleet leaves role and scope; `reset-admin` refuses."""
    assert "/setup/" in said(terminal, "reset-admin")
    made = said(terminal, "user", "add", "fay", "--role", "operator", "--folder", "europe")
    assert "/setup/" in made
    with pytest.raises(ConfigError, match="no administrator of the whole fleet"):
        said(terminal, "reset-admin", "--user", "fay")
    assert "/setup/" in said(terminal, "user", "link", "fay")
    assert users(terminal) == {
        "admin": ("admin", None, []),
        "fay": ("operator", [], ["europe"]),
    }


def test_a_user_is_not_made_twice_and_not_without_a_scope(terminal: CliRunner) -> None:
    """Who is there keeps what they have; who sees nothing in particular is not made."""
    said(terminal, "user", "add", "fay", "--role", "viewer", "--site", "lisbon")
    with pytest.raises(ConfigError, match="already"):
        said(terminal, "user", "add", "fay", "--role", "admin", "--everything")
    with pytest.raises(ConfigError, match="what may"):
        said(terminal, "user", "add", "ada", "--role", "viewer")
    with pytest.raises(ConfigError, match="cannot name"):
        said(terminal, "user", "add", "a b", "--role", "viewer", "--everything")
    assert users(terminal) == {"fay": ("viewer", ["lisbon"], [])}
