"""The label scope of a COCO file: LVIS's lists of classes in the entries of its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.scope import WHOLE, LabelScope
from vertebra.annotations.table import Category, Objects
from vertebra.data.readers.coco_entries import rows_of_ids
from vertebra.data.readers.coco_json import ImageEntry
from vertebra.errors import DataError

NEGATIVE, NOT_EXHAUSTIVE = "neg_category_ids", "not_exhaustive_category_ids"


def coco_scope(
    images: Sequence[ImageEntry],
    rows: np.ndarray,
    entries: Sequence[Mapping[str, Any]],
    categories: Sequence[Category],
    objects: Objects,
    file: Path,
) -> LabelScope:
    """The classes that are annotated in each image.

    Gupta et al., LVIS, CVPR 2019, arXiv 1908.03195: in an image with ``neg_category_ids`` those classes and the classes of its
    objects are annotated, no others, and those in ``not_exhaustive_category_ids`` not exhaustively. In an image without
    ``neg_category_ids`` all classes are, but for those in ``not_exhaustive_category_ids``.

    Args:
        images: the entries of 'images'.
        rows: (E,) int64, the row of each.
        entries: those of 'categories'.
        categories: the same, those of one name as one.
        objects: of the file.
        file: for messages.

    Raises:
        DataError: they are no lists of ids of categories.
    """
    negative = [one.neg_category_ids for one in images]
    lacking = [one.not_exhaustive_category_ids for one in images]
    count = len(categories)
    numbers_of = {category.name: number for number, category in enumerate(categories)}
    numbers = np.array([numbers_of[str(entry["name"])] for entry in entries], dtype=np.int64)
    ids = [entry["id"] for entry in entries]
    negative_rows, negative_classes = _pairs(negative, NEGATIVE, rows, ids, numbers, file)
    lacking_rows, lacking_classes = _pairs(lacking, NOT_EXHAUSTIVE, rows, ids, numbers, file)
    federated = np.zeros(int(rows.max()) + 1, dtype=bool)
    federated[rows[[value is not None for value in negative]]] = True
    partial = federated.copy()
    partial[lacking_rows] = True
    sets = np.where(partial, np.cumsum(partial) - 1, WHOLE)
    verified = np.union1d(objects.rows * count + objects.categories, negative_rows * count + negative_classes)
    verified = verified[federated[verified // count]]
    incomplete = np.unique(lacking_rows * count + lacking_classes)
    listed = np.concatenate([np.setdiff1d(verified, incomplete), incomplete[~federated[incomplete // count]]])
    return LabelScope.of_pairs(sets, sets[listed // count] * count + listed % count, ~federated[partial], count)


def _pairs(
    lists: Sequence[Any], key: str, rows: np.ndarray, ids: Sequence[Any], numbers: np.ndarray, file: Path
) -> tuple[np.ndarray, np.ndarray]:
    """The row and the category of each id in the images' lists."""
    wrong = [value for value in lists if value is not None and not isinstance(value, list)]
    if wrong:
        raise DataError(f"{file}: '{key}' of an image is {str(wrong[0])[:60]}; it is a list of ids of categories")
    given = [value or [] for value in lists]
    flat = [each for value in given for each in value]
    positions = rows_of_ids(ids, flat)
    unknown = np.flatnonzero(positions < 0)
    if len(unknown):
        raise DataError(
            f"{file}: '{key}' of an image has {str(flat[unknown[0]])[:60]}, which is not in the file's 'categories'; add the "
            "category or remove it from the list"
        )
    return np.repeat(rows, [len(value) for value in given]), numbers[positions]
