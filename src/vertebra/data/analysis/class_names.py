"""Class names that are likely the same class, written differently."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vertebra.data.analysis.connected import join

MIN_LETTERS = 6  # of the longer of two words; shorter ones differ by a letter and mean something else: cat, car
MIN_LETTERS_OTHER = 8  # where a letter is another one: beaver, beaker; hammer, hamper
IRREGULAR = {
    "child": "children",
    "foot": "feet",
    "goose": "geese",
    "man": "men",
    "mouse": "mice",
    "person": "people",
    "tooth": "teeth",
    "woman": "women",
}
REASONS = ("repeated", "case", "spacing", "plural", "spelling")


@dataclass(frozen=True)
class SimilarNames:
    """Names that are likely one class.

    Attributes:
        rows: their positions in the list of classes, ascending.
        names: the names.
        reasons: how they differ: "repeated" (not at all), "case", "spacing" (spaces, underscores, hyphens and other signs),
            "plural", "spelling" (one letter more, less or other, or two letters swapped).
    """

    rows: tuple[int, ...]
    names: tuple[str, ...]
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{', '.join(repr(name) for name in self.names)} ({', '.join(self.reasons)})"


def similar_class_names(names: Sequence[str]) -> list[SimilarNames]:
    """Groups of names that differ by case, spacing, plural or spelling only.

    Digits count: "class_1" and "class_2" differ. Spelling is compared in one word, where the other words are equal: of six letters
    or more, and eight where a letter is another one, which begin and end alike (other endings are mostly other words: archer,
    archery). Of the 1000 classes of ImageNet no two are taken for misspelled.

    Returns:
        Groups of two or more, in the order of their first names.
    """
    pairs: dict[tuple[int, int], str] = {}
    words = [_words(name) for name in names]
    forms = (list(names), [_folded(name) for name in names], ["".join(part) for part in words])
    for reason, keys in zip(REASONS, forms, strict=False):
        _add(pairs, reason, _equal(keys))
    _add(pairs, "plural", _plural_pairs(words))
    _add(pairs, "spelling", _misspelled_pairs(words))
    parents = np.arange(len(names))
    join(parents, *(np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1)))
    reasons = defaultdict(set)
    for (one, _), reason in pairs.items():
        reasons[int(parents[one])].add(reason)
    return [_group(names, np.flatnonzero(parents == root), reasons[root]) for root in sorted(reasons)]


def _group(names: Sequence[str], rows: np.ndarray, reasons: set[str]) -> SimilarNames:
    listed = tuple(rows.tolist())
    return SimilarNames(listed, tuple(names[row] for row in listed), tuple(sorted(reasons, key=REASONS.index)))


def _add(pairs: dict[tuple[int, int], str], reason: str, new: Iterable[tuple[int, int]]) -> None:
    for pair in new:
        pairs.setdefault(pair, reason)


def _folded(name: str) -> str:
    """The name without differences of case and of composed letters."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _words(name: str) -> tuple[str, ...]:
    """Words and numbers of a name: "trafficLight_2" and "traffic light 2" give the same three. Without any, the name itself."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", unicodedata.normalize("NFKC", name))
    return tuple(re.findall(r"\d+|[^\W\d_]+|[+&#]", _folded(spaced))) or (name,)


def _equal(keys: Sequence[str]) -> Iterable[tuple[int, int]]:
    """Each key with the first one that is equal."""
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        if first.setdefault(key, row) != row:
            yield first[key], row


def _plural_pairs(words: Sequence[tuple[str, ...]]) -> Iterable[tuple[int, int]]:
    """Names whose last words are the singular and the plural of one noun."""
    rows = {"".join(part): row for row, part in reversed(list(enumerate(words)))}
    for row, part in enumerate(words):
        stem, last = "".join(part[:-1]), part[-1]
        for plural in _plurals(last):
            other = rows.get(stem + plural, row)
            if other != row:
                yield min(row, other), max(row, other)


def _plurals(word: str) -> set[str]:
    """What may be the plural of a word of three letters or more."""
    if len(word) < 3 or not word.isalpha():
        return set()
    if word in IRREGULAR:
        return {IRREGULAR[word]}
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return {word + "es"}
    if word.endswith("y") and word[-2] not in "aeiou":
        return {word[:-1] + "ies"}
    plurals = {word + "s"}
    if word.endswith("f"):
        plurals.add(word[:-1] + "ves")
    if word.endswith("fe"):
        plurals.add(word[:-2] + "ves")
    if word.endswith("o"):
        plurals.add(word + "es")
    return plurals


def _misspelled_pairs(words: Sequence[tuple[str, ...]]) -> Iterable[tuple[int, int]]:
    """Names with one word that differs by one letter.

    Two words are within one edit only if they are equal after at most one letter is left out of each, so that names are compared
    only where such a form is the same.
    """
    forms: dict[tuple[str, int, str, str], list[int]] = defaultdict(list)
    for row, part in enumerate(words):
        for position, word in enumerate(part):
            if len(word) < MIN_LETTERS - 1 or not word.isalpha():
                continue
            before, after = " ".join(part[:position]), " ".join(part[position + 1 :])
            for form in {word, *(word[:at] + word[at + 1 :] for at in range(1, len(word)))}:
                forms[before, position, word[0] + form[1:], after].append(row)
    checked = set()
    for (_, position, _, _), rows in forms.items():
        for number, one in enumerate(rows):
            for other in rows[number + 1 :]:
                pair = (min(one, other), max(one, other))
                if (pair, position) not in checked:
                    checked.add((pair, position))
                    if _one_edit(words[one][position], words[other][position]):
                        yield pair


def _one_edit(one: str, other: str) -> bool:
    """Whether words differ by one letter more, less or other, not the last, or by two neighboring letters swapped."""
    if (
        one == other
        or abs(len(one) - len(other)) > 1
        or max(len(one), len(other)) < MIN_LETTERS
        or one[-1] != other[-1]
    ):
        return False
    shared = zip(one, other, strict=False)
    start = next((at for at, (a, b) in enumerate(shared) if a != b), min(len(one), len(other)))
    rest, other_rest = one[start:], other[start:]
    if len(rest) != len(other_rest):
        longer, shorter = sorted((rest, other_rest), key=len, reverse=True)
        return longer[1:] == shorter
    swapped = rest[0] == other_rest[1] and rest[1] == other_rest[0] and rest[2:] == other_rest[2:]
    return swapped or (len(one) >= MIN_LETTERS_OTHER and rest[1:] == other_rest[1:])
