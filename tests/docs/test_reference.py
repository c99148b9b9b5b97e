"""The reference pages say what the code says: nothing is missing and nothing is left over."""

import re

import msgspec
import pytest

from vedette import config, errors
from vedette.central.settings import CentralConfig
from vedette.edge.settings import EdgeConfig
from vedette.wire import streams


def test_every_reference_page_is_up_to_date(reference):
    """`make docs` would change nothing."""
    assert reference.stale(reference.pages()) == [], "run `make docs`"


def test_a_changed_page_would_be_noticed(reference):
    """The check above can fail."""
    assert reference.stale({"cli.md": "something else"}) == ["cli.md"]


def test_every_command_says_what_it_is_for(reference):
    """No command without help, and each option of a person's command has words or a clear name."""
    silent = [name for name, command in reference.commands() if not command.help]
    assert silent == []


@pytest.mark.parametrize("kind", [EdgeConfig, CentralConfig])
def test_every_entry_of_a_configuration_is_explained(kind):
    """Each entry has help of its own, but for the wire's zones and lines."""
    elsewhere = ("cameras[].zones[].", "cameras[].lines[].")
    entries = config.reference(kind)
    assert [e.path for e in entries if not e.help and not e.path.startswith(elsewhere)] == []


def test_every_stream_has_a_part_of_its_own_with_every_field(reference):
    """A message that is not on the page cannot be sent."""
    page = reference.streams_page()
    for row in streams.STREAMS:
        part = page.split(f"## {row.schema}\n")[1].split("\n## ")[0]
        assert [f.name for f in msgspec.structs.fields(row.body) if f"`{f.name}`" not in part] == []


def test_every_error_stands_in_the_tree_and_the_tree_names_no_other():
    """The tree at the top of `errors.py` is the documentation of what can go wrong."""
    text = (errors.__doc__ or "").split("Expected outcomes")[0]
    told = set(re.findall(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)+\b", text))
    there = {
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, errors.VedetteError)
    }
    assert told | {"Expired"} == there | {"Expired"}
    assert "Expired" in text


def test_the_tree_hangs_each_error_below_its_parent():
    """The indentation of the tree is the inheritance of the classes."""
    parents: list[tuple[int, str]] = []
    wrong = []
    for line in (errors.__doc__ or "").splitlines():
        branch = re.match(r"    ([│ ]*[├└] )((?:[A-Z]\w+)(?: · [A-Z]\w+)*)", line)
        if branch is None:
            continue
        depth = len(branch[1])
        parents = [p for p in parents if p[0] < depth]
        parent = parents[-1][1] if parents else "VedetteError"
        names = branch[2].split(" · ")
        wrong += [n for n in names if getattr(errors, n).__bases__[0].__name__ != parent]
        parents.append((depth, names[0]))
    assert wrong == []
