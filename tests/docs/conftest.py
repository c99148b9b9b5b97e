"""What the tests of the documentation share: the pages, and their fenced blocks."""

import importlib.util
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        """Name the place."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Return every page for people: in the root and below docs."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(*languages: str) -> list[Block]:
    """Return the fenced blocks of all pages in these languages."""
    return [
        Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2])
        for page in pages()
        for text in [page.read_text("utf-8")]
        for match in _FENCE.finditer(text)
        if match[1] in languages
    ]


def tracked() -> list[Path]:
    """Return the files of the project; those that git knows or would take, none that it ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=20,
    )
    if listed.returncode:
        tops = ("src", "docs", "tests", "tools", "examples")
        return [path for top in tops for path in ROOT.glob(f"{top}/**/*") if path.is_file()]
    names = listed.stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


class Site:
    """The documentation, as the tests ask for it."""

    root = ROOT
    pages = staticmethod(pages)
    blocks = staticmethod(blocks)
    tracked = staticmethod(tracked)


@pytest.fixture(scope="session")
def docs() -> type[Site]:
    """Pages, fenced blocks and files."""
    return Site


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The generator of the reference pages."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
