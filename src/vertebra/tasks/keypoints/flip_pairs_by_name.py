"""Left-right pairs of points, by their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Pairs = tuple[tuple[int, int], ...]
Reading = tuple[str, ...]

LEFT, RIGHT = "<left>", "<right>"
SIDES = (
    ("left", "right"), ("l", "r"), ("lt", "rt"), ("lft", "rgt"), ("lh", "rh"), ("links", "rechts"), ("gauche", "droite"),
    ("izquierda", "derecha"), ("izquierdo", "derecho"), ("izq", "der"), ("sinistra", "destra"), ("sinistro", "destro"),
    ("sx", "dx"), ("esquerda", "direita"), ("esquerdo", "direito"), ("左", "右"), ("왼쪽", "오른쪽"), ("왼", "오른"), ("좌", "우"),
)  # fmt: skip
GENERIC = frozenset({
    "bodypart", "corner", "element", "id", "idx", "index", "joint", "k", "keypoint", "kp", "kpt", "landmark", "lm", "marker",
    "mark", "n", "node", "number", "p", "part", "point", "pt", "pts", "v", "vertex", "x",
})  # fmt: skip
MIDLINE = frozenset({
    "abdomen", "back", "belly", "body", "center", "central", "chest", "chin", "forehead", "head", "mid", "middle",
    "midline", "neck", "nose", "pelvis", "root", "snout", "spine", "sternum", "tail", "thorax", "torso", "trunk", "vertebra",
    "withers",
})  # fmt: skip
NO_SIDE = frozenset({"bright", "cleft", "upright"})
_MARKS = {left: LEFT for left, _ in SIDES} | {right: RIGHT for _, right in SIDES}
_SWAP = {LEFT: RIGHT, RIGHT: LEFT}
_TOKEN = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_A-Za-z]+")


@dataclass(frozen=True)
class NamedPairs:
    """The left-right pairs in the names of points.

    Attributes:
        pairs: (left, right) ids of the pairs that the names determine.
        undecided: ids of points whose names do not determine whether they have a partner, or which.
    """

    pairs: Pairs
    undecided: tuple[int, ...]

    @property
    def complete(self) -> bool:
        """Whether the names determine every point: some are pairs, and all others lie on the mid-line."""
        return bool(self.pairs) and not self.undecided


def pairs_by_name(points: Sequence[str]) -> Pairs | None:
    """Left-right pairs by the points' names, or None if the names leave a point undecided; see `read_names`."""
    names = read_names(points)
    return names.pairs if names.complete else None


def read_names(points: Sequence[str]) -> NamedPairs:
    """Reads left and right out of names: left_eye and right_eye, l_paw and r_paw, paw_L and paw_R, earL and earR, RShoulder and
    LShoulder, front_left_paw and front_right_paw, lt_ear and rt_ear, leftear and rightear, and the words of other languages.

    A point without a side in its name lies on the mid-line (nose, tail2), unless the name is ambiguous: a number ("17"), a
    generic name ("kp_3"), or one of several that differ only by a number or a letter (paw1, paw2). A point with a side whose
    partner is missing is undecided too.
    """
    tokens = [tuple(token.lower() for token in _TOKEN.findall(name)) for name in points]
    readings = [_readings(reading_tokens) for reading_tokens in tokens]
    partners = [_partner(point, readings) for point in range(len(points))]
    pairs = []
    decided: set[int] = set()
    used: set[str] = set()
    for point, partner in enumerate(partners):
        if partner is not None and partners[partner] == point:
            decided.add(point)
            used |= {reading[0] for reading in readings[point]}
            if point < partner:
                first_is_left = LEFT in next(iter(readings[point]))
                pairs.append((point, partner) if first_is_left else (partner, point))
    endings = Counter(reading_tokens[:-1] for reading_tokens in tokens if _numbered(reading_tokens))
    undecided = tuple(
        point
        for point, reading_tokens in enumerate(tokens)
        if point not in decided and (_names_a_side(reading_tokens, used) or _says_nothing(reading_tokens, endings))
    )
    return NamedPairs(tuple(pairs), undecided)


def _has_side(tokens: Reading) -> bool:
    """Whether one of the words is a side."""
    return any(token in _MARKS for token in tokens)


def _names_a_side(tokens: Reading, used: set[str]) -> bool:
    """Whether a name has a side even if no other name is its partner: as a whole word, or glued to another word if it is long or
    other names have it too (lear beside leye and reye)."""
    glued = (word for token in tokens for word, _, _ in _glued(token))
    return _has_side(tokens) or any(len(word) > 3 or not word.isascii() or word in used for word in glued)


def _readings(tokens: Reading) -> dict[Reading, None]:
    """The possible readings of a name with a side: as a whole word, or else as the beginning or the end of a word."""
    if _has_side(tokens):
        return {tuple(_MARKS.get(token, token) for token in tokens): None}
    readings: dict[Reading, None] = {}
    for position, token in enumerate(tokens):
        for kind, mark, parts in _glued(token):
            named = (kind, *tokens[:position], *(part or mark for part in parts), *tokens[position + 1 :])
            readings[named] = None
    return readings


def _glued(token: str) -> Iterator[tuple[str, str, tuple[str, str]]]:
    """Readings of one word that begins or ends with a side: the language, the side, and the parts with "" in place of the side.

    A single letter counts only at the beginning (leye, reye).
    """
    if token in NO_SIDE:
        return
    for words in SIDES:
        for word, mark in zip(words, (LEFT, RIGHT), strict=True):
            if token.startswith(word) and len(token) > len(word) + (word in ("l", "r")):
                yield words[0], mark, ("", token[len(word) :])
            if token.endswith(word) and len(token) > len(word) and word not in ("l", "r"):
                yield words[0], mark, (token[: -len(word)], "")


def _partner(point: int, readings: Sequence[dict[Reading, None]]) -> int | None:
    """The only point whose name is this one's with the other side; None if there is none, or several."""
    mirrored = {tuple(_SWAP.get(token, token) for token in reading) for reading in readings[point]}
    partners = [other for other, reading in enumerate(readings) if other != point and mirrored & set(reading)]
    return partners[0] if len(partners) == 1 else None


def _numbered(tokens: Reading) -> bool:
    """Whether a name ends with a number or a single letter."""
    return bool(tokens) and (tokens[-1].isdigit() or (len(tokens[-1]) == 1 and tokens[-1].isascii()))


def _says_nothing(tokens: Reading, endings: Counter[Reading]) -> bool:
    """Whether a name without a side is ambiguous about the position of its point."""
    stem = tokens[:-1] if _numbered(tokens) else tokens
    if all(token in GENERIC or token.isdigit() for token in stem):
        return True
    return _numbered(tokens) and endings[stem] > 1 and not MIDLINE & set(stem)
