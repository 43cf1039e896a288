"""Parses DeepLabCut's tables of points, as CSV and as HDF5."""

from __future__ import annotations

import csv
import io
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.errors import DataError, first_line, install_command

CLASS = "animal"
SINGLE = "single"  # DeepLabCut's name for the points that no animal has
FARTHEST = 1e9  # maximum coordinate in pixels
MOST_EMPTY = 8  # maximum ratio of points of all animals to columns
HEADERS = ("scorer", "individuals", "bodyparts", "coords")
SEPARATORS = ",;\t"
_H5_START = b"\x89HDF\r\n\x1a\n"


@dataclass
class Table:
    """One file: its images, and x, y of the points of each animal, NaN where not labeled, (n, animals, K, 2).

    Attributes:
        unique: points of the picture that belong to no animal, which are left out.
    """

    file: Path
    images: list[str]
    points: tuple[str, ...]
    positions: np.ndarray
    unique: tuple[str, ...] = ()


def is_table(file: Path) -> bool:
    """Whether a file is such a table: a CSV file whose first cell is ``scorer``, or ``CollectedData`` as HDF5."""
    try:
        with file.open("rb") as opened:
            start = opened.read(4096)
    except OSError:
        return False
    if file.suffix.lower() == ".h5":
        return start.startswith(_H5_START) and file.name.lower().startswith("collecteddata")
    line = start.decode("utf-8-sig", "replace").partition("\n")[0].lstrip()
    cell = line[: min((line.find(mark) for mark in SEPARATORS if mark in line), default=0)]
    return cell.strip(" \"'") == "scorer"


def read_table(file: Path) -> Table:
    """The points of a table.

    Raises:
        DataError: the table is damaged.
    """
    if file.suffix.lower() == ".h5":
        header, body, first, offset = _h5(file)
    else:
        header, body, first, offset = _csv(file)
    parts = header["bodyparts"][first::2]
    animals = header["individuals"][first::2] if "individuals" in header else [CLASS] * len(parts)
    if len(set(zip(animals, parts, strict=True))) < len(parts):
        raise DataError(f"{file}: a point is twice in the row 'bodyparts'; list each once for each animal")
    of_animals = [number for number, animal in enumerate(animals) if animal != SINGLE] or list(range(len(parts)))
    unique = tuple(part for number, part in enumerate(parts) if number not in set(of_animals))
    names = list(dict.fromkeys(animals[number] for number in of_animals))
    points = tuple(dict.fromkeys(parts[number] for number in of_animals))
    if len(names) * len(points) > MOST_EMPTY * len(parts):
        raise DataError(
            f"{file}: {len(names)} animals and {len(points)} points, but only {len(parts)} columns for them"
        )
    if not body:
        raise DataError(f"{file}: it has no image, only a header")
    positions = np.full((len(body), len(names), len(points), 2), np.nan)
    animal_ids, point_ids = (({name: index for index, name in enumerate(each)}) for each in (names, points))
    at = (
        [animal_ids[animals[number]] for number in of_animals],
        [point_ids[parts[number]] for number in of_animals],
    )
    for number, row in enumerate(body):
        cells = _cells(row, first, len(parts), file, offset + number + 1).reshape(-1, 2)
        positions[number, at[0], at[1]] = cells[of_animals]
    images = ["/".join(cell.strip() for cell in row[:first] if cell.strip()) for row in body]
    return Table(file, images, points, positions, unique)


def _csv(file: Path) -> tuple[dict[str, list[str]], list[list[Any]], int, int]:
    """The rows of the header by name, the other rows, the first column of coordinates, and the number of rows of the header."""
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
    return header, rows[len(header) :], first, len(header)


def _rows(file: Path) -> list[list[str]]:
    """The cells; in a table with semicolons, a comma in a number is a point."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    line = text.partition("\n")[0]
    mark = max(SEPARATORS, key=lambda each: (line.count(each), each == ","))
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark) if any(row)]
    except csv.Error as error:
        raise DataError(f"{file}: damaged, no table of cells ({error}); copy the file again") from None
    if mark == ";":
        return [[cell.replace(",", ".") if _is_number(cell) else cell for cell in row] for row in rows]
    return rows


def _is_number(cell: str) -> bool:
    return cell.strip().lstrip("-").replace(",", "", 1).isdecimal()


def _h5(file: Path) -> tuple[dict[str, list[str]], list[list[Any]], int, int]:
    """As `_csv`."""
    try:
        import pandas
        import tables
    except ModuleNotFoundError as error:
        raise DataError(
            f"{file}: HDF5 tables need pandas and PyTables ({error.name} is missing): {install_command('deeplabcut')}; "
            "or convert the tables to CSV, as DeepLabCut does beside them"
        ) from None
    try:
        with _plain_pickles(tables):
            frame = pandas.read_hdf(file)
        levels = {
            str(name): [str(value) for value in frame.columns.get_level_values(name)] for name in frame.columns.names
        }
        names = [list(map(str, key if isinstance(key, tuple) else (key,))) for key in frame.index]
        values = frame.to_numpy(dtype=np.float64)
    except Exception as error:  # HDF5, PyTables and pandas raise many types on damaged files
        raise DataError(f"{file}: damaged, or no table of DeepLabCut ({first_line(error)[:100]})") from None
    if not {"bodyparts", "coords"} <= set(levels) or levels["coords"] != ["x", "y"] * (len(levels["coords"]) // 2):
        raise DataError(
            f"{file}: no DeepLabCut table; its columns must be scorer, bodyparts and coords of x, y, x, y …"
        )
    first = max(map(len, names), default=1)
    header = {name: [""] * first + row for name, row in levels.items()}
    padded = [name + [""] * (first - len(name)) for name in names]
    return header, [[*name, *row] for name, row in zip(padded, values.tolist(), strict=True)], first, 0


class _PlainUnpickler(pickle.Unpickler):
    """Loads numbers, text and lists only: PyTables unpickles what a file holds, which otherwise could run any code."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuses all classes and functions."""
        raise pickle.UnpicklingError(f"{module}.{name} is not loaded")


class _PlainPickle:
    """Replaces the module `pickle` in PyTables."""

    UnpicklingError = pickle.UnpicklingError

    @staticmethod
    def loads(data: bytes, **options: Any) -> Any:
        """The value of pickled data that holds no classes."""
        return _PlainUnpickler(io.BytesIO(data), **options).load()


@contextmanager
def _plain_pickles(tables: Any) -> Iterator[None]:
    """While it is open, PyTables unpickles no classes and functions."""
    modules: Sequence[Any] = (tables.attributeset, tables.atom)
    kept = [module.pickle for module in modules]
    for module in modules:
        module.pickle = _PlainPickle
    try:
        yield
    finally:
        for module, original in zip(modules, kept, strict=True):
            module.pickle = original


def _cells(row: Sequence[Any], first: int, count: int, file: Path, number: int) -> np.ndarray:
    """(2K,) x, y, x, y … of a row, NaN where a cell is empty."""
    if len(row) < first + 2 * count:
        raise DataError(f"{file}: row {number} is cut off; it has {len(row)} cells")
    try:
        cells = np.array(
            [float(cell) if str(cell).strip() else np.nan for cell in row[first : first + 2 * count]], dtype=float
        )
    except ValueError as error:
        raise DataError(f"{file}: row {number}: {error}") from None
    far = np.abs(cells) > FARTHEST
    if far.any():
        raise DataError(f"{file}: row {number}: {cells[far][0]:g} is not a position in an image; empty the cell")
    return cells
