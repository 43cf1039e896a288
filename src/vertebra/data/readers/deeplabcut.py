"""DeepLabCut's tables of points: ``CollectedData_NAME.csv`` or ``.h5``, in a project or anywhere.

Three rows of header (``scorer``, ``bodyparts``, ``coords``), or four with ``individuals`` for several animals, then one row
for each image: its path, in one column or three, and x and y of each point; empty cells are unlabeled points. Points of the
individual ``single``, which belong to no animal, are left out.

Such a table has no class names: its objects have the class "animal", or the only class that the user lists. The skeleton is that
of the project's ``config.yaml``, if there is one.

All such tables in a folder and up to three below form the data set, without those that DeepLabCut makes of them in
``training-datasets``; an image in several tables is read once. The format has no splits: consecutive frames are nearly the same
image, so each table is divided into runs of frames, 80 % for training, then 10 % for validation and 10 % for test, never at random.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations, Category
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.deeplabcut_tables import CLASS, Table, is_table, read_table
from vertebra.data.readers.files import exist, files_below
from vertebra.data.splits import divide_runs
from vertebra.errors import ConfigError, DataError
from vertebra.yaml_files import read_raw

CONFIG = "config.yaml"
DEEPEST = (
    3  # folders below one another that are searched: a project's ``labeled-data/VIDEO``, or those of several projects
)
COPIES = "training-datasets"  # the folder in which DeepLabCut joins the tables
LARGEST_CONFIG = 1 << 20  # bytes


class DlcReader(AnnotationReader):
    """DeepLabCut's tables of points."""

    name = "dlc"
    summary = "DeepLabCut's tables (CollectedData_NAME.csv or .h5)"
    suffixes = (".csv", ".h5")
    holds = frozenset({"points"})
    division = "divided into runs of consecutive frames"

    def looks_like(self, path: Path) -> bool:
        """Whether a file is such a table, or a folder contains one."""
        return bool(_tables(path))

    def refusal(self, path: Path) -> str:
        """Where the tables are that lie too deep for the folder to be a project or to hold some."""
        deep = _named_tables(path, None) if path.is_dir() and not _named_tables(path) else []
        return (
            f"tables of DeepLabCut lie deep inside, the first is {deep[0]}; name the folder of its project"
            if deep
            else ""
        )

    def splits(self, path: Path) -> tuple[str, ...]:
        """None; the frames of each table are divided into runs."""
        return ()

    def divided(
        self, annotations: Annotations, strata: np.ndarray, shares: dict[str, float], split: str, seed: int
    ) -> np.ndarray:
        """A run of consecutive frames of each table, since neighboring frames are nearly the same image."""
        assert annotations.groups is not None
        tables = [np.flatnonzero(annotations.groups == table) for table in np.unique(annotations.groups)]
        runs = [rows[divide_runs(len(rows), shares, split)] for rows in tables]
        return np.concatenate([*runs, np.zeros(0, dtype=np.int64)]).astype(np.int64)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """The animals of all tables with their points.

        Raises:
            DataError: a table is damaged, tables have different points, or images are not found.
        """
        files = _tables(path)
        tables = [read_table(file) for file in files]
        points = tables[0].points
        for table in tables[1:]:
            if table.points != points:
                raise DataError(
                    f"{table.file}: its points ({', '.join(table.points)}) are not those of {tables[0].file.name} "
                    f"({', '.join(points)})"
                )
        root = path if path.is_dir() else path.parent
        builder = AnnotationBuilder(root, path)
        name = _class_name(path, options)
        builder.category(Category(name, points=points, skeleton=_skeleton(root, points, builder.notes)))
        builder.notes += [*_of_inner_projects(root, files), *_of_no_animal(tables)]
        groups: list[int] = []
        rows: dict[str, np.ndarray] = {}
        copies: list[str] = []
        for number, table in enumerate(tables):
            names, kept = _existing_images(table, root, builder.notes)
            for image, positions in zip(names, table.positions[kept], strict=True):
                if image in rows:
                    _check_same(table.file, image, rows[image], positions)
                    copies.append(image)
                    continue
                rows[image] = positions
                groups.append(number)
                _add(builder.image(image), positions, name, builder)
        left = (
            []
            if any(map(_is_copy, files))
            else [file.name for file in _named_tables(root) if file.suffix.lower() == ".csv" and _is_copy(file)]
        )
        if left:
            builder.notes.append(Note.of("table", f"in {COPIES}, made of the others,", "left aside", left))
        if copies:
            builder.notes.append(Note.of("image", "in several tables", "read once", copies))
        annotations = replace(builder.build(), groups=np.array(groups, dtype=np.int64))
        bare = np.setdiff1d(np.arange(len(annotations)), annotations.objects.rows)
        if len(bare):
            names = [os.fsdecode(annotations.images[row]) for row in bare.tolist()]
            which, done = "without a labeled point", "kept as images with nothing in them"
            annotations.notes.append(Note.of("image", which, done, names))
        return annotations


def _class_name(path: Path, options: ReadOptions) -> str:
    """The class of all animals."""
    classes = options.classes or (CLASS,)
    if len(classes) > 1 and CLASS not in classes:
        raise DataError(
            f"{path}: its animals have no names of classes; they are called '{CLASS}', or as the only class asked for, "
            f"but here are several ({', '.join(classes)})"
        )
    return CLASS if CLASS in classes else classes[0]


def _add(row: int, positions: np.ndarray, name: str, builder: AnnotationBuilder) -> None:
    """Adds the animals of an image, (animals, K, 2), that have a labeled point."""
    known = np.isfinite(positions).all(axis=-1)
    values = np.concatenate([np.where(known[..., None], positions, 0), 2.0 * known[..., None]], axis=-1)
    for animal in np.flatnonzero(known.any(axis=1)):
        builder.object(row, name, points=values[animal])


def _tables(path: Path) -> list[Path]:
    """The tables of a data set, those of a project's videos without the copies that DeepLabCut makes of them."""
    if path.is_file():
        if path.name.lower() == CONFIG:
            return _tables(path.parent) if _is_project(path) else []
        return [path] if path.suffix.lower() in (".csv", ".h5") and is_table(path) else []
    tables = [file for file in _named_tables(path) if is_table(file)]
    first = [file for file in tables if not _is_copy(file)] or tables
    csv_files = {file.with_suffix("") for file in first if file.suffix.lower() == ".csv"}
    return [file for file in first if file.suffix.lower() == ".csv" or file.with_suffix("") not in csv_files]


def _named_tables(path: Path, deepest: int | None = DEEPEST) -> list[Path]:
    """The files named as DeepLabCut names its tables, in a folder and those below."""
    return files_below(path, lambda name: name.startswith("CollectedData") and name.endswith((".csv", ".h5")), deepest)


def _of_inner_projects(path: Path, tables: Sequence[Path]) -> list[Note]:
    """A note about tables that lie deeper in a folder than those of a project, ``labeled-data/VIDEO``."""
    names = [file.relative_to(path).as_posix() for file in tables if file.is_relative_to(path)]
    deep = [name for name in names if name.count("/") >= DEEPEST]
    return [Note.of("table", "of a project inside of the folder", "read", deep)] if deep else []


def _is_copy(file: Path) -> bool:
    return COPIES in file.parts


def _is_project(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            text = opened.read(LARGEST_CONFIG)
    except OSError:
        return False
    return b"bodyparts" in text and b"video_sets" in text


def _skeleton(root: Path, points: Sequence[str], notes: list[Note]) -> tuple[tuple[int, int], ...]:
    """The pairs of points that the project's ``config.yaml`` joins."""
    file = next((parent / CONFIG for parent in (root, *root.parents[:3]) if (parent / CONFIG).is_file()), None)
    if file is None or not _is_project(file) or file.stat().st_size > LARGEST_CONFIG:
        return ()
    try:
        content = read_raw(file)
    except (ConfigError, DataError):
        notes.append(Note.of("project file", "that cannot be read", "left aside", [file.name]))
        return ()
    number = {name: index for index, name in enumerate(points)}
    pairs = content.get("skeleton") if isinstance(content, dict) else None
    listed = [
        pair
        for pair in (pairs if isinstance(pairs, list) else ())
        if isinstance(pair, list) and all(isinstance(name, str) for name in pair)
    ]
    chains = [[number[name] for name in pair if name in number] for pair in listed]
    return tuple((a, b) for chain in chains for a, b in itertools.pairwise(chain) if a != b)


def _of_no_animal(tables: Sequence[Table]) -> list[Note]:
    """A note about the points that belong to no animal."""
    names = list(dict.fromkeys(name for table in tables for name in table.unique))
    return [Note.of("point", "of 'single', which belongs to no animal,", "left out", names)] if names else []


def _check_same(file: Path, image: str, first: np.ndarray, other: np.ndarray) -> None:
    if first.shape != other.shape or not np.array_equal(first, other, equal_nan=True):
        raise DataError(f"{file}: image {image} is in another table with different points; keep one")


def _existing_images(table: Table, root: Path, notes: list[Note]) -> tuple[list[str], np.ndarray]:
    """The existing images of a table, relative to the data set's folder, in their order; and their rows.

    Paths in a table are relative to the project's folder, which may be any parent folder of the table.
    """
    names = [name.replace("\\", "/") for name in table.images]
    order = np.argsort(np.array(names), kind="stable")
    for base in (root, table.file.parent, *table.file.parents):
        existing = exist(base, names)
        if existing.any():
            break
    else:
        raise DataError(f"{table.file}: its images are not found (the first is {names[0]})")
    if not existing.all():
        missing = [name for name, exists in zip(names, existing.tolist(), strict=True) if not exists]
        notes.append(Note.of("image", "that the table names", "not found and left out", missing))
    rows = _without_duplicates(table, order[existing[order]], names, notes)
    absolute = [(base / names[row]).resolve() for row in rows]
    inside = root.resolve()
    listed = [path.relative_to(inside).as_posix() if path.is_relative_to(inside) else str(path) for path in absolute]
    return listed, rows


def _without_duplicates(table: Table, rows: np.ndarray, names: list[str], notes: list[Note]) -> np.ndarray:
    """The rows of a table, in the order of their images, without duplicates.

    Raises:
        DataError: an image has two rows that differ.
    """
    kept: list[int] = []
    again: list[str] = []
    for row in rows.tolist():
        if not kept or names[row] != names[kept[-1]]:
            kept.append(row)
        elif np.array_equal(table.positions[row], table.positions[kept[-1]], equal_nan=True):
            again.append(names[row])
        else:
            raise DataError(f"{table.file}: image {names[row]} has two rows with different points; keep one")
    if again:
        notes.append(Note.of("row", f"of {table.file.name}, a copy of another,", "left out", again))
    return np.array(kept, dtype=np.int64)
