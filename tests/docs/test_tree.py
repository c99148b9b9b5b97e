"""What must never be in the tree: places of one machine, addresses of registries, loose pins."""

import re

import pytest

_HERE = "|".join(("/work" + "/", "/root" + "/", "/home" + r"/\w+/", "/tmp" + r"/\w"))
_PLACES = re.compile(rf"(?<![\w.\$}}])(?:{_HERE})")
_REGISTRIES = re.compile(
    "|".join(
        re.escape(host)
        for host in (
            "registry." + "npmjs.org",
            "files." + "pythonhosted.org",
            "pypi." + "org/simple",
            "deb." + "debian.org",
        )
    )
)


def _texts(docs):
    for path in docs.tracked():
        if path.suffix in {".png", ".jpg", ".msgpack", ".npz", ".onnx", ".mp4"}:
            continue
        yield path.relative_to(docs.root), path.read_text("utf-8", errors="replace")


@pytest.mark.parametrize("pattern", [_PLACES, _REGISTRIES], ids=["places", "registries"])
def test_no_file_names_a_place_that_only_one_machine_has(docs, pattern):
    """No path of the machine that something was written on, no address of a package registry."""
    found = [
        f"{name}: {match[0]}"
        for name, text in _texts(docs)
        for match in [pattern.search(text)]
        if match
    ]
    assert found == []


def test_a_place_would_be_noticed():
    """The check above can fail."""
    assert _PLACES.search("open(" + "'/work" + "/x')")
    assert not _PLACES.search("$HOME/work/x")


def test_every_locked_dependency_has_hashes_and_no_address(docs):
    """`pip install --require-hashes` works with any index that the machine is set up for."""
    text = (docs.root / "requirements.lock").read_text("utf-8")
    assert "://" not in text
    assert "--index" not in text
    entries = re.findall(r"^[A-Za-z0-9][^\n]*(?:\n[ \t]+[^\n]*)*", text, re.MULTILINE)
    assert len(entries) > 20
    assert [e.splitlines()[0] for e in entries if "--hash=sha256:" not in e] == []
    assert [e.splitlines()[0] for e in entries if "==" not in e.splitlines()[0]] == []
