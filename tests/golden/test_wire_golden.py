"""Messages of every version ever released still parse, and say the same."""

import importlib.util
from pathlib import Path

import pytest

from vedette.wire import codec
from vedette.wire.streams import STREAMS, stream

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("wire-*/*.msgpack"))


def examples():
    """Return the examples that the newest golden files were written from."""
    spec = importlib.util.spec_from_file_location("golden_make", HERE / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EXAMPLES


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_message_of_any_released_version_parses(path):
    """A device that was never updated is still understood."""
    codec.decode_body(path.read_bytes(), stream(path.stem))


def test_the_newest_golden_files_hold_every_schema_with_every_value():
    """The files of this version say exactly what the examples say."""
    newest = HERE / "wire-0.1"
    wanted = examples()
    for row in STREAMS:
        got = codec.decode_body((newest / f"{row.schema}.msgpack").read_bytes(), row)
        assert got == wanted[row.schema]
