"""Tables of points: a row for each object, with the x and y of its points in columns.

Columns are found by their names (see `vertebra.data.readers.landmark_columns`); a box, a class and a split may have columns too.
CelebA's ``list_landmarks_align_celeba.txt`` with ``list_eval_partition.txt`` is read as published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.class_names import sorted_names
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations, Category
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.celeba import celeba_table, published_splits
from vertebra.data.readers.image_sizes import image_sizes
from vertebra.data.readers.landmark_columns import PointColumns, find_points
from vertebra.data.readers.published_tables import is_published, published_files, published_table
from vertebra.data.readers.table_boxes import as_edges, is_normalized, numeric_cells
from vertebra.data.readers.table_columns import (
    BOXES,
    IMAGE,
    LABEL,
    SPLIT,
    Roles,
    box_columns,
    image_column,
    named_columns,
)
from vertebra.data.readers.table_files import SUFFIXES, Table, cell_text, normal_name, read_table
from vertebra.data.readers.table_images import ImageSearch, data_root
from vertebra.data.readers.table_sources import (
    Described,
    ImageTable,
    built,
    image_tables,
    table_files,
    values_by_image,
)
from vertebra.data.readers.table_values import splits_of
from vertebra.errors import DataError

CLASS = "object"
VISIBLE = 2.0


class LandmarkReader(AnnotationReader):
    """Tables of points."""

    name = "landmarks"
    summary = "a table of images with columns of points (nose_x, nose_y …)"
    suffixes = SUFFIXES
    holds = frozenset({"points", "boxes"})

    def looks_like(self, path: Path) -> bool:
        """Whether a file, or one in a folder, is a table that names images and points."""
        try:
            return bool(_sources(path, head=True))
        except DataError:
            return False

    def refusal(self, path: Path) -> str:
        """What is wrong with a file of points of a public data set, if one is damaged."""
        try:
            for file in published_files(path, points=True):
                published_table(file, head=True)
        except DataError as error:
            return str(error)
        return ""

    def kinds_in(self, path: Path) -> frozenset[str]:
        """Points, and boxes where a table has their columns."""
        boxes = any(source.roles.box for source in _sources(path, head=True))
        return self.holds if boxes else frozenset({"points"})

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that tables, a column, or a published list name."""
        names = {name for source in _sources(path) for name in _splits(source, [])}
        return tuple(name for name in SPLITS if name in names)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """The objects of all tables with their points.

        Raises:
            DataError: a table is damaged, two tables have different points, or images are not found.
        """
        notes: list[Note] = []
        sources = _sources(path, notes=notes)
        if not sources:
            raise DataError(_nothing(path))
        points = _columns(sources[0]).names
        builder = AnnotationBuilder(data_root(path), path)
        builder.notes += notes
        default = options.classes[0] if options.classes and len(options.classes) == 1 else CLASS
        names = {name for source in sources for name in _classes(source, default)}
        for name in sorted_names(names):
            builder.category(Category(name, points=points))
        rows: dict[tuple[str, int], int] = {}
        for number, source in enumerate(sources):
            if _columns(source).names != points:
                raise DataError(
                    f"{source.table.file}: its points ({', '.join(_columns(source).names[:6])}) are not those of "
                    f"{sources[0].table.file.name} ({', '.join(points[:6])}); name one of the tables"
                )
            before = len(rows)
            _add(source, _classes(source, default), builder, rows)
            if number and len(rows) == before:
                raise DataError(
                    f"{source.table.file}: its images are those of {sources[number - 1].table.file.name}; name one of the tables"
                )
        return built(builder, [image for image, _ in rows], split, path)

    def image_values(self, path: Path, column: str, options: ReadOptions) -> Mapping[str, object] | None:
        """A column of the tables."""
        return values_by_image(_sources(path), column)


def _sources(path: Path, head: bool = False, notes: list[Note] | None = None) -> list[ImageTable]:
    """The tables of points; see `image_tables`."""

    def read(file: Path) -> Table | None:
        if is_published(file):
            return published_table(file, head)
        return celeba_table(file, head) if file.suffix.lower() == ".txt" else read_table(file, head)

    def describe(table: Table, search: ImageSearch) -> Described | None:
        points = find_points(table)
        are_images = (lambda names: True) if is_published(table.file) else search.are_images
        roles = None if points is None else _roles(table, points, are_images)
        return None if roles is None else (roles, points)

    return image_tables(path, _files(path), read, describe, notes)


def _nothing(path: Path) -> str:
    for file in _files(path):
        table = None if file.suffix.lower() == ".txt" or is_published(file) else read_table(file, head=True)
        for name, column in zip(table.names or (), table.columns, strict=False) if table else ():
            if normal_name(name) in IMAGE and any(len(cell_text(cell).split()) > 1 for cell in column[:1]):
                return f"{file}: its column '{name}' holds pixels; save each image as a file, and write its name there"
    return f"{path}: no table with names of images that exist and columns of points as nose_x, nose_y in it"


def _files(path: Path) -> list[Path]:
    published = published_files(path, points=True)
    return [
        *published,
        *table_files(path, _may_be_table if path.is_dir() else lambda name: name.endswith((*SUFFIXES, ".txt"))),
    ]


def _may_be_table(name: str) -> bool:
    if name.endswith(".txt"):
        return "landmark" in name
    return name.endswith(SUFFIXES) and not name.startswith("collecteddata")


def _roles(table: Table, points: PointColumns, are_images: Callable[[Sequence[str]], bool]) -> Roles | None:
    """The other columns of a table of points; None without a column of images."""
    by_name = named_columns(table, {})
    used = {*points.x, *points.y, *(column for column in points.visible if column is not None)}
    by_name = {name: column for name, column in by_name.items() if column not in used}
    image = image_column(table, by_name, are_images, False)
    if image is None:
        return None
    box, convention = box_columns(by_name)
    free = {name: column for name, column in by_name.items() if column not in (image, *box)}
    label = next((free[name] for name in LABEL if name in free), None)
    split = next((free[name] for name in SPLIT if name in free), None)
    return Roles(image, () if label is None else (label,), False, box, convention, split)


def _columns(source: ImageTable) -> PointColumns:
    """The columns of points of a table that has some."""
    assert source.points is not None
    return source.points


def _splits(source: ImageTable, notes: list[Note]) -> list[str]:
    """The split of each row: of its column, of the table, or of CelebA's published list; "" without one."""
    splits = splits_of(source.table, source.roles, notes)
    if any(splits) or source.split:
        return [split or source.split for split in splits]
    names = [cell_text(cell) for cell in source.table.columns[source.roles.image]]
    return published_splits(source.table.file, names, notes) or splits


def _classes(source: ImageTable, default: str) -> list[str]:
    """The class of each row."""
    if not source.roles.labels:
        return [default] * len(source.table)
    return [cell_text(cell) or default for cell in source.table.columns[source.roles.labels[0]]]


def _add(source: ImageTable, classes: list[str], builder: AnnotationBuilder, rows: dict[tuple[str, int], int]) -> None:
    """Adds the images of a table, and an object for each row with a labeled point."""
    table, roles, notes = source.table, source.roles, builder.notes
    notes += table.notes
    names = source.names
    paths = source.paths(names, notes)
    kept = [number for number, name in enumerate(names) if paths.get(name)]
    splits = _splits(source, notes)
    points = _points(table, _columns(source), notes)[kept]
    boxes = _boxes(table, roles)[kept]
    images = [paths[names[number]] for number in kept]
    known = points[points[..., 2] > 0][:, :2]
    if is_normalized(known):
        sizes = dict(
            zip(
                different_images := list(dict.fromkeys(images)),
                image_sizes(builder.root, different_images),
                strict=True,
            )
        )
        scale = np.array([sizes[image][::-1] for image in images], dtype=np.float64).reshape(-1, 1, 2)
        points[..., :2] *= scale
        if is_normalized(boxes[np.isfinite(boxes).all(axis=1)]):
            boxes = (boxes.reshape(-1, 2, 2) * scale).reshape(-1, 4)
        which = f"of {table.file.name} in 0..1"
        notes.append(Note.of("point", which, "multiplied by the width and height of its image", [], len(known)))
    bare = []
    for number, image, values, box in zip(kept, images, points, boxes, strict=True):
        code = SPLITS.index(splits[number]) if splits[number] else -1
        if (image, code) not in rows:
            rows[image, code] = builder.image(image, split=code)
        if not (values[:, 2] > 0).any():
            bare.append(image)
            continue
        given = None if np.isnan(box).any() else box.tolist()
        builder.object(rows[image, code], classes[number], box=given, points=values)
    if bare:
        notes.append(Note.of("row", "without a labeled point", "kept as an image with nothing in it", bare))


def _points(table: Table, columns: PointColumns, notes: list[Note]) -> np.ndarray:
    """(n, K, 3) x, y and visibility of each row; empty cells, negative numbers and 0, 0 are not labeled."""
    x = np.stack([numeric_cells(table, column) for column in columns.x], axis=1)
    y = np.stack([numeric_cells(table, column) for column in columns.y], axis=1)
    known = np.isfinite(x) & np.isfinite(y) & (np.abs(x) < 1e9) & (np.abs(y) < 1e9)
    without_x, without_y = (
        np.stack([[cell_text(cell) == "" for cell in table.columns[column]] for column in axis], axis=1)
        for axis in (columns.x, columns.y)
    )
    empty = without_x & without_y
    negative = known & ((x < 0) & (y < 0))
    zero = known & (x == 0) & (y == 0)
    for wrong, which in (
        (~known & ~empty, "whose x or y is no number"),
        (negative, "with negative x and y"),
        (zero, "at 0, 0"),
    ):
        if wrong.any():
            notes.append(Note.of("point", which, "taken as not labeled", [table.file.name], int(wrong.sum())))
    visible = np.where(known & ~negative & ~zero, VISIBLE, 0)
    for number, column in enumerate(columns.visible):
        if column is not None:
            flags = numeric_cells(table, column)
            highest = np.nanmax(flags, initial=0)
            scaled = np.where(flags > 0, VISIBLE if highest <= 1 else np.clip(flags, 0, 2), 0)
            visible[:, number] = np.where(
                np.isfinite(flags), np.minimum(visible[:, number], scaled), visible[:, number]
            )
    labeled = visible > 0
    return np.stack([np.where(labeled, x, 0), np.where(labeled, y, 0), visible], axis=2)


def _boxes(table: Table, roles: Roles) -> np.ndarray:
    """(n, 4) xyxy, nan without a box."""
    if len(roles.box) != len(BOXES["xyxy"][0]):
        return np.full((len(table), 4), np.nan)
    boxes = np.stack([numeric_cells(table, column) for column in roles.box], axis=1)
    return as_edges(boxes, roles.convention)
