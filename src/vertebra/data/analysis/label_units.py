"""What is divided as one: an image or a group of images, with its labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class LabelUnits:
    """Images or groups, with the counts of their labels as a sparse matrix, row by row.

    Attributes:
        unit_of: (n,) int64, the unit of each image.
        sizes: (u,) int64, images of each unit.
        starts: (u + 1,) int64, where the labels of each unit begin in the next two.
        labels: (e,) int64, labels of each unit, ascending.
        counts: (e,) int64, how often, at least 1.
        classes: number of labels, K.
        single: whether each unit is an image with at most one label.
    """

    unit_of: np.ndarray
    sizes: np.ndarray
    starts: np.ndarray
    labels: np.ndarray
    counts: np.ndarray
    classes: int
    single: bool

    def entry_units(self) -> np.ndarray:
        """(e,) int64, the unit of each entry."""
        return np.repeat(np.arange(len(self.sizes)), np.diff(self.starts))

    def units_with(self) -> np.ndarray:
        """(K,) int64, in how many units each label occurs."""
        return np.bincount(self.labels, minlength=self.classes)

    def counts_by(self, codes: np.ndarray, splits: int) -> np.ndarray:
        """(splits, K) int64, the counts of each label in each split, where ``codes`` are the units' splits."""
        at = codes[self.entry_units()].astype(np.int64) * self.classes + self.labels
        sums = np.bincount(at, self.counts, minlength=splits * self.classes)
        return np.asarray(sums.round(), dtype=np.int64).reshape(splits, self.classes)


def label_units(labels: np.ndarray | None, groups: np.ndarray | None, order: np.ndarray) -> LabelUnits:
    """Units in a given order; a group comes where its first image does.

    Args:
        labels: (n,) class numbers, -1 for none; (n, K) counts; or None.
        groups: (n,) codes; None for images on their own.
        order: (n,) int64, a permutation of the images.

    Raises:
        ValueError: labels have another shape, or are negative counts.
    """
    unit_of = np.empty(len(order), dtype=np.int64)
    if groups is None:
        unit_of[order] = np.arange(len(order))
    else:
        _, first, inverse = np.unique(np.asarray(groups)[order], return_index=True, return_inverse=True)
        ranks = np.empty(len(first), dtype=np.int64)
        ranks[np.argsort(first)] = np.arange(len(first))
        unit_of[order] = ranks[inverse.reshape(-1)]
    sizes = np.bincount(unit_of)
    rows, columns, counts, classes = _entries(labels)
    cells, inverse = np.unique(unit_of[rows] * max(classes, 1) + columns, return_inverse=True)
    sums = np.bincount(inverse.reshape(-1), counts, minlength=len(cells)).round().astype(np.int64)
    units, unit_labels = np.divmod(cells, max(classes, 1))
    starts = np.searchsorted(units, np.arange(len(sizes) + 1))
    single = bool((sizes <= 1).all() and (np.diff(starts) <= 1).all())
    return LabelUnits(unit_of, sizes, starts, unit_labels, sums, classes, single)


def _entries(labels: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Rows, columns and counts of the labels that are there, and the number of classes."""
    if labels is None:
        none = np.zeros(0, dtype=np.int64)
        return none, none, none, 0
    labels = np.asarray(labels)
    if labels.ndim == 1:
        rows = np.flatnonzero(labels >= 0)
        return rows, labels[rows].astype(np.int64), np.ones(len(rows), dtype=np.int64), int(labels.max(initial=-1)) + 1
    if labels.ndim != 2 or (labels < 0).any():
        raise ValueError(f"labels must be (n,) class numbers or (n, K) counts of 0 and more, got {labels.shape}")
    rows, columns = np.nonzero(labels)
    return rows, columns, labels[rows, columns].astype(np.int64), labels.shape[1]
