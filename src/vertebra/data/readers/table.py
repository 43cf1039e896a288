"""Tables beside their images: CSV, TSV, JSON lines and Parquet, with a label, several labels, or a box in each row.

A file, or a folder with one or more: ``labels.csv`` with an optional column of splits, or ``train.csv``, ``val.csv`` and
``test.csv``. Columns are found by their names (see `vertebra.data.readers.table_columns`), or named by the user. Boxes are read as
the columns' names show; without such names, as the only convention in which all of them are inside of their images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.class_names import sorted_names
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations, Category
from vertebra.annotations.values import flag
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.celeba import celeba_table, published_splits
from vertebra.data.readers.class_folder_layout import folders_of_splits
from vertebra.data.readers.image_sizes import image_sizes
from vertebra.data.readers.landmark_columns import has_points
from vertebra.data.readers.published_tables import is_published, published_files, published_table
from vertebra.data.readers.split_lists import is_split_list, label_list
from vertebra.data.readers.table_attributes import attribute_columns, attributes_per_box
from vertebra.data.readers.table_boxes import (
    as_edges,
    box_values,
    convention_of,
    image_sizes_of,
    is_normalized,
    labels_per_box,
    numeric_cells,
)
from vertebra.data.readers.table_columns import MissingColumn, find_roles
from vertebra.data.readers.table_files import SUFFIXES, Table, cell_text, normal_name, read_table
from vertebra.data.readers.table_images import ImageSearch, data_root
from vertebra.data.readers.table_names import class_names_of
from vertebra.data.readers.table_runs import add_runs, divided_names
from vertebra.data.readers.table_sources import (
    Described,
    ImageTable,
    built,
    image_tables,
    table_files,
    values_by_image,
)
from vertebra.data.readers.table_values import Labels, labels_of, splits_of
from vertebra.errors import DataError, shortened

OTHERS = ("submission", "collecteddata", "listbboxceleba")  # the last has boxes of other images than the aligned ones
NOT_TABLES = frozenset({"regionshapeattributes", "scorer"})  # columns of VIA and DeepLabCut


class TableReader(AnnotationReader):
    """Tables of labels and boxes."""

    name = "table"
    summary = "a table of images with labels or boxes (CSV, TSV, JSON lines, Parquet)"
    suffixes = SUFFIXES
    holds = frozenset({"labels", "boxes", "outlines"})

    def looks_like(self, path: Path) -> bool:
        """Whether a file, or a folder with a few of them, is a table that names images."""
        try:
            return bool(_sources(path, {}, head=True))
        except DataError:  # a damaged table, or one that needs a package
            return path.is_file() and path.suffix.lower() in SUFFIXES

    def kinds_in(self, path: Path) -> frozenset[str]:
        """Outlines where a table has run lengths, else labels and boxes."""
        runs = any(source.roles.runs is not None for source in _sources(path, {}, head=True))
        return frozenset({"outlines"}) if runs else frozenset({"labels", "boxes"})

    def refusal(self, path: Path) -> str:
        """Which columns the first table has, if none is understood."""
        try:
            read = _files(path) and _sources(path, {}, head=True)
            return "" if read or not _plain_tables(path) else _nothing(path)
        except DataError as error:
            return str(error)

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that tables or a column name."""
        return self.splits_for(path, self.holds, ReadOptions())

    def splits_for(self, path: Path, kinds: frozenset[str], options: ReadOptions) -> tuple[str, ...]:
        """The splits that tables, or the column that the user named, have."""
        sources = _sources(path, dict(options.columns))
        names = {source.split for source in sources}
        names |= {name for source in sources for name in _splits(source, source.names, [])}
        return tuple(name for name in SPLITS if name in names)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """The labels and boxes of all tables; categories are those of all splits.

        Raises:
            DataError: a table is damaged, its columns are not understood, or its images are not found.
        """
        notes: list[Note] = []
        sources = _sources(path, dict(options.columns), notes=notes)
        if not sources:
            raise DataError(_nothing(path))
        root = data_root(path)
        builder = AnnotationBuilder(root, path)
        builder.notes += notes
        read = [(source, *labels_of(source.table, source.roles, builder.notes)) for source in sources]
        labels_in_order = [name for _, _, names in read for name in names]
        if not all(source.roles.one_hot for source in sources):
            labels_in_order = sorted_names(list(dict.fromkeys(labels_in_order)))
        shown, order = class_names_of(root, labels_in_order, builder.notes)
        for name in order:
            builder.category(Category(shown[name], None if shown[name] == name else name))
        rows: dict[tuple[str, int], int] = {}
        for source, labels, _ in read:
            named = [None if label is None else tuple(shown[name] for name in label) for label in labels]
            _add(source, named, builder, rows, options.attribute)
        return built(builder, [image for image, _ in rows], split, path)

    def image_values(self, path: Path, column: str, options: ReadOptions) -> Mapping[str, object] | None:
        """A column of the tables."""
        return values_by_image(_sources(path, dict(options.columns)), column)


def _sources(
    path: Path, columns: Mapping[str, str], head: bool = False, notes: list[Note] | None = None
) -> list[ImageTable]:
    """The tables of labels or boxes; see `image_tables`."""

    missing: list[MissingColumn] = []

    def describe(table: Table, search: ImageSearch) -> Described | None:
        if {normal_name(name) for name in table.names or ()} & NOT_TABLES or has_points(table):
            return None
        published = is_published(table.file)
        try:
            roles = find_roles(table, (lambda names: True) if published else search.are_images, columns)
        except MissingColumn as error:  # another table may have it
            missing.append(error)
            return None
        return None if roles is None else (roles, None)

    def read(file: Path) -> Table | None:
        if is_published(file):
            return published_table(file, head)
        if file.suffix.lower() == ".txt":
            return celeba_table(file, head) or label_list(file, head)
        return divided_names(read_table(file, head=head))

    sources = image_tables(path, _files(path), read, describe, notes)
    if missing and not sources:
        raise missing[0]
    return sources


def _files(path: Path) -> list[Path]:
    lists = path.is_dir() and not folders_of_splits(path)  # of class folders, which have the classes

    def is_table(name: str) -> bool:
        of_labels = name.endswith(".txt") and (path.is_file() or "_attr_" in name or (lists and is_split_list(name)))
        return of_labels or (name.endswith(SUFFIXES) and (path.is_file() or not _is_other(name)))

    return [*published_files(path, points=False), *table_files(path, is_table)]


def _is_other(name: str) -> bool:
    return any(word in normal_name(name.rpartition(".")[0]) for word in OTHERS)


def _plain_tables(path: Path) -> list[Path]:
    """The tables that are no files and folders of public data sets."""
    return [file for file in _files(path) if not is_published(file)]


def _nothing(path: Path) -> str:
    files = _plain_tables(path)
    if not files:
        return f"{path}: no table (CSV, TSV, JSON lines or Parquet) in it"
    table = read_table(files[0], head=True)
    names = shortened(", ".join(table.names or [f"{len(table.columns)} columns without names"]), 300)
    return (
        f"{files[0]}: no column with names of images that exist below {data_root(path)}, or none with "
        f"labels or boxes; it has: {names}. Name them: columns: {{image: ..., label: ...}}"
    )


def _add(
    source: ImageTable, labels: Labels, builder: AnnotationBuilder, rows: dict[tuple[str, int], int], attribute: str
) -> None:
    """Adds the images and annotations of a table."""
    table, roles, notes = source.table, source.roles, builder.notes
    notes += table.notes
    attributes = attribute_columns(table, roles.further, attribute) if roles.box else []
    ignored = [table.title(number) for number in roles.further if number not in attributes]
    if ignored:
        notes.append(Note.of("column", f"of {table.file.name}", "not read", ignored))
    names = source.names
    paths = source.paths(names, notes)
    splits = _splits(source, names, notes)
    codes = [SPLITS.index(split or source.split) if split or source.split else -1 for split in splits]
    sizes = image_sizes_of(table, roles)
    of_rows = np.full(len(table), -1, dtype=np.int64)
    for number, (name, code) in enumerate(zip(names, codes, strict=True)):
        image = paths.get(name, "")
        if not image:
            continue
        if (image, code) not in rows:
            height_width = (int(sizes[number, 1]), int(sizes[number, 0]))
            annotated = (
                bool(roles.box)
                or roles.runs is not None
                or any(label is not None for label in labels[number : number + 1])
            )
            rows[image, code] = builder.image(image, size=height_width, split=code, annotated=annotated)
        of_rows[number] = rows[image, code]
    if any(not name for name in names):
        notes.append(Note.of("row", f"of {table.file.name} without an image", "dropped", [], names.count("")))
    if roles.runs is not None:
        images = [paths.get(name, "") for name in names]
        sizes = _with_headers(sizes, np.flatnonzero(of_rows >= 0), images, builder.root)
        of_objects = [None if label is None else label[0] for label in labels]
        add_runs(table, roles.runs, of_objects, of_rows, sizes, builder)
    elif roles.box:
        _add_boxes(source, labels, of_rows, [paths.get(name, "") for name in names], sizes, attributes, builder)
    else:
        _add_labels(source, labels, of_rows, builder)


def _splits(source: ImageTable, names: Sequence[str], notes: list[Note]) -> list[str]:
    """The split of each row: by its columns, or by published lists beside a table of no split; "" without one."""
    splits = splits_of(source.table, source.roles, notes)
    if any(splits) or source.split:
        return splits
    return published_splits(source.table.file, names, notes) or splits


def _add_labels(source: ImageTable, labels: Labels, of_rows: np.ndarray, builder: AnnotationBuilder) -> None:
    table, roles, notes = source.table, source.roles, builder.notes
    seen: set[tuple[int, tuple[str, ...]]] = set()
    copies, denied, bare = [], [], []
    sure = np.ones(len(table)) if roles.confidence is None else numeric_cells(table, roles.confidence)
    for number, (row, label) in enumerate(zip(of_rows.tolist(), labels, strict=True)):
        if row < 0:
            continue
        name = cell_text(table.columns[roles.image][number])
        if label is None:
            bare.append(name)
        elif sure[number] <= 0:  # Open Images lists classes that are not in an image with confidence 0
            denied.append(name)
        elif (row, label) in seen:
            copies.append(name)
        else:
            seen.add((row, label))
            for each in label:
                builder.label(row, each)
    for which, done, names in (
        (f"of {table.file.name} that repeats another", "left out", copies),
        ("of confidence 0, which deny a label,", "left out", denied),
        ("without a label", "taken as not annotated", bare),
    ):
        if names:
            notes.append(Note.of("row", which, done, names))


def _add_boxes(
    source: ImageTable,
    labels: Labels,
    of_rows: np.ndarray,
    images: list[str],
    sizes: np.ndarray,
    attributes: Sequence[int],
    builder: AnnotationBuilder,
) -> None:
    table, roles, notes = source.table, source.roles, builder.notes
    boxes, numbers = box_values(table, roles, notes)
    existing = of_rows[numbers] >= 0
    boxes, numbers = boxes[existing], numbers[existing]
    shares = is_normalized(boxes)
    if shares or not roles.convention:
        sizes = _with_headers(sizes, numbers, images, builder.root)
    scale = sizes[numbers].astype(np.float64)
    if shares:
        boxes = boxes * np.concatenate([scale, scale], axis=1)
        which = f"of {table.file.name} in 0..1"
        notes.append(Note.of("box", which, "multiplied by the width and height of its image", [], len(boxes)))
    edges = as_edges(boxes, convention_of(boxes, scale, shares, table, roles, notes))
    crowd = [False] * len(table) if roles.crowd is None else [_is_set(cell) for cell in table.columns[roles.crowd]]
    names = labels_per_box(labels, numbers)
    given = attributes_per_box(table, attributes, numbers)
    seen: set[tuple[int, str, tuple[float, ...]]] = set()
    copies, bare = [], []
    for number, box, name, values in zip(numbers.tolist(), edges.tolist(), names, given, strict=True):
        key = (int(of_rows[number]), name or "", tuple(box))
        if name is None:
            bare.append(images[number])
        elif key in seen:
            copies.append(images[number])
        else:
            seen.add(key)
            builder.object(key[0], name, box=box, crowd=crowd[number], attributes=values)
    for which, done, dropped in (
        (f"of {table.file.name} that repeats another", "left out", copies),
        ("without a class", "dropped", bare),
    ):
        if dropped:
            notes.append(Note.of("box", which, done, dropped))
    if not roles.labels:
        notes.append(Note.of("box", "without a column of classes", "taken as of class 'object'", [], len(edges)))


def _is_set(cell: object) -> bool:
    return bool(flag(cell_text(cell)))


def _with_headers(sizes: np.ndarray, numbers: np.ndarray, images: list[str], root: Path) -> np.ndarray:
    """Width and height for each row, those that no cell gives from the images' headers."""
    rows = np.unique(numbers)
    rows = rows[(sizes[rows] == 0).any(axis=1)]
    different = list(dict.fromkeys(images[row] for row in rows.tolist()))
    read = dict(zip(different, image_sizes(root, different)[:, ::-1].tolist(), strict=True))
    filled: np.ndarray = sizes.copy()
    if len(rows):
        filled[rows] = [read[images[row]] for row in rows.tolist()]
    return filled
