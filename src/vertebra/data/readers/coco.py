"""COCO JSON: boxes, outlines or run lengths, and keypoints.

A file, or a folder with one for each split: ``annotations/instances_train.json``, ``train.json``, or
``train/_annotations.coco.json``. Category ids, which may be any numbers, become indices in the file's order of categories; names
are kept.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vertebra.annotations.join import joined
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.paths import path_column
from vertebra.annotations.table import Annotations
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.coco_cache import read_content
from vertebra.data.readers.coco_files import is_coco, looks_like, split_files, tops_of
from vertebra.data.readers.image_names import image_folders, resolve_images
from vertebra.data.splits import split_of


class CocoReader(AnnotationReader):
    """COCO JSON."""

    name = "coco"
    summary = "COCO JSON"
    suffixes = (".json",)
    holds = frozenset({"boxes", "outlines", "points"})

    def looks_like(self, path: Path) -> bool:
        """Whether a file is COCO JSON, or a folder contains such files."""
        return looks_like(path)

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that have a file."""
        return () if path.is_file() else tuple(split for split in split_files(path, is_coco) if split)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """All that the file of a split holds.

        Raises:
            DataError: the file is damaged or lacks what COCO defines, or its images are not found.
        """
        return self.load_for(path, split, options, frozenset({"boxes", "outlines"}))

    def load_for(self, path: Path, split: str | None, options: ReadOptions, kinds: frozenset[str]) -> Annotations:
        """The file with key points where only points are asked for, and COCO's other file where there are both."""
        files = {"": path} if path.is_file() else split_files(path, is_coco, kinds == {"points"})
        folder = path if path.is_dir() else path.parent
        if split is None and "" not in files:
            parts = {name: _annotations(file, folder) for name, file in files.items()}
            return joined(parts, folder)
        return _annotations(files[split or ""], folder)


def _annotations(file: Path, folder: Path) -> Annotations:
    """All that one file holds, of the images that exist."""
    content = read_content(file)
    notes: list[Note] = []
    tops = tops_of(file, folder)
    root = Path(os.path.commonpath(tops))
    split = split_of(file.stem) or split_of(file.parent.name) or ""
    paths = resolve_images(content.names, image_folders(tops, split, [file.stem]), root, file, notes)
    count = len(paths)
    annotations = Annotations(
        root=root,
        images=path_column(paths),
        categories=content.categories,
        objects=content.objects,
        labels=np.zeros((0, 2), dtype=np.int64),
        masks=None,
        annotated=np.ones(count, dtype=bool),
        sizes=content.sizes,
        where=file,
        image_ids=tuple(content.image_ids),
        scope=content.scope,
        notes=[*notes, *content.notes],
        dropped=content.dropped,
    )
    return _with_images(annotations, paths).with_key(_key(annotations, content.key))


def _key(annotations: Annotations, content: str) -> str:
    """A hash of the file's content, where that is known, and of the files that its names refer to."""
    if not content:
        return ""
    of_paths = hashlib.sha256(annotations.images.tobytes())
    of_paths.update(
        f"{content}\n{annotations.where}\n{annotations.root}\n{annotations.images.dtype}".encode(
            "utf-8", "surrogateescape"
        )
    )
    return of_paths.hexdigest()


def _with_images(annotations: Annotations, paths: Sequence[str]) -> Annotations:
    """The images that exist, those of one file as one."""
    different = set(paths)
    if len(different) == len(paths) and "" not in different:
        return annotations
    first: dict[str, int] = {}
    rows = np.array([first.setdefault(path, row) for row, path in enumerate(paths)], dtype=np.int64)
    kept = np.array([row for path, row in first.items() if path], dtype=np.int64)
    again = [annotations.name(row) for row, path in enumerate(paths) if path and rows[row] != row]
    if again:
        annotations.notes.append(Note.of("image", "that the file lists under several names", "merged", again))
        annotations = replace(annotations, objects=replace(annotations.objects, rows=rows[annotations.objects.rows]))
    return annotations.take(kept)
