"""Many selections asked of the same subjects: each word is looked up once, not asked of each. Pure.

A field's values point at the subjects that have them, so a word without `*` is one look-up and one
with `*` is tried on distinct values only; what a word means is a set of bits, kept for the next
selection that says it, and `and`, `or` and `-` are operations on whole sets. 500 groups over 10,000
cameras are some thousand words instead of millions of questions. The rule: it means what
`selection.matches` means, which stays the definition; a test holds one to the other.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from vedette.central.selection import All, Any, Node, Not, Subject, Word, fits_value

_Values = dict[str, list[int]]


class Index:
    """Subjects by their values. Thread: one at a time; tables are made when first asked for."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self._subjects: Final = subjects
        self._everything: Final = (1 << len(subjects)) - 1
        self._tables: Final[dict[str, _Values]] = {}
        self._words: Final[dict[tuple[str, str], int]] = {}

    def has(self, node: Node) -> bool:
        """True where a selection, its groups resolved, means one of the subjects."""
        return self._means(node) != 0

    def found(self, node: Node) -> list[Subject]:
        """Return the subjects that a selection, its groups resolved, means, in their order."""
        means = self._means(node)
        return [subject for n, subject in enumerate(self._subjects) if means >> n & 1]

    def _means(self, node: Node) -> int:
        """Return the subjects that are meant, as bits by their number."""
        if isinstance(node, Not):
            return self._everything & ~self._means(node.part)
        if isinstance(node, All):
            means = self._everything
            for part in node.parts:
                means &= self._means(part)
                if not means:
                    break
            return means
        if isinstance(node, Any):
            means = 0
            for part in node.parts:
                means |= self._means(part)
            return means
        return self._of_word(node)

    def _of_word(self, word: Word) -> int:
        means = 0
        for value in word.values:
            known = self._words.get((word.field, value))
            if known is None:
                known = self._words[word.field, value] = self._bits(
                    self._fitting(word.field, value)
                )
            means |= known
        return means

    def _fitting(self, field: str, value: str) -> Iterable[int]:
        """Return the numbers of the subjects that one alternative of a word means."""
        wanted = value
        if field == "label":
            key, equals, wanted = value.partition("=")
            field, wanted = f"label {key}", wanted if equals else "*"
        table = self._tables.get(field)
        if table is None:
            table = self._tables[field] = self._table(field)
        return (
            number
            for have, numbers in table.items()
            if fits_value(field.partition(" ")[0], wanted, have)
            for number in numbers
        )

    def _table(self, field: str) -> _Values:
        table: defaultdict[str, list[int]] = defaultdict(list)
        kind, _, key = field.partition(" ")
        for number, subject in enumerate(self._subjects):
            if kind == "folder":
                table[subject.folder].append(number)
            elif kind == "label":
                if key in subject.labels:
                    table[subject.labels[key]].append(number)
            else:
                for value in subject.values_of(kind):
                    table[value].append(number)
        return dict(table)

    def _bits(self, numbers: Iterable[int]) -> int:
        bits = bytearray(len(self._subjects) // 8 + 1)
        for number in numbers:
            bits[number >> 3] |= 1 << (number & 7)
        return int.from_bytes(bits, "little")
