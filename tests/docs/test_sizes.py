"""Files and functions stay small enough to read; tables and generated files are listed."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE_LINES, FUNCTION_LINES, SCRIPT_LINES = 600, 80, 400
TABLES = {"src/vedette/wire/messages.py"}


def test_no_module_is_longer_than_the_hard_limit():
    """A module that grew past it has two subjects."""
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / "src").rglob("*.py")
        if (lines := path.read_text().count("\n")) > MODULE_LINES
    }
    assert {name: n for name, n in long.items() if name not in TABLES} == {}


def test_no_function_is_longer_than_the_hard_limit():
    """A function that grew past it does two things."""
    long = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines}")
    assert long == []


def test_no_script_for_the_browser_is_longer_than_the_hard_limit():
    """Without a build step, small modules are the only structure there is."""
    static = ROOT / "src/vedette/central/console/static"
    long = [
        f"{path.name}: {lines}"
        for path in static.rglob("*.js")
        if (lines := path.read_text().count("\n")) > SCRIPT_LINES
    ]
    assert long == []


def test_every_test_says_in_words_what_it_proves():
    """Each test has a docstring, so that a failure reads as a broken promise."""
    silent = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and node.name.startswith("test_") and not ast.get_docstring(node):
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert silent == []
