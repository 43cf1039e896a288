"""Image folders: a folder's name is the class (``cat/1.jpg``), inside ``train``, ``val`` and ``test`` if there are splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vertebra.data.columns import ClassColumn
from vertebra.data.index import Index, Note, path_column
from vertebra.data.readers.classes import bincount, class_ids, left_out, without_images
from vertebra.data.readers.files import folders_in, has_yolo_labels, images_below, is_image, relative
from vertebra.data.readers.options import ReadOptions
from vertebra.data.splits import divide, source_split, split_of
from vertebra.errors import DataError
from vertebra.tasks.classify.labels import ClassifyLabels


class ImageFolderReader:
    """Class folders."""

    name = "image_folder"
    tasks = ("classify",)
    summary = "class folders of images"

    def looks_like(self, path: Path) -> bool:
        """Whether a folder has class folders with images, and no YOLO labels."""
        if not path.is_dir() or has_yolo_labels(path):
            return False
        parts = _split_folders(path)
        return any(images_below(folder) for part in (parts.values() or [path]) for folder in folders_in(part))

    def read(self, path: Path, task: str, split: str, options: ReadOptions) -> Index:
        """One split of an image folder.

        Raises:
            DataError: there is no such split, no class folder, or no image.
        """
        parts = _split_folders(path)
        source, shares = source_split(parts, split, path)
        split_folders = parts or {"": path}
        names = sorted({folder.name for folder in split_folders.values() for folder in folders_in(folder)})
        if not names:
            raise DataError(f"{path}: no class folders; put the images of each class in a folder of its name")
        classes = options.classes or tuple(names)
        to_id = dict(zip(names, class_ids(names, classes, path).tolist(), strict=True))
        folders = folders_in(split_folders[source or ""])
        files = {folder.name: images_below(folder) for folder in folders}
        if not any(files.values()):
            raise DataError(f"{split_folders[source or '']}: no image in its class folders {', '.join(files)}")
        kept = [(file, to_id[name]) for name, inside in files.items() for file in inside if to_id[name] >= 0]
        ids = np.array([class_id for _, class_id in kept], dtype=np.int64)
        images = path_column(relative([file for file, _ in kept], path))
        labels = ClassifyLabels(tuple(classes), options.multilabel)
        notes = left_out({name: len(inside) for name, inside in files.items() if to_id[name] < 0}, "image")
        notes += without_images(labels, bincount(ids, len(classes)))
        notes += _loose(split_folders[source or ""])
        index = Index(path, images, {task: _column(ids, labels)}, {task: labels}, notes)
        return index if shares is None else index.take(divide(len(ids), shares, split, options.seed, ids))


def _column(ids: np.ndarray, labels: ClassifyLabels) -> ClassColumn:
    labeled = np.ones(len(ids), dtype=bool)
    if not labels.multilabel:
        return ClassColumn(ids, labeled)
    values = np.zeros((len(ids), labels.class_count), dtype=np.uint8)
    values[np.arange(len(ids)), ids] = 1
    return ClassColumn(values, labeled)


def _loose(folder: Path) -> list[Note]:
    """A note about images beside the class folders."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file() and is_image(entry.name))
    return [Note.of("image", "beside the class folders", "left out", names)] if names else []


def _split_folders(path: Path) -> dict[str, Path]:
    """The folders of the splits; empty if the sub-folders are the classes."""
    folders: dict[str, Path] = {}
    for folder in folders_in(path):
        split = split_of(folder.name)
        if split is not None and folders_in(folder):
            folders.setdefault(split, folder)
    return folders
