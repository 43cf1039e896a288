"""The tables of a data set that name its images, with what their columns hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.notes import Note
from vertebra.annotations.table import SPLITS, Annotations
from vertebra.data.readers.files import files_of, folders_in
from vertebra.data.readers.landmark_columns import PointColumns
from vertebra.data.readers.table_columns import Roles
from vertebra.data.readers.table_files import SUFFIXES, Table, cell_text, normal_name
from vertebra.data.readers.table_images import ImageSearch, data_root, not_named
from vertebra.data.splits import split_of
from vertebra.errors import DataError

MAX_TABLES = 100
Described = tuple[Roles, PointColumns | None]


@dataclass(frozen=True)
class ImageTable:
    """A table, what its columns hold, its split ("" for none), and its images.

    Attributes:
        points: the columns of points; None for a table without any.
    """

    table: Table
    roles: Roles
    split: str
    search: ImageSearch
    points: PointColumns | None = None

    @property
    def names(self) -> list[str]:
        """The image of each row as the table names it, with slashes for backslashes unless they are part of the first such name."""
        names = [cell_text(cell) for cell in self.table.columns[self.roles.image]]
        first = next((name for name in names if "\\" in name), "")
        return names if not first or self.search.has(first) else [name.replace("\\", "/") for name in names]

    def paths(self, names: Sequence[str], notes: list[Note]) -> dict[str, str]:
        """The path of each named image relative to the root, "" for a missing one; raises as `ImageSearch.resolve` does."""
        different = [name for name in dict.fromkeys(names) if name]
        return dict(zip(different, self.search.resolve(different, notes), strict=True))


def table_files(path: Path, is_table: Callable[[str], bool]) -> list[Path]:
    """The files in a folder and those below it whose names in small letters may be those of tables, or the file itself."""
    if path.is_file():
        return [path] if is_table(path.name.lower()) else []
    folders = [path, *folders_in(path)[:MAX_TABLES]]
    files = [file for folder in folders for file in files_of(folder, *SUFFIXES, ".txt") if is_table(file.name.lower())]
    return files[:MAX_TABLES]


def image_tables(
    path: Path,
    files: Sequence[Path],
    read: Callable[[Path], Table | None],
    describe: Callable[[Table, ImageSearch], Described | None],
    notes: list[Note] | None = None,
) -> list[ImageTable]:
    """The tables that name images; those of splits only, if there are any. Damaged ones are left out with a note.

    Args:
        path: the data set.
        files: its tables.
        read: reads one; None for a file that is no table.
        describe: returns what the columns hold; None for a table of another kind.
        notes: gets the note.

    Raises:
        DataError: a table is damaged, and no other is there.
    """
    root = data_root(path)
    sources: list[ImageTable] = []
    damaged: dict[str, DataError] = {}
    others: list[str] = []
    for file in files:
        try:
            table = read(file)
        except DataError as error:
            damaged[file.name] = error
            continue
        folder = file.parent.name.replace("test-dev", "test")  # of VisDrone
        split = split_of(file.stem) or (split_of(folder) if file.parent != root else None) or ""
        search = ImageSearch(root, file, split)
        described = None if table is None else describe(table, search)
        if table is not None and described is not None:
            roles, points = described
            sources.append(ImageTable(table, roles, split, search, points))
        elif table is not None:
            others.append(file.name)
    if damaged and not sources:
        raise next(iter(damaged.values()))
    if damaged and notes is not None:
        notes.append(Note.of("table", "that cannot be read", "left out", list(damaged)))
    if others and sources and notes is not None:
        notes.append(Note.of("table", "without a column of images, or of what is read of them,", "left aside", others))
    of_splits = [source for source in sources if source.split]
    beside = [source.table.file.name for source in sources if not source.split]
    if of_splits and beside and notes is not None:
        notes.append(Note.of("table", "beside those of splits", "left aside", beside))
    return of_splits or sources


def built(builder: AnnotationBuilder, images: Sequence[str], split: str | None, path: Path) -> Annotations:
    """The annotations of a split, or of all, with a note about images that no table names.

    Args:
        builder: with all that the tables hold.
        images: those named, relative to the root.
        split: None for the images of all splits.
        path: the data set, for messages.

    Raises:
        DataError: there is no image of the split.
    """
    unnamed = not_named(builder.root, images)
    if unnamed:
        builder.notes.append(Note.of("image", "that no table names", "left out", unnamed))
    return of_split(builder.build(), split, path)


def of_split(annotations: Annotations, split: str | None, path: Path) -> Annotations:
    """The annotations of a split, with a note about images of none; None for all.

    Raises:
        DataError: there is no image of the split.
    """
    if split is None or annotations.splits is None:
        return annotations
    stray = annotations.names(np.flatnonzero(annotations.splits < 0))
    if stray:
        annotations.notes.append(Note.of("image", "of no split, where others are of one,", "left out", stray))
    chosen = np.flatnonzero(annotations.splits == SPLITS.index(split))
    if not len(chosen):
        raise DataError(f"{path}: no image of split '{split}' exists")
    return replace(annotations.take(chosen), splits=None)


def values_by_image(sources: Sequence[ImageTable], column: str) -> Mapping[str, object] | None:
    """A column by the path of the image relative to the root, the value of its first row; None where no table has it.

    Args:
        sources: the tables.
        column: its name, also with other case and separators where this is one column only.
    """
    values: dict[str, object] = {}
    exists = False
    for source in sources:
        titles = list(source.table.names or ())
        fitting = (
            [column] if column in titles else [name for name in titles if normal_name(name) == normal_name(column)]
        )
        if len(fitting) != 1:
            continue
        exists = True
        names = source.names
        paths = source.paths(names, [])
        for name, value in zip(names, source.table.columns[titles.index(fitting[0])], strict=True):
            if paths.get(name) and cell_text(value):
                values.setdefault(paths[name], cell_text(value))
    return values if exists else None
