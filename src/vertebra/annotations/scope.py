"""Label scope: the classes of which an image has all annotations.

What is annotated of another class is true, but what is not annotated may still be there: such a class is no background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vertebra.annotations.ranges import offsets_of, take_ranges

WHOLE = -1  # the set of an image in which all classes are annotated


@dataclass(frozen=True, eq=False)
class LabelScope:
    """The exhaustively annotated classes of each image. Images with the same classes can share a set.

    Gupta et al., LVIS: A Dataset for Large Vocabulary Instance Segmentation, CVPR 2019, arXiv 1908.03195, has such lists for each
    image; a data set in which only some classes were labeled has one set for all images.

    Attributes:
        sets: (n,) int32, the set of each image; `WHOLE` for an image in which all classes are annotated.
        offsets: (P + 1,) int64: the classes of set p are ``offsets[p]`` to ``offsets[p + 1]``.
        classes: (L,) int32 class ids, each at most once in a set.
        inverted: (P,) bool, the set has all classes except those.
    """

    sets: np.ndarray
    offsets: np.ndarray
    classes: np.ndarray
    inverted: np.ndarray

    @classmethod
    def of_pairs(cls, sets: np.ndarray, pairs: np.ndarray, inverted: np.ndarray, class_count: int) -> LabelScope:
        """A scope from pairs of a set and a class.

        Args:
            sets: see the class.
            pairs: (L,) int64, set * ``class_count`` + class, in any order, all different.
            inverted: see the class.
        """
        numbers, classes = np.divmod(np.sort(pairs), max(class_count, 1))
        return cls(sets.astype(np.int32), offsets_of(numbers, len(inverted)), classes.astype(np.int32), inverted)

    @property
    def partial(self) -> np.ndarray:
        """(n,) bool, the images in which not all classes are annotated."""
        partial: np.ndarray = self.sets != WHOLE
        return partial

    def take(self, rows: np.ndarray) -> LabelScope:
        """The scope of some images only; ``rows`` is (m,) int64."""
        chosen = self.sets[rows]
        used = np.unique(chosen[chosen != WHOLE])
        offsets, picked = take_ranges(self.offsets, used)
        sets = np.where(chosen == WHOLE, WHOLE, np.searchsorted(used, chosen))
        return LabelScope(sets.astype(np.int32), offsets, self.classes[picked], self.inverted[used])

    def of_image(self, row: int, class_count: int) -> np.ndarray | None:
        """(class_count,) bool, the exhaustively annotated classes of an image; None for all."""
        number = int(self.sets[row])
        if number == WHOLE:
            return None
        exhaustive = np.full(class_count, bool(self.inverted[number]))
        exhaustive[self.classes[self.offsets[number] : self.offsets[number + 1]]] = not self.inverted[number]
        return exhaustive

    def renumbered(self, new_ids: np.ndarray, class_count: int) -> LabelScope:
        """The scope in other class ids. A class that several become is annotated where all of these are; one that none becomes
        is annotated nowhere, except in inverted sets.

        Args:
            new_ids: (C,) int64, the new id of each class, -1 for classes that are left out.
            class_count: number of new classes.
        """
        ids, numbers = new_ids[self.classes], self._numbers()
        kept = ids >= 0
        pairs, counts = np.unique(numbers[kept] * class_count + ids[kept], return_counts=True)
        sets, classes = np.divmod(pairs, max(class_count, 1))
        needed = np.bincount(new_ids[new_ids >= 0], minlength=class_count)
        complete = self.inverted[sets] | (counts == needed[classes])
        return self.of_pairs(self.sets, pairs[complete], self.inverted, class_count)

    def restricted(self, listed: np.ndarray, class_count: int) -> LabelScope:
        """The scope in which none but the ``listed`` (m,) class ids are annotated."""
        numbers, whole = self._numbers(), len(self.inverted)
        pairs = numbers * class_count + self.classes
        kept = ~self.inverted[numbers] & np.isin(self.classes, listed)
        inverted = np.flatnonzero(self.inverted)[:, None] * class_count + listed
        new_pairs = [pairs[kept], np.setdiff1d(inverted, pairs), whole * class_count + listed]
        sets = np.where(self.sets == WHOLE, whole, self.sets)
        return self.of_pairs(sets, np.concatenate(new_pairs), np.zeros(whole + 1, dtype=bool), class_count)

    def _numbers(self) -> np.ndarray:
        """(L,) int64, the set of each listed class."""
        return np.repeat(np.arange(len(self.inverted)), np.diff(self.offsets))


def whole_scope(count: int) -> LabelScope:
    """The scope of images in which all classes are annotated."""
    nothing = np.zeros(0, dtype=np.int32)
    return LabelScope(
        np.full(count, WHOLE, dtype=np.int32), np.zeros(1, dtype=np.int64), nothing, np.zeros(0, dtype=bool)
    )


def joined_scope(parts: Sequence[LabelScope | None], counts: Sequence[int]) -> LabelScope | None:
    """The scope of several parts' images, one part after the other, in the same class ids; None if it is None for all.

    Args:
        parts: their scopes.
        counts: their numbers of images.
    """
    if all(part is None for part in parts):
        return None
    scopes = [whole_scope(count) if part is None else part for part, count in zip(parts, counts, strict=True)]
    starts = np.cumsum([0, *(len(scope.inverted) for scope in scopes)])[:-1].tolist()
    shifted = [
        replace(scope, sets=np.where(scope.sets == WHOLE, WHOLE, scope.sets + start))
        for scope, start in zip(scopes, starts, strict=True)
    ]
    lengths = np.concatenate([np.diff(scope.offsets) for scope in scopes])
    return LabelScope(
        np.concatenate([scope.sets for scope in shifted]).astype(np.int32),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([scope.classes for scope in scopes]),
        np.concatenate([scope.inverted for scope in scopes]),
    )


def intersected(scopes: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """The exhaustively annotated classes of an image that is made of several: those of all; each is (K,) bool, or None for all."""
    partial = [scope for scope in scopes if scope is not None]
    if not partial:
        return None
    annotated: np.ndarray = np.logical_and.reduce(partial)
    return annotated


def packed(scopes: Sequence[np.ndarray | None], class_count: int) -> np.ndarray:
    """(images, class_count / 8) uint8, a bit for each exhaustively annotated class; each scope is (K,) bool, or None for all."""
    whole = np.ones(class_count, dtype=bool)
    rows = [whole if scope is None else scope for scope in scopes]
    return np.packbits(np.array(rows, dtype=bool).reshape(-1, class_count), axis=1)


def unpacked(bits: np.ndarray, class_count: int) -> np.ndarray | None:
    """(images, class_count) bool from `packed`; None if all classes are annotated in all images."""
    exhaustive = np.unpackbits(bits, axis=1, count=class_count).astype(bool)
    return None if exhaustive.all() else exhaustive


def relabeled(exhaustive: np.ndarray | None, ids: np.ndarray, class_count: int) -> np.ndarray | None:
    """The exhaustively annotated classes of an image in the class ids of a branch. A class of the branch is among them if the data
    set has it, and all of its classes that become it are.

    Args:
        exhaustive: (K,) bool in the data set's ids; None for all.
        ids: (K,) int64, the branch's class id of each of the data set's classes, -1 for none.
        class_count: number of the branch's classes.
    """
    if exhaustive is None:
        return None
    known = np.bincount(ids[ids >= 0], minlength=class_count)
    complete = np.bincount(ids[(ids >= 0) & exhaustive], minlength=class_count)
    annotated: np.ndarray = (complete == known) & (known > 0)
    return annotated
