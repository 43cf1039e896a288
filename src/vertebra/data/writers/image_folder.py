"""Writes class folders: each image in the folder of its class, inside the folder of its split."""

from __future__ import annotations

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.table import SPLITS, Annotations
from vertebra.data.writers.base import Target, Writer, labels_of
from vertebra.data.writers.images import copy_images, image_names


class ImageFolderWriter(Writer):
    """Class folders."""

    name = "image_folder"
    summary = "class folders of images"
    reader = "image_folder"
    holds = frozenset({"labels"})
    keeps = frozenset[str]()

    def write(self, annotations: Annotations, target: Target) -> list[Note]:
        """Copies each image into the folder of its class; images without a class, or with several, are left out with a note."""
        notes: list[Note] = []
        labels = labels_of(annotations)
        for which, wrong in (
            ("without a class", np.array([not names for names in labels], dtype=bool)),
            ("of several classes", np.array([len(names) > 1 for names in labels], dtype=bool)),
        ):
            if wrong.any():
                notes.append(Note.of("image", which, "left out", annotations.names(np.flatnonzero(wrong))))
        rows = np.array([row for row, names in enumerate(labels) if len(names) == 1], dtype=np.int64)
        kept = annotations.take(rows)
        names = image_names(kept, notes, folders="none", by_split=True)
        splits = np.full(len(kept), -1) if kept.splits is None else kept.splits
        if kept.splits is not None:
            splits = np.where(splits < 0, 0, splits)
        paths = [
            "/".join([*([SPLITS[split]] if split >= 0 else []), labels[row][0], name])
            for row, split, name in zip(rows.tolist(), splits.tolist(), names, strict=True)
        ]
        for category in annotations.category_names:
            for split in np.unique(splits).tolist():
                folder = target.folder / (SPLITS[split] if split >= 0 else "") / category
                folder.mkdir(parents=True, exist_ok=True)
        copy_images(kept, paths, target)
        return notes
