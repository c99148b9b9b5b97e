"""Every link inside the documentation leads somewhere, and every page can be reached."""

import re

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def _anchor(heading: str) -> str:
    plain = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return plain.replace(" ", "-")


def _links(page):
    return _LINK.findall(_CODE.sub("", page.read_text("utf-8")))


def test_every_link_inside_the_documentation_resolves(docs):
    """Files exist, and so do the headings that a link names."""
    broken = []
    for page in docs.pages():
        for link in _links(page):
            if link.startswith(("https://", "mailto:")):
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            if not target.exists():
                broken.append(f"{page.relative_to(docs.root)}: {link}")
            elif anchor:
                headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
                if anchor not in map(_anchor, headings):
                    broken.append(f"{page.relative_to(docs.root)}: {link}: no such heading")
    assert broken == []


def test_every_page_can_be_reached_from_the_readme(docs):
    """A page that nothing links to is never read."""
    seen = set()
    waiting = [docs.root / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        targets = (link.partition("#")[0] for link in _links(page) if "://" not in link)
        waiting += [(page.parent / name).resolve() for name in targets if name]
    lonely = [str(page.relative_to(docs.root)) for page in docs.pages() if page not in seen]
    assert lonely == []


def test_every_decision_stands_in_the_index(docs):
    """The index lists each record once, in order."""
    folder = docs.root / "docs" / "decisions"
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text("utf-8"))
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))


def test_every_picture_is_small(docs):
    """A picture is a quarter of a megabyte at most."""
    heavy = [p.name for p in (docs.root / "docs").rglob("*.png") if p.stat().st_size > 250_000]
    assert heavy == []
