"""Annotations of a data set in which only some classes were labeled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.scope import whole_scope
from vertebra.annotations.table import NO_CLASS, Annotations, Category, MaskFiles
from vertebra.errors import DataError, suggest


def restrict_scope(annotations: Annotations, names: Sequence[str], classes: Sequence[str] | None) -> Annotations:
    """The annotations of some classes, with a label scope that has no other class; those of other classes are left out, with notes.

    Args:
        annotations: of all classes.
        names: the classes that are annotated, in each image within its own scope.
        classes: further names that are no mistake: those of the model.

    Raises:
        DataError: an unknown name, or masks whose pixels are ids of segments.
    """
    known = list(dict.fromkeys([*annotations.category_names, *(classes or ())]))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(
            f"{annotations.where}: 'annotated' has '{unknown[0]}', which is no class. {suggest(unknown[0], known)}"
        )
    if annotations.masks is not None and annotations.masks.segments:
        raise DataError(
            f"{annotations.where}: 'annotated' cannot be used with panoptic masks, whose segments cover each pixel; leave it out"
        )
    missing = [Category(name) for name in dict.fromkeys(names) if name not in annotations.category_names]
    categories = (*annotations.categories, *missing)
    listed = np.array([category.name in names for category in categories], dtype=bool)
    notes = list(annotations.notes)
    objects, labels = annotations.objects, annotations.labels
    kept, kept_labels = listed[objects.categories], listed[labels[:, 1]]
    for noun, rows in (("object", objects.rows[~kept]), ("class", labels[~kept_labels, 0])):
        if len(rows):
            notes.append(Note.of(noun, "outside of 'annotated'", "left out", annotations.names(rows)))
    scope = whole_scope(len(annotations)) if annotations.scope is None else annotations.scope
    return replace(
        annotations,
        categories=categories,
        objects=objects if kept.all() else objects.take(kept),
        labels=labels[kept_labels],
        masks=None if annotations.masks is None else _masks(annotations.masks, listed),
        scope=scope.restricted(np.flatnonzero(listed), len(categories)),
        notes=notes,
    )


def _masks(masks: MaskFiles, listed: np.ndarray) -> MaskFiles:
    """Mask files in which pixels of other classes have no class."""
    known = masks.categories >= 0
    categories = masks.categories.copy()
    categories[known] = np.where(listed[categories[known]], categories[known], NO_CLASS)
    return replace(masks, categories=categories)
