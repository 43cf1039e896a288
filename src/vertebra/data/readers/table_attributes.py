"""Attributes of boxes in the columns of a table: those of few different values that hold nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vertebra.data.readers.table_files import Table, cell_text

MAX_VALUES = 100  # different values of a column that is read as an attribute, unless it is asked for


def attribute_columns(table: Table, numbers: Sequence[int], attribute: str) -> list[int]:
    """The columns that are attributes: with at most `MAX_VALUES` different values that are not all different, and the one that is
    asked for.

    Args:
        numbers: of columns that hold nothing else.
        attribute: title of the column that is asked for; "" for none.
    """
    return [number for number in numbers if table.title(number) == attribute or _has_few_values(table.columns[number])]


def _has_few_values(cells: Sequence[Any]) -> bool:
    different: set[str] = set()
    filled = 0
    for cell in cells:
        text = cell_text(cell)
        filled += bool(text)
        different.add(text)
        if len(different) > MAX_VALUES + 1:
            return False
    return 0 < len(different - {""}) < max(filled, 2)


def attributes_per_box(table: Table, columns: Sequence[int], rows: np.ndarray) -> list[Mapping[str, Any]]:
    """The attributes of each box, equal ones as one object; a list with a value for each box of a row is divided among them.

    Args:
        columns: of the attributes.
        rows: (B,) int64, the row of each box.
    """
    if not columns:
        return [{}] * len(rows)
    counts = np.bincount(rows, minlength=len(table)).tolist()
    before: dict[int, int] = {}
    known: dict[str, Mapping[str, Any]] = {}
    titles = [table.title(number) for number in columns]
    of_boxes: list[Mapping[str, Any]] = []
    for row in rows.tolist():
        position = before.get(row, 0)
        before[row] = position + 1
        values: dict[str, Any] = {}
        for title, number in zip(titles, columns, strict=True):
            cell = table.columns[number][row]
            if isinstance(cell, list) and len(cell) == counts[row] > 1:
                cell = cell[position]
            if isinstance(cell, list | bool) or cell_text(cell):
                values[title] = cell if isinstance(cell, list | bool) else cell_text(cell)
        of_boxes.append(known.setdefault(repr(values), values))
    return of_boxes
