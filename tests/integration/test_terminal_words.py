"""What central's terminal says to people: times, counts, and that a site is not there."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from vedette.cli.main import cli
from vedette.errors import ConfigError

Call = Callable[..., Result]


@pytest.fixture
def call(conninfo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """`vedette central …` over a database with one site, one device and one camera."""
    monkeypatch.setenv("VEDETTE_DATABASE_URL", conninfo)
    monkeypatch.delenv("VEDETTE_CENTRAL_CONFIG", raising=False)
    with psycopg.connect(conninfo) as db:
        db.execute("INSERT INTO sites (site, name, created_ms) VALUES ('shop-7', 'Lisbon', 0)")
        db.execute(
            "INSERT INTO devices (device, site, public_key, enrolled_ms, hardware, version,"
            " last_contact_ms) VALUES ('box', 'shop-7', 'key', 0, '', '1', 1772442061000)"
        )
        db.execute("INSERT INTO cameras (device, camera, known_from_ms) VALUES ('box', 'door', 0)")

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, ["central", "--state", str(tmp_path / "state"), *words])

    return run


@pytest.mark.parametrize("words", [("devices", "list"), ("device",)])
def test_a_device_was_last_heard_at_a_time_that_people_read(
    call: Call, words: tuple[str, ...]
) -> None:
    """As in every table: the day, the time, and that it is UTC."""
    told = call(*words)
    assert told.exit_code == 0, told.output
    assert "last contact 2026-03-02 09:01:01 UTC" in told.output


def test_one_camera_is_no_cameras(call: Call) -> None:
    """One is told in the singular."""
    assert "coverage [1] of 1 camera," in call("query", "coverage").output
    assert "1 site\n" in call("select", "*", "--level", "site").output


@pytest.mark.parametrize(
    "words",
    [
        ("query", "coverage", "--of", "site:shop-8"),
        ("worst", "coverage", "--of", "folder:** site:shop-8"),
        ("select", "site:shop-8"),
        ("cameras", "--select", "site:shop-8"),
        ("cameras", "--select", "site:shop-8", "--matrix"),
        ("slo", "report", "--of", "site:shop-8"),
    ],
)
def test_a_site_that_is_not_there_is_named_with_those_that_are_near(
    call: Call, words: tuple[str, ...]
) -> None:
    """Not "no camera", as if there were a site without one."""
    refused = call(*words).exception
    assert isinstance(refused, ConfigError), refused
    assert str(refused) == "there is no site 'shop-8'"
    assert "did you mean 'shop-7'?" in (refused.operator_hint or "")


def test_a_site_is_found_by_its_name_and_is_no_fault_where_it_is_left_out(call: Call) -> None:
    """Who types what the console shows is led to the identifier; a selection may leave out any."""
    refused = call("query", "coverage", "--of", "site:lisbon").exception
    assert isinstance(refused, ConfigError)
    assert "did you mean 'shop-7'?" in (refused.operator_hint or "")
    for of in ("site:shop-7 camera:yard", "camera:yard -site:shop-8", "site:shop-8*"):
        told = call("query", "coverage", "--of", of)
        assert told.exit_code == 0, told.output
        assert "of 0 cameras," in told.output
