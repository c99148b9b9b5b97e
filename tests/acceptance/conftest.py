"""Centrals that need not make their database first."""

from pathlib import Path

import pytest

from tests import prepared
from vedette.sim import rig
from vedette.sim.faults import Child

_central_child = rig.central_child


@pytest.fixture
def prepared_central(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rig's central finds a migrated, empty database in its state directory."""

    def central_child(folder: Path, port: int, log_path: Path) -> Child:
        prepared.lay_out(folder)
        return _central_child(folder, port, log_path)

    monkeypatch.setattr(rig, "central_child", central_child)
