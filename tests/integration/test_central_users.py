"""Users made and helped at central's terminal, over the real database."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from vedette.central import accounts
from vedette.central.store.db import Database
from vedette.cli.at_central import now_ms
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


def test_a_token_made_at_the_terminal_opens_until_it_is_revoked(
    terminal: CliRunner, conninfo: str
) -> None:
    """Standard output is the token alone; it is listed without itself, and ends at once."""
    said(terminal, "user", "add", "fay", "--role", "viewer", "--everything")
    with pytest.raises(ConfigError, match="no user"):
        said(terminal, "token", "add", "bob", "--label", "export")
    with pytest.raises(ConfigError, match="printable"):
        said(terminal, "token", "add", "fay", "--label", "a\nb")
    made = terminal.invoke(command, ["token", "add", "fay", "--label", "export"])
    token = made.stdout.strip()
    assert len(token.split()) == 1
    assert "fay's, until" in made.stderr
    assert holder(conninfo, token) == "fay"
    (row,) = json.loads(said(terminal, "token", "list", "--json"))
    assert (row["username"], row["label"]) == ("fay", "export")
    assert token not in json.dumps(row)
    assert json.loads(said(terminal, "token", "list", "--user", "admin", "--json")) == []
    assert "export" in said(terminal, "token", "list")
    assert "fay" in said(terminal, "token", "revoke", row["token"])
    assert holder(conninfo, token) is None
    with pytest.raises(ConfigError, match="no token"):
        said(terminal, "token", "revoke", row["token"])


def test_a_disabled_user_keeps_no_token(terminal: CliRunner, conninfo: str) -> None:
    """Sessions and tokens end with the user; the last administrator cannot be disabled."""
    said(terminal, "reset-admin")
    said(terminal, "user", "add", "fay", "--role", "viewer", "--everything")
    token = json.loads(said(terminal, "token", "add", "fay", "--label", "x", "--json"))["token"]
    said(terminal, "user", "disable", "fay")
    assert holder(conninfo, token) is None
    with pytest.raises(ConfigError, match="last administrator"):
        said(terminal, "user", "disable", "admin")


def holder(conninfo: str, token: str) -> str | None:
    """Return whose API token this is, by the way that requests take."""

    async def find() -> str | None:
        db = Database(conninfo, max_size=1)
        await db.open()
        try:
            session = await accounts.find_session(db, token, now_ms())
        finally:
            await db.close()
        return session.username if session else None

    return asyncio.run(find())


def test_a_claim_is_one_word_for_a_script_and_says_what_to_type_for_a_person(
    terminal: CliRunner,
) -> None:
    """Standard output is the token alone; how long it holds and what follows are beside it."""
    said(terminal, "site", "add", "lisbon")
    made = terminal.invoke(command, ["claim", "--site", "lisbon", "--hours", "2"])
    token = made.stdout.strip()
    assert len(token.split()) == 1
    assert f"vedette edge enrol --central http://127.0.0.1:8080 --token {token}" in made.stderr
    assert "lisbon, once, until 20" in made.stderr
    listed = json.loads(said(terminal, "claim", "--site", "lisbon", "--device", "box", "--json"))
    assert listed["device"] == "box"
    assert listed["command"].endswith(listed["token"])
    assert listed["expires_ms"] > now_ms()
