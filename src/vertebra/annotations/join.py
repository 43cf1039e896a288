"""Joins the annotations of several splits into one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vertebra.annotations.paths import path_column
from vertebra.annotations.scope import joined_scope
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import SPLITS, Annotations, Category, MaskFiles, Objects


def joined(parts: Mapping[str, Annotations], where: Path) -> Annotations:
    """The annotations of several splits as those of one data set; ``splits`` has the split of each image.

    Categories of one name become one.

    Args:
        parts: by split; all or none have mask files, of one kind.
        where: the data set, for messages.
    """
    each = list(parts.values())
    categories: dict[str, Category] = {}
    for part in each:
        for category in part.categories:
            categories.setdefault(category.name, category)
    numbers = {name: number for number, name in enumerate(categories)}
    root = Path(os.path.commonpath([part.root for part in each]))
    starts = np.cumsum([0, *(len(part) for part in each)])[:-1].tolist()
    renumbered = [np.array([numbers[name] for name in part.category_names], dtype=np.int64) for part in each]
    labels = [
        np.stack([part.labels[:, 0] + start, number[part.labels[:, 1]]], axis=1)
        for part, start, number in zip(each, starts, renumbered, strict=True)
    ]
    images = [(part.root / os.fsdecode(name)).relative_to(root).as_posix() for part in each for name in part.images]
    files = [
        os.fsdecode(name) for part in each for name in (np.zeros(len(part), "S1") if part.files is None else part.files)
    ]
    scopes = [
        None if part.scope is None else part.scope.renumbered(number, len(categories))
        for part, number in zip(each, renumbered, strict=True)
    ]
    ids = [key for part in each for key in part.image_ids or [None] * len(part)]
    return Annotations(
        root=root,
        images=path_column(images),
        categories=tuple(categories.values()),
        objects=joined_objects([part.objects for part in each], starts, renumbered),
        labels=np.concatenate(labels),
        masks=_masks([part.masks for part in each], root),
        annotated=np.concatenate([part.annotated for part in each]),
        sizes=np.concatenate([part.sizes for part in each]),
        where=where,
        image_ids=tuple(ids) if any(key is not None for key in ids) else None,
        splits=np.repeat(np.array([SPLITS.index(name) for name in parts], dtype=np.int8), [len(part) for part in each]),
        files=path_column(files) if any(files) else None,
        scope=joined_scope(scopes, [len(part) for part in each]),
        notes=list(dict.fromkeys(note for part in each for note in part.notes)),
        dropped=sum(part.dropped for part in each),
    )


def _masks(parts: Sequence[MaskFiles | None], root: Path) -> MaskFiles | None:
    masks = [part for part in parts if part is not None]
    if not masks:
        return None
    files = [
        (part.root / os.fsdecode(name)).relative_to(root).as_posix() if name else ""
        for part in masks
        for name in part.files
    ]
    return replace(masks[0], root=root, files=path_column(files))


def joined_objects(parts: Sequence[Objects], starts: Sequence[int], renumbered: Sequence[np.ndarray]) -> Objects:
    """The objects of several parts.

    Args:
        parts: at least one.
        starts: the row of each part's first image.
        renumbered: of each part, the new number of each category.
    """
    counts = np.concatenate([np.diff(part.point_offsets) for part in parts])
    has_ids = any(part.ids is not None for part in parts)
    has_attributes = any(part.attributes is not None for part in parts)
    shapes = [part.shapes or Shapes.none(len(part)) for part in parts]
    return Objects(
        rows=np.concatenate([part.rows + start for part, start in zip(parts, starts, strict=True)]),
        categories=np.concatenate([number[part.categories] for part, number in zip(parts, renumbered, strict=True)]),
        boxes=np.concatenate([part.boxes for part in parts]),
        shapes=Shapes.concatenated(shapes) if any(part.shapes is not None for part in parts) else None,
        points=np.concatenate([part.points for part in parts]),
        point_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        crowd=np.concatenate([part.crowd for part in parts]),
        areas=np.concatenate([part.areas for part in parts]),
        ids=tuple(key for part in parts for key in part.ids or [None] * len(part)) if has_ids else None,
        attributes=tuple(entry for part in parts for entry in part.attributes or [{}] * len(part))
        if has_attributes
        else None,
    )
