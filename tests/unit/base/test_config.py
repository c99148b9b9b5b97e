"""Configuration errors name line and key and say what to write instead."""

import contextlib
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette import config
from vedette.edge import settings
from vedette.edge.commission.record import settings_digest
from vedette.edge.settings import EdgeConfig
from vedette.errors import ConfigError

GOOD = """\
state_dir: state
models_dir: models
cameras:
  - id: door
    source: rtsp://192.0.2.7/stream
    zones:
      - name: shop
        polygon: [[0, 0], [1, 0], [1, 1]]
"""


def refused(text):
    """Return message and hint of the refusal."""
    with pytest.raises(ConfigError) as caught:
        settings.check(config.parse(text, EdgeConfig, name="edge.yaml"), "edge.yaml")
    return str(caught.value), caught.value.operator_hint or ""


def test_a_good_file_becomes_one_frozen_tree_with_defaults(tmp_path):
    """Paths are made absolute, relative to the file."""
    (tmp_path / "edge.yaml").write_text(GOOD)
    tree = settings.load(tmp_path / "edge.yaml")
    assert tree.state_dir == tmp_path / "state"
    assert tree.cameras[0].max_fps == 5.0
    assert tree.cameras[0].zones[0].polygon[1] == (1.0, 0.0)
    with pytest.raises(AttributeError):
        tree.state_dir = tmp_path


def test_an_unknown_key_names_its_line_and_the_nearest_key():
    """The commonest mistake is a typing error."""
    message, hint = refused(GOOD + "    max_fsp: 3\n")
    assert message.startswith("edge.yaml:9: cameras.0.max_fsp")
    assert "did you mean 'max_fps'" in hint


def test_a_wrong_value_names_its_line_and_what_the_entry_takes():
    """Type, unit, default and meaning stand in the hint."""
    message, hint = refused(GOOD + "    max_fps: fast\n")
    assert "edge.yaml:9: cameras.0.max_fps" in message
    assert "1/s" in hint
    assert "default 5.0" in hint


@pytest.mark.parametrize("written", ["90", "'90'", '"90"'])
def test_a_camera_is_turned_by_a_number_with_or_without_quotes(written):
    """As the pages write it; what a person confirmed by looking is the same for both."""
    tree = config.parse(GOOD + f"    rotate: {written}\n", EdgeConfig)
    assert int(tree.cameras[0].rotate) == 90
    quoted = config.parse(GOOD + "    rotate: '90'\n", EdgeConfig)
    assert settings_digest(tree.cameras[0]) == settings_digest(quoted.cameras[0])


@pytest.mark.parametrize("written", ["45", "sideways", "true", "90.5"])
def test_a_value_that_is_none_of_a_few_is_told_all_of_them(written):
    """Each value once, not the name of a type."""
    message, hint = refused(GOOD + f"    rotate: {written}\n")
    assert "edge.yaml:9: cameras.0.rotate" in message
    assert "takes one of auto, 0, 90, 180, 270 (default" in hint


def test_the_reference_names_the_values_of_every_choice():
    """Also of an optional one, and of one with a single value."""
    types = [item.type for item in config.reference(EdgeConfig)]
    assert not [name for name in types if "Literal" in name]
    assert "one of onnxruntime, openvino" in types
    assert config._type_name(Literal["only"]) == "one of only"
    assert config._type_name(Literal["a", "b"] | None) == "one of a, b or null"


def test_a_missing_key_is_named():
    """What is required is said."""
    message, _ = refused("models_dir: m\n")
    assert "state_dir" in message


def test_a_key_that_stands_twice_is_refused():
    """YAML would silently take the last one."""
    message, _ = refused("state_dir: a\nmodels_dir: m\nstate_dir: b\n")
    assert "edge.yaml:3" in message
    assert "twice" in message


def test_broken_yaml_names_its_line():
    """The parser's own line is passed on."""
    message, _ = refused("state_dir: [\nmodels_dir: m\n")
    assert "not valid YAML" in message


TRIANGLE = "name: z, polygon: [[0, 0], [1, 0], [1, 1]]"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("  - id: door\n    source: x\n", "stands twice"),
        ("  - id: Front Door\n    source: x\n", "not a short name"),
        ("  - {id: b, zones: [{name: z, polygon: [[0, 0], [1, 1]]}]}\n", "3 to 32 corners"),
        ("  - {id: b, zones: [{name: z, polygon: [[0, 0], [2, 1], [1, 1]]}]}\n", "outside"),
        ("  - {id: b, lines: [{name: l, a: [0.5, 0], b: [0.5, 0]}]}\n", "no length"),
        ("  - {id: b, lines: [{name: l, a: [0, 0], b: [1, 0], confirm_s: 90}]}\n", "too long"),
        (f"  - {{id: b, zones: [{{{TRIANGLE}, loiter_s: 900}}]}}\n", "cannot be reached"),
        (f"  - {{id: b, zones: [{{{TRIANGLE}, heading_deg: 999}}]}}\n", "no direction"),
        (f"  - {{id: b, zones: [{{{TRIANGLE}, heading_tolerance_deg: 0}}]}}\n", "tolerance"),
        (f"  - {{id: b, zones: [{{{TRIANGLE}, dwell_s: -1}}]}}\n", "dwell_s"),
        ("  - {id: b, off_hours: [['25:00', '06:00']]}\n", "no time of day"),
    ],
)
def test_what_types_cannot_say_is_checked_too(change, words):
    """Names, polygons, lines and times of day."""
    message, _ = refused(GOOD + change)
    assert words in message


def test_nested_and_endless_files_are_refused_quickly():
    """An alias bomb or a thousand brackets cost nothing."""
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for name, before in zip("bcdefgh", "abcdefg", strict=True):
        bomb += f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    for text in (bomb, "a: " + "[" * 5_000):
        with pytest.raises(ConfigError):
            config.parse(text, EdgeConfig)


@pytest.mark.parametrize("value", ["!custom x", "2001-99-99", "!!python/object:os.system x"])
def test_a_value_that_yaml_cannot_build_is_refused_with_its_line(value):
    """Tags and impossible dates end as a clear error; nothing is ever constructed from a tag."""
    message, hint = refused(f"models_dir: m\nstate_dir: {value}\n")
    assert "edge.yaml:2" in message
    assert "quotes" in hint


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_a_config_error(text):
    """No input escapes as another exception."""
    with contextlib.suppress(ConfigError):
        config.parse(text, EdgeConfig)


def test_every_entry_is_explained():
    """Each entry has words, and those that measure something have a unit."""
    for item in config.reference(EdgeConfig):
        if item.path.split(".")[0] == "cameras[]" and (
            "zones[]" in item.path or "lines[]" in item.path
        ):
            continue
        assert item.help, item.path
        if item.path.rsplit("_", 1)[-1] in {"s", "ms", "mb", "px"}:
            assert item.unit, item.path


def test_the_json_schema_refuses_unknown_keys():
    """Editors underline a typing error before the program does."""
    schema = config.json_schema(EdgeConfig)
    assert schema["$defs"]["Camera"]["additionalProperties"] is False
