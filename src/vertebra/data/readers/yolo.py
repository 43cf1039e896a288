"""YOLO: a text file for each image, with a line for each object; see `vertebra.data.readers.yolo_lines` for the lines and
`vertebra.data.readers.yolo_layout` for the folders.

``data.yaml`` of Ultralytics and Roboflow, Darknet's ``obj.data``, and folders without a description are read. An image without a
label file has no objects. Caches that tools write beside the labels are not read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.paths import path_column
from vertebra.annotations.table import SPLITS, Annotations, Category
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.image_sizes import image_sizes
from vertebra.data.readers.yolo_config import class_names_beside
from vertebra.data.readers.yolo_labels import LABEL_WORDS, LabelFolders
from vertebra.data.readers.yolo_layout import Layout, find_layout, further_labels
from vertebra.data.readers.yolo_lines import Lines, meaning_of, read_lines
from vertebra.data.readers.yolo_objects import yolo_objects
from vertebra.errors import DataError


class YoloReader(AnnotationReader):
    """YOLO's text files."""

    name = "yolo"
    summary = "YOLO (data.yaml, or images and labels folders with a text file for each image)"
    suffixes = (".txt", ".yaml", ".yml")
    holds = frozenset({"boxes", "outlines", "points"})

    def looks_like(self, path: Path) -> bool:
        """Whether there is a description, or images with YOLO's text files."""
        try:
            return find_layout(path) is not None
        except DataError:  # a damaged description
            return True

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that the description, the folders or the lists name."""
        return tuple(split for split in _layout(path).sources if split)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """The boxes, outlines and points of all label files of a split.

        Raises:
            DataError: no image or no label file is there, coordinates are in pixels, or class ids do not fit the names.
        """
        layout = _layout(path)
        where = layout.config.file or path
        notes = _notes_of(layout)
        images: list[str] = []
        codes: list[int] = []
        for name in [split] if split else list(layout.sources):
            images += layout.images(name, notes)
            codes += [SPLITS.index(name) if name else -1] * (len(images) - len(codes))
        if not images:
            sources = [str(source) for each in layout.sources.values() for source in each]
            raise DataError(f"{where}: no image in {', '.join(sources[:4])}")
        splits = np.array(codes, dtype=np.int8)
        files, annotated = _label_files(images, splits, layout, notes)
        lines = read_lines(files, notes)
        relative = [_below(layout.root, image) for image in images]
        sizes = np.zeros((len(images), 2), dtype=np.int64)
        rows = np.unique(lines.rows)
        sizes[rows] = image_sizes(layout.root, [relative[row] for row in rows.tolist()])
        labels = ["" if file is None else _below(layout.root, file) for file in files]
        names = _names(layout, lines, split, options, where, notes)
        meaning = meaning_of(lines, layout.config.point_shape)
        label_names = [name.rpartition("/")[2] for name in labels]
        objects = yolo_objects(lines, meaning, names, sizes, label_names, where, notes)
        annotations = Annotations(
            root=layout.root,
            images=path_column(relative),
            categories=_categories(names, meaning.point_shape[0], layout),
            objects=objects,
            labels=np.zeros((0, 2), dtype=np.int64),
            masks=None,
            annotated=annotated,
            sizes=sizes,
            where=where,
            splits=splits if split is None and (splits >= 0).any() else None,
            files=path_column(labels),
            notes=notes,
            dropped=len(lines) - len(objects),
        )
        return _readable(annotations, rows[(sizes[rows] == 0).any(axis=1)])


def _below(root: Path, path: str) -> str:
    """A path relative to the root."""
    top = f"{root}/"
    return path.removeprefix(top) if path.startswith(top) else Path(path).relative_to(root).as_posix()


def _layout(path: Path) -> Layout:
    layout = find_layout(path)
    if layout is None:
        raise DataError(
            f"{path}: no YOLO data set; it needs data.yaml with 'names' and 'train', or folders images and labels with a text "
            "file for each image"
        )
    return layout


def _notes_of(layout: Layout) -> list[Note]:
    """What is left aside in the description and beside it."""
    notes = []
    for noun, which, names in (
        ("entry", "of the description that does not exist", layout.missing),
        ("entry", "of the description that does not fit the rest", layout.config.remarks),
        ("description", "in this folder", layout.further),
    ):
        if names:
            used = (
                f"left aside for {layout.config.file.name}"
                if noun == "description" and layout.config.file
                else "left out"
            )
            notes.append(Note.of(noun, which, used, names))
    further = further_labels(layout)
    if further:
        notes.append(Note.of("folder", "of further label files", "left aside; to read it, name it", further))
    return notes


def _label_files(
    images: Sequence[str], splits: np.ndarray, layout: Layout, notes: list[Note]
) -> tuple[list[str | None], np.ndarray]:
    """The label file of each image, and (n,) bool whether somebody annotated it."""
    folders = LabelFolders(layout.labels)
    files = [folders.file_of(image) for image in images]
    labeled = np.array([file is not None for file in files], dtype=bool)
    if not labeled.any():
        raise DataError(
            f"{layout.root}: none of its {len(images)} images has a label file (the first image is "
            f"{_below(layout.root, images[0])}); searched in {', '.join(folders.searched()[:4])}"
        )
    bare = [code for code in np.unique(splits) if not labeled[splits == code].any()]
    annotated: np.ndarray = ~np.isin(splits, bare)
    for chosen, done in (
        (annotated & ~labeled, "read as images without objects"),
        (~annotated, "taken as not annotated"),
    ):
        if chosen.any():
            which = "without a label file" if done.startswith("read") else "of a split without label files"
            notes.append(
                Note.of(
                    "image", which, done, [images[row].rpartition("/")[2] for row in np.flatnonzero(chosen).tolist()]
                )
            )
    without = folders.without_image()
    if without:
        notes.append(Note.of("label file", "without an image", "left out", without))
    return files, annotated


def _names(
    layout: Layout, lines: Lines, split: str | None, options: ReadOptions, where: Path, notes: list[Note]
) -> Mapping[int, str]:
    """Class names by id: of the description, of a file beside the labels, or else the ids."""
    listed = layout.config.names
    if listed is None:
        listed = _listed_beside(layout, notes)
    if listed is not None and not layout.other_labels:
        return listed
    ids = set(_ids(lines))
    for other in layout.sources if split else ():
        if other != split:
            folders = LabelFolders(layout.labels)
            ids |= set(_ids(read_lines([folders.file_of(image) for image in layout.images(other, [])], [])))
    if listed is not None and ids <= set(listed):
        return listed
    if listed is None and options.classes and max(ids, default=-1) < len(options.classes):
        notes.append(Note.of("class", "without a name", "named in the order of the classes asked for", options.classes))
        return dict(enumerate(options.classes))
    names = {number: str(number) for number in sorted(ids)}
    if listed is not None:
        which = f"of folder {layout.labels}, which are not those of the {len(listed)} names of {where.name},"
        notes.append(Note.of("class", which, "named by their ids", list(names.values())))
    elif names:
        notes.append(
            Note.of("class", "without a name", "named by its id; list names in classes.txt", list(names.values()))
        )
    return names


def _listed_beside(layout: Layout, notes: list[Note]) -> Mapping[int, str] | None:
    """The class names of a file beside the labels or the images."""
    tops = [top for each in layout.sources.values() for source in each for top in (source, source.parent)]
    beside = [inner for folder in (layout.root, *tops) for inner in _near(folder)]
    listed = class_names_beside([folder for folder in dict.fromkeys(beside) if folder.is_relative_to(layout.root)])
    if listed is None:
        return None
    notes.append(Note.of("class name", "", "taken from a file", [listed[0].name], len(listed[1])))
    return listed[1]


def _near(folder: Path) -> list[Path]:
    """A folder, and those of labels in it and beside it."""
    return [folder, *(folder / name for name in LABEL_WORDS), *(folder.parent / name for name in LABEL_WORDS)]


def _ids(lines: Lines) -> list[int]:
    """The class ids that occur."""
    first = lines.values[lines.offsets[:-1]]
    with np.errstate(invalid="ignore"):
        whole = first[np.isfinite(first) & (first == np.rint(first)) & (first >= 0) & (first < 1e6)]
    ids: list[int] = np.unique(whole).astype(np.int64).tolist()
    return ids


def _categories(names: Mapping[int, str], count: int, layout: Layout) -> tuple[Category, ...]:
    """The categories with ``count`` points, those of one name together."""
    order = layout.config.flip_order
    points = layout.config.point_names or tuple(map(str, range(count)))
    pairs = None if order is None else tuple((a, b) for a, b in enumerate(order) if a < b and order[b] == a)
    different: dict[str, Category] = {}
    for number, name in names.items():
        different.setdefault(name, Category(name, number, points=points, flip_pairs=pairs))
    return tuple(different.values())


def _readable(annotations: Annotations, damaged: np.ndarray) -> Annotations:
    """Without the images whose size cannot be read.

    Raises:
        DataError: none is left.
    """
    if not len(damaged):
        return annotations
    names = [os.fsdecode(annotations.images[row]) for row in damaged.tolist()]
    rows = np.setdiff1d(np.arange(len(annotations)), damaged)
    if not len(rows):
        raise DataError(f"{annotations.where}: none of its {len(names)} images can be read (the first is {names[0]})")
    annotations.notes.append(Note.of("image", "that cannot be read", "left out with its objects", names))
    return annotations.take(rows)
