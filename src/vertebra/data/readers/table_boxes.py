"""Boxes in the cells of a table, and the convention that their numbers follow."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.data.readers.table_columns import Roles
from vertebra.data.readers.table_files import Table, cell_text
from vertebra.errors import DataError

FITTING = 0.98  # share of boxes that must be inside their images for a convention to fit
BEYOND = 1.0  # pixels
BEYOND_SHARE = 0.01
CONVENTIONS = ("xyxy", "xywh", "cxcywh")
FARTHEST = 1e300
LONGEST = 100_000  # characters of a cell with a list
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")


def box_values(table: Table, roles: Roles, notes: list[Note]) -> tuple[np.ndarray, np.ndarray]:
    """The four numbers of each box as they are written, (B, 4), and its row in the table, (B,).

    Rows whose cells are all empty have no box; rows with others than four numbers are dropped with a note.

    Raises:
        DataError: numbers have decimal commas.
    """
    if len(roles.box) == 1:
        lists = [_numbers_of(cell) for cell in table.columns[roles.box[0]]]
        wrong = [row for row, values in enumerate(lists) if values is None or len(values) % 4]
        good = [(row, values) for row, values in enumerate(lists) if values and not len(values) % 4]
        rows = np.repeat([row for row, _ in good], [len(values) // 4 for _, values in good]).astype(np.int64)
        boxes = np.array([value for _, values in good for value in values], dtype=np.float64).reshape(-1, 4)
    else:
        columns = np.stack([numeric_cells(table, column) for column in roles.box], axis=1)
        bad = ~np.isfinite(columns).all(axis=1)
        cells = [table.columns[column] for column in roles.box]
        wrong = [row for row in np.flatnonzero(bad).tolist() if any(cell_text(column[row]) for column in cells)]
        rows = np.flatnonzero(~bad)
        boxes = columns[rows]
    if wrong:
        names = [cell_text(table.columns[roles.image][row]) for row in wrong]
        notes.append(Note.of("row", "whose box is not four numbers", "read without it", names))
    return boxes, rows


def numeric_cells(table: Table, column: int) -> np.ndarray:
    """(n,) float64 the numbers in a column, nan for other cells.

    Raises:
        DataError: numbers have decimal commas.
    """
    cells = table.columns[column]
    try:
        return np.array(list(map(float, cells)), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        values = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        text = cell_text(cell)
        if not text:
            continue
        try:
            values[row] = float(text)
        except ValueError:
            if re.fullmatch(r"[+-]?\d+,\d+", text):
                raise DataError(
                    f"{table.file}: '{text}' in column '{table.title(column)}' has a decimal comma; save the table with "
                    "decimal points"
                ) from None
    return values


def _numbers_of(cell: Any) -> list[float] | None:
    """The numbers of a cell with a list, or with lists in a list; None if it is no such thing."""
    if cell is None:
        return []
    if isinstance(cell, str):
        text = cell.strip()
        if not text:
            return []
        if len(text) > LONGEST:
            return None
        try:
            cell = json.loads(text)
        except (ValueError, RecursionError):
            if re.sub(_NUMBER, "", text).strip(" \t\r\n,;[](){}"):
                return None
            cell = [float(number) for number in _NUMBER.findall(text)]
    if not isinstance(cell, (list, tuple)):
        return None
    flat = [value for part in cell for value in (part if isinstance(part, (list, tuple)) else [part])]
    if not all(isinstance(value, (int, float)) and abs(value) < FARTHEST for value in flat):  # nan is not less
        return None
    return [float(value) for value in flat]


def is_normalized(boxes: np.ndarray) -> bool:
    """Whether all numbers are shares of the image's width and height."""
    return bool(len(boxes) and boxes.min() >= -BEYOND_SHARE and boxes.max() <= 1 + BEYOND_SHARE)


def convention_of(
    boxes: np.ndarray, sizes: np.ndarray, shares: bool, table: Table, roles: Roles, notes: list[Note]
) -> str:
    """The convention that boxes follow: by the columns' names, or the only one in which the boxes are inside their images.

    Centers in pixels, which are rare, are considered if neither corners nor a corner with the sides fit.

    Args:
        boxes: (B, 4) in pixels.
        sizes: (B, 2) width and height of their images, 0 where unknown.
        shares: whether they were written as shares of the image.

    Raises:
        DataError: several conventions fit, or none.
    """
    if roles.convention or not len(boxes):
        return roles.convention or "xyxy"
    fitting = _fitting(boxes, sizes, CONVENTIONS if shares else CONVENTIONS[:2]) or _fitting(boxes, sizes, CONVENTIONS)
    if len(fitting) == 1:
        which = f"of {table.file.name} in columns without such names"
        done = f"read as {fitting[0]}, with which alone they are inside the images"
        notes.append(Note.of("box", which, done, [], len(boxes)))
        return fitting[0]
    title = table.title(roles.box[0])
    said = f"fit {' and '.join(fitting)} alike" if fitting else f"fit none of {', '.join(CONVENTIONS)}"
    listed = " or ".join(f"{{{name}: {title}}}" for name in fitting or CONVENTIONS)
    how = (
        listed
        if len(roles.box) == 1
        else "{xmin: ..., ymin: ..., xmax: ..., ymax: ...}, {x: ..., y: ..., w: ..., h: ...}"
    )
    raise DataError(f"{table.file}: its {len(boxes)} boxes {said}; name the convention by columns: {how}")


def _fitting(boxes: np.ndarray, sizes: np.ndarray, conventions: Sequence[str]) -> list[str]:
    return [name for name in conventions if _inside(as_edges(boxes, name), sizes).mean() >= FITTING]


def as_edges(boxes: np.ndarray, convention: str) -> np.ndarray:
    """(B, 4) xyxy from boxes of a convention."""
    first, second = boxes[:, :2], boxes[:, 2:]
    if convention == "xywh":
        second = first + second
    elif convention == "cxcywh":
        first, second = first - second / 2, first + second / 2
    return np.concatenate([first, second], axis=1)


def _inside(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    limit = np.where(sizes > 0, sizes, np.inf) + BEYOND
    flat = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
    outside = ((boxes[:, :2] < -BEYOND) | (boxes[:, 2:] > limit)).any(axis=1)
    return np.asarray(~(flat | outside), dtype=bool)


def image_sizes_of(table: Table, roles: Roles) -> np.ndarray:
    """(n, 2) int64 width and height in the cells of each row, 0 where there are none."""
    if roles.size is None:
        return np.zeros((len(table), 2), dtype=np.int64)
    sizes = np.stack([numeric_cells(table, column) for column in roles.size], axis=1)
    valid = (sizes >= 1) & (sizes <= 1e6)
    return np.where(valid.all(axis=1, keepdims=True), np.nan_to_num(sizes), 0).astype(np.int64)


def labels_per_box(labels: Sequence[tuple[str, ...] | None], rows: np.ndarray) -> list[str | None]:
    """The label of each box: that of its row, or the one at its position in the row's list; None without one."""
    counts = np.bincount(rows, minlength=len(labels)).tolist()
    before: dict[int, int] = {}
    chosen: list[str | None] = []
    for row in rows.tolist():
        names = list(labels[row] or [])
        number = before.get(row, 0)
        before[row] = number + 1
        chosen.append(names[number] if len(names) == counts[row] else names[0] if len(names) == 1 else None)
    return chosen
