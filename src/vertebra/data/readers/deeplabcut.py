"""DeepLabCut's tables of points: ``CollectedData_NAME.csv``.

Three rows of header (``scorer``, ``bodyparts``, ``coords``), or four with ``individuals`` for several animals, then one row
for each image: its path, in one column or three, and x and y of each point; empty cells are unlabeled points.

Such a table has no class names: its objects have the class "animal", or the only class that the user lists.

All such tables in a folder form the data set. The format has no splits: consecutive frames are nearly the same image, so each
table is divided into runs of frames, 80 % for training, then 10 % for validation and 10 % for test, never at random.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations, Category
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.files import exist
from vertebra.data.splits import divide_runs
from vertebra.errors import DataError

CLASS = "animal"
FARTHEST = 1e9  # maximum coordinate in pixels
MOST_EMPTY = 8  # maximum ratio of points of all animals to columns
HEADERS = ("scorer", "individuals", "bodyparts", "coords")


@dataclass
class _Table:
    """One file: its images, and x, y of the points of each animal, NaN where not labeled, (n, animals, K, 2)."""

    file: Path
    images: list[str]
    points: tuple[str, ...]
    positions: np.ndarray


class DlcReader(AnnotationReader):
    """DeepLabCut's tables of points."""

    name = "dlc"
    summary = "DeepLabCut's tables (CollectedData_NAME.csv)"
    holds = frozenset({"points"})
    division = "divided into runs of consecutive frames"

    def looks_like(self, path: Path) -> bool:
        """Whether a file is such a table, or a folder contains one."""
        return bool(_tables(path))

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
        tables = [_read(file) for file in _tables(path)]
        points = tables[0].points
        for table in tables[1:]:
            if table.points != points:
                raise DataError(
                    f"{table.file}: its points ({', '.join(table.points)}) are not those of {tables[0].file.name} "
                    f"({', '.join(points)})"
                )
        root = path if path.is_dir() else path.parent
        builder = AnnotationBuilder(root, path)
        builder.category(Category(_class_name(path, options), points=points))
        groups: list[int] = []
        for number, table in enumerate(tables):
            names, kept = _existing_images(table, root, builder.notes)
            groups += [number] * len(names)
            for name, positions in zip(names, table.positions[kept], strict=True):
                _add(builder.image(name), positions, _class_name(path, options), builder)
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
    if path.is_file():
        return [path] if path.suffix.lower() == ".csv" and _is_table(path) else []
    return [file for file in sorted(path.rglob("CollectedData*.csv")) if _is_table(file)]


def _is_table(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open(encoding="utf-8-sig", errors="replace") as opened:
        return opened.readline(10000).startswith("scorer,")


def _read(file: Path) -> _Table:
    rows = _rows(file)
    header = {row[0]: row for row in rows[:4] if row[0] in HEADERS}
    if not {"bodyparts", "coords"} <= set(header):
        raise DataError(f"{file}: no DeepLabCut table; its first rows must be scorer, bodyparts and coords")
    first = next((column for column, word in enumerate(header["coords"]) if word == "x"), None)
    if first is None or header["coords"][first:] != ["x", "y"] * (len(header["coords"][first:]) // 2):
        raise DataError(f"{file}: the row 'coords' must be x, y, x, y … over the points")
    columns = len(header["coords"])
    cut = [name for name, row in header.items() if name != "scorer" and len(row) != columns]
    if cut:
        raise DataError(f"{file}: the row '{cut[0]}' has {len(header[cut[0]])} cells, and the row 'coords' {columns}")
    parts = header["bodyparts"][first::2]
    animals = header["individuals"][first::2] if "individuals" in header else [CLASS] * len(parts)
    names = list(dict.fromkeys(animals))
    points = tuple(dict.fromkeys(parts))
    if len(set(zip(animals, parts, strict=True))) < len(parts):
        raise DataError(f"{file}: a point is twice in the row 'bodyparts'; list each once for each animal")
    if len(names) * len(points) > MOST_EMPTY * len(parts):
        raise DataError(
            f"{file}: {len(names)} animals and {len(points)} points, but only {len(parts)} columns for them"
        )
    body = rows[len(header) :]
    if not body:
        raise DataError(f"{file}: it has no image, only a header")
    positions = np.full((len(body), len(names), len(points), 2), np.nan)
    animal_ids, point_ids = (({name: index for index, name in enumerate(each)}) for each in (names, points))
    at = ([animal_ids[animal] for animal in animals], [point_ids[part] for part in parts])
    for number, row in enumerate(body):
        positions[number, at[0], at[1]] = _cells(row, first, len(parts), file, len(header) + number + 1).reshape(-1, 2)
    images = ["/".join(cell for cell in row[:first] if cell) for row in body]
    return _Table(file, images, points, positions)


def _rows(file: Path) -> list[list[str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            return [row for row in csv.reader(opened) if row]
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{file}: damaged, no table of cells ({error}); copy the file again") from None


def _cells(row: list[str], first: int, count: int, file: Path, number: int) -> np.ndarray:
    """(2K,) x, y, x, y … of a row, NaN where a cell is empty."""
    if len(row) < first + 2 * count:
        raise DataError(f"{file}: row {number} is cut off; it has {len(row)} cells")
    try:
        cells = np.array(
            [float(cell) if cell.strip() else np.nan for cell in row[first : first + 2 * count]], dtype=float
        )
    except ValueError as error:
        raise DataError(f"{file}: row {number}: {error}") from None
    far = np.abs(cells) > FARTHEST
    if far.any():
        raise DataError(f"{file}: row {number}: {cells[far][0]:g} is not a position in an image; empty the cell")
    return cells


def _existing_images(table: _Table, root: Path, notes: list[Note]) -> tuple[list[str], np.ndarray]:
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


def _without_duplicates(table: _Table, rows: np.ndarray, names: list[str], notes: list[Note]) -> np.ndarray:
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
