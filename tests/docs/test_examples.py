"""The examples work with this version."""

import configparser
import importlib.util

import pytest

from vedette import config
from vedette.central import settings as central_settings
from vedette.cli.main import cli
from vedette.edge import settings
from vedette.trust.site_policy import PolicyFile


def test_the_devices_example_is_a_configuration_that_it_takes(docs):
    """Two cameras, one whose address the site's policy brings."""
    loaded = settings.load(docs.root / "examples" / "edge.yaml")
    assert [camera.id for camera in loaded.cameras] == ["door", "shelf"]
    assert loaded.central is not None


def test_centrals_example_and_the_policys_are_taken(docs):
    """Both files load, and the policy keeps the design's defaults."""
    examples = docs.root / "examples"
    assert central_settings.load(examples / "central.yaml").behind_proxy
    policy = config.load(examples / "site-policy.yaml", PolicyFile)
    assert not policy.pixels.evidence_leaves


@pytest.mark.parametrize("name", ["vedette-edge.service", "vedette-central.service"])
def test_a_services_command_exists(docs, name):
    """Each unit starts a command that there is, with options that there are."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]
    unit.read_string((docs.root / "examples" / name).read_text())
    words = unit["Service"]["ExecStart"].split()[1:]
    group = cli.get_command(cli.make_context("vedette", ["version"]), words[0])
    assert group is not None
    assert "run" in words
    assert "run" in group.list_commands(None)
    assert unit["Service"]["UMask"] == "0077"


def test_the_coverage_script_shows_no_data_as_no_data(docs, capsys, monkeypatch):
    """It asks for what the API has, and null never becomes zero."""
    path = docs.root / "examples" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_example", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    cameras = [{"camera": "a"}, {"camera": "b c"}]
    device = {"device": "box", "cameras": cameras}
    place = "/v1/sites/s/devices/box/cameras/"
    answers = {
        "/v1/fleet": {"sites": [{"site": "s", "devices": [device]}]},
        f"{place}a/coverage": {"coverage": {"fraction": 0.5, "causes": {"CAMERA_DOWN": 90.0}}},
        f"{place}b%20c/coverage": {"coverage": {"fraction": None, "causes": {}}},
    }
    monkeypatch.setattr(script, "asker", lambda _base, _token: answers.__getitem__)
    monkeypatch.setattr("sys.argv", ["coverage.py", "https://x"])
    monkeypatch.setenv("VEDETTE_TOKEN", "t")
    script.main()
    first, second = capsys.readouterr().out.splitlines()
    assert "s/box/b c" in first
    assert "no data" in first
    assert "50.00%  CAMERA_DOWN 1.5 min" in second
