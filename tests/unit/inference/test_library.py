"""The models folder: names, lookups and broken bundles."""

from pathlib import Path

import pytest

from vedette.errors import ConfigError
from vedette.inference.bundle import Bundle, pack
from vedette.inference.library import Library, default_dir


def test_finds_what_was_added_from_an_archive(bundle: Bundle, tmp_path: Path):
    """A carried .vbundle becomes a folder under its own name, the same bundle."""
    pack(bundle, tmp_path / "x.vbundle")
    library = Library(tmp_path / "models")
    library.add(Bundle.open(tmp_path / "x.vbundle"))
    assert library.names() == ["tiny"]
    assert library.find("tiny").digest == bundle.digest


def test_unknown_name_says_what_is_there_and_what_was_meant(bundle: Bundle):
    """A typing mistake gets the right name."""
    with pytest.raises(ConfigError, match="tiny") as caught:
        Library(bundle.path.parent).find("tinny")
    assert "Did you mean 'tiny'?" in (caught.value.operator_hint or "")


@pytest.mark.parametrize("name", ["../tiny", "/etc", "", ".", "tiny/../tiny"])
def test_a_name_cannot_be_a_path(bundle: Bundle, name: str):
    """A configured model name cannot lead out of the folder."""
    with pytest.raises(ConfigError):
        Library(bundle.path.parent).find(name)


def test_broken_bundle_does_not_hide_the_others(bundle: Bundle):
    """The list shows a broken bundle with its problem."""
    broken = bundle.path.parent / "broken"
    broken.mkdir()
    (broken / "bundle.json").write_text("{}")
    entries = {entry.name: entry for entry in Library(bundle.path.parent).list()}
    assert entries["tiny"].bundle is not None
    assert entries["broken"].bundle is None
    assert "format" in (entries["broken"].problem or "")


def test_missing_folder_is_an_empty_library(tmp_path: Path):
    """A machine without models lists none."""
    assert Library(tmp_path / "none").list() == []


def test_environment_chooses_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """VEDETTE_MODELS is where bundles are looked for."""
    monkeypatch.setenv("VEDETTE_MODELS", str(tmp_path))
    assert default_dir() == tmp_path
