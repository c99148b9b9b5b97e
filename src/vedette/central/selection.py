"""The one language that says which sites, devices or cameras are meant. Pure.

    folder:europe/** label:tier=gold hardware:*orin* -device:lisbon-1
    (state:dark or state:down,tampered) -label:test group:pilot

Words after each other must all hold; `or` between them asks for one of both sides; `-` turns one
around; brackets group. A word is a field, a colon and a value; commas part alternatives; quotes
keep blanks; `*` stands for any text (in folders: within one step), `**` for any steps below and the
folder itself. `*` alone is everything.

What is asked is a `Subject`: a camera, a device or a site, with its own values and those of
what is in it. A word holds where one of the values fits, so a site is `hardware:*orin*` where one
of its devices is; `-hardware:*orin*` holds where none is. Nothing here reads a database: groups are
given as a mapping from names to expressions.

The rule: an expression is read as a whole or refused with the place of the mistake; it has limits,
and no text in it can make matching slow.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from vedette.errors import ConfigError
from vedette.ids import is_slug

MAX_CHARS: Final = 2_000
MAX_WORDS: Final = 200
MAX_RESOLVED: Final = 2_000
"""Words of one selection with all of its groups: groups in groups could otherwise multiply."""

MAX_DEPTH: Final = 16
MAX_FOLDER_CHARS: Final = 256
MAX_STEPS: Final = 12

PLAIN: Final = ("site", "device", "camera", "state", "hardware", "make", "model", "firmware")
FIELDS: Final = (*PLAIN, "folder", "label", "version", "group")

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<open>\()|(?P<close>\))|(?P<minus>-)|(?P<word>(?:\"[^\"]*\"|[^\s()\"])+))"
)
_COMPARED: Final = re.compile(r"(>=|<=|>|<)(\d{1,9}(?:\.\d{1,9}){0,3})")


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a selection is asked about: its own values, and those of all that is in it.

    Attributes:
        labels: Its own and those of what it lies in; the nearest wins.
    """

    site: str
    device: str = ""
    camera: str = ""
    folder: str = ""
    labels: dict[str, str] = {}
    values: dict[str, frozenset[str]] = {}

    def values_of(self, field: str) -> frozenset[str]:
        """Return what it has of a plain field: its own name, and those of all that is in it."""
        own = {"site": self.site, "device": self.device, "camera": self.camera}.get(field, "")
        return self.values.get(field, frozenset()) | ({own} if own else frozenset())


class Word(msgspec.Struct, frozen=True):
    """`field:value,value`: holds where one of the values fits."""

    field: str
    values: tuple[str, ...]


class Not(msgspec.Struct, frozen=True):
    """Holds where `part` does not."""

    part: "Node"


class All(msgspec.Struct, frozen=True):
    """Holds where every part does; without parts always."""

    parts: tuple["Node", ...]


class Any(msgspec.Struct, frozen=True):
    """Holds where one part does."""

    parts: tuple["Node", ...]


Node = Word | Not | All | Any


# ------------------------------------------------------------------------------------- reading


class _Tokens:
    """The words of an expression, one after another, with their places."""

    def __init__(self, text: str) -> None:
        self.found: list[tuple[str, str, int]] = []
        self.at = 0
        place = 0
        while text[place:].strip():
            match = _TOKEN.match(text, place)
            if match is None or match.lastgroup is None:
                raise _wrong("a quote that does not end", place)
            kind = match.lastgroup
            self.found.append((kind, match[kind], match.start(kind)))
            place = match.end()
        if len(self.found) > MAX_WORDS:
            raise _wrong(f"more than {MAX_WORDS} words", self.found[MAX_WORDS][2])
        self.end = len(text)

    def peek(self) -> tuple[str, str, int]:
        return self.found[self.at] if self.at < len(self.found) else ("end", "", self.end)

    def next(self) -> tuple[str, str, int]:
        token = self.peek()
        self.at += 1
        return token


def parse(text: str) -> Node:
    """Return what an expression says.

    Raises:
        ConfigError: It cannot be understood; the message says where and why.
    """
    if len(text) > MAX_CHARS or "\0" in text:
        raise _wrong(f"longer than {MAX_CHARS} characters", MAX_CHARS)
    tokens = _Tokens(text)
    if not tokens.found:
        raise ConfigError("nothing is selected", operator_hint="say * for everything")
    node = _either(tokens, 0)
    kind, said, place = tokens.peek()
    if kind != "end":
        raise _wrong(f"{said!r} without its other bracket", place)
    return node


def _either(tokens: _Tokens, depth: int) -> Node:
    parts = [_together(tokens, depth)]
    while tokens.peek()[:2] == ("word", "or"):
        tokens.next()
        parts.append(_together(tokens, depth))
    return parts[0] if len(parts) == 1 else Any(tuple(parts))


def _together(tokens: _Tokens, depth: int) -> Node:
    parts: list[Node] = []
    while True:
        kind, said, place = tokens.peek()
        if kind in {"end", "close"} or (kind, said) == ("word", "or"):
            if not parts:
                raise _wrong("something is missing", place)
            return parts[0] if len(parts) == 1 else All(tuple(parts))
        parts.append(_one(tokens, depth))


def _one(tokens: _Tokens, depth: int) -> Node:
    kind, said, place = tokens.next()
    if depth >= MAX_DEPTH:
        raise _wrong(f"more than {MAX_DEPTH} brackets in each other", place)
    if kind == "minus":
        if tokens.peek()[0] in {"end", "close"}:
            raise _wrong("nothing follows the -", place)
        return Not(_one(tokens, depth + 1))
    if kind == "open":
        node = _either(tokens, depth + 1)
        if tokens.next()[0] != "close":
            raise _wrong("a bracket that is not closed", place)
        return node
    if kind == "word":
        return All(()) if said == "*" else _word(said, place)
    raise _wrong(f"{said!r} is not expected", place)


def _word(said: str, place: int) -> Word:
    field, colon, rest = said.partition(":")
    if not colon:
        raise _wrong(f"{said!r} is no `field:value`", place)
    if field not in FIELDS:
        raise _wrong(f"there is no field {field!r}: one of {', '.join(FIELDS)}", place)
    values = tuple(value.strip() for value in rest.replace('"', "").split(","))
    if not all(values):
        raise _wrong(f"{field}: without a value", place)
    for value in values:
        _check(field, value, place)
    return Word(field, values)


def _check(field: str, value: str, place: int) -> None:
    """Refuse what could never fit: a mistyped value must not pass for "none"."""
    if field == "label":
        key = value.partition("=")[0]
        if not is_slug(key):
            raise _wrong(f"{key!r} cannot name a label", place)
    elif field == "folder":
        if not is_folder(value.replace("*", "x")) and value.strip("*/"):
            raise _wrong(f"{value!r} is no folder", place)
    elif field == "group" and not is_slug(value):
        raise _wrong(f"{value!r} cannot name a group", place)
    elif field == "version" and value[0] in "<>" and not _COMPARED.fullmatch(value):
        raise _wrong(f"{value!r} is no comparison, as in version:>=0.4", place)


def _wrong(why: str, place: int) -> ConfigError:
    return ConfigError(
        f"the selection cannot be read at character {place + 1}: {why}",
        operator_hint="for example: folder:europe/** label:tier=gold -device:x",
    )


def text_of(node: Node) -> str:
    """Return an expression that says the same."""
    if isinstance(node, Word):
        said = f"{node.field}:{','.join(node.values)}"
        return f'"{said}"' if re.search(r"[\s()]", said) else said
    if isinstance(node, Not):
        inner = text_of(node.part)
        return f"-({inner})" if isinstance(node.part, All | Any) else f"-{inner}"
    parts = [f"({text_of(p)})" if isinstance(p, All | Any) else text_of(p) for p in node.parts]
    return (" or " if isinstance(node, Any) else " ").join(parts) or "*"


# ------------------------------------------------------------------------------------ matching


def resolve_groups(node: Node, groups: Mapping[str, str]) -> Node:
    """Return the same with every `group:` replaced by what the group says.

    Raises:
        ConfigError: There is no such group, groups name each other in a circle, or so often that
            there would be more than `MAX_RESOLVED` words.
    """
    return _resolve(node, groups, [MAX_RESOLVED], 0)


def _resolve(node: Node, groups: Mapping[str, str], left: list[int], depth: int) -> Node:
    """Return `node` resolved; `left` has how many words there may still be."""
    if depth > MAX_DEPTH:
        raise ConfigError(
            "groups name each other in a circle", operator_hint="take one of them out"
        )
    if isinstance(node, Not):
        return Not(_resolve(node.part, groups, left, depth))
    if isinstance(node, All | Any):
        return type(node)(tuple(_resolve(part, groups, left, depth) for part in node.parts))
    left[0] -= 1
    if left[0] < 0:
        raise ConfigError(
            f"with its groups this selection has more than {MAX_RESOLVED} words",
            operator_hint="name each group once, and less of them in each other",
        )
    if node.field != "group":
        return node
    missing = [name for name in node.values if name not in groups]
    if missing:
        raise ConfigError(
            f"there is no group {missing[0]!r}", operator_hint="vedette central group list"
        )
    return Any(
        tuple(_resolve(parse(groups[name]), groups, left, depth + 1) for name in node.values)
    )


def matches(node: Node, subject: Subject) -> bool:
    """True where a selection, its groups resolved, means this subject."""
    if isinstance(node, Not):
        return not matches(node.part, subject)
    if isinstance(node, All):
        return all(matches(part, subject) for part in node.parts)
    if isinstance(node, Any):
        return any(matches(part, subject) for part in node.parts)
    return any(_fits(node.field, value, subject) for value in node.values)


def _fits(field: str, value: str, subject: Subject) -> bool:
    if field == "folder":
        return fits_folder(value, subject.folder)
    if field == "label":
        key, equals, wanted = value.partition("=")
        have = subject.labels.get(key)
        return have is not None and (not equals or fits_text(wanted, have))
    return any(fits_value(field, value, have) for have in subject.values_of(field))


def fits_value(field: str, wanted: str, have: str) -> bool:
    """True where one value that a subject has is what a word wants; of a label, of that key."""
    if field == "folder":
        return fits_folder(wanted, have)
    if field == "label":
        return fits_text(wanted, have)
    compared = _COMPARED.fullmatch(wanted) if field == "version" else None
    if compared:
        return _compare(compared[1], have, compared[2])
    return fits_text(wanted.lower(), have.lower())


def fits_text(pattern: str, text: str) -> bool:
    """True where `text` is `pattern`, in which `*` stands for anything; linear in both."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    last = rest.pop()
    if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in rest:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def fits_folder(pattern: str, folder: str) -> bool:
    """True where a folder is `pattern`, step by step; `**` stands for any number of steps."""
    steps = folder.split("/") if folder else []
    reached = {0}  # how many steps are used up
    for wanted in [step for step in pattern.split("/") if step]:
        if wanted == "**":
            reached = set(range(min(reached, default=0), len(steps) + 1)) if reached else set()
        else:
            reached = {n + 1 for n in reached if n < len(steps) and fits_text(wanted, steps[n])}
    return len(steps) in reached


def _compare(sign: str, have: str, wanted: str) -> bool:
    """Compare the numbers that a version begins with; one without numbers fits nothing."""
    found = re.match(r"\d{1,9}(?:\.\d{1,9}){0,3}", have)
    if found is None:
        return False
    left, right = _numbers(found[0]), _numbers(wanted)
    return {">=": left >= right, "<=": left <= right, ">": left > right, "<": left < right}[sign]


def _numbers(text: str) -> list[int]:
    found = [int(part) for part in text.split(".")]
    return found + [0] * (4 - len(found))


# ------------------------------------------------------------------------------------- folders


def is_folder(folder: str) -> bool:
    """True where `folder` can be one: slugs with `/` between them, or empty for the top."""
    if not folder:
        return True
    steps = folder.split("/")
    return len(folder) <= MAX_FOLDER_CHARS and len(steps) <= MAX_STEPS and all(map(is_slug, steps))


def check_folder(folder: str) -> str:
    """Return `folder` where it can be one.

    Raises:
        ConfigError: It cannot.
    """
    if not is_folder(folder):
        raise ConfigError(
            f"{folder[:80]!r} cannot be a folder",
            operator_hint="as in europe/portugal/lisbon: a-z 0-9 . _ - and / between the steps",
        )
    return folder


def is_in(folder: str, above: str) -> bool:
    """True where `folder` is `above` or lies anywhere below it."""
    return not above or folder == above or folder.startswith(f"{above}/")


def moved(folder: str, old: str, new: str) -> str:
    """Return where a folder is after `old` and all below it went to `new`."""
    if not is_in(folder, old):
        return folder
    rest = folder[len(old) :].lstrip("/")
    return "/".join(part for part in (new, rest) if part)


def named(node: Node, field: str) -> list[str]:
    """Return what a selection names of a field, in order; not what it leaves out."""
    if isinstance(node, Not):
        return []
    if isinstance(node, All | Any):
        return [value for part in node.parts for value in named(part, field)]
    return list(node.values) if node.field == field else []


def rename_folder(node: Node, old: str, new: str) -> Node:
    """Return the same selection after a folder moved: words that begin with its path follow it."""
    if isinstance(node, Not):
        return Not(rename_folder(node.part, old, new))
    if isinstance(node, All | Any):
        return type(node)(tuple(rename_folder(part, old, new) for part in node.parts))
    if node.field != "folder":
        return node
    return Word("folder", tuple(moved(value, old, new) for value in node.values))
