"""Labels for a branch: names stay text, codes hold no secret, each language is whole."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from vedette.cli.labels import command
from vedette.edge.labels import sheet
from vedette.edge.labels.words import LANGUAGES
from vedette.errors import ConfigError

CAMERAS = [("door", "Front door"), ("yard", "")]


def test_a_device_gets_a_label_for_the_box_each_camera_and_each_plug() -> None:
    """Two for the box and two for each camera, named as people call them."""
    labels = sheet.for_device("lisbon-3", "closet-1", CAMERAS, name="Box in the closet")
    assert [(one.kind.value, one.name) for one in labels] == [
        ("device", "Box in the closet"),
        ("power", "Box in the closet"),
        ("camera", "Front door"),
        ("power", "Front door"),
        ("camera", "yard"),
        ("power", "yard"),
    ]
    assert labels[2].path == ("lisbon-3", "closet-1", "door")


def test_a_code_leads_to_central_or_says_plain_words() -> None:
    """Odd characters are escaped; nothing but names is inside."""
    assert sheet.address("https://c.example/", ("a", "b c", "d/e")) == (
        "https://c.example/at/a/b%20c/d%2Fe"
    )
    assert sheet.address("", ("a", "b")) == "vedette a / b"


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_language_is_whole_and_names_what_the_plug_feeds(language: str) -> None:
    """All words are there, and the name stands where the plug's label needs it."""
    labels = sheet.for_device("s", "d", CAMERAS)
    made = sheet.sheet(labels, language=language, central="", contact="+1 555 0100")
    assert f'lang="{language}"' in made
    assert LANGUAGES[language].power in made
    assert LANGUAGES[language].power_of.format(what="Front door") in made
    assert made.count("+1 555 0100") == len(labels)


def test_names_never_become_markup() -> None:
    """A camera's name with a script in it is printed as it stands."""
    evil = "<script>x</script>"
    made = sheet.sheet(
        sheet.for_device("s", "d", [("c", evil)]), language="en", central="", contact=evil
    )
    assert "<script" not in made


def test_what_cannot_be_made_says_what_to_do() -> None:
    """Another language, nobody's labels, an address no code can hold."""
    labels = sheet.for_device("s", "d", [])
    with pytest.raises(ConfigError, match="'xx'"):
        sheet.sheet(labels, language="xx", central="", contact="")
    with pytest.raises(ConfigError, match="1 to"):
        sheet.sheet([], language="en", central="", contact="")
    with pytest.raises(ConfigError, match="too long"):
        sheet.sheet(labels, language="en", central="https://" + "x" * 4000, contact="")


def test_the_command_takes_names_from_the_configuration(tmp_path: Path) -> None:
    """Cameras and central come from edge.yaml; no password of a camera is in the file."""
    (tmp_path / "edge.yaml").write_text(
        "state_dir: state\nmodels_dir: models\ncentral: {url: https://c.example}\ncameras:\n"
        '  - {id: door, name: Front door, source: "rtsp://user:hunter2@192.0.2.7/one"}\n'
    )
    made = tmp_path / "labels.html"
    arguments = ["--config", str(tmp_path / "edge.yaml"), "-o", str(made)]
    with pytest.raises(ConfigError, match="whose labels"):
        CliRunner().invoke(command, arguments, catch_exceptions=False)
    named = [*arguments, "--site", "lisbon-3", "--device", "closet-1"]
    result = CliRunner().invoke(command, named, catch_exceptions=False)
    assert "4 labels" in result.output
    text = made.read_text()
    assert "Front door" in text
    assert "hunter2" not in text
