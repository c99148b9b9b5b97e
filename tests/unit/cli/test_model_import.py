"""`vedette model import` takes no model's place unasked."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vedette.cli.model import command
from vedette.errors import ConfigError
from vedette.inference.bundle import Bundle, pack
from vedette.sim.closed_world import write_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """The closed world's detector, somewhere else."""
    return write_bundle(tmp_path / "source" / "walkers")


def bring(file: Path, models: Path, *more: str) -> Result:
    """Run the import; raise what it raises."""
    arguments = ["import", str(file), "--models-dir", str(models), *more]
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def test_a_model_of_that_name_stays_unless_replacing_was_said(tmp_path: Path, bundle: Bundle):
    """Refused before anything is read; then replaced, with the old digest on standard error."""
    models, onnx = tmp_path / "models", bundle.path / bundle.manifest.model
    assert bring(bundle.path, models).stderr == ""
    assert bring(bundle.path, models).stderr == ""  # the very same one changes nothing
    options = ("--name", "walkers", "--head", "nonsense")
    with pytest.raises(ConfigError, match=f"already: .*{bundle.digest}") as caught:
        bring(onnx, models, *options)
    assert "--replace" in (caught.value.operator_hint or "")
    assert Bundle.open(models / "walkers").digest == bundle.digest
    with pytest.raises(ConfigError, match="no head 'nonsense'"):  # past the gate
        bring(onnx, models, *options, "--replace")
    assert Bundle.open(models / "walkers").digest == bundle.digest


def test_another_bundle_of_that_name_and_a_broken_one_are_told(tmp_path: Path, bundle: Bundle):
    """A packed bundle carries its own name; what cannot be read has no digest to tell."""
    models, packed = tmp_path / "models", tmp_path / "walkers.vbundle"
    pack(bundle, packed)
    (models / "walkers").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"already: .*broken"):
        bring(packed, models)
    told = bring(packed, models, "--replace", "--json")
    assert told.stderr == "replaces walkers (old digest broken)\n"
    assert told.stdout.startswith("{")
    assert Bundle.open(models / "walkers").digest == bundle.digest
