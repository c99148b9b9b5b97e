"""The four journeys name code and tests that exist, so the pages cannot rot."""

import ast
import importlib
import re

import pytest

PAGES = [
    "life-of-a-frame.md",
    "life-of-a-report.md",
    "life-of-a-rollout.md",
    "life-of-an-alert.md",
]
_SYMBOL = re.compile(r"`(vedette(?:\.\w+)+):([\w.]+)`")
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def _find(module: str, name: str) -> object:
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]


@pytest.mark.parametrize("page", PAGES)
def test_every_named_symbol_can_be_imported(docs, page):
    """Each `module:function` is there and can be called."""
    text = (docs.root / "docs" / page).read_text("utf-8")
    named = _SYMBOL.findall(text)
    assert named
    assert [f"{m}:{n}" for m, n in named if not callable(_find(m, n))] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_named_test_exists(docs, page):
    """Each test on the page is a function in that file."""
    text = (docs.root / "docs" / page).read_text("utf-8")
    missing = []
    for file, name in _TEST.findall(text):
        path = docs.root / file
        tree = ast.parse(path.read_text("utf-8")) if path.is_file() else ast.parse("")
        names = {getattr(node, "name", "") for node in ast.walk(tree)}
        if not path.is_file() or (name and name not in names):
            missing.append(f"{file}::{name}")
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_step_names_code_and_a_test(docs, page):
    """No row leaves out where it happens or what shows it; the steps are numbered in order."""
    text = (docs.root / "docs" / page).read_text("utf-8")
    assert not re.findall(r"^\| \d+[a-z]+ \|", text, re.MULTILINE), (
        "a step between two has a number"
    )
    rows = _rows((docs.root / "docs" / page).read_text("utf-8"))
    assert [r for r in rows if not _SYMBOL.search(r) or not _TEST.search(r)] == []
    assert [int(r.split("|")[1]) for r in rows] == list(range(1, len(rows) + 1))


def test_a_name_that_went_away_would_be_noticed():
    """The check above can fail."""
    with pytest.raises(AttributeError):
        _find("vedette.edge.intake", "Intake.forget")
