"""Divides the images of a data set into splits at random, so that small sets have each class in each split."""

from __future__ import annotations

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.table import Annotations
from vertebra.data.analysis.stratify import divide_stratified
from vertebra.data.splits import divide

TINY, SMALL = (
    10,
    2000,
)  # images; a smaller set needs them for training, a larger one lacks a class in a split only if the class is very rare
MOST_COUNTS = 4_000_000  # images times classes


def divide_annotations(
    annotations: Annotations, strata: np.ndarray, shares: dict[str, float], split: str, seed: int
) -> np.ndarray:
    """The rows of one split; each row is in exactly one split.

    Where a small set would lack a class in a split although there are images of it for all splits, the division is
    `divide_stratified`, with a note.

    Args:
        annotations: of all images to divide; gets the note.
        strata: (n,) int64, groups of images that every split needs.
        shares, split, seed: as `vertebra.data.splits.divide` takes them.

    Returns:
        Row numbers, ascending.
    """
    count = len(annotations)
    rows = {name: divide(count, shares, name, seed, strata) for name in shares}
    if not TINY <= count <= SMALL or count * len(annotations.categories) > MOST_COUNTS:
        return rows[split]
    counts = _class_counts(annotations)
    enough = (counts > 0).sum(axis=0) >= len(shares)
    if all((counts[part] > 0).any(axis=0)[enough].all() for part in rows.values()):
        return rows[split]
    division = divide_stratified(count, shares, seed, labels=counts, classes=annotations.category_names)
    sizes = ", ".join(f"{name} {size}" for name, size in zip(division.names, division.sizes.tolist(), strict=True))
    which = "of a small data set without splits"
    done = f"divided so that each split has each class where it can ({sizes})"
    annotations.notes.append(Note.of("image", which, done, [], count))
    chosen: np.ndarray = np.flatnonzero(division.codes == division.names.index(split))
    return chosen


def _class_counts(annotations: Annotations) -> np.ndarray:
    """(n, K) int64, the labels and objects of each class in each image."""
    counts = np.zeros((len(annotations), len(annotations.categories)), dtype=np.int64)
    objects = annotations.objects
    np.add.at(counts, (objects.rows, objects.categories), 1)
    np.add.at(counts, (annotations.labels[:, 0], annotations.labels[:, 1]), 1)
    return counts
