"""What the agent says of the bytes that wear the disk."""

from pathlib import Path

import pytest

from vedette.edge.wear import WearMeter, written_by


def books(proc: Path, process: str, written: int, cancelled: int = 0) -> None:
    """Plant a process's books as the kernel shows them."""
    (proc / process).mkdir(parents=True, exist_ok=True)
    (proc / process / "io").write_text(
        f"rchar: 9\nwchar: 9\nsyscr: 1\nsyscw: 1\nread_bytes: 0\n"
        f"write_bytes: {written}\ncancelled_write_bytes: {cancelled}\n"
    )


def test_both_processes_count_since_the_last_look(tmp_path: Path) -> None:
    """Each byte once; all of a pipeline that is new; nothing of what was deleted in memory."""
    meter = WearMeter(tmp_path)
    books(tmp_path, "self", 5_000, cancelled=1_000)
    assert meter.take(None) == 4_000
    books(tmp_path, "7", 300)
    assert meter.take(7) == 300
    books(tmp_path, "self", 5_500, cancelled=1_000)
    books(tmp_path, "7", 400)
    assert meter.take(7) == 600
    books(tmp_path, "8", 50)
    assert meter.take(8) == 50
    assert meter.take(None) == 0
    assert meter.take(8) == 0


@pytest.mark.parametrize("text", ["", "write_bytes: lots\ncancelled_write_bytes: 0\n", "\xff"])
def test_books_that_cannot_be_read_are_no_zero(tmp_path: Path, text: str) -> None:
    """A kernel that does not say leads to no figure, for this process or the pipeline."""
    assert WearMeter(tmp_path).take(1) is None
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "io").write_text(text, encoding="latin-1")
    assert WearMeter(tmp_path).take(1) is None
    books(tmp_path, "self", 10)
    assert WearMeter(tmp_path).take(99) == 10


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs Linux's books")
def test_this_kernel_keeps_the_books() -> None:
    """The real file is understood."""
    assert written_by("self") is not None
