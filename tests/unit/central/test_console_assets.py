"""Files that browsers load: ours, pinned, and nothing else."""

import re
from pathlib import Path

import pytest

from vedette.central.console import assets
from vedette.central.console.doors import own_path
from vedette.errors import ConfigError


@pytest.mark.parametrize("name", ["../pages.py", "vendor/../doors.py", "/etc/passwd", "", "x.css"])
def test_no_name_leads_out_of_the_folders(name: str) -> None:
    """Only names that lie in the two folders are found."""
    assert assets.asset(name) is None


def test_the_style_sheet_has_one_set_of_variables_and_no_other_host() -> None:
    """Every colour is a light-dark pair and nothing is loaded from elsewhere."""
    css = (assets.STATIC / "vedette.css").read_text()
    assert "url(http" not in css
    assert "@import" not in css
    body = css.split("/* ---", 2)[2]
    colours = re.findall(r"#[0-9a-f]{3,8}\b", body)
    assert colours in ([], ["#fff"]), "colours belong into the variables"


@pytest.mark.parametrize("module", sorted(p.name for p in assets.STATIC.glob("*.js")))
def test_modules_stay_small_and_write_no_markup(module: str) -> None:
    """At most 400 lines, and no text from the server is ever parsed as HTML by our script."""
    text = (assets.STATIC / module).read_text()
    assert text.count("\n") <= 400
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_missing_libraries_are_named_and_do_not_stop_central(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without npm the pages come up without charts, and the log says why."""

    def refuse(*_: object) -> None:
        raise ConfigError("no npm here", operator_hint="install it")

    monkeypatch.setattr(assets.npm, "fetch", refuse)
    assert assets.missing_libraries(tmp_path) == list(assets.LIBRARIES)
    assets.ensure_libraries(tmp_path)
    assert "no npm here" in caplog.text


@pytest.mark.parametrize(
    "there",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "", "/a\nb"],
)
def test_signing_in_never_leads_to_another_host(there: str) -> None:
    """An open redirect on the sign-in page is a gift to phishers."""
    assert own_path(there) == "/"


def test_signing_in_leads_back_to_the_page_that_was_asked_for() -> None:
    """With its filters."""
    assert own_path("/events?kind=dwell&site=a") == "/events?kind=dwell&site=a"
